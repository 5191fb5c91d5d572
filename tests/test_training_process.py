import json
import re
import subprocess
import sys

from lfwstudy.runs import training_process


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
