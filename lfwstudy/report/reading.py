"""What to see in a stage's figures: sentences computed from its runs."""

from typing import TYPE_CHECKING

import numpy as np

from lfwstudy.evaluation import metrics
from lfwstudy.report import series
from lfwstudy.report.wording import Text
from lfwstudy.system.text import signed_points
from lfwstudy.training.decisions import best_epoch

if TYPE_CHECKING:
    from lfwstudy.study.results import Results
    from lfwstudy.study.rungs import Rung


def learning(study: "Results", rung: "Rung") -> Text:
    """How far training accuracy ends above validation accuracy, by variant."""
    rows = series.histories(study, rung)
    if rows.empty:
        return Text("")
    last = rows.groupby(["variant", "run"], sort=False).last()
    gaps = (last["accuracy"] - last["val_accuracy"]).groupby("variant", sort=False).mean()
    told = [f"`{variant}` {signed_points(gap)}" for variant, gap in gaps.items()]
    return Text(f"Training minus validation accuracy after the last epoch, in points: {', '.join(told)}.")


def stopping(study: "Results", rung: "Rung") -> Text:
    """When the first run of each variant ended, which weights were evaluated, and which epoch was best."""
    told = []
    for variant, (history, marks) in series.watched(study, rung).items():
        ended = "stopped early" if marks["stop"] else "ended"
        best = best_epoch(history.to_dict("records"))
        peak = f"; validation accuracy peaked at epoch {best}" if best else ""
        told.append(
            f"`{variant}` {ended} after epoch {len(history)}, weights of epoch {marks['evaluated']} evaluated{peak}."
        )
    return Text(" ".join(told))


def separation(study: "Results", rung: "Rung") -> Text:
    """How well the scores of each variant separate matched from mismatched test pairs: means over its runs."""
    told = []
    for candidate in rung.candidates:
        scored = study.test_scores(candidate)
        if scored is not None:
            area = np.mean([metrics.auc(scored[1], scores) for scores in scored[0]])
            wrong = np.mean((scored[0] > 0.5) != (scored[1] > 0.5))
            told.append(f"`{candidate.variant}` {area:.3f} ({100 * wrong:.0f} % misclassified)")
    if not told:
        return Text("")
    return Text(f"Area under the ROC curve on the test pairs at the best epoch, mean over runs: {', '.join(told)}.")
