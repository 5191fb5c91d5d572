"""Errors that a user can cause and fix. Everything else is a bug and keeps its traceback."""

import csv
import errno
import importlib.util
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")
# The extra that brings a package; the others are dependencies, which a core installation leaves out.
_EXTRAS = {"jax": "[jax]", "pyarrow": "[parquet]", "dask": "[cluster]", "distributed": "[cluster]"}


class StudyError(Exception):
    """Something the user gave is unusable; the message says what, where, and what to do."""


class DataError(StudyError, ValueError):
    """An image, pair file, archive or bank is missing, malformed or of another kind."""


class ConfigError(StudyError, ValueError):
    """A setting has an unknown or unworkable value."""


class UnknownSettingError(ConfigError):
    """A configuration has a setting unknown to this version."""


class RunError(StudyError, RuntimeError):
    """A training process failed, or a stored run is damaged."""


class DamageError(RunError):
    """A file that training left behind is damaged."""


# Errors of readers about a file's content. Not RuntimeError or ImportError: a machine short of threads or files raises them, too.
_BY_PYTHON = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, RecursionError)
_BY_LIBRARIES = (NotImplementedError, csv.Error, struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


def proves_damage(error: BaseException) -> bool:
    """Whether an error of a reader is about the file's content.

    Otherwise the machine could not read it (memory, open files, permission, a failing disk): the file may be intact.
    """
    if isinstance(error, OSError):  # no number: raised by a library; EINVAL: an offset before the file's beginning
        return error.errno in (None, errno.EINVAL)
    return isinstance(error, (*_BY_PYTHON, *_BY_LIBRARIES, RunError))


@contextmanager
def reading(failure: str) -> Iterator[None]:
    """Raise a DataError, `failure` with the reason, if a file is missing or its content unusable.

    Errors of the machine, which cannot read the file now, pass through.
    """
    try:
        yield
    except StudyError:
        raise
    except Exception as error:  # libraries raise many types for damaged files
        of_the_machine = isinstance(error, MemoryError) or (isinstance(error, OSError) and not proves_damage(error))
        if of_the_machine and not isinstance(error, (FileNotFoundError, IsADirectoryError)):
            raise
        raise DataError(f"{failure} ({one_line(error)[:200] or type(error).__name__})") from error


def one_line(text: object) -> str:
    """A text as one line of printable characters: it may contain names from untrusted files and be read in a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text).strip())


def quoted(value: object, most: int = 80) -> str:
    """A user's value for a message: its `repr`, cut to `most` characters."""
    shown = repr(value[:most] if isinstance(value, str) else value)
    whole = len(shown) <= most and (not isinstance(value, str) or len(value) <= most)
    return shown if whole else f"{shown[: most - 4]}...{shown[-1]}"


def first_few(texts: Sequence[str], most: int = 3) -> str:
    """The first of several texts, and the number of others."""
    return "; ".join(texts[:most]) + (f"; and {len(texts) - most} more" if len(texts) > most else "")


def require(*packages: str, otherwise: str = "") -> None:
    """Raise ConfigError if a package that a core installation may lack is not installed.

    otherwise: what to do without it, the end of the message.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ConfigError(missing(package) + otherwise)


def missing(package: str) -> str:
    """What to tell a user without a package."""
    return f"the package {package} is not installed: pip install 'lfwstudy{_EXTRAS.get(package, '')}'"


def choose_one(kind: str, value: _T, known: Iterable[object]) -> _T:
    """Return `value` if it is among `known`.

    Raises
    ------
    ConfigError
        If it is not; the message lists the known ones and the nearest.
    """
    if value in (known := list(known)):
        return value
    import difflib

    names = {str(k).lower(): str(k) for k in known}
    near = difflib.get_close_matches(str(value)[:80].lower(), names, n=1)
    hint = f"; did you mean {names[near[0]]!r}?" if near else "."
    raise ConfigError(f"unknown {kind} {quoted(value)}{hint} Known: {', '.join(names.values())}.")
