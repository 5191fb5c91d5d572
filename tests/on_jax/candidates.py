"""What candidates for faster operations compute, on JAX: run by tests/test_jax_ops.py in a process of its own."""

import dataclasses
import itertools

import jax
import keras
import numpy as np
import pytest
from jax import numpy as jnp
from keras import ops

from lfwstudy.network.jax_ops import JaxOperations
from lfwstudy.network.operations import Operations, operations
from lfwstudy.network.siamese import build_siamese
from lfwstudy.training.batches import Batches, gather_sets, training_batches
from lfwstudy.training.scorer import Scorer
from lfwstudy.training.trainer import build_trainer, fit
from tools.candidates import Candidates
from tools.candidates import tower as towers
from tools.candidates.loop import Executions, lengths
from tools.candidates.operations import CandidateOperations

ALL = Candidates(**dict.fromkeys(Candidates.names(), True))
TOWERS = ("pieces", "pool_first", "pool_gradient", "direct_gradient", "dense_gradient")
SMALL = {
    "model.architecture": "shallow",
    "model.stem_stride": 2,
    "model.l2": 0.0,
    "training.optimizer": "adamw",
    "training.weight_decay": 0.05,
}
NORMED = {"model.batchnorm": "before-activation", "model.pool1_stride": 1, "data.side": 81}


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory):
    """Programs that several tests need are compiled once."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("programs")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@pytest.fixture(scope="module")
def course(tiny, data, tmp_path_factory):
    """A function that trains three epochs, the last batch partial, the learning rate dropped for the last epoch: the
    history's rows and the last weights."""
    images, sets = gather_sets(*data)

    def train(using, changes=(), folder=None, stop_in=None):
        config = tiny.change({"training.epochs": 3, "training.lr_drop_epoch": 2, **dict(changes)})
        trainer = build_trainer(config, images, "float32", 0, using)
        batches = training_batches(config, sets["train"], images, 0)
        assert batches.pairs % batches.batch_size
        if stop_in:
            batches.epoch_arrays = _until(stop_in, batches.epoch_arrays)
        rows = fit(trainer, Scorer(trainer, sets), batches, folder or tmp_path_factory.mktemp("run"))
        return rows, [np.asarray(weight) for weight in trainer.siamese.weights]

    return train


@pytest.fixture(scope="module")
def today(course):
    return course(Operations())


def _until(epoch, arrays):
    def broken(number):
        if number == epoch:
            raise KeyboardInterrupt
        return arrays(number)

    return broken


def same_course(found, expected):
    (rows, weights), (expected_rows, expected_weights) = found, expected
    assert len(rows) == len(expected_rows) == 3
    for row, other in zip(rows, expected_rows):
        assert row.keys() == other.keys()
        for name in row.keys() - {"seconds"}:
            assert row[name] == pytest.approx(other[name], rel=2e-3, abs=2e-4), name
    for weight, other in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(weight, other, rtol=0.01, atol=2e-3)


@pytest.mark.parametrize("name", ["penalty_in_update", "scan"])
def test_each_candidate_for_the_step_trains_as_today(course, today, name):
    same_course(course(CandidateOperations(Candidates(**{name: True}))), today)


def test_the_penalty_of_another_network_keeps_its_gradient(tiny):
    def slope(network):
        kernel = network.get_layer("tower").get_layer("dense").kernel
        return np.abs(jax.grad(kernel.regularizer)(kernel.value)).max()

    using = CandidateOperations(Candidates(penalty_in_update=True))
    ours, other = (of.build(lambda: build_siamese(tiny.model, tiny.data.side)) for of in (using, operations()))
    using.optimizer("adam")().build(other.trainable_variables)
    assert slope(ours) == 0 < slope(other)


def test_all_together_train_as_today(course, today):
    same_course(course(CandidateOperations(ALL)), today)


def test_without_candidates_operations_are_keras_own(course, today):
    assert type(operations()) is JaxOperations
    same_course(course(operations()), today)


def test_a_small_network_trains_as_today(course):
    using = CandidateOperations(dataclasses.replace(ALL, penalty_in_update=False))
    same_course(course(using, SMALL), course(Operations(), SMALL))


def test_an_interrupted_run_resumes_and_ends_the_same(course, today, tmp_path, monkeypatch):
    monkeypatch.setattr("lfwstudy.training.recorder.RESUME_EPOCHS", 1)
    scan = CandidateOperations(Candidates(scan=True))
    with pytest.raises(KeyboardInterrupt):
        course(scan, folder=tmp_path, stop_in=3)
    assert (tmp_path / "resume.npz").exists() and not (tmp_path / "epoch-0003.weights.h5").exists()
    same_course(course(scan, folder=tmp_path), today)


def test_executions_hold_every_batch_in_order():
    batches = Batches(lambda epoch: ({"left": 100 * epoch + np.arange(10)}, np.zeros((10, 2))), 10, 4)
    runs = Executions(batches)
    assert runs.lengths == [2, 1]
    found = itertools.chain.from_iterable(runs[at][0]["left"] for at in range(4))
    assert [rows.tolist() for rows in found] == [batches[at][0]["left"].tolist() for at in range(6)]
    for steps in (0, 1, 64, 65, 200, 312):
        assert sum(lengths(steps)) == steps and len(set(lengths(steps))) <= 2 and max([0, *lengths(steps)]) <= 64


def test_initial_values_are_those_of_the_layers(tiny):
    def make():
        return build_siamese(tiny.model, tiny.data.side, seed=3)

    for ours, theirs in zip(operations().build(make).weights, make().weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7, err_msg=ours.path)


def test_all_images_of_a_set_are_embedded_in_any_number(tiny, data, monkeypatch):
    images, sets = gather_sets(*data)
    monkeypatch.setattr("tools.candidates.operations.EMBEDDED_AT_ONCE", 7)
    trainer = build_trainer(tiny, images, "float32", 0, CandidateOperations(Candidates(one_validation=True)))
    scorer, rows = Scorer(trainer, sets), np.arange(23)
    trainer.operations = Operations()
    np.testing.assert_allclose(scorer.embed(rows), Scorer(trainer, sets).embed(rows), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module", params=[("float32", {}), ("float32", NORMED), ("float32", SMALL), ("bfloat16", {})])
def tower(request, tiny):
    """A tower, and a function from operations to its embeddings and gradients in training."""
    precision, changes = request.param
    config = tiny.change(changes)
    side, rng = config.data.side, np.random.default_rng(3)
    tower = operations().build(lambda: build_siamese(config.model, side, precision)).get_layer("tower")
    images = jnp.asarray(rng.random((6, side, side, 1)), jnp.float32)
    weights = jnp.asarray(rng.standard_normal((6, tower.output_shape[1])), jnp.float32)

    def gradients(using):
        embed = using.training_tower(tower, 3)

        @jax.jit
        @jax.value_and_grad
        def total(values):
            with keras.StatelessScope(state_mapping=list(zip(tower.trainable_variables, values))):
                return (embed(images) * weights).sum()

        return total([variable.value for variable in tower.trainable_variables])

    return precision, gradients, gradients(Operations())


@pytest.mark.parametrize("name", [*TOWERS, "all"])
def test_each_candidate_for_the_tower_has_its_gradients(tower, name):
    precision, gradients, (expected, slopes) = tower
    value, found = gradients(CandidateOperations(ALL if name == "all" else Candidates(**{name: True})))
    close = 1e-3 if precision == "float32" else 0.05
    assert float(value) == pytest.approx(float(expected), rel=close)
    sizes = [float(np.linalg.norm(slope)) for slope in slopes]
    for ours, theirs, size in zip(found, slopes, sizes, strict=True):
        # A bias before batch-norm has no gradient but rounding.
        assert np.linalg.norm(ours - theirs) <= close * max(size, 0.01 * max(sizes))


def slopes(function, *given):
    """Gradients of a weighted sum of a function's values, and these."""
    weights = jnp.asarray(np.random.default_rng(5).standard_normal(jax.eval_shape(function, *given).shape), jnp.float32)
    total = jax.value_and_grad(lambda *given: (function(*given) * weights).sum(), tuple(range(len(given))))
    return total(*given)


@pytest.mark.parametrize("side", [21, 22])
def test_a_product_of_pieces_is_a_convolution_and_pooling(rng, side):
    images = jnp.asarray(rng.standard_normal((3, side, side, 1)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((4, 4, 1, 5)), jnp.float32)

    def by_layers(kernel):
        return ops.max_pool(ops.conv(images, kernel), 2, 2)

    def by_pieces(kernel):
        return towers.largest(towers.pooled_product(images, kernel), (3, 4))

    np.testing.assert_allclose(by_pieces(kernel), by_layers(kernel), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(slopes(by_pieces, kernel)[1][0], slopes(by_layers, kernel)[1][0], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("axes", [(1, 2), (1, 3)])
def test_the_first_of_equal_values_gets_the_gradient(rng, axes, dtype):
    shape = [3, *(2 if axis in axes else 4 for axis in (1, 2, 3)), 5]
    x = jnp.asarray(rng.integers(3, size=shape), dtype)  # most values have equals
    (value, (slope,)) = slopes(lambda x: towers.largest(x, axes), x)
    (expected, (expected_slope,)) = slopes(lambda x: towers.larger(x, axes), x)
    assert value == expected and (slope == expected_slope).all() and slope.dtype == dtype
    assert "scatter" not in jax.jit(jax.grad(lambda x: towers.largest(x, axes).sum())).lower(x).as_text()


def test_a_direct_gradient_is_that_of_the_convolution(rng):
    x, kernel = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in ((2, 9, 8, 3), (4, 4, 3, 5)))
    (value, found), (expected, slope) = slopes(towers.direct_convolution, x, kernel), slopes(ops.conv, x, kernel)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    for ours, theirs in zip(found, slope):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_dense_gradient_is_rounded_once(rng):
    x, kernel = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in ((16, 9), (9, 4)))
    (value, found), (expected, slope) = slopes(towers.dense_product, x, kernel), slopes(jnp.matmul, x, kernel)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(found[0], slope[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[1], slope[1], rtol=0.02, atol=0.05)
    assert found[1].dtype == jnp.float32 and (found[1] == found[1].astype(jnp.bfloat16)).all()
