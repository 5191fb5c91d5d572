"""Who is in validation? Splits of the development pairs, and the audit that counts what the two sides share."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lfwstudy.data.pairs import person_of
from lfwstudy.errors import ConfigError, DataError, choose_one

VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Split:
    """Row numbers into the development pairs: int arrays, sorted, disjoint. `dropped` are in neither side."""

    name: str
    train: np.ndarray
    validation: np.ndarray
    dropped: np.ndarray


def make_split(name, pairs, people_sets=None, seed=0):
    """Split development pairs into training and validation.

    components: whole connected components of the graph whose nodes are people and whose edges are pairs;
        person-disjoint, no pair lost, both sides balanced as the whole is.
    folds: people of sets 1 and 2 of `people_sets` (people.txt) are validation; pairs with one person on each
        side are dropped.
    sequential: the first fifth of the matched and of the mismatched pairs.
    random: a random fifth of each.
    The last two share people between the sides; they are kept to measure what that is worth.
    Raises ConfigError for an unknown name, DataError where the pairs allow no such split.
    """
    choose_one("split", name, ("components", "folds", "sequential", "random"))
    if name == "folds":
        split = _by_sets(pairs, people_sets)
    else:
        choose = {"components": _by_components, "sequential": _first, "random": _at_random}[name]
        chosen = choose(pairs, np.random.default_rng([seed, 20]))
        split = Split(name, np.flatnonzero(~chosen), np.flatnonzero(chosen), np.array([], np.int64))
    _check(split, pairs)
    return split


def audit(pairs, split):
    """What the two sides of a split share, as a dict of counts and shares (float in 0..1).

    A validation pair is "touched" where one of its people is on the training side too. `majority_accuracy` is what
    always giving validation's commoner answer would score.
    """
    train, validation = pairs.take(split.train), pairs.take(split.validation)
    people = [set(part.people().ravel()) for part in (train, validation)]
    images = [set(part.names()) for part in (train, validation)]
    shared_people = people[0] & people[1]
    touched = np.isin(validation.people(), list(shared_people)).any(axis=1)
    matched = int(validation.label.sum())
    return {
        "train_matched": int(train.label.sum()),
        "train_mismatched": int((train.label == 0).sum()),
        "validation_matched": matched,
        "validation_mismatched": len(validation) - matched,
        "pairs_dropped": len(split.dropped),
        "validation_people": len(people[1]),
        "shared_people": len(shared_people),
        "validation_images": len(images[1]),
        "shared_images": len(images[0] & images[1]),
        "validation_pairs": len(validation),
        "touched_pairs": int(touched.sum()),
        "majority_accuracy": max(matched, len(validation) - matched) / len(validation),
    }


def component_labels(pairs):
    """Connected component of each pair in the graph of people: int array of shape (n,)."""
    _, ends = np.unique(pairs.people(), return_inverse=True)
    ends = ends.reshape(-1, 2)
    size = ends.max() + 1
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(size, size))
    return connected_components(graph, directed=False)[1][ends[:, 0]]


def subsample(pairs, per_class):
    """Rows of at most `per_class` matched and as many mismatched pairs, spread evenly over the file."""
    rows = []
    for label in (1, 0):
        of_class = np.flatnonzero(pairs.label == label)
        take = min(per_class, len(of_class))
        rows.append(of_class[np.linspace(0, len(of_class) - 1, take).round().astype(int)])
    return np.sort(np.concatenate(rows))


def _by_components(pairs, rng):
    """Pack whole components into validation, the largest first, until a fifth of each class is in it."""
    component = component_labels(pairs)
    count = component.max() + 1
    sizes = np.stack([np.bincount(component[pairs.label == label], minlength=count) for label in (1, 0)], axis=1)
    room = np.round(VALIDATION_SHARE * sizes.sum(axis=0)).astype(int)
    order = rng.permutation(count)
    # A fifth of the large components would otherwise leave no small ones to fill up with exactly.
    large = order[sizes[order].sum(axis=1) > 2]
    small = order[sizes[order].sum(axis=1) <= 2]
    chosen = np.zeros(count, bool)
    budget = np.minimum(np.round(VALIDATION_SHARE * sizes[large].sum(axis=0)).astype(int), room)
    for group, limit in ((large, budget), (small, room)):
        left = limit - sizes[chosen].sum(axis=0)
        for c in group:
            if (sizes[c] <= left).all():
                chosen[c] = True
                left -= sizes[c]
    return chosen[component]


def _first(pairs, rng):
    chosen = np.zeros(len(pairs), bool)
    for label in (1, 0):
        rows = np.flatnonzero(pairs.label == label)
        chosen[rows[: round(VALIDATION_SHARE * len(rows))]] = True
    return chosen


def _at_random(pairs, rng):
    chosen = np.zeros(len(pairs), bool)
    for label in (1, 0):
        rows = np.flatnonzero(pairs.label == label)
        chosen[rng.permutation(rows)[: round(VALIDATION_SHARE * len(rows))]] = True
    return chosen


def _by_sets(pairs, people_sets):
    if not people_sets or len(people_sets) < 3:
        raise DataError("the split 'folds' needs people.txt with its ten sets of people beside the pair files")
    side = {name: number <= 2 for number, members in enumerate(people_sets, start=1) for name in members}
    missing = [name for name in np.unique(pairs.people()) if name not in side]
    if missing:
        raise DataError(f"people.txt does not list {missing[0]!r}, whom the pairs name ({len(missing)} people missing)")
    held = np.array([[side[a], side[b]] for a, b in pairs.people()])
    return Split(
        "folds",
        np.flatnonzero(~held.any(axis=1)),
        np.flatnonzero(held.all(axis=1)),
        np.flatnonzero(held[:, 0] != held[:, 1]),
    )


def _check(split, pairs):
    for part, rows in (("training", split.train), ("validation", split.validation)):
        labels = pairs.label[rows]
        if len(labels) == 0 or labels.min() == labels.max():
            raise ConfigError(
                f"split {split.name!r} leaves {part} with {len(labels)} pairs of "
                f"{len(set(labels.tolist()))} class(es); both classes are needed: use more pairs"
            )
    if split.name == "components":
        shared = set(person_of(pairs.take(split.train).names())) & set(person_of(pairs.take(split.validation).names()))
        if shared:
            raise AssertionError(f"the components split shares {len(shared)} people; this is a bug")
