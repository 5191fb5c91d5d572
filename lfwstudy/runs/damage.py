"""Check a finished run: read its files in full and compare them with each other."""

import json
import math
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lfwstudy.config import TRAINING_VERSION, RunConfig
from lfwstudy.errors import UnknownSettingError, one_line, proves_damage, quoted
from lfwstudy.system.files import check_zip

if TYPE_CHECKING:
    from lfwstudy.runs.store import Store

SETS = ("train", "val", "test")
# Fields of result.json needed to compare, choose and show a run.
NUMBERS = ("epochs_run", "evaluated_epoch", "best_epoch", "val_accuracy_at_best", "val_cross_entropy")
NEEDED = ("run", "status", *NUMBERS, *(f"{part}_accuracy" for part in SETS))


def problem_of(store: "Store", run: str) -> str | None:
    """The fault in a finished run's files, or None.

    Raises
    ------
    OSError, MemoryError
        If the machine cannot read them: the run may be intact.
    """
    try:
        return next(_problems(store, run), None)
    except Exception as error:
        if not proves_damage(error):
            raise
        return f"{type(error).__name__}: {one_line(error)[:200]}"


def _problems(store: "Store", run: str) -> Iterator[str]:
    config, result = store.record(run)
    if config["run"] != run or result["run"] != run:
        yield "its files name another run"
    if not _is_named_by(config, run):
        yield "config.json does not match the run's id"
    for name in NUMBERS:
        if not isinstance(result[name], (int, float, type(None))) and result[name] not in ("nan", "inf", "-inf"):
            yield f"result.json has {name} {quoted(result[name])}"
    if result["status"] not in ("finished", "diverged"):
        yield f"result.json has status {quoted(result['status'])}"
    rows = store.history(run)
    if [row["epoch"] for row in rows] != list(range(1, result["epochs_run"] + 1)):
        yield f"history.csv has {len(rows)} readable epochs, result.json {result['epochs_run']}"
    accuracies = {part: float(stored) for part in SETS if (stored := result[f"{part}_accuracy"]) is not None}
    for part, scored in store.read_scores(run, accuracies).items():
        stored = accuracies[part]
        got = np.mean((scored["score"] > 0.5) == (scored["label"] > 0.5)) if len(scored["label"]) else math.nan
        if math.isfinite(stored) and not abs(got - stored) < 1e-6:
            yield f"predictions.csv gives {part} accuracy {got:.4f}, result.json {stored:.4f}"
    if store.has_weights(run):
        check_zip(store.folder(run) / "model.keras")


def _is_named_by(config: dict, run: str) -> bool:
    """Whether the content of config.json matches the run's id, as far as this version can tell."""
    known = config.get("version") == TRAINING_VERSION and "data_digest" in config
    if not known or not re.fullmatch("[0-9a-f]{16}", run):
        return True
    try:
        configuration = RunConfig.from_dict(config["config"])
    except UnknownSettingError:  # from a later version
        return True
    return run == configuration.identify(config["seed"], config["precision"], config["data_digest"])


if __name__ == "__main__":  # for a store of many runs: the folder is the argument, the runs come in
    from lfwstudy.runs.store import Store

    print(json.dumps([problem_of(Store(sys.argv[1]), run) for run in json.load(sys.stdin)]))
