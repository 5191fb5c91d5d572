"""Batches: row numbers of images, targets, and augmentation parameters."""

from collections.abc import Callable

import numpy as np

from lfwstudy.config import RunConfig, TrainingConfig
from lfwstudy.data.bank import ImageBank
from lfwstudy.data.pairs import person_of
from lfwstudy.data.protocols import StudyPairs
from lfwstudy.errors import RunError
from lfwstudy.network.operations import keras
from lfwstudy.training.augment import PARAMETERS, clip_labels, draw_copies, draw_online, draw_rectangles
from lfwstudy.training.covers import draw_covers

# Rows of left images, rows of right images, labels.
IndexedPairs = tuple[np.ndarray, np.ndarray, np.ndarray]
# The inputs of a step by name; and float32 (n, 2) or, with strangers, (n, 2, 2): training target and hard label.
Arrays = tuple[dict[str, np.ndarray], np.ndarray]
SIDES = ("left", "right")


class Batches(keras.utils.PyDataset):
    """An endless sequence of batches of index pairs; each is a function of (seed, epoch, step).

    Parameters
    ----------
    epoch_arrays : function
        From an epoch, counted from 1, to its inputs and targets, `pairs` of each in every epoch.

    An epoch is `steps` batches, the last partial one included. One iterator serves all epochs.
    """

    num_batches = None

    def __init__(self, epoch_arrays: Callable[[int], Arrays], pairs: int, batch_size: int) -> None:
        super().__init__()
        self.epoch_arrays, self.pairs, self.batch_size = epoch_arrays, pairs, batch_size
        self.steps = -(-pairs // batch_size)
        self.done = 0
        self._kept: tuple[int, Arrays] | None = None

    def resume_after(self, epochs: int) -> None:
        """Let the first batch be that of the epoch after `epochs` trained ones."""
        self.done = epochs

    def __getitem__(self, index: int) -> Arrays:
        epoch, step = divmod(index, self.steps)
        inputs, targets = self._epoch(self.done + epoch + 1)
        rows = slice(step * self.batch_size, (step + 1) * self.batch_size)
        return {name: values[rows] for name, values in inputs.items()}, targets[rows]

    def _epoch(self, epoch: int) -> Arrays:
        """An epoch's arrays; the last ones are kept for the batches that follow."""
        if self._kept is None or self._kept[0] != epoch:
            self._kept = epoch, self.epoch_arrays(epoch)
        return self._kept[1]


def gather_sets(bank: ImageBank, pairs: StudyPairs) -> tuple[ImageBank, dict[str, IndexedPairs]]:
    """The bank of the pairs' images, and each set's pairs as rows of it."""
    images = bank.subset(pairs.names())
    sets = pairs.sets() | ({"calibration": pairs.calibration} if pairs.calibration else {})
    return images, {name: (images.rows(some.left), images.rows(some.right), some.label) for name, some in sets.items()}


def training_batches(
    config: RunConfig, train: IndexedPairs, images: ImageBank, seed: int, drawable: np.ndarray | None = None
) -> Batches:
    """The training set as batches: its pairs and their copies in a new order each epoch, or people drawn each epoch.

    Parameters
    ----------
    train : the training set's pairs
    drawable : int32, shape (n,)
        Rows of the images that may be drawn, see `drawable_rows`; needed where people are drawn.

    Raises
    ------
    RunError
        If too few people have enough images to be drawn.
    """
    training, people = config.training, people_of(images)
    if training.drawn_people:
        assert drawable is not None
        return _drawn_batches(training, people, images, seed, drawable)
    inputs, targets = with_copies(training, train, images.side, seed)

    def ordered(epoch: int) -> Arrays:
        order = np.random.default_rng([seed, 30, epoch]).permutation(len(targets))
        inputs_in_order = {name: values[order] for name, values in inputs.items()}
        return _add_online(inputs_in_order, training, people, images, [seed, 50, epoch]), targets[order]

    return Batches(ordered, len(targets), training.batch_size)


def with_copies(training: TrainingConfig, train: IndexedPairs, side: int, seed: int) -> Arrays:
    """The training pairs and their offline copies, each pair followed by its copies."""
    left, right, label = train
    copies = training.augmented_copies
    inputs: dict[str, np.ndarray] = {
        "left": np.repeat(left, copies + 1).astype(np.int32),
        "right": np.repeat(right, copies + 1).astype(np.int32),
    }
    if copies:
        warps = draw_copies(seed, len(label), copies, side, training.zoom, training.brightness, training.shear)
        inputs["left_warp"], inputs["right_warp"] = np.moveaxis(warps.reshape(-1, 2, PARAMETERS), 1, 0)
    hard = np.repeat(label, copies + 1).astype(np.float32)
    is_copy = np.tile(np.arange(copies + 1) > 0, len(label))
    if copies and training.stretch_copies:
        inputs["left_stretch"] = inputs["right_stretch"] = is_copy
    epsilon = np.where(is_copy, training.label_epsilon_copies, training.label_epsilon_originals)
    return inputs, np.stack([clip_labels(hard, epsilon), hard], axis=1).astype(np.float32)


def people_of(images: ImageBank) -> np.ndarray:
    """A number for the person of each image of a bank: int32 (n,)."""
    return np.unique(person_of(images.names), return_inverse=True)[1].astype(np.int32)


def draw_people(
    rng: np.random.Generator,
    person: np.ndarray,
    drawable: np.ndarray,
    batches: int,
    size: int,
    pairs_of_each: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Two images of each of `size` different people for every batch, `pairs_of_each` times.

    People are drawn by the square root of the number of their images, so that a few with hundreds do not fill every batch;
    a person with a single image contributes it twice.

    Parameters
    ----------
    person : int, shape (n,)
        Of each row.
    drawable : int, shape (m,)
        Rows that may be drawn.

    Returns
    -------
    left, right : int32, shape (batches * pairs_of_each * size,)
        Rows; no two of a person's pairs are next to each other in a batch.
    """
    rows = drawable[np.argsort(person[drawable], kind="stable")]
    starts = np.flatnonzero(np.r_[True, np.diff(person[rows]) > 0])
    sizes = np.diff(np.r_[starts, len(rows)])
    # The largest log-weights with Gumbel noise are a weighted draw without replacement (Efraimidis and Spirakis 2006).
    keys = np.log(sizes) / 2 + rng.gumbel(size=(batches, len(sizes)))
    drawn = np.tile(np.argsort(-keys, axis=1)[:, :size], (1, pairs_of_each)).ravel()
    first = rng.integers(sizes[drawn])
    second = (first + rng.integers(1, np.maximum(sizes[drawn], 2))) % sizes[drawn]
    return rows[starts[drawn] + first].astype(np.int32), rows[starts[drawn] + second].astype(np.int32)


def drawable_rows(config: RunConfig, images: ImageBank, pairs: StudyPairs) -> np.ndarray | None:
    """Rows of the images that may be drawn, int32: of all people in neither validation nor the test pairs; None if training
    uses the training pairs."""
    if not config.training.drawn_people:
        return None
    held = person_of(np.concatenate([pairs.validation.names(), pairs.test.names()]))
    return np.flatnonzero(~np.isin(person_of(images.names), held)).astype(np.int32)


def learned_rows(train: IndexedPairs, drawable: np.ndarray | None) -> np.ndarray:
    """Rows of all images that are trained on, int32: of `drawable`, or of the training pairs if it is None."""
    return np.unique(np.concatenate(train[:2])) if drawable is None else drawable


def cohort_rows(config: RunConfig, train: IndexedPairs, drawable: np.ndarray | None, seed: int) -> np.ndarray | None:
    """Rows of the images in a cosine head's cohort: all of `drawable` or the training pairs, or drawn from them; None if it
    has none.

    Some appear twice if there are too few.
    """
    if not config.model.cohort:
        return None
    rows = learned_rows(train, drawable)
    if config.model.cohort == "all":
        return rows
    return np.resize(np.random.default_rng([seed, 70]).permutation(rows), int(config.model.cohort))


def _drawn_batches(
    training: TrainingConfig, people: np.ndarray, bank: ImageBank, seed: int, drawable: np.ndarray
) -> Batches:
    """Batches of matched pairs of different people, each against itself and against its neighbour."""
    _, at, images = np.unique(people[drawable], return_inverse=True, return_counts=True)
    enough = images >= training.least_pictures
    drawable, each = drawable[enough[at]], training.pairs_per_person
    size = min(training.batch_size // each, int(np.count_nonzero(enough)))
    if size < 2:
        raise RunError(f"fewer than two training people have {training.least_pictures} images")
    count = -(-(training.drawn_people or 0) // size)

    def drawn(epoch: int) -> Arrays:
        left, right = draw_people(np.random.default_rng([seed, 60, epoch]), people, drawable, count, size, each)
        targets = np.tile(np.array([[1, 1], [0, 0]], np.float32), (len(left), 1, 1))
        return _add_online({"left": left, "right": right}, training, people, bank, [seed, 50, epoch]), targets

    return Batches(drawn, count * size * each, size * each)


def _add_online(
    inputs: dict[str, np.ndarray], training: TrainingConfig, people: np.ndarray, bank: ImageBank, seed: list[int]
) -> dict[str, np.ndarray]:
    """The inputs with the augmentation drawn for every image in every epoch."""
    rng = np.random.default_rng(seed)
    for name in SIDES:
        count = len(inputs[name])
        if training.varies_online():
            inputs[f"{name}_warp"] = draw_online(rng, count, bank.side, training)
        if training.erase:
            inputs[f"{name}_erase"] = draw_rectangles(rng, count, bank.side, training.erase)
        if training.cover:
            inputs[f"{name}_cover"] = draw_covers(rng, count, bank.crop, bank.side, training.cover)
        if training.contrast:
            inputs[f"{name}_person"] = people[inputs[name]]
    return inputs
