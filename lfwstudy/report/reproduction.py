"""Reproduction of the published study: its histories next to ours, and what its early stopping followed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lfwstudy.ladder import PROFILES
from lfwstudy.ladder import published_histories as published
from lfwstudy.report.table import Column, Compared, Table
from lfwstudy.report.wording import Text, is_demo, source_line
from lfwstudy.training.decisions import diverged, should_stop

if TYPE_CHECKING:
    from lfwstudy.study.results import Results
    from lfwstudy.study.rungs import Candidate, Rung

Rows = Sequence[dict[str, Any]]


def reproduced(study: "Results", rungs: "Sequence[Rung]") -> Table:
    """The published histories next to those of the ladder that repeats the published code, with a verdict."""
    if not study.ladder.replicated:
        return Table.nothing(
            "The ladder `published` repeats what the report's code did, and is compared with its histories epoch by epoch."
        )
    factor = PROFILES[study.settings.profile].factor
    if study.of_other_people:
        return Table.nothing("Published histories are compared epoch by epoch on LFW only.")
    if factor != 1 or is_demo(study):
        why = "Drawn faces" if is_demo(study) else f"Epochs times {factor:g}"
        return Table.nothing(
            f"{why}: published histories are compared epoch by epoch in the profile `report` and on LFW only. Their curves lie "
            "under ours in each stage's figure."
        )
    histories = {
        (c.stage, c.variant): (study.store.history(c.specs[0].run), study.store.is_finished(c.specs[0].run))
        for rung in rungs
        for c in rung.candidates
    }
    return reproduction_table(histories, source_line(study))


def reproduction_table(histories: Mapping[tuple[str, str], tuple[Rows, bool]], source: str = "") -> Table:
    """A row for each variant with a published history: both histories, and whether they agree.

    histories: by (stage, variant), the history of a run and whether it is finished. Runs too short to compare are left out.
    """
    losses = [Column(f"loss at {epoch}", "number", digits=2) for epoch in published.LOSS_EPOCHS]
    shares = [Column(f"accuracy at {epoch}", "number", digits=2) for epoch in published.ACCURACY_EPOCHS]
    columns = [Column("stage"), Column("variant", "name"), *losses, *shares]
    columns += [Column("accuracy at the end", "number", digits=2), Column("epochs", "number", digits=0)]
    columns += [Column("farthest apart"), Column("reproduced")]
    rows = [row for key, found in histories.items() if (row := _row(key, *found))]
    caption = (
        "Total validation loss and training accuracy after some epochs, published (LFW-a) | measured, first seed. Reproduced: "
        f"the validation loss stays within {100 * published.TOLERANCE:.0f} % of the published one from epoch "
        f"{published.FROM_EPOCH} until both are below {published.LEARNED:g}, and the number of epochs is within "
        f"{100 * published.TOLERANCE:.0f} %. Published histories: github.com/MaorSagi/SiameseCNN."
    )
    return Table(columns, rows, caption, source, "No run is long enough to be compared.")


def clock(study: "Results", rungs: "Sequence[Rung]") -> Text:
    """What the total validation loss followed, and when early stopping on it or on the cross-entropy acted."""
    candidates = {(r.stage.id, c.variant): c for r in rungs for c in r.candidates}
    base = study.store.history(candidates["base", "base"].specs[0].run) if ("base", "base") in candidates else []
    base = [row for row in base if np.isfinite([row["val_loss"], row.get("head_penalty", np.nan)]).all()]
    if len(base) < 2 or not base[0]["head_penalty"] > 0:
        return Text("")
    start, end = base[min(published.FROM_EPOCH, len(base) - 1) - 1], base[-1]
    fall, of_head = (start[key] - end[key] for key in ("val_loss", "head_penalty"))
    lowest = min(base, key=lambda row: row["val_cross_entropy"])["epoch"]
    follows = abs(of_head - fall) < 0.25 * abs(fall)
    told = "**A clock.** " if follows else ""
    told += (
        f"From epoch {start['epoch']} to {end['epoch']} the total validation loss of `base` falls by {fall:.1f}, the penalty of "
        f"its last unit by {of_head:.1f}"
    )
    if follows:
        told += ": Adam moves each of that unit's weights by at most the learning rate per step, regardless of what the network learns"
    told += f". The validation cross-entropy was lowest at epoch {lowest}."
    return Text(told + _stopping(study, candidates))


def _stopping(study: "Results", candidates: "Mapping[tuple[str, str], Candidate]") -> str:
    """When early stopping acted, by the quantity it watched."""
    ends, patience = [], None
    for variant, watches in (("patience5", "the total loss"), ("patience5-cross-entropy", "the cross-entropy alone")):
        c = candidates.get(("early-stopping", variant))
        if c and study.store.is_finished(c.specs[0].run):
            rows, training = study.store.history(c.specs[0].run), c.specs[0].config.training
            acted = f"never acts in {training.epochs} epochs"
            if diverged(rows):
                acted = "diverges"
            elif should_stop(rows, training):
                acted = f"stops at epoch {len(rows)}"
            ends.append(f"watching {watches}, it {acted}")
            patience = training.patience
    return f" Early stopping with a patience of {patience}: {'; '.join(ends)}." if ends else ""


def _row(key: tuple[str, str], history: Rows, finished: bool) -> dict[str, Any] | None:
    theirs = published.published_histories().get(key)
    compared = published.compare(history, theirs) if theirs else None
    if not theirs or not history or (compared is None and not finished):
        return None

    def both(name: str, epoch: int) -> Compared:
        return Compared(*(rows[epoch - 1][name] if epoch <= len(rows) else None for rows in (theirs, history)))

    return {
        "stage": key[0],
        "variant": key[1],
        **{f"loss at {epoch}": both("val_loss", epoch) for epoch in published.LOSS_EPOCHS},
        **{f"accuracy at {epoch}": both("accuracy", epoch) for epoch in published.ACCURACY_EPOCHS},
        "accuracy at the end": Compared(theirs[-1]["accuracy"], history[-1]["accuracy"]),
        "epochs": Compared(len(theirs), len(history) if finished else f"{len(history)} so far"),
        "farthest apart": f"{100 * compared.farthest:.0f} % at {compared.at_epoch}" if compared else "",
        "reproduced": "not finished" if not finished else "yes" if compared and compared.reproduced else "no",
    }
