"""Figures of the data: images per person, and what splits share."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from lfwstudy.report.figures import style

_SHARED = {
    "people": ("shared_people", "validation people in training too"),
    "images": ("shared_images", "validation images in training too"),
    "pairs": ("touched_pairs", "validation pairs touched"),
}


@style.styled()
def images_per_person(counts: np.ndarray, source: str) -> Figure:
    """Histogram of images per person. counts: int (people,), images of each person."""
    figure = style.new_figure(2.6, 0.7 * style.WIDTH)
    axis = figure.subplots()
    values, people = np.unique(np.minimum(counts, 20), return_counts=True)
    bars = axis.bar(values, people, color="0.6")
    axis.bar_label(bars, [f"{n:,}" for n in people], fontsize=7, padding=1)
    axis.set_yscale("log")
    axis.set_ylim(bottom=0.7)  # one person is a bar, too
    style.plain_numbers(axis.yaxis)
    axis.set_xticks(values)
    axis.set_xlabel("images of a person" + (" (20: 20 or more)" if max(counts) >= 20 else ""))
    axis.set_ylabel("people")
    return style.signed(figure, source)


@style.styled()
def split_overlap(audits: Mapping[str, Mapping[str, int]], source: str) -> Figure:
    """People, images and pairs of validation shared with training, by split. audits: from `splits.audit`, by name."""
    figure = style.new_figure(0.55 * len(audits) + 1.0)
    axes = figure.subplots(1, 3, sharey=True)
    for axis, (kind, (column, title)) in zip(axes, _SHARED.items()):
        shared = [a[column] for a in audits.values()]
        total = [a[f"validation_{kind}"] for a in audits.values()]
        bars = axis.barh(list(audits), [s / t for s, t in zip(shared, total)], color=style.WRONG, height=0.6)
        axis.bar_label(bars, [f"{s} of {t}" for s, t in zip(shared, total)], padding=3, fontsize=8)
        axis.set_xlim(0, 1.4)
        axis.set_xticks((0, 0.5, 1), ("0 %", "50 %", "100 %"))
        axis.set_xlabel(title)
        axis.grid(axis="y", visible=False)
    axes[0].invert_yaxis()
    return style.signed(figure, source)
