from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import lfwstudy
from lfwstudy.config import ModelConfig
from lfwstudy.errors import ConfigError
from lfwstudy.network import layers
from lfwstudy.network.cost import layer_table
from lfwstudy.network.siamese import build_siamese
from lfwstudy.verify.network import load_model


@pytest.fixture(scope="module")
def base():
    return build_siamese(ModelConfig(), 105)


def layer_names(model, kind):
    return [layer.name for layer in model.get_layer("tower").layers if kind in layer.__class__.__name__]


def test_base_network_is_the_published_one(base):
    assert base.count_params() == 38_951_745
    assert 908e6 < sum(row["multiply_adds"] for row in layer_table(base)) < 910e6
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


def test_no_batch_norm_where_none_is_asked_for(base):
    assert layer_names(base, "BatchNormalization") == []


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
        image = tf.Variable(np.full((1, 128, 128, 1), 0.5, np.float32))
        with tf.GradientTape() as tape:
            # Seen by batch-norm in inference mode, and by sums of absolute weights: no path may be cut by a ReLU.
            for weight in features.trainable_weights:
                weight.assign(tf.abs(weight))
            out = features(image, training=False)
            middle = tf.reduce_sum(out[:, out.shape[1] // 2, out.shape[2] // 2])
        touched = np.abs(tape.gradient(middle, image).numpy())[0, :, :, 0] > 0
        seen[architecture] = int(touched.any(axis=0).sum())
    assert seen["shallow"] <= 64 < 100 < seen["compact"]


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


def test_weights_of_either_dense_layer_are_the_other_s(tmp_path):
    plain, mixed = (
        build_siamese(ModelConfig(width=0.05), 69, precision, seed)
        for seed, precision in enumerate(("float32", "bfloat16"))
    )
    assert (
        type(mixed.get_layer("tower").get_layer("dense"))
        is layers.Dense
        is not type(plain.get_layer("tower").get_layer("dense"))
    )
    plain.save_weights(tmp_path / "plain.weights.h5")
    mixed.load_weights(tmp_path / "plain.weights.h5")
    assert all((one == other).all() for one, other in zip(plain.get_weights(), mixed.get_weights()))


def test_too_small_images_are_refused():
    with pytest.raises(ConfigError, match="side 40 is too small"):
        build_siamese(ModelConfig(), 40)


def test_kept_networks_find_their_layers_by_their_old_names():
    names = "AbsoluteDifference Twins Half Cosine LocalCosine Calibration Mirror FusedBatchNormalization L2 Convolution Pooling"
    for name in [*names.split(), "GeneralisedMean", "Dense", "RoundedDense"]:
        assert keras.saving.get_registered_object(f"lfwstudy>{name}") is getattr(layers, name)


def test_the_shipped_network_loads_and_embeds_as_when_it_was_trained():
    shipped = load_model(Path(lfwstudy.__file__).parent / "verify" / "shipped" / "model.keras")
    left, right = np.random.default_rng(0).random((2, 4, 128, 128, 1)).astype(np.float32)
    embeddings = np.asarray(shipped.get_layer("tower")(left, training=False))
    expected = [0.17640662, -0.16907795, -0.35702163, 0.20353466, -0.19840176, 0.09506048]
    assert embeddings.shape == (4, 128)
    # CPUs round differently, those with bfloat16 in the second digit.
    np.testing.assert_allclose(embeddings[0, :6], expected, atol=0.01)
    np.testing.assert_allclose(embeddings[3, -4:], [0.05597351, 0.24386992, -0.18990920, -0.77730322], atol=0.01)
    np.testing.assert_allclose(
        np.linalg.norm(embeddings, axis=1), [3.8204947, 3.8612869, 3.8821571, 3.8735497], rtol=0.01
    )
    # Noise looks like noise: logits of about 10.
    score = np.asarray(shipped([left, right], training=False), np.float64)[:, 0]
    np.testing.assert_allclose(np.log(score / (1 - score)), [10.194, 10.342, 10.262, 10.332], atol=0.2)
