"""Occlusion maps: a grey patch is moved over either face, and the change of the score is drawn on it."""

from collections.abc import Sequence
from html import escape
from itertools import product

import ipywidgets
import numpy as np
from PIL import Image

from lfwstudy.report.figures import image_uri
from lfwstudy.study.study import Study
from lfwstudy.verify.network import Network, probability
from lfwstudy.widgets import drawing
from lfwstudy.widgets.controls import Message, Slider, blank, button, markup, row
from lfwstudy.widgets.finished_runs import spoken
from lfwstudy.widgets.pair_browser import PairChooser

# Blue where hiding a part makes the faces more alike to the network, orange where it makes them less alike.
_MORE, _LESS = np.array([0x01, 0x73, 0xB2]), np.array([0xDE, 0x8F, 0x05])
_SHOWN = 260
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
            figure=markup(f"{_SHOWN + 60}px"),
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
        p.figure.value, p.words.value = _figure(pixels, maps, names), _words(maps, odds)
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


def _figure(images: np.ndarray, maps: np.ndarray, names: Sequence[str]) -> str:
    largest = float(np.abs(maps).max()) or 1.0
    shown = "".join(
        f'<figure style="margin:0"><img alt="{escape(spoken(name))} with its occlusion map" width="{_SHOWN}" '
        f'height="{_SHOWN}" src="{_overlay(image, changes / largest)}"><figcaption>{escape(spoken(name))}</figcaption></figure>'
        for image, changes, name in zip(images, maps, names)
    )
    return (
        f'<div style="display:flex;flex-wrap:wrap;gap:12px">{shown}</div>{_scale(largest)}'
        '<p class="lfw-note">Change of the log-odds of “same” where a patch hides a part of one face.</p>'
    )


def _scale(largest: float) -> str:
    """The colours from the largest decrease to the largest increase, over a middle grey."""
    width, less, more = (
        2 * _SHOWN + 12,
        f"−{largest:.2f}: hiding it makes them less alike",
        f"+{largest:.2f}: more alike",
    )
    colours = _tinted(np.full(41, 128.0)[:, None], np.linspace(-1, 1, 41)[:, None])
    steps = [
        f'<rect x="{width * i / 41:.1f}" y="8" width="{width / 41 + 0.5:.1f}" height="12" fill="#{bytes(colour).hex()}"/>'
        for i, colour in enumerate(colours)
    ]
    ends = drawing.text(0, 36, less), drawing.text(width / 2, 36, "0", "middle"), drawing.text(width, 36, more, "end")
    return drawing.svg(width, 42, f"Scale: {less}; {more}", *steps, *ends)


def _tinted(grey: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Grey with the colours of changes from -1 to 1 over it, so weak that the face stays visible: uint8 (..., 3)."""
    strength = np.clip(np.abs(change), 0, 1) * 0.75
    return (grey * (1 - strength) + np.where(change > 0, _MORE, _LESS) * strength).astype(np.uint8)


def _overlay(image: np.ndarray, changes: np.ndarray) -> str:
    """An image with a map from -1 to 1 laid over it, as a data URI."""
    grey, change = (
        np.asarray(Image.fromarray(pixels).resize((_SHOWN, _SHOWN), Image.Resampling.BICUBIC), float)[..., None]
        for pixels in (image, changes.astype(np.float32))
    )
    return image_uri(_tinted(grey, change))


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
