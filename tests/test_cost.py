from itertools import cycle

import pytest

from lfwstudy.config import BATCHNORM, ModelConfig
from lfwstudy.network.cost import layer_table, tower_cost
from lfwstudy.network.siamese import build_siamese


def built_cost(model):
    """Multiply-adds of a built network's tower, and its parameters."""
    of_tower = [row["multiply_adds"] for row in layer_table(model) if row["layer"].startswith("tower/")]
    return sum(of_tower), model.count_params()


def test_cost_formula_agrees_with_the_built_network():
    sizes = ((0.1, 105, 2), (0.1, 90, 1), (0.125, 73, 2))
    for placement, (width, side, stride) in zip(BATCHNORM, cycle(sizes)):
        config = ModelConfig(batchnorm=placement, width=width, pool1_stride=stride)
        model = build_siamese(config, side)
        assert tower_cost(config, side) == built_cost(model)
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
            assert tower_cost(config, side) == built_cost(model)
    assert tower_cost(ModelConfig(pool1_stride=1), 105) == (4_133_756_928, 304_241_473)


def test_layer_table_sums_up(base):
    rows = layer_table(base)
    assert sum(r["parameters"] for r in rows) == 38_951_745
    assert rows[0]["layer"] == "tower/conv1" and rows[0]["activations_mb"] == 128 * 96 * 96 * 64 * 4 / 2**20
    assert layer_table(base, batch_size=16)[0]["activations_mb"] == rows[0]["activations_mb"] / 4
    assert sum(r["state_mb"] for r in rows) == pytest.approx(38_951_745 * 16 / 2**20, rel=1e-6)


@pytest.fixture(scope="module")
def base():
    return build_siamese(ModelConfig(), 105)
