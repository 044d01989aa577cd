"""A server on this machine that gives a file, or fails to in a chosen way."""

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

CONTENT = gzip.compress(np.random.default_rng(0).bytes(200_000))
NAME = "reviews_5.json.gz"
Answer = Callable[["Server", int], None]


class Server(BaseHTTPRequestHandler):
    """A handler that answers the n-th request, from 0, by a function."""

    answer: Answer
    asked: list[str | None]

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Range"))
        type(self).answer(self, len(self.asked) - 1)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""

    def send(self, body: bytes, length: int | None = None, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def part(self, most: int, content: bytes = CONTENT, etag: str = '"one"') -> None:
        """Send at most ``most`` bytes of the requested range, but with the length of the whole range."""
        asked = self.headers.get("Range")
        if asked is None or self.headers.get("If-Range") != etag:
            self.send(content[:most], len(content), ETag=etag)
        else:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            rest = content[start:]
            self.send(rest[:most], len(rest), 206, ETag=etag, Content_Range=span)


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[str | None]]]:
    """Start a server; yield the address of its file and the list of the requested ranges."""
    asked: list[str | None] = []
    handler = type("Answering", (Server,), {"answer": staticmethod(answer), "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    poll_interval = 0.01  # seconds
    thread = threading.Thread(target=server.serve_forever, args=(poll_interval,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/{NAME}", asked
    server.shutdown()
    thread.join()
    server.server_close()
