"""Every figure: functions from tables and arrays to a matplotlib Figure. Nothing here trains, saves or shows.

`source` is the line at the foot of a figure that says what it was made from.
"""

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

# One colour per role, safe for colour-blind eyes, and told apart by dash or marker in grey print too.
_PALETTE = sns.color_palette("colorblind")
TRAIN, VALIDATION, PUBLISHED, MEASURED, WRONG = "0.45", _PALETTE[0], _PALETTE[1], _PALETTE[2], _PALETTE[3]
_STYLE = {"font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8, "xtick.labelsize": 8,
          "ytick.labelsize": 8, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
          "grid.color": "0.9", "axes.axisbelow": True, "figure.facecolor": "white"}
WIDTH = 8.6
# More runs than this are drawn as a band: a line each would be neither seen nor small.
MANY = 25


def use_inline_style():
    """In a notebook: figures as SVG, sharp at every size, each shown once. Elsewhere: nothing."""
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
        set_matplotlib_formats("svg")
    except Exception:  # no notebook
        pass


def learning_curves(curves, source):
    """Accuracy and cross-entropy over epochs, one column per variant.

    curves: dict from variant id to list (one per seed and fold) of history rows. The dot marks the epoch of the
    best validation accuracy. Of many runs the median and the middle four fifths are drawn.
    """
    with _style():
        if not curves:
            return _nothing("no epoch is finished", source)
        count = len(curves)
        figure = Figure(figsize=(WIDTH if count > 1 else 0.62 * WIDTH, 4.2), layout="constrained")
        axes = figure.subplots(2, count, sharex="col", sharey="row", squeeze=False)
        for column, (variant, histories) in enumerate(curves.items()):
            _curves(axes[0, column], histories, "accuracy")
            _curves(axes[1, column], histories, "cross_entropy")
            axes[0, column].set_title(variant if count < 4 else variant.replace("-", "-\n", 1))
            axes[1, column].set_xlabel("epoch")
            axes[1, column].xaxis.get_major_locator().set_params(integer=True)
        axes[0, 0].set_ylabel("accuracy")
        axes[1, 0].set_ylabel("cross-entropy")
        # Entropies of single epochs may be huge; the picture is cut where nine tenths of the values are.
        values = [row[k] for hs in curves.values() for rows in hs for row in rows
                  for k in ("cross_entropy", "val_cross_entropy") if np.isfinite(row[k])]
        if values:
            axes[1, 0].set_ylim(0, 1.15 * max(np.quantile(values, 0.95), 0.75))
        axes[0, 0].legend(handles=_curve_legend(), loc="best", frameon=False)
        return _sign(figure, source)


def small_multiples(curves, source, columns=4):
    """Accuracy over epochs of every variant of a ladder. curves: dict from "stage: variant" to list of histories."""
    with _style():
        if not curves:
            return _nothing("no epoch is finished", source)
        rows = -(-len(curves) // columns)
        figure = Figure(figsize=(WIDTH, 1.55 * rows + 0.6), layout="constrained")
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axis, (title, histories) in zip(axes.flat, curves.items()):
            _curves(axis, histories, "accuracy")
            axis.set_title(title.replace(": ", "\n"), fontsize=8)
            axis.xaxis.get_major_locator().set_params(integer=True)
        for axis in axes.flat[len(curves):]:
            axis.set_axis_off()
        for axis in axes[-1]:
            axis.set_xlabel("epoch")
        for axis in axes[:, 0]:
            axis.set_ylabel("accuracy")
        figure.legend(handles=_curve_legend(), loc="outside upper center", ncols=3, frameon=False)
        return _sign(figure, source)


def ladder(points, source):
    """Test accuracy of every variant with its interval, the published figure beside it.

    points: list of dicts with label, accuracy, low, high, singles (accuracies of single runs), published (or None),
    carried (bool), stage. Accuracies are None where a variant is not finished.
    """
    with _style():
        if not points:
            return _nothing("no stage is finished", source)
        figure = Figure(figsize=(WIDTH, 0.33 * len(points) + 1.1), layout="constrained")
        axis = figure.subplots()
        for y, point in enumerate(points):
            if y and point["stage"] != points[y - 1]["stage"]:
                axis.axhline(y - 0.5, color="0.85", linewidth=0.8)
            if point["accuracy"] is not None and np.isfinite(point["accuracy"]):
                axis.errorbar(point["accuracy"], y, xerr=[[point["accuracy"] - point["low"]],
                                                          [point["high"] - point["accuracy"]]],
                              fmt="o", color=MEASURED, markersize=6, capsize=3, linewidth=1.4,
                              markerfacecolor=MEASURED if point["carried"] else "white")
                if len(point["singles"]) > MANY:
                    axis.plot(np.quantile(point["singles"], (0.1, 0.9)), [y, y], color=MEASURED, linewidth=5, alpha=0.25)
                elif len(point["singles"]) > 1:
                    axis.plot(point["singles"], [y] * len(point["singles"]), "|", color=MEASURED, markersize=9)
            if point["published"] is not None:
                axis.plot(point["published"], y, "D", color=PUBLISHED, markersize=5, markerfacecolor="none")
        axis.axvline(0.5, color="0.6", linewidth=0.8, linestyle=":")
        axis.set_yticks(range(len(points)), [point["label"] for point in points])
        axis.invert_yaxis()
        axis.set_xlabel("test accuracy (dotted: chance)")
        axis.legend(handles=[
            Line2D([], [], color=MEASURED, marker="o", linestyle="-", label="measured, carried forward"),
            Line2D([], [], color=MEASURED, marker="o", linestyle="-", markerfacecolor="white", label="measured"),
            Line2D([], [], color=PUBLISHED, marker="D", linestyle="", markerfacecolor="none",
                   label="published (LFW-a, one run)")],
            loc="upper center", bbox_to_anchor=(0.4, -0.12 - 0.3 / len(points)), ncols=3, frameon=False)
        return _sign(figure, source)


def effort(labels, seconds_per_epoch, seconds_total, memory_mb, source):
    """Seconds per epoch, seconds in all and peak memory of each variant, as bars."""
    with _style():
        if not labels:
            return _nothing("no run is finished", source)
        figure = Figure(figsize=(WIDTH, 0.26 * len(labels) + 1.0), layout="constrained")
        axes = figure.subplots(1, 3, sharey=True)
        for axis, values, title in zip(axes, (seconds_per_epoch, seconds_total, memory_mb),
                                       ("seconds per epoch", "seconds in all", "peak memory, MiB")):
            bars = axis.barh(range(len(labels)), values, color=_PALETTE[0], height=0.65)
            axis.bar_label(bars, [f"{value:.3g}" if value < 1000 else f"{value:,.0f}" for value in values],
                           padding=2, fontsize=7)
            axis.margins(x=0.25)
            axis.set_xlabel(title)
            axis.grid(axis="y", visible=False)
        axes[0].set_yticks(range(len(labels)), labels)
        axes[0].invert_yaxis()
        return _sign(figure, source)


def accuracy_against_time(points, source):
    """Test accuracy against training seconds, ours and the report's. points: dicts of label, seconds, accuracy, published."""
    with _style():
        measured = [p for p in points if not p["published"]]
        if not measured:
            return _nothing("no run is finished", source)
        figure = Figure(figsize=(WIDTH, max(3.4, 0.2 * len(measured) + 1.2)), layout="constrained")
        axis = figure.subplots()
        axis.plot([p["seconds"] for p in points if p["published"]], [p["accuracy"] for p in points if p["published"]], "D",
                  color=PUBLISHED, markersize=5, markerfacecolor="none", label="published (LFW-a, the report's GPU, one run)")
        axis.plot([p["seconds"] for p in measured], [p["accuracy"] for p in measured], "o", color=MEASURED,
                  label="measured here, at the best epoch")
        axis.set_xscale("log")
        # Names stand in a column of their own, in the order of the points: beside the points they would overlap.
        ordered = sorted(measured, key=lambda p: p["accuracy"])
        for place, point in zip(np.linspace(0.03, 0.97, len(ordered) + 2)[1:-1], ordered):
            axis.annotate(point["label"], (point["seconds"], point["accuracy"]), xytext=(1.03, place),
                          textcoords="axes fraction", fontsize=7, va="center", annotation_clip=False,
                          arrowprops={"arrowstyle": "-", "color": "0.75", "linewidth": 0.6, "shrinkB": 3, "relpos": (0, 0.5)})
        for ticks in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
            ticks(FuncFormatter(lambda seconds, _: f"{seconds:,.0f}"))
        axis.tick_params(axis="x", which="minor", labelsize=6)
        axis.set_xlabel("training seconds, without start and compilation")
        axis.set_ylabel("test accuracy")
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
        return _sign(figure, source)


def montage(images, source, columns=12):
    """Pictures in a grid. images: uint8 (n, side, side)."""
    with _style():
        rows = -(-len(images) // columns)
        figure = Figure(figsize=(WIDTH, WIDTH * rows / columns + 0.3), layout="constrained")
        for axis, image in zip(figure.subplots(rows, columns, squeeze=False).flat, images):
            _picture(axis, image)
        _hide_rest(figure, len(images))
        return _sign(figure, source)


def images_per_person(counts, source):
    """How many people have how many pictures. counts: number of pictures of each person."""
    with _style():
        figure = Figure(figsize=(0.7 * WIDTH, 2.6), layout="constrained")
        axis = figure.subplots()
        values, people = np.unique(np.minimum(counts, 20), return_counts=True)
        axis.bar(values, people, color=_PALETTE[0])
        axis.set_yscale("log")
        axis.set_xlabel("pictures of a person (20: 20 or more)")
        axis.set_ylabel("people")
        return _sign(figure, source)


def augmented(originals, copies, captions, source):
    """Originals in the first row, varied copies below. originals: uint8 or float (n, s, s); copies: list of such."""
    with _style():
        count = len(originals)
        figure = Figure(figsize=(WIDTH, WIDTH * (1 + len(copies)) / count + 0.4), layout="constrained")
        axes = figure.subplots(1 + len(copies), count, squeeze=False)
        for row, images in enumerate((originals, *copies)):
            for axis, image in zip(axes[row], images):
                _picture(axis, image, top=255 if np.asarray(image).dtype == np.uint8 else 1)
            axes[row, 0].set_title(captions[row], loc="left")
        return _sign(figure, source)


def gallery(groups, source):
    """Pairs of pictures, a row per group.

    groups: list of (title, list of (left, right, caption)); pictures uint8 (side, side).
    """
    with _style():
        columns = max([len(pairs) for _, pairs in groups] + [1])
        figure = Figure(figsize=(WIDTH, (WIDTH / columns / 2 + 0.52) * len(groups)), layout="constrained")
        axes = figure.subplots(len(groups), columns, squeeze=False)
        for row, (title, pairs) in enumerate(groups):
            for column, axis in enumerate(axes[row]):
                if column < len(pairs):
                    left, right, caption = pairs[column]
                    gap = np.full((left.shape[0], 3), 255, left.dtype)
                    _picture(axis, np.concatenate([left, gap, right], axis=1))
                    axis.set_xlabel(caption, fontsize=8)
                else:
                    axis.set_axis_off()
            if not pairs:
                axes[row, 0].text(0, 0.5, "none", transform=axes[row, 0].transAxes)
            # A text out of the layout: a title would make the first column as wide as itself.
            axes[row, 0].text(0, 1.06, title, transform=axes[row, 0].transAxes).set_in_layout(False)
        figure.get_layout_engine().set(h_pad=0.12, rect=(0, 0, 1, 0.985))
        return _sign(figure, source)


def split_sides(audits, source):
    """People, pictures and pairs of validation that the training side shares, per kind of split.

    audits: dict from split name to what splits.audit returns.
    """
    with _style():
        figure = Figure(figsize=(WIDTH, 0.55 * len(audits) + 1.0), layout="constrained")
        axes = figure.subplots(1, 3, sharey=True)
        for axis, kind in zip(axes, ("people", "images", "pairs")):
            shared = [a["touched_pairs" if kind == "pairs" else f"shared_{kind}"] for a in audits.values()]
            total = [a[f"validation_{kind}"] for a in audits.values()]
            shares = [s / t for s, t in zip(shared, total)]
            bars = axis.barh(range(len(shares)), shares, color=WRONG, height=0.6)
            axis.bar_label(bars, [f"{s} of {t}" for s, t in zip(shared, total)], padding=3, fontsize=8)
            axis.set_xlim(0, 1.05)
            axis.set_xlabel({"people": "validation people in training too", "images": "validation pictures in training",
                             "pairs": "validation pairs touched"}[kind])
            axis.grid(axis="y", visible=False)
        axes[0].set_yticks(range(len(audits)), list(audits))
        axes[0].invert_yaxis()
        return _sign(figure, source)


def roc(runs, source):
    """ROC curves and reliability diagram. runs: list of (label, score), one per run."""
    from .evaluate import auc, calibration, roc as roc_points
    with _style():
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        for axis in (left, right):
            axis.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
            axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        count, runs = len(runs), runs[:MANY]
        for label, score in runs:
            false_positive, true_positive, _ = roc_points(label, score)
            left.plot(false_positive, true_positive, color=MEASURED, linewidth=1.3)
            points = calibration(label, score)[1]
            right.plot([p[0] for p in points], [p[1] for p in points], "o-", color=MEASURED, markersize=4, linewidth=1)
        if count > MANY:
            left.text(0.97, 0.03, f"the first {MANY} of {count} runs", ha="right", fontsize=8)
        if runs:
            left.set_title(f"ROC, area {np.mean([auc(*run) for run in runs]):.3f}")
            right.set_title("reliability")
        left.set(xlabel="false-positive rate", ylabel="true-positive rate")
        right.set(xlabel="P(same), mean of a bin", ylabel="share of matched pairs")
        return _sign(figure, source)


def growth(result):
    """Seconds and memory against pairs, pixels and runs, both axes logarithmic. result: as growth.growth returns it."""
    titles = {"pairs": "training pairs\n(an epoch)", "pixels": "pixels of a picture\n(an epoch)",
              "runs": "runs of a study\n(its table)"}
    with _style():
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        for axis, (cause, curve) in zip(figure.subplots(1, 3), result["curves"].items()):
            memory = axis.twinx()
            axis.loglog(curve["n"], curve["seconds"], "o-", color=MEASURED)
            memory.loglog(curve["n"], curve["memory_mb"], "s--", color=TRAIN, markersize=4)
            memory.set_ylim(50, 5000)
            memory.grid(False)
            shown = [curve["n"][0], curve["n"][len(curve["n"]) // 2], curve["n"][-1]]
            axis.set_xticks(shown, [f"{n:,}" for n in shown])
            axis.minorticks_off()
            axis.set_xlabel(titles[cause])
            axis.set_title(f"slopes: time {curve['seconds_slope']:.2f}, memory {curve['memory_slope']:.2f}")
            axis.set_ylabel("seconds" if cause == "pairs" else "")
            memory.set_ylabel("peak memory, MiB" if cause == "runs" else "")
            memory.tick_params(labelright=cause == "runs", which="both")
        handles = [Line2D([], [], marker="o", color=MEASURED, label="seconds"),
                   Line2D([], [], marker="s", linestyle="--", color=TRAIN, markersize=4, label="memory")]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
        return _sign(figure, f"Drawn faces, {result['network'].partition(',')[0]}; {result['machine']}")


def _style():
    return matplotlib.rc_context(_STYLE)


def _sign(figure, source):
    figure.supxlabel(source, fontsize=7, color="0.4", x=0.99, ha="right")
    return figure


def _nothing(text, source):
    figure = Figure(figsize=(0.5 * WIDTH, 0.8), layout="constrained")
    figure.text(0.5, 0.5, text, ha="center")
    return _sign(figure, source)


def _curves(axis, histories, name):
    if len(histories) <= MANY:
        for rows in histories:
            _curve(axis, rows, name)
        return
    longest = max(len(rows) for rows in histories)
    for key, color, dash in ((name, TRAIN, "--"), (f"val_{name}", VALIDATION, "-")):
        values = np.full((len(histories), longest), np.nan)
        for line, rows in zip(values, histories):
            line[:len(rows)] = [row[key] for row in rows]
        values[~np.isfinite(values)] = np.nan
        # Epochs that few runs reached would show those few only.
        reached = np.flatnonzero(np.isfinite(values).mean(axis=0) >= 0.1)
        low, middle, high = np.nanquantile(values[:, reached], (0.1, 0.5, 0.9), axis=0)
        axis.fill_between(reached + 1, low, high, color=color, alpha=0.2, linewidth=0)
        axis.plot(reached + 1, middle, color=color, linestyle=dash, linewidth=1.4)


def _curve(axis, rows, name):
    epochs = [row["epoch"] for row in rows]
    axis.plot(epochs, [row[name] for row in rows], color=TRAIN, linestyle="--", linewidth=1.1)
    axis.plot(epochs, [row[f"val_{name}"] for row in rows], color=VALIDATION, linewidth=1.4)
    from .history import best_epoch
    best = best_epoch(rows)
    if best:
        axis.plot(best, rows[best - 1][f"val_{name}"], "o", color=VALIDATION, markersize=5)


def _curve_legend():
    return [Line2D([], [], color=TRAIN, linestyle="--", label="training"),
            Line2D([], [], color=VALIDATION, label="validation"),
            Line2D([], [], color=VALIDATION, marker="o", linestyle="", label="best epoch")]


def _picture(axis, image, top=255):
    axis.imshow(image, cmap="gray", vmin=0, vmax=top, interpolation="lanczos", aspect="equal")
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _hide_rest(figure, count):
    for axis in figure.axes[count:]:
        axis.set_axis_off()
