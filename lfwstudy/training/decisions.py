"""What does a history decide? Best epoch, checkpoints and stopping as functions of the epochs' rows."""

import math

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


def best_epoch(rows):
    """Epoch of the highest validation accuracy, ties by lower validation cross-entropy, then the earlier.

    rows: history rows (dicts of numbers). None where no epoch has a finite validation loss.
    """
    usable = [row for row in rows if math.isfinite(row["val_cross_entropy"])]
    if not usable:
        return None
    return min(usable, key=lambda r: (-r["val_accuracy"], r["val_cross_entropy"], r["epoch"]))["epoch"]


def best_checkpoint(rows, training):
    """Epoch of the lowest monitored value among the checkpoints, every `training.checkpoint_period` epochs.

    None where there is no checkpoint yet, or none with a finite value.
    """
    return _lowest([row for row in rows if row["epoch"] % training.checkpoint_period == 0], training.monitor)


def should_stop(rows, training):
    """Whether the monitored value has not fallen below its lowest for `training.patience` epochs."""
    if training.patience is None or not rows:
        return False
    return rows[-1]["epoch"] - (_lowest(rows, training.monitor) or 0) >= training.patience


def diverged(rows):
    """Whether the last epoch's losses are not finite."""
    return bool(rows) and not all(math.isfinite(rows[-1][name]) for name in ("loss", "val_loss"))


def evaluated_epoch(rows, training):
    """Epoch whose weights are evaluated, by `training` (TrainingConfig). The last one where no checkpoint was due."""
    if training.evaluated == "best-checkpoint":
        return best_checkpoint(rows, training) or rows[-1]["epoch"]
    return rows[-1]["epoch"]


def learning_rate(training, epoch):
    """Learning rate of an epoch, counted from 1: divided by 10 after `lr_drop_epoch`; warmed up, and along a half
    cosine (Loshchilov and Hutter 2017, equation 5, without restarts), where the configuration has it."""
    dropped = training.lr_drop_epoch is not None and epoch > training.lr_drop_epoch
    rate = training.learning_rate / 10 if dropped else training.learning_rate
    if epoch <= training.warmup:
        return rate * epoch / (training.warmup + 1)
    if training.schedule == "cosine":
        done = (epoch - training.warmup - 1) / (training.epochs - training.warmup)
        return rate * (1 + math.cos(math.pi * done)) / 2
    return rate


def _lowest(rows, name):
    finite = [row for row in rows if math.isfinite(row[name])]
    return min(finite, key=lambda row: (row[name], row["epoch"]))["epoch"] if finite else None
