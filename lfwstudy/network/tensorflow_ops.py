"""Operations that TensorFlow has in one piece and Keras in many. Imported where TensorFlow is the backend, and only there."""

import itertools

import keras
import numpy as np
import tensorflow as tf

# Of the base network's first block: 75 MB in float32 where a batch of 64 pairs has 302; fewer save nothing more.
PICTURES_AT_ONCE = 32
# A convolution goes by way of Fourier's transform where that needs so many times fewer multiply-adds: the direct one is
# nearer to what the processor can do.
FOURIER_PAYS = 3.5


def batch_norm(x, scale, offset, mean=None, variance=None, epsilon=1e-3):
    """Batch normalisation (Ioffe and Szegedy 2015): x normalised, and the mean and variance of each channel, float32.

    x: (n, height, width, channels), float32 or bfloat16; scale and offset: (channels,). With `mean` and `variance` x is
    normalised by these; without, by its own, and the biased variance is returned, as Keras has it.
    """
    training = mean is None
    known = (([] if value is None else tf.cast(value, tf.float32)) for value in (mean, variance))
    normed, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=tf.cast(scale, tf.float32),
        offset=tf.cast(offset, tf.float32),
        **dict(zip(("mean", "variance"), known)),
        epsilon=epsilon,
        is_training=training,
        exponential_avg_factor=1.0,
    )
    if training:  # the operation gives the unbiased one
        count = tf.cast(tf.size(x) / tf.shape(x)[-1], tf.float32)
        variance *= (count - 1) / count
    return normed, mean, variance


def sum_of_squares(x):
    """The sum of the squares of all values of x, in one operation."""
    return 2 * tf.nn.l2_loss(x)


def product(x, kernel):
    """The product of float32 matrices (n, k) and (k, m), whose gradient for x is a product of bfloat16 factors."""

    @tf.custom_gradient
    def computed(x, kernel):
        def gradient(upstream):
            to_x = tf.matmul(*(tf.cast(factor, tf.bfloat16) for factor in (upstream, kernel)), transpose_b=True)
            return tf.cast(to_x, tf.float32), tf.matmul(x, upstream, transpose_a=True)

        return tf.matmul(x, kernel), gradient

    return computed(x, tf.convert_to_tensor(kernel))


def first_blocks(blocks, pictures):
    """Convolutions of pictures, each with its ReLU and pooling: their outputs, and their gradients a few pictures at a time.

    blocks: Keras' layers (convolution, ReLU, pooling), one such after the other; pictures: float32 (n, side, side, channels),
    which pass no gradient. What the convolutions give are the largest tensors of a step by far: they are computed once more
    for the gradient instead of kept (Chen et al. 2016), and neither they nor their gradients are ever there for the whole
    batch; but see `_first_block`.
    """
    kind = blocks[0][0].compute_dtype
    convolution, relu, pooling = blocks[0]
    if (
        len(blocks) == pictures.shape[-1] == 1
        and pooling.strides == pooling.pool_size
        and not convolution.sums_in_float32()
    ):
        return _first_block(convolution, relu, pictures)

    def chain(x, *weights):
        for (convolution, relu, pooling), kernel, bias in zip(blocks, weights[::2], weights[1::2]):
            x = convolution.convolution_op(tf.cast(x, kind), tf.cast(kernel, kind))
            # The other way round it is the same, but for the time that its gradient takes.
            x = relu(pooling(x + tf.cast(bias, kind)))
        return x

    @tf.custom_gradient
    def computed(pictures, *weights):
        def gradient(upstream):
            def add(some, *sums):
                with tf.GradientTape() as tape:
                    tape.watch(weights)
                    pooled = chain(pictures[some], *weights)
                return [total + more for total, more in zip(sums, tape.gradient(pooled, weights, upstream[some]))]

            return None, *_in_turn(pictures, add, *(tf.zeros_like(weight) for weight in weights))

        def write(some, written):
            return [written.write(written.size(), chain(pictures[some], *weights))]

        (written,) = _in_turn(pictures, write, _slices(kind, blocks[-1][-1].output.shape))
        return written.concat(), gradient

    return computed(
        pictures,
        *(
            tf.convert_to_tensor(weight.value)
            for convolution, *_ in blocks
            for weight in (convolution.kernel, convolution.bias)
        ),
    )


def _first_block(convolution, relu, pictures):
    """`first_blocks` of one convolution of one channel with pooling over pixels that do not overlap, where the processor
    computes in bfloat16. What it gives has half the bytes then, and is kept.

    The pixels that are pooled into one are channels here, four times as many, and so are those of the pictures: convolutions
    of one channel, and their kernels' gradient above all, make poor use of matrix units.
    """
    kind, (size, _, _, filters) = convolution.compute_dtype, convolution.kernel.shape
    out = (pictures.shape[1] - size + 1) // 2
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
    # The pixels past the pictures' end meet the kernel's zeros.
    pictures = tf.pad(tf.cast(pictures, kind), [[0, 0], [0, 1], [0, 1], [0, 0]])[
        :, : 2 * (out + reach - 1), : 2 * (out + reach - 1)
    ]
    convolved = tf.nn.conv2d(tf.nn.space_to_depth(pictures, 2), tf.cast(kernel, kind), 1, "VALID")
    convolved = tf.nn.bias_add(convolved, tf.tile(tf.cast(tf.convert_to_tensor(convolution.bias.value), kind), (4,)))
    pooled = tf.nn.max_pool2d(tf.reshape(convolved, (-1, out, 4, filters)), (1, 4), (1, 4), "VALID")
    return relu(tf.reshape(pooled, (-1, out, out, filters)))


def fourier_pays(pictures, kernel):
    """Whether a convolution in float32 of pictures of shape (n, side, side, channels) with kernels (k, k, channels, filters)
    is better done by `fourier_convolution`: on processors, for wide layers with large kernels."""
    (_, side, width, channels), (size, _, _, filters) = pictures, kernel
    if None in (side, width) or side != width or tf.config.list_physical_devices("GPU"):
        return False
    half, out = len(_half(side)), side - size + 1
    real, between = (2 * half * sides * sides for sides in (side, out))
    transforms = channels * (real + 4 * half * side * side) + filters * (between + 4 * half * side * out)
    return out * out * size * size * channels * filters > FOURIER_PAYS * (
        transforms + 4 * half * side * channels * filters
    )


def fourier_convolution(pictures, kernel):
    """A convolution without padding as a product of spectra (Mathieu et al. 2014): what tf.nn.conv2d gives, but for rounding.

    pictures: float32 (n, side, side, channels); kernel: float32 (k, k, channels, filters). The transforms are products with
    their matrices, exact for every side; real parts stand beside imaginary ones, as products of many small complex matrices
    make poor use of several cores. A few pictures go at a time: full batches would need as much memory as a step.
    """
    side, size = pictures.shape[1], kernel.shape[0]
    out, length = side - size + 1, side
    # Frequencies (down, across) of a kernel's pixels; conjugated, as networks' convolutions are correlations.
    down, across = (
        _waves(frequencies, np.arange(size), length).conj() for frequencies in (_half(length), np.arange(length))
    )
    of_kernel = (down[:, None, :, None] * across[None, :, None, :]).reshape(-1, size * size)

    def spectrum_of(kernel):
        """Real and imaginary part, each (half * length, channels, filters)."""
        flat = tf.reshape(kernel, (size * size, -1))
        return [tf.reshape(_float32(part) @ flat, (-1, *kernel.shape[2:])) for part in (of_kernel.real, of_kernel.imag)]

    def kernel_of(*spectrum):
        """The adjoint of `spectrum_of`, with the mirrored half of the spectrum."""
        back = (of_kernel * np.repeat(_counts(length), length)[:, None]).T
        flat = [tf.reshape(part, (len(of_kernel), -1)) for part in spectrum]
        return tf.reshape(_float32(back.real) @ flat[0] + _float32(back.imag) @ flat[1], kernel.shape)

    @tf.custom_gradient
    def computed(pictures, kernel):
        def gradient(upstream):
            kernels = spectrum_of(kernel)

            def add(some, written, total):
                wanted, turned = (_spectrum(upstream[some], length, factor) for factor in (1, -1j))
                back = [tf.matmul(wanted, part, transpose_b=True) for part in kernels]
                written = written.write(written.size(), _pictures(*back, -1j, length, side))
                seen = _spectrum(pictures[some], length)
                return written, total + kernel_of(
                    *(tf.matmul(seen, part, transpose_a=True) for part in (wanted, turned))
                )

            written, total = _in_turn(pictures, add, _slices(tf.float32, pictures.shape), tf.zeros_like(kernel))
            return written.concat(), total

        kernels = spectrum_of(kernel)

        def write(some, written):
            seen = _spectrum(pictures[some], length)
            return [
                written.write(written.size(), _pictures(*(tf.matmul(seen, part) for part in kernels), 1j, length, out))
            ]

        (written,) = _in_turn(pictures, write, _slices(tf.float32, (None, out, out, kernel.shape[3])))
        return written.concat(), gradient

    return computed(pictures, tf.convert_to_tensor(kernel))


def _spectrum(pictures, length, factor=1):
    """`factor` times the spectrum of pictures (n, side, side, c) padded with zeros to `length`: float32
    (half * length, 2 * n, c), frequencies down and across, real parts before imaginary ones."""
    _, side, _, channels = pictures.shape
    rows = tf.reshape(tf.transpose(pictures, (1, 2, 0, 3)), (side, -1))
    down = _waves(_half(length), np.arange(side), length)
    rows = tf.reshape(_float32(np.stack([down.real, down.imag], 1).reshape(-1, side)) @ rows, (len(down), 2 * side, -1))
    across = _on_parts(factor * _waves(np.arange(length), np.arange(side), length)).transpose(0, 1, 3, 2)
    return tf.reshape(_float32(across.reshape(2 * length, -1)) @ rows, (len(down) * length, -1, channels))


def _pictures(one, other, factor, length, side):
    """The pictures whose spectrum is `one` + `factor` * `other`, both as `_spectrum` has them: their first `side` by `side`
    pixels, float32 (n, side, side, c)."""
    channels, half = one.shape[2], len(_half(length))
    back = _waves(np.arange(side), np.arange(length), length).conj()
    rows = [
        _float32(_on_parts(by * back).transpose(1, 0, 2, 3).reshape(2 * side, -1))
        @ tf.reshape(part, (half, 2 * length, -1))
        for by, part in ((1, one), (factor, other))
    ]
    down = _waves(np.arange(side), _half(length), length).conj() * _counts(length)
    down = np.stack([down.real, -down.imag], 2).reshape(side, -1)
    pixels = _float32(down) @ tf.reshape(rows[0] + rows[1], (2 * half, -1))
    return tf.transpose(tf.reshape(pixels, (side, side, -1, channels)), (2, 0, 1, 3))


def _half(length):
    """The frequencies that a real picture's spectrum needs: the others mirror them."""
    return np.arange(length // 2 + 1)


def _counts(length):
    """What these count, with those that mirror them, in the inverse transform of a square."""
    half = _half(length)
    return np.where((half == 0) | (2 * half == length), 1, 2) / length**2


def _waves(rows, columns, length):
    """The matrix of the discrete Fourier transform: complex128 (rows, columns)."""
    return np.exp(-2j * np.pi * np.outer(rows, columns) / length)


def _on_parts(matrix):
    """A complex matrix (a, b) as a real one from real and imaginary parts to real and imaginary parts: (a, 2, b, 2)."""
    return np.stack([np.stack([matrix.real, -matrix.imag], -1), np.stack([matrix.imag, matrix.real], -1)], 1)


def _float32(matrix):
    return tf.constant(matrix, tf.float32)


def _in_turn(pictures, do, *state, at_once=PICTURES_AT_ONCE):
    """`do` of a slice of pictures and the state that it hands on, slice after slice: the last state."""

    def step(start, *state):
        return start + at_once, *do(slice(start, start + at_once), *state)

    return tf.while_loop(lambda start, *_: start < tf.shape(pictures)[0], step, (0, *state), parallel_iterations=1)[1:]


def _slices(kind, shape):
    """Room for slices of values of a shape (n, ...)."""
    return tf.TensorArray(kind, size=0, dynamic_size=True, infer_shape=False, element_shape=(None, *shape[1:]))


def _handle(variable):
    """The resource behind Keras' variable or TensorFlow's: Keras hands over either."""
    return (variable if isinstance(variable, tf.Variable) else variable.value).handle


class _OneOperation:
    """Adam's step (Kingma and Ba 2015) in TensorFlow's one operation, in place: Keras has nine, each with an array of its
    own as large as the variable."""

    def update_step(self, gradient, variable, learning_rate):
        at, kind = self._get_variable_index(variable), variable.dtype
        step = tf.cast(self.iterations + 1, kind)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[at]),
            v=_handle(self._velocities[at]),
            beta1_power=tf.pow(tf.cast(self.beta_1, kind), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, kind), step),
            lr=tf.cast(learning_rate, kind),
            beta1=tf.cast(self.beta_1, kind),
            beta2=tf.cast(self.beta_2, kind),
            epsilon=tf.cast(self.epsilon, kind),
            grad=tf.cast(gradient, kind),
        )


class Adam(_OneOperation, keras.optimizers.Adam):
    """Keras' Adam, without amsgrad."""


class AdamW(_OneOperation, keras.optimizers.AdamW):
    """Keras' AdamW, without amsgrad."""


def untuned(batches):
    """A data set of a PyDataset's batches without end, in order, as `fit` takes it, two of them ready ahead.

    Keras would have TensorFlow tune how many: the thread that does sleeps for up to a minute between two looks, and the
    end of the training waits for it.
    """

    def specification(values):
        return tf.TensorSpec((None, *values.shape[1:]), values.dtype)

    def each():
        return (batches[index] for index in itertools.count())

    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = 1
    shape_of = tf.nest.map_structure(specification, batches[0])
    return tf.data.Dataset.from_generator(each, output_signature=shape_of).prefetch(2).with_options(options)
