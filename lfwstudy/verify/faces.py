"""A user's photo of any common format: read, its face found by a detector and framed as LFW frames its images."""

import logging
import math
from collections.abc import Callable, Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from lfwstudy.data.images import SOURCE_SIDE, opened, upright
from lfwstudy.errors import DataError, choose_one, one_line, reading
from lfwstudy.verify import FACES

Photo = str | PathLike[str] | Image.Image
# Left, top, right, bottom in pixels of the upright photo at its full size.
Box = tuple[float, float, float, float]

# LFW enlarges the Viola-Jones detector's box by this factor (Huang et al. 2007, section III).
ENLARGE = 2.2
# Larger photos are reduced to at most so many pixels.
WORKING_PIXELS = 50_000_000

logger = logging.getLogger(__name__)
_DETECTING = Lock()  # the detector is not thread-safe


def open_face(
    photo: Photo,
    box: Box | None = None,
    advised: str = "",
    face: str = FACES[0],
    note: Callable[[str], None] = logger.warning,
) -> Image.Image:
    """The face in a photo with its surroundings: a grey image of 250x250 pixels.

    Parameters
    ----------
    box : where the face is; by default it is detected.
    advised : what the message asks for if no face is used: "left box"; empty if no box can be given.
    face : what to do if several are found, one of FACES.
    note : is told which of several faces is used.

    Raises
    ------
    DataError
        If the photo cannot be read, shows no face, or several and `face` is "only", or the box does not fit it.
    """
    choose_one("face", face, FACES)
    image, name = open_photo(photo)
    if box is None:
        boxes = find_faces(image)
        box = choose_face(boxes, full_size(image), face)
        if box is None:
            advice = f"; give the {advised} in pixels: left, top, right, bottom" if advised else ""
            raise DataError(f"{name}: {_count(boxes)}{advice}")
        if len(boxes) > 1:
            note(f"{name}: {_count(boxes)}. The largest, most central one is used: {_numbers(box)}")
    return frame_face(image, box, name)


def open_photo(photo: Photo) -> tuple[Image.Image, str]:
    """A photo file or a Pillow image as an upright grey image; and its name in messages.

    Raises DataError if it cannot be read, or the value of white is unknown (see `to_grey`).
    """
    if isinstance(photo, Image.Image):
        with reading("the photo: not a readable image"):
            return upright(photo), "the photo"
    try:
        with open(photo, "rb") as file:
            return read_photo(file, str(photo)), str(photo)
    except FileNotFoundError:
        raise DataError(f"{photo}: no such file") from None
    except OSError as error:
        raise DataError(f"{photo}: {error.strerror or one_line(error)}") from error


def read_photo(file: BinaryIO, name: str) -> Image.Image:
    """A photo from an open file as an upright grey image, reduced if it has very many pixels (see `reduction`).

    Raises DataError, in which the file is called `name`.
    """
    with opened(file, name) as image:
        width = image.width
        if (shrink := _shrink(image)) > 1:
            image.draft("L", (width // shrink, image.height // shrink))  # a JPEG, during decoding
        reduced, shrink = round(width / image.width), _shrink(image)
        photo = upright(image, shrink)
        photo.info["reduced"] = reduced * shrink
        return photo


def reduction(photo: Image.Image) -> int:
    """The factor by which a photo's sides were reduced."""
    return photo.info.get("reduced", 1)


def full_size(photo: Image.Image) -> tuple[int, int]:
    """Width and height of a photo before reduction: boxes are given in these pixels."""
    return photo.width * reduction(photo), photo.height * reduction(photo)


def find_faces(photo: Image.Image) -> list[Box]:
    """The boxes of the frontal faces in an upright grey photo."""
    smallest, by = max(24, min(photo.size) // 12), reduction(photo)
    with _DETECTING:
        found = _detector().detectMultiScale(np.asarray(photo), 1.1, 6, minSize=(smallest, smallest))
    return [(int(x) * by, int(y) * by, int(x + w) * by, int(y + h) * by) for x, y, w, h in found]


def choose_face(boxes: Sequence[Box], size: tuple[int, int], face: str) -> Box | None:
    """The box to use under the rule `face`, one of FACES, in a photo of width and height `size`; None to refuse the photo."""
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


def frame_face(photo: Image.Image, box: Box, name: str = "the photo") -> Image.Image:
    """The face's surroundings as LFW frames them: a grey image of 250x250 pixels; the photo's edge pixels are repeated.

    Raises DataError, in which the photo is called `name`, if the box is empty, lies outside it or is much too large for it.
    """
    shown = f"{name}: the box {_numbers(box)} "
    size = "{}x{} pixels".format(*full_size(photo))
    left, top, right, bottom = (v / reduction(photo) for v in box)
    if left >= right or top >= bottom:
        raise DataError(f"{shown}is empty: left < right and top < bottom expected")
    if right <= 0 or bottom <= 0 or left >= photo.width or top >= photo.height:
        raise DataError(f"{shown}lies outside the photo of {size}")
    face = max(right - left, bottom - top)
    if face > 2 * max(photo.size):
        raise DataError(f"{shown}is larger than the photo of {size}")
    half, x, y = ENLARGE * face / 2, (left + right) / 2, (top + bottom) / 2
    pad = math.ceil(max(0, half - x, half - y, x + half - photo.width, y + half - photo.height))
    if (photo.width + 2 * pad) * (photo.height + 2 * pad) > 8 * WORKING_PIXELS:
        raise DataError(f"{shown}is too large, with its surroundings, for a photo of {size}; give a smaller one")
    padded = Image.fromarray(np.pad(np.asarray(photo), pad, mode="edge"))
    area = (x - half + pad, y - half + pad, x + half + pad, y + half + pad)
    return padded.resize((SOURCE_SIDE, SOURCE_SIDE), Image.Resampling.BILINEAR, box=area)


def _shrink(image: Image.Image) -> int:
    """The factor by which to reduce an image's sides to have at most WORKING_PIXELS."""
    return math.ceil(math.sqrt(image.width * image.height / WORKING_PIXELS))


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
