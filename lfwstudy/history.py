"""What does a history decide? Best epoch, checkpoints and stopping as functions of the epochs' rows."""

import math

COLUMNS = ("epoch", "loss", "cross_entropy", "accuracy", "val_loss", "val_cross_entropy", "val_accuracy",
           "learning_rate", "seconds")


def best_epoch(rows):
    """Epoch of the highest validation accuracy, ties by lower validation cross-entropy, then the earlier.

    rows: history rows (dicts of numbers). None where no epoch has a finite validation loss.
    """
    usable = [row for row in rows if math.isfinite(row["val_cross_entropy"])]
    if not usable:
        return None
    return min(usable, key=lambda r: (-r["val_accuracy"], r["val_cross_entropy"], r["epoch"]))["epoch"]


def best_checkpoint(rows, period):
    """Epoch of the lowest total validation loss among the checkpoints, every `period` epochs.

    None where there is no checkpoint yet, or none with a finite loss.
    """
    kept = [row for row in rows if row["epoch"] % period == 0 and math.isfinite(row["val_loss"])]
    return min(kept, key=lambda row: (row["val_loss"], row["epoch"]))["epoch"] if kept else None


def should_stop(rows, patience):
    """Whether the total validation loss has not fallen below its lowest for `patience` epochs."""
    if patience is None or not rows:
        return False
    finite = [row for row in rows if math.isfinite(row["val_loss"])]
    lowest = min(finite, key=lambda row: (row["val_loss"], row["epoch"]))["epoch"] if finite else 0
    return rows[-1]["epoch"] - lowest >= patience


def diverged(rows):
    """Whether the last epoch's losses are not finite."""
    return bool(rows) and not all(math.isfinite(rows[-1][name]) for name in ("loss", "val_loss"))


def evaluated_epoch(rows, training):
    """Epoch whose weights are evaluated, by `training` (TrainingConfig). The last one where no checkpoint was due."""
    if training.evaluated == "best-checkpoint":
        return best_checkpoint(rows, training.checkpoint_period) or rows[-1]["epoch"]
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
