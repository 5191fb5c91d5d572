"""The figures that the report prints: which are inconsistent, and which are of one network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lfwstudy.config import TrainingConfig
from lfwstudy.ladder import FIGURES, LADDERS, base_config
from lfwstudy.ladder.stage import Claim, Published

# Printed totals of seconds may differ by this share from epochs times seconds per epoch.
_TOLERANCE = 0.02


def inconsistencies() -> list[tuple[str, str, str]]:
    """Inconsistent published rows as (stage, variant, inconsistency), computed from the figures.

    Finds totals that differ from epochs times seconds per epoch, figures of another row, and training that ended sooner after
    the best epoch than the patience allows.
    """
    configured = LADDERS["published"].path(base_config("report", "published"))
    rows = list(FIGURES.items())
    return [
        (*key, what)
        for number, (key, p) in enumerate(rows)
        for what in _inconsistencies(p, configured[key].training, rows[:number])
    ]


def _inconsistencies(
    p: Published, training: TrainingConfig, earlier: Sequence[tuple[tuple[str, str], Published]]
) -> Iterator[str]:
    if p.note:
        yield p.note
    if p.epochs and p.best_epoch and training.checkpoint_period and training.patience:
        # If the best epoch is a checkpoint's, a better epoch may have come before it.
        waited, is_checkpoint = p.epochs - p.best_epoch, p.best_epoch % training.checkpoint_period == 0
        if not is_checkpoint and p.epochs < training.epochs and waited < training.patience:
            yield f"ended early at epoch {p.epochs}, {waited} after its best, with a patience of {training.patience}"
    if p.epochs and p.seconds_per_epoch and p.seconds_total:
        product = p.epochs * p.seconds_per_epoch
        if abs(product - p.seconds_total) > _TOLERANCE * p.seconds_total:
            each = f"{p.epochs} epochs of {p.seconds_per_epoch:.2f} s are {product:.0f} s"
            yield f"{each}, the printed total is {p.seconds_total:.0f} s"
    for (stage, variant), other in earlier:
        if p.loss is not None and other.loss == p.loss:
            what = "accuracy and loss" if other.accuracy == p.accuracy else "loss"
            yield f"{what} ({p.loss:g}) also printed for {stage}: {variant}"


@dataclass(frozen=True)
class Replicates:
    """Published runs of one network: (stage, variant) and accuracy of each, their mean and standard deviation."""

    runs: tuple[tuple[tuple[str, str], float], ...]
    mean: float
    deviation: float

    def include(self, claim: Claim) -> bool:
        """Whether a Claim compares two of them."""
        return {claim.variant, claim.incumbent} <= {key for key, _ in self.runs}


def replicates() -> Replicates:
    """The largest group of published runs that trained the same network on the same pairs.

    They differ in when training ended and which epoch was evaluated; their spread is chance.
    """
    configured = LADDERS["published"].path(base_config("report", "published"))
    groups: dict[tuple, list[tuple[tuple[str, str], float]]] = {}
    for key, printed in FIGURES.items():
        config = configured[key]
        learned = config.model, config.data, config.training.augmented_copies
        groups.setdefault(learned, []).append((key, printed.accuracy))
    runs = max(groups.values(), key=len)
    accuracies = [accuracy for _, accuracy in runs]
    return Replicates(tuple(runs), float(np.mean(accuracies)), float(np.std(accuracies, ddof=1)))
