"""What is learned? Tower, distance head and siamese network; parameters, multiply-adds and memory by layer."""

import numpy as np

from lfwstudy.system.backend import import_keras
from lfwstudy.system.precision import has_bfloat16

import_keras()
from keras import Input, Model, backend, initializers, layers, ops, regularizers, saving

from lfwstudy.config import ALL_BFLOAT16
from lfwstudy.errors import ConfigError
from lfwstudy.network.cost import BLOCKS, CONVOLUTIONS, EMBEDDINGS, scaled, stem_kernel


@saving.register_keras_serializable("lfwstudy")
class AbsoluteDifference(layers.Layer):
    """|a - b| of two embeddings of shape (n, d), component by component (Koch et al. 2015, section 3.1)."""

    def call(self, a, b):
        return ops.absolute(a - b)

    def compute_output_shape(self, a_shape, b_shape):
        return a_shape


@saving.register_keras_serializable("lfwstudy")
class Twins(layers.Layer):
    """Lay left and right pictures in one batch of twice the length, so that the tower runs once."""

    def call(self, left, right):
        return ops.concatenate([left, right], axis=0)

    def compute_output_shape(self, left_shape, right_shape):
        return (None, *left_shape[1:])


@saving.register_keras_serializable("lfwstudy")
class Half(layers.Layer):
    """The first (0) or second (1) half of a batch of twins."""

    def __init__(self, which, **kwargs):
        super().__init__(**kwargs)
        self.which = which

    def call(self, both):
        size = ops.shape(both)[0] // 2
        return both[size:] if self.which else both[:size]

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "which": self.which}


@saving.register_keras_serializable("lfwstudy")
class Cosine(layers.Layer):
    """Cosine of two embeddings (n, d): (n, 1), from -1 to 1."""

    def call(self, a, b):
        return ops.sum(unit_length(a) * unit_length(b), axis=-1, keepdims=True)

    def compute_output_shape(self, a_shape, b_shape):
        return (a_shape[0], 1)


@saving.register_keras_serializable("lfwstudy")
class LocalCosine(layers.Layer):
    """Cosine of two embeddings (n, d) less what is usual between strangers near them: (n, 1). In training the cosine alone.

    What is usual is the mean of both embeddings' mean cosine to their `NEIGHBOURS` nearest of a cohort, the embeddings of
    `size` pictures of training people: cross-domain similarity local scaling (Conneau et al. 2018, equation 4), halved. A
    cohort of zeros, as it is before any was given, changes nothing.
    """

    NEIGHBOURS = 10

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def build(self, a_shape, b_shape):
        self.cohort = self.add_weight(
            shape=(self.size, a_shape[-1]), initializer="zeros", trainable=False, name="cohort"
        )

    def call(self, a, b, training=None):
        a, b = unit_length(a), unit_length(b)
        cosine = ops.sum(a * b, axis=-1, keepdims=True)
        return cosine if training else cosine - (self._usual(a) + self._usual(b)) / 2

    def _usual(self, unit):
        nearest, _ = ops.top_k(ops.matmul(unit, ops.transpose(self.cohort)), min(self.NEIGHBOURS, self.size))
        return ops.mean(nearest, axis=-1, keepdims=True)

    def compute_output_shape(self, a_shape, b_shape):
        return (a_shape[0], 1)

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@saving.register_keras_serializable("lfwstudy")
class Calibration(layers.Layer):
    """scale * logit + shift, fitted on validation after training (Platt 1999): not trained with the network."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones", trainable=False, name="scale")
        self.shift = self.add_weight(shape=(), initializer="zeros", trainable=False, name="shift")

    def call(self, logit):
        return self.scale * logit + self.shift

    def compute_output_shape(self, shape):
        return shape


@saving.register_keras_serializable("lfwstudy")
class Mirror(layers.Layer):
    """Pictures (n, side, side, 1) mirrored left to right."""

    def call(self, pictures):
        return ops.flip(pictures, axis=2)

    def compute_output_shape(self, shape):
        return shape


@saving.register_keras_serializable("lfwstudy")
class FusedBatchNormalization(layers.BatchNormalization):
    """Keras' batch normalisation, on TensorFlow by its fused operation, which reads and writes each picture's values
    once each way: seven times faster than the same in single operations.

    x: (n, height, width, channels). Statistics are computed in float32 whatever x has.
    """

    def call(self, x, training=None, mask=None):
        if backend.backend() != "tensorflow":
            return super().call(x, training=training, mask=mask)
        from lfwstudy.network.tensorflow_ops import batch_norm

        dtype = backend.standardize_dtype(x.dtype)
        # oneDNN normalises bfloat16 in groups of 16 channels; with others it is slower than in float32, several times.
        if dtype == "bfloat16" and (x.shape[-1] % 16 or not has_bfloat16()):
            x = ops.cast(x, "float32")
        if not (training and self.trainable):
            normed = batch_norm(x, self.gamma, self.beta, self.moving_mean, self.moving_variance, self.epsilon)[0]
            return ops.cast(normed, dtype)
        normed, mean, variance = batch_norm(x, self.gamma, self.beta, epsilon=self.epsilon)
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + new * (1 - self.momentum))
        return ops.cast(normed, dtype)


@saving.register_keras_serializable("lfwstudy")
class L2(regularizers.L2):
    """Keras' penalty, on TensorFlow by its one operation: Keras' own and their gradients write arrays as large as the dense
    layer's kernel four times, these once."""

    def __call__(self, x):
        if backend.backend() != "tensorflow":
            return super().__call__(x)
        from lfwstudy.network.tensorflow_ops import sum_of_squares

        return self.l2 * sum_of_squares(x)


@saving.register_keras_serializable("lfwstudy")
class Convolution(layers.Conv2D):
    """Keras' convolution. On TensorFlow and a processor, one in float32 goes by way of Fourier's transform where that is
    faster; and where the processor has no bfloat16 of its own, one of bfloat16 values sums in float32 and rounds its output,
    as processors with it do: as fast as float32, where TensorFlow's own emulation takes minutes."""

    def convolution_op(self, inputs, kernel):
        if not self.sums_in_float32():
            return super().convolution_op(inputs, kernel)
        convolve = super().convolution_op
        if self.by_fourier(inputs.shape):
            from lfwstudy.network.tensorflow_ops import fourier_convolution as convolve
        outputs = convolve(*(ops.cast(values, "float32") for values in (inputs, kernel)))
        return ops.cast(outputs, self.compute_dtype)

    def by_fourier(self, shape):
        """Whether inputs of a shape (n, side, side, channels) go by way of Fourier's transform."""
        if backend.backend() != "tensorflow" or not self.sums_in_float32():
            return False
        from lfwstudy.network.tensorflow_ops import fourier_pays

        plain = self.padding == "valid" and set(self.strides) | set(self.dilation_rate) == {1} and self.groups == 1
        return plain and fourier_pays(shape, self.kernel.shape)

    def sums_in_float32(self):
        """Whether values and sums are float32, or would be where the processor has no bfloat16 of its own."""
        return self.compute_dtype != "bfloat16" or not has_bfloat16()


@saving.register_keras_serializable("lfwstudy")
class Pooling(layers.MaxPooling2D):
    """Keras' max-pooling over 2x2 pixels; on JAX, the largest of four shifted pictures.

    XLA computes the gradient of its own pooling with a scatter, which on a GPU adds in any order, or one value after the
    other where it is told to give the same numbers twice. As there, the first of equal values gets the gradient.
    """

    def __init__(self, strides=2, **kwargs):
        kwargs.pop("pool_size", None)
        super().__init__(2, strides, **kwargs)

    def call(self, x):
        if backend.backend() != "jax":
            return super().call(x)
        (rows, columns), (height, width) = self.strides, self.compute_output_shape(x.shape)[1:3]

        def shifted(down, right):
            return x[
                :, down : down + (height - 1) * rows + 1 : rows, right : right + (width - 1) * columns + 1 : columns
            ]

        def larger(a, b):
            return ops.where(a >= b, a, b)

        return larger(larger(shifted(0, 0), shifted(0, 1)), larger(shifted(1, 0), shifted(1, 1)))


@saving.register_keras_serializable("lfwstudy")
class GeneralisedMean(layers.Layer):
    """The mean over the picture of the values to a learned power, and its root: (n, height, width, channels) to
    (n, channels). Power 1 is the mean, a large one the largest value (Radenovic et al. 2019, equation 3, which begins with 3).
    """

    def build(self, shape):
        self.power = self.add_weight(shape=(), initializer=initializers.Constant(3.0), name="power")

    def call(self, x):
        # Of so many values, TensorFlow's power and its gradient take four times as long as the exponential of a logarithm.
        raised = ops.exp(self.power * ops.log(ops.maximum(ops.cast(x, "float32"), 1e-4)))
        return ops.power(ops.mean(raised, axis=(1, 2)), 1 / self.power)

    def compute_output_shape(self, shape):
        return (shape[0], shape[-1])


@saving.register_keras_serializable("lfwstudy")
class Dense(layers.Dense):  # weights' files have their layers' class names in them
    """Keras' dense layer in float32, after layers that compute in bfloat16: the gradient that they get from it is computed in
    bfloat16, where TensorFlow has it, instead of rounded to it afterwards."""

    def call(self, inputs, training=None):
        if backend.backend() != "tensorflow" or not has_bfloat16():
            return super().call(inputs, training=training)
        from lfwstudy.network.tensorflow_ops import product

        return self.activation(product(inputs, self.kernel) + self.bias)


@saving.register_keras_serializable("lfwstudy")
class RoundedDense(layers.Dense):
    """Keras' dense layer with its sums in float32 and what it hands on rounded to bfloat16, as processors with bfloat16
    compute it, on any processor."""

    def call(self, inputs, training=None):
        summed = ops.matmul(*(ops.cast(values, "float32") for values in (inputs, self.kernel)))
        return self.activation(ops.cast(summed, "bfloat16") + ops.cast(self.bias, "bfloat16"))


def unit_length(embeddings):
    """Embeddings (n, d) divided by their Euclidean length."""
    return embeddings / ops.sqrt(ops.sum(ops.square(embeddings), axis=-1, keepdims=True) + 1e-12)


def build_siamese(config, side, precision="float32", seed=0):
    """The siamese network: two pictures in, the probability that they show the same person out.

    config: ModelConfig; side: picture side in pixels; inputs float32 (n, side, side, 1) in [0, 1] named `left`
    and `right`, output float32 (n, 1). Its layers `tower` and `head` are models of their own: picture to embedding
    (n, d) and two embeddings to probability. Raises ConfigError where the picture is too small.
    """
    tower = (build_compact_tower if config.architecture in BLOCKS else build_tower)(config, side, precision, seed)
    if config.head == "cosine":
        head = build_cosine_head(tower.output_shape[1], config.cohort)
    else:
        head = build_head(tower.output_shape[1], seed, precision, config.head_l2)
    left, right = (Input((side, side, 1), name=name) for name in ("left", "right"))
    pictures = Twins(dtype="float32", name="twins")(left, right)
    both = tower(pictures)
    if config.flip_average:
        mirrored = tower(Mirror(dtype="float32", name="mirror")(pictures))
        both = layers.Average(dtype="float32", name="flip_average")([both, mirrored])
    score = head([Half(0, dtype="float32", name="left_half")(both), Half(1, dtype="float32", name="right_half")(both)])
    return Model([left, right], score, name="siamese")


def build_tower(config, side, precision="float32", seed=0):
    """Picture to embedding: four convolutional blocks and a dense layer with a sigmoid (Koch et al. 2015, figure 4).

    Convolutions compute in `precision`, and with them the gradient that they get from the dense layer; that saturating layer
    itself and batch-norm's statistics in float32, but for `all-bfloat16`.
    """
    policy = "float32" if precision == "float32" else "mixed_bfloat16"
    dense, exact = _dense(precision, Dense)
    picture = x = Input((side, side, 1), name="picture")
    for number, (filters, kernel) in enumerate(CONVOLUTIONS, start=1):
        pooled = number < len(CONVOLUTIONS)
        if x.shape[1] < kernel + pooled:
            raise ConfigError(
                f"side {side} is too small: convolution {number} gets {x.shape[1]} pixels for a "
                f"kernel of {kernel}{' and the pooling after it' if pooled else ''}"
            )
        x = _block(x, number, scaled(filters, config.width), kernel, config, policy, seed)
    x = layers.Flatten(dtype=exact, name="flatten")(x)
    units = scaled(EMBEDDINGS["koch"], config.width)
    embedding = dense(
        units,
        activation="sigmoid",
        dtype=exact,
        name="dense",
        kernel_initializer=_kernel_init(config.initializer, fan_in=x.shape[1], fan_out=units, seed=[seed, 5]),
        bias_initializer=_bias_init([seed, 15]),
        kernel_regularizer=_penalty(config.l2),
    )(x)
    return Model(picture, embedding, name="tower")


def build_compact_tower(config, side, precision="float32", seed=0):
    """Picture to embedding: 3x3 convolutions with batch-norm (Simonyan and Zisserman 2015, with the normalisation of
    Ioffe and Szegedy 2015), a mean over the picture, and a linear layer.

    Convolutions compute in `precision`; the mean and the linear layer in float32.
    """
    blocks = BLOCKS[config.architecture]
    least = config.stem_stride * 2 ** len(blocks)
    if side < least:
        raise ConfigError(f"side {side} is too small for the {config.architecture} network: at least {least}")
    policy = "float32" if precision == "float32" else "mixed_bfloat16"
    picture = x = Input((side, side, 1), name="picture")
    number = 0
    for stage, (filters, convolutions) in enumerate(blocks, start=1):
        filters = scaled(filters, config.width)
        for _ in range(convolutions):
            number += 1
            kernel, stride = (stem_kernel(config), config.stem_stride) if number == 1 else (3, 1)
            fans = {"fan_in": kernel * kernel * x.shape[-1], "fan_out": kernel * kernel * filters}
            x = Convolution(
                filters,
                kernel,
                stride,
                padding="same",
                use_bias=False,
                dtype=policy,
                name=f"conv{number}",
                kernel_initializer=_kernel_init(config.initializer, **fans, seed=[seed, number]),
                kernel_regularizer=_penalty(config.l2),
            )(x)
            x = FusedBatchNormalization(dtype=policy, momentum=0.9, name=f"norm{number}")(x)
            x = layers.ReLU(dtype=policy, name=f"relu{number}")(x)
        if stage < len(blocks):
            x = Pooling(dtype=policy, name=f"pool{stage}")(x)
    pooled = layers.GlobalAveragePooling2D if config.pooling == "mean" else GeneralisedMean
    x = pooled(dtype="float32", name="mean")(x)
    if config.dropout:
        x = layers.Dropout(config.dropout, dtype="float32", seed=_seed([seed, 20]), name="dropout")(x)
    embedding = layers.Dense(
        scaled(EMBEDDINGS[config.architecture], config.width),
        dtype="float32",
        name="dense",
        kernel_initializer=initializers.GlorotUniform(seed=_seed([seed, 21])),
        kernel_regularizer=_penalty(config.l2),
    )(x)
    return Model(picture, embedding, name="tower")


def build_head(size, seed=0, precision="float32", l2=0.0):
    """Two embeddings (n, size) to a probability (n, 1): |a - b|, then one sigmoid unit; in float32, but for `all-bfloat16`.
    l2: factor of its squared weights in the loss."""
    dense, exact = _dense(precision)
    a, b = Input((size,), name="a"), Input((size,), name="b")
    logit = dense(
        1,
        dtype=exact,
        name="logit",
        kernel_initializer=initializers.RandomNormal(stddev=np.sqrt(2.0), seed=_seed([seed, 6])),
        bias_initializer=_bias_init([seed, 16]),
        kernel_regularizer=_penalty(l2),
    )(AbsoluteDifference(dtype=exact, name="difference")(a, b))
    return Model([a, b], layers.Activation("sigmoid", dtype="float32", name="score")(logit), name="head")


def build_cosine_head(size, cohort=0):
    """Two embeddings (n, size) to a probability (n, 1): their cosine, a line, and the line's calibration. cohort: of so
    many pictures, see LocalCosine; 0 for none."""
    a, b = Input((size,), name="a"), Input((size,), name="b")
    cosine = LocalCosine(cohort, dtype="float32", name="cosine") if cohort else Cosine(dtype="float32", name="cosine")
    logit = layers.Dense(
        1,
        dtype="float32",
        name="logit",
        kernel_initializer=initializers.Constant(10.0),
        bias_initializer=initializers.Constant(-4.0),
    )(cosine(a, b))
    calibrated = Calibration(dtype="float32", name="calibration")(logit)
    return Model([a, b], layers.Activation("sigmoid", dtype="float32", name="score")(calibrated), name="head")


def layer_table(model, batch=64, bytes_per_value=4):
    """One row per layer of the tower and head, as a list of dicts.

    Keys: layer, output (shape of one picture), parameters, multiply_adds (per picture; per pair in the head),
    activations_mb (MiB of outputs kept for a training batch of `batch` pairs, `bytes_per_value` each), state_mb
    (MiB of parameters with gradient and Adam's two moments in float32).
    """
    rows = []
    for part, pictures in (("tower", 2), ("head", 1)):
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
                    "activations_mb": batch * pictures * int(np.prod(shape)) * bytes_per_value / 2**20,
                    "state_mb": (3 * trainable + layer.count_params()) * 4 / 2**20,
                }
            )
    return rows


def multiply_adds(model):
    """Multiply-adds of the tower for one picture."""
    return sum(_multiply_adds(layer) for layer in model.get_layer("tower").layers)


def _block(x, number, filters, kernel, config, policy, seed):
    """Convolution, batch-norm where the configuration has it, ReLU, and pooling after all but the last."""

    def norm(x, where):
        return FusedBatchNormalization(dtype=policy, name=f"norm{number}_{where}")(x)

    x = Convolution(
        filters,
        kernel,
        dtype=policy,
        name=f"conv{number}",
        kernel_initializer=_kernel_init(
            config.initializer,
            fan_in=kernel * kernel * x.shape[-1],
            fan_out=kernel * kernel * filters,
            seed=[seed, number],
        ),
        bias_initializer=_bias_init([seed, 10 + number]),
        kernel_regularizer=_penalty(config.l2),
    )(x)
    if config.batchnorm == "before-activation":
        x = norm(x, "linear")
    x = layers.ReLU(dtype=policy, name=f"relu{number}")(x)
    if config.batchnorm in ("after-activation", "activation-and-pooling"):
        x = norm(x, "activation")
    if number < len(CONVOLUTIONS):
        stride = config.pool1_stride if number == 1 else 2
        x = Pooling(stride, dtype=policy, name=f"pool{number}")(x)
        # The fourth block has no pooling layer, so "after both" adds seven layers, not eight.
        if config.batchnorm == "activation-and-pooling":
            x = norm(x, "pooling")
    return x


def _dense(precision, mixed=layers.Dense):
    """The dense layer to use, `mixed` in bfloat16, and the dtype policy of what saturates or compares."""
    if precision == ALL_BFLOAT16:
        return RoundedDense, "mixed_bfloat16"
    return layers.Dense if precision == "float32" else mixed, "float32"


def _multiply_adds(layer):
    if isinstance(layer, layers.Conv2D):
        return int(np.prod(layer.output.shape[1:3]) * np.prod(layer.kernel.shape))
    if isinstance(layer, layers.Dense):
        return int(np.prod(layer.kernel.shape))
    return 0


def _penalty(l2):
    return L2(l2) if l2 else None


def _kernel_init(name, fan_in, fan_out, seed):
    """Normal with standard deviation sqrt(2 / fan), He et al. (2015), equation 10 (fan-in) or 14 (fan-out)."""
    fan = {"he-fan-out": fan_out, "he-fan-in": fan_in}[name]
    return initializers.RandomNormal(stddev=float(np.sqrt(2.0 / fan)), seed=_seed(seed))


def _bias_init(seed):
    return initializers.RandomNormal(stddev=0.01, seed=_seed(seed))


def _seed(parts):
    return int(np.random.SeedSequence(parts).generate_state(1)[0] & 0x7FFFFFFF)
