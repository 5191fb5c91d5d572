"""What of the report's claims holds? Each claim as a comparison of two variants, and what is measured here on it."""

from dataclasses import dataclass

import numpy as np

from lfwstudy.ladder import LADDERS, REPORT, base_config

# A gain below this is none: a point of test accuracy.
SMALLEST_GAIN = 0.01
# Below so many seeds there is no verdict: the spread between seeds is then as good as unknown.
FEWEST_SEEDS = 3


@dataclass(frozen=True)
class Claim:
    """A statement of the report: `variant` against `incumbent` (stage, variant).

    expects: "better", "worse" or "no gain". column: the scores compared, at the best epoch unless the claim is about
    which weights are evaluated. note: what else differs between the two. batchnorm: whether it is about batch-norm, or about
    networks with it.
    """

    text: str
    variant: tuple
    incumbent: tuple
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


def verdict(claim, found):
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


def published(stage, variant):
    """What the report prints on a variant, None where it prints nothing."""
    return next((v.published for s in REPORT.stages for v in s.variants if (s.id, v.id) == (stage, variant)), None)


def published_inconsistencies(tolerance=0.02):
    """The published rows that do not add up, as (stage, variant, what), computed from the figures.

    A total that differs from epochs times seconds per epoch by more than `tolerance`, figures of another row, and an early end
    sooner after the best epoch than the patience allows. (Where the best epoch is that of a checkpoint, the best of all may
    have been before it.)
    """
    rows = [(s.id, v.id, v.published) for s in REPORT.stages for v in s.variants if v.published]
    configured = LADDERS["published"].path(base_config("report", "published"))
    found = []
    for number, (stage, variant, p) in enumerate(rows):
        training = configured[stage, variant].training
        if p.note:
            found.append((stage, variant, p.note))
        if (
            p.best_epoch
            and p.best_epoch % training.checkpoint_period
            and p.epochs < training.epochs
            and p.epochs - p.best_epoch < training.patience
        ):
            found.append(
                (
                    stage,
                    variant,
                    f"ended early at epoch {p.epochs}, {p.epochs - p.best_epoch} after its best, with a "
                    f"patience of {training.patience}",
                )
            )
        if p.epochs and p.seconds_per_epoch and p.seconds_total:
            product = p.epochs * p.seconds_per_epoch
            if abs(product - p.seconds_total) > tolerance * p.seconds_total:
                found.append(
                    (
                        stage,
                        variant,
                        f"{p.epochs} epochs of {p.seconds_per_epoch:.2f} s are {product:.0f} s, "
                        f"the printed total is {p.seconds_total:.0f} s",
                    )
                )
        for earlier_stage, earlier_variant, earlier in rows[:number]:
            # One row that stands for two variants of ours is not printed twice.
            if earlier is p or p.loss is None or earlier.loss != p.loss:
                continue
            same = "accuracy and loss" if earlier.accuracy == p.accuracy else "loss"
            found.append((stage, variant, f"{same} ({p.loss:g}) also printed for {earlier_stage}: {earlier_variant}"))
    return found


@dataclass(frozen=True)
class Replicates:
    """Published runs of one network: (stage, variant) and accuracy of each, their mean and standard deviation."""

    runs: tuple
    mean: float
    deviation: float

    def include(self, claim):
        """Whether a Claim compares two of them."""
        return {claim.variant, claim.incumbent} <= {key for key, _ in self.runs}


def replicates():
    """The largest group of published runs whose networks the published code makes alike and trains on the same pairs.

    They differ in when training ended and in which epoch was evaluated; their spread is what chance alone does.
    """
    groups = {}
    for (stage, variant), config in LADDERS["published"].path(base_config("report", "published")).items():
        if p := published(stage, variant):
            learned = config.model, config.data, config.training.augmented_copies
            groups.setdefault(learned, []).append(((stage, variant), p.accuracy))
    runs = max(groups.values(), key=len)
    accuracies = [accuracy for _, accuracy in runs]
    return Replicates(tuple(runs), float(np.mean(accuracies)), float(np.std(accuracies, ddof=1)))
