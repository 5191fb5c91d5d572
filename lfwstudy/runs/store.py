"""The store of runs: which are finished, what they measured, which are damaged."""

import csv
import io
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from lfwstudy.errors import RunError
from lfwstudy.evaluation.metrics import calibrated
from lfwstudy.runs.damage import NEEDED, SETS, problem_of
from lfwstudy.runs.job import Job
from lfwstudy.runs.kept import kept_at, kept_records, kept_texts
from lfwstudy.system.files import name_aside, read_json, write_json
from lfwstudy.system.machine import cores
from lfwstudy.system.processes import environment

FILES = ("config.json", "history.csv", "predictions.csv", "result.json")
_HEADER = "set,pair,left,right,label,score,score_at_best"
_FEW = 500  # this many runs are checked before other processes would have started

Scores = dict[str, np.ndarray]


class Store:
    """The runs of a folder, by id: a folder each, or kept together in a few files (`lfwstudy.runs.kept`).

    Training writes the folders; here they are read, and damaged ones renamed. Kept runs are only read.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def folder(self, run: str) -> Path:
        """Folder of a run."""
        return self.root / run

    def ids(self) -> list[str]:
        """Ids of all runs, finished or not, sorted."""
        return sorted(
            {path.name for path in self.root.glob("*") if path.is_dir() and "." not in path.name} | set(self._kept)
        )

    def is_finished(self, run: str, with_test: bool = False) -> bool:
        """Whether a run's four files exist (weights are optional), `with_test` with scored test pairs too."""
        # Called often for every run of a large store, and Path is slow.
        there = all(_is_file(f"{self.root}/{run}/{name}") for name in FILES) or run in self._kept
        return there and (not with_test or self.result(run)["test_accuracy"] is not None)

    def has_done(self, job: Job) -> bool:
        """Whether a job's run is finished, with scored test pairs if those are its task."""
        return self.is_finished(job.run, with_test=job.task == "score-test")

    def record(self, run: str) -> tuple[dict, dict]:
        """config.json and result.json as they are."""
        return self._json(run, "config.json"), self._json(run, "result.json")

    def result(self, run: str) -> dict:
        """The numbers and words of result.json; "nan" and "inf" are floats again.

        Raises
        ------
        FileNotFoundError
            If there is none.
        RunError
            If it is damaged.
        """
        return _result(str(self.root), run, self._written(run, "result.json"))

    def text(self, run: str, name: str) -> str:
        """A run's history.csv or predictions.csv as training wrote it. Raises FileNotFoundError if there is none."""
        try:
            return (self.folder(run) / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            if run not in self._kept:
                raise
            return kept_texts(self.root, kept_at(self.root), name)[run]

    def history(self, run: str) -> list[dict[str, float]]:
        """A row per epoch, also of unfinished runs; [] if there is none yet or it is damaged."""
        try:
            # Runs of earlier versions have fewer columns; runs resumed from one have empty fields.
            return [
                {key: int(value) if key == "epoch" else float(value or "nan") for key, value in row.items()}
                for row in csv.DictReader(io.StringIO(self.text(run, "history.csv")))
            ]
        except (FileNotFoundError, ValueError, TypeError, csv.Error):
            return []

    def predictions(self, run: str, part: str = "test") -> dict[str, np.ndarray]:
        """Scored pairs of a set: arrays pair, left, right, label, score, score_at_best, each (pairs,).

        Raises RunError where they are damaged.
        """
        text = io.StringIO(self.text(run, "predictions.csv"))
        kinds = {"pair": int, "left": str, "right": str, "label": int, "score": float, "score_at_best": float}
        try:
            rows = [row for row in csv.DictReader(text) if row["set"] == part]
            return {key: np.array([kind(row[key]) for row in rows]) for key, kind in kinds.items()}
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise _damaged(self.folder(run) / "predictions.csv", error) from error

    def scores(self, run: str, part: str = "test") -> Scores:
        """Only the numbers of `predictions`, many times faster: float arrays label, score, score_at_best."""
        return _scores(str(self.root), run, self._written(run, "predictions.csv"), part)

    def read_scores(self, run: str, parts: Collection[str]) -> dict[str, Scores]:
        """label, score and score_at_best of each requested set. Lines of other sets, half of a file, are not parsed."""
        header, *lines = self.text(run, "predictions.csv").split("\n")
        of_set = {name: [line for line in lines if line.startswith(f"{name},")] for name in SETS}
        counted = sum(map(len, of_set.values()))
        whole = header == _HEADER and counted > 0 and lines[counted:] == [""]
        scores = {}
        for part in parts if whole else ():
            numbers = _numbers(of_set[part])
            whole = whole and len(numbers) == len(of_set[part])
            scores[part] = dict(zip(("label", "score", "score_at_best"), numbers.T))
        if not whole:
            raise _damaged(self.folder(run) / "predictions.csv")
        return scores

    def calibrated_scores(self, run: str) -> Scores:
        """`scores` of the test pairs, both columns calibrated on the validation pairs (Platt 1999)."""
        test, held = self.scores(run), self.scores(run, "val")
        columns = ("score", "score_at_best")
        return {"label": test["label"]} | {c: calibrated(held["label"], held[c], test[c]) for c in columns}

    def has_weights(self, run: str) -> bool:
        """Whether a run's network is kept."""
        return os.path.isfile(f"{self.root}/{run}/model.keras")

    def can_score(self, run: str) -> bool:
        """Whether the weights of both scored epochs of a finished run are there."""
        result = self.result(run)
        epochs = {result["evaluated_epoch"], result["best_epoch"]} - {None}
        return all((self.folder(run) / f"epoch-{epoch:04d}.weights.h5").is_file() for epoch in epochs)

    def drop_weights(self, run: str) -> None:
        """Delete a finished run's network, and the resume state that a process killed at its end left; the run stays."""
        for pattern in ("model.keras", "epoch-*.weights.h5", "resume.npz"):
            for path in self.folder(run).glob(pattern):
                path.unlink(missing_ok=True)

    def set_aside_damaged(self) -> Iterator[str]:
        """Set every damaged run aside; yields a message for each.

        A run whose files have not changed since the last check is not read again.
        """
        path = self.root.with_name(".checked.json")
        try:
            known = dict(read_json(path))
        except (OSError, ValueError, TypeError):
            known = {}
        stamps = {run: stamp for run in self.ids() if (stamp := self._stamp(run)) is not None}
        changed = [run for run, stamp in stamps.items() if stamp != known.get(run)]
        for run, problem in zip(changed, self._check(changed)):
            if problem:
                del stamps[run]
                aside = name_aside(self.folder(run))
                shutil.move(self.folder(run), aside)
                yield f"run {run} was damaged ({problem}); it is set aside as {aside.name}"
        if stamps != known:
            with suppress(OSError):  # a read-only folder is checked again each time
                write_json(path, stamps)

    def _check(self, runs: list[str]) -> Iterator[str | None]:
        """`problem_of` each run; many are read on all cores, which halves the half minute that 10,000 take on one."""
        count = cores() if len(runs) > _FEW else 1
        parts = [runs[first::count] for first in range(count)]
        with ThreadPoolExecutor(count) as pool:
            found = dict(pair for part in pool.map(self._check_elsewhere, parts) for pair in part) if count > 1 else {}
        yield from (found[run] if run in found else problem_of(self, run) for run in runs)

    def _check_elsewhere(self, runs: list[str]) -> Iterator[tuple[str, str | None]]:
        """Each run with its `problem_of`, from a separate process; nothing if that fails, killed for its memory, say."""
        command = [sys.executable, "-m", "lfwstudy.runs.damage", str(self.root)]
        done = subprocess.run(command, input=json.dumps(runs), capture_output=True, text=True, env=environment())
        return zip(runs, json.loads(done.stdout) if done.returncode == 0 else ())

    def _stamp(self, run: str) -> list[int] | None:
        """Sizes and times of a finished run's files, None if it has no folder with all of them."""
        try:
            stats = [os.stat(f"{self.root}/{run}/{name}") for name in FILES]
        except OSError:
            return None
        if self.has_weights(run):
            stats.append(os.stat(f"{self.root}/{run}/model.keras"))
        # The change time too: copies keep the modification time.
        return [number for found in stats for number in (found.st_size, found.st_mtime_ns, found.st_ctime_ns)]

    @cached_property
    def _kept(self) -> dict[str, dict[str, dict]]:
        return kept_records(self.root, kept_at(self.root))

    def _written(self, run: str, name: str) -> int:
        """When a run's file was last written."""
        try:
            return os.stat(f"{self.root}/{run}/{name}").st_mtime_ns
        except FileNotFoundError:
            if run not in self._kept:
                raise
            return kept_at(self.root)

    def _json(self, run: str, name: str) -> dict:
        try:
            return read_json(self.folder(run) / name)
        except FileNotFoundError:
            if run not in self._kept:
                raise
            return self._kept[run][name]


def _is_file(path: str) -> bool:
    """Whether a file exists. Raises OSError if the system cannot tell, because its run would be trained again."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _damaged(path: Path, why: object = "") -> RunError:
    told = f" ({why})" if why else ""
    return RunError(f"{path}: damaged{told}; `lfwstudy run` sets such a run aside and trains it again")


@lru_cache(maxsize=32_768)
def _result(root: str, run: str, written: int) -> dict:
    try:
        content = Store(root)._json(run, "result.json").items()
    except (ValueError, AttributeError) as error:
        raise _damaged(Path(root, run, "result.json"), error) from error
    plain = {key: value for key, value in content if not isinstance(value, (dict, list))}
    if missing := [name for name in NEEDED if name not in plain]:
        raise _damaged(Path(root, run, "result.json"), f"no {missing[0]}")
    return {key: float(value) if value in ("nan", "inf", "-inf") else value for key, value in plain.items()}


@lru_cache(maxsize=512)
def _scores(root: str, run: str, written: int, part: str) -> Scores:
    return Store(root).read_scores(run, (part,))[part]


def _numbers(lines: list[str]) -> np.ndarray:
    """The last three columns of lines of predictions.csv: float (lines, 3)."""
    if not lines:
        return np.empty((0, 3))
    return np.loadtxt(lines, delimiter=",", quotechar='"', comments=None, usecols=(4, 5, 6), ndmin=2)
