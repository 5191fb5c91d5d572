"""Every figure: functions from tables and arrays to a matplotlib Figure. Nothing here trains, saves or shows.

`source` is the line at the foot of a figure that says what it was made from. `captioned` lays a caption under a figure;
`gallery` and `montage` are HTML, whose pictures find room on a phone, too.
"""

import base64
import hashlib
import html
import io
import re
from contextlib import contextmanager

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter
from PIL import Image

# One colour per role, safe for colour-blind eyes, and told apart by dash or marker in grey print too.
_PALETTE = sns.color_palette("colorblind")
TRAIN, VALIDATION, PUBLISHED, MEASURED, WRONG = "0.45", _PALETTE[0], _PALETTE[1], _PALETTE[2], _PALETTE[3]
# Counts, which have no role.
_COUNT = "0.6"
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "figure.facecolor": "white",
}
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


def captioned(figure, caption):
    """A figure over a caption that says what to see: HTML whose SVG takes part in the colours of the page around it."""
    with _style():
        file = io.StringIO()
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    drawn = file.getvalue()
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)
    # Names within one figure only: a page holds many.
    own = hashlib.sha256(drawn.encode()).hexdigest()[:8]
    drawn = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>f{own}-", drawn)
    drawn = drawn.replace("<svg", f'<svg role="img" aria-label="{html.escape(figure.get_supxlabel())}"', 1)
    return _figure(drawn, caption)


def learning_curves(curves, source, published=None):
    """Accuracy and cross-entropy over epochs, one column per variant; with published curves the total loss, too.

    curves: dict from variant id to list (one per seed and fold) of history rows. The dot marks the epoch of the
    best validation accuracy. Of many runs the median and the middle four fifths are drawn. published: dict from variant id to
    rows of a published history.
    """
    with _style():
        if not curves:
            return _nothing("no epoch is finished", source)
        count = len(curves)
        measures = ("accuracy", "cross_entropy", "loss") if published else ("accuracy", "cross_entropy")
        figure = Figure(figsize=(WIDTH if count > 1 else 0.62 * WIDTH, 2.1 * len(measures)), layout="constrained")
        axes = figure.subplots(len(measures), count, sharex="col", sharey="row", squeeze=False)
        for column, (variant, histories) in enumerate(curves.items()):
            for axis, measure in zip(axes[:, column], measures):
                if measure != "cross_entropy" and (rows := (published or {}).get(variant)):
                    _published_curve(axis, rows, measure)
                _curves(axis, histories, measure)
            axes[0, column].set_title(variant if count < 4 else variant.replace("-", "-\n", 1))
            axes[-1, column].set_xlabel("epoch")
            axes[-1, column].xaxis.get_major_locator().set_params(integer=True)
        _in_percent(axes[0, 0].yaxis, "accuracy, %")
        axes[1, 0].set_ylabel("cross-entropy")
        if published:
            axes[2, 0].set_ylabel("total loss")
            axes[2, 0].set_yscale("log")
            axes[2, 0].yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        # Entropies of single epochs may be huge; the picture is cut where nine tenths of the values are.
        values = [
            row[k]
            for hs in curves.values()
            for rows in hs
            for row in rows
            for k in ("cross_entropy", "val_cross_entropy")
            if np.isfinite(row[k])
        ]
        if values:
            axes[1, 0].set_ylim(0, 1.15 * max(np.quantile(values, 0.95), 0.75))
        handles = _curve_legend() + [
            Line2D([], [], color=PUBLISHED, linestyle=dash, linewidth=width, label=f"published, {part}")
            for part, dash, width in (("training", ":", 1.1), ("validation", "-", 0.9))
        ] * bool(published)
        figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
        return _sign(figure, source)


def watched(runs, source):
    """What stopping and checkpoints watch: total validation loss, its penalty on the last unit, and the cross-entropy.

    runs: dict from variant id to (history rows, {name: epoch or None}); the epochs are marked by a line under their name.
    """
    with _style():
        runs = {variant: (rows, marks) for variant, (rows, marks) in runs.items() if rows}
        if not runs:
            return _nothing("no epoch is finished", source)
        count = len(runs)
        figure = Figure(figsize=(WIDTH if count > 1 else 0.62 * WIDTH, 3.0), layout="constrained")
        axes = figure.subplots(1, count, sharey=True, squeeze=False)[0]
        lines = (
            ("val_loss", VALIDATION, "-", "total validation loss"),
            ("head_penalty", WRONG, "--", "penalty of the last unit"),
            ("val_cross_entropy", MEASURED, "-.", "validation cross-entropy"),
        )
        dashes = {"stop": ("0.2", "-"), "evaluated": (VALIDATION, ":"), "learning rate / 10": ("0.5", "--")}
        for axis, (variant, (rows, marks)) in zip(axes, runs.items()):
            for key, color, dash, _ in lines:
                values = np.array([row.get(key, np.nan) for row in rows])
                axis.plot(
                    [row["epoch"] for row in rows],
                    np.where(values > 0, values, np.nan),
                    color=color,
                    linestyle=dash,
                    linewidth=1.4,
                )
            for name, epoch in marks.items():
                if epoch:
                    axis.axvline(epoch, color=dashes[name][0], linestyle=dashes[name][1], linewidth=1)
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
            axis.set_title(variant if count < 4 else variant.replace("-", "-\n", 1))
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
        axes[0].set_ylabel("nats, logarithmic")
        handles = [Line2D([], [], color=color, linestyle=dash, label=label) for _, color, dash, label in lines]
        handles += [
            Line2D([], [], color=color, linestyle=dash, linewidth=1, label=label)
            for label, (color, dash) in dashes.items()
            if any(marks.get(label) for _, marks in runs.values())
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
        return _sign(figure, source)


def small_multiples(curves, source, columns=4):
    """Accuracy over epochs of every variant of a ladder. curves: dict from "stage: variant" to list of histories."""
    with _style():
        if not curves:
            return _nothing("no epoch is finished", source)
        rows = -(-len(curves) // columns)
        figure = Figure(figsize=(WIDTH, 1.55 * rows + 0.6), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axis, (title, histories) in zip(axes.flat, curves.items()):
            _curves(axis, histories, "accuracy")
            axis.set_title(title.replace(": ", "\n"), fontsize=8)
            axis.xaxis.get_major_locator().set_params(integer=True)
        for axis in axes.flat[len(curves) :]:
            axis.set_axis_off()
        for axis in axes.flat[max(0, len(curves) - columns) : len(curves)]:
            axis.set_xlabel("epoch")
            axis.tick_params(labelbottom=True)
        for axis in axes[:, 0]:
            _in_percent(axis.yaxis, "accuracy, %")
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
                axis.errorbar(
                    point["accuracy"],
                    y,
                    xerr=[[point["accuracy"] - point["low"]], [point["high"] - point["accuracy"]]],
                    fmt="o",
                    color=MEASURED,
                    markersize=6,
                    capsize=3,
                    linewidth=1.4,
                    markerfacecolor=MEASURED if point["carried"] else "white",
                )
                if len(point["singles"]) > MANY:
                    axis.plot(
                        np.quantile(point["singles"], (0.1, 0.9)), [y, y], color=MEASURED, linewidth=5, alpha=0.25
                    )
                elif len(point["singles"]) > 1:
                    axis.plot(point["singles"], [y] * len(point["singles"]), "|", color=MEASURED, markersize=9)
            if point["published"] is not None:
                axis.plot(point["published"], y, "D", color=PUBLISHED, markersize=5, markerfacecolor="none", zorder=4)
        axis.axvline(0.5, color="0.6", linewidth=0.8, linestyle=":")
        axis.set_yticks(range(len(points)), [point["label"] for point in points])
        axis.set_ylim(len(points) - 0.5, -0.5)
        _in_percent(axis.xaxis, "test accuracy, % (dotted: chance)")
        figure.legend(
            handles=[
                Line2D([], [], color=MEASURED, marker="o", linestyle="-", label="measured, carried forward"),
                Line2D([], [], color=MEASURED, marker="o", linestyle="-", markerfacecolor="white", label="measured"),
                Line2D(
                    [],
                    [],
                    color=PUBLISHED,
                    marker="D",
                    linestyle="",
                    markerfacecolor="none",
                    label="published (LFW-a, one run)",
                ),
            ],
            loc="outside upper center",
            ncols=3,
            frameon=False,
        )
        return _sign(figure, source)


def effort(labels, seconds_per_epoch, seconds_total, memory_mb, source):
    """Seconds per epoch, seconds in all and peak memory of each variant, as bars."""
    with _style():
        if not labels:
            return _nothing("no run is finished", source)
        figure = Figure(figsize=(WIDTH, 0.26 * len(labels) + 1.0), layout="constrained")
        axes = figure.subplots(1, 3, sharey=True)
        for axis, values, title in zip(
            axes,
            (seconds_per_epoch, seconds_total, memory_mb),
            ("seconds per epoch", "seconds in all", "peak memory, MiB"),
        ):
            bars = axis.barh(range(len(labels)), values, color=MEASURED, height=0.65)
            axis.bar_label(
                bars, [f"{value:.1f}" if value < 100 else f"{value:,.0f}" for value in values], padding=2, fontsize=7
            )
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axis.margins(x=0.25)
            axis.set_xlabel(title)
            axis.grid(axis="y", visible=False)
        axes[0].set_yticks(range(len(labels)), labels)
        axes[0].invert_yaxis()
        return _sign(figure, source)


def accuracy_against_time(points, source, measured_name="measured here, at the best epoch"):
    """Test accuracy against training seconds, ours and the report's. points: dicts of label, seconds, accuracy, published,
    and carried, where a line joins those that were carried forward."""
    with _style():
        measured = [p for p in points if not p["published"]]
        if not measured:
            return _nothing("no run is finished", source)
        figure = Figure(figsize=(WIDTH, max(3.4, 0.2 * len(measured) + 1.2)), layout="constrained")
        axis = figure.subplots()
        axis.plot(
            [p["seconds"] for p in points if p["published"]],
            [p["accuracy"] for p in points if p["published"]],
            "D",
            color=PUBLISHED,
            markersize=5,
            markerfacecolor="none",
            label="published (LFW-a, the report's GPU, one run)",
        )
        path = [p for p in measured if p.get("carried")]
        axis.plot([p["seconds"] for p in path], [p["accuracy"] for p in path], color=MEASURED, linewidth=0.8, alpha=0.5)
        axis.plot(
            [p["seconds"] for p in measured],
            [p["accuracy"] for p in measured],
            "o",
            color=MEASURED,
            label=measured_name,
        )
        axis.set_xscale("log")
        # Names stand in a column of their own, in the order of the points: beside the points they would overlap.
        ordered = sorted(measured, key=lambda p: p["accuracy"])
        for place, point in zip(np.linspace(0.03, 0.97, len(ordered) + 2)[1:-1], ordered):
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
        axis.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:,g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("training seconds, without start and compilation")
        _in_percent(axis.yaxis, "test accuracy, %")
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
        return _sign(figure, source)


def montage(images, caption, source):
    """Pictures in a grid, as HTML. images: uint8 (n, side, side)."""
    cells = "".join(f'<img alt="" width="64" height="64" src="{picture_uri(image)}">' for image in images)
    return _figure(
        f'<div class="faces" style="display:flex;flex-wrap:wrap;gap:4px">{cells}</div>',
        f"{caption} {_told(source)}",
        "Pictures of the set",
    )


def picture_uri(image):
    """A grey picture, uint8 (height, width) or float in [0, 1], as a data URI: a JPEG of which the eye sees no loss."""
    if np.asarray(image).dtype != np.uint8:
        image = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "JPEG", quality=95)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def images_per_person(counts, source):
    """How many people have how many pictures. counts: number of pictures of each person."""
    with _style():
        figure = Figure(figsize=(0.7 * WIDTH, 2.6), layout="constrained")
        axis = figure.subplots()
        values, people = np.unique(np.minimum(counts, 20), return_counts=True)
        bars = axis.bar(values, people, color=_COUNT)
        axis.bar_label(bars, [f"{n:,}" for n in people], fontsize=7, padding=1)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xticks(values)
        axis.set_xlabel("pictures of a person" + (" (20: 20 or more)" if max(counts) >= 20 else ""))
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


def gallery(groups, caption, source):
    """Pairs of pictures with their scores, a row of cards per group, as HTML.

    groups: list of (title, list of (left, right, P(same), text)); pictures uint8 (side, side).
    """
    rows = "".join(
        f'<h3>{html.escape(title)}</h3><div class="cards" style="display:flex;flex-wrap:wrap;gap:10px 14px">'
        f"{''.join(_card(*pair) for pair in pairs) or 'none'}</div>"
        for title, pairs in groups
    )
    return _figure(rows, f"{caption} {_told(source)}", "Pairs with their scores")


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
            axis.set_xlim(0, 1.4)
            axis.set_xticks((0, 0.5, 1), ("0 %", "50 %", "100 %"))
            axis.set_xlabel(
                {
                    "people": "validation people in training too",
                    "images": "validation pictures in training",
                    "pairs": "validation pairs touched",
                }[kind]
            )
            axis.grid(axis="y", visible=False)
        axes[0].set_yticks(range(len(audits)), list(audits))
        axes[0].invert_yaxis()
        return _sign(figure, source)


def roc(runs, source):
    """ROC curves and reliability diagram. runs: list of (label, score), one per run."""
    from lfwstudy.evaluation.metrics import auc, calibration
    from lfwstudy.evaluation.metrics import roc as roc_points

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
            right.plot([p[0] for p in points], [p[1] for p in points], color=MEASURED, linewidth=0.8, alpha=0.6)
            right.scatter(
                [p[0] for p in points],
                [p[1] for p in points],
                [4 + 120 * p[2] / len(label) for p in points],
                color=MEASURED,
                zorder=3,
            )
        if count > MANY:
            left.text(0.97, 0.03, f"the first {MANY} of {count} runs", ha="right", fontsize=8)
        if runs:
            left.set_title(f"ROC, area {np.mean([auc(*run) for run in runs]):.3f}")
            right.set_title("reliability")
        _in_percent(left.xaxis, "mismatched pairs called same, %")
        _in_percent(left.yaxis, "matched pairs called same, %")
        right.set_xlabel("P(same), mean of a bin")
        _in_percent(right.yaxis, "matched pairs in the bin, %")
        return _sign(figure, source)


def growth(result):
    """Seconds and memory against pairs, pixels and runs, both axes logarithmic. result: as growth.growth returns it."""
    titles = {
        "pairs": "training pairs\n(an epoch)",
        "pixels": "pixels of a picture\n(an epoch)",
        "runs": "runs of a study\n(its table)",
    }
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
        handles = [
            Line2D([], [], marker="o", color=MEASURED, label="seconds"),
            Line2D([], [], marker="s", linestyle="--", color=TRAIN, markersize=4, label="memory"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
        return _sign(figure, f"Drawn faces, {result['network'].partition(',')[0]}; {result['machine']}")


@contextmanager
def _style():
    """Drawing in the library's own style, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def _figure(content, caption, label="Figure"):
    from IPython.display import HTML

    return HTML(
        f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{label}">{content}</div>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _card(left, right, score, text):
    """A pair, its score as a bar from 0 to 1 with a tick at the threshold, and the score in figures."""
    pictures = "".join(
        f'<img alt="{side} picture" width="76" height="76" src="{picture_uri(image)}">'
        for side, image in (("left", left), ("right", right))
    )
    bar = (
        f'<svg width="154" height="8" aria-hidden="true" style="display:block;margin:3px 0 1px"><rect width="154" height="8" '
        f'fill="#999999" fill-opacity=".3"/><rect width="{154 * score:.0f}" height="8" fill="{to_hex(MEASURED)}"/>'
        '<path d="M77 0V8" stroke="currentColor" stroke-width="1.5"/></svg>'
    )
    return (
        f'<div class="card" style="width:154px;font-size:12px;line-height:1.35"><div style="display:flex;gap:2px">{pictures}'
        f"</div>{bar}P(same) {score:.2f}<br>{html.escape(text)}</div>"
    )


def _told(source):
    return f"{source[0].upper()}{source[1:]}."


def _in_percent(axis, name):
    axis.set_major_formatter(PercentFormatter(1, symbol=""))
    axis.set_label_text(name)


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
            line[: len(rows)] = [row[key] for row in rows]
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
    from lfwstudy.training.decisions import best_epoch

    best = best_epoch(rows)
    if best:
        axis.plot(best, rows[best - 1][f"val_{name}"], "o", color=VALIDATION, markersize=5)


def _published_curve(axis, rows, name):
    epochs = [row["epoch"] for row in rows]
    axis.plot(epochs, [row[name] for row in rows], color=PUBLISHED, linestyle=":", linewidth=1.1)
    axis.plot(epochs, [row[f"val_{name}"] for row in rows], color=PUBLISHED, linewidth=0.9)


def _curve_legend():
    return [
        Line2D([], [], color=TRAIN, linestyle="--", label="training"),
        Line2D([], [], color=VALIDATION, label="validation"),
        Line2D([], [], color=VALIDATION, marker="o", linestyle="", label="best epoch"),
    ]


def _picture(axis, image, top=255):
    axis.imshow(image, cmap="gray", vmin=0, vmax=top, interpolation="lanczos", aspect="equal")
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)
