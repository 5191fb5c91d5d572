"""Figures of scores: separation of matched and mismatched pairs, the ROC curve, and calibration."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lfwstudy.evaluation import metrics
from lfwstudy.report.figures import style

_PAIRS = {"matched": style.MEASURED, "mismatched": style.WRONG}
_BINS = {"bins": 20, "binrange": (0, 1), "stat": "proportion", "common_norm": False, "element": "step", "alpha": 0.3}


@style.styled("no run is finished")
def histograms(scores: pd.DataFrame, source: str) -> Figure:
    """Histograms of the scores of matched and mismatched pairs, a panel for each title.

    scores: columns `title`, `label` (1 for the same person) and `score`, as from `series.scores`.
    """
    scores = scores.assign(pairs=np.where(scores["label"] > 0.5, "matched", "mismatched"))
    groups = scores.groupby("title", sort=False)
    figure, axes = style.grid([str(title).replace(": ", "\n") for title, _ in groups], "P(same)", "pairs, %")
    for axis, (_, rows) in zip(axes, groups):
        names = axis.get_xlabel(), axis.get_ylabel()
        sns.histplot(rows, x="score", hue="pairs", hue_order=_PAIRS, palette=_PAIRS, legend=False, ax=axis, **_BINS)
        axis.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
        axis.set(xlim=(0, 1), xlabel=names[0], ylabel=names[1])
    handles = [Patch(label=f"{name} pairs", facecolor=(color, 0.3), edgecolor=color) for name, color in _PAIRS.items()]
    return style.signed(figure, source, handles)


@style.styled("no test pair is scored")
def roc(runs: Sequence[tuple[np.ndarray, np.ndarray]], source: str) -> Figure:
    """ROC curves and reliability diagram. runs: label and score arrays of shape (pairs,) of each run."""
    figure = style.new_figure(3.6)
    left, right = figure.subplots(1, 2)
    for axis in (left, right):
        axis.plot([0, 1], [0, 1], **style.CHANCE)
        axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    for label, score in runs[: style.MANY]:
        false_positive, true_positive, _ = metrics.roc(label, score)
        left.plot(false_positive, true_positive, color=style.MEASURED, linewidth=1.3)
        confidence, share, count = np.array(metrics.calibration(label, score)[1]).T
        right.plot(confidence, share, color=style.MEASURED, linewidth=0.8, alpha=0.6)
        right.scatter(confidence, share, 4 + 120 * count / len(label), color=style.MEASURED, zorder=3)
    if len(runs) > style.MANY:
        left.text(0.97, 0.03, f"the first {style.MANY} of {len(runs)} runs", ha="right", fontsize=8)
    left.set_title(f"ROC (dotted: chance), area {np.mean([metrics.auc(*run) for run in runs[: style.MANY]]):.3f}")
    right.set_title("reliability (dotted: perfect)")
    style.in_percent(left.xaxis, "mismatched pairs called same, %")
    style.in_percent(left.yaxis, "matched pairs called same, %")
    right.set_xlabel("P(same), mean of a bin")
    style.in_percent(right.yaxis, "matched pairs in the bin, %")
    return style.signed(figure, source)
