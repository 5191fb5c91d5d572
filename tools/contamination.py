"""Effect of identity overlap between training and validation: a cheap stand-in for the base network, many drawn splits.

`python -m tools.contamination --dataset lfw-deepfunneled --data-dir DIR --out DIR --json FILE` trains it under the splits
`components` (nobody in both) and `random`, each drawn again for every repeat, because validation sets differ in difficulty
by more than the effect in question. Finished runs are not trained again.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from lfwstudy.data.protocols import audit_split
from lfwstudy.data.registry import DATASETS
from lfwstudy.ladder import base_config
from lfwstudy.runs.job import Job
from lfwstudy.runs.store import Store
from lfwstudy.system.machine import cpu_name
from tools.measurement import Show, command, finish, job

SPLITS = ("components", "random")
# The base network with an eighth of the filters and smaller images: all pairs, until most are memorised.
STAND_IN = {"model.width": 0.125, "data.side": 73, "training.epochs": 8}


def contamination(
    dataset: str,
    data_dir: str,
    out: str | Path,
    repeats: int = 10,
    show: Show = print,
    changes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train and compare; returns what goes to the JSON file. Shares from 0 to 1, at the epoch of the best validation accuracy.

    Parameters
    ----------
    changes : dict, optional
        Changes to the stand-in.

    Returns
    -------
    dict
        `splits`: by name, means over the repeats of `touched` (validation pairs with a person of the training pairs), `train`,
        `validation` and `test` accuracy; `gap`, validation minus test with its interval; `runs`, the accuracies of each repeat.
        `wider`: the gap under `random` minus that under `components`, with its interval.

    Raises
    ------
    RunError
        If a run fails.
    """
    store = Store(Path(out) / "runs")
    base = base_config("report", dataset=dataset).change({**STAND_IN, **(changes or {})})
    jobs: dict[str, list[Job]] = {split: [] for split in SPLITS}
    for seed in range(repeats):
        for split in SPLITS:
            config = base.change({"data.split": split, "data.split_seed": seed})
            jobs[split].append(job(config, seed, "float32", data_dir, store, f"{split}, split {seed}"))
    finish([one for drawn in zip(*jobs.values(), strict=True) for one in drawn], store, show)
    found = {split: _summary(jobs[split], store, data_dir) for split in SPLITS}
    gaps = {split: _gaps(summary) for split, summary in found.items()}
    return {
        "dataset": DATASETS[dataset].title,
        "repeats": repeats,
        "machine": cpu_name(),
        "epochs": base.training.epochs,
        "width": base.model.width,
        "side": base.data.side,
        "splits": found,
        "wider": resampled_interval(gaps["random"] - gaps["components"], _share(jobs["random"][0], data_dir)),
    }


def resampled_interval(values: ArrayLike, share: float) -> list[float]:
    """Mean of a measure over repeated drawn splits, with the 95 % interval of the corrected resampled t-test: [mean, low, high].

    Splits drawn from the same pairs overlap, so their spread is too small; Nadeau and Bengio (2003), equation 9, adds the
    share. share: pairs held out per training pair.
    """
    values = np.asarray(values, float)
    error = np.sqrt((1 / len(values) + share) * values.var(ddof=1))
    half = stats.t.ppf(0.975, len(values) - 1) * error
    return [float(v) for v in (values.mean(), values.mean() - half, values.mean() + half)]


def _summary(jobs: Sequence[Job], store: Store, data_dir: str) -> dict[str, Any]:
    results = [store.result(one.run) for one in jobs]
    audits = [audit_split(one.config.data, data_dir) for one in jobs]
    names = {"train": "train", "validation": "val", "test": "test"}
    runs = [{name: result[f"{part}_accuracy_at_best"] for name, part in names.items()} for result in results]
    summary: dict[str, Any] = {name: float(np.mean([run[name] for run in runs])) for name in names}
    summary["touched"] = float(np.mean([a["touched_pairs"] / a["validation_pairs"] for a in audits]))
    summary["runs"] = runs
    return summary | {"gap": resampled_interval(_gaps(summary), _share(jobs[0], data_dir))}


def _gaps(summary: dict[str, Any]) -> np.ndarray:
    """Validation minus test accuracy of each repeat."""
    return np.array([run["validation"] - run["test"] for run in summary["runs"]])


def _share(one: Job, data_dir: str) -> float:
    """Pairs held out per training pair."""
    audit = audit_split(one.config.data, data_dir)
    return audit["validation_pairs"] / (audit["train_matched"] + audit["train_mismatched"])


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    description = "Effect of identity overlap between training and validation"
    return command(contamination, description, ("repeats", 10, "splits drawn of each kind, at least 2"), arguments)


if __name__ == "__main__":
    sys.exit(main())
