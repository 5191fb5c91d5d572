"""What is odd about the data? Near-duplicate pictures, and the pairs that they touch, found from the pictures alone."""

from dataclasses import dataclass

import numpy as np

# Correlation of two pictures' faces above which they are taken for one photograph. In the deep-funneled images the
# photographs under two names lie at .98 and above, the nearest others below .96.
SAME_PHOTOGRAPH = 0.97
_CENTRE, _SIDE = 0.57, 20


@dataclass(frozen=True)
class Duplicate:
    """Two pictures that look like one photograph."""

    left: str
    right: str
    correlation: float

    def two_names(self):
        """Whether they are filed under two people."""
        return self.left.rpartition("_")[0] != self.right.rpartition("_")[0]


@dataclass(frozen=True)
class OddPair:
    """A pair that the duplicates touch: set name (train, val, test), row in it, and why it is odd."""

    set: str
    row: int
    why: str


def near_duplicates(bank, threshold=SAME_PHOTOGRAPH):
    """All pairs of pictures whose centres correlate by more than `threshold`, the most alike first.

    The central part of each picture is averaged down to 20x20 and compared with every other one: two seconds for
    LFW's 13,233 pictures.
    """
    faces = _normalised(bank.images)
    found = []
    for start in range(0, len(faces), 1024):
        correlation = faces[start : start + 1024] @ faces[start:].T
        for i, j in zip(*np.nonzero(correlation > threshold)):
            if j > i:
                found.append(
                    Duplicate(str(bank.names[start + i]), str(bank.names[start + j]), float(correlation[i, j]))
                )
    return sorted(found, key=lambda d: -d.correlation)


def odd_pairs(duplicates, pairs):
    """Pairs of a StudyPairs that near-duplicates make odd, as OddPair.

    A matched pair of one photograph; a mismatched pair of one photograph under two names; a pair with a picture whose
    double, under another name, is on another side (training, validation or test). Training's are all images that may be trained
    on, those that no pair names too.
    """
    double = {}
    for d in duplicates:
        double.setdefault(d.left, {})[d.right] = d
        double.setdefault(d.right, {})[d.left] = d
    sides = images_by_set(pairs)
    found = []
    for name, part in pairs.sets().items():
        for row, (left, right) in enumerate(zip(part.left, part.right)):
            if right in double.get(left, {}):
                found.append(
                    OddPair(
                        name,
                        row,
                        "one photograph under two names"
                        if double[left][right].two_names()
                        else "nearly one picture twice",
                    )
                )
            for picture in (left, right):
                for other, d in double.get(picture, {}).items():
                    across = [s for s in sides if s != name and other in sides[s]]
                    if d.two_names() and across:
                        found.append(
                            OddPair(
                                name, row, f"{picture} is the photograph of {other}, which is in {' and '.join(across)}"
                            )
                        )
    return found


def images_by_set(pairs):
    """The images on each side of a StudyPairs, by set name: all that training may see on training's."""
    sides = {name: set(part.names()) for name, part in pairs.sets().items()}
    return {**sides, "train": sides["train"] | set(pairs.extra)}


def confident_errors(part, label, score, most=5, beyond=0.9):
    """Rows of pairs that a network gets wrong with the most confidence: the first to look at for wrong labels.

    Only those with a confidence of at least `beyond` in the wrong answer; they are flagged, nothing is dropped.
    """
    wrong = np.where(np.asarray(label) > 0.5, 1 - np.asarray(score, float), np.asarray(score, float))
    rows = np.argsort(-wrong, kind="stable")[:most]
    return [
        OddPair(
            part, int(row), f"judged {'different' if label[row] else 'same'} with {wrong[row]:.2f}: is the label right?"
        )
        for row in rows
        if wrong[row] >= beyond
    ]


def _normalised(images):
    """Central parts, averaged down, with mean 0 and length 1: float32 (n, 400)."""
    import cv2

    side = images.shape[1]
    edge = round(side * (1 - _CENTRE) / 2)
    small = (
        np.stack(
            [
                cv2.resize(image[edge : side - edge, edge : side - edge], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
                for image in images
            ]
        )
        .reshape(len(images), -1)
        .astype(np.float32)
    )
    small -= small.mean(axis=1, keepdims=True)
    return small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)
