"""Small images as files."""

import io
from typing import Any

import numpy as np
from PIL import Image

from lfwstudy.data.drawn_faces import draw_face

FACE = Image.fromarray(draw_face([1], [2]))

# Grey levels 0 to 249 from left to right.
RAMP = np.tile(np.arange(250, dtype=np.uint8), (250, 1))


def saved(image: Image.Image = FACE, format: str = "JPEG", **options: Any) -> bytes:
    """A Pillow image as the content of a file."""
    content = io.BytesIO()
    image.save(content, format, **options)
    return content.getvalue()


def png(values: np.ndarray) -> bytes:
    """An array as the content of a PNG file."""
    return saved(Image.fromarray(values), "PNG")
