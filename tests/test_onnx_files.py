"""The ONNX files of a network: OpenCV gives the scores of Keras."""

import numpy as np
import pytest

from lfwstudy.config import ModelConfig, RunConfig
from lfwstudy.errors import StudyError
from lfwstudy.network.siamese import build_siamese
from lfwstudy.verify.kept import SHIPPED
from lfwstudy.verify.network import KerasRuntime, Network, OpenCVRuntime, load_model
from tests.support.failures import content
from tools.onnx_files import write_onnx

SIDE = 69
NETWORKS = {
    "shallow": ModelConfig(
        architecture="shallow",
        head="cosine",
        width=0.25,
        stem_stride=2,
        cohort=30,
        pooling="generalised-mean",
        flip_average=True,
    ),
    "compact": ModelConfig(architecture="compact", head="cosine", width=0.25, dropout=0.5),
    "koch": ModelConfig(width=0.05, batchnorm="activation-and-pooling", pool1_stride=1),
}


def _drawn(config, rng, precision="float32"):
    """A network whose weights are all drawn, also those that start as ones or zeros."""
    model = build_siamese(config, SIDE, precision)
    for weight in model.weights:
        values = np.asarray(weight)
        if values.std() == 0:
            weight.assign(np.abs(values + 0.1 * rng.normal(size=values.shape)))
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_opencv_gives_the_scores_of_keras(name, rng, tmp_path):
    model = _drawn(NETWORKS[name], rng)
    write_onnx(model, tmp_path)
    images = rng.integers(0, 256, (6, SIDE, SIDE), dtype=np.uint8)
    by_keras, by_opencv = (
        Network(runtime, RunConfig(model=NETWORKS[name]), name)
        for runtime in (KerasRuntime(model), OpenCVRuntime(tmp_path))
    )
    rows = by_keras.embed(images)
    np.testing.assert_allclose(by_opencv.embed(images), rows, atol=1e-4)
    odds = by_keras.log_odds(rows[:1], rows)
    np.testing.assert_allclose(by_opencv.log_odds(rows[:1], rows), odds, atol=1e-4)
    assert np.ptp(odds) > 1e-3 and by_opencv.score_images(*images[:2]) == pytest.approx(
        by_keras.score_images(*images[:2]), abs=1e-4
    )


def test_a_network_trained_in_bfloat16_rounds_in_opencv_too(rng, tmp_path):
    model = _drawn(NETWORKS["shallow"], rng, "bfloat16")
    write_onnx(model, tmp_path)
    pixels = rng.random((4, SIDE, SIDE, 1), dtype=np.float32)
    rounded = KerasRuntime(model).tower(pixels)
    exact = build_siamese(NETWORKS["shallow"], SIDE)
    exact.set_weights(model.get_weights())
    # Sums in another order round a few values the other way.
    off, unrounded = (np.abs(t.tower(pixels) - rounded).mean() for t in (OpenCVRuntime(tmp_path), KerasRuntime(exact)))
    assert off < unrounded / 3


def test_a_layer_without_an_onnx_form_is_named(tmp_path):
    with pytest.raises(StudyError, match="layer dense: RoundedDense has no ONNX form"):
        write_onnx(build_siamese(ModelConfig(width=0.05), SIDE, "all-bfloat16"), tmp_path)


def test_the_shipped_files_are_those_of_the_shipped_network(tmp_path):
    write_onnx(load_model(SHIPPED / "model.keras"), tmp_path)
    written = content(tmp_path)
    assert written and written == {name: (SHIPPED / name).read_bytes() for name in written}
