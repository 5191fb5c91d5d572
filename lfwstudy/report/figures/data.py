"""Figures of the data: images per person, what splits share, and augmented images."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from lfwstudy.report.figures.style import WIDTH, WRONG, new_figure, plain_numbers, signed, styled

_SHARED = {
    "people": ("shared_people", "validation people in training too"),
    "images": ("shared_images", "validation images in training too"),
    "pairs": ("touched_pairs", "validation pairs touched"),
}


@styled()
def images_per_person(counts: np.ndarray, source: str) -> Figure:
    """Histogram of images per person. counts: int (people,), images of each person."""
    figure = new_figure(2.6, 0.7 * WIDTH)
    axis = figure.subplots()
    values, people = np.unique(np.minimum(counts, 20), return_counts=True)
    bars = axis.bar(values, people, color="0.6")
    axis.bar_label(bars, [f"{n:,}" for n in people], fontsize=7, padding=1)
    axis.set_yscale("log")
    plain_numbers(axis.yaxis)
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xticks(values)
    axis.set_xlabel("images of a person" + (" (20: 20 or more)" if max(counts) >= 20 else ""))
    axis.set_ylabel("people")
    return signed(figure, source)


@styled()
def split_overlap(audits: Mapping[str, Mapping[str, int]], source: str) -> Figure:
    """People, images and pairs of validation shared with training, by split. audits: from `splits.audit`, by name."""
    figure = new_figure(0.55 * len(audits) + 1.0)
    axes = figure.subplots(1, 3, sharey=True)
    for axis, (kind, (key, title)) in zip(axes, _SHARED.items()):
        shared = [a[key] for a in audits.values()]
        total = [a[f"validation_{kind}"] for a in audits.values()]
        bars = axis.barh(list(audits), [s / t for s, t in zip(shared, total)], color=WRONG, height=0.6)
        axis.bar_label(bars, [f"{s} of {t}" for s, t in zip(shared, total)], padding=3, fontsize=8)
        axis.set_xlim(0, 1.4)
        axis.set_xticks((0, 0.5, 1), ("0 %", "50 %", "100 %"))
        axis.set_xlabel(title)
        axis.grid(axis="y", visible=False)
    axes[0].invert_yaxis()
    return signed(figure, source)


@styled()
def augmented(originals: np.ndarray, copies: Sequence[np.ndarray], captions: Sequence[str], source: str) -> Figure:
    """Originals in the first row, augmented copies below. originals, each of copies: uint8, or float in [0, 1], (n, s, s)."""
    count, rows = len(originals), (originals, *copies)
    figure = new_figure(WIDTH * len(rows) / count + 0.4)
    axes = figure.subplots(len(rows), count, squeeze=False)
    for line, images, caption in zip(axes, rows, captions):
        for axis, image in zip(line, images):
            _show(axis, image)
        line[0].set_title(caption, loc="left")
    return signed(figure, source)


def _show(axis: Axes, image: np.ndarray) -> None:
    top = 255 if image.dtype == np.uint8 else 1
    axis.imshow(image, cmap="gray", vmin=0, vmax=top, interpolation="lanczos", aspect="equal")
    axis.set_axis_off()
