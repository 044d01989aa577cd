"""Downloads from a server on this machine that is slow, breaks off, lies about length or serves garbage."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from adamct.errors import InputError
from datamodules import download
from datamodules.download import Download
from tests.conftest import TINY, Ended, composed

CONTENT = gzip.compress(np.random.default_rng(0).bytes(200_000))
NAME = "reviews_5.json.gz"
Answer = Callable[["Server", int], None]


class Server(BaseHTTPRequestHandler):
    """Answers the n-th request, from 0, as it is told."""

    answer: Answer
    asked: list[str | None]

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Range"))
        type(self).answer(self, len(self.asked) - 1)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def send(self, body: bytes, length: int | None = None, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def part(self, most: int, content: bytes = CONTENT, etag: str = '"one"') -> None:
        """At most so many bytes of what was asked for, saying that all of it comes."""
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
    """The address of a file on a server of its own, and what was asked of it."""
    asked: list[str | None] = []
    handler = type("Answering", (Server,), {"answer": staticmethod(answer), "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)  # seconds it takes to shut down
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/{NAME}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "WAIT", 0.0)


def left(folder: Path) -> set[str]:
    """Names in a folder, but for locks."""
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def refused(folder: Path, *urls: str, sha256: str | None = None) -> str:
    """The line that says why nothing was fetched."""
    with pytest.raises(InputError) as told:
        Download(urls, str(folder), sha256).fetch()
    assert not (folder / NAME).exists()
    assert "\n" not in str(told.value)
    assert str(folder / NAME) in str(told.value)
    return str(told.value)


def test_a_file_is_fetched_once(tmp_path: Path) -> None:
    with serving(lambda server, _: server.send(CONTENT)) as (url, asked):
        for _ in range(2):
            assert Download([url], str(tmp_path / "new"), sha256(CONTENT).hexdigest()).fetch().read_bytes() == CONTENT
    assert asked == [None]
    assert left(tmp_path / "new") == {NAME}


def test_one_that_breaks_off_again_and_again_is_gone_on_with(tmp_path: Path) -> None:
    with serving(lambda server, _: server.part(30_000)) as (url, asked):
        assert Download([url], str(tmp_path), None).fetch().read_bytes() == CONTENT
    assert asked[0] is None
    assert len(asked) == -(-len(CONTENT) // 30_000)
    starts = [int(range.removeprefix("bytes=").removesuffix("-")) for range in asked[1:] if range]
    assert starts == sorted(starts)
    assert len(starts) == len(asked) - 1
    assert left(tmp_path) == {NAME}


def test_another_process_goes_on_where_one_was_cut_off(tmp_path: Path) -> None:
    with serving(lambda server, n: server.part(50_000 if n == 0 else 0)) as (url, _):
        assert "IncompleteRead" in refused(tmp_path, url)
    assert left(tmp_path) == {f".{NAME}.part", f".{NAME}.version"}
    with serving(lambda server, _: server.part(len(CONTENT))) as (url, asked):
        assert Download([url], str(tmp_path), None).fetch().read_bytes() == CONTENT
    assert asked == ["bytes=50000-"]


def test_a_file_that_has_changed_is_begun_anew(tmp_path: Path) -> None:
    newer = gzip.compress(b"newer" * 9999)

    def answer(server: Server, n: int) -> None:
        server.part(len(newer), newer, '"two"') if n else server.part(5000)

    with serving(answer) as (url, asked):
        assert Download([url], str(tmp_path), None).fetch().read_bytes() == newer
    assert asked == [None, "bytes=5000-"]


def test_a_server_that_knows_no_versions_sends_all_again(tmp_path: Path) -> None:
    def answer(server: Server, n: int) -> None:
        server.send(CONTENT if n else CONTENT[:5000], len(CONTENT))

    with serving(answer) as (url, asked):
        assert Download([url], str(tmp_path), None).fetch().read_bytes() == CONTENT
    assert asked == [None, None]


def test_a_stalling_server_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", (1.0, 0.1))

    def answer(server: Server, n: int) -> None:
        if n:
            server.part(len(CONTENT))
        else:
            server.part(3 * download.CHUNK)
            time.sleep(0.4)

    with serving(answer) as (url, asked):
        assert Download([url], str(tmp_path), None).fetch().read_bytes() == CONTENT
    assert asked == [None, f"bytes={3 * download.CHUNK}-"]


def test_a_length_that_is_a_lie_is_found_out(tmp_path: Path) -> None:
    with serving(lambda server, _: server.send(CONTENT, len(CONTENT) + 9, ETag='"one"')) as (url, _):
        assert "IncompleteRead" in refused(tmp_path / "long", url)
    with serving(lambda server, _: server.send(CONTENT, len(CONTENT) - 9)) as (url, _):
        assert "not a whole gzip file" in refused(tmp_path / "short", url)
    assert left(tmp_path / "short") == set()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda server, _: server.send(b"<html>moved</html>"), "not a whole gzip file"),
        (lambda server, _: server.send(b"", status=404), "answers 404"),
        (lambda server, _: server.send(b"", status=503), "503"),
        (lambda server, _: server.send(CONTENT, status=206, Content_Range="bytes 7-9/10"), "another part"),
    ],
)
def test_after_a_mirror_that_gives_something_else_the_next_is_asked(answer: Answer, said: str, tmp_path: Path) -> None:
    with serving(answer) as (bad, _), serving(lambda server, _: server.send(CONTENT)) as (good, asked):
        assert said in refused(tmp_path, bad)
        assert left(tmp_path) <= {f".{NAME}.version"}
        assert Download([bad, good], str(tmp_path), None).fetch().read_bytes() == CONTENT
    assert len(asked) == 1


@contextmanager
def leading_to(*locations: str) -> Iterator[tuple[str, list[str | None]]]:
    """A server that leads to one location after the other and then gives the file."""

    def answer(server: Server, n: int) -> None:
        server.send(b"", status=302, Location=locations[n]) if n < len(locations) else server.send(CONTENT)

    with serving(answer) as served:
        yield served


def test_no_address_is_asked_that_is_not_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that leads back to a safe address would not be seen from the answer at the end."""
    monkeypatch.setattr(download, "LOCAL_HOSTS", ("127.0.0.1",))
    with serving(lambda server, _: server.send(b"", status=302, Location=back)) as (there, asked_there):
        unsafe = there.replace("127.0.0.1", "localhost")
        for location in (unsafe, unsafe.removeprefix("http:")):
            with leading_to(location) as (back, asked):
                assert f"leads to {unsafe}, which is not HTTPS" in refused(tmp_path, back)
            assert (len(asked), asked_there) == (1, [])
    assert left(tmp_path) == set()


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("file:///etc/hosts", "InvalidSchema"),
        ("ftp://localhost/a.gz", "InvalidSchema"),
        ("http://[bad", "Invalid"),
        ("\xff", "UnicodeDecodeError"),
        (NAME, "TooManyRedirects: Exceeded 10 redirects"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_told(location: str, told: str, tmp_path: Path) -> None:
    with serving(lambda server, _: server.send(b"", status=302, Location=location)) as (url, _):
        assert told in refused(tmp_path, url)
    assert left(tmp_path) == set()


def test_safe_redirects_are_followed_and_a_download_goes_on_behind_them(tmp_path: Path) -> None:
    with (
        serving(lambda server, n: server.part(50_000)) as (good, asked),
        serving(lambda server, _: server.send(b"", status=307, Location=good)) as (leading, _),
    ):
        assert Download([leading], str(tmp_path / "far"), None).fetch().read_bytes() == CONTENT
    assert asked[1] == "bytes=50000-"
    with leading_to("../a/b.gz", "?mirror=2", f"/{NAME}") as (url, asked):
        assert Download([url], str(tmp_path / "near"), None).fetch().read_bytes() == CONTENT
    assert len(asked) == 4


def test_a_length_that_is_no_number_says_nothing(tmp_path: Path) -> None:
    with serving(lambda server, _: server.send(CONTENT, Content_Length="soon")) as (url, _):
        assert Download([url], str(tmp_path), None).fetch().read_bytes() == CONTENT


def test_another_file_of_the_same_name_is_refused(tmp_path: Path) -> None:
    with serving(lambda server, _: server.send(CONTENT)) as (url, _):
        assert sha256(CONTENT).hexdigest() in refused(tmp_path, url, sha256="0" * 64)
    assert left(tmp_path) == set()


def test_processes_that_want_the_same_file_download_it_once(tmp_path: Path) -> None:
    with serving(lambda server, _: (time.sleep(0.1), server.send(CONTENT))[0]) as (url, asked):
        threads = [threading.Thread(target=Download([url], str(tmp_path), None).fetch) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(asked) == 1


def test_addresses_must_be_safe_and_there(tmp_path: Path) -> None:
    for urls in (["http://example.org/a.gz"], [r"http://example.org\@localhost/a.gz"], ["https://example.org/"], []):
        with pytest.raises(InputError, match=r"dataset\.download\.urls"):
            Download(urls, str(tmp_path), None)


def test_editions_of_amazon_have_their_own_addresses_and_folders(tmp_path: Path) -> None:
    for edition, name in ((2014, "reviews_Books_5.json.gz"), (2018, "Books_5.json.gz"), (2023, "Books.csv.gz")):
        keys = ("dataset.category=Books", f"dataset.edition={edition}", f"data_dir={tmp_path}")
        found = instantiate(composed("dataset=amazon", *keys).dataset).download
        assert found.path == tmp_path / f"amazon_{edition}" / name
        assert all(url.endswith(f"/{name}") for url in found.urls)
    with pytest.raises(InstantiationException, match=r"dataset\.edition=1999: must be one of 2014, 2018, 2023"):
        instantiate(composed("dataset=amazon", *keys[:1], "dataset.edition=1999").dataset)


def test_a_run_says_what_to_do_where_nothing_can_be_had(tmp_path: Path, run: Callable[..., Ended]) -> None:
    urls = f"dataset.download.urls=[https://127.0.0.1:9/{NAME}]"
    tiny = [key for key in TINY if not key.startswith(("dataset.num", "dataset.process"))]
    ended = run(*tiny, "dataset=beauty", urls, f"data_dir={tmp_path}", f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 1
    assert all(word in ended.line for word in (str(tmp_path / NAME), "127.0.0.1:9", "dataset.path=FILE"))
