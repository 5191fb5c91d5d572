"""Curves over epochs: accuracy and loss, and the quantities that stopping and checkpoints watched."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, MaxNLocator

from lfwstudy.report.figures import style
from lfwstudy.training.decisions import best_epoch

_COLORS = {"training": style.TRAIN, "validation": style.VALIDATION}
_LINE = {"dashes": {"training": (4, 1.5), "validation": ""}, "linewidth": 1.3, "legend": False}
_SIDES = (style.VALIDATION, style.WRONG)  # colour-blind readers tell them apart
_LABELS = {"accuracy": "accuracy, %", "cross_entropy": "cross-entropy", "loss": "total loss"}
# The watched quantities: column, colour, dash, name.
_WATCHED = (
    ("val_loss", style.VALIDATION, "-", "total validation loss"),
    ("head_penalty", style.WRONG, "--", "penalty of the last unit"),
    ("val_cross_entropy", style.MEASURED, "-.", "validation cross-entropy"),
)
_CHECKPOINT = {"color": "black", "marker": "o", "markersize": 3, "markerfacecolor": "none", "linestyle": ""}
_MARKS = {"stop": ("black", "-"), "evaluated": (style.VALIDATION, ":"), "learning rate / 10": ("0.5", "--")}


@style.styled("no epoch is finished")
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
    measures = ["accuracy", "cross_entropy", *(["loss"] if published is not None else [])]
    variants = list(histories["variant"].unique())
    count = len(variants)
    figure = style.new_figure(2.1 * len(measures), style.WIDTH if count > 1 else 0.62 * style.WIDTH)
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
    style.in_percent(axes[0, 0].yaxis, _LABELS["accuracy"])
    axes[1, 0].set_ylim(0, _top(histories))
    if published is not None:
        axes[2, 0].set_yscale("log")
        style.plain_numbers(axes[2, 0].yaxis)
        axes[2, 0].yaxis.set_minor_formatter(LogFormatter())
    return style.signed(figure, source, _legend(published is not None))


@style.styled("no epoch is finished")
def small_multiples(histories: pd.DataFrame, source: str) -> Figure:
    """Accuracy over epochs of every variant, all on the same scales. histories: as for `learning_curves`, with `stage`."""
    groups = histories.groupby(["stage", "variant"], sort=False)
    figure, axes = style.grid(["\n".join(name) for name, _ in groups], "epoch", _LABELS["accuracy"])
    for axis, (_, rows) in zip(axes, groups):
        _curves(axis, rows, "accuracy")
    return style.signed(figure, source, _legend())


@style.styled("no epoch is finished")
def overlaid_curves(histories: pd.DataFrame, source: str) -> Figure:
    """Accuracy and cross-entropy over epochs, next to each other, two configurations over each other.

    histories: rows of history.csv with `run` and `title`.
    """
    figure = style.new_figure(3.4)
    axes = figure.subplots(1, 2)
    groups = list(zip(_SIDES, histories.groupby("title", sort=False)))
    for axis, measure in zip(axes, ("accuracy", "cross_entropy")):
        for color, (_, rows) in groups:
            _curves(axis, rows, measure, {"training": color, "validation": color})
        axis.set(xlabel="epoch", ylabel=_LABELS[measure])
    style.in_percent(axes[0].yaxis, _LABELS["accuracy"])
    axes[1].set_ylim(0, _top(histories))
    return style.signed(figure, source, [style.key(title, color=color) for color, (title, _) in groups], 1)


@style.styled("no epoch is finished")
def watched(runs: Mapping[str, tuple[pd.DataFrame, Mapping[str, Any]]], source: str) -> Figure:
    """What stopping and checkpoints watch: total validation loss, its penalty, cross-entropy; and the learning rate.

    Parameters
    ----------
    runs : mapping
        By variant, a history and its marks, as from `series.watched`: `monitor` (the watched column), `checkpoints`
        (epochs), and the epochs of `stop`, `evaluated` and `learning rate / 10`, None if there is none.
    """
    figure = style.new_figure(3.9, style.WIDTH if len(runs) > 1 else 0.62 * style.WIDTH)
    axes = figure.subplots(2, len(runs), sharex="col", sharey="row", squeeze=False, height_ratios=(3.2, 1))
    for (losses, rates), (variant, (history, marks)) in zip(axes.T, runs.items()):
        for column, color, dash, _ in _WATCHED:
            values = history[column].where(history[column] > 0) if column in history else np.nan * history["epoch"]
            losses.plot(history["epoch"], values, color=color, linestyle=dash, linewidth=1.4)
        kept = history[history["epoch"].isin(marks["checkpoints"])]
        losses.plot(kept["epoch"], kept[marks["monitor"]], **_CHECKPOINT)
        rates.plot(history["epoch"], history["learning_rate"], color="black", linewidth=1.2, drawstyle="steps-mid")
        for name, (color, dash) in _MARKS.items():
            if marks[name]:
                losses.axvline(marks[name], color=color, linestyle=dash, linewidth=1)
        losses.set_title(_title(variant, len(runs)))
        rates.set_xlabel("epoch")
        rates.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    for axis, name in zip(axes[:, 0], ("nats, logarithmic", "learning rate")):
        axis.set(yscale="log", ylabel=name)
        style.plain_numbers(axis.yaxis)
    handles = [style.key(name, color=color, linestyle=dash) for _, color, dash, name in _WATCHED]
    if any(marks["checkpoints"] for _, marks in runs.values()):
        handles.append(style.key("checkpoint", **_CHECKPOINT))
    for name, (color, dash) in _MARKS.items():
        if any(marks[name] for _, marks in runs.values()):
            handles.append(style.key(name, color=color, linestyle=dash, linewidth=1))
    return style.signed(figure, source, handles)


def _curves(axis: Axes, rows: pd.DataFrame, measure: str, colors: Mapping[str, Any] = _COLORS) -> None:
    """Training and validation of the runs of one variant."""
    named = rows.rename(columns={measure: "training", f"val_{measure}": "validation"})
    long = named.melt(["run", "epoch"], list(colors), "part").replace([np.inf, -np.inf], np.nan).dropna()
    how: dict[str, Any] = {"estimator": None, "units": "run"}
    if (runs := rows["run"].nunique()) > style.MANY:
        # Epochs reached by few runs would show only those few.
        long = long[long.groupby("epoch")["run"].transform("nunique") >= 0.1 * runs]
        how = {"estimator": "median", "errorbar": ("pi", 80)}
    names = axis.get_xlabel(), axis.get_ylabel()
    sns.lineplot(long, x="epoch", y="value", hue="part", style="part", palette=dict(colors), **how, **_LINE, ax=axis)
    axis.set(xlabel=names[0], ylabel=names[1])
    for _, history in rows.groupby("run") if runs <= style.MANY else ():
        if best := best_epoch(history.to_dict("records")):
            at_best = history.loc[history["epoch"] == best, f"val_{measure}"]
            axis.plot([best], at_best, "o", color=colors["validation"], markersize=5)
    axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _published_curve(axis: Axes, rows: pd.DataFrame, measure: str) -> None:
    axis.plot(rows["epoch"], rows[measure], color=style.PUBLISHED, linestyle=":", linewidth=1.1)
    axis.plot(rows["epoch"], rows[f"val_{measure}"], color=style.PUBLISHED, linewidth=0.9)


def _top(histories: pd.DataFrame) -> float:
    """The end of the cross-entropy axis: single epochs may be huge."""
    values = histories[["cross_entropy", "val_cross_entropy"]].to_numpy()
    values = values[np.isfinite(values)]
    return 1.15 * max(np.quantile(values, 0.95) if len(values) else 0, 0.75)


def _title(variant: str, count: int) -> str:
    return variant if count < 4 else variant.replace("-", "-\n", 1)


def _legend(with_published: bool = False) -> list[Line2D]:
    ours = [
        style.key("training", color=style.TRAIN, linestyle="--"),
        style.key("validation", color=style.VALIDATION),
        style.key("best epoch", color=style.VALIDATION, marker="o", linestyle=""),
    ]
    published = [
        style.key("published, training", color=style.PUBLISHED, linestyle=":", linewidth=1.1),
        style.key("published, validation", color=style.PUBLISHED, linewidth=0.9),
    ]
    return ours + published * with_published
