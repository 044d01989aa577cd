"""A server on this machine that answers as the Hugging Face Hub does, for small files of one model."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

NAME, TOKEN, COMMIT = "someone/some-model", "hf_test", "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """A handler that keeps the pushed files, and gives them to who asks for them with the token."""

    files: dict[str, bytes]
    requests: list[str]

    def do_GET(self) -> None:
        path = self.begin()
        if not path.removeprefix("/api/models").startswith(f"/{NAME}/"):
            return self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        if "/revision/" in path:
            siblings = [{"rfilename": name} for name in self.files]
            return self.answer({"id": NAME, "sha": COMMIT, "siblings": siblings})
        if "/tree/" in path:
            sizes = {name: len(content) for name, content in self.files.items()}
            return self.answer([{"type": "file", "path": name, "size": sizes[name], "oid": name} for name in sizes])
        content = self.files[path.rpartition("/")[2]]
        return self.answer(content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=COMMIT)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        path = self.begin()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "Forbidden"}, 403)
        if path == "/api/repos/create":
            return self.answer({"url": f"http://{self.headers['Host']}/{NAME}"})
        if "/preupload/" in path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in paths]
            return self.answer({"files": modes})
        if "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"http://{self.headers['Host']}/{NAME}/commit/{COMMIT}"
            return self.answer({"commitOid": COMMIT, "commitUrl": url})
        return self.answer({})

    def begin(self) -> str:
        self.requests.append(f"{self.command} {urlsplit(self.path).path}")
        return urlsplit(self.path).path

    def answer(self, content: object, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def serving() -> Iterator[tuple[str, type[Hub]]]:
    """Start a server; yield its address and its handler, which has the files and the requests."""
    handler = type("Serving", (Hub,), {"files": {}, "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()
