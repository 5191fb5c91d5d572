"""The augmentation bench: a picture and its varied copies, every range a slider, the stage's own ranges at first."""

from dataclasses import replace
from functools import partial

import numpy as np

from lfwstudy.config import TrainingConfig
from lfwstudy.ladder import get_ladder
from lfwstudy.report.figures import image_uri
from lfwstudy.system.backend import start_keras_quietly
from lfwstudy.training.augment import blank, draw_copies, draw_online, draw_rectangles, vary
from lfwstudy.widgets.controls import (
    Gallery,
    Slider,
    button,
    dropdown,
    explorer,
    guarded,
    message,
    panel,
    row,
    text_field,
    when_changed,
)
from lfwstudy.widgets.finished_runs import Pictures, config_of, finished_rows, spoken

_COPIES = 12
_CHOICES = 200
# Sliders by name: label, lowest, highest, step, and what a stage's TrainingConfig has for it.
_COPIED = {
    "zoom_low": ("Zoom from", 0.5, 1.5, 0.01, lambda t: t.zoom[0]),
    "zoom_high": ("Zoom to", 0.5, 1.5, 0.01, lambda t: t.zoom[1]),
    "brightness_low": ("Brightness from", 0.3, 2.0, 0.01, lambda t: t.brightness[0]),
    "brightness_high": ("Brightness to", 0.3, 2.0, 0.01, lambda t: t.brightness[1]),
    "shear": ("Shear, degrees", 0.0, 45.0, 0.5, lambda t: t.shear),
}
_ONLINE = {
    "flip": ("Mirrored (0 or 1)", 0, 1, 1, lambda t: float(t.flip)),
    "shift": ("Shift, share of side", 0.0, 0.5, 0.01, lambda t: t.shift),
    "online_zoom": ("Zoom, at most", 0.0, 0.5, 0.01, lambda t: t.online_zoom),
    "rotation": ("Turn, degrees", 0.0, 90.0, 0.5, lambda t: t.rotation),
    "online_brightness": ("Brightness, at most", 0.0, 0.9, 0.01, lambda t: t.online_brightness),
    "erase": ("Share erased", 0.0, 1.0, 0.05, lambda t: t.erase),
}
_READ = (
    "Zoom below 1 makes the face larger. Each axis is zoomed by its own factor; nothing is shifted or flipped.",
    "Every picture is drawn anew in each epoch. Zoom below 1 makes the face larger; shares are of the picture's side, and "
    "of the pictures that lose a patch.",
)


@explorer
def bench_augmentation(study):
    """A picture and twelve copies of it as training would see them, varied within ranges that sliders set."""
    start_keras_quietly()
    online = study.settings.ladder == "beyond"
    used, told_from = _used_ranges(study, online)
    stage = dropdown("Ranges of", used)
    bank = study.data(study.base().data)[0]
    pictures = Pictures(bank)
    person = text_field("Person's name has", "any")
    picture = dropdown("Picture", _choices(bank.names, ""))
    sliders = {
        name: Slider(label=label, min=low, max=high, step=step, digits=0 if step == 1 else 1 if step == 0.5 else 2)
        for name, (label, low, high, step, _) in (_ONLINE if online else _COPIED).items()
    }
    draw = Slider(label="Draw number", min=0, max=99, step=1, digits=0)
    back = button("Ranges as the stage used them")
    original = Gallery(label="Original", slots=1, across=1, lines=1, size=96)
    copies = Gallery(label="Copies", slots=_COPIES, across=1, size=96)
    told = message()

    def show():
        if picture.value is None:
            original.cards = copies.cards = []
            return "No person's name has these letters."
        image = bank.images[bank.rows([picture.value])[0]]
        values = {name: slider.value for name, slider in sliders.items()}
        varied, words = (vary_online if online else vary_copies)(image, int(draw.value), values)
        original.cards = [
            {"key": "0", "pictures": [pictures.show(picture.value)], "text": spoken(picture.value), "mark": ""}
        ]
        copies.cards = [
            {
                "key": str(i),
                "text": text,
                "mark": "",
                "pictures": [{"src": image_uri(copy), "alt": f"copy {i + 1} of {spoken(picture.value)}: {text}"}],
            }
            for i, (copy, text) in enumerate(zip(varied, words))
        ]
        return f"{told_from} {_READ[online]}"

    refresh = guarded(told, show)

    def find(_):
        picture.options = _choices(bank.names, person.value)
        refresh()

    def keep_order(low, high, moved):
        # The end that was moved takes the other one along.
        if low.value > high.value:
            other = high if moved["owner"] is low else low
            other.value = moved["new"]

    def reset(_):
        for name, (*_, value) in (_ONLINE if online else _COPIED).items():
            sliders[name].value = value(stage.value)

    person.observe(find, "value")
    for low in sliders.keys() & {"zoom_low", "brightness_low"}:
        ends = sliders[low], sliders[low.replace("low", "high")]
        when_changed(partial(keep_order, *ends), *ends)
    reset(None)
    when_changed(refresh, picture, draw, *sliders.values())
    stage.observe(reset, "value")
    back.on_click(reset)
    refresh()
    return panel(
        row(person, picture, stage),
        row(*sliders.values(), draw),
        back,
        told,
        original,
        copies,
        person=person,
        picture=picture,
        stage=stage,
        draw=draw,
        back=back,
        message=told,
        original=original,
        copies=copies,
        **sliders,
    )


def vary_copies(image, seed, values, count=_COPIES):
    """Offline copies of a picture (uint8 (side, side)) as the report's ladder draws them, within the sliders' ranges.

    Returns float32 (count, side, side) in [0, 1] and what was done to each in words.
    """
    zoom, brightness = ((values[f"{name}_low"], values[f"{name}_high"]) for name in ("zoom", "brightness"))
    drawn = draw_copies(seed, 1, count, image.shape[0], zoom, brightness, values["shear"])[0, 1:, 0]
    return np.asarray(vary(_repeated(image, count), drawn))[..., 0], [_words_of_copy(p) for p in drawn]


def vary_online(image, seed, values, count=_COPIES):
    """The same with the variation that the ladder beyond draws anew in every epoch."""
    rng = np.random.default_rng([seed, 70])
    training = replace(
        TrainingConfig(), flip=values["flip"] > 0, **{name: values[name] for name in _ONLINE if name != "flip"}
    )
    drawn = draw_online(rng, count, image.shape[0], training)
    rectangles = draw_rectangles(rng, count, image.shape[0], training.erase)
    varied = blank(vary(_repeated(image, count), drawn), rectangles)
    return np.asarray(varied)[..., 0], [_words_online(p, r, image.shape[0]) for p, r in zip(drawn, rectangles)]


def _repeated(image, count):
    return np.repeat(image[None, :, :, None].astype(np.float32) / 255, count, axis=0)


def _used_ranges(study, online):
    """Stages that vary their pictures as (name, TrainingConfig), and where these are from in a sentence."""

    def varies(training):
        return training.varies_online() if online else training.augmented_copies > 0

    found = {
        f"{r['stage']}: {r['variant']}": config_of(study, r["run"]).training
        for r in finished_rows(study)
        if study.store.is_finished(r["run"])
    }
    used = [(name, training) for name, training in found.items() if varies(training)]
    if used:
        return used, "The ranges at first are the stage's."
    planned = [
        (f"{s.id}: {v.id}", study.base().change(v.changes).training)
        for s in get_ladder(study.settings.ladder)
        for v in s.variants
    ]
    return (
        [(name, training) for name, training in planned if varies(training)],
        "No finished stage varies its pictures: the ranges at first are those that the stage would use.",
    )


def _choices(names, wanted):
    wanted = wanted.strip().lower().replace(" ", "_")
    return [(spoken(name), name) for name in names if wanted in name.lower()][:_CHOICES]


def _words_of_copy(parameters):
    a, b, _, _, e, _, brightness = parameters
    return (
        f"zoom {a:.2f} × {float(np.hypot(b, e)):.2f}\nshear {np.rad2deg(np.arctan2(-b, e)):+.1f}°\n"
        f"brightness {brightness:.2f}"
    )


def _words_online(parameters, rectangle, side):
    a, b, c, d, e, f, brightness = parameters
    centre = (side - 1) / 2
    across, down = (100 * (p + q * centre + r * centre - centre) / side for p, q, r in ((c, a, b), (f, d, e)))
    turned = (
        f"{'mirrored, ' if a < 0 else ''}zoom {float(np.hypot(d, e)):.2f}, turned {np.rad2deg(np.arctan2(d, e)):+.1f}°"
    )
    patch = (
        f", {100 * (rectangle[2] - rectangle[0]) * (rectangle[3] - rectangle[1]) / side**2:.0f} % erased"
        if rectangle[2] > rectangle[0]
        else ""
    )
    return f"{turned}\nshift {across:+.0f} %, {down:+.0f} %\nbrightness {brightness:.2f}{patch}"
