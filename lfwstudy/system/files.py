"""Read and write files, never half: new content takes the name only once it is on disk."""

import csv
import fcntl
import io
import itertools
import json
import math
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lfwstudy.errors import ConfigError

# What a spreadsheet takes for a formula: at the start of a cell, or after any country's CSV separator.
FORMULA = re.compile(r"(^|[,;|\"])\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def given_path(text: str | Path) -> Path:
    """A path that a user gave, absolute; `~` is a home if there is such a user."""
    return Path(os.path.expanduser(text)).absolute()


def check_target(path: str | Path) -> None:
    """Raise ConfigError if a file to be written is a folder, or its folder is missing or not writable."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"{path}: its folder does not exist")
    if Path(path).is_dir():
        raise ConfigError(f"{path}: a folder; give the name of a file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{path}: its folder is not writable")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path next to `path` (with the same suffixes) that replaces it when the block ends without error.

    The content is on disk before it takes the name, so a crash leaves the old file or the new.
    """
    temporary = temporary_next_to(Path(path))
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder next to `path` that replaces it, with all it holds, when the block ends without error."""
    temporary = temporary_next_to(path)
    old = temporary.with_name(f"{temporary.name}.old")
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    finally:
        if old.exists() and not path.exists():  # interrupted between the two
            old.rename(path)
        for folder in (temporary, old):
            shutil.rmtree(folder, ignore_errors=True)


def temporary_next_to(path: Path) -> Path:
    """A hidden name next to `path`, with its suffixes, used by this process only and known to `sweep`."""
    return path.with_name(f".lfwstudy-{os.getpid()}.{path.name}")


def sweep(folder: str | Path, name: str = "*") -> None:
    """Delete the temporary files, of all files or the one called `name`, that killed processes left in a folder."""
    for path in Path(folder).glob(f".lfwstudy-[0-9]*.{name}"):
        if path.is_file() or path.is_symlink():
            path.unlink(missing_ok=True)


def name_aside(folder: Path) -> Path:
    """Where a damaged run's folder is set aside: FOLDER.damaged-1, or the next number that is free."""
    names = (folder.with_name(f"{folder.name}.damaged-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def set_aside_content(folder: Path) -> Path:
    """Move what an earlier process left in a run's folder to a folder next to it; returns that folder.

    Files that the current process has open stay; config.json is copied.
    """
    aside = name_aside(folder)
    aside.mkdir()
    for path in sorted(folder.iterdir()):
        if path.name == "config.json":
            shutil.copy2(path, aside)
        elif path.name not in (".lock", "job.json", "log.txt"):
            path.rename(aside / path.name)
    return aside


def check_zip(path: str | Path) -> None:
    """Read a zip file to the end, checksums included. For a damaged one it raises what `proves_damage` accepts."""
    with zipfile.ZipFile(path) as archive:
        if any(member.flag_bits & 1 for member in archive.infolist()):
            raise zipfile.BadZipFile("a member is encrypted")
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"{damaged} is damaged")


@contextmanager
def locked(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path`; the lock ends with this process, however that ends. Waits up to `patience` seconds.

    Raises BlockingIOError if another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A link planted in a folder from elsewhere is not followed, and nothing is truncated.
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)) as file:
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.2)
        yield


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock file `path`."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file, or nobody can tell
        pass
    return False


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text with `\\n` line ends, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, content: object) -> None:
    """Write JSON, atomically; NaN and infinity become the strings "nan" and "inf"."""
    write_text(path, json.dumps(_plain(content), indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read what `write_json` wrote. Raises ValueError if it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV in the order of `columns`, atomically; see `csv_text`."""
    write_text(path, csv_text(columns, rows))


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as the text of a CSV file, in the order of `columns`. None and missing values become empty fields."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [columns, *([cell(row.get(column)) for column in columns] for row in rows)]
    )
    return text.getvalue()


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """Rows of a CSV file as dicts of strings."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def cell(value: object) -> str:
    """A value as a CSV field: booleans as true and false, None as empty, numbers with at most 9 digits.

    Text that a spreadsheet would take for a formula gets an apostrophe in front, which makes it text there.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, str) and FORMULA.match(value):
        return f"'{value}"
    return str(value)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
