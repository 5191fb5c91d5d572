"""TensorFlow's fused operations, which save time and a step's worth of memory over Keras' composed ones.

`TensorFlowOperations` is the entry point; times are for a step of the full network.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from lfwstudy.network.operations import Operations, Tensor
from lfwstudy.network.tensorflow_fourier import IMAGES_AT_ONCE, fourier_convolution, fourier_savings, in_turn, room_for
from lfwstudy.system.precision import has_bfloat16

# Use the Fourier transform if it needs this many times fewer multiply-adds: direct convolution runs closer to the
# processor's peak rate.
FOURIER_PAYS = 3.5


def _adam_step(self: Any, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
    """An optimizer step of Adam (Kingma and Ba 2015), without amsgrad, in one operation, in place: Keras has nine, each with
    another array as large as the variable."""

    def handle(variable: Tensor) -> Tensor:
        """The resource behind a variable of Keras or TensorFlow: Keras passes either."""
        return (variable if isinstance(variable, tf.Variable) else variable.value).handle

    at, kind = self._get_variable_index(variable), variable.dtype
    step = tf.cast(self.iterations + 1, kind)
    tf.raw_ops.ResourceApplyAdam(
        var=handle(variable),
        m=handle(self._momentums[at]),
        v=handle(self._velocities[at]),
        beta1_power=tf.pow(tf.cast(self.beta_1, kind), step),
        beta2_power=tf.pow(tf.cast(self.beta_2, kind), step),
        lr=tf.cast(learning_rate, kind),
        beta1=tf.cast(self.beta_1, kind),
        beta2=tf.cast(self.beta_2, kind),
        epsilon=tf.cast(self.epsilon, kind),
        grad=tf.cast(gradient, kind),
    )


class Adam(keras.optimizers.Adam):
    """Keras' Adam."""

    update_step = _adam_step


class AdamW(keras.optimizers.AdamW):
    """Keras' AdamW."""

    update_step = _adam_step


class TensorFlowOperations(Operations):
    """`Operations` for TensorFlow."""

    jit_compile = False  # XLA's convolutions are slower than oneDNN's on a processor
    optimizers: ClassVar = {"adam": Adam, "adamw": AdamW}

    def convolution(self, layer: keras.layers.Conv2D, inputs: Tensor, kernel: Tensor) -> Tensor:
        if by_fourier(layer, inputs.shape):
            return fourier_convolution(inputs, kernel)
        return super().convolution(layer, inputs, kernel)

    def max_pool(self, images: Tensor, strides: tuple[int, int]) -> Tensor:
        return keras.ops.max_pool(images, 2, strides)

    def batch_norm(
        self, x: Tensor, scale: Tensor, offset: Tensor, epsilon: float, statistics: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Read and write each value once per direction: seven times as fast as composed operations."""
        kind = x.dtype
        # oneDNN normalises bfloat16 in groups of 16 channels; for other numbers it is several times slower than float32.
        if kind == tf.bfloat16 and (x.shape[-1] % 16 or not has_bfloat16()):
            x = tf.cast(x, tf.float32)
        known = ([], []) if statistics is None else map(tf.convert_to_tensor, statistics)
        normed, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=tf.convert_to_tensor(scale),
            offset=tf.convert_to_tensor(offset),
            **dict(zip(("mean", "variance"), known)),
            epsilon=epsilon,
            is_training=statistics is None,
            exponential_avg_factor=1.0,
        )
        if statistics is None:  # the operation returns the unbiased variance
            count = tf.cast(tf.size(x) / tf.shape(x)[-1], tf.float32)
            variance *= (count - 1) / count
        return tf.cast(normed, kind), mean, variance

    def product_after_bfloat16(self, x: Tensor, kernel: Tensor) -> Tensor:
        """The gradient for x is a product of bfloat16 factors instead of rounded afterwards: a step takes 5 % less time."""

        @tf.custom_gradient
        def product(x: Tensor, kernel: Tensor) -> tuple[Tensor, Callable]:
            def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
                to_x = tf.matmul(*(tf.cast(factor, tf.bfloat16) for factor in (upstream, kernel)), transpose_b=True)
                return tf.cast(to_x, tf.float32), tf.matmul(x, upstream, transpose_a=True)

            return tf.matmul(x, kernel), gradient

        return product(x, tf.convert_to_tensor(kernel))

    def sum_of_squares(self, x: Tensor) -> Tensor:
        """Keras' penalty and its gradient write arrays as large as the kernel four times; this writes one: 5 % of a step."""
        return 2 * tf.nn.l2_loss(x)

    def training_tower(self, tower: keras.Model, batch_size: int) -> Callable[[Tensor], Tensor]:
        """Koch's network without batch-norm, which would need the whole batch: the first blocks by `first_blocks`, to save
        memory and time; a second block only if the Fourier transform makes it cheap to compute twice."""
        blocks = [tower.layers[1:4], tower.layers[4:7]]
        names = [layer.name for layer in itertools.chain(*blocks)]
        # A batch of one slice would be computed twice for nothing.
        if 2 * batch_size <= IMAGES_AT_ONCE or names != ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2"]:
            return super().training_tower(tower, batch_size)
        second = blocks[1][0]
        blocks = blocks if second.sums_in_float32() and by_fourier(second, second.input.shape) else blocks[:1]
        rest = after_blocks(tower, blocks)
        return lambda images: rest(first_blocks(blocks, images), training=True)

    def feed(self, batches: keras.utils.PyDataset) -> tf.data.Dataset:
        """The batches of an endless PyDataset, in order, with two prefetched.

        Keras would let TensorFlow tune that number in a thread that sleeps for up to a minute, and the end of training
        would wait for it.
        """
        options = tf.data.Options()
        options.autotune.enabled = False
        options.threading.private_threadpool_size = 1
        signature = tf.nest.map_structure(lambda part: tf.TensorSpec((None, *part.shape[1:]), part.dtype), batches[0])
        given = tf.data.Dataset.from_generator(
            lambda: map(batches.__getitem__, itertools.count()), output_signature=signature
        )
        return given.prefetch(2).with_options(options)


def by_fourier(layer: keras.layers.Conv2D, shape: Sequence[int | None]) -> bool:
    """Whether a layer's float32 convolution of inputs of shape (n, side, side, channels) is better done by Fourier
    transform: on processors, for wide layers with large kernels."""
    plain = layer.padding == "valid" and set(layer.strides) | set(layer.dilation_rate) == {1} and layer.groups == 1
    if not plain or None in shape[1:3] or shape[1] != shape[2] or tf.config.list_physical_devices("GPU"):
        return False
    return fourier_savings(shape, layer.kernel.shape) > FOURIER_PAYS


def first_blocks(blocks: Sequence[Sequence[keras.layers.Layer]], images: Tensor) -> Tensor:
    """Convolutions of images, each with its ReLU and pooling.

    The outputs of the convolutions are by far the largest tensors of a step.

    Parameters
    ----------
    blocks : (convolution, ReLU, pooling) of each
    images : float32, shape (n, side, side, channels)
        They pass no gradient.
    """
    convolution, relu, pooling = blocks[0]
    apart = pooling.strides == pooling.pool_size
    if len(blocks) == images.shape[-1] == 1 and apart and not convolution.sums_in_float32():
        return _with_pixels_as_channels(convolution, relu, images)
    return _in_slices(blocks, images)


def after_blocks(tower: keras.Model, blocks: Sequence[Sequence[keras.layers.Layer]]) -> keras.Model:
    """The rest of a tower after its first blocks, with pooling before the ReLU as in these: the same values, with a quarter
    of the work for the ReLU and its gradient."""
    layers = tower.layers[1 + sum(map(len, blocks)) :]
    for at, layer in enumerate(layers[1:]):
        if isinstance(layer, keras.layers.MaxPooling2D):
            layers[at : at + 2] = layer, layers[at]
    before = blocks[-1][-1].output
    given = x = keras.Input(before.shape[1:], dtype=before.dtype)
    for layer in layers:
        x = layer(x)
    return keras.Model(given, x)


def _in_slices(blocks: Sequence[Sequence[keras.layers.Layer]], images: Tensor) -> Tensor:
    """`first_blocks` a few images at a time: the convolutions' outputs are recomputed for the gradient instead of kept (Chen
    et al. 2016), and neither they nor their gradients ever exist for the whole batch."""
    kind = blocks[0][0].compute_dtype

    def chain(x: Tensor, *weights: Tensor) -> Tensor:
        for (convolution, relu, pooling), kernel, bias in zip(blocks, weights[::2], weights[1::2]):
            x = convolution.convolution_op(tf.cast(x, kind), tf.cast(kernel, kind))
            # The other order gives the same values with a slower gradient.
            x = relu(pooling(x + tf.cast(bias, kind)))
        return x

    @tf.custom_gradient
    def computed(images: Tensor, *weights: Tensor) -> tuple[Tensor, Callable]:
        def gradient(upstream: Tensor) -> tuple[Tensor | None, ...]:
            def add(some: slice, *sums: Tensor) -> list[Tensor]:
                with tf.GradientTape() as tape:
                    tape.watch(weights)
                    pooled = chain(images[some], *weights)
                return [total + more for total, more in zip(sums, tape.gradient(pooled, weights, upstream[some]))]

            return None, *in_turn(images, add, *(tf.zeros_like(weight) for weight in weights))

        def write(some: slice, written: tf.TensorArray) -> list[tf.TensorArray]:
            return [written.write(written.size(), chain(images[some], *weights))]

        (written,) = in_turn(images, write, room_for(kind, blocks[-1][-1].output.shape))
        return written.concat(), gradient

    weights = [weight for convolution, *_ in blocks for weight in (convolution.kernel, convolution.bias)]
    return computed(images, *(tf.convert_to_tensor(weight.value) for weight in weights))


def _with_pixels_as_channels(convolution: keras.layers.Conv2D, relu: keras.layers.Layer, images: Tensor) -> Tensor:
    """`first_blocks` of one convolution of one channel with pooling over non-overlapping pixels, on hardware that computes
    in bfloat16. The convolution's output then has half the bytes, and is kept.

    Pixels that are pooled into one become channels, four times as many, in images and outputs: convolutions of one channel,
    and above all their kernel gradients, make poor use of matrix units.
    """
    kind, (size, _, _, filters) = convolution.compute_dtype, convolution.kernel.shape
    out = (images.shape[1] - size + 1) // 2
    reach = size // 2 + 1  # in pairs of pixels, from each of the two
    kernel = tf.convert_to_tensor(convolution.kernel.value)[:, :, 0]
    kernel = tf.stack(
        [
            tf.pad(kernel, [[down, 2 * reach - size - down], [across, 2 * reach - size - across], [0, 0]])
            for down in (0, 1)
            for across in (0, 1)
        ],
        axis=2,
    )
    kernel = tf.transpose(tf.reshape(kernel, (reach, 2, reach, 2, -1)), (0, 2, 1, 3, 4))
    kernel = tf.reshape(kernel, (reach, reach, 4, 4 * filters))
    # Pixels beyond the images' edge meet zeros of the kernel.
    images = tf.pad(tf.cast(images, kind), [[0, 0], [0, 1], [0, 1], [0, 0]])[
        :, : 2 * (out + reach - 1), : 2 * (out + reach - 1)
    ]
    convolved = tf.nn.conv2d(tf.nn.space_to_depth(images, 2), tf.cast(kernel, kind), 1, "VALID")
    convolved = tf.nn.bias_add(convolved, tf.tile(tf.cast(tf.convert_to_tensor(convolution.bias.value), kind), (4,)))
    pooled = tf.nn.max_pool2d(tf.reshape(convolved, (-1, out, 4, filters)), (1, 4), (1, 4), "VALID")
    return relu(tf.reshape(pooled, (-1, out, out, filters)))
