"""The tower in training, in forms that may suit a GPU better than the layers' own: the same values up to rounding.

Shapes: n images, c channels, f filters.
"""

from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp

from lfwstudy.network import layers
from lfwstudy.network.operations import Tensor, operations
from tools.candidates import Candidates

Part = Callable[[Tensor], Tensor]
# Matrix units of Hopper GPUs need rows of a multiple of 16 bytes: eight bfloat16 values.
ALIGNED = 8


def parts(tower: keras.Model, candidates: Candidates) -> list[Part]:
    """The tower as functions to be applied in turn, from images (n, side, side, 1) to embeddings (n, d)."""
    found: list[Part] = []
    rest = tower.layers[1:]
    while rest:
        taken, part = _next(rest, first=not found, candidates=candidates)
        found.append(part)
        rest = rest[taken:]
    return found


def pooled_product(images: Tensor, kernel: Tensor) -> Tensor:
    """A convolution of one channel, unpadded, and the 2x2 pixels of each pooling as an axis of their own.

    A product of matrices: the rows are the pieces of an image that a pooled pixel sees, one pixel larger than the kernel;
    the columns are the kernel at its four places in the piece. Of one channel, a convolution would leave matrix units
    idle; with four times the columns and a quarter of the rows, pieces take little memory.

    Parameters
    ----------
    images : shape (n, side, side, 1)
    kernel : the images' dtype, shape (size, size, 1, f)

    Returns
    -------
    shape (n, out, out, 2, 2, f), out = (side - size + 1) // 2
    """
    size, filters = kernel.shape[0], kernel.shape[-1]
    out = (images.shape[1] - size + 1) // 2
    places = [jnp.pad(kernel, [(i, 1 - i), (j, 1 - j), (0, 0), (0, 0)]) for i in (0, 1) for j in (0, 1)]
    product = piece_product(images, jnp.concatenate(places, axis=3), 2, out)
    return product.reshape(-1, out, out, 2, 2, filters)


def piece_product(images: Tensor, kernel: Tensor, stride: int, out: int) -> Tensor:
    """An unpadded convolution of one channel as a product of matrices.

    Parameters
    ----------
    images : shape (n, side, side, 1)
    kernel : the images' dtype, shape (size, size, 1, f)
    stride : pixels
    out : side of the result

    Returns
    -------
    shape (n, out, out, f)
    """
    size, filters, reach = kernel.shape[0], kernel.shape[-1], (out - 1) * stride + 1
    rows = jnp.concatenate([images[:, at : at + reach : stride] for at in range(size)], axis=3)
    pieces = jnp.concatenate([rows[:, :, at : at + reach : stride] for at in range(size)], axis=3)
    missing = -(size * size) % ALIGNED
    pieces = jnp.pad(pieces, [(0, 0)] * 3 + [(0, missing)])
    matrix = kernel[:, :, 0].transpose(1, 0, 2).reshape(size * size, filters)  # pieces run down their columns
    return pieces @ jnp.pad(matrix, [(0, missing), (0, 0)])


def four(x: Tensor, axes: tuple[int, int]) -> list[Tensor]:
    """The four parts of an array along two axes of length 2, without these axes, in the order of their indices."""

    def at(index: int, axis: int, x: Tensor) -> Tensor:
        return jax.lax.index_in_dim(x, index, axis, keepdims=False)

    return [at(i, axes[0], at(j, axes[1], x)) for i in (0, 1) for j in (0, 1)]


def larger(x: Tensor, axes: tuple[int, int]) -> Tensor:
    """The largest of the four values along two axes of length 2; the first of equal ones gets the gradient."""
    a, b, c, d = four(x, axes)

    def of(a: Tensor, b: Tensor) -> Tensor:
        return jnp.where(a >= b, a, b)

    return of(of(a, b), of(c, d))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def largest(x: Tensor, axes: tuple[int, int]) -> Tensor:
    """`larger` whose gradient reads a byte for each result, its place among the four, and writes each value once."""
    return larger(x, axes)


def _largest_forward(x: Tensor, axes: tuple[int, int]) -> tuple[Tensor, Tensor]:
    best, *others = four(x, axes)
    place = jnp.zeros(best.shape, jnp.int8)
    for number, other in enumerate(others, start=1):
        kept = best >= other
        best, place = jnp.where(kept, best, other), jnp.where(kept, place, jnp.int8(number))
    return best, place


def _largest_backward(axes: tuple[int, int], place: Tensor, upstream: Tensor) -> tuple[Tensor]:
    along = [2 if axis in axes else 1 for axis in range(place.ndim + 2)]
    numbers = np.arange(4, dtype=np.int8).reshape(along)
    mine = jnp.expand_dims(place, axes) == numbers
    return (jnp.where(mine, jnp.expand_dims(upstream, axes), jnp.zeros((), upstream.dtype)),)


largest.defvjp(_largest_forward, _largest_backward)


@jax.custom_vjp
def dense_product(x: Tensor, kernel: Tensor) -> Tensor:
    """The product of float32 matrices (n, k) and (k, m); the kernel's gradient is computed and kept in bfloat16, as those
    of the convolutions are, half the bytes."""
    return x @ kernel


def _dense_forward(x: Tensor, kernel: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    return x @ kernel, (x, kernel)


def _dense_backward(kept: tuple[Tensor, Tensor], upstream: Tensor) -> tuple[Tensor, Tensor]:
    x, kernel = kept
    to_kernel = x.astype(jnp.bfloat16).T @ upstream.astype(jnp.bfloat16)
    # Otherwise the compiler moves the conversion into the product, which then writes float32.
    return upstream @ kernel.T, jax.lax.optimization_barrier(to_kernel).astype(kernel.dtype)


dense_product.defvjp(_dense_forward, _dense_backward)


@jax.custom_vjp
def direct_convolution(x: Tensor, kernel: Tensor) -> Tensor:
    """An unpadded convolution of stride 1, (n, side, side, c) with (size, size, c, f), whose gradient for x is a
    convolution of its own instead of a transposed one, for which GPU libraries have fewer and slower programs."""
    return _convolved(x, kernel, "VALID")


def _convolved(x: Tensor, kernel: Tensor, padding: Any) -> Tensor:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _direct_forward(x: Tensor, kernel: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    return _convolved(x, kernel, "VALID"), (x, kernel)


def _direct_backward(kept: tuple[Tensor, Tensor], upstream: Tensor) -> tuple[Tensor, Tensor]:
    x, kernel = kept
    around = kernel.shape[0] - 1
    # Behind the barrier XLA does not see that this is a reversed kernel, and makes no transposed convolution of it.
    reversed_kernel = jax.lax.optimization_barrier(jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
    to_x = _convolved(upstream, reversed_kernel, [(around, around)] * 2)
    (to_kernel,) = jax.linear_transpose(lambda kernel: _convolved(x, kernel, "VALID"), kernel)(upstream)
    return to_x, to_kernel


direct_convolution.defvjp(_direct_forward, _direct_backward)


def _next(rest: Sequence[keras.layers.Layer], first: bool, candidates: Candidates) -> tuple[int, Part]:
    """How many of the next layers are computed by a function, and this function."""
    layer = rest[0]
    if isinstance(layer, layers.Convolution):
        if _is_block(rest) and (candidates.pool_first or (candidates.pieces and _fits_pieces(rest, first))):
            return 3, lambda x: _block(rest[:3], x, first, candidates)
        return 1, lambda x: _with_bias(layer, _convolve(layer, x, first, candidates))
    if isinstance(layer, layers.Pooling):
        return 1, lambda x: _pool(layer, x, candidates)
    if candidates.dense_gradient and type(layer) is layers.Dense:
        return 1, lambda x: layer.activation(dense_product(x, layer.kernel.value) + layer.bias.value)
    trains = "training" in signature(layer.call).parameters
    return 1, partial(layer, training=True) if trains else layer


def _is_block(rest: Sequence[keras.layers.Layer]) -> bool:
    return [type(layer) for layer in rest[1:3]] == [keras.layers.ReLU, layers.Pooling]


def _fits_pieces(rest: Sequence[keras.layers.Layer], first: bool) -> bool:
    """Whether a block is `pooled_product`'s: pooling of separate pixels after an unpadded convolution of one channel."""
    convolution, _, pooling = rest[:3]
    return first and _is_plain(convolution) and tuple(pooling.strides) == (2, 2)


def _is_plain(convolution: keras.layers.Conv2D) -> bool:
    return convolution.padding == "valid" and set(convolution.strides) | set(convolution.dilation_rate) == {1}


def _block(layers: Sequence[keras.layers.Layer], x: Tensor, first: bool, candidates: Candidates) -> Tensor:
    """A convolution, pooling, and only then bias and ReLU: these are monotonic, so the values are the same, with a quarter
    of the work."""
    convolution, relu, pooling = layers
    if candidates.pieces and _fits_pieces(layers, first):
        product = pooled_product(*_cast(convolution, x))
        pooled = (largest if candidates.pool_gradient else larger)(product, (3, 4))
    else:
        pooled = _pool(pooling, _convolve(convolution, x, first, candidates), candidates)
    return relu(_with_bias(convolution, pooled))


def _convolve(convolution: keras.layers.Conv2D, x: Tensor, first: bool, candidates: Candidates) -> Tensor:
    """A layer's convolution without its bias."""
    x, kernel = _cast(convolution, x)
    if first and candidates.pieces:
        size, stride = kernel.shape[0], convolution.strides[0]
        out = convolution.output.shape[1]
        if convolution.padding == "same":
            missing = max((out - 1) * stride + size - x.shape[1], 0)
            before = missing // 2
            x = jnp.pad(x, [(0, 0), (before, missing - before), (before, missing - before), (0, 0)])
        return piece_product(x, kernel, stride, out)
    if candidates.direct_gradient and not first and _is_plain(convolution):
        return direct_convolution(x, kernel)
    return convolution.convolution_op(x, kernel)


def _cast(convolution: keras.layers.Conv2D, x: Tensor) -> tuple[Tensor, Tensor]:
    return x.astype(convolution.compute_dtype), convolution.kernel.value.astype(convolution.compute_dtype)


def _with_bias(convolution: keras.layers.Conv2D, x: Tensor) -> Tensor:
    return x + convolution.bias.value.astype(x.dtype) if convolution.use_bias else x


def _pool(pooling: keras.layers.Layer, x: Tensor, candidates: Candidates) -> Tensor:
    """A pooling over 2x2 pixels, of (n, height, width, c)."""
    if not candidates.pool_gradient or tuple(pooling.strides) != (2, 2):
        return operations().max_pool(x, pooling.strides)
    n, height, width, channels = x.shape
    height, width = height // 2, width // 2
    return largest(x[:, : 2 * height, : 2 * width].reshape(n, height, 2, width, 2, channels), (2, 4))
