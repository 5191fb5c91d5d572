"""What to see in the figures: sentences computed from the runs."""

from collections.abc import Sequence

import numpy as np

from lfwstudy.ladder.published_histories import FROM_EPOCH
from lfwstudy.report import series
from lfwstudy.report.measured import mean_auc
from lfwstudy.report.wording import Text
from lfwstudy.study.results import Results
from lfwstudy.study.rungs import Rung
from lfwstudy.system.text import signed_points
from lfwstudy.training.decisions import best_epoch


def learning(study: Results, rung: Rung) -> Text:
    """How far training accuracy ends above validation accuracy, by variant."""
    rows = series.histories(study, rung)
    if rows.empty:
        return Text("")
    last = rows.groupby(["variant", "run"], sort=False).last()
    gaps = (last["accuracy"] - last["val_accuracy"]).groupby("variant", sort=False).mean()
    told = [f"`{variant}` {signed_points(gap)}" for variant, gap in gaps.items()]
    return Text(f"Training minus validation accuracy after the last epoch, in points: {', '.join(told)}.")


def stopping(study: Results, rung: Rung) -> Text:
    """When the first run of each variant ended, which weights were evaluated, and which epoch was best."""
    told = []
    for variant, (history, marks) in series.watched(study, rung).items():
        ended = "stopped early" if marks["stop"] else "ended"
        best = best_epoch(history.to_dict("records"))
        peak = f"; validation accuracy peaked at epoch {best}" if best else ""
        told.append(f"`{variant}` {ended} after epoch {len(history)}; epoch {marks['evaluated']} is evaluated{peak}.")
    return Text(" ".join(told))


def separation(study: Results, rung: Rung) -> Text:
    """How well the scores of each variant separate matched from mismatched test pairs: means over its runs."""
    told = [
        f"`{candidate.variant}` {mean_auc(scored):.3f} ({100 * np.mean((scored[0] > 0.5) != (scored[1] > 0.5)):.0f} % misclassified)"
        for candidate in rung.candidates
        if (scored := study.test_scores(candidate))
    ]
    area = "Area under the ROC curve on the test pairs at the best epoch, mean over runs"
    return Text(f"{area}: {', '.join(told)}." if told else "")


def clock(study: Results, rungs: Sequence[Rung]) -> Text:
    """What the total validation loss of the base network followed."""
    runs = [c.specs[0].run for rung in rungs for c in rung.candidates if (c.stage, c.variant) == ("base", "base")]
    base = [
        row
        for run in runs
        for row in study.store.history(run)
        if np.isfinite([row["val_loss"], row.get("head_penalty", np.nan)]).all()
    ]
    if len(base) < 2 or not base[0]["head_penalty"] > 0:
        return Text("")
    start, end = base[min(FROM_EPOCH, len(base) - 1) - 1], base[-1]
    fall, of_head = (start[key] - end[key] for key in ("val_loss", "head_penalty"))
    lowest = min(base, key=lambda row: row["val_cross_entropy"])["epoch"]
    told = (
        f"From epoch {start['epoch']} to {end['epoch']} the total validation loss of `base` falls by {fall:.1f}, the penalty on "
        f"its last unit by {of_head:.1f}"
    )
    if abs(of_head - fall) < 0.25 * abs(fall):
        told = f"**A clock.** {told}: Adam moves each of that unit's weights by at most the learning rate per step, whatever the network learns"
    return Text(f"{told}. The validation cross-entropy was lowest at epoch {lowest}.")
