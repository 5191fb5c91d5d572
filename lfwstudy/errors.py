"""The errors that a user can cause and mend. Everything else is a bug and keeps its traceback."""

import csv
import errno
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")


class StudyError(Exception):
    """Something the user gave cannot be used; the message says what, where, and what to do."""


class DataError(StudyError, ValueError):
    """An image, pair file, archive or bank is missing, malformed or not what it claims to be."""


class ConfigError(StudyError, ValueError):
    """A setting has a value that does not exist or cannot work."""


class UnknownSettingError(ConfigError):
    """A configuration has a setting that this version does not know."""


class RunError(StudyError, RuntimeError):
    """A training process failed, or a stored run is damaged."""


class DamageError(RunError):
    """A file that training left behind was read and is damaged."""


# What readers raise over a file's content. Not RuntimeError or ImportError: a machine short of threads or files raises them, too.
_BY_PYTHON = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, RecursionError)
_BY_LIBRARIES = (NotImplementedError, csv.Error, struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


def proves_damage(error: BaseException) -> bool:
    """Whether what a reader raised is about the file's content.

    Else the machine could not read it (memory, open files, permission, a failing disk): the file may be whole.
    """
    if isinstance(error, OSError):  # without a number a library's own; EINVAL is an offset before the file's beginning
        return error.errno in (None, errno.EINVAL)
    return isinstance(error, (*_BY_PYTHON, *_BY_LIBRARIES, RunError))


def is_the_machines(error: BaseException) -> bool:
    """Whether the machine failed (memory, open files, permission, a failing disk), whatever a reader says of the file."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and not proves_damage(error))


@contextmanager
def reading(failure: str) -> Iterator[None]:
    """Raise a DataError, `failure` with the reason, where a reader finds a file's content unusable or no file.

    What says that the machine cannot read it now stays as it is.
    """
    try:
        yield
    except StudyError:
        raise
    except Exception as error:  # libraries raise many kinds for damaged files
        if is_the_machines(error) and not isinstance(error, (FileNotFoundError, IsADirectoryError)):
            raise
        raise DataError(f"{failure} ({one_line(error)[:200] or type(error).__name__})") from error


def one_line(text: object) -> str:
    """A text as one line of printable characters: names in it may come from anybody's files, and logs are read in terminals."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text).strip())


def quoted(value: object, most: int = 80) -> str:
    """A user's value as it is shown in a message: its `repr`, cut to `most` characters."""
    shown = repr(value[:most] if isinstance(value, str) else value)
    whole = len(shown) <= most and (not isinstance(value, str) or len(value) <= most)
    return shown if whole else f"{shown[: most - 4]}...{shown[-1]}"


def choose_one(kind: str, value: _T, known: Iterable[object]) -> _T:
    """`value` where it is among `known`.

    Raises
    ------
    ConfigError
        Where it is not; the message lists the known ones and the nearest.
    """
    if value in (known := list(known)):
        return value
    import difflib

    names = {str(k).lower(): str(k) for k in known}
    near = difflib.get_close_matches(str(value)[:80].lower(), names, n=1)
    hint = f"; did you mean {names[near[0]]!r}?" if near else "."
    raise ConfigError(f"unknown {kind} {quoted(value)}{hint} Known: {', '.join(names.values())}.")
