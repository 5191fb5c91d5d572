"""Figures of the ladder: accuracy of every variant with its interval, and accuracy against time."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from lfwstudy.report.figures import style

_MEASURED = {"color": style.MEASURED, "marker": "o", "linestyle": ""}
_PUBLISHED = {"color": style.PUBLISHED, "marker": "D", "markersize": 5, "markerfacecolor": "none", "linestyle": ""}
_PATH = {"color": style.MEASURED, "linewidth": 1, "alpha": 0.6}
_LEADER = {"color": "0.75", "linewidth": 0.6}


@style.styled("no stage is finished")
def ladder(points: pd.DataFrame, source: str) -> Figure:
    """Test accuracy of every variant with its interval, next to the published figure.

    points: rows of `series.ladder_points`, in the ladder's order.
    """
    figure = style.new_figure(0.33 * len(points) + 1.1)
    axis = figure.subplots()
    for y in np.flatnonzero(points["stage"].ne(points["stage"].shift()))[1:]:
        axis.axhline(y - 0.5, color="0.85", linewidth=0.8)
    for y, point in points[np.isfinite(points["accuracy"])].iterrows():
        ends = [[point["accuracy"] - point["low"]], [point["high"] - point["accuracy"]]]
        face = style.MEASURED if point["carried"] else "white"
        axis.errorbar(point["accuracy"], y, xerr=ends, capsize=3, elinewidth=1.4, markerfacecolor=face, **_MEASURED)
        singles = point["singles"]
        if len(singles) > style.MANY:
            axis.plot(np.quantile(singles, (0.1, 0.9)), [y, y], color=style.MEASURED, linewidth=5, alpha=0.25)
        elif len(singles) > 1:
            axis.plot(singles, [y] * len(singles), "|", color=style.MEASURED, markersize=9)
    axis.plot(points["published"], points.index, zorder=4, **_PUBLISHED)
    axis.axvline(0.5, **style.CHANCE)
    axis.set_yticks(points.index, points["label"])
    axis.set_ylim(len(points) - 0.5, -0.5)
    style.in_percent(axis.xaxis, "test accuracy, %")
    handles = [
        style.key("measured, carried forward", color=style.MEASURED, marker="o"),
        style.key("measured", color=style.MEASURED, marker="o", markerfacecolor="white"),
    ]
    if points["published"].notna().any():
        handles.append(style.key("published (LFW-a, one run)", **_PUBLISHED))
    return style.signed(figure, source, [*handles, style.key("chance", **style.CHANCE)])


@style.styled("no run is finished")
def accuracy_against_time(
    points: pd.DataFrame, source: str, measured: str = "measured here, at the best epoch"
) -> Figure:
    """Test accuracy against training seconds, ours and the report's.

    points: rows of `series.time_points`; a line joins those carried forward.
    """
    here, there = points[~points["published"]], points[points["published"]]
    figure = style.new_figure(max(3.4, 0.2 * len(here) + 1.2))
    axis = figure.subplots()
    axis.plot(there["seconds"], there["accuracy"], **_PUBLISHED)
    path = here[here["carried"]]
    axis.plot(path["seconds"], path["accuracy"], **_PATH)
    axis.plot(here["seconds"], here["accuracy"], **_MEASURED)
    axis.set_xscale("log")
    # Names go into a separate column, in the order of the points: next to the points they would overlap. Lines that are
    # level up to the edge do not cross on their way there.
    right = axis.get_xlim()[1]
    axis.set_xlim(right=right)
    axis.hlines(here["accuracy"], here["seconds"], right, **_LEADER, zorder=0)
    ordered = here.sort_values("accuracy", kind="stable")
    for place, (_, point) in zip(np.linspace(0.03, 0.97, len(ordered) + 2)[1:-1], ordered.iterrows()):
        axis.annotate(
            point["label"],
            (1, point["accuracy"]),
            xycoords=axis.get_yaxis_transform(),
            xytext=(1.06, place),
            textcoords="axes fraction",
            fontsize=7,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", **_LEADER, "shrinkA": 2, "shrinkB": 0, "relpos": (0, 0.5)},
        )
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    style.plain_numbers(axis.xaxis)
    axis.set_xlabel("training seconds, without start-up and compilation")
    style.in_percent(axis.yaxis, "test accuracy, %")
    handles = [style.key(measured, **_MEASURED)]
    if len(path) > 1:
        handles.append(style.key("carried forward, from stage to stage", **_PATH))
    if len(there):
        handles.append(style.key("published (LFW-a, the report's GPU, one run)", **_PUBLISHED))
    return style.signed(figure, source, handles, 1)
