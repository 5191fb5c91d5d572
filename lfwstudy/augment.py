"""How is a training picture varied? Offline copies whose parameters are a function of (seed, pair, side, copy)."""

import numpy as np

# Columns of the parameters of a varied picture: six of an affine map and a brightness factor.
PARAMETERS = 7
IDENTITY = np.array([1, 0, 0, 0, 1, 0, 1], np.float32)


def draw_copies(seed, pairs, copies, side, zoom, brightness, shear):
    """Parameters of the offline copies of `pairs` training pairs, the same in every epoch.

    zoom: range of factors, drawn for both axes independently as Keras' ImageDataGenerator does (below 1 the face
    gets larger); brightness: range of factors; shear: largest angle in degrees, either way. No shift, no flip.
    Returns float32 of shape (pairs, copies + 1, 2, PARAMETERS): copy 0 is the original, the third axis is
    left and right.
    """
    parameters = np.tile(IDENTITY, (pairs, copies + 1, 2, 1))
    for pair in range(pairs):
        rng = np.random.default_rng([seed, 10, pair])
        shape = (copies, 2)
        parameters[pair, 1:] = affine_parameters(
            side, rng.uniform(*zoom, shape), rng.uniform(*zoom, shape),
            np.deg2rad(rng.uniform(-shear, shear, shape)), rng.uniform(*brightness, shape))
    return parameters


def affine_parameters(side, zoom_x, zoom_y, shear, brightness):
    """Parameters of a zoom and shear about the centre: float32 of shape (..., PARAMETERS).

    Output pixel (x, y) shows source pixel (a x + b y + c, d x + e y + f), in pixels from the top left one.
    Shear, in radians, is Keras' ImageDataGenerator's: [[1, -sin s], [0, cos s]].
    """
    zoom_x, zoom_y, shear, brightness = np.broadcast_arrays(zoom_x, zoom_y, shear, brightness)
    a, b = zoom_x, -np.sin(shear) * zoom_y
    d, e = np.zeros_like(zoom_x), np.cos(shear) * zoom_y
    centre = (side - 1) / 2
    c, f = centre - (a + b) * centre, centre - (d + e) * centre
    return np.stack([a, b, c, d, e, f, brightness], axis=-1).astype(np.float32)


def vary(images, parameters):
    """Warp and brighten pictures inside the compiled step.

    images: float32 (n, side, side, 1) in [0, 1]; parameters: float32 (n, PARAMETERS).
    Bilinear, edges filled with the nearest pixel, values clipped to [0, 1]. The identity leaves a picture as it is.
    """
    from keras import ops  # here, so that drawing parameters needs no Keras
    transform = ops.concatenate([parameters[:, :6], ops.zeros_like(parameters[:, :2])], axis=1)
    warped = ops.image.affine_transform(images, transform, interpolation="bilinear", fill_mode="nearest",
                                        data_format="channels_last")
    brightness = ops.reshape(parameters[:, 6], (-1, 1, 1, 1))
    return ops.clip(warped * brightness, 0.0, 1.0)


def clip_labels(label, epsilon, classes=2):
    """Soften hard labels: 0 becomes eps/k and 1 becomes 1 - ((k-1)/k) eps (the report, "Label clipping")."""
    return np.where(np.asarray(label) > 0.5, 1 - (classes - 1) / classes * np.asarray(epsilon),
                    np.asarray(epsilon) / classes)
