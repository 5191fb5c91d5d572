"""What the network looks at: a grey patch is moved over either face, and the change of the score is drawn on it."""

import base64
import html
import io

import numpy as np
from PIL import Image

from lfwstudy.widgets.controls import Slider, button, explorer, guarded, markup, message, panel, row, tell
from lfwstudy.widgets.finished_runs import Network, sigmoid, spoken
from lfwstudy.widgets.pair_browser import choose_pairs

# Blue where hiding a part makes the faces more alike to the network, orange where it makes them less alike.
_MORE, _LESS = np.array([0x01, 0x73, 0xB2]), np.array([0xDE, 0x8F, 0x05])
_SHOWN = 260
_STEPS = 12
LIMITS = (
    "A grey patch is itself a strange picture to the network, neighbouring parts can stand in for each other, and "
    "another patch size gives another map: it tells where this score is touchy, not what the network knows."
)


@explorer
def look_at_parts(study):
    """For a chosen pair, which parts of the two faces move the score: an occlusion map, with its limits."""
    networks = {}
    chooser = choose_pairs(study, per_page=5)
    patch = Slider(label="Patch size, share", min=0.1, max=0.5, step=0.05, value=0.25)
    go = button("Map the opened pair")
    told, figure, words = message(), markup(f"{_SHOWN + 60}px"), markup("5em")

    def show():
        opened = chooser.opened()
        if opened is None:
            figure.value = words.value = ""
            return "Choose a pair above."
        scored, at, pictures = opened
        if scored.run not in networks:
            tell(told, "Loading the network.")
            networks[scored.run] = Network(study, scored.run)
        names = scored.left[at], scored.right[at]
        images = pictures.bank.images[pictures.bank.rows(names)]
        tell(told, "Hiding part after part.")
        maps, odds = occlusion_maps(networks[scored.run], images, patch.value)
        figure.value = _figure(images, maps, names)
        words.value = _words(maps, odds, names)
        return LIMITS

    refresh = guarded(told, show)
    go.on_click(refresh)
    chooser.parts.gallery.observe(refresh, "chosen")
    # A map takes a second or more: too long for an answer to every move of the slider.
    patch.observe(lambda _: tell(told, f"Press “{go.description}” for a map with this patch."), "value")
    refresh()
    return panel(
        chooser,
        row(patch, go),
        figure,
        words,
        told,
        **vars(chooser.parts),
        patch=patch,
        go=go,
        figure=figure,
        words=words,
        told=told,
    )


def occlusion_maps(network, images, patch, steps=_STEPS):
    """How the log-odds of "same" change when a patch of a picture is hidden behind that picture's mean grey.

    images: uint8 (2, side, side), left and right; patch: share of the side. Returns float (2, steps, steps), the
    patch's centres on an even grid, and the log-odds with nothing hidden.
    """
    side = images.shape[1]
    size = max(1, round(patch * side))
    starts = np.round(np.linspace(0, side - size, steps)).astype(int)
    whole = network.embed(images)
    odds = network.log_odds(whole[:1], whole[1:])[0]
    maps = np.zeros((2, steps, steps))
    for which, image in enumerate(images):
        hidden = np.repeat(image[None], steps * steps, axis=0)
        for i, (top, left) in enumerate((t, l) for t in starts for l in starts):
            hidden[i, top : top + size, left : left + size] = round(float(image.mean()))
        changed = network.log_odds(network.embed(hidden), whole[1 - which : 2 - which])
        maps[which] = (changed - odds).reshape(steps, steps)
    return maps, float(odds)


def _figure(images, maps, names):
    largest = float(np.abs(maps).max()) or 1.0
    shown = "".join(
        f'<figure style="margin:0"><img alt="{html.escape(spoken(name))} with its occlusion map" width="{_SHOWN}" '
        f'height="{_SHOWN}" src="{_overlay(image, changes / largest)}"><figcaption>{html.escape(spoken(name))}</figcaption></figure>'
        for image, changes, name in zip(images, maps, names)
    )
    key = "".join(
        f'<span style="background:rgb{tuple(map(int, colour))};color:{ink};padding:1px 8px">{text}</span> '
        for colour, ink, text in (
            (_LESS, "#000", "orange: hiding it makes them less alike"),
            (_MORE, "#fff", "blue: hiding it makes them more alike"),
        )
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{shown}</div><p>{key}</p>'


def _overlay(image, changes):
    """A picture with a map from -1 to 1 laid over it, as a data URI."""
    grey = Image.fromarray(image).resize((_SHOWN, _SHOWN), Image.Resampling.BICUBIC)
    smooth = np.asarray(Image.fromarray(changes.astype(np.float32)).resize((_SHOWN, _SHOWN), Image.Resampling.BICUBIC))
    strength = np.clip(np.abs(smooth), 0, 1)[..., None] * 0.75
    colour = np.where(smooth[..., None] > 0, _MORE, _LESS)
    mixed = np.asarray(grey, float)[..., None] * (1 - strength) + colour * strength
    file = io.BytesIO()
    Image.fromarray(mixed.astype(np.uint8)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _words(maps, odds, names):
    told = [f"P(same) of the whole pictures: {sigmoid(odds):.3f}."]
    for changes, name, side in zip(maps, names, ("left", "right")):
        i, j = np.unravel_index(np.abs(changes).argmax(), changes.shape)
        where = (
            f"{('top', 'middle', 'bottom')[3 * i // len(changes)]} {('left', 'centre', 'right')[3 * j // len(changes)]}"
        )
        told.append(
            f"In the {side} picture the touchiest part is at the {where}: hiding it takes P(same) to "
            f"{sigmoid(odds + changes[i, j]):.3f}."
        )
    return f"<p>{html.escape(' '.join(told))}</p>"
