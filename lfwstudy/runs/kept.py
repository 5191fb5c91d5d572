"""Finished runs kept in three files instead of a folder each, to be committed (`python -m tools.keep`).

`records.json` has each run's config.json and result.json by id; `histories.csv.xz` and `predictions.csv.xz` have the rows
of every run's history.csv and predictions.csv, with the run's id in an additional first column. pandas reads both.
"""

import lzma
import os
from functools import cached_property, lru_cache
from pathlib import Path

from lfwstudy.errors import RunError
from lfwstudy.system.files import read_json

RECORDS = "records.json"
TABLES = {"history.csv": "histories.csv.xz", "predictions.csv": "predictions.csv.xz"}
COLUMN = "run,"
_JSON = ("config.json", "result.json")


class KeptRuns:
    """The runs that `tools.keep` wrote to a folder, if any. Tables are decompressed on demand.

    Attributes
    ----------
    written : int
        Time of writing in nanoseconds; 0 for none.
    records : dict
        The content of config.json and result.json, by run id and file.

    Raises
    ------
    RunError
        If a file is damaged.
    """

    def __init__(self, root: Path, written: int) -> None:
        self.root, self.written = root, written
        try:
            kept = read_json(root / RECORDS) if written else {}
            self.records = {run: {name: dict(files[name]) for name in _JSON} for run, files in kept.items()}
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise _damaged(root / RECORDS, error) from error

    def text(self, run: str, name: str) -> str:
        """A run's history.csv or predictions.csv, exactly as training wrote it. Raises KeyError for an unknown run."""
        return self._histories[run] if name == "history.csv" else self._predictions[run]

    @cached_property
    def _histories(self) -> dict[str, str]:
        return _split(self.root / TABLES["history.csv"])

    @cached_property
    def _predictions(self) -> dict[str, str]:
        return _split(self.root / TABLES["predictions.csv"])


@lru_cache(maxsize=8)
def _opened(root: Path, written: int) -> KeptRuns:
    return KeptRuns(root, written)


def kept_runs(root: Path) -> KeptRuns:
    """The runs kept in a folder, read once."""
    try:
        return _opened(root, os.stat(root / RECORDS).st_mtime_ns)
    except (FileNotFoundError, NotADirectoryError):
        return _opened(root, 0)


def _damaged(path: Path, why: object) -> RunError:
    return RunError(f"{path}: damaged ({why}); get it again from its source")


def _split(path: Path) -> dict[str, str]:
    """A table of all runs as one text per run, without the column that names it."""
    texts: dict[str, list[str]] = {}
    try:
        with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
            header = next(file).removeprefix(COLUMN)
            for line in file:
                run, _, row = line.partition(",")
                texts.setdefault(run, [header]).append(row)
    except (EOFError, ValueError, StopIteration, lzma.LZMAError) as error:
        raise _damaged(path, error) from error
    return {run: "".join(lines) for run, lines in texts.items()}
