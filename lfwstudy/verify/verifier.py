"""Two photos compared: the command's answer, and the same in three lines of Python."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from lfwstudy.verify.faces import Box, Photo, open_face
from lfwstudy.verify.network import Network, load_network

THRESHOLD = 0.5


def load_verifier(out: str | PathLike[str] = "") -> "Verifier":
    """A Verifier with the best network of the study in `out`, or with the one shipped with the package.

    >>> verifier = load_verifier()
    >>> verifier.score("left.jpg", "right.jpg")

    Raises StudyError if the study has no kept network.
    """
    return Verifier(load_network(out))


@dataclass(frozen=True)
class Verifier:
    """Compares photos: files or Pillow images of any size, each with exactly one face or with a box."""

    network: Network

    def score(self, left: Photo, right: Photo, left_box: Box | None = None, right_box: Box | None = None) -> float:
        """Probability that two photos show the same person; above 0.5 the network answers "same".

        Boxes are (left, top, right, bottom) in pixels of the upright photo. Raises DataError if a photo cannot be read, or
        has no or several faces and no box.
        """
        faces = open_face(left, left_box, "left_box"), open_face(right, right_box, "right_box")
        return self.network.score_images(*map(self.network.frame, faces))

    def embed(self, photos: Sequence[Photo], boxes: Sequence[Box | None] = ()) -> np.ndarray:
        """Embeddings of the faces in photos: float32 (n, d). Raises DataError as `score` does.

        boxes: one for each photo, None to detect its face; by default all faces are detected.
        """
        faces = [
            open_face(photo, box, "boxes") for photo, box in zip(photos, boxes or [None] * len(photos), strict=True)
        ]
        return self.network.embed(np.stack([self.network.frame(face) for face in faces]))


@dataclass(frozen=True)
class Answer:
    """The probability that two photos show the same person, and the name of the network that gave it."""

    score: float
    network: str
    is_demo: bool

    def __str__(self) -> str:
        verdict = "same person" if self.score > THRESHOLD else "different people"
        return f"{verdict}: P(same) {self.score:.2f}, threshold {THRESHOLD:.2f} (network: {self.network})"


def verify_photos(
    left: Photo,
    right: Photo,
    out: str | PathLike[str] = "",
    left_box: Box | None = None,
    right_box: Box | None = None,
) -> Answer:
    """The answer of `lfwstudy verify`; `out` and errors as for `load_verifier` and `Verifier.score`."""
    # Checked before loading the network, which takes seconds.
    faces = [
        open_face(photo, box, f"--{side}-box LEFT,TOP,RIGHT,BOTTOM")
        for photo, box, side in ((left, left_box, "left"), (right, right_box, "right"))
    ]
    network = load_network(out)
    return Answer(network.score_images(*map(network.frame, faces)), network.name, network.is_demo)
