"""How does a file become an image of the study? Decoded, grey, cropped and resized."""

import io
import warnings
from functools import cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lfwstudy.data.filetypes import not_an_image
from lfwstudy.errors import DataError, one_line

SOURCE_SIDE = 250


# What a picture may be saved as; Pillow tells the suffixes of each.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF")


_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


_SAVE = "save it with 8 bits per channel"


@cache
def suffixes() -> frozenset[str]:
    """Suffixes, in lower case, of the files that `decode` reads."""
    return frozenset(suffix for suffix, format in Image.registered_extensions().items() if format in FORMATS)


def decode(content, name, crop, side, filter, source_side=SOURCE_SIDE):
    """One picture file (bytes) as a uint8 array of shape (side, side): grey, central crop, resized.

    Grey is the luma of ITU-R BT.601, as Pillow has it. Raises DataError for what is no picture of
    `source_side` pixels a side.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            if image.size != (source_side, source_side):
                raise DataError(
                    f"picture {name}: {image.size[0]}x{image.size[1]} pixels, {source_side}x{source_side} expected"
                )
            if image.format == "JPEG":
                # The luma plane alone: the same grey for a quarter less work.
                image.draft("L", image.size)
            grey = to_grey(image)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        told = one_line(error)[:200]
        if isinstance(error, UnidentifiedImageError):
            told = f"no picture: {not_an_image(content)}" if not_an_image(content) else "no picture"
        what = "empty file" if not content else f"not a readable picture ({told})"
        raise DataError(f"picture {name}: {what}") from error
    return frame(grey, crop, side, filter)


def to_grey(image: Image.Image) -> Image.Image:
    """A Pillow image, not loaded yet, as 8-bit grey; transparency is laid on mid-grey.

    Deeper values are scaled by their range (`_white`), never by their own maximum. Raises ValueError where it is unknown.
    """
    sixteen_bit_colour = ";16" in str(image.tile)  # Pillow keeps the upper half of each value
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _deep_to_grey(image)
    if sixteen_bit_colour and (peak := max(high for _, high in image.convert("RGB").getextrema())) < 64:
        raise ValueError(
            f"16-bit colours up to {256 * peak + 255} of 65535: too dark, or their range is another; {_SAVE}"
        )
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (128, 128, 128, 255)), layer).convert("L")
    return image.convert("L")


def _deep_to_grey(image):
    values = np.asarray(image, np.float32)
    known = np.isfinite(values)
    if not known.any():
        raise ValueError("none of its values is a number")
    low, peak = float(values.min(where=known, initial=np.inf)), float(values.max(where=known, initial=-np.inf))
    white = _white(image, low, peak)
    values = np.nan_to_num(values, nan=0, posinf=white, neginf=0)
    grey = Image.fromarray(np.clip(np.round(values * (255 / white)), 0, 255).astype(np.uint8))
    # Pillow inverts what TIFF calls WhiteIsZero at 8 bits only.
    return ImageOps.invert(grey) if _tiff_tag(image, 262) == 0 else grey


def _white(image, low, peak):
    """The value that is white in an image of integers of more than 8 bits or of floats whose values lie in `low`..`peak`.

    The file tells, or its format. Else floats are 0 to 1 or 0 to 255, and 16-bit values have 16 bits or 12, whichever makes
    a photo of it: one whose brightest pixel reaches a quarter of white.
    """
    over = 1.1 if image.mode == "F" else 1  # sharpening and resizing leave floats a little beyond black and white
    declared = _declared_white(image)
    if declared:
        found = [white for white in (declared,) if peak <= over * white]
    elif image.mode == "F":
        found = [white for white, least in ((1, 0), (255, 64)) if least <= peak <= over * white]
    elif image.mode == "I":
        found = []  # of 32 bits or signed: no convention says what is white
    else:
        found = [white for white in (4095, 65535) if white / 4 <= peak <= white]
    if not found or low < (1 - over) * found[0]:
        kind = {"F": "floats", "I": "32-bit or signed values"}.get(image.mode, "16-bit values")
        raise ValueError(f"{kind} from {low:g} to {peak:g}, of which it is unknown what is white; {_SAVE}")
    return found[0]


def _declared_white(image):
    if image.format == "PPM" and image.mode == "I":
        return 65535  # Pillow has scaled them from the maximum that the header names
    bits = _tiff_tag(image, 258)
    if bits and 8 < bits < 16:
        return 2**bits - 1
    # MaxSampleValue or SMaxSampleValue. Some programs write the largest value there is instead: the range around it.
    largest = _tiff_tag(image, 281) or _tiff_tag(image, 341) or 0
    return next((white for white in (1, 255, 1023, 4095, 16383, 65535) if 0 < largest <= white), None)


def _tiff_tag(image, tag):
    """A TIFF file's tag, the first of its values; None where there is none."""
    values = np.ravel(getattr(image, "tag_v2", {}).get(tag, ()))
    return values[0].item() if values.size and values.dtype.kind in "iuf" else None


def frame(grey, crop, side, filter):
    """Central square of `crop` pixels of a grey Pillow image, resized to `side`: uint8 array (side, side)."""
    left, top = (grey.width - crop) // 2, (grey.height - crop) // 2
    box = (left, top, left + crop, top + crop)
    return np.asarray(grey.resize((side, side), _FILTERS[filter], box=box), np.uint8)
