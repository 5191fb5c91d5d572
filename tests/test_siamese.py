import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from lfwstudy.config import BATCHNORM, ModelConfig
from lfwstudy.errors import ConfigError
from lfwstudy.network import tensorflow_ops
from lfwstudy.network.cost import tower_cost
from lfwstudy.network.siamese import (
    L2,
    Convolution,
    Dense,
    FusedBatchNormalization,
    GeneralisedMean,
    LocalCosine,
    build_siamese,
    layer_table,
    multiply_adds,
)
from lfwstudy.network.tensorflow_ops import first_blocks, fourier_convolution


@pytest.fixture(scope="module")
def base():
    return build_siamese(ModelConfig(), 105)


def layer_names(model, kind):
    return [layer.name for layer in model.get_layer("tower").layers if kind in layer.__class__.__name__]


def test_base_network_is_the_published_one(base):
    assert base.count_params() == 38_951_745
    assert 908e6 < multiply_adds(base) < 910e6
    shapes = [tuple(layer.output.shape[1:]) for layer in base.get_layer("tower").layers[1:]]
    assert shapes == [
        (96, 96, 64),
        (96, 96, 64),
        (48, 48, 64),
        (42, 42, 128),
        (42, 42, 128),
        (21, 21, 128),
        (18, 18, 128),
        (18, 18, 128),
        (9, 9, 128),
        (6, 6, 256),
        (6, 6, 256),
        (9216,),
        (4096,),
    ]


def test_the_penalty_begins_where_the_published_one_does():
    """272.7 on average: 190.8 of the convolutions and the dense layer, 81.9 of the last unit, with 1.8 from draw to draw."""
    model = build_siamese(ModelConfig(head_l2=0.01), 105)
    tower, head = (float(sum(map(float, model.get_layer(part).losses))) for part in ("tower", "head"))
    assert tower == pytest.approx(190.8, abs=0.5) and head == pytest.approx(81.9, abs=3 * 1.83)
    assert float(sum(map(float, model.losses))) == pytest.approx(tower + head, rel=1e-5)
    assert build_siamese(ModelConfig(width=0.05), 69).get_layer("head").losses == []


@pytest.mark.parametrize(
    "placement, parameters, norms",
    [
        ("before-activation", 38_954_049, ["norm1_linear", "norm2_linear", "norm3_linear", "norm4_linear"]),
        (
            "after-activation",
            38_954_049,
            ["norm1_activation", "norm2_activation", "norm3_activation", "norm4_activation"],
        ),
        (
            "activation-and-pooling",
            38_955_329,
            [
                "norm1_activation",
                "norm1_pooling",
                "norm2_activation",
                "norm2_pooling",
                "norm3_activation",
                "norm3_pooling",
                "norm4_activation",
            ],
        ),
    ],
)
def test_batch_norm_stands_exactly_where_it_says(placement, parameters, norms):
    model = build_siamese(ModelConfig(batchnorm=placement), 105)
    assert model.count_params() == parameters
    assert layer_names(model, "BatchNormalization") == norms
    order = [layer.name for layer in model.get_layer("tower").layers]
    after = {"linear": "conv1", "activation": "relu1", "pooling": "pool1"}
    for name in norms:
        if name.startswith("norm1"):
            assert order[order.index(name) - 1] == after[name.split("_")[1]]


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


@pytest.mark.parametrize("count, stride", [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_first_blocks_in_slices_are_the_layers_own(count, stride, monkeypatch):
    (ours, *our_gradients), (plain, *plain_gradients) = _first_blocks("float32", stride, count, monkeypatch)
    assert len(our_gradients) == len(plain_gradients) == 2 * count
    np.testing.assert_allclose(ours, plain, atol=1e-5 * np.abs(plain).max())
    for ours, plain in zip(our_gradients, plain_gradients):
        np.testing.assert_allclose(ours, plain, atol=1e-5 * np.abs(plain).max())


def test_first_block_in_slices_is_at_least_as_exact_in_bfloat16(monkeypatch):
    """The layers' own sums the gradient of all pictures in eight bits of mantissa."""
    (ours, *our_gradients), (plain, *plain_gradients) = _first_blocks("bfloat16", 2, 1, monkeypatch)
    # Not value for value: on some processors single outputs are a rounding apart.
    np.testing.assert_allclose(ours, plain, rtol=2**-7, atol=2**-9 * np.abs(plain).max())
    for ours, plain, exact in zip(
        [ours, *our_gradients], [plain, *plain_gradients], _first_blocks("float32", 2, 1, monkeypatch)[1]
    ):
        assert np.linalg.norm(ours - exact) < 1.1 * np.linalg.norm(plain - exact) < np.linalg.norm(exact)


@pytest.mark.parametrize("stride, side", [(1, 65), (2, 65), (2, 66)])
def test_first_block_with_pixels_as_channels_is_the_layers_own(stride, side, monkeypatch):
    """In float32, where processors without bfloat16 can tell, too; of side 66, pooling leaves a row and a column out."""
    monkeypatch.setattr(Convolution, "sums_in_float32", lambda self: False)
    (ours, *our_gradients), (plain, *plain_gradients) = _first_blocks("float32", stride, 1, monkeypatch, side)
    np.testing.assert_allclose(ours, plain, atol=1e-5 * np.abs(plain).max())
    for ours, plain in zip(our_gradients, plain_gradients, strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-5 * np.abs(plain).max())


@pytest.mark.parametrize("side, size, pictures", [(24, 7, 3), (23, 4, 33), (9, 9, 1)])
def test_convolution_by_fourier_is_the_direct_one(side, size, pictures):
    rng = np.random.default_rng(0)
    given = [
        tf.constant(rng.normal(size=shape), tf.float32)
        for shape in ((pictures, side, side, 3), (size, size, 3, 5), (pictures, side - size + 1, side - size + 1, 5))
    ]
    results = []
    for convolution in (fourier_convolution, lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "VALID")):

        @tf.function
        def run(x, kernel, upstream):
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
            if (layer := tower.get_layer(f"conv{number}")).by_fourier(layer.input.shape)
        ]

    assert those(ModelConfig(width=0.5), 105, "float32") == [2] and not those(ModelConfig(width=0.125), 65, "float32")
    for there in (False, True):
        monkeypatch.setattr("lfwstudy.network.siamese.has_bfloat16", lambda there=there: there)
        assert those(ModelConfig(width=0.5), 105, "bfloat16") == ([] if there else [2])


def _first_blocks(precision, stride, count, monkeypatch, side=65):
    """Outputs and gradients of kernels and biases, float32, in slices (the second block's by Fourier) and by the layers: 70
    pictures, two slices and a part."""
    tower = build_siamese(ModelConfig(width=0.125, pool1_stride=stride), side, precision).get_layer("tower")
    blocks = [tower.layers[1:4], tower.layers[4:7]][:count]
    rng = np.random.default_rng(0)
    pictures = tf.constant(rng.random((70, side, side, 1), np.float32))
    weight = tf.constant(rng.normal(size=(70, *blocks[-1][-1].output.shape[1:])).astype(np.float32))
    weights = [value.value for convolution, *_ in blocks for value in (convolution.kernel, convolution.bias)]
    results = []
    for pays, run in (
        (0.8, tf.function(lambda: first_blocks(blocks, pictures))),
        (np.inf, keras.Model(tower.input, blocks[-1][-1].output).call),
    ):
        monkeypatch.setattr(tensorflow_ops, "FOURIER_PAYS", pays)
        assert [convolution.by_fourier(convolution.input.shape) for convolution, *_ in blocks] == [False, pays < 1][
            :count
        ]
        with tf.GradientTape() as tape:
            outputs = run() if pays < 1 else run(pictures)
            loss = tf.reduce_sum(tf.cast(outputs, "float32") * weight)
        assert outputs.dtype == precision
        results.append([np.asarray(value, np.float32) for value in (outputs, *tape.gradient(loss, weights))])
    return results


def test_bfloat16_without_the_processors_own_rounds_as_it_would(monkeypatch):
    monkeypatch.setattr("lfwstudy.network.siamese.has_bfloat16", lambda: False)
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 9, 9, 3), (3, 3, 3, 4)))
    ours, plain = (
        kind(4, 3, dtype="mixed_bfloat16", kernel_initializer=lambda *_, **__: ops.convert_to_tensor(kernel))
        for kind in (Convolution, layers.Conv2D)
    )
    rounded = [ops.cast(ops.cast(value, "bfloat16"), "float32") for value in (x, kernel)]
    exact = np.asarray(ops.conv(*rounded, padding="valid"))
    for layer in (ours, plain):
        assert layer(x).dtype == "bfloat16"
        # One rounding of the sum, to eight bits of mantissa.
        np.testing.assert_allclose(np.asarray(ops.cast(layer(x), "float32")), exact, rtol=2**-7, atol=2**-7)
    assert np.mean(np.asarray(ours(x)) == np.asarray(plain(x))) > 0.95
    assert layers.Conv2D(4, 3)(x).dtype == Convolution(4, 3)(x).dtype == "float32"


def test_no_batch_norm_where_none_is_asked_for(base):
    assert layer_names(base, "BatchNormalization") == []


def test_cost_formula_agrees_with_the_built_network():
    for placement in BATCHNORM:
        for width, side, stride in ((0.1, 105, 2), (0.1, 90, 1), (0.125, 73, 2)):
            config = ModelConfig(batchnorm=placement, width=width, pool1_stride=stride)
            model = build_siamese(config, side)
            assert tower_cost(config, side) == (multiply_adds(model), model.count_params())
    for head, stride, side, cohort, pooling in (
        ("distance", 1, 96, 0, "mean"),
        ("cosine", 1, 96, 0, "generalised-mean"),
        ("cosine", 2, 95, 0, "mean"),
        ("cosine", 1, 96, 20, "mean"),
    ):
        for architecture in ("compact", "shallow"):
            config = ModelConfig(
                architecture=architecture, head=head, width=0.25, stem_stride=stride, cohort=cohort, pooling=pooling
            )
            model = build_siamese(config, side)
            assert tower_cost(config, side) == (multiply_adds(model), model.count_params())
    assert tower_cost(ModelConfig(pool1_stride=1), 105) == (4_133_756_928, 304_241_473)


def test_the_shallow_networks_last_features_see_half_of_a_face():
    """What a feature in the middle depends on: 63 of 128 pixels a side, as the stage says; all of them in the compact network."""
    seen = {}
    for architecture in ("shallow", "compact"):
        tower = build_siamese(
            ModelConfig(architecture=architecture, head="cosine", width=0.1, stem_stride=2), 128
        ).get_layer("tower")
        features = keras.Model(
            tower.input, [layer for layer in tower.layers if layer.name.startswith("relu")][-1].output
        )
        picture = tf.Variable(np.full((1, 128, 128, 1), 0.5, np.float32))
        with tf.GradientTape() as tape:
            # Seen by batch-norm in inference mode, and by sums of absolute weights: no path may be cut by a ReLU.
            for weight in features.trainable_weights:
                weight.assign(tf.abs(weight))
            out = features(picture, training=False)
            middle = tf.reduce_sum(out[:, out.shape[1] // 2, out.shape[2] // 2])
        touched = np.abs(tape.gradient(middle, picture).numpy())[0, :, :, 0] > 0
        seen[architecture] = int(touched.any(axis=0).sum())
    assert seen["shallow"] <= 64 < 100 < seen["compact"]


def test_generalised_mean_is_that_of_a_worked_example():
    layer = GeneralisedMean()
    picture = np.float32([[[[1, 2], [3, 2]], [[0, 2], [2, 2]]]])  # two channels of 2x2 pixels
    assert np.allclose(layer(picture), [[((1 + 27 + 0 + 8) / 4) ** (1 / 3), 2]], atol=1e-4)
    layer.power.assign(1.0)
    assert np.allclose(layer(picture), [[1.5, 2]], atol=1e-4)
    layer.power.assign(200.0)
    assert np.allclose(layer(np.minimum(picture, 1.2) / 1.2), [[1, 1]], atol=0.01)


@pytest.mark.parametrize("channels", [24, 32])
def test_batch_norm_of_bfloat16_is_that_of_float32_for_any_number_of_channels(rng, channels):
    x = rng.normal(1, 2, (8, 6, 6, channels)).astype(np.float32)
    normed = [
        np.asarray(FusedBatchNormalization(dtype=policy)(x, training=True), np.float32)
        for policy in ("float32", "mixed_bfloat16")
    ]
    assert np.abs(normed[0] - normed[1]).max() < 0.05


def test_cosine_less_what_is_usual_is_that_of_a_worked_example():
    layer = LocalCosine(12)
    a, b = np.float32([[2, 0], [0, 1]]), np.float32([[1, 0], [1, 0]])
    cosines = np.float32([[1], [0]])
    assert np.allclose(layer(a, b, training=False), cosines)  # no cohort was given
    # Ten pictures that look like (1, 0) at an angle of 60 degrees, two at its opposite, which are never among the nearest ten.
    layer.cohort.assign(np.float32([[0.5, np.sqrt(0.75)]] * 10 + [[-1, 0]] * 2))
    usual = np.float32([[(0.5 + 0.5) / 2], [(np.sqrt(0.75) + 0.5) / 2]])
    assert np.allclose(layer(a, b, training=False), cosines - usual, atol=1e-6)
    assert np.allclose(layer(a, b, training=True), cosines)


def test_initial_spread_follows_fan_out(base):
    tower = base.get_layer("tower")
    for name, fan in (("conv1", 100 * 64), ("conv2", 49 * 128), ("conv4", 16 * 256), ("dense", 4096)):
        kernel = np.asarray(tower.get_layer(name).kernel)
        assert np.std(kernel) == pytest.approx(np.sqrt(2 / fan), rel=0.03)
        assert np.std(np.asarray(tower.get_layer(name).bias)) == pytest.approx(0.01, rel=0.35)
    assert np.std(np.asarray(base.get_layer("head").get_layer("logit").kernel)) == pytest.approx(np.sqrt(2), rel=0.05)


def test_penalty_is_on_convolutions_and_dense_layer_only(base):
    kernels = [
        np.asarray(base.get_layer("tower").get_layer(n).kernel, np.float64)
        for n in ("conv1", "conv2", "conv3", "conv4", "dense")
    ]
    expected = 0.01 * sum((k**2).sum() for k in kernels)
    assert sum(float(value) for value in base.losses) == pytest.approx(expected, rel=1e-4)
    assert build_siamese(ModelConfig(width=0.05, l2=0.0), 69).losses == []


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


def test_score_is_a_probability_and_does_not_depend_on_the_side(rng):
    model = build_siamese(ModelConfig(width=0.1), 69, seed=1)
    a, b = rng.random((2, 5, 69, 69, 1)).astype(np.float32)
    forth, back = np.asarray(model([a, b])), np.asarray(model([b, a]))
    assert np.allclose(forth, back, atol=1e-6) and ((forth > 0) & (forth < 1)).all()


def test_seed_decides_the_weights():
    first, same, other = (
        np.asarray(build_siamese(ModelConfig(width=0.1), 69, seed=s).get_weights()[0]) for s in (1, 1, 2)
    )
    assert (first == same).all() and (first != other).any()


def test_bfloat16_is_for_convolutions_alone():
    model = build_siamese(ModelConfig(width=0.1, batchnorm="before-activation"), 69, "bfloat16")
    computed = {layer.name: layer.compute_dtype for part in ("tower", "head") for layer in model.get_layer(part).layers}
    assert computed["conv1"] == computed["conv4"] == "bfloat16"
    assert {computed[n] for n in ("dense", "difference", "logit", "score", "flatten")} == {"float32"}
    assert {w.dtype for w in model.weights} == {"float32"}
    assert model.output.dtype == "float32"


def test_dense_layer_after_bfloat16_is_exact_but_for_the_gradient_that_it_hands_back(rng, monkeypatch):
    monkeypatch.setattr("lfwstudy.network.siamese.has_bfloat16", lambda: True)
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


def test_weights_of_either_dense_layer_are_the_other_s(tmp_path):
    plain, mixed = (
        build_siamese(ModelConfig(width=0.05), 69, precision, seed)
        for seed, precision in enumerate(("float32", "bfloat16"))
    )
    assert (
        type(mixed.get_layer("tower").get_layer("dense"))
        is Dense
        is not type(plain.get_layer("tower").get_layer("dense"))
    )
    plain.save_weights(tmp_path / "plain.weights.h5")
    mixed.load_weights(tmp_path / "plain.weights.h5")
    assert all((one == other).all() for one, other in zip(plain.get_weights(), mixed.get_weights()))


def test_too_small_pictures_are_refused():
    with pytest.raises(ConfigError, match="side 40 is too small"):
        build_siamese(ModelConfig(), 40)


def test_layer_table_sums_up(base):
    rows = layer_table(base)
    assert sum(r["parameters"] for r in rows) == 38_951_745
    assert next(r for r in rows if r["layer"] == "tower/conv1")["activations_mb"] == 128 * 96 * 96 * 64 * 4 / 2**20
    assert sum(r["state_mb"] for r in rows) == pytest.approx(38_951_745 * 16 / 2**20, rel=1e-6)
