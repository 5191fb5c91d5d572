"""Tables and sentences on the data: counts, splits, odd images and pairs, augmentation, the network."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lfwstudy.config import TrainingConfig
from lfwstudy.data import duplicates as near
from lfwstudy.data.bank import ImageBank
from lfwstudy.data.pairs import Pairs, person_of
from lfwstudy.data.summary import random_splits_in_words
from lfwstudy.report.table import Column, Table
from lfwstudy.report.wording import SETTINGS, Text, is_demo, plain, source_line
from lfwstudy.system.text import percent
from lfwstudy.training.augment import clip_labels

if TYPE_CHECKING:
    from lfwstudy.study.study import Study

Audits = Mapping[str, Mapping[str, Any]]
PAIR_COLUMNS = [Column(name) for name in ("set", "line", "left", "right", "why")]
_SETS = {"train": "training", "val": "validation", "test": "test"}


def counts(study: "Study") -> Table:
    """Counts of the data set, next to LFW's published ones."""
    bank, pairs, _ = study.data(study.base().data)
    people, number = np.unique(person_of(bank.names), return_counts=True)
    found = {
        "images": (13_233, len(bank)),
        "people": (5_749, len(people)),
        "people with two or more images": (1_680, int((number > 1).sum())),
        "people with one image": (4_069, int((number == 1).sum())),
        "development pairs used": (2_200, len(pairs.train) + len(pairs.validation)),
        "test pairs": (1_000, len(pairs.test)),
    }
    comparable = not (is_demo(study) or study.of_other_people) and study.settings.protocol == "view1"
    rows = [{"": what, "published": published, "here": here} for what, (published, here) in found.items()]
    columns = [Column(""), Column("published", "number", digits=0), Column("here", "number", digits=0)]
    caption = "Counted here, next to the published counts of LFW." if comparable else "Counted here."
    caption += f" Notes on the images: {'; '.join(bank.notes)}." if bank.notes else ""
    return Table(columns if comparable else [columns[0], columns[2]], rows, caption, source_line(study))


def single_images(bank: ImageBank) -> Text:
    """The share of people with a single image."""
    number = np.unique(person_of(bank.names), return_counts=True)[1]
    return Text(
        f"{percent((number == 1).mean())} % of the people have a single image: they can only be in mismatched pairs."
    )


def audit_table(study: "Study", audits: Audits) -> Table:
    """What training and validation share under each split."""
    columns = [
        Column("split"),
        Column("training pairs (matched + mismatched)"),
        Column("validation pairs"),
        Column("dropped", "number", digits=0),
        Column("people in both"),
        Column("images in both"),
        Column("validation pairs touched"),
        Column("majority-class baseline", "percent"),
    ]
    rows = [
        {
            "split": name,
            "training pairs (matched + mismatched)": f"{a['train_matched']} + {a['train_mismatched']}",
            "validation pairs": f"{a['validation_matched']} + {a['validation_mismatched']}",
            "dropped": a["pairs_dropped"],
            "people in both": f"{a['shared_people']} of {a['validation_people']}",
            "images in both": f"{a['shared_images']} of {a['validation_images']}",
            "validation pairs touched": f"{a['touched_pairs']} of {a['validation_pairs']}",
            "majority-class baseline": a["majority_accuracy"],
        }
        for name, a in audits.items()
    ]
    caption = (
        "What training and validation share. A validation pair is touched if one of its people is in training. Used here: "
        f"{study.settings.split}. Baseline in percent."
    )
    return Table(columns, rows, caption, source_line(study), "Under View 2 there is no split to choose.")


def split_sentence(study: "Study", audits: Audits) -> Text:
    """What training and validation share in this study's split, and in random ones."""
    chosen = audits.get(study.settings.split)
    if chosen is None:
        return Text(
            "Under View 2 the ten sets of people are disjoint by construction: one fold is tested, the next is validation, the "
            "other eight train."
        )
    people = chosen["shared_people"]
    shared = "no person is" if not people else "one person is" if people == 1 else f"{people} people are"
    told = (
        f"With the split `{study.settings.split}`, {shared} in both training and validation, {chosen['pairs_dropped']} pairs are "
        "dropped, and the majority-class baseline is "
        f"{percent(chosen['majority_accuracy'])} % on validation."
    )
    random = study.random_audits()
    return Text(f"{told} {random_splits_in_words(random)}" if random else told)


def two_names(study: "Study") -> Table:
    """Images that look like one photograph under two names, and where each is used."""
    sides = near.images_by_set(study.widest_pairs())

    def use(image: str) -> str:
        return next((_SETS[name] for name, images in sides.items() if image in images), "in no pair")

    rows = [
        {
            "image": d.left,
            "looks like": d.right,
            "correlation": d.correlation,
            "used in": f"{use(d.left)} | {use(d.right)}",
        }
        for d in study.duplicates()
        if d.two_names()
    ]
    columns = [Column("image"), Column("looks like"), Column("correlation", "number", digits=3), Column("used in")]
    caption = (
        f"Images whose centres correlate above {near.SAME_PHOTOGRAPH:g} though filed under two names, and where each is used, "
        "including images of training people in no pair. Nothing is dropped."
    )
    return Table(columns, rows, caption, source_line(study), "No photograph is filed under two names.")


def odd_pairs(study: "Study") -> Table:
    """Pairs affected by near-duplicates."""
    parts = study.data(study.base().data)[1].sets()
    rows = [pair_row(parts, odd) for odd in study.odd_pairs()]
    caption = "Pairs that are odd by their images alone; they stay in."
    return Table(PAIR_COLUMNS, rows, caption, source_line(study), "No pair is affected by a near-duplicate.")


def pair_row(parts: Mapping[str, Pairs], odd: near.OddPair) -> dict[str, Any]:
    """An odd pair as a row under PAIR_COLUMNS. parts: the pairs by set."""
    pairs = parts[odd.set]
    return {
        "set": _SETS[odd.set],
        "line": str(pairs.line[odd.row]),
        "left": str(pairs.left[odd.row]),
        "right": str(pairs.right[odd.row]),
        "why": odd.why,
    }


def varied_training(study: "Study") -> tuple[str, TrainingConfig] | None:
    """The first stage of the ladder that augments its training images, with its training; None if none does."""
    varied = (found for found in _trainings(study) if found[1].augmented_copies or found[1].varies_online())
    return next(varied, None)


def variation(study: "Study") -> Text:
    """How the ladder augments its training images: by offline copies, online, or not at all."""
    if (found := varied_training(study)) is None:
        return Text("No stage of this ladder augments its training images.")
    stage, training = found
    if training.varies_online():
        told = f"From the stage `{stage}` on, training images are augmented online, differently in every epoch"
        names = ["flip", "shift", "online_zoom", "rotation", "online_brightness", "erase"]
    else:
        told = (
            f"The stage `{stage}` adds {training.augmented_copies} augmented copies, drawn once, to every training pair"
        )
        names = ["zoom", "shear", "brightness", "stretch_copies"]
    ranges = [f"{SETTINGS[f'training.{n}']}: {plain(value)}" for n in names if (value := getattr(training, n))]
    aligned = (
        "These are the original images: the face detector's frame, not aligned."
        if study.settings.dataset == "lfw"
        else "How well the face stays in place depends on how the images are framed."
        if study.of_other_people
        else "The face stays in place, because all images, test images included, are aligned."
    )
    return Text(f"{told} ({'; '.join(ranges)}). Validation and test images are never augmented. {aligned}")


def variation_rows(training: TrainingConfig) -> tuple[str, str, str]:
    """What the rows of the figure of augmented images show."""
    if training.varies_online():
        return "originals", "one epoch", "another epoch"
    return "originals", "first copies", "second copies"


def clipped_labels(study: "Study") -> Table:
    """The labels 0 and 1 after clipping; nothing if no stage of the ladder clips them."""
    if not any(t.label_epsilon_copies or t.label_epsilon_originals for _, t in _trainings(study)):
        return Table()
    columns = [Column(name, "number", digits=3) for name in ("epsilon", "label 0 becomes", "label 1 becomes")]
    rows = [
        dict(zip([column.name for column in columns], (epsilon, *clip_labels([0, 1], epsilon))))
        for epsilon in (0.0, 0.01, 0.03)
    ]
    caption = (
        "Clipped labels, tried against overconfidence: epsilon is shared among the two classes. Accuracy is always "
        "measured against the hard labels."
    )
    return Table(columns, rows, caption, source_line(study))


def layers(study: "Study", rows: Sequence[Mapping[str, Any]]) -> Table:
    """The network by layer. rows: of `siamese.layer_table`."""
    columns = [
        Column("layer"),
        Column("output"),
        Column("parameters", "number", digits=0),
        Column("multiply-adds", "number", "millions"),
        Column("activations", "number", "MiB"),
        Column("state", "number", "MiB"),
    ]
    total = {key: sum(r[key] for r in rows) for key in ("parameters", "multiply_adds", "activations_mb", "state_mb")}
    shown = [
        {
            "layer": r["layer"],
            "output": r["output"],
            "parameters": r["parameters"],
            "multiply-adds": r["multiply_adds"] / 1e6 or None,
            "activations": r["activations_mb"],
            "state": r["state_mb"],
        }
        for r in (*rows, {"layer": "sum", "output": "", **total})
    ]
    caption = (
        "The network by layer: multiply-adds of one image, activations of a batch of 64 pairs, and parameters with gradient and "
        "Adam's moments."
    )
    return Table(columns, shown, caption, source_line(study))


def _trainings(study: "Study") -> Iterator[tuple[str, TrainingConfig]]:
    for stage in study.ladder.stages:
        for variant in stage.variants:
            yield stage.id, study.base().change(variant.changes).training
