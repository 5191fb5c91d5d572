"""Augmentation of training images: offline copies, fixed over epochs, and online augmentation, drawn in every epoch.

The parameters of a copy are a function of (seed, pair, side, copy), those of online augmentation of (seed, epoch).
"""

from typing import Any

import numpy as np

from lfwstudy.config import TrainingConfig

# Parameters of an augmented image: six of an affine map and a brightness factor.
PARAMETERS = 7
IDENTITY = np.array([1, 0, 0, 0, 1, 0, 1], np.float32)


def draw_copies(
    seed: int,
    pairs: int,
    copies: int,
    side: int,
    zoom: tuple[float, float],
    brightness: tuple[float, float],
    shear: float,
) -> np.ndarray:
    """Parameters of the offline copies of `pairs` training pairs, the same in every epoch. No shift, no flip.

    Parameters
    ----------
    zoom : range of factors
        Drawn for both axes independently as Keras' ImageDataGenerator does; below 1 the face gets larger.
    brightness : range of factors
    shear : float
        Largest angle in degrees, either way.

    Returns
    -------
    float32, shape (pairs, copies + 1, 2, PARAMETERS)
        Copy 0 is the original; the third axis is left and right.
    """
    parameters = np.tile(IDENTITY, (pairs, copies + 1, 2, 1))
    for pair in range(pairs):
        rng = np.random.default_rng([seed, 10, pair])
        shape = (copies, 2)
        parameters[pair, 1:] = affine_parameters(
            side,
            rng.uniform(*zoom, shape),
            rng.uniform(*zoom, shape),
            np.deg2rad(rng.uniform(-shear, shear, shape)),
            rng.uniform(*brightness, shape),
        )
    return parameters


def draw_online(rng: np.random.Generator, count: int, side: int, training: TrainingConfig) -> np.ndarray:
    """Parameters of images augmented as `training` says: float32 (count, PARAMETERS).

    Mirrored, zoomed, rotated and shifted about the centre, in this order, and brightened.
    """
    scale = 1 + rng.uniform(-training.online_zoom, training.online_zoom, count)
    angle = np.deg2rad(rng.uniform(-training.rotation, training.rotation, count))
    mirror = np.where(rng.random(count) < 0.5, -1.0, 1.0) if training.flip else np.ones(count)
    shift = rng.uniform(-training.shift, training.shift, (2, count)) * side
    bright = 1 + rng.uniform(-training.online_brightness, training.online_brightness, count)
    a, b = mirror * scale * np.cos(angle), -mirror * scale * np.sin(angle)
    d, e = scale * np.sin(angle), scale * np.cos(angle)
    centre = (side - 1) / 2
    c, f = centre - (a + b) * centre + shift[0], centre - (d + e) * centre + shift[1]
    return np.stack([a, b, c, d, e, f, bright], axis=-1).astype(np.float32)


def draw_rectangles(rng: np.random.Generator, count: int, side: int, probability: float) -> np.ndarray:
    """Rectangles (left, top, right, bottom) in pixels to be blanked: float32 (count, 4), empty with 1 - probability.

    Area 0.02 to 0.25 of the image, sides' ratio 0.4 to 2.5 (random erasing, Zhong et al. 2020, section 3).
    """
    area, ratio = rng.uniform(0.02, 0.25, count), np.exp(rng.uniform(np.log(0.4), np.log(2.5), count))
    width, height = (np.minimum(side * np.sqrt(area * r), side) for r in (ratio, 1 / ratio))
    left, top = rng.uniform(0, side - width), rng.uniform(0, side - height)
    drawn = np.stack([left, top, left + width, top + height], axis=-1)
    return np.where(rng.random((count, 1)) < probability, drawn, 0.0).astype(np.float32)


def affine_parameters(side: int, zoom_x: Any, zoom_y: Any, shear: Any, brightness: Any) -> np.ndarray:
    """Parameters of zooms and shears about the centre, each given as an array or number: float32 of shape (..., PARAMETERS).

    Output pixel (x, y) shows source pixel (a x + b y + c, d x + e y + f), in pixels from the top left one.
    Shear, in radians, is Keras' ImageDataGenerator's: [[1, -sin s], [0, cos s]].
    """
    zoom_x, zoom_y, shear, brightness = np.broadcast_arrays(zoom_x, zoom_y, shear, brightness)
    a, b = zoom_x, -np.sin(shear) * zoom_y
    d, e = np.zeros_like(zoom_x), np.cos(shear) * zoom_y
    centre = (side - 1) / 2
    c, f = centre - (a + b) * centre, centre - (d + e) * centre
    return np.stack([a, b, c, d, e, f, brightness], axis=-1).astype(np.float32)


def vary(images: Any, parameters: Any, stretched: Any = None) -> Any:
    """Warp and brighten images inside the compiled step.

    Bilinear, edges filled with the nearest pixel, values clipped to [0, 1]. The identity leaves an image as it is.

    Parameters
    ----------
    images : float32, shape (n, side, side, 1), in [0, 1]
    parameters : float32, shape (n, PARAMETERS)
    stretched : bool, shape (n,)
        The images whose grey levels are stretched to [0, 1] before the brightness is changed, as Keras' ImageDataGenerator
        does.
    """
    from lfwstudy.network.operations import ops  # imported here, so that drawing parameters needs no Keras

    transform = ops.concatenate([parameters[:, :6], ops.zeros_like(parameters[:, :2])], axis=1)
    warped = ops.image.affine_transform(
        images, transform, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
    )
    if stretched is not None:
        low, high = (extreme(warped, axis=(1, 2, 3), keepdims=True) for extreme in (ops.min, ops.max))
        full = (warped - low) / ops.maximum(high - low, 1e-6)
        warped = ops.where(ops.reshape(stretched, (-1, 1, 1, 1)), full, warped)
    brightness = ops.reshape(parameters[:, 6], (-1, 1, 1, 1))
    return ops.clip(warped * brightness, 0.0, 1.0)


def examples(images: np.ndarray, training: TrainingConfig, count: int = 2) -> list[np.ndarray]:
    """Images augmented as `training` says: online if it does so, else as offline copies.

    Parameters
    ----------
    images : uint8, shape (n, side, side)

    Returns
    -------
    list of float32 arrays of shape (n, side, side), in [0, 1]
        `count` augmented versions of all images.
    """
    pixels, (n, side, _), rng = images[..., None].astype(np.float32) / 255, images.shape, np.random.default_rng(0)
    if training.varies_online():
        varied = [
            blank(vary(pixels, draw_online(rng, n, side, training)), draw_rectangles(rng, n, side, training.erase))
            for _ in range(count)
        ]
    else:
        copies = draw_copies(0, n, count, side, training.zoom, training.brightness, training.shear)
        stretched = np.ones(n, bool) if training.stretch_copies else None
        varied = [vary(pixels, copies[:, copy, 0], stretched) for copy in range(1, count + 1)]
    return [np.asarray(images)[..., 0] for images in varied]


def blank(images: Any, rectangles: Any) -> Any:
    """Blank a rectangle of each image with mid-grey inside the compiled step.

    Parameters
    ----------
    images : float32, shape (n, side, side, 1)
    rectangles : float32, shape (n, 4)
        As from `draw_rectangles`.
    """
    from lfwstudy.network.operations import ops

    return ops.where(inside(images, rectangles), 0.5, images)


def inside(images: Any, rectangles: Any) -> Any:
    """Which pixels of images (n, side, side, 1) are inside a rectangle (left, top, right, bottom) each: bool, same shape."""
    from lfwstudy.network.operations import ops

    along = ops.arange(images.shape[1], dtype="float32")[None, :]
    in_x = ops.logical_and(along >= rectangles[:, 0:1], along < rectangles[:, 2:3])
    in_y = ops.logical_and(along >= rectangles[:, 1:2], along < rectangles[:, 3:4])
    return ops.logical_and(in_y[:, :, None], in_x[:, None, :])[..., None]


def clip_labels(label: Any, epsilon: Any, classes: int = 2) -> np.ndarray:
    """Soften hard labels: 0 becomes eps/k and 1 becomes 1 - ((k-1)/k) eps (the report, "Label clipping")."""
    return np.where(
        np.asarray(label) > 0.5, 1 - (classes - 1) / classes * np.asarray(epsilon), np.asarray(epsilon) / classes
    )
