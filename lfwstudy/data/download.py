"""Downloads: over https, verified by digest."""

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from lfwstudy.data.cache import cache_folder, making
from lfwstudy.data.registry import Download
from lfwstudy.errors import DataError, one_line


def fetch(name: str, source: Download) -> Path:
    """A downloaded file, verified by its digest; from the cache if it is there.

    Raises
    ------
    DataError
        If it cannot be downloaded or has another digest; it is then kept as NAME.refused and not used.
    """
    target = cache_folder() / "downloads" / name
    if not _has_digest(target, source.digest):
        with making(target):
            if not _has_digest(target, source.digest):  # another process may have fetched it meanwhile
                _download(name, source, target)
    return target


def digest_of(path: Path, like: str) -> str:
    """A file's digest by the same algorithm as `other`: "sha256:..." for "sha256:..."."""
    import pooch

    algorithm = like.partition(":")[0]
    return f"{algorithm}:{pooch.file_hash(path, alg=algorithm)}"


def _has_digest(path: Path, digest: str) -> bool:
    return path.is_file() and digest_of(path, digest) == digest


def _download(name: str, source: Download, target: Path) -> None:
    import pooch

    _require_https(source.url)
    part, refused = (target.with_name(f"{name}.{state}") for state in ("part", "refused"))
    part.unlink(missing_ok=True)
    # The digest is checked here, because pooch deletes a file with the wrong one.
    registry, urls, hooks = {part.name: None}, {part.name: source.url}, {"response": _follow_https_only}
    keeper = pooch.create(target.parent, "", registry=registry, urls=urls, retry_if_failed=2)
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30, hooks=hooks)
    advice = "put it in a folder and give that folder with --data-dir or $LFWSTUDY_DATA"
    advice = f"If you have the file (digest {source.digest}), {advice}."
    try:
        keeper.fetch(part.name, downloader=downloader)
    except Exception as error:  # requests, urllib3 and pooch raise many types
        reason = one_line(error)[:120] or type(error).__name__
        raise DataError(f"{name} could not be downloaded from {source.url} ({reason}). {advice}") from error
    found = digest_of(part, source.digest)
    if found != source.digest:
        os.replace(part, refused)
        raise DataError(
            f"{name} from {source.url} has the digest {found}, not {source.digest}: it has changed or was cut short. "
            f"It is kept as {refused} and not used. {advice}"
        )
    os.replace(part, target)


def _require_https(url: str) -> None:
    host = urlsplit(url)
    if host.scheme != "https" and host.hostname != "127.0.0.1":
        raise DataError(f"{url}: only https is used for downloads")


def _follow_https_only(response: Any, **_: Any) -> None:
    if response.is_redirect:
        _require_https(urljoin(response.url, response.headers["location"]))
