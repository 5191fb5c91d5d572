"""The published histories, and their comparison epoch by epoch with runs of the ladder `published`.

The histories are facts of the published code's saved runs (github.com/MaorSagi/SiameseCNN): total loss and accuracy of
training and validation. `augmentation: before-activation-patience10` is a trial that the report does not print.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lfwstudy.system.files import read_csv

# Validation losses are compared from this epoch on, until both are below LEARNED: the rest is mostly cross-entropy.
FROM_EPOCH, LEARNED = 5, 2.0
# Validation losses and stopping epochs may differ by this share.
TOLERANCE = 0.2


class Reproduction(NamedTuple):
    """A run compared with the published run of the same variant.

    farthest: the largest deviation of its total validation loss in the compared epochs, as a share of the published one;
    at_epoch: its epoch; reproduced: whether losses and stopping epoch are both within TOLERANCE.
    """

    farthest: float
    at_epoch: int
    reproduced: bool


@cache
def published_histories() -> dict[tuple[str, str], tuple[dict, ...]]:
    """The published runs' rows (epoch, loss, accuracy, val_loss, val_accuracy) by stage and variant."""
    found: dict[tuple[str, str], list[dict]] = {}
    for row in read_csv(Path(__file__).with_name("published_histories.csv")):
        numbers = {name: float(row[name]) for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        found.setdefault((row["stage"], row["variant"]), []).append({"epoch": int(row["epoch"]), **numbers})
    return {key: tuple(rows) for key, rows in found.items()}


def compare(rows: Sequence[dict], published: Sequence[dict]) -> Reproduction | None:
    """Compare a run's history with the published one. None if they share no epoch from FROM_EPOCH on."""
    farthest, at_epoch = -1.0, 0
    for ours, theirs in zip(rows[FROM_EPOCH - 1 :], published[FROM_EPOCH - 1 :]):
        if max(ours["val_loss"], theirs["val_loss"]) < LEARNED:
            break
        deviation = abs(ours["val_loss"] / theirs["val_loss"] - 1)
        if not deviation <= farthest:  # a diverged loss, not a number, is farthest of all
            farthest, at_epoch = deviation, theirs["epoch"]
    stopped = abs(len(rows) - len(published)) <= TOLERANCE * len(published)
    return Reproduction(farthest, at_epoch, farthest <= TOLERANCE and stopped) if at_epoch else None


def scaled(rows: Sequence[dict], factor: float) -> list[dict]:
    """A published history with its epochs scaled by a profile, to be drawn under that profile's curves."""
    return [{**row, "epoch": row["epoch"] * factor} for row in rows]


LOSS_EPOCHS, ACCURACY_EPOCHS = (1, 2, 3, 5, 10, 20, 60, 100, 150), (20, 40, 80, 150)
