"""What are people on both sides of a split worth? A cheap stand-in for the base network, trained under many drawn splits.

`python -m tools.contamination --dataset lfw-deepfunneled --data-dir DIR --out DIR --json FILE` trains it under the splits
`components` (nobody on both sides) and `random`, each drawn anew for every repeat: one validation side is easier than
another by more than the effect that is looked for. What was trained already is not trained again.
"""

import sys
from pathlib import Path

import numpy as np

from lfwstudy.data.protocols import audit_split
from lfwstudy.data.registry import DATASETS
from lfwstudy.ladder import base_config
from lfwstudy.runs.store import Store
from lfwstudy.system.machine import cpu_name
from tools.measurement import command, finish, job

SPLITS = ("components", "random")
# The base network with an eighth of the filters and smaller pictures: all pairs, until most training pairs are known.
STAND_IN = {"model.width": 0.125, "data.side": 73, "training.epochs": 8}


def contamination(dataset, data_dir, out, repeats=10, show=print, changes=None):
    """Train and compare; returns a JSON-ready dict. Shares in 0..1, at the epoch of the best validation accuracy.

    splits: by name, means over the repeats of `touched` (validation pairs with a person of the training side), `train`,
    `validation` and `test` accuracy, `gap`, validation minus test with its interval, and `runs`, the accuracies of each repeat. wider: the gap under `random` minus
    that under `components`, with its interval. changes: to the stand-in. Raises RunError where a run fails.
    """
    base, store = (
        base_config("report", dataset=dataset).change({**STAND_IN, **(changes or {})}),
        Store(Path(out) / "runs"),
    )
    jobs = {
        (split, seed): job(
            base.change({"data.split": split, "data.split_seed": seed}),
            seed,
            "float32",
            data_dir,
            store,
            f"{split}, split {seed}",
        )
        for seed in range(repeats)
        for split in SPLITS
    }
    finish(jobs.values(), store, show)
    splits, gaps = {}, {}
    for split in SPLITS:
        results = [store.result(jobs[split, seed].run) for seed in range(repeats)]
        audits = [audit_split(jobs[split, seed].config.data, data_dir) for seed in range(repeats)]
        validation, test, train = (
            np.array([r[name] for r in results])
            for name in ("val_accuracy_at_best", "test_accuracy_at_best", "train_accuracy_at_best")
        )
        gaps[split] = validation - test
        share = audits[0]["validation_pairs"] / (audits[0]["train_matched"] + audits[0]["train_mismatched"])
        splits[split] = {
            "touched": float(np.mean([a["touched_pairs"] / a["validation_pairs"] for a in audits])),
            "train": float(train.mean()),
            "validation": float(validation.mean()),
            "test": float(test.mean()),
            "gap": resampled_interval(gaps[split], share),
            "runs": [
                {
                    "train": r["train_accuracy_at_best"],
                    "validation": r["val_accuracy_at_best"],
                    "test": r["test_accuracy_at_best"],
                }
                for r in results
            ],
        }
    return {
        "dataset": DATASETS[dataset].title,
        "repeats": repeats,
        "machine": cpu_name(),
        "epochs": base.training.epochs,
        "width": base.model.width,
        "side": base.data.side,
        "splits": splits,
        "wider": resampled_interval(gaps["random"] - gaps["components"], share),
    }


def resampled_interval(values, share, level=0.95):
    """Mean of a measure over repeated drawn splits, with the interval of the corrected resampled t-test: [mean, low, high].

    share: pairs held out per training pair. Splits drawn from the same pairs overlap, so that their spread tells too little;
    Nadeau and Bengio (2003), equation 9, adds the share.
    """
    from scipy import stats

    values = np.asarray(values, float)
    error = np.sqrt((1 / len(values) + share) * values.var(ddof=1))
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * error
    return [float(v) for v in (values.mean(), values.mean() - half, values.mean() + half)]


def main(arguments=None):
    """The command; returns the exit status."""
    return command(
        contamination,
        "What are people on both sides of a split worth?",
        arguments,
        ("repeats", 10, "splits drawn of each kind, at least 2"),
    )


if __name__ == "__main__":
    sys.exit(main())
