"""What covers eyes and brow, drawn on training images: bars, bands such as of hats, sunglasses, frames of glasses.

Random rectangles hide anything (`augment.draw_rectangles`); these hide what people hide.
"""

from typing import Any

import numpy as np

from lfwstudy.data.images import SOURCE_SIDE

# Where the aligned images of LFW (deep-funneled) have the eyes, in pixels of the source: as their mean image shows.
EYES_X, EYES_Y, BETWEEN_EYES = 124.5, 112.0, 41.0
BAR, BAND, SUNGLASSES, FRAMES = KINDS = range(4)


def draw_covers(rng: np.random.Generator, count: int, crop: int, side: int, probability: float) -> np.ndarray:
    """Covers of images, of a random kind with `probability`: float32 (count, 2, 9), for `cover`.

    Two boxes each, one at each eye or twice the same: outer left, top, right and bottom in pixels, those of the hole in it,
    and its grey.
    """
    unit, corner = BETWEEN_EYES * side / crop, (SOURCE_SIDE - crop) / 2
    kind = rng.integers(len(KINDS), size=(count, 1))

    def drawn(bar: Any, band: Any, glasses: Any) -> np.ndarray:
        """Numbers from the range of each image's kind, the same for both of its boxes."""
        low, high = np.array([bar, band, glasses, glasses], float)[kind].swapaxes(0, 2)
        return rng.uniform(low.T, high.T) * unit

    half_width, half_height = drawn((0.9, 1.3), (3, 3), (0.38, 0.5)), drawn((0.15, 0.35), (0.2, 0.45), (0.22, 0.38))
    aside = np.where(kind >= SUNGLASSES, np.array([-0.5, 0.5]) * unit, 0)
    x = (EYES_X - corner) * side / crop + aside + drawn(*[(-0.05, 0.05)] * 3)
    y = (EYES_Y - corner) * side / crop + aside * 0 + drawn((-0.08, 0.08), (-1.3, -0.6), (-0.08, 0.08))
    rim = np.where(kind == FRAMES, drawn(*[(0.05, 0.12)] * 3), 10 * unit)  # more than a box has: no hole
    boxes = [
        edge
        for inset in (0, rim)
        for edge in (x - half_width + inset, y - half_height + inset, x + half_width - inset, y + half_height - inset)
    ]
    covers = np.stack([*boxes, np.broadcast_to(rng.uniform(0, 0.35, (count, 1)), (count, 2))], axis=-1)
    return np.where(rng.random((count, 1, 1)) < probability, covers, 0.0).astype(np.float32)


def cover(images: Any, covers: Any) -> Any:
    """Draw covers on images inside the compiled step.

    Parameters
    ----------
    images : float32, shape (n, side, side, 1)
    covers : float32, shape (n, 2, 9)
        As from `draw_covers`.
    """
    from lfwstudy.network.operations import ops
    from lfwstudy.training.augment import inside

    for box in (0, 1):
        hole = inside(images, covers[:, box, 4:8])
        solid = ops.logical_and(inside(images, covers[:, box, :4]), ops.logical_not(hole))
        images = ops.where(solid, ops.reshape(covers[:, box, 8], (-1, 1, 1, 1)), images)
    return images
