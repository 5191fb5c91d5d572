"""Where does a run live? The store: what is finished, what can go on, what a run measured."""

import csv
import io
import json
import math
import os
import re
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np

from lfwstudy.config import TRAINING_VERSION, RunConfig
from lfwstudy.errors import RunError, UnknownSettingError, one_line, proves_damage, quoted
from lfwstudy.evaluation.metrics import calibrated
from lfwstudy.system.files import check_zip, name_aside, read_csv, read_json, write_json
from lfwstudy.system.machine import cores
from lfwstudy.system.processes import environment

FILES = ("config.json", "history.csv", "predictions.csv", "result.json")
# What result.json must have for a run to be compared, chosen and shown.
NUMBERS = ("epochs_run", "evaluated_epoch", "best_epoch", "val_accuracy_at_best", "val_cross_entropy")
_SETS = ("train", "val", "test")
_HEADER = "set,pair,left,right,label,score,score_at_best\n"


class Store:
    """The folder of runs, each a folder named by its id. Training writes them; here they are read, and damaged ones renamed."""

    def __init__(self, root):
        self.root = Path(root)

    def folder(self, run):
        """Folder of a run."""
        return self.root / run

    def is_finished(self, run, with_test=False):
        """Whether a run's four files are there (weights are optional), `with_test` with scored test pairs too."""
        folder = f"{self.root}/{run}"  # asked for every run of a large store again and again: Path is slow
        if not all(_is_file(f"{folder}/{name}") for name in FILES):
            return False
        return not with_test or self.result(run)["test_accuracy"] is not None

    def ids(self):
        """Ids of all runs that have a folder, finished or not, sorted."""
        return (
            sorted(p.name for p in self.root.glob("*") if p.is_dir() and "." not in p.name)
            if self.root.is_dir()
            else []
        )

    def result(self, run):
        """result.json of a finished run; "nan" and "inf" are floats again. Raises RunError where it is damaged."""
        path = f"{self.root}/{run}/result.json"
        return _result(path, os.stat(path).st_mtime_ns)

    def record(self, run):
        """config.json and result.json as they are."""
        return read_json(self.folder(run) / "config.json"), read_json(self.folder(run) / "result.json")

    def history(self, run):
        """History rows as dicts of numbers, [] where there is none yet or it is damaged. Of unfinished runs too."""
        try:
            # Runs of earlier versions have fewer columns, those resumed from one empty fields in them.
            return [
                {key: int(value) if key == "epoch" else float(value or "nan") for key, value in row.items()}
                for row in read_csv(self.folder(run) / "history.csv")
            ]
        except (FileNotFoundError, ValueError, TypeError, csv.Error):
            return []

    def predictions(self, run, part="test"):
        """Scored pairs of a set: dict of arrays pair, left, right, label, score, score_at_best."""
        rows = [row for row in read_csv(self.folder(run) / "predictions.csv") if row["set"] == part]
        kinds = {"pair": int, "left": str, "right": str, "label": int, "score": float, "score_at_best": float}
        return {key: np.array([kind(row[key]) for row in rows]) for key, kind in kinds.items()}

    def scores(self, run, part="test"):
        """The numbers of `predictions` alone, many times faster: dict of arrays label, score, score_at_best."""
        path = self.folder(run) / "predictions.csv"
        return _scores(path, path.stat().st_mtime_ns, part)

    def calibrated_scores(self, run):
        """`scores` of the test pairs, both columns calibrated on the validation pairs (Platt 1999)."""
        test, held = self.scores(run), self.scores(run, "val")
        return {
            "label": test["label"],
            **{column: calibrated(held["label"], held[column], test[column]) for column in ("score", "score_at_best")},
        }

    def has_weights(self, run):
        """Whether a run's network is kept."""
        return os.path.isfile(f"{self.root}/{run}/model.keras")

    def can_score(self, run):
        """Whether the weights of both scored epochs of a finished run are there."""
        result = self.result(run)
        epochs = {result["evaluated_epoch"], result["best_epoch"]} - {None}
        return all((self.folder(run) / f"epoch-{epoch:04d}.weights.h5").is_file() for epoch in epochs)

    def drop_weights(self, run):
        """Delete a run's network; the finished run stays."""
        for path in [self.folder(run) / "model.keras", *self.folder(run).glob("epoch-*.weights.h5")]:
            path.unlink(missing_ok=True)

    def set_aside_damaged(self):
        """Set every damaged run aside; yields what is to be said of each.

        A run whose files have not changed since it was last found whole is not read again: of ten thousand runs that
        takes a quarter of a minute.
        """
        path = self.root.with_name(".checked.json")
        try:
            known = dict(read_json(path))
        except (OSError, ValueError, TypeError):
            known = {}
        stamps = {run: stamp for run in self.ids() if (stamp := self._stamp(run)) is not None}
        changed = [run for run, stamp in stamps.items() if stamp != known.get(run)]
        for run, problem in zip(changed, self._problems(changed)):
            if problem:
                del stamps[run]
                yield self._set_aside(run, problem)
        if stamps != known:
            try:
                write_json(path, stamps)
            except OSError:  # a folder that can only be read is looked at anew each time
                pass

    def _stamp(self, run):
        """Sizes and times of a finished run's files, None where it is not finished. Copies have other times of change."""
        try:
            stats = [os.stat(f"{self.root}/{run}/{name}") for name in FILES]
        except OSError:
            return None
        if self.has_weights(run):
            stats.append(os.stat(f"{self.root}/{run}/model.keras"))
        return [number for found in stats for number in (found.st_size, found.st_mtime_ns, found.st_ctime_ns)]

    def set_aside_if_damaged(self, run):
        """Rename a finished-looking run whose files cannot be read or do not fit; returns what is wrong, or None."""
        problem = self._what_is_wrong(run) if self.is_finished(run) else None
        return self._set_aside(run, problem) if problem else None

    def _set_aside(self, run, problem):
        aside = name_aside(self.folder(run))
        shutil.move(self.folder(run), aside)
        return f"run {run} was damaged ({problem}); it is set aside as {aside.name}"

    def _problems(self, runs, few=500):
        """What is wrong with each run, None where nothing is; of many by processes of their own, one a core."""
        if len(runs) <= few or cores() == 1:
            return map(self._what_is_wrong, runs)
        parts = [runs[first :: cores()] for first in range(cores())]
        with ThreadPoolExecutor(len(parts)) as pool:
            told = pool.map(self._ask_a_process, parts)
            found = {
                run: problem for part, problems in zip(parts, told) for run, problem in zip(part, problems, strict=True)
            }
        return [found[run] for run in runs]

    def _ask_a_process(self, runs):
        done = subprocess.run(
            [sys.executable, "-m", "lfwstudy.runs.store", str(self.root)],
            input=json.dumps(runs),
            text=True,
            capture_output=True,
            env=environment(),
        )
        return json.loads(done.stdout) if done.returncode == 0 else list(map(self._what_is_wrong, runs))

    def _what_is_wrong(self, run):
        try:
            return self._problem(run)
        except Exception as error:
            if not proves_damage(error):
                raise
            return f"{type(error).__name__}: {one_line(error)[:200]}"

    def _id_of(self, config, run):
        """The id that config.json's content gives; `run` itself where a later version's settings stand in it."""
        try:
            return RunConfig.from_dict(config["config"]).identify(
                config["seed"], config["precision"], config["data_digest"]
            )
        except UnknownSettingError:
            return run

    def _problem(self, run):
        config, result = self.record(run)
        if config["run"] != run or result["run"] != run:
            return "its files name another run"
        named = (
            re.fullmatch("[0-9a-f]{16}", run) and config.get("version") == TRAINING_VERSION and "data_digest" in config
        )
        if named and run != self._id_of(config, run):
            return "config.json is not of the configuration that names the run"
        wrong = [
            name
            for name in NUMBERS
            if not isinstance(result[name], (int, float, type(None))) and result[name] not in ("nan", "inf", "-inf")
        ]
        if wrong or result["status"] not in ("finished", "diverged"):
            return (
                f"result.json has {wrong[0] if wrong else 'status'} {quoted(result[wrong[0] if wrong else 'status'])}"
            )
        rows = self.history(run)
        if [row["epoch"] for row in rows] != list(range(1, result["epochs_run"] + 1)):
            return f"history.csv has {len(rows)} readable epochs, result.json {result['epochs_run']}"
        stored_of = {part: float(stored) for part in _SETS if (stored := result[f"{part}_accuracy"]) is not None}
        scored_of = _read_scores(self.folder(run) / "predictions.csv", stored_of)
        for part, stored in stored_of.items():
            scored = scored_of[part]
            got = np.mean((scored["score"] > 0.5) == (scored["label"] > 0.5)) if len(scored["label"]) else math.nan
            if math.isfinite(stored) and not abs(got - stored) < 1e-6:
                return f"predictions.csv gives {part} accuracy {got:.4f}, result.json {stored:.4f}"
        if self.has_weights(run):
            try:
                check_zip(self.folder(run) / "model.keras")
            except Exception as error:
                if not proves_damage(error):
                    raise
                return "model.keras is cut short or corrupted"
        return None


def _is_file(path):
    """Whether a file is there. Raises OSError where the system cannot tell: its run would be trained again."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


@lru_cache(maxsize=32_768)
def _result(path, stamp):
    try:
        content = read_json(path).items()
    except (ValueError, AttributeError) as error:
        raise RunError(f"{path}: damaged ({error}); `lfwstudy run` sets such a run aside and trains it anew") from error
    return {
        key: float(value) if value in ("nan", "inf", "-inf") else value
        for key, value in content
        if not isinstance(value, (dict, list))
    }


@lru_cache(maxsize=512)
def _scores(path, stamp, part):
    return _read_scores(path, (part,))[part]


def _read_scores(path, parts):
    """Of each set asked for: label, score, score_at_best. Other sets' lines are not read: they are half of a file."""
    text = path.read_text(encoding="utf-8")
    # As training writes them, the sets stand one after the other.
    starts = [text.find(f"\n{name},") for name in _SETS]
    found = [at for at in starts if at >= 0]
    whole = text.startswith(_HEADER) and text.endswith("\n") and found and found == sorted(found)
    scores = {}
    for part in parts if whole else ():
        at = starts[_SETS.index(part)]
        lines = text[at : next((other for other in found if other > at), len(text))] if at >= 0 else ""
        numbers = (
            np.loadtxt(
                io.StringIO(lines), delimiter=",", quotechar='"', comments=None, skiprows=1, usecols=(4, 5, 6), ndmin=2
            )
            if lines
            else np.empty((0, 3))
        )
        whole = whole and lines.count(f"\n{part},") == len(numbers)
        scores[part] = dict(zip(("label", "score", "score_at_best"), numbers.T))
    if not whole:
        raise RunError(f"{path}: damaged; `lfwstudy run` sets such a run aside and trains it anew")
    return scores


if __name__ == "__main__":
    print(json.dumps([Store(sys.argv[1])._what_is_wrong(run) for run in json.load(sys.stdin)]))
