"""Splits of the development pairs into training and validation, and an audit of what the two share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lfwstudy.config import SPLITS
from lfwstudy.data.pairs import Pairs
from lfwstudy.errors import ConfigError, DataError, choose_one

VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Split:
    """Row numbers into the development pairs: int arrays, sorted, disjoint. `dropped` are in neither."""

    train: np.ndarray
    validation: np.ndarray
    dropped: np.ndarray


def make_split(name: str, pairs: Pairs, people_sets: Sequence[dict[str, int]] | None = None, seed: int = 0) -> Split:
    """Split development pairs into training and validation.

    Parameters
    ----------
    name :
        components: whole connected components of the graph whose nodes are people and whose edges are pairs;
        person-disjoint, no pair lost, both classes balanced as in the whole.
        folds: people of sets 1 and 2 of `people_sets` (people.txt) are validation; pairs with one person in each are
        dropped.
        sequential: the first fifth of the matched and of the mismatched pairs.
        random: a random fifth of each.
        The last two share people between training and validation; they exist to measure the effect.

    Raises
    ------
    ConfigError
        For an unknown name, or if training or validation lacks a class.
    DataError
        If people.txt is missing or does not list the people of the pairs.
    """
    choose_one("split", name, SPLITS)
    rng = np.random.default_rng([seed, 20])
    if name == "folds":
        split = _by_sets(pairs, people_sets)
    else:
        chosen = _by_components(pairs, rng) if name == "components" else _fifth(pairs, name == "random", rng)
        split = Split(np.flatnonzero(~chosen), np.flatnonzero(chosen), np.array([], np.int64))
    for part, rows in (("training", split.train), ("validation", split.validation)):
        if len(np.unique(pairs.label[rows])) < 2:
            raise ConfigError(
                f"split {name!r} leaves {part} with {len(rows)} pairs, none matched or none mismatched; use more pairs"
                + (", of people in more separate groups, or another --split" if name == "components" else "")
            )
    return split


def audit(pairs: Pairs, split: Split) -> dict[str, float]:
    """What training and validation share under a split: counts, and `majority_accuracy`, the majority-class baseline.

    A validation pair is "touched" if one of its people is also in training.
    """
    train, validation = pairs.take(split.train), pairs.take(split.validation)
    people = [set(part.people().ravel()) for part in (train, validation)]
    images = [set(part.names()) for part in (train, validation)]
    shared_people = people[0] & people[1]
    touched = np.isin(validation.people(), list(shared_people)).any(axis=1)
    matched, mismatched = int(validation.label.sum()), int((validation.label == 0).sum())
    return {
        "train_matched": int(train.label.sum()),
        "train_mismatched": int((train.label == 0).sum()),
        "validation_matched": matched,
        "validation_mismatched": mismatched,
        "pairs_dropped": len(split.dropped),
        "validation_people": len(people[1]),
        "shared_people": len(shared_people),
        "validation_images": len(images[1]),
        "shared_images": len(images[0] & images[1]),
        "validation_pairs": len(validation),
        "touched_pairs": int(touched.sum()),
        "majority_accuracy": max(matched, mismatched) / len(validation),
    }


def component_labels(pairs: Pairs) -> np.ndarray:
    """Connected component of each pair in the graph of people: int array of shape (n,)."""
    from scipy.sparse import coo_array  # here, so that a refused command does not wait for SciPy
    from scipy.sparse.csgraph import connected_components

    _, ends = np.unique(pairs.people(), return_inverse=True)
    ends = ends.reshape(-1, 2)
    size = ends.max() + 1
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(size, size))
    return connected_components(graph, directed=False)[1][ends[:, 0]]


def subsample(pairs: Pairs, per_class: int) -> np.ndarray:
    """Rows of at most `per_class` matched and as many mismatched pairs, spread evenly over the file: int array, sorted."""
    rows = []
    for label in (1, 0):
        of_class = np.flatnonzero(pairs.label == label)
        take = min(per_class, len(of_class))
        rows.append(of_class[np.linspace(0, len(of_class) - 1, take).round().astype(int)])
    return np.sort(np.concatenate(rows))


def _by_components(pairs: Pairs, rng: np.random.Generator) -> np.ndarray:
    """Pack whole components into validation, the largest first, until a fifth of each class is in it."""
    component = component_labels(pairs)
    count = component.max() + 1
    sizes = np.stack([np.bincount(component[pairs.label == label], minlength=count) for label in (1, 0)], axis=1)
    room = np.round(VALIDATION_SHARE * sizes.sum(axis=0)).astype(int)
    order = rng.permutation(count)
    # Largest first: the small components then fill up the fifth exactly.
    is_large = sizes[order].sum(axis=1) > 2
    large, small = order[is_large], order[~is_large]
    chosen = np.zeros(count, bool)
    budget = np.minimum(np.round(VALIDATION_SHARE * sizes[large].sum(axis=0)).astype(int), room)
    for group, limit in ((large, budget), (small, room)):
        left = limit - sizes[chosen].sum(axis=0)
        for c in group:
            if (sizes[c] <= left).all():
                chosen[c] = True
                left -= sizes[c]
    return chosen[component]


def _fifth(pairs: Pairs, at_random: bool, rng: np.random.Generator) -> np.ndarray:
    """Mask of a fifth of the matched and of the mismatched pairs: random or the first."""
    chosen = np.zeros(len(pairs), bool)
    for label in (1, 0):
        rows = np.flatnonzero(pairs.label == label)
        chosen[(rng.permutation(rows) if at_random else rows)[: round(VALIDATION_SHARE * len(rows))]] = True
    return chosen


def _by_sets(pairs: Pairs, people_sets: Sequence[dict[str, int]] | None) -> Split:
    if not people_sets or len(people_sets) < 3:
        raise DataError("the split 'folds' needs people.txt with its ten sets of people next to the pair files")
    held = {name: number <= 2 for number, members in enumerate(people_sets, start=1) for name in members}
    missing = [name for name in np.unique(pairs.people()) if name not in held]
    if missing:
        raise DataError(
            f"people.txt does not list {str(missing[0])!r}, who is in the pair files ({len(missing)} people missing)"
        )
    ends = np.array([[held[a], held[b]] for a, b in pairs.people()])
    number = ends.sum(axis=1)  # of people held out
    return Split(*(np.flatnonzero(number == wanted) for wanted in (0, 2, 1)))
