"""Occlusion maps: a grey patch is moved over either face, and the change of the score is drawn on it."""

from collections.abc import Sequence
from itertools import product

import ipywidgets
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure

from lfwstudy.report.figures import style
from lfwstudy.report.figures.style import drawn
from lfwstudy.study.study import Study
from lfwstudy.verify.network import Network, probability
from lfwstudy.widgets.controls import Message, Slider, blank, button, markup, row
from lfwstudy.widgets.finished_runs import spoken
from lfwstudy.widgets.pair_browser import PairChooser

# Blue where hiding a part makes the faces more alike to the network, orange where it makes them less alike; so weak that the
# face stays visible.
_ENDS = ((0, style.PUBLISHED, 0.75), (0.5, style.PUBLISHED, 0), (0.5, style.VALIDATION, 0), (1, style.VALIDATION, 0.75))
_TINTS = LinearSegmentedColormap.from_list("tints", [(at, to_rgba(color, alpha)) for at, color, alpha in _ENDS])
_STEPS = 12
_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")
LIMITS = (
    "A grey patch is itself unusual to the network, neighbouring parts can compensate for each other, and another patch "
    "size gives another map: it shows where this score is sensitive, not what the network knows."
)


class PartsExplorer(PairChooser):
    """For a chosen pair, which parts of the two faces move the score: an occlusion map, with its limits."""

    per_page = 5

    def build(self, study: Study) -> list[ipywidgets.Widget]:
        rows = super().build(study)
        p = self.add(
            patch=Slider(description="Patch size, share", min=0.1, max=0.5, step=0.05, value=0.25),
            go=button("Map the opened pair"),
            figure=markup("380px"),
            words=markup("5em"),
            note=Message(),
        )
        self.watch(self.map_pair, p.go, message=p.note)
        self.watch(self.map_pair, p.gallery, trait="chosen", message=p.note)()
        # A map takes a second or more: too long to follow every move of the slider.
        self.watch(lambda: f"Press “{p.go.description}” for a map with this patch.", p.patch, message=p.note)
        return [*rows, row(p.patch, p.go), p.figure, p.words, p.note]

    def map_pair(self) -> str:
        p, opened = self.parts, self.opened()
        blank(p.figure, p.words)
        if opened is None:
            return "Choose a pair above."
        scored, images = opened
        names = [scored.left.item(), scored.right.item()]
        p.note.tell("Loading the network, then hiding one part after another.")
        network, pixels = self.runs.network(p.run.value), images.pixels(names)
        maps, odds = occlusion_maps(network, pixels, p.patch.value)
        figure = _figure(maps, "change of the log-odds of “same” where a patch hides a part of one face", pixels, names)
        p.figure.value = drawn(figure, f"Occlusion maps of {' and '.join(map(spoken, names))}")
        p.words.value = _words(maps, odds)
        return LIMITS


def occlusion_maps(network: Network, images: np.ndarray, patch: float, steps: int = _STEPS) -> tuple[np.ndarray, float]:
    """How the log-odds of "same" change when a patch of an image is hidden behind that image's mean grey.

    Parameters
    ----------
    images : uint8 (2, side, side), left and right.
    patch : share of the side.

    Returns
    -------
    float (2, steps, steps), by the patch's place on a regular grid; and the log-odds with nothing hidden.
    """
    side = images.shape[1]
    size = max(1, round(patch * side))
    starts = np.round(np.linspace(0, side - size, steps)).astype(int)
    whole = network.embed(images)
    odds = network.log_odds(whole[:1], whole[1:])[0]
    maps = np.zeros((2, steps, steps))
    for which, image in enumerate(images):
        hidden = np.repeat(image[None], steps * steps, axis=0)
        for i, (top, left) in enumerate(product(starts, starts)):
            hidden[i, top : top + size, left : left + size] = round(float(image.mean()))
        changed = network.log_odds(network.embed(hidden), whole[1 - which : 2 - which])
        maps[which] = (changed - odds).reshape(steps, steps)
    return maps, float(odds)


@style.styled()
def _figure(maps: np.ndarray, source: str, images: np.ndarray, names: Sequence[str]) -> Figure:
    largest = float(np.abs(maps).max()) or 1.0
    figure = style.new_figure(3.9, 5.8)
    axes = figure.subplots(1, 2)
    for axis, image, changes, name in zip(axes, images, maps, names):
        axis.imshow(image, "gray", vmin=0, vmax=255, interpolation="bicubic", extent=(0, 1, 0, 1))
        tints = axis.imshow(changes, _TINTS, vmin=-largest, vmax=largest, interpolation="bicubic", extent=(0, 1, 0, 1))
        axis.set_title(spoken(name))
        axis.set_axis_off()
    bar = figure.colorbar(tints, ax=axes, location="bottom", aspect=40, ticks=(-largest, 0, largest))
    bar.set_ticklabels([f"−{largest:.2f}: hiding it makes them less alike", "0", f"+{largest:.2f}: more alike"])
    bar.ax.set_facecolor("0.5")
    for label, side in zip(bar.ax.get_xticklabels(), ("left", "center", "right")):
        label.set_horizontalalignment(side)
    return style.signed(figure, source)


def _words(maps: np.ndarray, odds: float) -> str:
    words = [f"P(same) of the whole images: {probability(odds):.3f}."]
    for changes, side in zip(maps, ("left", "right")):
        i, j = np.unravel_index(np.abs(changes).argmax(), changes.shape)
        row, column = (names[3 * k // len(changes)] for names, k in ((_ROWS, i), (_COLUMNS, j)))
        words.append(
            f"The most sensitive part of the {side} image is at the {row} {column}: hiding it takes P(same) to "
            f"{probability(odds + changes[i, j]):.3f}."
        )
    return f"<p>{' '.join(words)}</p>"
