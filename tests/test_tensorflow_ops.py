import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from lfwstudy.config import ModelConfig, TrainingConfig
from lfwstudy.network import tensorflow_ops
from lfwstudy.network.layers import L2, Convolution, Dense, FusedBatchNormalization
from lfwstudy.network.operations import operations
from lfwstudy.network.siamese import build_siamese
from lfwstudy.network.tensorflow_fourier import fourier_convolution
from lfwstudy.network.tensorflow_ops import after_blocks, by_fourier, first_blocks
from lfwstudy.training.batches import Batches
from lfwstudy.training.trainer import build_optimizer


def test_fused_batch_norm_is_keras_own():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(2, 3, (8, 6, 5, 3)).astype(np.float32), rng.normal(size=(8, 6, 5, 3)).astype(np.float32)
    fused, single = (kind(momentum=0.9) for kind in (FusedBatchNormalization, layers.BatchNormalization))
    results = {}
    for norm in (fused, single):
        norm.build(x.shape)
        norm.gamma.assign([1.0, 2.0, 0.5]), norm.beta.assign([0.0, -1.0, 3.0])
        source = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(source)
            trained = norm(source, training=True)
            loss = ops.sum(trained * weight)
        results[norm] = [trained, norm.moving_mean, *tape.gradient(loss, [source, norm.gamma.value, norm.beta.value])]
    for ours, keras_own in zip(results[fused], results[single]):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(keras_own), rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(np.asarray(fused.moving_variance), np.asarray(single.moving_variance), rtol=1e-5)
    np.testing.assert_allclose(
        np.asarray(fused(x, training=False)), np.asarray(single(x, training=False)), rtol=1e-4, atol=2e-5
    )


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("stride, side", [(1, 49), (2, 65)])
def test_first_blocks_in_slices_are_the_layers_own(count, stride, side, monkeypatch):
    (ours, *our_gradients), (plain, *plain_gradients) = _first_blocks("float32", stride, count, monkeypatch, side)
    assert len(our_gradients) == len(plain_gradients) == 2 * count
    np.testing.assert_allclose(ours, plain, atol=1e-5 * np.abs(plain).max())
    for ours, plain in zip(our_gradients, plain_gradients):
        np.testing.assert_allclose(ours, plain, atol=1e-5 * np.abs(plain).max())


def test_first_block_in_slices_is_at_least_as_exact_in_bfloat16(monkeypatch):
    """The layers' own sums the gradient of all images in eight bits of mantissa."""
    (ours, *our_gradients), (plain, *plain_gradients) = _first_blocks("bfloat16", 2, 1, monkeypatch)
    # Not value for value: on some processors single outputs are a rounding apart.
    np.testing.assert_allclose(ours, plain, rtol=2**-7, atol=2**-9 * np.abs(plain).max())
    for mine, own, exact in zip(
        [ours, *our_gradients], [plain, *plain_gradients], _first_blocks("float32", 2, 1, monkeypatch)[1]
    ):
        assert np.linalg.norm(mine - exact) < 1.1 * np.linalg.norm(own - exact) < np.linalg.norm(exact)


@pytest.mark.parametrize("stride, side", [(1, 65), (2, 65), (2, 66)])
def test_first_block_with_pixels_as_channels_is_the_layers_own(stride, side, monkeypatch):
    """In float32, where processors without bfloat16 can tell, too; of side 66, pooling leaves a row and a column out."""
    monkeypatch.setattr(Convolution, "sums_in_float32", lambda self: False)
    (ours, *our_gradients), (plain, *plain_gradients) = _first_blocks("float32", stride, 1, monkeypatch, side)
    np.testing.assert_allclose(ours, plain, atol=1e-5 * np.abs(plain).max())
    for ours, plain in zip(our_gradients, plain_gradients, strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-5 * np.abs(plain).max())


@pytest.mark.parametrize("side, size, images", [(24, 7, 3), (23, 4, 33), (9, 9, 1)])
def test_convolution_by_fourier_is_the_direct_one(side, size, images):
    rng = np.random.default_rng(0)
    given = [
        tf.constant(rng.normal(size=shape), tf.float32)
        for shape in ((images, side, side, 3), (size, size, 3, 5), (images, side - size + 1, side - size + 1, 5))
    ]
    results = []
    for convolution in (fourier_convolution, lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "VALID")):

        @tf.function
        def run(x, kernel, upstream, convolution=convolution):
            with tf.GradientTape() as tape:
                tape.watch([x, kernel])
                y = convolution(x, kernel)
            return y, *tape.gradient(y, [x, kernel], upstream)

        results.append(run(*given))
    for ours, direct in zip(*results):
        np.testing.assert_allclose(ours, direct, atol=1e-5 * np.abs(direct).max())


def test_only_wide_convolutions_with_large_kernels_go_by_fourier(monkeypatch):
    def those(config, side, precision):
        tower = build_siamese(config, side, precision).get_layer("tower")
        return [
            number
            for number in (1, 2, 3, 4)
            if (layer := tower.get_layer(f"conv{number}")).sums_in_float32() and by_fourier(layer, layer.input.shape)
        ]

    assert those(ModelConfig(width=0.5), 105, "float32") == [2] and not those(ModelConfig(width=0.125), 65, "float32")
    for there in (False, True):
        monkeypatch.setattr("lfwstudy.network.layers.has_bfloat16", lambda there=there: there)
        assert those(ModelConfig(width=0.5), 105, "bfloat16") == ([] if there else [2])


def _first_blocks(precision, stride, count, monkeypatch, side=65):
    """Outputs and gradients of kernels and biases, float32, in slices (the second block's by Fourier) and by the layers: 70
    images, two slices and a part."""
    tower = build_siamese(ModelConfig(width=0.125, pool1_stride=stride), side, precision).get_layer("tower")
    blocks = [tower.layers[1:4], tower.layers[4:7]][:count]
    rng = np.random.default_rng(0)
    images = tf.constant(rng.random((70, side, side, 1), np.float32))
    weight = tf.constant(rng.normal(size=(70, *blocks[-1][-1].output.shape[1:])).astype(np.float32))
    weights = [value.value for convolution, *_ in blocks for value in (convolution.kernel, convolution.bias)]
    results = []
    for pays, run in (
        (0.8, tf.function(lambda: first_blocks(blocks, images))),
        (np.inf, keras.Model(tower.input, blocks[-1][-1].output).call),
    ):
        monkeypatch.setattr(tensorflow_ops, "FOURIER_PAYS", pays)
        assert [by_fourier(convolution, convolution.input.shape) for convolution, *_ in blocks] == [False, pays < 1][
            :count
        ]
        with tf.GradientTape() as tape:
            outputs = run() if pays < 1 else run(images)
            loss = tf.reduce_sum(tf.cast(outputs, "float32") * weight)
        assert outputs.dtype == precision
        results.append([np.asarray(value, np.float32) for value in (outputs, *tape.gradient(loss, weights))])
    return results


def test_penalty_and_its_gradient_are_keras_own():
    kernel = keras.Variable(np.random.default_rng(0).normal(size=(60, 50)).astype(np.float32))
    results = []
    for penalty in (L2(0.01), keras.regularizers.L2(0.01)):
        with tf.GradientTape() as tape:
            loss = penalty(kernel)
        results.append([loss, tape.gradient(loss, kernel.value)])
    for ours, own in zip(*results):
        np.testing.assert_allclose(ours, own, rtol=1e-6)
    assert L2(0.01).get_config() == keras.regularizers.L2(0.01).get_config()


def test_dense_layer_after_bfloat16_is_exact_but_for_the_gradient_that_it_hands_back(rng, monkeypatch):
    monkeypatch.setattr("lfwstudy.network.layers.has_bfloat16", lambda: True)
    x = tf.constant(rng.random((64, 288)).astype(np.float32))
    upstream = rng.normal(size=(64, 96)).astype(np.float32) * 1e-6
    kernel, bias = rng.normal(0, 0.08, (288, 96)).astype(np.float32), np.linspace(-4, 12, 96, dtype=np.float32)
    found = []
    for layer in (layers.Dense(96, activation="sigmoid"), Dense(96, activation="sigmoid")):
        layer.build(x.shape)
        layer.set_weights([kernel, bias])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        found.append((y, *tape.gradient(y, [layer.kernel.value, layer.bias.value, x], upstream)))
    for plain, mixed in zip(*(values[:3] for values in found)):
        assert mixed.dtype == plain.dtype and np.allclose(mixed, plain, rtol=1e-4, atol=1e-6 * np.abs(plain).max())
    assert np.all(found[1][1] != 0)  # of units near 1, too, whose gradient eight bits would lose
    plain, mixed = (np.asarray(values[3]) for values in found)
    assert mixed.dtype == plain.dtype and 1e-4 < np.abs(mixed - plain).max() / np.abs(plain).max() < 1e-2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_follows_the_first_blocks_is_the_towers_own(precision):
    """Bit for bit, though pooling goes before the ReLU there."""
    tower = build_siamese(ModelConfig(width=0.05), 69, precision).get_layer("tower")
    rest = after_blocks(tower, [tower.layers[1:4]])
    given = tf.cast(np.random.default_rng(0).random((3, *rest.input.shape[1:])), rest.input.dtype)
    results = []
    for model in (rest, keras.Model(tower.get_layer("pool1").output, tower.output)):
        with tf.GradientTape() as tape:
            tape.watch(given)
            outputs = model(given)
        results.append(
            [outputs, *tape.gradient(outputs, [given, *(weight.value for weight in model.trainable_weights)])]
        )
    assert [layer.name for layer in rest.layers[1:4]] == ["conv2", "pool2", "relu2"]
    for ours, own in zip(*results, strict=True):
        np.testing.assert_array_equal(tf.cast(ours, "float32"), tf.cast(own, "float32"))


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw", "weight_decay": 0.1}])
def test_the_optimizers_in_one_operation_are_keras_own(changes):
    settings = TrainingConfig(learning_rate=0.01, **changes)
    ours = build_optimizer(settings)
    own = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}[settings.optimizer](
        **{key: ours.get_config()[key] for key in ("learning_rate", "weight_decay", "beta_1", "beta_2", "epsilon")}
    )
    assert isinstance(ours, type(own)) and ours.beta_2 == 0.999 and (ours.weight_decay or 0) == settings.weight_decay
    rng, values = np.random.default_rng(0), []
    gradients = rng.normal(size=(5, 3, 4)).astype(np.float32) * 10.0 ** -np.arange(5)[:, None, None]
    start = rng.normal(size=(3, 4)).astype(np.float32)
    for optimizer in (ours, own):
        kernel = keras.Variable(start, name="kernel")
        optimizer.build([kernel])
        step = tf.function(lambda gradient, optimizer=optimizer: optimizer.apply([gradient]))
        for gradient in gradients:
            step(tf.constant(gradient))
        values.append(np.asarray(kernel))
    np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-6)
    assert np.abs(values[0] - start).max() > 0.01


def test_nothing_sleeps_when_the_batches_are_over(tiny_batches):
    """TensorFlow's tuning of a data set sleeps for up to a minute, and the end of the training waited for it."""
    given = operations().feed(tiny_batches)
    assert given.options().autotune.enabled is False
    for index, (inputs, targets) in zip(range(2 * tiny_batches.steps), given.as_numpy_iterator()):
        wanted, hard = tiny_batches[index]
        assert inputs.keys() == wanted.keys() and all((inputs[name] == wanted[name]).all() for name in wanted)
        assert (targets == hard).all() and targets.dtype == hard.dtype


@pytest.fixture
def tiny_batches():
    def arrays(epoch):
        rng = np.random.default_rng(epoch)
        return (
            {
                "left": rng.integers(9, size=10).astype(np.int32),
                "left_warp": rng.normal(size=(10, 8)).astype(np.float32),
            },
            rng.normal(size=(10, 2)).astype(np.float32),
        )

    return Batches(arrays, 10, 4)
