"""Fetch a public file once: from one of its mirrors, going on where a download broke off, checked before it counts."""

import gzip
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from filelock import FileLock
from requests.adapters import HTTPAdapter
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from urllib3.util import parse_url

from adamct.errors import require, writing
from adamct.values import Text
from datamodules.sources import sha256

TIMEOUT = (10.0, 30.0)
"""Seconds to connect, and between two arrivals of data."""
FRUITLESS = 3
"""Attempts in a row that brought nothing, after which the next mirror is tried."""
WAIT = 1.0
"""Seconds before the first repetition; each fruitless one doubles it."""
CHUNK = 1 << 14
"""Bytes written at a time; as many are lost where a server stalls."""
REDIRECTS = 10
"""The most that are followed, one after the other."""
HERE = ("localhost", "127.0.0.1", "[::1]")


class Broken(Exception):
    """A mirror does not give the file; says why."""


class SafeAdapter(HTTPAdapter):
    """Sends only requests to safe addresses, wherever redirects lead."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send a request; Broken if its address is not safe."""
        if not is_safe(request.url or ""):
            raise Broken(f"leads to {request.url}, which is not HTTPS")
        return super().send(request, *args, **options)


class Download:
    """A public file and where it is kept.

    Args:
        urls: its addresses, the most trusted first; all but this machine's own must be HTTPS.
        folder: where it goes, under the name it has in the first address.
        sha256: its hash, if that is known.
    """

    def __init__(self, urls: Sequence[Text], folder: Text, sha256: Text | None):
        for url in urls:
            require(is_safe(url), f"dataset.download.urls: {url}: must begin with https://")
        require(bool(urls), "dataset.download.urls: must hold at least one address")
        name = Path(urlsplit(urls[0]).path).name
        require(name not in ("", ".."), f"dataset.download.urls: {urls[0]}: must end with the name of a file")
        self.urls = list(urls)
        self.path = Path(folder) / name
        self.sha256 = sha256

    @property
    def partial(self) -> Path:
        """What has arrived so far."""
        return self.path.with_name(f".{self.path.name}.part")

    @property
    def version(self) -> Path:
        """Which version of the file that is of, as its server calls it."""
        return self.path.with_name(f".{self.path.name}.version")

    def fetch(self) -> Path:
        """The file's path, after downloading it if it is not there; processes that ask at the same time wait.

        Raises:
            InputError: no mirror gives it; what has arrived is kept, to go on from.
        """
        if self.path.exists():
            return self.path
        with writing(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with writing(self.path.parent), FileLock(self.path.with_name(f".{self.path.name}.lock")):
            problems = []
            for url in self.urls:
                if self.path.exists():  # another process was first
                    break
                try:
                    self.download(url)
                    self.check()
                    self.partial.replace(self.path)
                    self.version.unlink(missing_ok=True)
                except Broken as error:
                    problems.append(f"{url}: {error}")
            else:
                require(
                    self.path.exists(),
                    f"{self.path}: could not be downloaded ({'; '.join(problems)}): try again, put the file there by "
                    "hand, or give dataset.path=FILE",
                )
        return self.path

    def download(self, url: str) -> None:
        """Bring the partial file to its end, in as many attempts as bring something."""
        with requests.Session() as session, progress() as bar:
            session.max_redirects = REDIRECTS
            for scheme in ("https://", "http://"):
                session.mount(scheme, SafeAdapter())
            task = bar.add_task(self.path.name, total=None)
            fruitless = 0
            while (error := self.attempt(session, url, bar, task, have := self.arrived())) is not None:
                fruitless = 0 if self.arrived() > have else fruitless + 1
                if fruitless == FRUITLESS:
                    raise Broken(reason(error))
                time.sleep(WAIT * 2 ** max(0, fruitless - 1))

    def attempt(self, session: requests.Session, url: str, bar: Progress, task: TaskID, have: int) -> Exception | None:
        """Receive what is missing; return what ended it before the end, ValueError for a redirect to no address."""
        try:
            self.receive(session, url, bar, task, have)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            return error
        return None

    def receive(self, session: requests.Session, url: str, bar: Progress, task: TaskID, have: int) -> None:
        """Ask for what is missing, or for all where the server cannot tell that its file is still the same."""
        known = self.version.read_text("latin-1") if have and self.version.exists() else None
        headers = {"Accept-Encoding": "identity"}
        if known:
            headers |= {"Range": f"bytes={have}-", "If-Range": known}
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                self.forget()
                raise requests.ConnectionError("its file has become shorter")
            if response.status_code >= 500 or response.status_code == requests.codes.too_many_requests:
                response.raise_for_status()
            if response.status_code not in (requests.codes.ok, requests.codes.partial_content):
                raise Broken(f"answers {response.status_code} {response.reason}")
            goes_on = response.status_code == requests.codes.partial_content
            if goes_on and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                self.forget()
                raise requests.ConnectionError("sends another part than was asked for")
            length = response.headers.get("Content-Length", "")
            start = have if goes_on else 0
            bar.update(task, completed=start, total=start + int(length) if length.isdecimal() else None)
            if not goes_on:
                self.forget()
                version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
                self.version.write_text(version, "latin-1")
            with self.partial.open("ab" if goes_on else "wb") as file:
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    file.write(chunk)
                    bar.advance(task, len(chunk))

    def arrived(self) -> int:
        """Bytes of the partial file."""
        return self.partial.stat().st_size if self.partial.exists() else 0

    def forget(self) -> None:
        """Start from nothing."""
        self.partial.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)

    def check(self) -> None:
        """Refuse, and forget, what has arrived if it is not the file it should be."""
        try:
            if self.sha256 is not None and (found := sha256(self.partial)) != self.sha256:
                raise Broken(f"gives another file, of SHA-256 {found} and not {self.sha256}")
            if self.sha256 is None and self.path.suffix == ".gz":
                with gzip.open(self.partial) as file:
                    while file.read(1 << 20):
                        pass
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self.forget()
            raise Broken(f"gives what is no whole gzip file ({error})") from error
        except Broken:
            self.forget()
            raise


def is_safe(url: str) -> bool:
    """Whether nobody on the way can change what an address gives, which is read as the connection will read it."""
    try:
        parts = parse_url(url)
    except urllib3.exceptions.LocationParseError:
        return False
    return bool(parts.host) and (parts.scheme == "https" or (parts.scheme == "http" and parts.host in HERE))


def reason(error: Exception) -> str:
    """The innermost cause of a failed request, in a line."""
    while (inner := error.__cause__ or error.__context__) is not None and isinstance(inner, Exception):
        error = inner
    return f"{type(error).__name__}: {error}".splitlines()[0][:160]


def progress() -> Progress:
    """A bar with the bytes, the speed and the time left."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, transient=True)
