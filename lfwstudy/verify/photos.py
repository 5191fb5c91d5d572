"""Read a user's photo of any common format as an upright grey image, small enough to work with."""

import math
import warnings
from os import PathLike
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from lfwstudy.data.filetypes import HEAD, not_an_image
from lfwstudy.data.images import FORMATS, to_grey
from lfwstudy.errors import DataError, one_line, reading

# Photos with more pixels are reduced. A JPEG is reduced during decoding, so it may have more than other formats.
WORKING_PIXELS = 50_000_000
_MAX_PIXELS = 100_000_000
_MAX_JPEG_PIXELS = 250_000_000
_TOO_LARGE = f"more than {_MAX_PIXELS:,} pixels, or {_MAX_JPEG_PIXELS:,} in a JPEG; save it smaller"


def open_photo(photo: str | PathLike[str] | Image.Image) -> tuple[Image.Image, str]:
    """A photo file, or a Pillow image of 8 bits a channel, as an upright grey image; and its name in messages.

    Raises DataError if a file cannot be read.
    """
    if isinstance(photo, Image.Image):
        return ImageOps.exif_transpose(photo).convert("L"), "the photo"
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
    start = file.read(HEAD)
    file.seek(0)
    if problem := not_an_image(start):
        raise DataError(f"{name}: {problem}")
    with reading(f"{name}: not a readable image"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about damaged metadata: only the pixels count
        with _open(file, start) as image:
            return _upright(image)


def reduction(photo: Image.Image) -> int:
    """The factor by which a photo's sides were reduced."""
    return photo.info.get("reduced", 1)


def full_size(photo: Image.Image) -> tuple[int, int]:
    """Width and height of a photo before reduction: boxes are given in these pixels."""
    return photo.width * reduction(photo), photo.height * reduction(photo)


def _open(file: BinaryIO, start: bytes) -> Image.Image:
    try:
        # Image.open's limit against decompression bombs is below what phones take; `_upright` has its own.
        return JpegImageFile(file) if start.startswith(b"\xff\xd8\xff") else Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"damaged, or none of {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise ValueError(_TOO_LARGE) from None


def _upright(image: Image.Image) -> Image.Image:
    width, height = image.size
    if width * height > (_MAX_JPEG_PIXELS if image.format == "JPEG" else _MAX_PIXELS):
        raise ValueError(_TOO_LARGE)
    if isinstance(image, TiffImageFile) and (image.tag_v2.get(254, 0) == 1 or 50706 in image.tag_v2):
        # Pillow would decode the preview in it.
        raise ValueError("a camera's raw photo; develop it and save it as JPEG or PNG")
    if (shrink := _shrink(image)) > 1 and image.format == "JPEG":
        image.draft("L", (width // shrink, height // shrink))
    reduced = round(width / image.width)
    grey = to_grey(image)
    if (shrink := _shrink(grey)) > 1:
        grey, reduced = grey.reduce(shrink), reduced * shrink
    # Rotate the grey image: a rotated copy of the original loses the metadata on its values.
    grey.getexif()[Base.Orientation] = image.getexif().get(Base.Orientation, 1)
    upright = ImageOps.exif_transpose(grey)
    upright.info["reduced"] = reduced
    return upright


def _shrink(image: Image.Image) -> int:
    """The factor by which to reduce an image's sides to have at most WORKING_PIXELS."""
    return math.ceil(math.sqrt(image.width * image.height / WORKING_PIXELS))
