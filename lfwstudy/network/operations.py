"""Operations that differ between backends; Keras, imported as the study needs it."""

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, TypeVar

import numpy as np

from lfwstudy.system.backend import import_keras

import_keras()
import keras  # noqa: E402
from keras import ops  # noqa: E402

# An array or variable of the backend.
Tensor = Any
Built = TypeVar("Built")
# Images embedded at once after training.
EMBED_BATCH = 128


class Operations:
    """Operations of the network and its training, written with Keras.

    `tensorflow_ops` has TensorFlow's versions, `jax_ops` JAX's; the rest of the package is the same on every backend.
    """

    jit_compile = True
    """Whether training steps are compiled with XLA."""
    compiles_ahead = False
    """Whether `fit` compiles before the first epoch begins."""
    optimizers: ClassVar = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}

    def optimizer(self, name: str) -> type[keras.optimizers.Optimizer]:
        """The class of an optimizer."""
        return self.optimizers[name]

    def build(self, make: Callable[[], Built]) -> Built:
        """What `make` builds, something with `variables`; these get their initial values."""
        return make()

    def convolution(self, layer: keras.layers.Conv2D, inputs: Tensor, kernel: Tensor) -> Tensor:
        """The convolution of a layer: its `inputs` (n, height, width, channels) with its `kernel`, both float32."""
        return keras.layers.Conv2D.convolution_op(layer, inputs, kernel)

    def max_pool(self, images: Tensor, strides: tuple[int, int]) -> Tensor:
        """The largest of each 2x2 pixels, of (n, height, width, channels).

        XLA's gradient of a pooling is a scatter, which on a GPU adds in any order or, to be reproducible, one value at a
        time; so this is the largest of four shifted images. The first of equal values gets the gradient, as in a pooling.
        """
        ends = [(side - 2) // stride * stride + 1 for side, stride in zip(images.shape[1:3], strides)]

        def shifted(down: int, right: int) -> Tensor:
            return images[:, down : down + ends[0] : strides[0], right : right + ends[1] : strides[1]]

        def larger(a: Tensor, b: Tensor) -> Tensor:
            return ops.where(a >= b, a, b)

        return larger(larger(shifted(0, 0), shifted(0, 1)), larger(shifted(1, 0), shifted(1, 1)))

    def batch_norm(
        self, x: Tensor, scale: Tensor, offset: Tensor, epsilon: float, statistics: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Batch normalisation (Ioffe and Szegedy 2015) of (n, height, width, channels), computed in float32.

        Returns x, in its dtype, normalised by `statistics`, the mean and variance of each channel, and these; without
        `statistics`, x's own are used, with the biased variance.
        """
        values = ops.cast(x, "float32")
        mean, variance = statistics or ops.moments(values, axes=(0, 1, 2))
        normed = ops.batch_normalization(values, mean, variance, axis=-1, offset=offset, scale=scale, epsilon=epsilon)
        return ops.cast(normed, x.dtype), mean, variance

    def product_after_bfloat16(self, x: Tensor, kernel: Tensor) -> Tensor:
        """The product of float32 matrices x (n, k) and (k, m), if x was computed in bfloat16 by hardware that has it."""
        return ops.matmul(x, kernel)

    def sum_of_squares(self, x: Tensor) -> Tensor:
        """The sum of the squares of all values."""
        return ops.sum(ops.square(x))

    def training_tower(self, tower: keras.Model, batch_size: int) -> Callable[[Tensor], Tensor]:
        """The function from images to embeddings used in training, for batches of `batch_size` pairs."""
        return lambda images: tower(images, training=True)

    def embedder(self, indexed: keras.Model) -> Callable[[np.ndarray], Tensor]:
        """The function from row numbers, int32 (n,), to embeddings, float32 (n, d), of a model that embeds images by row."""

        def embed(rows: np.ndarray) -> Tensor:
            # `predict` would build a data set each time, four fifths of the time of a small network's validation.
            starts = range(0, len(rows), EMBED_BATCH)
            return np.concatenate([indexed.predict_on_batch(rows[at : at + EMBED_BATCH]) for at in starts])

        return embed

    def feed(self, batches: keras.utils.PyDataset) -> Any:
        """Batches as Keras' `fit` takes them."""
        return batches

    def fit(self, trainer: keras.Model, batches: Any, **options: Any) -> None:
        """Keras' `fit` of a compiled trainer on `Batches`; `options` are further arguments."""
        trainer.fit(self.feed(batches), steps_per_epoch=batches.steps, shuffle=False, verbose=0, **options)


@cache
def operations() -> Operations:
    """The operations of the backend that Keras has loaded."""
    if keras.backend.backend() == "tensorflow":
        from lfwstudy.network.tensorflow_ops import TensorFlowOperations

        return TensorFlowOperations()
    from lfwstudy.network.jax_ops import JaxOperations

    return JaxOperations()
