"""The report's wording: settings in words, headings, and the line that names the data."""

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from lfwstudy.data.own import made_from
from lfwstudy.ladder import PROFILES
from lfwstudy.study.results import Results
from lfwstudy.study.settings import Settings, default_root

# Settings whose names do not say it all.
_SETTINGS = {
    "data.crop": "central crop in pixels",
    "data.side": "image side in pixels",
    "data.filter": "resize filter",
    "data.pairs_per_class": "development pairs per class, at most",
    "data.split_seed": "seed of the split",
    "data.fold": "held-out fold",
    "data.calibration": "calibrated on",
    "data.validation_offset": "validation set, counted from the fold",
    "data.pictures": "images trained on",
    "model.architecture": "network",
    "model.pool1_stride": "stride of the first pooling",
    "model.batchnorm": "batch-norm placement",
    "model.width": "width of the network",
    "model.l2": "L2 penalty",
    "model.head_l2": "L2 penalty of the last unit",
    "model.initializer": "initialisation",
    "model.head": "comparison of embeddings",
    "model.stem_stride": "stride of the first convolution",
    "model.pooling": "global average pooling",
    "model.flip_average": "averaged with the mirror image",
    "model.cohort": "images in the cohort",
    "model.neighbours": "nearest images of the cohort",
    "model.whitening": "share of the within-person covariance in the whitening",
    "training.epochs": "epochs, at most",
    "training.batch_size": "pairs per batch",
    "training.patience": "patience in epochs",
    "training.checkpoint_period": "epochs between checkpoints",
    "training.evaluated": "weights evaluated",
    "training.average": "decay of the weights' moving average",
    "training.monitor": "watched by stopping and checkpoints",
    "training.augmented_copies": "augmented copies per pair",
    "training.stretch_copies": "grey levels of copies stretched",
    "training.label_epsilon_copies": "label clipping of copies",
    "training.label_epsilon_originals": "label clipping of originals",
    "training.separate_twins": "twins normalised separately",
    "training.lr_drop_epoch": "learning rate divided by 10 after epoch",
    "training.optimizer": "optimiser",
    "training.schedule": "learning-rate schedule",
    "training.warmup": "warm-up epochs",
    "training.flip": "random mirroring",
    "training.shift": "shift, at most",
    "training.online_zoom": "zoom, at most",
    "training.rotation": "rotation in degrees, at most",
    "training.online_brightness": "brightness, at most",
    "training.erase": "share of images with an erased patch",
    "training.cover": "share of images with covered eyes or brow",
    "training.contrast": "weight of the contrastive loss",
    "training.temperature": "temperature of the contrastive loss",
    "training.drawn_people": "people drawn per epoch",
    "training.pairs_per_person": "pairs per drawn person in a batch",
    "training.least_pictures": "fewest images of a drawn person",
}

# The options of `lfwstudy run` in the commands shown.
_OPTIONS = ("dataset", "data_dir", "profile", "ladder", "protocol", "split", "select", "seeds", "stages", "keep", "out")

_VALUES = {"val_loss": "total validation loss", "val_cross_entropy": "validation cross-entropy"}

NO_IMAGES = "This needs the images, which were not available when this page was made."

# The images that a network was trained on, in LFW's terms.
IMAGE_CLASSES = {"pairs": "pairs only", "all-people": "all training people"}


class Text(str):
    """A Markdown text, which a notebook renders."""

    def _repr_markdown_(self) -> str:
        return self


def setting(key: str) -> str:
    """A setting, "section.field", in words."""
    return _SETTINGS.get(key) or key.partition(".")[2].replace("_", " ")


def plain(value: Any) -> str:
    """The value of a setting in words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " to ".join(f"{v:g}" for v in value)
    return f"{value:g}" if isinstance(value, float) else _VALUES.get(value, str(value))


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 seed, 2 seeds."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def command(study: Results, **changes: Any) -> str:
    """The `lfwstudy run` that adds to a study, to be copied: its folder and options, with `changes` to them."""
    whole = study.stages() == [stage.id for stage in study.ladder.stages]
    here: dict[str, Any] = {"seeds": study.seeds(), "stages": "" if whole else ",".join(study.stages())}
    here |= {"data_dir": made_from(study.settings.data_dir), "out": str(study.out)}
    wanted = replace(study.settings, **here | changes)
    own = Settings(ladder=wanted.ladder, protocol=wanted.protocol)
    usual = replace(Settings(), split=own.split, select=own.select)
    options = {n: getattr(wanted, n) for n in _OPTIONS if n == "dataset" or getattr(wanted, n) != getattr(usual, n)}
    return " ".join(["lfwstudy run", *(f"--{n.replace('_', '-')} {_quoted(value)}" for n, value in options.items())])


def is_demo(study: Results) -> bool:
    """Whether the faces are drawn."""
    return study.settings.dataset == "demo"


def is_lfw(study: Results) -> bool:
    """Whether the images are LFW's: only they may be called so, and compared with published figures."""
    return not (is_demo(study) or study.of_other_people)


def shows_published(study: Results) -> bool:
    """Whether the report's figures belong next to a study's: on its ladder, with its images."""
    return is_lfw(study) and study.ladder.has_path()


def source_line(study: Results) -> str:
    """The data behind a study's figures and tables, in a line."""
    s = study.settings
    view = f"View 1, split {s.split}" if s.protocol == "view1" else "View 2, validation on the next fold"
    return f"{study.title}, {view}, profile {s.profile}, {seeds_in_words(study)}, {study.precision}"


def seeds_in_words(study: Results) -> str:
    """The number of seeds of a study, and of the stages that have more."""
    usual = study.seeds()
    counts = {name: study.seeds_of(study.ladder.stage(name)) for name in study.stages()}
    more = [f"{count} of {name}" for name, count in counts.items() if count > usual]
    return counted(usual, "seed") + (f" ({', '.join(more)})" if more else "")


def heading(study: Results, title: str, level: int = 1) -> Text:
    """A heading that names the data and the profile, with warnings for the reader."""
    s, start = study.settings, study.first()
    epochs, scaled = start.training.epochs, study.scale(start).training.epochs
    factor = "" if epochs == scaled else f", {epochs} epochs scaled to {scaled}"
    images = "demo faces" if is_demo(study) else s.dataset if is_lfw(study) else study.title
    parts = [f"{'#' * level} {title} ({images}, profile {s.profile}{factor})"]
    if is_demo(study):
        parts.append(
            "> **Demo.** These faces are drawn and the people made up. The figures show that the study runs; they say "
            "nothing about LFW."
        )
    elif not is_lfw(study):
        parts.append(
            "> **Not LFW.** These are images of other people: no figure here is comparable with a published one."
        )
    elif s.profile != "report" and shows_published(study):
        parts.append(
            f"> **Not comparable with the published figures.** Profile {s.profile}: {PROFILES[s.profile].title}; the published "
            f"figures are of {PROFILES['report'].title}, on LFW-a."
        )
    if s.split in ("random", "sequential") and s.protocol == "view1":
        parts.append(
            f"> **Contaminated validation.** The split `{s.split}` puts the same people in training and validation: "
            "validation figures are too optimistic."
        )
    return Text("\n\n".join(parts))


def stage_heading(study: Results, stage: str) -> Text:
    """Heading of a stage's notebook, with its hypothesis."""
    found = study.ladder.stage(stage)
    title, hypothesis = (html.escape(text, quote=False) for text in (found.title, found.hypothesis))
    return Text(f"{heading(study, f'{found.id}: {title}')}\n\n## Hypothesis\n\n{hypothesis}")


def _quoted(value: Any) -> str:
    """A value for a shell; paths in the checkout are shown from its root, where the command is run."""
    root, text = default_root(), str(value)
    if Path(text).is_absolute() and Path(text).is_relative_to(root):
        text = str(Path(text).relative_to(root))
    # Not in quotes: the report shortens the home folder to ~, which a shell must see.
    return re.sub(r"[^\w@%+=:,./-]", r"\\\g<0>", text)
