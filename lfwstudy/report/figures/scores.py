"""Figures of scores: separation of matched and mismatched pairs, the ROC curve, and calibration."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lfwstudy.evaluation import metrics
from lfwstudy.report.figures.style import MANY, MEASURED, WIDTH, WRONG, in_percent, new_figure, nothing, signed, styled

_PAIRS = {"matched": MEASURED, "mismatched": WRONG}


@styled()
def histograms(scores: pd.DataFrame, source: str, columns: int = 4) -> Figure:
    """Histograms of the scores of matched and mismatched pairs, a panel for each title.

    scores: columns `title`, `label` (1 for the same person) and `score`, as from `series.scores`.
    """
    if scores.empty:
        return nothing("no run is finished", source)
    scores = scores.assign(pairs=np.where(scores["label"] > 0.5, "matched", "mismatched"))
    groups = list(scores.groupby("title", sort=False))
    lines = -(-len(groups) // columns)
    columns = -(-len(groups) // lines)
    figure = new_figure(1.7 * lines + 0.7, WIDTH if columns > 2 else 0.36 * WIDTH * columns + 1)
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axis, (title, rows) in zip(axes.flat, groups):
        sns.histplot(
            rows,
            x="score",
            hue="pairs",
            palette=_PAIRS,
            hue_order=list(_PAIRS),
            bins=20,
            binrange=(0, 1),
            stat="proportion",
            common_norm=False,
            element="step",
            alpha=0.3,
            legend=False,
            ax=axis,
        )
        axis.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
        axis.set_title(str(title).replace(": ", "\n"), fontsize=8)
        axis.set(xlabel="", ylabel="", xlim=(0, 1))
    for axis in axes.flat[len(groups) :]:
        axis.set_axis_off()
    for axis in axes.flat[max(0, len(groups) - columns) : len(groups)]:
        axis.set_xlabel("P(same)")
        axis.tick_params(labelbottom=True)
    for axis in axes[:, 0]:
        in_percent(axis.yaxis, "pairs, %")
    handles = [Patch(facecolor=(*color, 0.3), edgecolor=color, label=f"{name} pairs") for name, color in _PAIRS.items()]
    return signed(figure, source, handles)


@styled()
def roc(runs: Sequence[tuple[np.ndarray, np.ndarray]], source: str) -> Figure:
    """ROC curves and reliability diagram. runs: label and score arrays of shape (pairs,) of each run."""
    if not runs:
        return nothing("no test pair is scored", source)
    figure = new_figure(3.6)
    left, right = figure.subplots(1, 2)
    for axis in (left, right):
        axis.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
        axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    for label, score in runs[:MANY]:
        false_positive, true_positive, _ = metrics.roc(label, score)
        left.plot(false_positive, true_positive, color=MEASURED, linewidth=1.3)
        confidence, share, count = np.array(metrics.calibration(label, score)[1]).T
        right.plot(confidence, share, color=MEASURED, linewidth=0.8, alpha=0.6)
        right.scatter(confidence, share, 4 + 120 * count / len(label), color=MEASURED, zorder=3)
    if len(runs) > MANY:
        left.text(0.97, 0.03, f"the first {MANY} of {len(runs)} runs", ha="right", fontsize=8)
    left.set_title(f"ROC, area {np.mean([metrics.auc(*run) for run in runs[:MANY]]):.3f}")
    right.set_title("reliability")
    in_percent(left.xaxis, "mismatched pairs called same, %")
    in_percent(left.yaxis, "matched pairs called same, %")
    right.set_xlabel("P(same), mean of a bin")
    in_percent(right.yaxis, "matched pairs in the bin, %")
    return signed(figure, source)
