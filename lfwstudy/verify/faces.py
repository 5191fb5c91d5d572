"""The face in a photo: found by a detector, and framed as LFW frames its images."""

import logging
import math
from collections.abc import Callable, Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from lfwstudy.data.images import SOURCE_SIDE
from lfwstudy.errors import DataError, choose_one
from lfwstudy.verify import FACES
from lfwstudy.verify.photos import WORKING_PIXELS, full_size, open_photo, reduction

Photo = str | PathLike[str] | Image.Image
# Left, top, right, bottom in pixels of the upright photo at its full size.
Box = tuple[float, float, float, float]

# LFW enlarges the Viola-Jones detector's box by this factor (Huang et al. 2007, section III).
ENLARGE = 2.2

logger = logging.getLogger(__name__)
_DETECTING = Lock()  # the detector is not for several threads at a time


def open_face(
    photo: Photo,
    box: Box | None = None,
    option: str = "",
    face: str = FACES[0],
    note: Callable[[str], None] = logger.warning,
) -> Image.Image:
    """The face in a photo with its surroundings: a grey image of 250x250 pixels.

    Parameters
    ----------
    box : where the face is; without it the face is looked for.
    option : how a message tells the user to pass the box, if it can be passed.
    face : one of FACES, where several are found: the largest, most central one, or `only` to refuse the photo.
    note : is told which of several faces was taken.

    Raises
    ------
    DataError
        Where the photo cannot be read, has no face, or several and `face` is "only", or the box does not fit it.
    """
    choose_one("face", face, FACES)
    image, name = open_photo(photo)
    if box is None:
        boxes = find_faces(image)
        box = choose_face(boxes, full_size(image), face)
        if box is None:
            advice = f". Give the face's box with {option} in pixels" if option else ""
            raise DataError(f"{name}: {_count(boxes)}{advice}")
        if len(boxes) > 1:
            note(f"{name}: {_count(boxes)}. The largest, most central one is used: {_numbers(box)}")
    return frame_face(image, box)


def find_faces(photo: Image.Image) -> list[Box]:
    """The boxes of the frontal faces in an upright grey photo."""
    smallest, by = max(24, min(photo.size) // 12), reduction(photo)
    with _DETECTING:
        found = _detector().detectMultiScale(np.asarray(photo), 1.1, 6, minSize=(smallest, smallest))
    return [(int(x) * by, int(y) * by, int(x + w) * by, int(y + h) * by) for x, y, w, h in found]


def choose_face(boxes: Sequence[Box], size: tuple[int, int], face: str) -> Box | None:
    """The box that counts by the rule `face`, one of FACES, in a photo of width and height `size`; None if none does."""
    refused = not boxes or (face == "only" and len(boxes) > 1)
    return None if refused else largest_face(boxes, size)


def largest_face(boxes: Sequence[Box], size: tuple[int, int]) -> Box:
    """The largest, most central of boxes in a photo of width and height `size`.

    A box counts with its area, weighted from 1 where its centre is the photo's to 0 in a corner.
    """
    width, height = size

    def weight(box: Box) -> float:
        left, top, right, bottom = box
        away = math.hypot(left + right - width, top + bottom - height) / math.hypot(width, height)
        return (right - left) * (bottom - top) * (1 - away)

    return max(boxes, key=weight)


def frame_face(photo: Image.Image, box: Box) -> Image.Image:
    """The face's surroundings as LFW frames them: a grey image of 250x250 pixels; the photo's edge pixels are repeated.

    Raises DataError if the box lies outside the photo or is much too large for it.
    """
    size = "{}x{} pixels".format(*full_size(photo))
    left, top, right, bottom = (v / reduction(photo) for v in box)
    if right <= 0 or bottom <= 0 or left >= photo.width or top >= photo.height:
        raise DataError(f"the box {box} lies outside the photo of {size}")
    face = max(right - left, bottom - top)
    if face > 2 * max(photo.size):
        raise DataError(f"the box {box} is larger than the photo of {size}")
    half, x, y = ENLARGE * face / 2, (left + right) / 2, (top + bottom) / 2
    pad = math.ceil(max(0, half - x, half - y, x + half - photo.width, y + half - photo.height))
    if (photo.width + 2 * pad) * (photo.height + 2 * pad) > 8 * WORKING_PIXELS:
        raise DataError(f"the box {box} with its surroundings is too large for a photo of {size}; give a smaller one")
    padded = Image.fromarray(np.pad(np.asarray(photo), pad, mode="edge"))
    area = (x - half + pad, y - half + pad, x + half + pad, y + half + pad)
    return padded.resize((SOURCE_SIDE, SOURCE_SIDE), Image.Resampling.BILINEAR, box=area)


@cache
def _detector() -> Any:
    import cv2.data

    return cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"))


def _count(boxes: Sequence[Box]) -> str:
    """How many faces were found and where: "no face found", "2 faces found; 4,8,16,24; 40,80,160,240"."""
    listed = "".join(f"; {_numbers(box)}" for box in boxes)
    return f"{len(boxes) or 'no'} face{'s' if len(boxes) > 1 else ''} found{listed}"


def _numbers(box: Box) -> str:
    return ",".join(map(str, box))
