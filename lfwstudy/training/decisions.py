"""Decisions from a history: best epoch, checkpoints, stopping and learning rate, as functions of the epochs' rows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lfwstudy.config import TrainingConfig

COLUMNS = (
    "epoch",
    "loss",
    "cross_entropy",
    "accuracy",
    "val_loss",
    "val_cross_entropy",
    "val_accuracy",
    "learning_rate",
    "seconds",
    "penalty",
    "head_penalty",
)
# A history: for each epoch, its number and values by column.
Rows = list[dict[str, Any]]
_Rows = Sequence[Mapping[str, Any]]


def best_epoch(rows: _Rows) -> int | None:
    """Epoch of the highest validation accuracy, ties by lower validation cross-entropy, then the earlier.

    None if no epoch has a finite validation loss.
    """
    usable = [row for row in rows if math.isfinite(row["val_cross_entropy"])]
    if not usable:
        return None
    return min(usable, key=lambda r: (-r["val_accuracy"], r["val_cross_entropy"], r["epoch"]))["epoch"]


def best_checkpoint(rows: _Rows, training: TrainingConfig) -> int | None:
    """Epoch of the lowest monitored value among the checkpoints, every `training.checkpoint_period` epochs.

    None if there is no checkpoint yet, or none with a finite value.
    """
    period = training.checkpoint_period
    return _lowest([row for row in rows if period and row["epoch"] % period == 0], training.monitor)


def should_stop(rows: _Rows, training: TrainingConfig) -> bool:
    """Whether the monitored value has not fallen below its lowest for `training.patience` epochs."""
    if training.patience is None or not rows:
        return False
    return rows[-1]["epoch"] - (_lowest(rows, training.monitor) or 0) >= training.patience


def diverged(rows: _Rows) -> bool:
    """Whether the last epoch's losses are not finite."""
    return bool(rows) and not all(math.isfinite(rows[-1][name]) for name in ("loss", "val_loss"))


def evaluated_epoch(rows: _Rows, training: TrainingConfig) -> int:
    """Epoch whose weights are evaluated; the last one if no checkpoint was due."""
    if training.evaluated == "best-checkpoint":
        return best_checkpoint(rows, training) or rows[-1]["epoch"]
    return rows[-1]["epoch"]


def needed_epochs(rows: _Rows, training: TrainingConfig) -> set[int]:
    """Epochs whose weights may be evaluated at the end, judging by the history so far."""
    epochs = {best_epoch(rows)}
    if training.evaluated == "best-checkpoint":
        epochs.add(best_checkpoint(rows, training))
    return {epoch for epoch in epochs if epoch is not None}


def learning_rate(training: TrainingConfig, epoch: int) -> float:
    """Learning rate of an epoch, counted from 1.

    Divided by 10 after `lr_drop_epoch`; warmed up, and along a half cosine (Loshchilov and Hutter 2017, equation 5, without
    restarts), where the configuration asks for it.
    """
    dropped = training.lr_drop_epoch is not None and epoch > training.lr_drop_epoch
    rate = training.learning_rate / 10 if dropped else training.learning_rate
    if epoch <= training.warmup:
        return rate * epoch / (training.warmup + 1)
    if training.schedule == "cosine":
        done = (epoch - training.warmup - 1) / (training.epochs - training.warmup)
        return rate * (1 + math.cos(math.pi * done)) / 2
    return rate


def _lowest(rows: _Rows, name: str) -> int | None:
    finite = [row for row in rows if math.isfinite(row[name])]
    return min(finite, key=lambda row: (row[name], row["epoch"]))["epoch"] if finite else None
