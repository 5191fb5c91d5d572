"""Operations that TensorFlow has in one piece and Keras in many. Imported where TensorFlow is the backend, and only there."""

import keras
import tensorflow as tf

# Of the base network's first block: 75 MB in float32 where a batch of 64 pairs has 302; fewer save nothing more.
PICTURES_AT_ONCE = 32


def batch_norm(x, scale, offset, mean=None, variance=None, epsilon=1e-3):
    """Batch normalisation (Ioffe and Szegedy 2015): x normalised, and the mean and variance of each channel, float32.

    x: (n, height, width, channels), float32 or bfloat16; scale and offset: (channels,). With `mean` and `variance` x is
    normalised by these; without, by its own, and the biased variance is returned, as Keras has it.
    """
    training = mean is None
    known = (([] if value is None else tf.cast(value, tf.float32)) for value in (mean, variance))
    normed, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=tf.cast(scale, tf.float32), offset=tf.cast(offset, tf.float32), **dict(zip(("mean", "variance"), known)),
        epsilon=epsilon, is_training=training, exponential_avg_factor=1.0)
    if training:  # the operation gives the unbiased one
        count = tf.cast(tf.size(x) / tf.shape(x)[-1], tf.float32)
        variance *= (count - 1) / count
    return normed, mean, variance


def first_block(convolution, relu, pooling, pictures):
    """A convolution of pictures, its ReLU and its pooling: their outputs, and their gradients a few pictures at a time.

    convolution, relu, pooling: Keras' layers; pictures: float32 (n, side, side, channels), which pass no gradient. What the
    convolution gives is the largest tensor of a step by far: it is computed once more for the gradient instead of kept
    (Chen et al. 2016), and neither it nor its gradient is ever there for the whole batch.
    """
    kind = convolution.compute_dtype

    def block(pictures, kernel, bias):
        x = convolution.convolution_op(tf.cast(pictures, kind), tf.cast(kernel, kind))
        return pooling(relu(x + tf.cast(bias, kind)))

    def in_turn(do, *state):
        """`do` of a slice of pictures and the state that it hands on, slice after slice."""
        def step(start, *state):
            return start + PICTURES_AT_ONCE, *do(slice(start, start + PICTURES_AT_ONCE), *state)
        return tf.while_loop(lambda start, *_: start < tf.shape(pictures)[0], step, (0, *state), parallel_iterations=1)[1:]

    @tf.custom_gradient
    def computed(pictures, kernel, bias):
        def gradient(upstream):
            def add(some, *sums):
                with tf.GradientTape() as tape:
                    tape.watch([kernel, bias])
                    pooled = block(pictures[some], kernel, bias)
                return [total + more for total, more in zip(sums, tape.gradient(pooled, [kernel, bias], upstream[some]))]
            return None, *in_turn(add, tf.zeros_like(kernel), tf.zeros_like(bias))

        def write(some, written):
            return [written.write(written.size(), block(pictures[some], kernel, bias))]
        written, = in_turn(write, tf.TensorArray(kind, size=0, dynamic_size=True, infer_shape=False,
                                                 element_shape=(None, *pooling.output.shape[1:])))
        return written.concat(), gradient

    return computed(pictures, *(tf.convert_to_tensor(weight.value) for weight in (convolution.kernel, convolution.bias)))


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
            var=_handle(variable), m=_handle(self._momentums[at]), v=_handle(self._velocities[at]),
            beta1_power=tf.pow(tf.cast(self.beta_1, kind), step), beta2_power=tf.pow(tf.cast(self.beta_2, kind), step),
            lr=tf.cast(learning_rate, kind), beta1=tf.cast(self.beta_1, kind), beta2=tf.cast(self.beta_2, kind),
            epsilon=tf.cast(self.epsilon, kind), grad=tf.cast(gradient, kind))


class Adam(_OneOperation, keras.optimizers.Adam):
    """Keras' Adam, without amsgrad."""


class AdamW(_OneOperation, keras.optimizers.AdamW):
    """Keras' AdamW, without amsgrad."""
