"""From a file to an image of the study: decoded, grey, cropped and resized."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from lfwstudy.data.filetypes import HEAD, not_an_image
from lfwstudy.errors import DataError, reading

SOURCE_SIDE = 250

# Supported image formats; Pillow knows the suffixes of each.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF")
# A JPEG is reduced during decoding, so it may have more pixels than other formats.
_MAX_PIXELS = 100_000_000
_MAX_JPEG_PIXELS = 250_000_000
_TOO_LARGE = f"more than {_MAX_PIXELS:,} pixels, or {_MAX_JPEG_PIXELS:,} in a JPEG; save it smaller"
_SAVE = "save it with 8 bits per channel"


@cache
def suffixes() -> frozenset[str]:
    """Lower-case suffixes of the files that `decode` reads."""
    return frozenset(suffix for suffix, format in Image.registered_extensions().items() if format in FORMATS)


def decode(content: bytes, name: str, crop: int, side: int, filter: str) -> np.ndarray:
    """One image file as the study uses it: grey, central crop, resized.

    Grey is the luma of ITU-R BT.601, as Pillow computes it.

    Parameters
    ----------
    content : the file, an image of 250x250 pixels.
    name : for messages.
    crop, side : pixels of the central square that is kept, and of the result.
    filter : nearest, box, bilinear, bicubic or lanczos.

    Returns
    -------
    uint8 array (side, side).

    Raises
    ------
    DataError
        If it is not an image or has another size; the message names it.
    """
    with opened(io.BytesIO(content), f"image {name}") as image:
        if image.size != (SOURCE_SIDE, SOURCE_SIDE):
            size, wanted = ("x".join(map(str, size)) for size in (image.size, (SOURCE_SIDE, SOURCE_SIDE)))
            raise DataError(f"image {name}: {size} pixels, {wanted} expected; any size: --dataset folder")
        if image.format == "JPEG":
            image.draft("L", image.size)  # the luma plane alone: the same grey for a quarter less work
        return frame(to_grey(image), crop, side, filter)


def square(file: BinaryIO, name: str) -> tuple[Image.Image, tuple[int, int]]:
    """The central square of an image of any size and format, upright and grey, of 250x250 pixels; and its own size.

    Raises DataError if it is not an image or has a side of less than 16 pixels; the message names it.
    """
    Image.init()
    formats = [format for format in Image.OPEN if format != "EPS"]  # which runs a program
    with opened(file, f"image {name}", formats) as image:
        size = image.size
        if min(size) < 16:
            raise DataError(f"image {name}: {size[0]}x{size[1]} pixels, too small for a face")
        image.draft("L", (2 * SOURCE_SIDE, 2 * SOURCE_SIDE))
        return ImageOps.fit(upright(image), (SOURCE_SIDE, SOURCE_SIDE)), size


def frame(grey: Image.Image, crop: int, side: int, filter: str) -> np.ndarray:
    """Central square of `crop` pixels of a grey image, resized to `side`: uint8 array (side, side)."""
    left, top = (grey.width - crop) // 2, (grey.height - crop) // 2
    box = (left, top, left + crop, top + crop)
    return np.asarray(grey.resize((side, side), Image.Resampling[filter.upper()], box=box), np.uint8)


@contextmanager
def opened(file: BinaryIO, name: str, formats: list[str] | tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """An image file, opened but not loaded. Whatever is wrong with it raises a DataError that calls it `name`."""
    start = file.read(HEAD)
    file.seek(0)
    is_jpeg = start.startswith(b"\xff\xd8\xff")
    problem = "" if is_jpeg else not_an_image(start)
    if problem and formats is FORMATS:  # Pillow reads more
        raise DataError(f"{name}: {problem}")
    with reading(f"{name}: not a readable image"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about damaged metadata: only the pixels count
        try:
            # Image.open's limit against decompression bombs is below what phones take; there is one of our own.
            image = JpegImageFile(file) if is_jpeg else Image.open(file, formats=formats)
        except UnidentifiedImageError:
            if problem:
                raise DataError(f"{name}: {problem}") from None
            raise ValueError(f"damaged, or none of {', '.join(FORMATS)}") from None
        except Image.DecompressionBombError:
            raise ValueError(_TOO_LARGE) from None
        with image:
            if image.width * image.height > (_MAX_JPEG_PIXELS if image.format == "JPEG" else _MAX_PIXELS):
                raise ValueError(_TOO_LARGE)
            if isinstance(image, TiffImageFile) and (image.tag_v2.get(254, 0) == 1 or 50706 in image.tag_v2):
                # Pillow would decode the preview in it.
                raise ValueError("a camera's raw photo; develop it and save it as JPEG or PNG")
            yield image


def upright(image: Image.Image, shrink: int = 1) -> Image.Image:
    """A Pillow image, not loaded yet, as 8-bit grey, its sides reduced by a factor, turned as its metadata say."""
    grey = to_grey(image).reduce(shrink)
    # Rotate the grey image: a rotated copy of the original loses the metadata on its values.
    grey.getexif()[Base.Orientation] = image.getexif().get(Base.Orientation, 1)
    return ImageOps.exif_transpose(grey)


def to_grey(image: Image.Image) -> Image.Image:
    """A Pillow image, not loaded yet, as 8-bit grey; transparency is laid on mid-grey.

    16-bit values are scaled by their full range, never by the image's own maximum.

    Raises
    ------
    ValueError
        If the value of white is unknown: of other deep pixels, and of 16-bit ones so dark that they may have fewer bits.
    """
    is_deep = ";16" in f"{image.mode} {getattr(image, 'tile', '')}"  # of 16-bit colours, Pillow keeps the upper half
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of {'floats' if image.mode == 'F' else '32-bit or signed values'}; {_SAVE}")
    if image.mode.startswith("I;16"):
        grey = Image.fromarray(np.round(np.asarray(image, np.float32) / 257).astype(np.uint8))
        if getattr(image, "tag_v2", {}).get(262) == 0:  # Pillow inverts TIFF's WhiteIsZero only at 8 bits
            grey = ImageOps.invert(grey)
    elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        grey = Image.alpha_composite(Image.new("RGBA", image.size, (128, 128, 128, 255)), layer).convert("L")
    else:
        grey = image.convert("L")
    if is_deep and np.asarray(grey).max() < 64:
        raise ValueError(f"16-bit values up to a quarter of white: too dark, or of fewer bits; {_SAVE}")
    return grey
