"""Tables and sentences on the data: counts, splits, odd images and pairs, augmentation, the network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from lfwstudy.config import DataConfig, TrainingConfig
from lfwstudy.data import duplicates as near
from lfwstudy.data.pair_files import local_pair_file
from lfwstudy.data.pairs import Pairs, person_of
from lfwstudy.data.prepare import load_data
from lfwstudy.data.protocols import StudyPairs, audit_random, people_files
from lfwstudy.data.registry import IMAGES, PEOPLE
from lfwstudy.data.summary import random_splits_in_words
from lfwstudy.report.table import Column, Table
from lfwstudy.report.wording import Text, is_demo, is_lfw, plain, setting, source_line
from lfwstudy.study.study import Study
from lfwstudy.system.backend import start_keras_quietly
from lfwstudy.system.text import percent
from lfwstudy.training.augment import clip_labels, examples

Audits = Mapping[str, Mapping[str, Any]]
_SETS = {"train": "training", "val": "validation", "test": "test"}


def counts(study: Study) -> Table:
    """Counts of the data set, next to LFW's published ones where they are of the same images."""
    bank, pairs, _ = study.data(study.base().data)
    people, number = np.unique(person_of(bank.names), return_counts=True)
    found = {
        "images": (IMAGES, len(bank)),
        "people": (PEOPLE, len(people)),
        "people with two or more images": (1_680, int((number > 1).sum())),
        "people with one image": (4_069, int((number == 1).sum())),
        "development pairs used": (2_200, len(pairs.train) + len(pairs.validation)),
        "test pairs": (1_000, len(pairs.test)),
    }
    comparable = is_lfw(study) and study.settings.protocol == "view1"
    rows = [{"": what, "LFW, published": of_lfw, "here": here} for what, (of_lfw, here) in found.items()]
    columns = [Column(""), Column("LFW, published", "number", 0), Column("here", "number", 0)]
    caption = f"{percent((number == 1).mean())} % of the people have one image: they can only be in mismatched pairs."
    caption += f" Notes on the images: {'; '.join(bank.notes)}." if bank.notes else ""
    return Table(columns if comparable else columns[::2], rows, caption, source_line(study))


def audit_table(study: Study, audits: Audits) -> Table:
    """What training and validation share under each split."""
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
        "What training and validation share under each split. A validation pair is touched if one of its people is in training; "
        f"the baseline is in percent. This study's split is `{study.settings.split}`. "
    )
    empty = (
        "Under View 2 the ten sets of people are disjoint by construction: one is tested, the next is validation, and the other "
        "eight are training."
    )
    if audits:
        caption += random_splits_in_words(audit_random(study.base().data, study.settings.data_dir))
    return Table(rows=rows, caption=caption, source=source_line(study), empty=empty)


def two_names(study: Study) -> Table:
    """Images that look like one photograph under two names, and where each is used."""
    sides = near.images_by_set(_widest_pairs(study))
    used = {image: _SETS[name] for name, images in reversed(sides.items()) for image in images}
    rows = [
        {
            "image": d.left,
            "looks like": d.right,
            "correlation": d.correlation,
            "used in": " | ".join(used.get(image, "in no pair") for image in (d.left, d.right)),
        }
        for d in _duplicates(study.base().data, study.settings.data_dir)
        if d.two_names()
    ]
    caption = (
        f"Images whose centres correlate above {near.SAME_PHOTOGRAPH:g} though filed under two names, and where each is used, "
        "including images of training people in no pair. Nothing is dropped."
    )
    empty = "No photograph is filed under two names."
    return Table(rows=rows, caption=caption, source=source_line(study), empty=empty)


def odd_pairs(study: Study) -> Table:
    """Pairs affected by near-duplicates."""
    parts = study.data(study.base().data)[1].sets()
    rows = [pair_row(parts, odd) for odd in affected_pairs(study)]
    caption = "Pairs that look odd from their images alone; they stay in."
    return Table(
        rows=rows, caption=caption, source=source_line(study), empty="No pair is affected by a near-duplicate."
    )


def affected_pairs(study: Study) -> list[near.OddPair]:
    """Pairs affected by near-duplicates among all images that a stage may train on."""
    return near.odd_pairs(_duplicates(study.base().data, study.settings.data_dir), _widest_pairs(study))


def pair_row(parts: Mapping[str, Pairs], odd: near.OddPair) -> dict[str, Any]:
    """An odd pair as a row of a table. parts: the pairs by set."""
    pairs = parts[odd.set]
    return {
        "set": _SETS[odd.set],
        "line": str(pairs.line[odd.row]),
        "left": str(pairs.left[odd.row]),
        "right": str(pairs.right[odd.row]),
        "why": odd.why,
    }


def varied_trainings(study: Study) -> list[tuple[str, str, TrainingConfig]]:
    """The variants of the ladder that augment their training images: stage, variant and training."""
    return [found for found in _trainings(study) if found[2].augmented_copies or found[2].varies_online()]


def variation(study: Study) -> Text:
    """How the ladder augments its training images: by offline copies, online, or not at all."""
    if not (found := varied_trainings(study)):
        return Text("No stage of this ladder augments its training images.")
    stage, _, training = found[0]
    if training.varies_online():
        told = f"From the stage `{stage}` on, training images are augmented online, differently in every epoch"
        names = ["flip", "shift", "online_zoom", "rotation", "online_brightness", "erase", "cover"]
    else:
        told = (
            f"The stage `{stage}` adds {training.augmented_copies} augmented copies, drawn once, to every training pair"
        )
        names = ["zoom", "shear", "brightness", "stretch_copies"]
    ranges = [f"{setting(f'training.{n}')}: {plain(value)}" for n in names if (value := getattr(training, n))]
    told += f" ({'; '.join(ranges)}). Validation and test images are never augmented."
    if study.settings.dataset == "lfw":
        told += " These are the original images: the face detector's frame, not aligned."
    elif is_lfw(study) or is_demo(study):
        told += " The face stays in place, because all images, test images included, are aligned."
    else:
        told += " How well the face stays in place depends on how the images are framed."
    return Text(told)


def varied(study: Study, images: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Rows for `figures.augmented`: images, uint8 (n, side, side), and two augmented versions; [] if no stage augments."""
    if not (found := varied_trainings(study)):
        return []
    start_keras_quietly()
    training = found[0][2]
    titles = ("one epoch", "another epoch") if training.varies_online() else ("first copies", "second copies")
    return [("originals", images), *zip(titles, examples(images, training))]


def clipped_labels(study: Study) -> Text:
    """What label clipping makes of the labels 0 and 1; nothing if no stage of the ladder clips them."""
    sizes = {
        size for *_, t in _trainings(study) for size in (t.label_epsilon_copies, t.label_epsilon_originals) if size
    }
    labels = [" and ".join(f"{label:g}" for label in clip_labels([0, 1], size)) for size in sorted(sizes)]
    if not labels:
        return Text("")
    return Text(
        "Label clipping, against overconfidence, moves the training labels 0 and 1 towards each other: to "
        f"{', or to '.join(labels)}. Accuracy is always measured against the hard labels."
    )


def layers(study: Study, rows: Sequence[Mapping[str, Any]]) -> Table:
    """The network by layer. rows: of `cost.layer_table`, for the study's batch size."""
    named = {"multiply_adds": "multiply-adds, millions", "activations_mb": "activations, MiB", "state_mb": "state, MiB"}
    frame = pd.DataFrame(rows).assign(multiply_adds=lambda layers: layers["multiply_adds"] / 1e6).rename(columns=named)
    total = {"layer": "sum", "output": "", **frame.sum(numeric_only=True)}
    caption = (
        f"The network by layer: multiply-adds of one image, activations of a batch of {study.first().training.batch_size} pairs, "
        "and parameters with gradient and Adam's moments."
    )
    return Table(rows=[*frame.to_dict("records"), total], caption=caption, source=source_line(study))


@lru_cache(maxsize=1)
def _duplicates(config: DataConfig, data_dir: str) -> list[near.Duplicate]:
    return near.near_duplicates(load_data(config, data_dir)[0])


def _widest_pairs(study: Study) -> StudyPairs:
    """A study's pairs, with all images that a stage may train on if the people file for it is available."""
    own, dataset, data_dir = study.base().data, study.settings.dataset, study.settings.data_dir
    wider = replace(own, pictures="all-people")
    return study.data(wider if all(local_pair_file(n, dataset, data_dir) for n in people_files(wider)) else own)[1]


def _trainings(study: Study) -> Iterator[tuple[str, str, TrainingConfig]]:
    for stage in study.ladder.stages:
        for variant in stage.variants:
            yield stage.id, variant.id, study.base().change(variant.changes).training
