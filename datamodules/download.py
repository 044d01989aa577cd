"""The download of a public file: once, from one of its mirrors, resumable, and checked at the end."""

import gzip
import shutil
import time
import zipfile
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
"""The longest seconds to connect, and between two pieces of data."""
MAX_FAILURES = 3
"""The attempts in a row without any data after which the next mirror is tried."""
WAIT = 1.0
"""Seconds before the first retry. Each attempt without data doubles them."""
CHUNK = 1 << 14
"""Bytes written at a time. At most as many are lost if a server stalls."""
MAX_REDIRECTS = 10
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


class MirrorError(Exception):
    """The reason why a mirror does not give the file."""


class SafeAdapter(HTTPAdapter):
    """An adapter that sends requests, also those of redirects, only to safe addresses."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send a request; raise a MirrorError if its address is not safe."""
        if not is_safe(request.url or ""):
            raise MirrorError(f"leads to {request.url}, which is not HTTPS")
        return super().send(request, *args, **options)


class Download:
    """A public file that is downloaded on first use.

    Args:
        urls: its addresses, the most trusted first. They must be HTTPS, except those of this machine.
        folder: its folder. Its name is that in the first address.
        sha256: its SHA-256; None if that is unknown.
        member: the name of the only file to keep of a zip archive; None for a file that is no archive.
    """

    def __init__(self, urls: Sequence[Text], folder: Text, sha256: Text | None, member: Text | None = None):
        for url in urls:
            require(is_safe(url), f"dataset.download.urls: {url}: must begin with https://")
        require(bool(urls), "dataset.download.urls: must hold at least one address")
        name = Path(member or urlsplit(urls[0]).path).name
        require(name not in ("", ".."), f"dataset.download.urls: {urls[0]}: must end with the name of a file")
        self.urls = list(urls)
        self.path = Path(folder) / name
        self.sha256 = sha256
        self.member = member

    @property
    def partial(self) -> Path:
        """The file with the data received so far."""
        return self.path.with_name(f".{self.path.name}.part")

    @property
    def version(self) -> Path:
        """The file with the server's name for the version of that data."""
        return self.path.with_name(f".{self.path.name}.version")

    def fetch(self) -> Path:
        """Download the file if it is not there, and return its path. Other processes wait meanwhile.

        Raises:
            InputError: no mirror gives it. The data received so far is kept, so that the next call continues.
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
                    received = self.partial if self.member is None else self.unpack(self.member)
                    received.replace(self.path)
                    self.forget()
                except MirrorError as error:
                    problems.append(f"{url}: {error}")
            else:
                require(
                    self.path.exists(),
                    f"{self.path}: could not be downloaded ({'; '.join(problems)}); try again, put the file there by "
                    "hand, or give dataset.path=FILE",
                )
        return self.path

    def download(self, url: str) -> None:
        """Complete the partial file, in any number of attempts as long as they receive data."""
        with requests.Session() as session, progress() as bar:
            session.max_redirects = MAX_REDIRECTS
            for scheme in ("https://", "http://"):
                session.mount(scheme, SafeAdapter())
            task = bar.add_task(self.path.name, total=None)
            failures = 0
            while (error := self.attempt(session, url, bar, task, size := self.partial_size())) is not None:
                failures = 0 if self.partial_size() > size else failures + 1
                if failures == MAX_FAILURES:
                    raise MirrorError(reason(error))
                time.sleep(WAIT * 2 ** max(0, failures - 1))

    def attempt(self, session: requests.Session, url: str, bar: Progress, task: TaskID, size: int) -> Exception | None:
        """Receive the missing data; return the error that interrupted it, ValueError for a redirect to no address."""
        try:
            self.receive(session, url, bar, task, size)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            return error
        return None

    def receive(self, session: requests.Session, url: str, bar: Progress, task: TaskID, size: int) -> None:
        """Request the missing data, or all data if the server has no name for the version of its file."""
        version = self.version.read_text(encoding="latin-1") if size and self.version.exists() else None
        headers = {"Accept-Encoding": "identity"}
        if version:
            headers |= {"Range": f"bytes={size}-", "If-Range": version}
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                self.forget()
                raise requests.ConnectionError("its file has become shorter")
            if response.status_code >= 500 or response.status_code == requests.codes.too_many_requests:
                response.raise_for_status()
            if response.status_code not in (requests.codes.ok, requests.codes.partial_content):
                raise MirrorError(f"answers {response.status_code} {response.reason}")
            continues = response.status_code == requests.codes.partial_content
            if continues and not response.headers.get("Content-Range", "").startswith(f"bytes {size}-"):
                self.forget()
                raise requests.ConnectionError("sends another part than was requested")
            length = response.headers.get("Content-Length", "")
            start = size if continues else 0
            bar.update(task, completed=start, total=start + int(length) if length.isdecimal() else None)
            if not continues:
                self.forget()
                version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
                self.version.write_text(version, encoding="latin-1")
            with self.partial.open("ab" if continues else "wb") as file:
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    file.write(chunk)
                    bar.advance(task, len(chunk))

    def partial_size(self) -> int:
        """Return the size of the partial file in bytes; 0 if there is none."""
        return self.partial.stat().st_size if self.partial.exists() else 0

    def forget(self) -> None:
        """Delete the partial file."""
        self.partial.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)

    def check(self) -> None:
        """Check the received file; delete it and raise a MirrorError if it is not the expected one."""
        try:
            if self.sha256 is not None and (digest := sha256(self.partial)) != self.sha256:
                raise MirrorError(f"gives another file, with SHA-256 {digest} and not {self.sha256}")
            if self.sha256 is None and self.path.suffix == ".gz":
                with gzip.open(self.partial) as file:
                    while file.read(1 << 20):
                        pass
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self.forget()
            raise MirrorError(f"gives a file that is not a whole gzip file ({error})") from error
        except MirrorError:
            self.forget()
            raise

    def unpack(self, name: str) -> Path:
        """Write the file that has a name in the received archive, in any folder of it, to a temporary file.

        Raises:
            MirrorError: the archive is damaged, or has not one such file. It is deleted.
        """
        unpacked = self.path.with_name(f".{self.path.name}.unpacked")
        try:
            with zipfile.ZipFile(self.partial) as archive:
                members = [member for member in archive.namelist() if member.rpartition("/")[2] == name]
                if len(members) != 1:
                    raise MirrorError(f"gives an archive that holds {len(members)} files {name}, and not one")
                with archive.open(members[0]) as source, unpacked.open("wb") as target:
                    shutil.copyfileobj(source, target)
        except (zipfile.BadZipFile, EOFError, zlib.error) as error:
            self.forget()
            raise MirrorError(f"gives a file that is not a whole zip archive ({error})") from error
        except MirrorError:
            self.forget()
            raise
        return unpacked


def is_safe(url: str) -> bool:
    """Return whether an address is HTTPS or on this machine. It is parsed as the connection parses it."""
    try:
        parts = parse_url(url)
    except urllib3.exceptions.LocationParseError:
        return False
    return bool(parts.host) and (parts.scheme == "https" or (parts.scheme == "http" and parts.host in LOCAL_HOSTS))


def reason(error: Exception) -> str:
    """Return the innermost cause of a failed request, in one line."""
    while (inner := error.__cause__ or error.__context__) is not None and isinstance(inner, Exception):
        error = inner
    return f"{type(error).__name__}: {error}".splitlines()[0][:160]


def progress() -> Progress:
    """Make a progress bar with the bytes, the speed and the time left."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, transient=True)
