"""From a file to an image of the study: decoded, grey, cropped and resized."""

import io
import warnings
from functools import cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

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
    with reading(f"image {name}: not a readable image"), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError:
            raise DataError(f"image {name}: {not_an_image(content) or 'not a readable image of any kind'}") from None
        if image.size != (SOURCE_SIDE, SOURCE_SIDE):
            size, wanted = ("x".join(map(str, size)) for size in (image.size, (SOURCE_SIDE, SOURCE_SIDE)))
            raise DataError(f"image {name}: {size} pixels, {wanted} expected")
        if image.format == "JPEG":
            image.draft("L", image.size)  # the luma plane alone: the same grey for a quarter less work
        return frame(to_grey(image), crop, side, filter)


def frame(grey: Image.Image, crop: int, side: int, filter: str) -> np.ndarray:
    """Central square of `crop` pixels of a grey image, resized to `side`: uint8 array (side, side)."""
    left, top = (grey.width - crop) // 2, (grey.height - crop) // 2
    box = (left, top, left + crop, top + crop)
    return np.asarray(grey.resize((side, side), Image.Resampling[filter.upper()], box=box), np.uint8)


def to_grey(image: Image.Image) -> Image.Image:
    """A Pillow image, not loaded yet, as 8-bit grey; transparency is laid on mid-grey.

    Deeper values are scaled by their format's range (`_white`), never by their own maximum.

    Raises
    ------
    ValueError
        If that range is unknown.
    """
    sixteen_bit_colour = ";16" in str(getattr(image, "tile", ""))  # Pillow keeps the upper half of each value
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _deep_to_grey(image)
    if sixteen_bit_colour and (peak := int(np.max(image.convert("RGB").getextrema()))) < 64:
        raise ValueError(f"16-bit colours up to {256 * peak + 255} of 65535: too dark, or of another range; {_SAVE}")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (128, 128, 128, 255)), layer).convert("L")
    return image.convert("L")


def _deep_to_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image, np.float32)
    known = np.isfinite(values)
    if not known.any():
        raise ValueError("it contains no numbers")
    low, peak = float(values.min(where=known, initial=np.inf)), float(values.max(where=known, initial=-np.inf))
    white = _white(image, low, peak)
    values = np.nan_to_num(values, nan=0, posinf=white, neginf=0)
    grey = Image.fromarray(np.clip(np.round(values * (255 / white)), 0, 255).astype(np.uint8))
    # Pillow inverts TIFF's WhiteIsZero only at 8 bits.
    return ImageOps.invert(grey) if _tiff_tag(image, 262) == 0 else grey


def _white(image: Image.Image, low: float, peak: float) -> float:
    """The value of white in an image of floats, or of integers of more than 8 bits, with values in `low`..`peak`.

    Stated by the file or its format. Otherwise floats are taken as 0 to 1 or 0 to 255, and 16-bit values as 16 or 12 bits,
    whichever puts the brightest pixel above a quarter of white.
    """
    if declared := _declared_white(image):
        possible = [(declared, 0.0)]
    elif image.mode == "F":
        possible = [(1, 0), (255, 64)]
    else:  # 32-bit or signed: there is no convention for white
        possible = [] if image.mode == "I" else [(white, white / 4) for white in (4095, 65535)]
    over = 0.1 if image.mode == "F" else 0  # sharpening and resizing push floats slightly beyond black and white
    for white, least in possible:
        if least <= peak <= (1 + over) * white and low >= -over * white:
            return white
    kind = {"F": "floats", "I": "32-bit or signed values"}.get(image.mode, "16-bit values")
    raise ValueError(f"{kind} from {low:g} to {peak:g} with an unknown white level; {_SAVE}")


def _declared_white(image: Image.Image) -> float | None:
    if image.format == "PPM" and image.mode == "I":
        return 65535  # Pillow has scaled them from the header's maximum
    bits = _tiff_tag(image, 258)
    if bits and 8 < bits < 16:
        return 2**bits - 1
    # MaxSampleValue or SMaxSampleValue. Some programs write the image's maximum instead: take the range around it.
    largest = _tiff_tag(image, 281) or _tiff_tag(image, 341) or 0
    return next((white for white in (1, 255, 1023, 4095, 16383, 65535) if 0 < largest <= white), None)


def _tiff_tag(image: Image.Image, tag: int) -> float | None:
    """The first value of a TIFF tag; None if the file lacks it."""
    values = np.ravel(getattr(image, "tag_v2", {}).get(tag, ()))
    return values[0].item() if values.size and values.dtype.kind in "iuf" else None
