"""Operations that TensorFlow has in one piece and Keras in many. Imported where TensorFlow is the backend, and only there."""

import tensorflow as tf


def batch_norm(x, scale, offset, mean=None, variance=None, epsilon=1e-3):
    """Batch normalisation (Ioffe and Szegedy 2015): x normalised, and the mean and variance of each channel, float32.

    x: (n, height, width, channels), float32 or bfloat16; scale and offset: (channels,). With `mean` and `variance` x is
    normalised by these; without, by its own, and the variance returned is the unbiased one (algorithm 2).
    """
    training = mean is None
    known = (([] if value is None else tf.cast(value, tf.float32)) for value in (mean, variance))
    normed, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=tf.cast(scale, tf.float32), offset=tf.cast(offset, tf.float32), **dict(zip(("mean", "variance"), known)),
        epsilon=epsilon, is_training=training, exponential_avg_factor=1.0)
    return normed, mean, variance
