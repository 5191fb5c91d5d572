"""The networks' own Keras layers, registered so that a saved network loads."""

from typing import Any

from lfwstudy.network.operations import Tensor, keras, operations, ops
from lfwstudy.system.precision import has_bfloat16

# Saved networks and weight files refer to layers by class name ("lfwstudy>Twins"): do not rename them.
registered = keras.saving.register_keras_serializable("lfwstudy")
Shape = tuple[int | None, ...]


def unit_length(embeddings: Tensor) -> Tensor:
    """Embeddings (n, d) divided by their Euclidean length."""
    return embeddings / ops.sqrt(ops.sum(ops.square(embeddings), axis=-1, keepdims=True) + 1e-12)


@registered
class AbsoluteDifference(keras.layers.Layer):
    """|a - b| of two embeddings (n, d), component by component (Koch et al. 2015, section 3.1)."""

    def call(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.absolute(a - b)


@registered
class Twins(keras.layers.Layer):
    """Left and right images in one batch of twice the length, so that the tower runs once."""

    def call(self, left: Tensor, right: Tensor) -> Tensor:
        return ops.concatenate([left, right], axis=0)


@registered
class Half(keras.layers.Layer):
    """The first (0) or second (1) half of a batch of twins."""

    def __init__(self, which: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.which = which

    def call(self, both: Tensor) -> Tensor:
        size = ops.shape(both)[0] // 2
        return both[size:] if self.which else both[:size]

    def compute_output_shape(self, shape: Shape) -> Shape:
        return shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "which": self.which}


@registered
class Cosine(keras.layers.Layer):
    """Cosine of two embeddings (n, d): (n, 1), from -1 to 1."""

    def call(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(unit_length(a) * unit_length(b), axis=-1, keepdims=True)


@registered
class LocalCosine(keras.layers.Layer):
    """Cosine of two embeddings (n, d) minus their usual cosine to near strangers: (n, 1); in training only the cosine.

    The usual cosine is the mean over both embeddings of the mean cosine to the `neighbours` nearest in a cohort, embeddings
    of `size` images of training people: cross-domain similarity local scaling (Conneau et al. 2018, equation 4), halved. The
    initial cohort of zeros changes nothing.
    """

    def __init__(self, size: int, neighbours: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.neighbours = size, neighbours

    def build(self, a_shape: Shape, b_shape: Shape) -> None:
        self.cohort = self.add_weight(
            shape=(self.size, a_shape[-1]), initializer="zeros", trainable=False, name="cohort"
        )

    def call(self, a: Tensor, b: Tensor, training: bool | None = None) -> Tensor:
        a, b = unit_length(a), unit_length(b)
        cosine = ops.sum(a * b, axis=-1, keepdims=True)
        return cosine if training else cosine - (self._usual(a) + self._usual(b)) / 2

    def _usual(self, unit: Tensor) -> Tensor:
        nearest, _ = ops.top_k(ops.matmul(unit, ops.transpose(self.cohort)), min(self.neighbours, self.size))
        return ops.mean(nearest, axis=-1, keepdims=True)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "neighbours": self.neighbours}


@registered
class Calibration(keras.layers.Layer):
    """scale * logit + shift, fitted on validation after training (Platt 1999), not trained with the network."""

    def build(self, shape: Shape) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones", trainable=False, name="scale")
        self.shift = self.add_weight(shape=(), initializer="zeros", trainable=False, name="shift")

    def call(self, logit: Tensor) -> Tensor:
        return self.scale * logit + self.shift


@registered
class Mirror(keras.layers.Layer):
    """Images (n, side, side, 1) mirrored left to right."""

    def call(self, images: Tensor) -> Tensor:
        return ops.flip(images, axis=2)


@registered
class Convolution(keras.layers.Conv2D):
    """Keras' convolution by the backend's best operation.

    On hardware without bfloat16, a convolution of bfloat16 values sums in float32 and rounds its output, as hardware with
    bfloat16 does: as fast as float32, while the backend's own emulation takes minutes.
    """

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        if not self.sums_in_float32():
            return super().convolution_op(inputs, kernel)
        inputs, kernel = (ops.cast(values, "float32") for values in (inputs, kernel))
        return ops.cast(operations().convolution(self, inputs, kernel), self.compute_dtype)

    def sums_in_float32(self) -> bool:
        """Whether values and sums are float32, apart from rounding between layers."""
        return self.compute_dtype != "bfloat16" or not has_bfloat16()


@registered
class Pooling(keras.layers.MaxPooling2D):
    """Keras' max-pooling over 2x2 pixels by the backend's best operation."""

    def __init__(self, strides: int | tuple[int, int] = 2, **kwargs: Any) -> None:
        kwargs.pop("pool_size", None)
        super().__init__(2, strides, **kwargs)

    def call(self, x: Tensor) -> Tensor:
        return operations().max_pool(x, self.strides)


@registered
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation of (n, height, width, channels) by the backend's best operation."""

    def call(self, x: Tensor, training: bool | None = None, mask: None = None) -> Tensor:
        norm = operations().batch_norm
        if not (training and self.trainable):
            return norm(x, self.gamma, self.beta, self.epsilon, (self.moving_mean, self.moving_variance))[0]
        normed, *statistics = norm(x, self.gamma, self.beta, self.epsilon)
        for moving, new in zip((self.moving_mean, self.moving_variance), statistics):
            moving.assign(moving * self.momentum + new * (1 - self.momentum))
        return normed


@registered
class GeneralisedMean(keras.layers.Layer):
    """The generalised mean over the image with a learned power: (n, height, width, channels) to (n, channels).

    Power 1 is the mean, a large power the maximum (Radenovic et al. 2019, equation 3, where it starts from 3).
    """

    def build(self, shape: Shape) -> None:
        self.power = self.add_weight(shape=(), initializer=keras.initializers.Constant(3.0), name="power")

    def call(self, x: Tensor) -> Tensor:
        # TensorFlow's power and its gradient take four times as long as the exponential of a logarithm.
        raised = ops.exp(self.power * ops.log(ops.maximum(ops.cast(x, "float32"), 1e-4)))
        return ops.power(ops.mean(raised, axis=(1, 2)), 1 / self.power)


@registered
class Dense(keras.layers.Dense):
    """Keras' dense layer in float32, after layers that compute in bfloat16."""

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if not has_bfloat16():
            return super().call(inputs, training=training)
        return self.activation(operations().product_after_bfloat16(inputs, self.kernel) + self.bias)


@registered
class RoundedDense(keras.layers.Dense):
    """Keras' dense layer with its sums in float32 and its output rounded to bfloat16, as hardware with bfloat16 computes it."""

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        summed = ops.matmul(*(ops.cast(values, "float32") for values in (inputs, self.kernel)))
        return self.activation(ops.cast(summed, "bfloat16") + ops.cast(self.bias, "bfloat16"))


@registered
class L2(keras.regularizers.L2):
    """Keras' penalty by the backend's best operation."""

    def __call__(self, x: Tensor) -> Tensor:
        return self.l2 * operations().sum_of_squares(x)
