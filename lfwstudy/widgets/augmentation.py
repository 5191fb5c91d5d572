"""The augmentation bench: an image and its augmented copies, with a slider for every range, starting at a stage's."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lfwstudy.config import TrainingConfig
from lfwstudy.ladder import get_ladder
from lfwstudy.report.figures import image_uri
from lfwstudy.study.study import Study
from lfwstudy.system.backend import start_keras_quietly
from lfwstudy.training.augment import blank, draw_copies, draw_online, draw_rectangles, vary
from lfwstudy.verify.network import run_config
from lfwstudy.widgets.controls import Gallery, Slider, button, card, dropdown, row, text_field
from lfwstudy.widgets.explorer import Explorer, explorer, require
from lfwstudy.widgets.finished_runs import Images, finished_rows, spoken

_COPIES = 12
_CHOICES = 200


class _Range(NamedTuple):
    label: str
    min: float
    max: float
    step: float
    digits: int = 2


# Sliders by name: the field of TrainingConfig and, for a range, which end.
_OFFLINE = {
    "zoom_low": _Range("Zoom from", 0.5, 1.5, 0.01),
    "zoom_high": _Range("Zoom to", 0.5, 1.5, 0.01),
    "brightness_low": _Range("Brightness from", 0.3, 2.0, 0.01),
    "brightness_high": _Range("Brightness to", 0.3, 2.0, 0.01),
    "shear": _Range("Shear, degrees", 0.0, 45.0, 0.5, 1),
}
_ONLINE = {
    "flip": _Range("Mirrored (0 or 1)", 0, 1, 1, 0),
    "shift": _Range("Shift, share of side", 0.0, 0.5, 0.01),
    "online_zoom": _Range("Zoom, at most", 0.0, 0.5, 0.01),
    "rotation": _Range("Rotation, degrees", 0.0, 90.0, 0.5, 1),
    "online_brightness": _Range("Brightness, at most", 0.0, 0.9, 0.01),
    "erase": _Range("Share erased", 0.0, 1.0, 0.05),
}
_OFFLINE_NOTE = "Zoom below 1 enlarges the face. Each axis has its own zoom factor; nothing is shifted or mirrored."
_ONLINE_NOTE = (
    "Every image is augmented differently in each epoch. Zoom below 1 enlarges the face; a shift is a share of the image's side, "
    "“share erased” of the images that lose a patch."
)


@explorer
def bench_augmentation(study: Study) -> Explorer:
    """An image and twelve copies as training would see them, augmented within the sliders' ranges."""
    return _Bench(study)


class _Bench(Explorer):
    def __init__(self, study: Study) -> None:
        start_keras_quietly()
        used, self.origin = _used_ranges(study)
        self.images = Images(study.data(study.base().data)[0])
        self.sliders = {
            name: Slider(label=r.label, min=r.min, max=r.max, step=r.step, digits=r.digits)
            for name, r in (_OFFLINE | _ONLINE).items()
        }
        super().__init__(
            person=text_field("Person's name contains", "any"),
            image=dropdown("Image", _choices(self.images, "")),
            stage=dropdown("Ranges of", used),
            draw=Slider(label="Draw number", min=0, max=99, step=1, digits=0),
            back=button("Ranges as the stage used them"),
            original=Gallery(label="Original", slots=1, across=1, lines=1, size=96),
            copies=Gallery(label="Copies", slots=_COPIES, across=1, size=96),
            **self.sliders,
        )
        p, self.ranges = self.parts, row()
        self.arrange(row(p.person, p.image, p.stage), self.ranges, p.back, p.message, p.original, p.copies)
        _keep_order(p.zoom_low, p.zoom_high)
        _keep_order(p.brightness_low, p.brightness_high)
        self.press(p.back, self.reset)
        self.follow(self.reset, p.stage)
        self.watch(self.find, p.person)
        self.watch(self.show, p.image, p.draw, *self.sliders.values())

    def find(self) -> str:
        """Offer the images of people whose name contains the letters."""
        self.parts.image.options = _choices(self.images, self.parts.person.value)
        return self.show()

    def reset(self) -> str:
        """Show the sliders of the chosen stage's kind of augmentation, at its ranges."""
        training = self.parts.stage.value
        names = _ONLINE if training.varies_online() else _OFFLINE
        self.ranges.children = [*(self.sliders[name] for name in names), self.parts.draw]
        for name in names:
            self.sliders[name].value = _setting(training, name)
        return self.show()

    def show(self) -> str:
        """Augment the image within the ranges of the sliders."""
        p, name, training = self.parts, self.parts.image.value, self.parts.stage.value
        if name is None:
            p.original.cards = p.copies.cards = []
            return "No person's name contains these letters."
        online = training.varies_online()
        ranges = {key: self.sliders[key].value for key in (_ONLINE if online else _OFFLINE)}
        make = vary_online if online else vary_offline
        varied, words = make(self.images.pixels([name])[0], int(p.draw.value), _within(training, ranges))
        p.original.cards = [card(0, [self.images.show(name)], spoken(name))]
        p.copies.cards = [
            card(i, [{"src": image_uri(copy), "alt": f"copy {i + 1} of {spoken(name)}: {text}"}], text)
            for i, (copy, text) in enumerate(zip(varied, words))
        ]
        return f"{self.origin} {_ONLINE_NOTE if online else _OFFLINE_NOTE}"


def vary_offline(
    image: np.ndarray, seed: int, training: TrainingConfig, count: int = _COPIES
) -> tuple[np.ndarray, list[str]]:
    """Offline copies of an image (uint8 (side, side)) as `training` makes them.

    Returns float32 (count, side, side) in [0, 1], and a description of each.
    """
    drawn = draw_copies(seed, 1, count, image.shape[0], training.zoom, training.brightness, training.shear)[0, 1:, 0]
    stretched = np.ones(count, bool) if training.stretch_copies else None
    return np.asarray(vary(_repeated(image, count), drawn, stretched))[..., 0], [_offline_words(p) for p in drawn]


def vary_online(
    image: np.ndarray, seed: int, training: TrainingConfig, count: int = _COPIES
) -> tuple[np.ndarray, list[str]]:
    """The same with the augmentation that `training` draws again in every epoch."""
    rng, side = np.random.default_rng([seed, 70]), image.shape[0]
    drawn = draw_online(rng, count, side, training)
    rectangles = draw_rectangles(rng, count, side, training.erase)
    varied = blank(vary(_repeated(image, count), drawn), rectangles)
    return np.asarray(varied)[..., 0], [_online_words(p, r, side) for p, r in zip(drawn, rectangles)]


def _repeated(image: np.ndarray, count: int) -> np.ndarray:
    return np.repeat(image[None, :, :, None].astype(np.float32) / 255, count, axis=0)


def _choices(images: Images, person: str) -> list[tuple[str, str]]:
    wanted = person.strip().lower().replace(" ", "_")
    return [(spoken(name), name) for name in images.bank.names if wanted in name.lower()][:_CHOICES]


def _keep_order(low: Slider, high: Slider) -> None:
    """Move the other end of a range along when one passes it."""
    low.observe(lambda change: setattr(high, "value", max(high.value, change["new"])), "value")
    high.observe(lambda change: setattr(low, "value", min(low.value, change["new"])), "value")


def _setting(training: TrainingConfig, name: str) -> float:
    """A slider's value in a configuration."""
    if hasattr(training, name):
        return float(getattr(training, name))
    field, _, end = name.rpartition("_")
    return getattr(training, field)[end == "high"]


def _within(training: TrainingConfig, ranges: dict[str, Any]) -> TrainingConfig:
    """A configuration with the sliders' values."""
    if "flip" in ranges:
        return replace(training, **{**ranges, "flip": ranges["flip"] > 0})
    zoom, brightness = ((ranges[f"{name}_low"], ranges[f"{name}_high"]) for name in ("zoom", "brightness"))
    return replace(training, zoom=zoom, brightness=brightness, shear=ranges["shear"])


def _used_ranges(study: Study) -> tuple[list[tuple[str, TrainingConfig]], str]:
    """Variants with augmentation as (name, TrainingConfig), and a sentence on the source of the ranges."""
    finished = [
        (f"{r['stage']}: {r['variant']}", run_config(study.store, r["run"]).training) for r in finished_rows(study)
    ]
    if used := _varying(finished):
        return used, "The sliders start at the stage's ranges."
    planned = [
        (f"{stage.id}: {variant.id}", study.base().change(variant.changes).training)
        for stage in get_ladder(study.settings.ladder)
        for variant in stage.variants
    ]
    used = require(_varying(planned), "No stage of this ladder augments its images")
    return used, "No finished stage augments its images: the sliders start at the ranges that the stage would use."


def _varying(configurations: list[tuple[str, TrainingConfig]]) -> list[tuple[str, TrainingConfig]]:
    """Those with augmentation, each name once."""
    return [(n, t) for n, t in dict(configurations).items() if t.augmented_copies or t.varies_online()]


def _offline_words(parameters: np.ndarray) -> str:
    a, b, _, _, e, _, brightness = parameters
    return (
        f"zoom {a:.2f} × {float(np.hypot(b, e)):.2f}\nshear {np.rad2deg(np.arctan2(-b, e)):+.1f}°\n"
        f"brightness {brightness:.2f}"
    )


def _online_words(parameters: np.ndarray, rectangle: np.ndarray, side: int) -> str:
    a, b, c, d, e, f, brightness = parameters
    centre = (side - 1) / 2
    across, down = (100 * (p + q * centre + r * centre - centre) / side for p, q, r in ((c, a, b), (f, d, e)))
    left, top, right, bottom = rectangle
    erased = f", {100 * (right - left) * (bottom - top) / side**2:.0f} % erased" if right > left else ""
    return (
        f"{'mirrored, ' if a < 0 else ''}zoom {float(np.hypot(d, e)):.2f}, rotated {np.rad2deg(np.arctan2(d, e)):+.1f}°\n"
        f"shift {across:+.0f} %, {down:+.0f} %\nbrightness {brightness:.2f}{erased}"
    )
