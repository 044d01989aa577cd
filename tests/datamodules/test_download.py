"""Downloads from a server on this machine that is slow, disconnects, gives wrong lengths or other content."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from adamct.errors import InputError
from datamodules import download
from datamodules.download import Download
from tests.conftest import TINY, Ended, composed
from tests.datamodules.file_server import CONTENT, NAME, Answer, Server, serving


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "WAIT", 0.0)


def left(folder: Path) -> set[str]:
    """Return the names in a folder except locks."""
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def refused(folder: Path, *urls: str, sha256: str | None = None) -> str:
    """Return the one line of the error of a download."""
    with pytest.raises(InputError) as error:
        Download(urls, str(folder), sha256).fetch()
    assert not (folder / NAME).exists()
    assert "\n" not in str(error.value)
    assert str(folder / NAME) in str(error.value)
    return str(error.value)


def test_a_file_is_fetched_once(tmp_path: Path) -> None:
    with serving(lambda server, _: server.send(CONTENT)) as (url, asked):
        for _ in range(2):
            assert Download([url], str(tmp_path / "new"), sha256(CONTENT).hexdigest()).fetch().read_bytes() == CONTENT
    assert asked == [None]
    assert left(tmp_path / "new") == {NAME}


def test_an_interrupted_download_is_resumed(tmp_path: Path) -> None:
    with serving(lambda server, _: server.part(30_000)) as (url, asked):
        assert Download([url], str(tmp_path), None).fetch().read_bytes() == CONTENT
    assert asked[0] is None
    assert len(asked) == -(-len(CONTENT) // 30_000)
    starts = [int(range.removeprefix("bytes=").removesuffix("-")) for range in asked[1:] if range]
    assert starts == sorted(starts)
    assert len(starts) == len(asked) - 1
    assert left(tmp_path) == {NAME}


def test_another_process_resumes_a_download(tmp_path: Path) -> None:
    with serving(lambda server, n: server.part(50_000 if n == 0 else 0)) as (url, _):
        assert "IncompleteRead" in refused(tmp_path, url)
    assert left(tmp_path) == {f".{NAME}.part", f".{NAME}.version"}
    with serving(lambda server, _: server.part(len(CONTENT))) as (url, asked):
        assert Download([url], str(tmp_path), None).fetch().read_bytes() == CONTENT
    assert asked == ["bytes=50000-"]


def test_a_changed_file_is_downloaded_from_the_start(tmp_path: Path) -> None:
    newer = gzip.compress(b"newer" * 9999)

    def answer(server: Server, n: int) -> None:
        server.part(len(newer), newer, '"two"') if n else server.part(5000)

    with serving(answer) as (url, asked):
        assert Download([url], str(tmp_path), None).fetch().read_bytes() == newer
    assert asked == [None, "bytes=5000-"]


def test_a_server_without_versions_sends_all_data_again(tmp_path: Path) -> None:
    def answer(server: Server, n: int) -> None:
        server.send(CONTENT if n else CONTENT[:5000], len(CONTENT))

    with serving(answer) as (url, asked):
        assert Download([url], str(tmp_path), None).fetch().read_bytes() == CONTENT
    assert asked == [None, None]


def test_a_stalled_download_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_wrong_content_length_is_detected(tmp_path: Path) -> None:
    with serving(lambda server, _: server.send(CONTENT, len(CONTENT) + 9, ETag='"one"')) as (url, _):
        assert "IncompleteRead" in refused(tmp_path / "long", url)
    with serving(lambda server, _: server.send(CONTENT, len(CONTENT) - 9)) as (url, _):
        assert "not a whole gzip file" in refused(tmp_path / "short", url)
    assert left(tmp_path / "short") == set()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda server, _: server.send(b"<html>moved</html>"), "not a whole gzip file"),
        (lambda server, _: server.send(b"", status=404), "answers 404"),
        (lambda server, _: server.send(b"", status=503), "503"),
        (lambda server, _: server.send(CONTENT, status=206, Content_Range="bytes 7-9/10"), "another part"),
    ],
)
def test_after_a_bad_mirror_the_next_one_is_tried(answer: Answer, expected: str, tmp_path: Path) -> None:
    with serving(answer) as (bad, _), serving(lambda server, _: server.send(CONTENT)) as (good, asked):
        assert expected in refused(tmp_path, bad)
        assert left(tmp_path) <= {f".{NAME}.version"}
        assert Download([bad, good], str(tmp_path), None).fetch().read_bytes() == CONTENT
    assert len(asked) == 1


@contextmanager
def redirecting_to(*locations: str) -> Iterator[tuple[str, list[str | None]]]:
    """Start a server that redirects to one location after the other and then gives the file."""

    def answer(server: Server, n: int) -> None:
        server.send(b"", status=302, Location=locations[n]) if n < len(locations) else server.send(CONTENT)

    with serving(answer) as served:
        yield served


def test_unsafe_addresses_get_no_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The final response alone would not reveal an unsafe address that redirects back to a safe one."""
    monkeypatch.setattr(download, "LOCAL_HOSTS", ("127.0.0.1",))
    with serving(lambda server, _: server.send(b"", status=302, Location=back)) as (there, asked_there):
        unsafe = there.replace("127.0.0.1", "localhost")
        for location in (unsafe, unsafe.removeprefix("http:")):
            with redirecting_to(location) as (back, asked):
                assert f"leads to {unsafe}, which is not HTTPS" in refused(tmp_path, back)
            assert (len(asked), asked_there) == (1, [])
    assert left(tmp_path) == set()


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("file:///etc/hosts", "InvalidSchema"),
        ("ftp://localhost/a.gz", "InvalidSchema"),
        ("http://[bad", "Invalid"),
        ("\xff", "UnicodeDecodeError"),
        (NAME, "TooManyRedirects: Exceeded 10 redirects"),
    ],
)
def test_a_redirect_to_no_address_is_an_error(location: str, expected: str, tmp_path: Path) -> None:
    with serving(lambda server, _: server.send(b"", status=302, Location=location)) as (url, _):
        assert expected in refused(tmp_path, url)
    assert left(tmp_path) == set()


def test_safe_redirects_are_followed_and_downloads_resume(tmp_path: Path) -> None:
    with (
        serving(lambda server, n: server.part(50_000)) as (good, asked),
        serving(lambda server, _: server.send(b"", status=307, Location=good)) as (leading, _),
    ):
        assert Download([leading], str(tmp_path / "far"), None).fetch().read_bytes() == CONTENT
    assert asked[1] == "bytes=50000-"
    with redirecting_to("../a/b.gz", "?mirror=2", f"/{NAME}") as (url, asked):
        assert Download([url], str(tmp_path / "near"), None).fetch().read_bytes() == CONTENT
    assert len(asked) == 4


def test_a_content_length_that_is_not_a_number_is_ignored(tmp_path: Path) -> None:
    with serving(lambda server, _: server.send(CONTENT, Content_Length="soon")) as (url, _):
        assert Download([url], str(tmp_path), None).fetch().read_bytes() == CONTENT


def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    with serving(lambda server, _: server.send(CONTENT)) as (url, _):
        assert sha256(CONTENT).hexdigest() in refused(tmp_path, url, sha256="0" * 64)
    assert left(tmp_path) == set()


def test_concurrent_downloads_fetch_the_file_once(tmp_path: Path) -> None:
    with serving(lambda server, _: (time.sleep(0.1), server.send(CONTENT))[0]) as (url, asked):
        threads = [threading.Thread(target=Download([url], str(tmp_path), None).fetch) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(asked) == 1


def test_addresses_must_be_https(tmp_path: Path) -> None:
    for urls in (["http://example.org/a.gz"], [r"http://example.org\@localhost/a.gz"], ["https://example.org/"], []):
        with pytest.raises(InputError, match=r"dataset\.download\.urls"):
            Download(urls, str(tmp_path), None)


def test_editions_of_amazon_have_their_own_urls_and_folders(tmp_path: Path) -> None:
    for edition, name in ((2014, "reviews_Books_5.json.gz"), (2018, "Books_5.json.gz"), (2023, "Books.csv.gz")):
        keys = ("dataset.category=Books", f"dataset.edition={edition}", f"data_dir={tmp_path}")
        found = instantiate(composed("dataset=amazon", *keys).dataset).download
        assert found.path == tmp_path / f"amazon_{edition}" / name
        assert {url.rpartition("/")[2] for url in found.urls} == {name}
    with pytest.raises(InstantiationException, match=r"dataset\.edition=1999: must be one of 2014, 2018, 2023"):
        instantiate(composed("dataset=amazon", *keys[:1], "dataset.edition=1999").dataset)


def test_a_run_without_a_download_names_the_remedy(tmp_path: Path, run: Callable[..., Ended]) -> None:
    urls = f"dataset.download.urls=[https://127.0.0.1:9/{NAME}]"
    tiny = [key for key in TINY if not key.startswith(("dataset.num", "dataset.process"))]
    ended = run(*tiny, "dataset=beauty", urls, f"data_dir={tmp_path}", f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 1
    assert all(word in ended.line for word in (str(tmp_path / NAME), "127.0.0.1:9", "dataset.path=FILE"))
