"""Finished runs kept in three files instead of a folder each, to be committed (`python -m tools.keep`).

`records.json` has each run's config.json and result.json by id; `histories.csv.xz` and `predictions.csv.xz` have the rows
of every run's history.csv and predictions.csv, with the run's id in an additional first column. pandas reads both.
"""

import csv
import lzma
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from lfwstudy.errors import RunError
from lfwstudy.system.files import read_json

RECORDS = "records.json"
TABLES = {"history.csv": "histories.csv.xz", "predictions.csv": "predictions.csv.xz"}
COLUMN = "run,"
_JSON = ("config.json", "result.json")


def kept_at(root: Path) -> int:
    """When `tools.keep` wrote to a folder, in nanoseconds; 0 for never."""
    try:
        return os.stat(root / RECORDS).st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0


@lru_cache(maxsize=8)
def kept_records(root: Path, written: int) -> dict[str, dict[str, dict]]:
    """The content of config.json and result.json by run and file; {} if nothing is kept. `written`: from `kept_at`.

    Raises RunError if the file is damaged.
    """
    try:
        kept = read_json(root / RECORDS) if written else {}
        return {run: {name: dict(files[name]) for name in _JSON} for run, files in kept.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _damaged(root / RECORDS, error) from error


@lru_cache(maxsize=16)
def kept_texts(root: Path, written: int, name: str) -> dict[str, str]:
    """Every run's history.csv or predictions.csv, exactly as training wrote it. Raises RunError if the file is damaged."""
    path = root / TABLES[name]
    try:
        with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
            return parted(file)
    except (EOFError, ValueError, StopIteration, lzma.LZMAError) as error:
        raise _damaged(path, error) from error


def parted(lines: Iterator[str]) -> dict[str, str]:
    """Every run's table, from the lines of all of them below one header.

    A run's rows may lack the last columns, which are newer than the run; so does its header then.
    """
    header = next(lines).removeprefix(COLUMN).rstrip("\n").split(",")
    texts: dict[str, list[str]] = {}
    for line in lines:
        run, _, row = line.partition(",")
        if run not in texts:
            texts[run] = [",".join(header[: len(next(csv.reader([row])))]) + "\n"]
        texts[run].append(row)
    return {run: "".join(rows) for run, rows in texts.items()}


def _damaged(path: Path, why: object) -> RunError:
    return RunError(f"{path}: damaged ({why}); get it again from its source")
