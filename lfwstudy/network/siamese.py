"""The siamese network: a tower from image to embedding, and a head that compares two embeddings."""

import numpy as np

from lfwstudy.config import ALL_BFLOAT16, ModelConfig
from lfwstudy.errors import ConfigError
from lfwstudy.network import layers
from lfwstudy.network.architecture import BLOCKS, CONVOLUTIONS, EMBEDDINGS, cohort_size, scaled, stem_kernel
from lfwstudy.network.operations import Tensor, keras

Seed = list[int]  # the key of a layer's random draws


def build_siamese(config: ModelConfig, side: int, precision: str = "float32", seed: int = 0) -> keras.Model:
    """The siamese network: two images in, the probability that they show the same person out.

    Parameters
    ----------
    side : int
        Of the images, in pixels.
    precision : str
        Of the convolutions: "float32" or "bfloat16"; "all-bfloat16" also rounds the dense layers and the head.

    Returns
    -------
    keras.Model
        Inputs `left` and `right`, float32 (n, side, side, 1) in [0, 1]; output float32 (n, 1). Its layers `tower` and `head`
        are models of their own: image to embedding (n, d), and two embeddings to probability.

    Raises
    ------
    ConfigError
        If the images are too small.
    """
    build = build_small_tower if config.architecture in BLOCKS else build_tower
    tower = build(config, side, precision, seed)
    if config.head == "cosine":
        head = build_cosine_head(tower.output_shape[1], cohort_size(config), config.neighbours)
    else:
        head = build_distance_head(tower.output_shape[1], seed, precision, config.head_l2)
    left, right = (keras.Input((side, side, 1), name=name) for name in ("left", "right"))
    images = layers.Twins(dtype="float32", name="twins")(left, right)
    both = tower(images)
    if config.flip_average:
        mirrored = tower(layers.Mirror(dtype="float32", name="mirror")(images))
        both = keras.layers.Average(dtype="float32", name="flip_average")([both, mirrored])
    halves = [
        layers.Half(which, dtype="float32", name=f"{name}_half")(both) for which, name in enumerate(("left", "right"))
    ]
    return keras.Model([left, right], head(halves), name="siamese")


def build_tower(config: ModelConfig, side: int, precision: str = "float32", seed: int = 0) -> keras.Model:
    """Image to embedding: four convolutional blocks and a dense layer with a sigmoid (Koch et al. 2015, figure 4).

    Convolutions and the gradient they get from the dense layer are in `precision`; that saturating layer itself and
    batch-norm's statistics are in float32, except for "all-bfloat16".
    """
    policy = _convolutions_policy(precision)
    dense, exact = _dense(precision, layers.Dense)
    image = x = keras.Input((side, side, 1), name="image")
    for number, (filters, kernel) in enumerate(CONVOLUTIONS, start=1):
        pooled = number < len(CONVOLUTIONS)
        if x.shape[1] < kernel + pooled:
            raise ConfigError(
                f"side {side} is too small: convolution {number} gets {x.shape[1]} pixels for a "
                f"kernel of {kernel}{' and the pooling after it' if pooled else ''}"
            )
        x = _koch_block(x, number, scaled(filters, config.width), kernel, config, policy, seed)
    x = keras.layers.Flatten(dtype=exact, name="flatten")(x)
    units = scaled(EMBEDDINGS["koch"], config.width)
    embedding = dense(
        units,
        activation="sigmoid",
        dtype=exact,
        name="dense",
        kernel_initializer=_he_normal(config.initializer, x.shape[1], units, [seed, 5]),
        bias_initializer=_bias_init([seed, 15]),
        kernel_regularizer=_penalty(config.l2),
    )(x)
    return keras.Model(image, embedding, name="tower")


def build_small_tower(config: ModelConfig, side: int, precision: str = "float32", seed: int = 0) -> keras.Model:
    """Image to embedding: 3x3 convolutions with batch-norm (Simonyan and Zisserman 2015, with the normalisation of
    Ioffe and Szegedy 2015), a mean over the image, and a linear layer.

    Convolutions compute in `precision`; the mean and the linear layer in float32.
    """
    blocks = BLOCKS[config.architecture]
    least = config.stem_stride * 2 ** len(blocks)
    if side < least:
        raise ConfigError(f"side {side} is too small for the {config.architecture} network: at least {least}")
    policy = _convolutions_policy(precision)
    image = x = keras.Input((side, side, 1), name="image")
    number = 0
    for stage, (filters, count) in enumerate(blocks, start=1):
        for _ in range(count):
            number += 1
            x = _small_block(x, number, scaled(filters, config.width), config, policy, seed)
        if stage < len(blocks):
            x = layers.Pooling(dtype=policy, name=f"pool{stage}")(x)
    mean = keras.layers.GlobalAveragePooling2D if config.pooling == "mean" else layers.GeneralisedMean
    x = mean(dtype="float32", name="mean")(x)
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, dtype="float32", seed=_seed([seed, 20]), name="dropout")(x)
    embedding = keras.layers.Dense(
        scaled(EMBEDDINGS[config.architecture], config.width),
        dtype="float32",
        name="dense",
        kernel_initializer=keras.initializers.GlorotUniform(seed=_seed([seed, 21])),
        kernel_regularizer=_penalty(config.l2),
    )(x)
    return keras.Model(image, embedding, name="tower")


def build_distance_head(size: int, seed: int = 0, precision: str = "float32", l2: float = 0.0) -> keras.Model:
    """Two embeddings (n, size) to a probability (n, 1): |a - b|, then one sigmoid unit; in float32, except for "all-bfloat16".

    l2: factor of its squared weights in the loss.
    """
    dense, exact = _dense(precision)
    a, b = keras.Input((size,), name="a"), keras.Input((size,), name="b")
    logit = dense(
        1,
        dtype=exact,
        name="logit",
        kernel_initializer=keras.initializers.RandomNormal(stddev=np.sqrt(2.0), seed=_seed([seed, 6])),
        bias_initializer=_bias_init([seed, 16]),
        kernel_regularizer=_penalty(l2),
    )(layers.AbsoluteDifference(dtype=exact, name="difference")(a, b))
    return keras.Model([a, b], keras.layers.Activation("sigmoid", dtype="float32", name="score")(logit), name="head")


def build_cosine_head(size: int, cohort: int = 0, neighbours: int = 10) -> keras.Model:
    """Two embeddings (n, size) to a probability (n, 1): their cosine, a line, and the line's calibration.

    cohort: number of images in it, 0 for none; neighbours: of them: see `LocalCosine`.
    """
    a, b = keras.Input((size,), name="a"), keras.Input((size,), name="b")
    cosine = (
        layers.LocalCosine(cohort, neighbours, dtype="float32", name="cosine")
        if cohort
        else layers.Cosine(dtype="float32", name="cosine")
    )
    logit = keras.layers.Dense(
        1,
        dtype="float32",
        name="logit",
        kernel_initializer=keras.initializers.Constant(10.0),
        bias_initializer=keras.initializers.Constant(-4.0),
    )(cosine(a, b))
    logit = layers.Calibration(dtype="float32", name="calibration")(logit)
    return keras.Model([a, b], keras.layers.Activation("sigmoid", dtype="float32", name="score")(logit), name="head")


def _koch_block(
    x: Tensor, number: int, filters: int, kernel: int, config: ModelConfig, policy: str, seed: int
) -> Tensor:
    """Convolution, batch-norm if configured, ReLU, and pooling after all blocks but the last."""

    def norm(x: Tensor, where: str) -> Tensor:
        return layers.FusedBatchNormalization(dtype=policy, name=f"norm{number}_{where}")(x)

    x = layers.Convolution(
        filters,
        kernel,
        dtype=policy,
        name=f"conv{number}",
        kernel_initializer=_he_normal(config.initializer, kernel**2 * x.shape[-1], kernel**2 * filters, [seed, number]),
        bias_initializer=_bias_init([seed, 10 + number]),
        kernel_regularizer=_penalty(config.l2),
    )(x)
    if config.batchnorm == "before-activation":
        x = norm(x, "linear")
    x = keras.layers.ReLU(dtype=policy, name=f"relu{number}")(x)
    if config.batchnorm in ("after-activation", "activation-and-pooling"):
        x = norm(x, "activation")
    if number < len(CONVOLUTIONS):
        stride = config.pool1_stride if number == 1 else 2
        x = layers.Pooling(stride, dtype=policy, name=f"pool{number}")(x)
        # The fourth block has no pooling layer, so "after both" adds seven layers, not eight.
        if config.batchnorm == "activation-and-pooling":
            x = norm(x, "pooling")
    return x


def _small_block(x: Tensor, number: int, filters: int, config: ModelConfig, policy: str, seed: int) -> Tensor:
    """Convolution, batch-norm, ReLU; the first convolution is the stem."""
    kernel, stride = (stem_kernel(config), config.stem_stride) if number == 1 else (3, 1)
    x = layers.Convolution(
        filters,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        dtype=policy,
        name=f"conv{number}",
        kernel_initializer=_he_normal(config.initializer, kernel**2 * x.shape[-1], kernel**2 * filters, [seed, number]),
        kernel_regularizer=_penalty(config.l2),
    )(x)
    x = layers.FusedBatchNormalization(dtype=policy, momentum=0.9, name=f"norm{number}")(x)
    return keras.layers.ReLU(dtype=policy, name=f"relu{number}")(x)


def _convolutions_policy(precision: str) -> str:
    return "float32" if precision == "float32" else "mixed_bfloat16"


def _dense(precision: str, mixed: type = keras.layers.Dense) -> tuple[type, str]:
    """The dense layer to use, `mixed` in bfloat16, and the dtype policy of saturating and comparing layers."""
    if precision == ALL_BFLOAT16:
        return layers.RoundedDense, "mixed_bfloat16"
    return keras.layers.Dense if precision == "float32" else mixed, "float32"


def _penalty(l2: float) -> layers.L2 | None:
    return layers.L2(l2) if l2 else None


def _he_normal(name: str, fan_in: int, fan_out: int, seed: Seed) -> keras.initializers.Initializer:
    """Normal with standard deviation sqrt(2 / fan), He et al. (2015), equation 10 (fan-in) or 14 (fan-out)."""
    fan = {"he-fan-out": fan_out, "he-fan-in": fan_in}[name]
    return keras.initializers.RandomNormal(stddev=float(np.sqrt(2.0 / fan)), seed=_seed(seed))


def _bias_init(seed: Seed) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.01, seed=_seed(seed))


def _seed(parts: Seed) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0] & 0x7FFFFFFF)
