"""The cache folder for banks and downloads, filled by one process at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lfwstudy.errors import DataError
from lfwstudy.system.files import locked

# How long one process waits for another that fills the same part of the cache.
_PATIENCE_SECONDS = 3600


def cache_folder() -> Path:
    """The folder for banks, downloads and demo faces: $LFWSTUDY_CACHE, else the user's cache folder."""
    import pooch

    given = os.environ.get("LFWSTUDY_CACHE")
    return Path(given).expanduser().absolute() if given else Path(pooch.os_cache("lfwstudy"))


@contextmanager
def making(path: Path) -> Iterator[None]:
    """Keep other processes from making the same cache file at the same time."""
    try:
        with locked(path.with_name(f".{path.name}.lock"), _PATIENCE_SECONDS):
            yield
    except BlockingIOError:
        raise DataError(f"{path}: another process has been making this file for an hour; end it first") from None
