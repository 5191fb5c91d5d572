"""Where does a run live? The store: what is finished, what can go on, what a run measured."""

import math
import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np

from .errors import RunError
from .files import read_csv, read_json

FILES = ("config.json", "history.csv", "predictions.csv", "result.json")


class Store:
    """The folder of runs, each a folder named by its id. Reads only; training writes."""

    def __init__(self, root):
        self.root = Path(root)

    def folder(self, run):
        """Folder of a run."""
        return self.root / run

    def is_finished(self, run, with_test=False):
        """Whether a run's four files are there (weights are optional), `with_test` with scored test pairs too."""
        if not all((self.folder(run) / name).is_file() for name in FILES):
            return False
        return not with_test or self.result(run)["test_accuracy"] is not None

    def ids(self):
        """Ids of all runs that have a folder, finished or not, sorted."""
        return sorted(p.name for p in self.root.glob("*") if p.is_dir() and "." not in p.name) \
            if self.root.is_dir() else []

    def result(self, run):
        """result.json of a finished run; "nan" and "inf" are floats again. Raises RunError where it is damaged."""
        path = self.folder(run) / "result.json"
        try:
            content = read_json(path).items()
        except (ValueError, AttributeError) as error:
            raise RunError(f"{path}: damaged ({error}); `lfwstudy run` sets such a run aside and trains it anew") from error
        return {key: float(value) if value in ("nan", "inf", "-inf") else value
                for key, value in content if not isinstance(value, (dict, list))}

    def record(self, run):
        """config.json and result.json as they are."""
        return read_json(self.folder(run) / "config.json"), read_json(self.folder(run) / "result.json")

    def history(self, run):
        """History rows as dicts of numbers, [] where there is none yet. Of unfinished runs too."""
        path = self.folder(run) / "history.csv"
        if not path.is_file():
            return []
        return [{key: int(value) if key == "epoch" else float(value) for key, value in row.items()}
                for row in read_csv(path)]

    def predictions(self, run, part="test"):
        """Scored pairs of a set: dict of arrays pair, left, right, label, score, score_at_best."""
        path = self.folder(run) / "predictions.csv"
        return _predictions(path, path.stat().st_mtime_ns, part)

    def has_weights(self, run):
        """Whether a run's network is kept."""
        return (self.folder(run) / "model.keras").is_file()

    def can_score(self, run):
        """Whether the weights of both scored epochs of a finished run are there."""
        result = self.result(run)
        epochs = {result["evaluated_epoch"], result["best_epoch"]} - {None}
        return all((self.folder(run) / f"epoch-{epoch:04d}.weights.h5").is_file() for epoch in epochs)

    def drop_weights(self, run):
        """Delete a run's network; the finished run stays."""
        for path in [self.folder(run) / "model.keras", *self.folder(run).glob("epoch-*.weights.h5")]:
            path.unlink(missing_ok=True)

    def set_aside_if_damaged(self, run):
        """Rename a finished-looking run whose files cannot be read or do not fit; returns what is wrong, or None."""
        if not self.is_finished(run):
            return None
        try:
            problem = self._problem(run)
        except Exception as error:  # whatever a damaged file makes the readers raise
            problem = f"{type(error).__name__}: {error}"
        if problem is None:
            return None
        number = 1
        while (aside := self.root / f"{run}.damaged-{number}").exists():
            number += 1
        shutil.move(self.folder(run), aside)
        return f"run {run} was damaged ({problem}); it is set aside as {aside.name}"

    def _problem(self, run):
        config, result = self.record(run)
        if config["run"] != run or result["run"] != run:
            return "its files name another run"
        rows = self.history(run)
        if [row["epoch"] for row in rows] != list(range(1, result["epochs_run"] + 1)):
            return f"history.csv has {len(rows)} epochs, result.json {result['epochs_run']}"
        for part in ("train", "val", "test"):
            stored = self.result(run)[f"{part}_accuracy"]
            if stored is None:
                continue
            scored = self.predictions(run, part)
            got = np.mean((scored["score"] > 0.5) == (scored["label"] > 0.5)) if len(scored["label"]) else math.nan
            if math.isfinite(stored) and not abs(got - stored) < 1e-6:
                return f"predictions.csv gives {part} accuracy {got:.4f}, result.json {stored:.4f}"
        return None


@lru_cache(maxsize=512)
def _predictions(path, stamp, part):
    rows = [row for row in read_csv(path) if row["set"] == part]
    kinds = {"pair": int, "left": str, "right": str, "label": int, "score": float, "score_at_best": float}
    return {key: np.array([kind(row[key]) for row in rows]) for key, kind in kinds.items()}
