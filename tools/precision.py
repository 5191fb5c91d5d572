"""The cost of rounding: the base network in float32, with its convolutions in bfloat16, and with everything in bfloat16.

`python -m tools.precision --dataset lfw-deepfunneled --data-dir DIR --out DIR --json FILE` trains it from the same seeds in
each. With bfloat16's eight bits of mantissa, a sigmoid near 0 or 1 is exactly 0 or 1 and passes no gradient: that is why
only convolutions use it. Finished runs are not trained again.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lfwstudy.config import ALL_BFLOAT16, PRECISIONS
from lfwstudy.data.protocols import load_pairs
from lfwstudy.data.registry import DATASETS
from lfwstudy.data.splits import component_labels
from lfwstudy.evaluation import intervals
from lfwstudy.evaluation.metrics import EPSILON
from lfwstudy.ladder import base_config
from lfwstudy.report.table import Column, Table
from lfwstudy.runs.job import Job
from lfwstudy.runs.store import Scores, Store
from lfwstudy.system.machine import cpu_name
from lfwstudy.system.precision import has_bfloat16
from tools.measurement import Show, command, finish, job

ALL = (*PRECISIONS, ALL_BFLOAT16)
EPOCHS = 10
FROM_EPOCH = 6  # training accuracy is compared as its mean over this epoch and those after it
# More than this between two precisions' training accuracy is a cost.
TOLERANCE = 0.03
# About a quarter of the full network's arithmetic.
STAND_IN = {"model.width": 0.5, "training.epochs": EPOCHS}


def precision(
    dataset: str,
    data_dir: str,
    out: str | Path,
    seeds: int = 3,
    show: Show = print,
    changes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train and compare; returns what goes to the JSON file. Accuracies from 0 to 1, cross-entropies in nats.

    Parameters
    ----------
    changes : dict, optional
        Changes to the stand-in.

    Returns
    -------
    dict
        `networks`: by precision, means over seeds of `accuracy` (of training, over the epochs from `from_epoch` on), by seed
        `accuracies`, `loss` (total, of training, last epoch), and, except for float32 itself, `difference` (of `accuracy` to
        float32's), `within` (whether it is at most `tolerance`) and `entropy` (validation cross-entropy after the last epoch
        minus float32's on the same pairs and seeds: [mean, low, high]).

    Raises
    ------
    RunError
        If a run fails.
    """
    store = Store(Path(out) / "runs")
    config = base_config("report", dataset=dataset).change({**STAND_IN, **(changes or {})})
    first = min(FROM_EPOCH, config.training.epochs)
    jobs: dict[str, list[Job]] = {name: [] for name in ALL}
    for seed in range(seeds):
        for name in ALL:
            jobs[name].append(job(config, seed, name, data_dir, store, f"{name}, seed {seed}"))
    finish([one for of_seed in zip(*jobs.values(), strict=True) for one in of_seed], store, show)
    components = component_labels(load_pairs(config.data, data_dir).validation)
    networks = {name: _network(jobs[name], store, first) for name in ALL}
    entropies = {name: np.stack([_entropy(store.scores(one.run, "val")) for one in jobs[name]]) for name in ALL}
    for name in (name for name in ALL if name != "float32"):
        difference = networks[name]["accuracy"] - networks["float32"]["accuracy"]
        found = intervals.compare([(entropies[name], entropies["float32"])], components)[0]
        networks[name] |= {"difference": difference, "within": abs(difference) <= TOLERANCE}
        networks[name]["entropy"] = [found.difference, found.low, found.high]
    return {
        "dataset": DATASETS[dataset].title,
        "machine": cpu_name(),
        "emulated": not has_bfloat16(),
        "seeds": seeds,
        "width": config.model.width,
        "side": config.data.side,
        "epochs": config.training.epochs,
        "from_epoch": first,
        "tolerance": TOLERANCE,
        "networks": networks,
    }


def _network(jobs: Sequence[Job], store: Store, first: int) -> dict[str, Any]:
    histories = [store.history(one.run) for one in jobs]
    each = [float(np.mean([row["accuracy"] for row in rows if row["epoch"] >= first])) for rows in histories]
    loss = float(np.mean([rows[-1]["loss"] for rows in histories]))
    return {"accuracy": float(np.mean(each)), "accuracies": each, "loss": loss}


TITLES = {
    "float32": "nothing",
    "bfloat16": "the convolutions, and the gradient that they get",
    ALL_BFLOAT16: "everything",
}


def table(result: dict[str, Any]) -> Table:
    """The comparison as a table."""
    within, entropy = f"at most {100 * result['tolerance']:g}", "validation cross-entropy minus float32's [95 %]"
    columns = [
        Column("computed in bfloat16"),
        Column("training accuracy", "percent"),
        Column("minus float32's", "points", digits=2),
        Column(within),
        Column(entropy),
        Column("total loss", "number"),
    ]
    rows = []
    for name, n in result["networks"].items():
        row = {"computed in bfloat16": TITLES[name], "training accuracy": n["accuracy"], "total loss": n["loss"]}
        if name != "float32":
            row |= {"minus float32's": n["difference"], within: "yes" if n["within"] else "no"}
            row[entropy] = "{:+.4f} [{:+.4f}, {:+.4f}]".format(*n["entropy"])
        rows.append(row)
    filters = "" if result["width"] == 1 else f" with {result['width']:g} of its filters"
    how = "emulated: sums in float32, layer outputs rounded" if result["emulated"] else "in the hardware"
    caption = (
        f"{result['dataset']}, the base network{filters}, {result['side']}x{result['side']} pixels, {result['epochs']} epochs, "
        f"the same {result['seeds']} seeds in each; accuracy in percent over epochs {result['from_epoch']} to {result['epochs']} "
        f"and seeds; {result['machine']}, bfloat16 {how}. Intervals: over connected components of people and seeds."
    )
    return Table(columns, rows, caption)


def _entropy(scores: Scores) -> np.ndarray:
    """Cross-entropy of each pair, in nats: float (pairs,)."""
    same, score = scores["label"] > 0.5, np.clip(scores["score"], EPSILON, 1 - EPSILON)
    return -np.log(np.where(same, score, 1 - score))


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""

    def measure(*given: Any) -> dict[str, Any]:
        result = precision(*given)
        print(table(result).to_markdown())
        return result

    description = "Does rounding to bfloat16 cost accuracy?"
    return command(measure, description, ("seeds", 3, "runs in each precision, at least 2"), arguments)


if __name__ == "__main__":
    sys.exit(main())
