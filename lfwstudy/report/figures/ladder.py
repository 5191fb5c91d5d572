"""Figures of the ladder: accuracy of every variant with its interval, accuracy against time, and cost."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from lfwstudy.report.figures.style import (
    MANY,
    MEASURED,
    PUBLISHED,
    in_percent,
    new_figure,
    nothing,
    plain_numbers,
    signed,
    styled,
)

_EFFORT = {
    "seconds_per_epoch": "seconds per epoch",
    "seconds_total": "seconds in total",
    "peak_memory_mb": "peak memory, MiB",
}
_HOLLOW = {"markerfacecolor": "none", "linestyle": ""}


@styled()
def ladder(points: pd.DataFrame, source: str) -> Figure:
    """Test accuracy of every variant with its interval, next to the published figure.

    points: rows of `series.ladder_points`, in the ladder's order.
    """
    if points.empty:
        return nothing("no stage is finished", source)
    figure = new_figure(0.33 * len(points) + 1.1)
    axis = figure.subplots()
    for y in np.flatnonzero(points["stage"].ne(points["stage"].shift()))[1:]:
        axis.axhline(y - 0.5, color="0.85", linewidth=0.8)
    for y, point in points[np.isfinite(points["accuracy"])].iterrows():
        ends = [[point["accuracy"] - point["low"]], [point["high"] - point["accuracy"]]]
        face = MEASURED if point["carried"] else "white"
        axis.errorbar(
            point["accuracy"], y, xerr=ends, fmt="o", color=MEASURED, capsize=3, linewidth=1.4, markerfacecolor=face
        )
        singles = point["singles"]
        if len(singles) > MANY:
            axis.plot(np.quantile(singles, (0.1, 0.9)), [y, y], color=MEASURED, linewidth=5, alpha=0.25)
        elif len(singles) > 1:
            axis.plot(singles, [y] * len(singles), "|", color=MEASURED, markersize=9)
    axis.plot(points["published"], points.index, "D", color=PUBLISHED, markersize=5, markerfacecolor="none", zorder=4)
    axis.axvline(0.5, color="0.6", linewidth=0.8, linestyle=":")
    axis.set_yticks(points.index, points["label"])
    axis.set_ylim(len(points) - 0.5, -0.5)
    in_percent(axis.xaxis, "test accuracy, % (dotted: chance)")
    handles = [
        Line2D([], [], color=MEASURED, marker="o", label="measured, carried forward"),
        Line2D([], [], color=MEASURED, marker="o", markerfacecolor="white", label="measured"),
    ]
    if points["published"].notna().any():
        handles.append(Line2D([], [], color=PUBLISHED, marker="D", label="published (LFW-a, one run)", **_HOLLOW))
    return signed(figure, source, handles)


@styled()
def effort(runs: pd.DataFrame, source: str) -> Figure:
    """Seconds per epoch, total seconds and peak memory of each variant, means over its runs. runs: rows of results.csv."""
    if runs.empty:
        return nothing("no run is finished", source)
    runs = runs.assign(label=runs["stage"] + ": " + runs["variant"])
    figure = new_figure(0.26 * runs["label"].nunique() + 1.0)
    for axis, (name, title) in zip(figure.subplots(1, 3, sharey=True), _EFFORT.items()):
        sns.barplot(runs, y="label", x=name, errorbar=None, color=MEASURED, saturation=1, width=0.65, ax=axis)
        for bars in axis.containers:
            axis.bar_label(bars, fmt=lambda v: f"{v:.1f}" if v < 100 else f"{v:,.0f}", padding=2, fontsize=7)
        plain_numbers(axis.xaxis)
        axis.margins(x=0.25)
        axis.set(xlabel=title, ylabel="")
        axis.grid(axis="y", visible=False)
    return signed(figure, source)


@styled()
def accuracy_against_time(
    points: pd.DataFrame, source: str, measured: str = "measured here, at the best epoch"
) -> Figure:
    """Test accuracy against training seconds, ours and the report's.

    points: rows of `series.time_points`; a line joins those carried forward.
    """
    here = points[~points["published"]] if len(points) else points
    if here.empty:
        return nothing("no run is finished", source)
    there = points[points["published"]]
    figure = new_figure(max(3.4, 0.2 * len(here) + 1.2))
    axis = figure.subplots()
    axis.plot(there["seconds"], there["accuracy"], "D", color=PUBLISHED, markersize=5, markerfacecolor="none")
    path = here[here["carried"]]
    axis.plot(path["seconds"], path["accuracy"], color=MEASURED, linewidth=0.8, alpha=0.5)
    axis.plot(here["seconds"], here["accuracy"], "o", color=MEASURED)
    axis.set_xscale("log")
    # Names go into a separate column, in the order of the points: next to the points they would overlap.
    ordered = here.sort_values("accuracy", kind="stable")
    for place, (_, point) in zip(np.linspace(0.03, 0.97, len(ordered) + 2)[1:-1], ordered.iterrows()):
        axis.annotate(
            point["label"],
            (point["seconds"], point["accuracy"]),
            xytext=(1.03, place),
            textcoords="axes fraction",
            fontsize=7,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "0.75", "linewidth": 0.6, "shrinkB": 3, "relpos": (0, 0.5)},
        )
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    plain_numbers(axis.xaxis)
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("training seconds, without start-up and compilation")
    in_percent(axis.yaxis, "test accuracy, %")
    handles = [Line2D([], [], color=MEASURED, marker="o", linestyle="", label=measured)]
    if len(there):
        name = "published (LFW-a, the report's GPU, one run)"
        handles.append(Line2D([], [], color=PUBLISHED, marker="D", label=name, **_HOLLOW))
    return signed(figure, source, handles, 2)
