"""The cache folder for banks and downloads, filled by one process at a time; downloads are over https, verified by digest."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from lfwstudy.errors import DataError, one_line
from lfwstudy.system.files import given_path, locked, replacing_folder

# How long one process waits for another that fills the same part of the cache.
_PATIENCE_SECONDS = 3600


@dataclass(frozen=True)
class Download:
    """A file on the network with its digest ("sha256:...", "sha1:..." or "md5:..."); `url` is empty if none is verified."""

    url: str
    digest: str


def cache_folder() -> Path:
    """The folder for banks, downloads and demo faces: $LFWSTUDY_CACHE, else the user's cache folder."""
    if given := os.environ.get("LFWSTUDY_CACHE"):
        return given_path(given)
    import pooch

    return Path(pooch.os_cache("lfwstudy"))


@contextmanager
def making(path: Path) -> Iterator[None]:
    """Keep other processes from making the same cache file at the same time."""
    try:
        with locked(path.with_name(f".{path.name}.lock"), _PATIENCE_SECONDS):
            yield
    except BlockingIOError:
        raise DataError(f"{path}: another process has been making this file for an hour; end it first") from None


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """A folder in the cache, whose content `make` writes into a temporary folder if there is none yet."""
    if not folder.is_dir():
        with making(folder):
            if not folder.is_dir():  # another process may have made it meanwhile
                for left in folder.parent.glob(f".lfwstudy-*.{folder.name}"):  # by processes that were killed
                    shutil.rmtree(left, ignore_errors=True)
                with replacing_folder(folder) as temporary:
                    make(temporary)
    return folder


def fetch(name: str, source: Download) -> Path:
    """A downloaded file, verified by its digest; from the cache if it is there.

    Raises
    ------
    DataError
        If it cannot be downloaded or has another digest.
    """
    import pooch

    target = cache_folder() / "downloads" / name
    if target.is_file() and digest_of(target, source.digest) == source.digest:
        return target
    _require_https(source.url)
    keeper = pooch.create(target.parent, "", registry={name: source.digest}, urls={name: source.url}, retry_if_failed=2)
    hooks = {"response": _follow_https_only}
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30, hooks=hooks)
    try:
        with making(target):  # another process may be fetching it
            keeper.fetch(name, downloader=downloader)
    except Exception as error:  # requests, urllib3 and pooch raise many types
        raise DataError(
            f"{name} could not be downloaded from {source.url} ({one_line(error)[:300] or type(error).__name__}). If you "
            f"have the file (digest {source.digest}), put it in a folder and give that with --data-dir or $LFWSTUDY_DATA."
        ) from error
    return target


def digest_of(path: Path, like: str) -> str:
    """A file's digest by the same algorithm as another: "sha256:..." for "sha256:..."."""
    import pooch

    algorithm = like.partition(":")[0]
    return f"{algorithm}:{pooch.file_hash(path, alg=algorithm)}"


def _require_https(url: str) -> None:
    host = urlsplit(url)
    if host.scheme != "https" and host.hostname != "127.0.0.1":
        raise DataError(f"{url}: only https is used for downloads")


def _follow_https_only(response: Any, **_: Any) -> None:
    if response.is_redirect:
        _require_https(urljoin(response.url, response.headers["location"]))
