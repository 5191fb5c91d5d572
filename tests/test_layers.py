import numpy as np
import pytest
from keras import layers, ops

from lfwstudy.network.layers import Convolution, FusedBatchNormalization, GeneralisedMean, LocalCosine


def test_bfloat16_without_the_processors_own_rounds_as_it_would(monkeypatch):
    monkeypatch.setattr("lfwstudy.network.layers.has_bfloat16", lambda: False)
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


def test_generalised_mean_is_that_of_a_worked_example():
    layer = GeneralisedMean()
    image = np.float32([[[[1, 2], [3, 2]], [[0, 2], [2, 2]]]])  # two channels of 2x2 pixels
    assert np.allclose(layer(image), [[((1 + 27 + 0 + 8) / 4) ** (1 / 3), 2]], atol=1e-4)
    layer.power.assign(1.0)
    assert np.allclose(layer(image), [[1.5, 2]], atol=1e-4)
    layer.power.assign(200.0)
    assert np.allclose(layer(np.minimum(image, 1.2) / 1.2), [[1, 1]], atol=0.01)


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
    # Ten images that look like (1, 0) at an angle of 60 degrees, two at its opposite, which are never among the nearest ten.
    layer.cohort.assign(np.float32([[0.5, np.sqrt(0.75)]] * 10 + [[-1, 0]] * 2))
    usual = np.float32([[(0.5 + 0.5) / 2], [(np.sqrt(0.75) + 0.5) / 2]])
    assert np.allclose(layer(a, b, training=False), cosines - usual, atol=1e-6)
    assert np.allclose(layer(a, b, training=True), cosines)
    fewer = LocalCosine(12, neighbours=1)
    fewer.build(a.shape, b.shape)
    fewer.cohort.assign(np.float32([[0.6, 0.8]] + [[0.5, np.sqrt(0.75)]] * 11))
    assert np.allclose(
        fewer(a, b, training=False), cosines - np.float32([[0.6], [(np.sqrt(0.75) + 0.6) / 2]]), atol=1e-6
    )
