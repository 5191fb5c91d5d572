import errno
import os
import threading
import time
import types
from contextlib import nullcontext

import keras
import numpy as np
import pytest

from lfwstudy.config import TrainingConfig
from lfwstudy.system import files
from lfwstudy.system.files import read_csv
from lfwstudy.training import checkpoints, recorder
from lfwstudy.training.run import train
from tests.support.trained import numbers


def small_network():
    network = keras.Sequential([keras.layers.Dense(3)])
    network.build((None, 2))
    return network


def test_interrupted_run_resumes_to_the_same_numbers(tiny, data, tmp_path, monkeypatch):
    config = tiny.change(
        {
            "training.epochs": 4,
            "training.checkpoint_period": 1,
            "model.batchnorm": "before-activation",
            "training.evaluated": "best-checkpoint",
            "training.augmented_copies": 1,
            "training.lr_drop_epoch": 2,
            "training.average": 0.9,
        }
    )
    train(config, 0, "float32", *data, tmp_path / "whole", "run")
    monkeypatch.setattr(recorder, "RESUME_EPOCHS", 2)
    original = recorder.Recorder.on_epoch_begin

    def interrupt(self, epoch, logs=None):
        if epoch == 3:
            raise KeyboardInterrupt
        original(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(recorder.Recorder, "on_epoch_begin", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(config, 0, "float32", *data, tmp_path / "sets", "run")
    assert (tmp_path / "sets" / "resume.npz").exists() and not (tmp_path / "sets" / "result.json").exists()
    assert len(read_csv(tmp_path / "sets" / "history.csv")) == 3
    train(config, 0, "float32", *data, tmp_path / "sets", "run")
    assert numbers(tmp_path / "sets") == numbers(tmp_path / "whole")


def test_a_resume_state_that_is_slow_to_write_is_written_less_often(tmp_path, monkeypatch):
    clock, written = [0.0], []
    monkeypatch.setattr(recorder, "RESUME_EPOCHS", 1)
    monkeypatch.setattr(
        recorder, "time", types.SimpleNamespace(monotonic=lambda: clock[0], perf_counter=time.perf_counter)
    )

    def save(folder, model, rows):
        written.append(len(rows))
        clock[0] += 2.0  # seconds that writing takes

    monkeypatch.setattr(recorder, "save_resume", save)
    network = small_network()
    validated = dict.fromkeys(("val_loss", "val_cross_entropy", "val_accuracy", "penalty", "head_penalty"), 0.5)
    kept = recorder.Recorder(tmp_path, TrainingConfig(epochs=12), network, lambda: validated, 4)
    network.averaged = nullcontext
    kept.set_model(network)
    for epoch in range(12):
        clock[0] += 5.0  # seconds that an epoch takes
        kept.on_epoch_end(epoch, dict.fromkeys(("loss", "cross_entropy", "accuracy"), 0.5))
    # After the first one a tenth of the time, and the last epoch's in any case.
    assert written == [1, 5, 9, 12]


def test_the_disk_does_not_hold_training_but_the_resume_state_waits_for_it(tmp_path, monkeypatch):
    """Weights have their name once they are on the disk; what names them, only after that; a disk that fails ends the run."""
    network = small_network()
    on_disk, flush = threading.Event(), os.fsync
    monkeypatch.setattr(files.os, "fsync", lambda file: on_disk.wait(30) and flush(file))
    kept = recorder.Recorder(tmp_path, TrainingConfig(epochs=5, patience=None), network, None, 1)
    kept.rows = [{"epoch": 1, "val_accuracy": 0.5, "val_loss": 1.0, "val_cross_entropy": 1.0, "loss": 1.0}]
    kept._save_weights()
    assert not checkpoints.weights_path(tmp_path, 1).exists()
    before = network.get_weights()[0]
    network.set_weights([np.zeros((2, 3)), np.zeros(3)])  # training continues meanwhile
    seen = []
    monkeypatch.setattr(recorder, "save_resume", lambda *_: seen.append(checkpoints.weights_path(tmp_path, 1).exists()))
    threading.Timer(0.2, on_disk.set).start()
    kept._save_resume(force=True)
    assert seen == [True]
    checkpoints.load_weights(tmp_path, network, 1)
    np.testing.assert_array_equal(network.get_weights()[0], before)

    def full(file):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(files.os, "fsync", full)
    kept._save_weights()
    with pytest.raises(OSError, match="no space"):
        kept._save_resume(force=True)
    assert seen == [True] and len(list(tmp_path.iterdir())) == 1
