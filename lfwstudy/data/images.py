"""From a file to an image of the study: decoded, grey, cropped and resized."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base

from lfwstudy.data.filetypes import not_an_image
from lfwstudy.errors import DataError, reading

SOURCE_SIDE = 250

# Supported image formats; Pillow knows the suffixes of each.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF")
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
    with _opened(content, name) as image:
        if image.size != (SOURCE_SIDE, SOURCE_SIDE):
            size, wanted = ("x".join(map(str, size)) for size in (image.size, (SOURCE_SIDE, SOURCE_SIDE)))
            raise DataError(f"image {name}: {size} pixels, {wanted} expected; any size: --dataset folder")
        if image.format == "JPEG":
            image.draft("L", image.size)  # the luma plane alone: the same grey for a quarter less work
        return frame(to_grey(image), crop, side, filter)


def square(content: bytes, name: str) -> tuple[Image.Image, tuple[int, int]]:
    """The central square of an image of any size and format, upright and grey, of 250x250 pixels; and its own size.

    Raises DataError if it is not an image or has a side of less than 16 pixels; the message names it.
    """
    Image.init()
    with _opened(content, name, [format for format in Image.OPEN if format != "EPS"]) as image:  # which runs a program
        size = image.size
        if min(size) < 16:
            raise DataError(f"image {name}: {size[0]}x{size[1]} pixels, too small for a face")
        if image.format == "JPEG":
            image.draft("L", (2 * SOURCE_SIDE, 2 * SOURCE_SIDE))
        grey = to_grey(image)
        grey.getexif()[Base.Orientation] = image.getexif().get(Base.Orientation, 1)
        return ImageOps.fit(ImageOps.exif_transpose(grey), (SOURCE_SIDE, SOURCE_SIDE)), size


def frame(grey: Image.Image, crop: int, side: int, filter: str) -> np.ndarray:
    """Central square of `crop` pixels of a grey image, resized to `side`: uint8 array (side, side)."""
    left, top = (grey.width - crop) // 2, (grey.height - crop) // 2
    box = (left, top, left + crop, top + crop)
    return np.asarray(grey.resize((side, side), Image.Resampling[filter.upper()], box=box), np.uint8)


@contextmanager
def _opened(content: bytes, name: str, formats: list[str] | tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """An image file, opened; what goes wrong with it is a DataError that names it."""
    with reading(f"image {name}: not a readable image"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about damaged metadata: only the pixels count
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(content), formats=formats)
        except UnidentifiedImageError:
            raise DataError(f"image {name}: {not_an_image(content) or 'not a readable image of any kind'}") from None
        yield image


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
