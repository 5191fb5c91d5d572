"""How does a file get here from the network? Over https, verified by its digest."""

import os
import sys
from urllib.parse import urljoin, urlsplit

from lfwstudy.data.cache import cache_folder, making
from lfwstudy.errors import DataError


def fetch(name, source):
    """Download a file into the cache, verified by its digest; from the cache where it is there.

    A file with another digest is refused and kept aside as NAME.refused. Raises DataError.
    """
    target = cache_folder() / "downloads" / name
    if not _has_digest(target, source.digest):
        with making(target):
            if not _has_digest(target, source.digest):  # another process may have fetched it meanwhile
                _download(name, source, target)
    return target


def _has_digest(path, digest):
    import pooch

    algorithm, _, wanted = digest.partition(":")
    return path.is_file() and pooch.file_hash(path, alg=algorithm) == wanted


def _download(name, source, target):
    import pooch

    folder = target.parent
    algorithm, _, digest = source.digest.partition(":")
    _require_https(source.url)
    # Checked here, not by pooch, which throws a file with another digest away.
    keeper = pooch.create(
        folder, base_url="", registry={f"{name}.part": None}, urls={f"{name}.part": source.url}, retry_if_failed=2
    )
    help_ = (
        f"If you have the file (digest {source.digest}), put it in a folder and give that folder with --data-dir or "
        "$LFWSTUDY_DATA."
    )
    part = folder / f"{name}.part"
    part.unlink(missing_ok=True)
    try:
        keeper.fetch(
            part.name,
            downloader=pooch.HTTPDownloader(
                progressbar=sys.stderr.isatty(), timeout=30, hooks={"response": _follow_https_only}
            ),
        )
    except Exception as error:  # requests, urllib3 and pooch raise many kinds
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise DataError(f"{name} could not be downloaded from {source.url} ({reason}). {help_}") from error
    found = pooch.file_hash(part, alg=algorithm)
    if found != digest:
        os.replace(part, folder / f"{name}.refused")
        raise DataError(
            f"{name} from {source.url} has the digest {algorithm}:{found}, not {source.digest}: it has changed "
            f"or was cut short. It is kept aside as {folder / f'{name}.refused'} and not used. {help_}"
        )
    os.replace(part, target)


def _require_https(url):
    host = urlsplit(url)
    if host.scheme != "https" and host.hostname != "127.0.0.1":
        raise DataError(f"{url}: only https is used for downloads")


def _follow_https_only(response, **_):
    if response.is_redirect:
        _require_https(urljoin(response.url, response.headers["location"]))
