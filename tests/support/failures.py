"""A machine that fails for a moment."""

import builtins
import errno
import io
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FAILURES = {
    "too many open files": OSError(errno.EMFILE, "Too many open files"),
    "a failing disk": OSError(errno.EIO, "Input/output error"),
    "no permission": PermissionError(errno.EACCES, "Permission denied"),
    "no memory": MemoryError(),
}
failures = pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)


@contextmanager
def no_more_files() -> Iterator[None]:
    """Nothing can be opened, as in a process that has as many files open as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def cannot_open(monkeypatch: pytest.MonkeyPatch, name: str, failure: BaseException) -> None:
    """Opening a file of that name fails."""
    opened = io.open

    def fails(path, *more, **named):
        if not isinstance(path, int) and os.path.basename(path) == name:
            raise failure
        return opened(path, *more, **named)

    monkeypatch.setattr(io, "open", fails)
    monkeypatch.setattr(builtins, "open", fails)


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()
    }
