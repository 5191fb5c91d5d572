"""The augmentation bench: an image and its augmented copies, with a slider for every range, starting at a stage's."""

from dataclasses import replace

import ipywidgets
import numpy as np

from lfwstudy.config import TrainingConfig
from lfwstudy.report.data_tables import varied_trainings
from lfwstudy.report.figures import image_uri
from lfwstudy.study.study import Study
from lfwstudy.system.backend import start_keras_quietly
from lfwstudy.training.augment import blank, draw_copies, draw_online, draw_rectangles, vary
from lfwstudy.widgets.controls import Gallery, Slider, button, card, dropdown, labelled, row
from lfwstudy.widgets.explorer import Explorer, require
from lfwstudy.widgets.finished_runs import Images, spoken

_COPIES = 12
# Sliders by the field of TrainingConfig, with the end of a range: name, lowest, highest, step, digits.
_OFFLINE = {
    "zoom_low": ("Zoom from", 0.5, 1.5, 0.01, 2),
    "zoom_high": ("Zoom to", 0.5, 1.5, 0.01, 2),
    "brightness_low": ("Brightness from", 0.3, 2.0, 0.01, 2),
    "brightness_high": ("Brightness to", 0.3, 2.0, 0.01, 2),
    "shear": ("Shear, degrees", 0.0, 45.0, 0.5, 1),
}
_ONLINE = {
    "flip": ("Mirrored (0 or 1)", 0, 1, 1, 0),
    "shift": ("Shift, share of side", 0.0, 0.5, 0.01, 2),
    "online_zoom": ("Zoom, at most", 0.0, 0.5, 0.01, 2),
    "rotation": ("Rotation, degrees", 0.0, 90.0, 0.5, 1),
    "online_brightness": ("Brightness, at most", 0.0, 0.9, 0.01, 2),
    "erase": ("Share erased", 0.0, 1.0, 0.05, 2),
}
_OFFLINE_NOTE = "Zoom below 1 enlarges the face. Each axis has its own zoom factor; nothing is shifted or mirrored."
_ONLINE_NOTE = (
    "Every image is augmented differently in each epoch. Zoom below 1 enlarges the face; a shift is a share of the image's side, "
    "“share erased” of the images that lose a patch."
)


class AugmentationBench(Explorer):
    """An image and twelve copies as training would see them, augmented within the sliders' ranges."""

    def build(self, study: Study) -> list[ipywidgets.Widget]:
        start_keras_quietly()
        stages = [(f"{stage}: {variant}", training) for stage, variant, training in varied_trainings(study)]
        self.images = Images(study.data(study.base().data)[0])
        self.names = {spoken(name): name for name in self.images.bank.names}
        self.sliders = {
            name: Slider(description=label, min=low, max=high, step=step, digits=digits)
            for name, (label, low, high, step, digits) in (_OFFLINE | _ONLINE).items()
        }
        p = self.add(
            image=labelled(
                ipywidgets.Combobox, "Image", options=[*self.names], value=next(iter(self.names)), ensure_option=True
            ),
            stage=dropdown("Ranges of", require(stages, "No stage of this ladder augments its images")),
            draw=Slider(description="Draw number", min=0, max=99, step=1, digits=0),
            back=button("Ranges as the stage uses them"),
            original=Gallery(label="Original", slots=1, across=1, lines=1, size=96),
            copies=Gallery(label="Copies", slots=_COPIES, across=1, size=96),
            **self.sliders,
        )
        self.ranges = row()
        _keep_order(p.zoom_low, p.zoom_high)
        _keep_order(p.brightness_low, p.brightness_high)
        self.watch(self.reset, p.stage, p.back)()
        self.watch(self.show, p.image, p.draw, *self.sliders.values())
        return [row(p.image, p.stage), self.ranges, p.back, p.message, p.original, p.copies]

    def reset(self) -> str:
        """Show the sliders of the chosen stage's kind of augmentation, at its ranges."""
        training = self.parts.stage.value
        names = _ONLINE if training.varies_online() else _OFFLINE
        self.ranges.children = [*(self.sliders[name] for name in names), self.parts.draw]
        for name in names:
            field, _, end = name.partition("_") if name in _OFFLINE else (name, "", "")
            value = getattr(training, field)
            self.sliders[name].value = value[end == "high"] if end else value
        return self.show()

    def show(self) -> str:
        """Augment the image within the ranges of the sliders."""
        p, name, online = self.parts, self.names[self.parts.image.value], self.parts.stage.value.varies_online()
        copies, words = augmented(self.images.pixels([name])[0], int(p.draw.value), self.chosen(online), online)
        p.original.cards = [card(0, [self.images.show(name)], spoken(name))]
        p.copies.cards = [
            card(i, [{"src": image_uri(copy), "alt": f"copy {i + 1} of {spoken(name)}: {text}"}], text)
            for i, (copy, text) in enumerate(zip(copies, words))
        ]
        return _ONLINE_NOTE if online else _OFFLINE_NOTE

    def chosen(self, online: bool) -> TrainingConfig:
        """The stage's configuration with the sliders' ranges."""
        value = {name: slider.value for name, slider in self.sliders.items()}
        if online:
            return replace(
                self.parts.stage.value, **{name: value[name] for name in _ONLINE} | {"flip": value["flip"] > 0}
            )
        zoom, brightness = ((value[f"{name}_low"], value[f"{name}_high"]) for name in ("zoom", "brightness"))
        return replace(self.parts.stage.value, zoom=zoom, brightness=brightness, shear=value["shear"])


def augmented(
    image: np.ndarray, seed: int, training: TrainingConfig, online: bool, count: int = _COPIES
) -> tuple[np.ndarray, list[str]]:
    """Copies of an image (uint8 (side, side)) as `training` makes them, offline or again in every epoch.

    Returns float32 (count, side, side) in [0, 1], and a description of each.
    """
    side, copies = image.shape[0], np.repeat(image[None, :, :, None].astype(np.float32) / 255, count, axis=0)
    if online:
        rng = np.random.default_rng([seed, 70])
        drawn, rectangles = draw_online(rng, count, side, training), draw_rectangles(rng, count, side, training.erase)
        varied = blank(vary(copies, drawn), rectangles)
        words = [_online_words(p, r, side) for p, r in zip(drawn, rectangles)]
    else:
        drawn = draw_copies(seed, 1, count, side, training.zoom, training.brightness, training.shear)[0, 1:, 0]
        varied = vary(copies, drawn, np.ones(count, bool) if training.stretch_copies else None)
        words = [
            f"zoom {a:.2f} × {np.hypot(b, e):.2f}\nshear {np.rad2deg(np.arctan2(-b, e)):+.1f}°\nbrightness {light:.2f}"
            for a, b, _, _, e, _, light in drawn
        ]
    return np.asarray(varied)[..., 0], words


def _online_words(parameters: np.ndarray, rectangle: np.ndarray, side: int) -> str:
    a, b, c, d, e, f, brightness = parameters
    centre = (side - 1) / 2
    across, down = (100 * (p + (q + r - 1) * centre) / side for p, q, r in ((c, a, b), (f, d, e)))
    left, top, right, bottom = rectangle
    erased = f", {100 * (right - left) * (bottom - top) / side**2:.0f} % erased" if right > left else ""
    return (
        f"{'mirrored, ' if a < 0 else ''}zoom {np.hypot(d, e):.2f}, rotated {np.rad2deg(np.arctan2(d, e)):+.1f}°\n"
        f"shift {across:+.0f} %, {down:+.0f} %\nbrightness {brightness:.2f}{erased}"
    )


def _keep_order(low: Slider, high: Slider) -> None:
    """Move the other end of a range along when one passes it."""
    low.observe(lambda change: setattr(high, "value", max(high.value, change["new"])), "value")
    high.observe(lambda change: setattr(low, "value", min(low.value, change["new"])), "value")
