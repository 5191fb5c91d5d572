"""The report's claims, each as a comparison of two variants with a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lfwstudy.config import TrainingConfig
from lfwstudy.evaluation.intervals import Difference
from lfwstudy.ladder import LADDERS, REPORT, base_config
from lfwstudy.ladder.stage import Published

# A smaller gain is no gain: one point of test accuracy.
SMALLEST_GAIN = 0.01
# With fewer seeds there is no verdict: the spread between seeds is practically unknown.
FEWEST_SEEDS = 3


@dataclass(frozen=True)
class Claim:
    """A claim of the report: `variant` against `incumbent`, both (stage, variant).

    expects: "better", "worse" or "no gain". column: the scores compared, at the best epoch unless the claim is about
    which weights are evaluated. note: other differences between the two. batchnorm: whether it involves batch-norm.
    """

    text: str
    variant: tuple[str, str]
    incumbent: tuple[str, str]
    expects: str
    column: str = "score_at_best"
    note: str = ""
    batchnorm: bool = False


CLAIMS = (
    Claim(
        "A smaller stride of the first pooling lowers accuracy",
        ("stride", "pool1-stride1"),
        ("base", "base"),
        "worse",
        note="The report tested the last epoch after a jump of the loss; here both at their best epochs.",
    ),
    Claim(
        "Early stopping with checkpoints raises accuracy",
        ("early-stopping", "patience5"),
        ("base", "base"),
        "better",
        column="score",
        note="Evaluated weights: the best checkpoint's against the last epoch's.",
    ),
    Claim(
        "Batch-norm after the activation helps",
        ("batchnorm", "after-activation-patient"),
        ("early-stopping", "patience5"),
        "better",
        note="Patience 10 instead of 5 and 300 epochs instead of 200, too.",
        batchnorm=True,
    ),
    Claim(
        "Batch-norm before the activation helps",
        ("batchnorm", "before-activation"),
        ("early-stopping", "patience5"),
        "better",
        batchnorm=True,
    ),
    Claim(
        "Batch-norm after both activation and pooling is worse than before the activation",
        ("batchnorm", "activation-and-pooling"),
        ("batchnorm", "before-activation"),
        "worse",
        batchnorm=True,
    ),
    Claim(
        "Augmentation raises accuracy, batch-norm after the activation",
        ("augmentation", "after-activation"),
        ("batchnorm", "after-activation-patient"),
        "better",
        note="Patience 20 instead of 10, too.",
        batchnorm=True,
    ),
    Claim(
        "Augmentation raises accuracy, batch-norm before the activation",
        ("augmentation", "before-activation"),
        ("batchnorm", "before-activation"),
        "better",
        note="Patience 20 instead of 5, too.",
        batchnorm=True,
    ),
    Claim(
        "Clipped labels on the copies do not help",
        ("label-clipping", "copies"),
        ("augmentation", "after-activation"),
        "no gain",
        note="Patience 30 instead of 20, too.",
    ),
    Claim(
        "Clipped labels on copies and originals do not help",
        ("label-clipping", "copies-and-originals"),
        ("augmentation", "after-activation"),
        "no gain",
        note="Patience 30 instead of 20, too.",
    ),
    *(
        Claim(
            f"Dividing the learning rate after epoch {epoch} does not help",
            ("lr-schedule", f"drop{epoch}"),
            ("augmentation", "after-activation"),
            "no gain",
            note="Patience 30 instead of 20, too.",
        )
        for epoch in (40, 50, 60)
    ),
)


def verdict(claim: Claim, found: Difference) -> str:
    """supported, contradicted or inside the noise, from a corrected Difference; no verdict with too few seeds.

    That something brings no gain is supported where its interval ends below SMALLEST_GAIN.
    """
    if found.seeds < FEWEST_SEEDS:
        return "no verdict"
    if claim.expects == "no gain" and found.high < SMALLEST_GAIN:
        return "supported"
    if found.word == "inside the noise":
        return "inside the noise"
    wanted = {"better": "better", "worse": "worse", "no gain": "worse"}[claim.expects]
    return "supported" if found.word == wanted else "contradicted"


def published(stage: str, variant: str) -> Published | None:
    """What the report prints on a variant, None if nothing."""
    return next((v.published for s in REPORT.stages for v in s.variants if (s.id, v.id) == (stage, variant)), None)


def published_inconsistencies(tolerance: float = 0.02) -> list[tuple[str, str, str]]:
    """Inconsistent published rows as (stage, variant, inconsistency), computed from the figures.

    Finds totals that differ from epochs times seconds per epoch by more than `tolerance`, figures of another row, and
    training that ended sooner after the best epoch than the patience allows.
    """
    rows = [(s.id, v.id, v.published) for s in REPORT.stages for v in s.variants if v.published]
    configured = LADDERS["published"].path(base_config("report", "published"))
    found = []
    for number, (stage, variant, p) in enumerate(rows):
        whats = (p.note, _too_early(p, configured[stage, variant].training), _wrong_total(p, tolerance))
        found += [(stage, variant, what) for what in (*whats, *_printed_before(p, rows[:number])) if what]
    return found


def _too_early(p: Published, training: TrainingConfig) -> str:
    if not (p.epochs and p.best_epoch and training.checkpoint_period and training.patience):
        return ""
    # If the best epoch is a checkpoint's, a better epoch may have come before it.
    waited = p.epochs - p.best_epoch
    if p.best_epoch % training.checkpoint_period == 0 or p.epochs >= training.epochs or waited >= training.patience:
        return ""
    return f"ended early at epoch {p.epochs}, {waited} after its best, with a patience of {training.patience}"


def _wrong_total(p: Published, tolerance: float) -> str:
    if not (p.epochs and p.seconds_per_epoch and p.seconds_total):
        return ""
    product = p.epochs * p.seconds_per_epoch
    if abs(product - p.seconds_total) <= tolerance * p.seconds_total:
        return ""
    each, total = f"{p.epochs} epochs of {p.seconds_per_epoch:.2f} s", f"the printed total is {p.seconds_total:.0f} s"
    return f"{each} are {product:.0f} s, {total}"


def _printed_before(p: Published, rows: Sequence[tuple[str, str, Published]]) -> list[str]:
    return [
        f"{'accuracy and loss' if other.accuracy == p.accuracy else 'loss'} ({p.loss:g}) also printed for {stage}: {variant}"
        for stage, variant, other in rows
        if other is not p and p.loss is not None and other.loss == p.loss  # one row may belong to two variants
    ]


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
    groups: dict[tuple, list[tuple[tuple[str, str], float]]] = {}
    for (stage, variant), config in LADDERS["published"].path(base_config("report", "published")).items():
        if p := published(stage, variant):
            learned = config.model, config.data, config.training.augmented_copies
            groups.setdefault(learned, []).append(((stage, variant), p.accuracy))
    runs = max(groups.values(), key=len)
    accuracies = [accuracy for _, accuracy in runs]
    return Replicates(tuple(runs), float(np.mean(accuracies)), float(np.std(accuracies, ddof=1)))
