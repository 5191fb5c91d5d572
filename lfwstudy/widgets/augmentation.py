"""The augmentation bench: a picture and its varied copies, every range a slider, the stage's own ranges at first."""

import numpy as np

from ..augment import PARAMETERS, draw_copies, vary
from ..config import TrainingConfig
from ..machine import start_keras_quietly
from .controls import (Gallery, Slider, button, dropdown, explorer, guarded, message, panel, picture_uri, row, text_field,
                       when_changed)
from .scored import Pictures, config_of, finished_rows, spoken

_COPIES = 12
_CHOICES = 200


@explorer
def bench_augmentation(study):
    """A picture and twelve copies of it as training would see them, varied within ranges that sliders set."""
    start_keras_quietly()
    used, told_from = _used_ranges(study)
    bank = study.data(study.base().data)[0]
    pictures = Pictures(bank)
    person = text_field("Person's name has", "any")
    picture = dropdown("Picture", _choices(bank.names, ""))
    sliders = {
        "zoom_low": Slider(label="Zoom from", min=0.5, max=1.5, value=used.zoom[0]),
        "zoom_high": Slider(label="Zoom to", min=0.5, max=1.5, value=used.zoom[1]),
        "brightness_low": Slider(label="Brightness from", min=0.3, max=2.0, value=used.brightness[0]),
        "brightness_high": Slider(label="Brightness to", min=0.3, max=2.0, value=used.brightness[1]),
        "shear": Slider(label="Shear, degrees", min=0.0, max=45.0, step=0.5, digits=1, value=used.shear),
        "seed": Slider(label="Draw number", min=0, max=99, step=1, digits=0, value=0)}
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
        # A range whose ends have crossed means the same range.
        zoom, brightness = (tuple(sorted((values[f"{name}_low"], values[f"{name}_high"]))) for name in ("zoom", "brightness"))
        varied, drawn = vary_one(image, int(values["seed"]), zoom, brightness, values["shear"])
        original.cards = [{"key": "0", "pictures": [pictures.show(picture.value)], "text": spoken(picture.value), "mark": ""}]
        copies.cards = [
            {"key": str(i), "text": _words(p), "mark": "", "pictures": [
                {"src": picture_uri(copy), "alt": f"copy {i + 1} of {spoken(picture.value)}: {_words(p)}"}]}
            for i, (copy, p) in enumerate(zip(varied, drawn))]
        return f"{told_from} Zoom below 1 makes the face larger. Each axis is zoomed by its own factor; nothing is shifted or flipped."

    refresh = guarded(told, show)

    def find(_):
        picture.options = _choices(bank.names, person.value)
        refresh()

    def reset(_):
        for name in ("zoom", "brightness"):
            sliders[f"{name}_low"].value, sliders[f"{name}_high"].value = getattr(used, name)
        sliders["shear"].value = used.shear

    person.observe(find, "value")
    when_changed(refresh, picture, *sliders.values())
    back.on_click(reset)
    refresh()
    return panel(row(person, picture), row(*sliders.values()), back, told, original, copies, person=person, picture=picture,
                 back=back, message=told, original=original, copies=copies, **sliders)


def vary_one(image, seed, zoom, brightness, shear, count=_COPIES):
    """Copies of a picture (uint8 (side, side)) as the training's own augmentation draws them.

    Returns float32 (count, side, side) in [0, 1] and the parameters, float32 (count, 7).
    """
    drawn = draw_copies(seed, 1, count, image.shape[0], zoom, brightness, shear)[0, 1:, 0].reshape(count, PARAMETERS)
    images = np.repeat(image[None, :, :, None].astype(np.float32) / 255, count, axis=0)
    return np.asarray(vary(images, drawn))[..., 0], drawn


def _used_ranges(study):
    """TrainingConfig whose ranges the study used, and where they are from in a sentence."""
    for row_ in finished_rows(study):
        if study.store.is_finished(row_["run"]):
            training = config_of(study, row_["run"]).training
            if training.augmented_copies:
                return training, f"The ranges at first are those of {row_['stage']}: {row_['variant']}."
    return TrainingConfig(), "No finished stage augments its pictures: the ranges at first are the report's."


def _choices(names, wanted):
    wanted = wanted.strip().lower().replace(" ", "_")
    return [(spoken(name), name) for name in names if wanted in name.lower()][:_CHOICES]


def _words(parameters):
    a, b, _, _, e, _, brightness = parameters
    zoom_y = float(np.hypot(b, e))
    return (f"zoom {a:.2f} × {zoom_y:.2f}\nshear {np.rad2deg(np.arctan2(-b, e)):+.1f}°\nbrightness {brightness:.2f}")
