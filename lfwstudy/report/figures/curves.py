"""Curves over epochs: accuracy and loss, and the quantities that stopping and checkpoints watched."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lfwstudy.report.figures.style import (
    MANY,
    MEASURED,
    PUBLISHED,
    TRAIN,
    VALIDATION,
    WIDTH,
    WRONG,
    in_percent,
    new_figure,
    nothing,
    plain_numbers,
    signed,
    styled,
    whole_epochs,
)
from lfwstudy.training.decisions import best_epoch

_COLORS = {"training": TRAIN, "validation": VALIDATION}
_SIDES = (VALIDATION, WRONG)  # told apart by everybody
_LABELS = {"accuracy": "accuracy, %", "cross_entropy": "cross-entropy", "loss": "total loss"}
# The watched quantities: column, colour, dash, name.
_WATCHED = (
    ("val_loss", VALIDATION, "-", "total validation loss"),
    ("head_penalty", WRONG, "--", "penalty of the last unit"),
    ("val_cross_entropy", MEASURED, "-.", "validation cross-entropy"),
)
_MARKS = {"stop": ("black", "-"), "evaluated": (VALIDATION, ":"), "learning rate / 10": ("0.5", "--")}


@styled()
def learning_curves(histories: pd.DataFrame, source: str, published: pd.DataFrame | None = None) -> Figure:
    """Accuracy and cross-entropy over epochs, a column for each variant; with published histories, the total loss too.

    The dot marks the epoch of the best validation accuracy. For many runs, the median and the middle four fifths are drawn.

    Parameters
    ----------
    histories : DataFrame
        Rows of history.csv with `variant` and `run`, as from `series.histories`.
    published : DataFrame, optional
        Published histories with `variant`.
    """
    if histories.empty:
        return nothing("no epoch is finished", source)
    measures = ["accuracy", "cross_entropy", *(["loss"] if published is not None else [])]
    variants = list(histories["variant"].unique())
    count = len(variants)
    figure = new_figure(2.1 * len(measures), WIDTH if count > 1 else 0.62 * WIDTH)
    axes = figure.subplots(len(measures), count, sharex="col", sharey="row", squeeze=False)
    for column, variant in enumerate(variants):
        for axis, measure in zip(axes[:, column], measures):
            if published is not None and measure != "cross_entropy":
                _published_curve(axis, published[published["variant"] == variant], measure)
            _curves(axis, histories[histories["variant"] == variant], measure)
        axes[0, column].set_title(_title(variant, count))
        axes[-1, column].set_xlabel("epoch")
    for axis, measure in zip(axes[:, 0], measures):
        axis.set_ylabel(_LABELS[measure])
    in_percent(axes[0, 0].yaxis, _LABELS["accuracy"])
    axes[1, 0].set_ylim(0, _top(histories))
    if published is not None:
        axes[2, 0].set_yscale("log")
        plain_numbers(axes[2, 0].yaxis)
    return signed(figure, source, _legend() + (_published_legend() if published is not None else []))


@styled()
def small_multiples(histories: pd.DataFrame, source: str, columns: int = 4) -> Figure:
    """Accuracy over epochs of every variant, all on the same scales. histories: as for `learning_curves`, with `stage`."""
    if histories.empty:
        return nothing("no epoch is finished", source)
    groups = list(histories.groupby(["stage", "variant"], sort=False))
    lines = -(-len(groups) // columns)
    figure = new_figure(1.55 * lines + 0.6)
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axis, ((stage, variant), rows) in zip(axes.flat, groups):
        _curves(axis, rows, "accuracy")
        axis.set_title(f"{stage}\n{variant}", fontsize=8)
    for axis in axes.flat[len(groups) :]:
        axis.set_axis_off()
    for axis in axes.flat[max(0, len(groups) - columns) : len(groups)]:
        axis.set_xlabel("epoch")
        axis.tick_params(labelbottom=True)
    for axis in axes[:, 0]:
        in_percent(axis.yaxis, _LABELS["accuracy"])
    return signed(figure, source, _legend())


@styled()
def overlaid_curves(histories: pd.DataFrame, source: str) -> Figure:
    """Accuracy and cross-entropy over epochs, next to each other, two configurations over each other.

    histories: rows of history.csv with `run` and `title`.
    """
    if histories.empty:
        return nothing("no epoch is finished", source)
    figure = new_figure(3.4)
    axes = figure.subplots(1, 2)
    groups = list(zip(_SIDES, histories.groupby("title", sort=False)))
    for axis, measure in zip(axes, ("accuracy", "cross_entropy")):
        for color, (_, rows) in groups:
            _curves(axis, rows, measure, {"training": color, "validation": color})
        axis.set(xlabel="epoch", ylabel=_LABELS[measure])
    in_percent(axes[0].yaxis, _LABELS["accuracy"])
    axes[1].set_ylim(0, _top(histories))
    handles = [Line2D([], [], color=color, label=title) for color, (title, _) in groups]
    return signed(figure, source, handles, 1)


@styled()
def watched(runs: Mapping[str, tuple[pd.DataFrame, Mapping[str, Any]]], source: str) -> Figure:
    """What stopping and checkpoints watch: total validation loss, its penalty, cross-entropy; and the learning rate.

    Parameters
    ----------
    runs : mapping
        By variant, a history and its marks, as from `series.watched`: `monitor` (the watched column), `checkpoints`
        (epochs), and the epochs of `stop`, `evaluated` and `learning rate / 10`, None if there is none.
    """
    if not runs:
        return nothing("no epoch is finished", source)
    figure = new_figure(3.9, WIDTH if len(runs) > 1 else 0.62 * WIDTH)
    axes = figure.subplots(2, len(runs), sharex="col", sharey="row", squeeze=False, height_ratios=(3.2, 1))
    for (losses, rates), (variant, (history, marks)) in zip(axes.T, runs.items()):
        for column, color, dash, _ in _WATCHED:
            values = history[column].where(history[column] > 0) if column in history else np.nan * history["epoch"]
            losses.plot(history["epoch"], values, color=color, linestyle=dash, linewidth=1.4)
        kept = history[history["epoch"].isin(marks["checkpoints"])]
        losses.plot(kept["epoch"], kept[marks["monitor"]], "o", color="black", markersize=3, markerfacecolor="none")
        rates.plot(history["epoch"], history["learning_rate"], color="black", linewidth=1.2, drawstyle="steps-mid")
        for name, (color, dash) in _MARKS.items():
            if marks[name]:
                losses.axvline(marks[name], color=color, linestyle=dash, linewidth=1)
        losses.set_title(_title(variant, len(runs)))
        rates.set_xlabel("epoch")
        whole_epochs(rates)
    for axis, name in zip(axes[:, 0], ("nats, logarithmic", "learning rate")):
        axis.set(yscale="log", ylabel=name)
        plain_numbers(axis.yaxis)
    handles = [Line2D([], [], color=color, linestyle=dash, label=name) for _, color, dash, name in _WATCHED]
    handles.append(
        Line2D(
            [], [], color="black", marker="o", markersize=3, markerfacecolor="none", linestyle="", label="checkpoint"
        )
    )
    handles += [
        Line2D([], [], color=color, linestyle=dash, linewidth=1, label=name)
        for name, (color, dash) in _MARKS.items()
        if any(marks[name] for _, marks in runs.values())
    ]
    return signed(figure, source, handles, 4)


def _curves(axis: Axes, rows: pd.DataFrame, measure: str, colors: Mapping[str, Any] = _COLORS) -> None:
    """Training and validation of the runs of one variant."""
    parts = {"training": measure, "validation": f"val_{measure}"}
    long = pd.concat([rows[["run", "epoch"]].assign(part=part, value=rows[name]) for part, name in parts.items()])
    long = long[np.isfinite(long["value"])]
    runs = rows["run"].nunique()
    how: dict[str, Any]
    if runs > MANY:
        # Epochs reached by few runs would show only those few.
        reached = long.groupby("epoch")["run"].transform("nunique")
        long, how = long[reached >= 0.1 * runs], {"estimator": "median", "errorbar": ("pi", 80)}
    else:
        how = {"estimator": None, "units": "run"}
    looks = {
        "hue": "part",
        "style": "part",
        "palette": dict(colors),
        "dashes": {"training": (4, 1.5), "validation": ""},
    }
    sns.lineplot(long, x="epoch", y="value", legend=False, ax=axis, linewidth=1.3, **looks, **how)
    axis.set(xlabel="", ylabel="")
    whole_epochs(axis)
    for _, run in rows.groupby("run") if runs <= MANY else ():
        if best := best_epoch(run.to_dict("records")):
            value = run.loc[run["epoch"] == best, f"val_{measure}"]
            axis.plot([best], value, "o", color=colors["validation"], markersize=5)


def _published_curve(axis: Axes, rows: pd.DataFrame, measure: str) -> None:
    axis.plot(rows["epoch"], rows[measure], color=PUBLISHED, linestyle=":", linewidth=1.1)
    axis.plot(rows["epoch"], rows[f"val_{measure}"], color=PUBLISHED, linewidth=0.9)


def _top(histories: pd.DataFrame) -> float:
    """The end of the cross-entropy axis: single epochs may be huge."""
    values = histories[["cross_entropy", "val_cross_entropy"]].to_numpy()
    values = values[np.isfinite(values)]
    return 1.15 * max(np.quantile(values, 0.95) if len(values) else 0, 0.75)


def _title(variant: str, count: int) -> str:
    return variant if count < 4 else variant.replace("-", "-\n", 1)


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=TRAIN, linestyle="--", label="training"),
        Line2D([], [], color=VALIDATION, label="validation"),
        Line2D([], [], color=VALIDATION, marker="o", linestyle="", label="best epoch"),
    ]


def _published_legend() -> list[Line2D]:
    return [
        Line2D([], [], color=PUBLISHED, linestyle=":", linewidth=1.1, label="published, training"),
        Line2D([], [], color=PUBLISHED, linewidth=0.9, label="published, validation"),
    ]
