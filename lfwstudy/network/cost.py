"""Arithmetic, parameters and memory of a network: by formula, or layer by layer of a built one."""

import time
from typing import Any

import numpy as np

from lfwstudy.config import ModelConfig
from lfwstudy.network.architecture import BLOCKS, EMBEDDINGS, cohort_size, convolutions, scaled


def tower_cost(config: ModelConfig, side: int) -> tuple[int, int]:
    """Cost of a network without building it (the largest takes 1.2 GB).

    Returns
    -------
    multiply_adds : int
        Of the tower, for one image of `side` pixels.
    parameters : int
        Of the siamese network, including untrained ones, without a cohort of all images.
    """
    small = config.architecture in BLOCKS
    multiply_adds = parameters = filters = out = 0
    for channels, filters, kernel, out, norms in convolutions(config, side):
        weights = kernel * kernel * channels * filters
        multiply_adds += out * out * weights
        parameters += weights + (0 if small else filters) + norms * 4 * filters  # batch normalisation replaces the bias
    features = filters if small else out * out * filters  # the small networks pass on a mean over the image
    parameters += small and config.pooling == "generalised-mean"  # its power
    units = scaled(EMBEDDINGS[config.architecture], config.width)
    # A weight per component and a bias; or one for the cosine, a bias, two for the calibration, and the cohort.
    head = units + 1 if config.head == "distance" else 4 + cohort_size(config) * units
    return multiply_adds + features * units, parameters + features * units + units + head


def training_memory(config: ModelConfig, side: int, batch_size: int, images: int = 0) -> int:
    """Bytes to reserve for a training process: an upper estimate, checked against measured peaks in a test.

    It counts 16 bytes per parameter (weight, gradient, Adam's two moments), each layer's output and its gradient for
    `batch_size` pairs, the bank of `images` images, and 1 GiB for the libraries.
    """
    layers = list(convolutions(config, side))
    values = sum(layer.side**2 * layer.filters for layer in layers)
    # Convolution, activation and pooling each keep about one such tensor, batch normalisation three more.
    tensors = 7 if any(layer.norms for layer in layers) else 4
    activations = 2 * batch_size * values * 4 * tensors
    return 2**30 + 16 * tower_cost(config, side)[1] + activations + images * side * side


def least_memory(config: ModelConfig, side: int, batch_size: int) -> int:
    """Bytes below which training is certain to fail in a process that has loaded its libraries.

    It counts 16 bytes per parameter, and each convolution's output and its gradient once, at two bytes per value; without
    the first two convolutions if they may be computed a few images at a time (`tensorflow_ops`).
    """
    in_slices = config.architecture == "koch" and config.batchnorm == "none"
    values = sum(layer.side**2 * layer.filters for layer in list(convolutions(config, side))[2 * in_slices :])
    return 16 * tower_cost(config, side)[1] + 2 * batch_size * values * 2 * 2


def layer_table(model: Any, batch_size: int = 64) -> list[dict[str, Any]]:
    """One row per layer of a built siamese network's tower and head.

    Keys: layer, output (shape for one image), parameters, multiply_adds (per image; per pair in the head), activations_mb
    (MiB of outputs kept for a training batch of `batch_size` pairs, in float32), state_mb (MiB of parameters with gradient
    and Adam's two moments, in float32).
    """
    rows = []
    for part, images in (("tower", 2), ("head", 1)):
        for layer in model.get_layer(part).layers:
            if layer.__class__.__name__ == "InputLayer":
                continue
            shape = tuple(layer.output.shape[1:])
            trainable = sum(int(np.prod(w.shape)) for w in layer.trainable_weights)
            rows.append(
                {
                    "layer": f"{part}/{layer.name}",
                    "output": "x".join(map(str, shape)),
                    "parameters": layer.count_params(),
                    "multiply_adds": _multiply_adds(layer),
                    "activations_mb": batch_size * images * int(np.prod(shape)) * 4 / 2**20,
                    "state_mb": (3 * trainable + layer.count_params()) * 4 / 2**20,
                }
            )
    return rows


def matrix_product_gflops(dtype: str, size: int = 2048, queued: int = 1) -> float:
    """Best of eight square matrix products in a precision, in GFLOP/s.

    `queued` of them are requested in a row, so that a GPU does not wait for this process in between.
    """
    from lfwstudy.network.operations import ops

    a = ops.cast(np.random.default_rng(0).standard_normal((size, size)) / np.sqrt(size), dtype)

    def products() -> None:
        product = a
        for _ in range(queued):
            product = ops.matmul(a, product)
        np.asarray(ops.cast(product[0, 0], "float32"))  # waits for the device

    products()
    seconds: list[float] = []
    for _ in range(8):
        began = time.perf_counter()
        products()
        seconds.append((time.perf_counter() - began) / queued)
        if sum(seconds) > 4:  # a precision that is only emulated
            break
    return 2 * size**3 / min(seconds) / 1e9


def _multiply_adds(layer: Any) -> int:
    """Of a convolution or dense layer: its kernel, once per position of the output."""
    kernel = getattr(layer, "kernel", None)
    return 0 if kernel is None else int(np.prod(layer.output.shape[1:-1]) * np.prod(kernel.shape))
