"""Compare photos, two or many, in three lines of Python."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from typing import Any

import numpy as np

from lfwstudy.errors import DataError
from lfwstudy.verify import FACES
from lfwstudy.verify.faces import Box, Photo, logger, open_face
from lfwstudy.verify.kept import load_network
from lfwstudy.verify.network import Network

PhotoFile = str | PathLike[str]
# Photos embedded, and pairs compared, in one step.
_PHOTOS, _PAIRS = 64, 256


def load_verifier(
    out: str | PathLike[str] = "", face: str = FACES[0], note: Callable[[str], None] = logger.warning
) -> "Verifier":
    """A Verifier with the best network of the study in `out`, or with the one shipped with the package.

    >>> verifier = load_verifier()
    >>> verifier.score("left.jpg", "right.jpg")

    Raises StudyError if the study has no kept network.
    """
    return Verifier(load_network(out), face, note)


@dataclass(frozen=True)
class Verifier:
    """Compares photos: files or Pillow images, of any size.

    If a photo shows several faces and no box is given, the "largest", most central one is used and `note` is told so; with
    `face` "only" it is a DataError.
    """

    network: Network
    face: str = FACES[0]
    note: Callable[[str], None] = logger.warning

    def score(self, left: Photo, right: Photo, left_box: Box | None = None, right_box: Box | None = None) -> float:
        """Probability that two photos show the same person; above 0.5 the network answers "same".

        Boxes are (left, top, right, bottom) in pixels of the upright photo. Raises DataError if a photo cannot be
        read, or no face is found in it.
        """
        sides = (left, left_box, "left box"), (right, right_box, "right box")
        return self.network.score_images(*(self._frame(*side) for side in sides))

    def score_pairs(
        self,
        pairs: Sequence[tuple[PhotoFile, PhotoFile]],
        progress: Callable[[Sequence[PhotoFile]], Iterable[PhotoFile]] = iter,
    ) -> list[float | DataError]:
        """For each pair of photo files its score, or the DataError that says why there is none.

        Each photo is read and embedded once. progress: wraps the photos that are gone through, as tqdm does.
        """
        photos = list(dict.fromkeys(photo for pair in pairs for photo in pair))
        embeddings = dict(zip(photos, self.embed_each(progress(photos)), strict=True))
        both = ([embeddings[photo] for photo in pair] for pair in pairs)
        known = (next((side for side in pair if isinstance(side, DataError)), pair) for pair in both)
        return list(_in_steps(_PAIRS, known, self._compare))

    def embed(self, photos: Sequence[Photo], boxes: Sequence[Box | None] = ()) -> np.ndarray:
        """Embeddings of the faces in photos: float32 (n, d). Raises DataError as `score` does.

        boxes: one for each photo, None to detect its face; by default all faces are detected.
        """
        if not photos:
            raise DataError("no photo to embed")
        both = zip(photos, boxes or [None] * len(photos), strict=True)
        return self.network.embed(np.stack([self._frame(photo, box, "boxes") for photo, box in both]))

    def embed_each(self, photos: Iterable[Photo]) -> Iterator[np.ndarray | DataError]:
        """For each photo in turn its face's embedding, float32 (d,), or the DataError that says why there is none."""
        framed = map(self._frame_or_error, photos)
        return _in_steps(_PHOTOS, framed, lambda faces: self.network.embed(np.stack(faces)))

    def _frame(self, photo: Photo, box: Box | None = None, advised: str = "") -> np.ndarray:
        return self.network.frame(open_face(photo, box, advised, self.face, self.note))

    def _frame_or_error(self, photo: Photo) -> np.ndarray | DataError:
        try:
            return self._frame(photo)
        except DataError as error:
            return DataError(*error.args)  # the one that was raised holds on to the photo's pixels

    def _compare(self, pairs: Sequence[list[np.ndarray]]) -> list[float]:
        return self.network.score(*map(np.stack, zip(*pairs, strict=True))).tolist()


def _in_steps(size: int, values: Iterable[Any], call: Callable[[list[Any]], Iterable[Any]]) -> Iterator[Any]:
    """What `call` makes of the values that are no errors, `size` at a time, and the errors in their places."""
    waiting = iter(values)
    while step := list(islice(waiting, size)):
        whole = [value for value in step if not isinstance(value, DataError)]
        made = iter(call(whole) if whole else ())
        yield from (value if isinstance(value, DataError) else next(made) for value in step)
