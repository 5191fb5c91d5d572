import numpy as np
import pytest

from lfwstudy.data.pairs import Pairs, read_people, read_view1
from lfwstudy.data.splits import audit, component_labels, make_split, subsample
from lfwstudy.errors import ConfigError, DataError


def random_pairs(rng, people=400, per_class=150):
    matched = [(p, p) for p in rng.integers(people, size=per_class)]
    mismatched = [tuple(rng.choice(people // 20, 2, replace=False) + 20 * (i % 20)) for i in range(per_class)]
    ends = np.array(matched + mismatched)
    count = len(ends)
    return Pairs(
        np.array([f"P{a}_0001" for a in ends[:, 0]]),
        np.array([f"P{b}_0002" for b in ends[:, 1]]),
        np.repeat([1, 0], per_class).astype(np.uint8),
        np.arange(count) + 2,
        np.zeros(count, int),
    )


@pytest.mark.parametrize("seed", range(5))
def test_components_split_shares_nobody_and_loses_no_pair(seed):
    pairs = random_pairs(np.random.default_rng(seed))
    split = make_split("components", pairs)
    assert sorted([*split.train, *split.validation]) == list(range(len(pairs)))
    found = audit(pairs, split)
    assert found["shared_people"] == found["shared_images"] == found["touched_pairs"] == 0
    assert abs(found["validation_matched"] - 30) <= 3 and abs(found["validation_mismatched"] - 30) <= 3


def test_components_follow_chains_of_people():
    names = [("A", "B"), ("B", "C"), ("D", "E"), ("F", "F")]
    pairs = Pairs(
        np.array([f"{a}_0001" for a, _ in names]),
        np.array([f"{b}_0002" for _, b in names]),
        np.array([0, 0, 0, 1], np.uint8),
        np.arange(4),
        np.zeros(4, int),
    )
    labels = component_labels(pairs)
    assert labels[0] == labels[1] and len(set(labels)) == 3


def test_people_who_are_all_connected_are_told_of_other_splits():
    people = np.array([f"P{n}" for n in range(40)])
    left = np.char.add(np.tile(people, 2), "_0001")
    right = np.char.add([*people, *np.roll(people, 1)], "_0002")
    pairs = Pairs(left, right, np.repeat([1, 0], 40).astype(np.uint8), np.arange(80), np.zeros(80, int))
    with pytest.raises(ConfigError, match="validation with 0 pairs.*separate groups, or another --split"):
        make_split("components", pairs)
    assert len(make_split("sequential", pairs).validation) == 16


def test_random_and_sequential_keep_both_classes(rng):
    pairs = random_pairs(rng)
    for name in ("random", "sequential"):
        split = make_split(name, pairs)
        assert pairs.label[split.validation].sum() == 30 and len(split.validation) == 60
        assert not set(split.train) & set(split.validation)
    assert make_split("sequential", pairs).validation[:30].tolist() == list(range(30))


def test_split_does_not_change_from_call_to_call(rng):
    pairs = random_pairs(rng)
    for name in ("components", "random"):
        assert (make_split(name, pairs).validation == make_split(name, pairs).validation).all()
    assert (make_split("random", pairs, seed=1).validation != make_split("random", pairs, seed=2).validation).any()


def test_folds_need_every_person(rng):
    with pytest.raises(DataError, match="does not list"):
        make_split("folds", random_pairs(rng), [{"P1": 1}, {"P2": 1}, {"P3": 1}])
    with pytest.raises(DataError, match="people.txt"):
        make_split("folds", random_pairs(rng), None)


def test_subsample_keeps_the_balance(rng):
    pairs = random_pairs(rng)
    rows = subsample(pairs, 40)
    assert len(rows) == 80 and pairs.label[rows].sum() == 40
    assert len(subsample(pairs, 1000)) == len(pairs)


@pytest.mark.lfw
def test_official_pairs_split_as_measured(lfw_dir):
    pairs = read_view1(f"{lfw_dir}/pairsDevTrain.txt")
    people = read_people(f"{lfw_dir}/people.txt")
    labels = component_labels(pairs)
    assert (labels.max() + 1, np.bincount(labels).max()) == (1032, 21)
    keys = (
        "train_matched",
        "train_mismatched",
        "validation_matched",
        "validation_mismatched",
        "pairs_dropped",
        "shared_people",
        "validation_people",
        "shared_images",
        "validation_images",
        "touched_pairs",
    )
    found = {
        name: [audit(pairs, make_split(name, pairs, people))[key] for key in keys]
        for name in ("components", "sequential", "folds")
    }
    assert found["components"][:6] == [880, 880, 220, 220, 0, 0]
    assert found["sequential"] == [880, 880, 220, 220, 0, 129, 492, 107, 739, 143]
    assert found["folds"][:6] == [883, 721, 217, 30, 349, 0]
