import dataclasses
import time

import numpy as np
import pytest

from lfwstudy.config import DataConfig
from lfwstudy.data.bank import ImageBank
from lfwstudy.data.drawn_faces import draw_face
from lfwstudy.data.duplicates import confident_errors, near_duplicates, odd_pairs
from lfwstudy.data.pairs import Pairs
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import StudyPairs, load_pairs


def bank_of(images):
    names = np.array(sorted(images))
    return ImageBank(
        np.stack([images[n] for n in names]), names, np.zeros((len(names), 32), np.uint8), "lfw-a", 250, 250, "box"
    )


def pair(left, right, label):
    return Pairs(np.array([left]), np.array([right]), np.array([label], np.uint8), np.array([2]), np.array([0]))


def test_a_photograph_under_two_names_is_found_and_its_pairs_are_flagged():
    faces = {f"P{i}_0001": draw_face([3, i], [4, i]) for i in range(12)}
    copy = np.clip(faces["P0_0001"] * 0.95 + 6, 0, 255).astype(np.uint8)
    found = near_duplicates(bank_of({**faces, "Q_0001": copy, "P1_0002": faces["P1_0001"]}))
    assert {(d.left, d.right) for d in found} == {("P0_0001", "Q_0001"), ("P1_0001", "P1_0002")}
    assert [d.two_names() for d in sorted(found, key=lambda d: d.left)] == [True, False]
    pairs = StudyPairs(pair("P0_0001", "P2_0001", 0), pair("P1_0001", "P1_0002", 1), pair("Q_0001", "P3_0001", 0))
    flagged = {(o.set, o.why.split(",")[0]) for o in odd_pairs(found, pairs)}
    assert flagged == {
        ("train", "P0_0001 is the photograph of Q_0001"),
        ("val", "nearly one image twice"),
        ("test", "Q_0001 is the photograph of P0_0001"),
    }


def test_images_that_no_pair_names_count_as_training():
    faces = {f"P{i}_0001": draw_face([3, i], [4, i]) for i in range(4)}
    copy = np.clip(faces["P0_0001"] * 0.95 + 6, 0, 255).astype(np.uint8)
    found = near_duplicates(bank_of({**faces, "Q_0001": copy}))
    pairs = StudyPairs(pair("P2_0001", "P2_0002", 1), pair("P1_0001", "P3_0001", 0), pair("Q_0001", "P3_0001", 0))
    assert odd_pairs(found, pairs) == []
    wider = dataclasses.replace(pairs, extra=np.array(["P0_0001"]))
    assert [(o.set, o.why) for o in odd_pairs(found, wider)] == [
        ("test", "Q_0001 is the photograph of P0_0001, which is in train")
    ]


def test_demo_faces_have_no_doubles():
    assert [d for d in near_duplicates(prepare_bank(DataConfig(side=69))) if d.two_names()] == []


def test_the_most_confident_errors_are_few():
    label = np.array([1, 1, 0, 0, 1])
    found = confident_errors("test", label, np.array([0.01, 0.9, 0.95, 0.2, 0.4]))
    assert [(o.row) for o in found] == [0, 2]


@pytest.mark.long
@pytest.mark.lfw
def test_the_five_known_photographs_and_no_others(lfw_dir):
    config = DataConfig(dataset="lfw-deepfunneled")
    bank = prepare_bank(config, lfw_dir)
    began = time.monotonic()
    found = near_duplicates(bank)
    assert time.monotonic() - began < 60
    assert {(d.left, d.right) for d in found if d.two_names()} == {
        ("Bart_Hendricks_0001", "Ricky_Ray_0001"),
        ("Emmy_Rossum_0001", "Eva_Amurri_0001"),
        ("Gabrielle_Rose_0001", "Martha_Bowen_0002"),
        ("Andrew_Caldecott_0001", "Andrew_Gilligan_0001"),
        ("Carlos_Beltran_0001", "Raul_Ibanez_0001"),
    }
    pairs = load_pairs(config, lfw_dir)
    lines = {(o.set, int(pairs.sets()[o.set].line[o.row])) for o in odd_pairs(found, pairs)}
    assert {("train", 1195), ("test", 545)} <= lines and len(lines) <= 5
