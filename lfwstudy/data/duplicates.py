"""Near-duplicate images and the pairs that contain them, found from the images alone."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lfwstudy.data.bank import ImageBank
from lfwstudy.data.protocols import StudyPairs

# Correlation of two images' centres above which they count as one photograph. In the deep-funneled images, photographs
# filed under two names are at .98 and above; all others are below .96.
SAME_PHOTOGRAPH = 0.97
_CENTRE, _SIDE = 0.57, 20


@dataclass(frozen=True)
class Duplicate:
    """Two images that look like one photograph."""

    left: str
    right: str
    correlation: float

    def two_names(self) -> bool:
        """Whether they are filed under two people."""
        return self.left.rpartition("_")[0] != self.right.rpartition("_")[0]


@dataclass(frozen=True)
class OddPair:
    """A pair affected by duplicates: set (train, val, test), row in the set, and why it is odd."""

    set: str
    row: int
    why: str


def near_duplicates(bank: ImageBank) -> list[Duplicate]:
    """All pairs of images whose centres correlate by more than SAME_PHOTOGRAPH, the most alike first.

    The central part of each image is averaged down to 20x20 and compared with every other one: two seconds for LFW's 13,233
    images.
    """
    faces, names = _normalised(bank.images), bank.names.tolist()
    found = []
    for start in range(0, len(faces), 1024):
        correlation = faces[start : start + 1024] @ faces[start:].T
        for i, j in zip(*np.nonzero(correlation > SAME_PHOTOGRAPH)):
            if j > i:
                found.append(Duplicate(names[start + i], names[start + j], float(correlation[i, j])))
    return sorted(found, key=lambda duplicate: -duplicate.correlation)


def odd_pairs(duplicates: Sequence[Duplicate], pairs: StudyPairs) -> list[OddPair]:
    """Pairs affected by near-duplicates.

    A matched pair of one photograph; a mismatched pair of one photograph under two names; a pair with an image whose duplicate,
    under another name, is in another set. The training set includes all images that may be trained on.
    """
    double: dict[str, dict[str, Duplicate]] = defaultdict(dict)
    for one in duplicates:
        double[one.left][one.right] = double[one.right][one.left] = one
    images, found = images_by_set(pairs), []
    for name, part in pairs.sets().items():
        for row, ends in enumerate(zip(part.left.tolist(), part.right.tolist())):
            if same := double[ends[0]].get(ends[1]):
                why = "one photograph under two names" if same.two_names() else "nearly one image twice"
                found.append(OddPair(name, row, why))
            for image in ends:
                for other, duplicate in double[image].items():
                    across = [where for where in images if where != name and other in images[where]]
                    if duplicate.two_names() and across:
                        why = f"{image} is the photograph of {other}, which is in {' and '.join(across)}"
                        found.append(OddPair(name, row, why))
    return found


def images_by_set(pairs: StudyPairs) -> dict[str, set[str]]:
    """The images of each set, by its name; the training set includes all that may be trained on."""
    images = {name: set(part.names()) for name, part in pairs.sets().items()}
    return {**images, "train": images["train"] | set(pairs.extra)}


def confident_errors(part: str, label: np.ndarray, score: np.ndarray) -> list[OddPair]:
    """Pairs that a network classifies incorrectly with the most confidence: the first to look at for wrong labels.

    At most five, with a confidence of at least 0.9 in the incorrect answer. They are flagged; nothing is dropped.
    """
    wrong = np.where(label > 0.5, 1 - score, score)
    rows = [row for row in np.argsort(-wrong, kind="stable")[:5].tolist() if wrong[row] >= 0.9]
    why = "classified as {} with confidence {:.2f}: is the label correct?"
    return [OddPair(part, row, why.format("different" if label[row] else "same", wrong[row])) for row in rows]


def _normalised(images: np.ndarray) -> np.ndarray:
    """Central parts, averaged down, with mean 0 and length 1: float32 array of shape (n, 400)."""
    import cv2

    side = images.shape[1]
    edge = round(side * (1 - _CENTRE) / 2)
    centre = slice(edge, side - edge)
    small = [cv2.resize(image[centre, centre], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for image in images]
    flat = np.stack(small).reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
