import numpy as np
import pytest

from lfwstudy.data.pairs import person_of
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import RunError
from lfwstudy.training.batches import (
    Batches,
    draw_people,
    drawable_rows,
    gather_sets,
    people_of,
    training_batches,
    with_copies,
)


def test_every_pair_is_trained_once_an_epoch_the_last_batch_included():
    def shuffled(epoch):
        order = np.random.default_rng([3, epoch]).permutation(10)
        return {"left": order.astype(np.int32)}, np.zeros((10, 2), np.float32)

    batches = Batches(shuffled, 10, 4)
    assert batches.steps == 3 and [len(batches[i][1]) for i in range(6)] == [4, 4, 2, 4, 4, 2]
    epochs = [np.concatenate([batches[3 * e + i][0]["left"] for i in range(3)]).tolist() for e in (0, 1, 0)]
    assert sorted(epochs[0]) == list(range(10)) and epochs[0] == epochs[2] != epochs[1]
    batches.resume_after(1)
    assert np.concatenate([batches[i][0]["left"] for i in range(3)]).tolist() == epochs[1]


def test_copies_triple_the_training_side_only(tiny, data):
    config = tiny.change({"training.augmented_copies": 2, "training.label_epsilon_copies": 0.03})
    images, sets = gather_sets(*data)
    assert training_batches(config, sets["train"], images, 0).pairs == 3 * len(data[1].train)
    inputs, targets = with_copies(config.training, sets["train"], 69, 0)
    originals = np.arange(len(targets)) % 3 == 0
    identity = np.array([1, 0, 0, 0, 1, 0, 1], np.float32)
    for side in ("left_warp", "right_warp"):
        same = (inputs[side] == identity).all(axis=1)
        assert (same == originals).all()
    assert set(np.unique(targets[originals, 0])) == {0, 1}
    assert np.allclose(np.unique(targets[~originals, 0]), [0.015, 0.985])
    assert set(np.unique(targets[:, 1])) == {0, 1}


def test_drawn_people_are_training_people_and_different_in_a_batch(tiny):
    config = tiny.change(
        {
            "data.pictures": "all-people",
            "training.drawn_people": 75,
            "training.batch_size": 32,
            "data.pairs_per_class": None,
        }
    )
    bank, pairs = prepare_bank(config.data), load_pairs(config.data)
    images, sets = gather_sets(bank, pairs)
    rows = drawable_rows(config, images, pairs)
    held = set(person_of(np.concatenate([pairs.validation.names(), pairs.test.names()])))
    assert held and held <= set(person_of(images.names))  # they could be drawn
    assert not held & set(person_of(images.names[rows])) and len(rows) > len(pairs.train.names())
    batches = training_batches(config, sets["train"], images, 0, rows)
    inputs, targets = batches.epoch_arrays(1)
    people = people_of(images)
    assert batches.steps == 3 and batches.pairs == 96 == len(targets)
    assert (people[inputs["left"]] == people[inputs["right"]]).all()
    assert all(len(set(people[batches[step][0]["left"]])) == 32 for step in range(3))
    count = np.bincount(people[rows])[people[inputs["left"]]]
    assert ((inputs["left"] == inputs["right"]) == (count == 1)).all()
    assert set(inputs["left"]) | set(inputs["right"]) <= set(rows)
    again, other = batches.epoch_arrays(1)[0], batches.epoch_arrays(2)[0]
    assert (again["left"] == inputs["left"]).all() and (other["left"] != inputs["left"]).any()


def test_people_with_more_images_are_drawn_more_often_by_the_square_root():
    person = np.repeat(np.arange(40), [16] * 10 + [1] * 30)
    left, right = draw_people(np.random.default_rng(0), person, np.arange(len(person)), 4000, 1)
    share = (person[left] < 10).mean()
    assert share == pytest.approx(10 * 4 / (10 * 4 + 30), abs=0.03)
    assert (person[left] == person[right]).all() and ((left != right) == (person[left] < 10)).all()


def test_several_pairs_of_a_person_in_a_batch_are_never_told_from_each_other(tiny):
    config = tiny.change(
        {
            "data.pictures": "all-people",
            "training.drawn_people": 40,
            "training.batch_size": 32,
            "training.pairs_per_person": 2,
            "training.least_pictures": 2,
            "data.pairs_per_class": None,
        }
    )
    bank, pairs = prepare_bank(config.data), load_pairs(config.data)
    images, sets = gather_sets(bank, pairs)
    rows, people = drawable_rows(config, images, pairs), people_of(images)
    batches = training_batches(config, sets["train"], images, 0, rows)
    assert batches.steps == 3 and batches.pairs == 96  # three batches of 16 people
    for step in range(batches.steps):
        inputs, targets = batches[step]
        person = people[inputs["left"]]
        assert (person == people[inputs["right"]]).all() and (inputs["left"] != inputs["right"]).all()
        assert (np.unique(person, return_counts=True)[1] == 2).all() and len(set(person)) == 16
        assert (person != np.roll(person, 1)).all() and targets.shape == (32, 2, 2)
    nobody = config.change({"training.least_pictures": 1000})
    with pytest.raises(RunError, match="1000 images"):
        training_batches(nobody, sets["train"], images, 0, rows)


def test_the_images_of_all_people_change_the_digest_and_the_id(tiny):
    pairs = load_pairs(tiny.data)
    more = load_pairs(tiny.change({"data.pictures": "all-people"}).data)
    bank = prepare_bank(tiny.data)
    assert pairs.digest(bank) != more.digest(bank) and len(more.names()) > len(pairs.names())
    assert len(pairs.extra) == 0
