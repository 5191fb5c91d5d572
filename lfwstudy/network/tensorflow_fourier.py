"""Convolution by Fourier transform, for `tensorflow_ops`, which decides when it pays."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lfwstudy.network.operations import Tensor

# In the full network's first block: 75 MB in float32 instead of 302 for a batch of 64 pairs; fewer save no more.
IMAGES_AT_ONCE = 32


def fourier_savings(images: Sequence[Any], kernel: Sequence[Any]) -> float:
    """The factor by which `fourier_convolution` needs fewer multiply-adds than direct convolution, from shapes."""
    (_, side, _, channels), (size, _, _, filters) = images, kernel
    half, out = len(_half(side)), side - size + 1
    real, between = (2 * half * sides * sides for sides in (side, out))
    transforms = channels * (real + 4 * half * side * side) + filters * (between + 4 * half * side * out)
    return out * out * size * size * channels * filters / (transforms + 4 * half * side * channels * filters)


def fourier_convolution(images: Tensor, kernel: Tensor) -> Tensor:
    """A convolution without padding as a product of spectra (Mathieu et al. 2014); equals tf.nn.conv2d up to rounding.

    The transforms are matrix products, exact for every side. Real and imaginary parts are kept side by side, because
    products of many small complex matrices use several cores poorly. A few images are processed at a time: a full batch
    would need as much memory as a step.

    Parameters
    ----------
    images : float32, shape (n, side, side, channels)
    kernel : float32, shape (k, k, channels, filters)
    """
    side, size = images.shape[1], kernel.shape[0]
    out = side - size + 1
    spectrum_of, kernel_of = _kernel_transforms(kernel.shape, side)

    @tf.custom_gradient
    def computed(images: Tensor, kernel: Tensor) -> tuple[Tensor, Callable]:
        def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
            kernels = spectrum_of(kernel)

            def add(some: slice, written: tf.TensorArray, total: Tensor) -> tuple[tf.TensorArray, Tensor]:
                wanted, turned = (_spectrum(upstream[some], side, factor) for factor in (1, -1j))
                back = [tf.matmul(wanted, part, transpose_b=True) for part in kernels]
                written = written.write(written.size(), _images(back, -1j, side, side))
                seen = _spectrum(images[some], side)
                return written, total + kernel_of(
                    *(tf.matmul(seen, part, transpose_a=True) for part in (wanted, turned))
                )

            written, total = in_turn(images, add, room_for(tf.float32, images.shape), tf.zeros_like(kernel))
            return written.concat(), total

        kernels = spectrum_of(kernel)

        def write(some: slice, written: tf.TensorArray) -> list[tf.TensorArray]:
            seen = _spectrum(images[some], side)
            return [written.write(written.size(), _images([tf.matmul(seen, part) for part in kernels], 1j, side, out))]

        (written,) = in_turn(images, write, room_for(tf.float32, (None, out, out, kernel.shape[3])))
        return written.concat(), gradient

    return computed(images, tf.convert_to_tensor(kernel))


def in_turn(images: Tensor, do: Callable, *state: Any) -> Sequence[Any]:
    """Apply `do` to slice after slice of images, passing on its state; returns the last state."""

    def step(start: Tensor, *state: Any) -> tuple:
        return start + IMAGES_AT_ONCE, *do(slice(start, start + IMAGES_AT_ONCE), *state)

    return tf.while_loop(lambda start, *_: start < tf.shape(images)[0], step, (0, *state), parallel_iterations=1)[1:]


def room_for(kind: Any, shape: Sequence[int | None]) -> tf.TensorArray:
    """An array of slices of values of a shape (n, ...)."""
    return tf.TensorArray(kind, size=0, dynamic_size=True, infer_shape=False, element_shape=(None, *shape[1:]))


def _kernel_transforms(shape: Sequence[int], length: int) -> tuple[Callable, Callable]:
    """From a kernel of a shape (k, k, channels, filters) to its spectrum at `length` frequencies, and the adjoint."""
    size = shape[0]
    # Frequencies (down, across) of a kernel's pixels; conjugated, because networks' convolutions are correlations.
    down, across = (
        _waves(frequencies, np.arange(size), length).conj() for frequencies in (_half(length), np.arange(length))
    )
    waves = (down[:, None, :, None] * across[None, :, None, :]).reshape(-1, size * size)

    def spectrum_of(kernel: Tensor) -> list[Tensor]:
        """Real and imaginary part, each (half * length, channels, filters)."""
        flat = tf.reshape(kernel, (size * size, -1))
        return [tf.reshape(_float32(part) @ flat, (-1, *shape[2:])) for part in (waves.real, waves.imag)]

    def kernel_of(*spectrum: Tensor) -> Tensor:
        """The adjoint, with the mirrored half of the spectrum."""
        back = (waves * np.repeat(_counts(length), length)[:, None]).T
        flat = [tf.reshape(part, (len(waves), -1)) for part in spectrum]
        return tf.reshape(_float32(back.real) @ flat[0] + _float32(back.imag) @ flat[1], shape)

    return spectrum_of, kernel_of


def _spectrum(images: Tensor, length: int, factor: complex = 1) -> Tensor:
    """`factor` times the spectrum of images (n, side, side, c) padded with zeros to `length`: float32
    (half * length, 2 * n, c), frequencies down and across, real parts before imaginary ones."""
    _, side, _, channels = images.shape
    rows = tf.reshape(tf.transpose(images, (1, 2, 0, 3)), (side, -1))
    down = _waves(_half(length), np.arange(side), length)
    rows = tf.reshape(_float32(np.stack([down.real, down.imag], 1).reshape(-1, side)) @ rows, (len(down), 2 * side, -1))
    across = _on_parts(factor * _waves(np.arange(length), np.arange(side), length)).transpose(0, 1, 3, 2)
    return tf.reshape(_float32(across.reshape(2 * length, -1)) @ rows, (len(down) * length, -1, channels))


def _images(parts: Sequence[Tensor], factor: complex, length: int, side: int) -> Tensor:
    """The images whose spectrum is the first part + `factor` * the second, both as `_spectrum` has them: their first `side` by
    `side` pixels, float32 (n, side, side, c)."""
    channels, half = parts[0].shape[2], len(_half(length))
    back = _waves(np.arange(side), np.arange(length), length).conj()
    rows = [
        _float32(_on_parts(by * back).transpose(1, 0, 2, 3).reshape(2 * side, -1))
        @ tf.reshape(part, (half, 2 * length, -1))
        for by, part in zip((1, factor), parts)
    ]
    down = _waves(np.arange(side), _half(length), length).conj() * _counts(length)
    down = np.stack([down.real, -down.imag], 2).reshape(side, -1)
    pixels = _float32(down) @ tf.reshape(rows[0] + rows[1], (2 * half, -1))
    return tf.transpose(tf.reshape(pixels, (side, side, -1, channels)), (2, 0, 1, 3))


def _half(length: int) -> np.ndarray:
    """The independent frequencies of a real image's spectrum: the others mirror them."""
    return np.arange(length // 2 + 1)


def _counts(length: int) -> np.ndarray:
    """Their weights in the inverse transform of a square, including mirrored ones."""
    half = _half(length)
    return np.where((half == 0) | (2 * half == length), 1, 2) / length**2


def _waves(rows: np.ndarray, columns: np.ndarray, length: int) -> np.ndarray:
    """The matrix of the discrete Fourier transform: complex128 (rows, columns)."""
    return np.exp(-2j * np.pi * np.outer(rows, columns) / length)


def _on_parts(matrix: np.ndarray) -> np.ndarray:
    """A complex matrix (a, b) as a real one from real and imaginary parts to real and imaginary parts: (a, 2, b, 2)."""
    return np.stack([np.stack([matrix.real, -matrix.imag], -1), np.stack([matrix.imag, matrix.real], -1)], 1)


def _float32(matrix: np.ndarray) -> Tensor:
    return tf.constant(matrix, tf.float32)
