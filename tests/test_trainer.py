import keras
import numpy as np
import pytest

from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.training import decisions
from lfwstudy.training.batches import drawable_rows, gather_sets, training_batches, with_copies
from lfwstudy.training.losses import cross_entropy
from lfwstudy.training.scorer import Scorer, gather
from lfwstudy.training.trainer import PairTrainer, build_trainer, fit


def test_fit_sees_every_batch_of_every_epoch_in_order(tiny, data, tmp_path, monkeypatch):
    images, sets = gather_sets(*data)
    trainer = build_trainer(tiny, images, "float32", 0)
    batches = training_batches(tiny, sets["train"], images, 0)
    seen, original = [], PairTrainer.call
    monkeypatch.setattr(
        PairTrainer,
        "call",
        lambda self, inputs, training=False: (
            seen.append(np.asarray(inputs["left"])) or original(self, inputs, training=training)
            if training
            else original(self, inputs)
        ),
    )
    trainer.run_eagerly = True
    fit(trainer, Scorer(trainer, sets), batches, tmp_path)
    # The first calls build the network on a symbolic batch.
    seen = [rows for rows in seen if len(rows)][-3 * batches.steps :]
    for i, rows in enumerate(seen):
        assert rows.tolist() == batches[i][0]["left"].tolist()


def test_images_are_gathered_and_scaled_inside_the_network(tiny, data):
    images, sets = gather_sets(*data)
    trainer = build_trainer(tiny, images, "float32", 0)
    left, right, _ = sets["val"]
    direct = trainer.siamese(
        [rows.astype(np.float32)[..., None] / 255 for rows in (images.images[left], images.images[right])]
    )
    scored = Scorer(trainer, sets).scores("val")
    indexed = trainer({"left": left.astype(np.int32), "right": right.astype(np.int32)})
    assert np.allclose(scored, np.asarray(direct)[:, 0], atol=1e-5)
    assert np.allclose(1 / (1 + np.exp(-np.asarray(indexed))), np.asarray(direct), atol=1e-6)


def test_averaged_weights_are_those_of_all_batches_with_falling_shares(tiny, data):
    config = tiny.change({"training.average": 0.5, "model.batchnorm": "before-activation"})
    images, sets = gather_sets(*data)
    trainer, batches = build_trainer(config, images, "float32", 0), training_batches(config, sets["train"], images, 0)
    tower, seen = trainer.siamese.get_layer("tower"), []
    watched = [tower.get_layer("conv1").kernel, tower.get_layer("norm1_linear").moving_mean]
    for batch in (0, 1, 2):
        seen.append([np.array(weight) for weight in watched])  # a batch adds the weights that its step starts from
        trainer.train_on_batch(*batches[batch])
    own = [np.array(weight) for weight in watched]
    with trainer.averaged():
        averaged = [np.array(weight) for weight in watched]
    for at, (mean, current) in enumerate(zip(averaged, own)):
        expected = sum(share * weights[at] for share, weights in zip((1 / 7, 2 / 7, 4 / 7), seen))
        np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-7)
        assert np.abs(mean - current).max() > 1e-5
        np.testing.assert_array_equal(np.array(watched[at]), current)


@pytest.mark.parametrize("separate", [True, False])
def test_separate_twins_are_normalised_each_by_itself(tiny, data, separate):
    config = tiny.change({"model.batchnorm": "before-activation", "training.separate_twins": separate})
    images, sets = gather_sets(*data)
    trainer = build_trainer(config, images, "float32", 0)
    tower = trainer.siamese.get_layer("tower")
    rows = [side[:8].astype(np.int32) for side in sets["train"][:2]]
    first = keras.Model(tower.input, tower.get_layer("conv1").output)
    means = [np.asarray(first(gather(trainer.bank, side))).mean(axis=(0, 1, 2)) for side in rows]
    trainer(dict(zip(("left", "right"), rows)), training=True)
    moving = np.asarray(tower.get_layer("norm1_linear").moving_mean)
    expected = (0.99 * means[0] + means[1]) / 100 if separate else (means[0] + means[1]) / 200
    np.testing.assert_allclose(moving, expected, rtol=1e-4, atol=1e-7)


def test_only_copies_are_stretched_to_the_full_range(tiny, data):
    config = tiny.change(
        {"training.augmented_copies": 2, "training.stretch_copies": True, "training.brightness": (1.0, 1.0)}
    )
    images, sets = gather_sets(*data)
    trainer = build_trainer(config, images, "float32", 0)
    inputs, _ = with_copies(config.training, sets["train"], images.side, 0)
    some = {name: values[:30] for name, values in inputs.items()}
    shown = np.asarray(trainer.varied(some, "left"))[..., 0]
    is_copy = np.arange(30) % 3 > 0
    assert shown[is_copy].min(axis=(1, 2)) == pytest.approx(0, abs=1e-6)
    assert shown[is_copy].max(axis=(1, 2)) == pytest.approx(1)
    originals = images.images[some["left"][~is_copy]] / np.float32(255)
    np.testing.assert_allclose(shown[~is_copy], originals, atol=1e-6)
    assert np.ptp(originals, axis=(1, 2)).min() < 0.98  # stretching them would show


def test_a_drawn_pair_is_told_from_its_neighbour(tiny):
    config = tiny.change({"training.drawn_people": 8, "training.batch_size": 8})
    bank, pairs = prepare_bank(config.data), load_pairs(config.data)
    images, sets = gather_sets(bank, pairs)
    trainer = build_trainer(config, images, "float32", 0)
    inputs, targets = training_batches(config, sets["train"], images, 0, drawable_rows(config, images, pairs))[0]
    logit = np.asarray(trainer(inputs, training=True))
    strangers = {"left": inputs["left"], "right": np.roll(inputs["right"], 1)}
    assert logit.shape == (8, 2, 1) and targets.shape == (8, 2, 2)
    np.testing.assert_allclose(logit[:, 0], np.asarray(trainer(inputs))[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logit[:, 1], np.asarray(trainer(strangers))[:, 0], rtol=1e-4, atol=1e-5)
    expected = np.log1p(np.exp(np.concatenate([-logit[:, 0, 0], logit[:, 1, 0]]))).mean()
    assert float(np.mean(cross_entropy(targets, logit))) == pytest.approx(expected, rel=1e-5)


def test_validation_leaves_batch_norm_statistics_alone(tiny, data):
    images, sets = gather_sets(*data)
    trainer = build_trainer(tiny.change({"model.batchnorm": "after-activation"}), images, "float32", 0)
    before = [np.asarray(w).copy() for w in trainer.siamese.non_trainable_weights]
    Scorer(trainer, sets).validate()
    assert all((np.asarray(w) == b).all() for w, b in zip(trainer.siamese.non_trainable_weights, before))


def test_diverging_run_stops_and_is_recorded_as_such(tiny, data, tmp_path):
    config = tiny.change({"training.epochs": 5, "training.learning_rate": 10.0, "model.l2": 10.0})
    rows = [{"epoch": 1, "loss": 1.0, "val_loss": float("nan")}]
    assert decisions.diverged(rows)
    images, sets = gather_sets(*data)
    trainer = build_trainer(config, images, "float32", 0)
    trainer.siamese.get_layer("head").get_layer("logit").bias.assign([np.nan])
    recorded = fit(trainer, Scorer(trainer, sets), training_batches(config, sets["train"], images, 0), tmp_path)
    assert len(recorded) == 1 and decisions.diverged(recorded)
