import errno
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from lfwstudy.config import ModelConfig, TrainingConfig
from lfwstudy.data.pairs import person_of
from lfwstudy.data.registry import load_pairs, prepare_bank
from lfwstudy.errors import DataError, RunError
from lfwstudy.evaluation import metrics
from lfwstudy.ladder import base_config
from lfwstudy.network.siamese import build_siamese
from lfwstudy.network.tensorflow_ops import untuned
from lfwstudy.runs import training_process
from lfwstudy.runs.store import Store
from lfwstudy.system import files
from lfwstudy.system.files import read_csv, read_json
from lfwstudy.training import recorder as callbacks
from lfwstudy.training import trainer as training
from lfwstudy.training.recorder import weights_path
from lfwstudy.training.trainer import Batches, PairTrainer, Scorer, build_trainer, gather_parts, training_batches
from lfwstudy.verify import photos


@pytest.fixture(scope="session")
def data(tiny):
    return prepare_bank(tiny.data), load_pairs(tiny.data)


@pytest.fixture(scope="session")
def finished(tiny, data, tmp_path_factory):
    """A tiny run, finished: its folder."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    training.train(tiny, 0, "float32", *data, folder, "run")
    return folder


def numbers(folder):
    """Everything a run measured but its times."""
    history = [{k: v for k, v in row.items() if k != "seconds"} for row in read_csv(folder / "history.csv")]
    return history, (folder / "predictions.csv").read_text()


def test_a_run_is_four_files_and_the_network(finished):
    assert {p.name for p in finished.iterdir()} == {
        "config.json",
        "history.csv",
        "predictions.csv",
        "result.json",
        "model.keras",
    }
    assert Store(finished.parent).set_aside_if_damaged("run") is None


def test_result_agrees_with_predictions_and_history(finished, data):
    result, store = read_json(finished / "result.json"), Store(finished.parent)
    for part, pairs in data[1].parts():
        scored = store.predictions("run", part)
        assert scored["left"].tolist() == pairs.left.tolist() and scored["pair"].tolist() == pairs.line.tolist()
        assert result[f"{part}_accuracy"] == metrics.accuracy(scored["label"], scored["score"])
        assert result[f"{part}_accuracy_at_best"] == metrics.accuracy(scored["label"], scored["score_at_best"])
    rows = store.history("run")
    assert result["epochs_run"] == result["evaluated_epoch"] == 3
    assert result["val_accuracy"] == pytest.approx(rows[-1]["val_accuracy"])
    assert result["val_loss"] == pytest.approx(rows[-1]["val_loss"], rel=1e-5)
    assert result["val_loss"] > result["val_cross_entropy"]
    assert result["val_accuracy_at_best"] == pytest.approx(max(r["val_accuracy"] for r in rows))
    assert result["seconds_total"] == pytest.approx(sum(r["seconds"] for r in rows))


def test_same_seed_gives_the_same_history(finished, tiny, data, tmp_path):
    training.train(tiny, 0, "float32", *data, tmp_path / "run", "run")
    assert numbers(tmp_path / "run") == numbers(finished)
    training.train(tiny, 1, "float32", *data, tmp_path / "other", "run")
    assert numbers(tmp_path / "other") != numbers(finished)


def test_interrupted_run_goes_on_to_the_same_numbers(tiny, data, tmp_path, monkeypatch):
    config = tiny.change(
        {
            "training.epochs": 4,
            "training.checkpoint_period": 1,
            "model.batchnorm": "before-activation",
            "training.evaluated": "best-checkpoint",
            "training.augmented_copies": 1,
            "training.lr_drop_epoch": 2,
        }
    )
    training.train(config, 0, "float32", *data, tmp_path / "whole", "run")
    monkeypatch.setattr(callbacks, "RESUME_EPOCHS", 2)
    original = callbacks.Recorder.on_epoch_begin

    def interrupt(self, epoch, logs=None):
        if epoch == 3:
            raise KeyboardInterrupt
        original(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Recorder, "on_epoch_begin", interrupt)
        with pytest.raises(KeyboardInterrupt):
            training.train(config, 0, "float32", *data, tmp_path / "parts", "run")
    assert (tmp_path / "parts" / "resume.npz").exists() and not (tmp_path / "parts" / "result.json").exists()
    assert len(read_csv(tmp_path / "parts" / "history.csv")) == 3
    training.train(config, 0, "float32", *data, tmp_path / "parts", "run")
    assert numbers(tmp_path / "parts") == numbers(tmp_path / "whole")


def test_a_resume_state_that_is_slow_to_write_is_written_less_often(tiny, data, tmp_path, monkeypatch):
    clock, written = [0.0], []
    monkeypatch.setattr(callbacks, "RESUME_EPOCHS", 1)
    monkeypatch.setattr(
        callbacks, "time", types.SimpleNamespace(monotonic=lambda: clock[0], perf_counter=time.perf_counter)
    )

    def save(folder, model, rows):
        written.append(len(rows))
        clock[0] += 2.0  # seconds that writing takes

    original = callbacks.Recorder.on_epoch_end

    def epoch_end(self, epoch, logs=None):
        clock[0] += 5.0  # seconds that an epoch takes
        original(self, epoch, logs)

    monkeypatch.setattr(callbacks, "save_resume", save)
    monkeypatch.setattr(callbacks.Recorder, "on_epoch_end", epoch_end)
    training.train(tiny.change({"training.epochs": 12}), 0, "float32", *data, tmp_path, "run")
    # After the first one a tenth of the time, and the last epoch's in any case.
    assert written == [1, 5, 9, 12]


@pytest.mark.parametrize(
    "damage", [lambda f: (f / "resume.npz").write_bytes(b"PK"), lambda f: [p.unlink() for p in f.glob("epoch-*")]]
)
def test_unusable_resume_state_starts_the_run_anew(finished, tiny, data, tmp_path, monkeypatch, capsys, damage):
    monkeypatch.setattr(callbacks, "RESUME_EPOCHS", 1)
    monkeypatch.setattr(training, "finish", lambda *args: None)
    training.train(tiny, 0, "float32", *data, tmp_path, "run")
    monkeypatch.undo()
    damage(tmp_path)
    training.train(tiny, 0, "float32", *data, tmp_path, "run")
    assert "starts anew" in capsys.readouterr().err
    assert numbers(tmp_path) == numbers(finished)


def test_test_scores_can_be_added_later_without_training(finished, tiny, data, tmp_path, monkeypatch):
    training.train(tiny, 0, "float32", *data, tmp_path, "run", score_test=False)
    result = read_json(tmp_path / "result.json")
    assert result["test_accuracy"] is None and result["test_ci_low"] is None
    assert {row["set"] for row in read_csv(tmp_path / "predictions.csv")} == {"train", "val"}
    monkeypatch.setattr(training, "fit", None)
    training.score_test_pairs(tiny, *data, tmp_path, "run")
    assert numbers(tmp_path) == numbers(finished)
    assert not list(tmp_path.glob("epoch-*"))


def test_every_pair_is_trained_once_an_epoch_the_last_batch_included():
    def shuffled(epoch):
        order = np.random.default_rng([3, epoch]).permutation(10)
        return {"left": order.astype(np.int32)}, np.zeros((10, 2), np.float32)

    batches = Batches(shuffled, 10, 4)
    assert batches.steps == 3 and [len(batches[i][1]) for i in range(6)] == [4, 4, 2, 4, 4, 2]
    epochs = [np.concatenate([batches[3 * e + i][0]["left"] for i in range(3)]).tolist() for e in (0, 1, 0)]
    assert sorted(epochs[0]) == list(range(10)) and epochs[0] == epochs[2] != epochs[1]
    batches.go_on_after(1)
    assert np.concatenate([batches[i][0]["left"] for i in range(3)]).tolist() == epochs[1]


def test_fit_sees_every_batch_of_every_epoch_in_order(tiny, data, tmp_path, monkeypatch):
    images, parts = gather_parts(*data)
    trainer = build_trainer(tiny, images, "float32", 0)
    batches = training_batches(tiny, parts["train"], images, 0)
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
    training.fit(tiny.training, trainer, Scorer(trainer, parts), batches, tmp_path)
    # The first calls build the network on a symbolic batch.
    seen = [rows for rows in seen if len(rows)][-3 * batches.steps :]
    for i, rows in enumerate(seen):
        assert rows.tolist() == batches[i][0]["left"].tolist()


def test_copies_triple_the_training_side_only(tiny, data):
    config = tiny.change({"training.augmented_copies": 2, "training.label_epsilon_copies": 0.03})
    images, parts = gather_parts(*data)
    assert training_batches(config, parts["train"], images, 0).pairs == 3 * len(data[1].train)
    inputs, targets = training.with_copies(config.training, parts["train"], 69, 0)
    originals = np.arange(len(targets)) % 3 == 0
    identity = np.array([1, 0, 0, 0, 1, 0, 1], np.float32)
    for side in ("left_warp", "right_warp"):
        same = (inputs[side] == identity).all(axis=1)
        assert (same == originals).all()
    assert set(np.unique(targets[originals, 0])) == {0, 1}
    assert np.allclose(np.unique(targets[~originals, 0]), [0.015, 0.985])
    assert set(np.unique(targets[:, 1])) == {0, 1}


def test_soft_labels_leave_accuracy_on_hard_ones(tiny, data):
    targets = np.array([[0.015, 0], [0.985, 1], [0.985, 1]], np.float32)
    score = np.array([[0.2], [0.7], [0.3]], np.float32)
    logit = np.log(score / (1 - score))
    assert np.asarray(training.hard_accuracy(targets, logit)).tolist() == [1, 1, 0]
    expected = -np.mean([np.log(0.8) * 0.985 + np.log(0.2) * 0.015])
    assert np.asarray(training.cross_entropy(targets, logit))[0] == pytest.approx(expected, rel=1e-4)


def test_pictures_are_gathered_and_scaled_inside_the_network(tiny, data):
    images, parts = gather_parts(*data)
    trainer = build_trainer(tiny, images, "float32", 0)
    left, right, _ = parts["val"]
    direct = trainer.siamese(
        [rows.astype(np.float32)[..., None] / 255 for rows in (images.images[left], images.images[right])]
    )
    scored = Scorer(trainer, parts).scores("val")
    indexed = trainer({"left": left.astype(np.int32), "right": right.astype(np.int32)})
    assert np.allclose(scored, np.asarray(direct)[:, 0], atol=1e-5)
    assert np.allclose(1 / (1 + np.exp(-np.asarray(indexed))), np.asarray(direct), atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_follows_the_first_blocks_is_the_towers_own(precision):
    """Bit for bit, though pooling goes before the ReLU there."""
    tower = build_siamese(ModelConfig(width=0.05), 69, precision).get_layer("tower")
    rest = training.after_blocks(tower, [tower.layers[1:4]])
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


def test_validation_leaves_batch_norm_statistics_alone(tiny, data):
    images, parts = gather_parts(*data)
    trainer = build_trainer(tiny.change({"model.batchnorm": "after-activation"}), images, "float32", 0)
    before = [np.asarray(w).copy() for w in trainer.siamese.non_trainable_weights]
    Scorer(trainer, parts).validate()
    assert all((np.asarray(w) == b).all() for w, b in zip(trainer.siamese.non_trainable_weights, before))


def test_best_checkpoint_is_evaluated_not_the_last_epoch(tiny, data, tmp_path, monkeypatch):
    config = tiny.change(
        {
            "training.epochs": 6,
            "training.checkpoint_period": 1,
            "training.learning_rate": 0.05,
            "training.evaluated": "best-checkpoint",
        }
    )
    training.train(config, 0, "float32", *data, tmp_path, "run")
    rows, result = Store(tmp_path.parent).history(tmp_path.name), read_json(tmp_path / "result.json")
    lowest = min(rows, key=lambda r: r["val_loss"])
    assert result["evaluated_epoch"] == lowest["epoch"]
    assert result["val_loss"] == pytest.approx(lowest["val_loss"], rel=1e-4)


def test_patience_ends_training(tiny, data, tmp_path):
    config = tiny.change({"training.epochs": 40, "training.patience": 1, "training.learning_rate": 0.05})
    training.train(config, 0, "float32", *data, tmp_path, "run")
    rows = Store(tmp_path.parent).history(tmp_path.name)
    assert len(rows) < 40 and rows[-1]["val_loss"] >= min(r["val_loss"] for r in rows[:-1])


def test_diverging_run_stops_and_is_recorded_as_such(tiny, data, tmp_path):
    config = tiny.change({"training.epochs": 5, "training.learning_rate": 10.0, "model.l2": 10.0})
    rows = [{"epoch": 1, "loss": 1.0, "val_loss": float("nan")}]
    assert training.history.diverged(rows)
    images, parts = gather_parts(*data)
    trainer = build_trainer(config, images, "float32", 0)
    trainer.siamese.get_layer("head").get_layer("logit").bias.assign([np.nan])
    recorded = training.fit(
        config.training, trainer, Scorer(trainer, parts), training_batches(config, parts["train"], images, 0), tmp_path
    )
    assert len(recorded) == 1 and training.history.diverged(recorded)


def test_saved_network_takes_pictures_and_loads_in_safe_mode(finished, data, tiny):
    from lfwstudy.verify.photos import load_model

    model = load_model(finished / "model.keras")
    bank, pairs = data
    left, right = (
        bank.images[bank.rows(names)].astype(np.float32)[..., None] / 255
        for names in (pairs.test.left, pairs.test.right)
    )
    scored = Store(finished.parent).predictions("run", "test")["score_at_best"]
    assert np.allclose(np.asarray(model([left, right]))[:, 0], scored, atol=1e-4)
    assert model.count_params() < bank.images.size


def test_process_refuses_changed_data_with_one_line(tiny, tmp_path):
    job = {
        "task": "train",
        "config": tiny.to_dict(),
        "seed": 0,
        "precision": "float32",
        "run": "0" * 16,
        "data_dir": "",
        "folder": str(tmp_path / "run"),
        "score_test": True,
        "keep_weights": False,
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, "-m", "lfwstudy.runs.training_process", str(tmp_path / "job.json")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "error: run 0000000000000000" in done.stderr
    assert not (tmp_path / "run").exists()


def test_what_cannot_fit_into_memory_is_said_before_it_starts(tiny, data, tmp_path, monkeypatch, capsys):
    stride = tiny.change({"model.pool1_stride": 1, "model.width": 1.0, "data.side": 105})
    monkeypatch.setattr(training_process, "free_memory", lambda: 2 * 2**30)
    training_process.require_memory(tiny)
    monkeypatch.setattr(training_process, "prepare_bank", lambda *args: data[0])
    run = stride.identify(0, "float32", data[1].digest(data[0]))
    job = {
        "task": "train",
        "config": stride.to_dict(),
        "seed": 0,
        "precision": "float32",
        "run": run,
        "data_dir": "",
        "folder": str(tmp_path / "run"),
        "score_test": True,
        "keep_weights": False,
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    assert training_process.main(tmp_path / "job.json") == 1
    told = capsys.readouterr().err
    assert re.fullmatch(
        rf"error: run {run}: out of memory: a network of 304,241,473 parameters needs at least \d+\.\d GiB "
        r"to be trained, 2\.0 GiB are free on this machine\n",
        told,
    ), told
    assert not (tmp_path / "run" / "config.json").exists()
    monkeypatch.setattr(training_process, "free_memory", lambda: None)
    training_process.require_memory(stride)


@pytest.mark.long
def test_quick_profile_learns_on_demo_faces(tmp_path):
    config = base_config("quick").change({"training.epochs": 10})
    bank, pairs = prepare_bank(config.data), load_pairs(config.data)
    training.train(config, 0, "float32", bank, pairs, tmp_path, "run", keep_weights=False)
    result = read_json(tmp_path / "result.json")
    # 600 test pairs: chance lies below .54 with 97.5 %.
    assert result["test_accuracy_at_best"] > 0.6
    assert not (tmp_path / "model.keras").exists() and not weights_path(tmp_path, 10).exists()


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw", "weight_decay": 0.1}])
def test_the_optimisers_in_one_operation_are_keras_own(changes):
    settings = TrainingConfig(learning_rate=0.01, **changes)
    ours = training.build_optimizer(settings)
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


def test_surely_wrong_pairs_still_pass_a_gradient(tiny):
    targets = np.array([[1, 1]], np.float32)
    losses = [float(np.asarray(training.cross_entropy(targets, np.array([[z]], np.float32)))[0]) for z in (-40, -41)]
    assert losses == pytest.approx([40, 41])


def test_damaged_weights_are_set_aside_and_the_run_starts_anew(finished, tiny, data, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "finish", lambda *args: None)
    training.train(tiny, 0, "float32", *data, tmp_path, "run")
    monkeypatch.undo()
    for path in tmp_path.glob("epoch-*"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match="damaged weights.*set aside"):
        training.train(tiny, 0, "float32", *data, tmp_path, "run")
    training.train(tiny, 0, "float32", *data, tmp_path, "run")
    assert numbers(tmp_path) == numbers(finished)


def test_a_view1_network_is_refused_on_view2_pairs(finished, tiny, data, tmp_path):
    view2 = load_pairs(tiny.change({"data.protocol": "view2", "data.fold": 1}).data)
    for call in (
        lambda: training.train(tiny, 0, "float32", data[0], view2, tmp_path / "run"),
        lambda: training.score_test_pairs(tiny, data[0], view2, finished),
    ):
        with pytest.raises(DataError, match="view1 cannot be trained or scored.*--protocol view2"):
            call()
    assert not (tmp_path / "run").exists()


def test_damaged_runs_are_set_aside(finished, tmp_path):
    for file, text in (("result.json", '{"run":'), ("history.csv", "epoch\n1\n"), ("predictions.csv", "set\n")):
        shutil.copytree(finished, tmp_path / "run")
        (tmp_path / "run" / file).write_text(text)
        problem = Store(tmp_path).set_aside_if_damaged("run")
        assert "damaged" in problem and not (tmp_path / "run").exists()
    assert len(list(tmp_path.glob("run.damaged-*"))) == 3


COMPACT = {"model.architecture": "compact", "model.width": 0.1, "model.l2": 0.0, "data.side": 48, "data.crop": 144}
BEYOND = {
    **COMPACT,
    "model.head": "cosine",
    "model.flip_average": True,
    "model.cohort": 30,
    "training.optimizer": "adamw",
    "training.weight_decay": 0.05,
    "training.schedule": "cosine",
    "training.warmup": 1,
    "training.flip": True,
    "training.shift": 0.04,
    "training.rotation": 8.0,
    "training.erase": 0.5,
    "training.contrast": 1.0,
    "model.dropout": 0.2,
    "training.epochs": 4,
}


def melted(weights, rate, steps, l2):
    """The weights after some of Adam's steps (Kingma and Ba 2015, algorithm 1) on their penalty alone."""
    first = second = np.zeros_like(weights)
    for step in range(1, steps + 1):
        gradient = 2 * l2 * weights
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        weights = weights - rate * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-7)
    return weights


def test_the_penalty_of_the_head_falls_as_adam_alone_lets_it(tiny, data, tmp_path):
    config = tiny.change({"model.head_l2": 0.01, "training.batch_size": 8})
    begun = build_siamese(config.model, config.data.side).get_layer("head").get_layer("logit").kernel.numpy()
    training.train(config, 0, "float32", *data, tmp_path / "run", "run")
    for row in Store(tmp_path).history("run"):
        expected = 0.01 * np.square(melted(begun, 0.003, 8 * row["epoch"], 0.01)).sum()
        assert row["head_penalty"] == pytest.approx(expected, rel=0.02)
        assert row["penalty"] == pytest.approx(row["val_loss"] - row["val_cross_entropy"], abs=1e-5)
        assert row["head_penalty"] < 0.01 * np.square(begun).sum() * (1 - 0.025 * row["epoch"])  # that much falls


@pytest.mark.parametrize("separate", [True, False])
def test_separate_twins_are_normalised_each_by_itself(tiny, data, separate):
    config = tiny.change({"model.batchnorm": "before-activation", "training.separate_twins": separate})
    images, parts = gather_parts(*data)
    trainer = build_trainer(config, images, "float32", 0)
    tower = trainer.siamese.get_layer("tower")
    rows = [side[:8].astype(np.int32) for side in parts["train"][:2]]
    first = keras.Model(tower.input, tower.get_layer("conv1").output)
    means = [np.asarray(first(training.gather(trainer.bank, side))).mean(axis=(0, 1, 2)) for side in rows]
    trainer(dict(zip(("left", "right"), rows)), training=True)
    moving = np.asarray(tower.get_layer("norm1_linear").moving_mean)
    expected = (0.99 * means[0] + means[1]) / 100 if separate else (means[0] + means[1]) / 200
    np.testing.assert_allclose(moving, expected, rtol=1e-4, atol=1e-7)


def test_only_copies_are_stretched_to_the_full_range(tiny, data):
    config = tiny.change(
        {"training.augmented_copies": 2, "training.stretch_copies": True, "training.brightness": (1.0, 1.0)}
    )
    images, parts = gather_parts(*data)
    trainer = build_trainer(config, images, "float32", 0)
    inputs, _ = training.with_copies(config.training, parts["train"], images.side, 0)
    some = {name: values[:30] for name, values in inputs.items()}
    shown = np.asarray(trainer.pictures(some, "left"))[..., 0]
    is_copy = np.arange(30) % 3 > 0
    assert shown[is_copy].min(axis=(1, 2)) == pytest.approx(0, abs=1e-6)
    assert shown[is_copy].max(axis=(1, 2)) == pytest.approx(1)
    originals = images.images[some["left"][~is_copy]] / np.float32(255)
    np.testing.assert_allclose(shown[~is_copy], originals, atol=1e-6)
    assert np.ptp(originals, axis=(1, 2)).min() < 0.98  # stretching them would show


def test_a_history_without_penalties_or_with_empty_ones_stays_readable(tiny, data, tmp_path):
    folder = tmp_path / "run"
    training.train(tiny, 0, "float32", *data, folder, "run")
    whole = Store(tmp_path).history("run")
    lines = (folder / "history.csv").read_text().splitlines()
    (folder / "history.csv").write_text("\n".join(line.rpartition(",")[0].rpartition(",")[0] for line in lines) + "\n")
    assert [set(whole[0]) - set(row) for row in Store(tmp_path).history("run")] == [{"penalty", "head_penalty"}] * 3
    (folder / "history.csv").write_text("\n".join([*lines[:2], lines[2].rpartition(",")[0] + ",", lines[3]]) + "\n")
    assert [np.isnan(row["head_penalty"]) for row in Store(tmp_path).history("run")] == [False, True, False]


@pytest.fixture(scope="module")
def beyond(tiny, tmp_path_factory):
    """A finished run of everything that the second ladder adds, its configuration and data."""
    config = tiny.change(BEYOND)
    data = prepare_bank(config.data), load_pairs(config.data)
    folder = tmp_path_factory.mktemp("beyond")
    training.train(config, 0, "float32", *data, folder, "run")
    return config, data, folder


def test_everything_beyond_trains_and_goes_on_after_an_interruption(beyond, tmp_path, monkeypatch):
    config, data, folder = beyond
    monkeypatch.setattr(callbacks, "RESUME_EPOCHS", 1)
    original = callbacks.Recorder.on_epoch_begin

    def interrupt(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt
        original(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Recorder, "on_epoch_begin", interrupt)
        with pytest.raises(KeyboardInterrupt):
            training.train(config, 0, "float32", *data, tmp_path, "run")
    training.train(config, 0, "float32", *data, tmp_path, "run")
    assert numbers(tmp_path) == numbers(folder)


def test_a_kept_cosine_network_gives_the_scores_of_the_run(beyond):
    config, data, folder = beyond
    kept = photos.load_model(folder / "model.keras")
    images, parts = gather_parts(*data)
    left, right, _ = (values[:20] for values in parts["test"])
    pictures = [images.images[rows].astype(np.float32)[..., None] / 255 for rows in (left, right)]
    scores = [float(row["score_at_best"]) for row in read_csv(folder / "predictions.csv") if row["set"] == "test"][:20]
    assert np.allclose(np.asarray(kept(pictures, training=False))[:, 0], scores, atol=1e-4)


def test_a_cohort_is_of_training_people_and_does_not_change_the_training(beyond, tmp_path):
    config, data, folder = beyond
    images, parts = gather_parts(*data)
    held = set(person_of(np.concatenate([data[1].validation.names(), data[1].test.names()])))
    for people in (None, 75):
        changed = config.change({"training.drawn_people": people})
        rows = training.cohort_rows(changed, parts["train"], training.training_rows(changed, images, data[1]), 0)
        assert len(rows) == 30 == len(set(rows)) and not held & set(person_of(images.names[rows]))
    training.train(config.change({"model.cohort": 0}), 0, "float32", *data, tmp_path, "run")
    without, with_cohort = (read_csv(path / "history.csv") for path in (tmp_path, folder))
    assert [row["loss"] for row in without] == [row["loss"] for row in with_cohort]
    assert [row["val_loss"] for row in without] != [row["val_loss"] for row in with_cohort]
    kept = photos.load_model(folder / "model.keras").get_layer("head").get_layer("cosine")
    assert np.allclose(np.linalg.norm(kept.cohort, axis=1), 1, atol=1e-4)


def test_contrast_loss_is_that_of_a_worked_example():
    embeddings = np.array([[1, 0], [0, 2], [1, 0], [0, -1]], np.float32)
    # Persons a, b, a, c; only the two pictures of a have a positive: cosines to the others 0, 1, 0 at temperature 1.
    expected = -np.log(np.e / (np.e + 2))
    got = float(training.contrast_loss(embeddings, np.array([0, 1, 0, 2], np.int32), 1.0))
    assert got == pytest.approx(expected, abs=1e-5)
    assert float(training.contrast_loss(embeddings, np.arange(4, dtype=np.int32), 1.0)) == 0


def test_drawn_people_are_training_people_and_different_in_a_batch(tiny):
    config = tiny.change(
        {
            "data.pictures": "all-people",
            "training.drawn_people": 75,
            "training.batch_size": 32,
            "data.pairs_per_class": None,
        }
    )
    bank, pairs = prepare_bank(config.data), load_pairs(config.data)
    images, parts = gather_parts(bank, pairs)
    rows = training.training_rows(config, images, pairs)
    held = set(person_of(np.concatenate([pairs.validation.names(), pairs.test.names()])))
    assert not held & set(person_of(images.names[rows])) and len(rows) > len(pairs.train.names())
    batches = training_batches(config, parts["train"], images, 0, rows)
    inputs, targets = batches.epoch_arrays(1)
    people = training.people_of(images)
    assert batches.steps == 3 and batches.pairs == 96 == len(targets)
    assert (people[inputs["left"]] == people[inputs["right"]]).all()
    assert all(len(set(people[batches[step][0]["left"]])) == 32 for step in range(3))
    pictures = np.bincount(people[rows])[people[inputs["left"]]]
    assert ((inputs["left"] == inputs["right"]) == (pictures == 1)).all()
    assert set(inputs["left"]) | set(inputs["right"]) <= set(rows)
    again, other = batches.epoch_arrays(1)[0], batches.epoch_arrays(2)[0]
    assert (again["left"] == inputs["left"]).all() and (other["left"] != inputs["left"]).any()


def test_people_with_more_pictures_are_drawn_more_often_by_the_square_root():
    person = np.repeat(np.arange(40), [16] * 10 + [1] * 30)
    left, right = training.draw_people(np.random.default_rng(0), person, np.arange(len(person)), 4000, 1)
    share = (person[left] < 10).mean()
    assert share == pytest.approx(10 * 4 / (10 * 4 + 30), abs=0.03)
    assert (person[left] == person[right]).all() and ((left != right) == (person[left] < 10)).all()


def test_several_pairs_of_a_person_in_a_batch_are_never_told_from_each_other(tiny):
    config = tiny.change(
        {
            "data.pictures": "all-people",
            "training.drawn_people": 40,
            "training.batch_size": 32,
            "training.pairs_per_person": 2,
            "training.least_pictures": 2,
            "data.pairs_per_class": None,
        }
    )
    bank, pairs = prepare_bank(config.data), load_pairs(config.data)
    images, parts = gather_parts(bank, pairs)
    rows, people = training.training_rows(config, images, pairs), training.people_of(images)
    batches = training_batches(config, parts["train"], images, 0, rows)
    assert batches.steps == 3 and batches.pairs == 96  # three batches of 16 people
    for step in range(batches.steps):
        inputs, targets = batches[step]
        person = people[inputs["left"]]
        assert (person == people[inputs["right"]]).all() and (inputs["left"] != inputs["right"]).all()
        assert (np.unique(person, return_counts=True)[1] == 2).all() and len(set(person)) == 16
        assert (person != np.roll(person, 1)).all() and targets.shape == (32, 2, 2)
    nobody = config.change({"training.least_pictures": 1000})
    with pytest.raises(RunError, match="1000 pictures"):
        training_batches(nobody, parts["train"], images, 0, rows)


def test_a_drawn_pair_is_told_from_its_neighbour(tiny):
    config = tiny.change({"training.drawn_people": 8, "training.batch_size": 8})
    bank, pairs = prepare_bank(config.data), load_pairs(config.data)
    images, parts = gather_parts(bank, pairs)
    trainer = build_trainer(config, images, "float32", 0)
    inputs, targets = training_batches(
        config, parts["train"], images, 0, training.training_rows(config, images, pairs)
    )[0]
    logit = np.asarray(trainer(inputs, training=True))
    strangers = {"left": inputs["left"], "right": np.roll(inputs["right"], 1)}
    assert logit.shape == (8, 2, 1) and targets.shape == (8, 2, 2)
    np.testing.assert_allclose(logit[:, 0], np.asarray(trainer(inputs))[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logit[:, 1], np.asarray(trainer(strangers))[:, 0], rtol=1e-4, atol=1e-5)
    expected = np.log1p(np.exp(np.concatenate([-logit[:, 0, 0], logit[:, 1, 0]]))).mean()
    assert float(np.mean(training.cross_entropy(targets, logit))) == pytest.approx(expected, rel=1e-5)


def test_the_pictures_of_all_people_change_the_digest_and_the_id(tiny):
    pairs = load_pairs(tiny.data)
    more = load_pairs(tiny.change({"data.pictures": "all-people"}).data)
    bank = prepare_bank(tiny.data)
    assert pairs.digest(bank) != more.digest(bank) and len(more.names()) > len(pairs.names())
    assert len(pairs.extra) == 0


def test_nothing_sleeps_when_the_batches_are_over(tiny_batches):
    """TensorFlow's tuning of a data set sleeps for up to a minute, and the end of the training waited for it."""
    given = untuned(tiny_batches)
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


def test_the_disk_does_not_hold_training_but_the_resume_state_waits_for_it(tmp_path, monkeypatch):
    """Weights have their name once they are on the disk; what names them, only after that; a disk that fails ends the run."""
    network = keras.Sequential([keras.layers.Dense(3)])
    network.build((None, 2))
    on_disk, flush = threading.Event(), files._flush
    monkeypatch.setattr(files, "_flush", lambda path: on_disk.wait(30) and flush(path))
    recorder = callbacks.Recorder(tmp_path, TrainingConfig(epochs=5, patience=None), network, None, 1)
    recorder.rows = [{"epoch": 1, "val_accuracy": 0.5, "val_loss": 1.0, "val_cross_entropy": 1.0, "loss": 1.0}]
    recorder._save_weights()
    assert not callbacks.weights_path(tmp_path, 1).exists()
    kept = network.get_weights()[0]
    network.set_weights([np.zeros((2, 3)), np.zeros(3)])  # training goes on meanwhile
    seen = []
    monkeypatch.setattr(callbacks, "save_resume", lambda *_: seen.append(callbacks.weights_path(tmp_path, 1).exists()))
    threading.Timer(0.2, on_disk.set).start()
    recorder._save_resume(force=True)
    assert seen == [True]
    callbacks.load_weights(tmp_path, network, 1)
    np.testing.assert_array_equal(network.get_weights()[0], kept)

    def full(path):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(files, "_flush", full)
    recorder._save_weights()
    with pytest.raises(OSError, match="no space"):
        recorder._save_resume(force=True)
    assert seen == [True] and len(list(tmp_path.iterdir())) == 1
