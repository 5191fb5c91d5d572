import re
import subprocess
import sys

from lfwstudy.runs import training_process
from lfwstudy.runs.job import Job


def test_a_job_is_read_as_it_was_written(tiny, tmp_path):
    job = Job("0" * 16, tiny, tmp_path / "run", seed=3, task="score-test", threads=0, lease=4.0, options={"pause": 0.1})
    job.write(tmp_path / "job.json")
    assert Job.read(tmp_path / "job.json") == job and job.epochs == tiny.training.epochs


def test_process_refuses_changed_data_with_one_line(tiny, tmp_path):
    Job("0" * 16, tiny, tmp_path / "run").write(tmp_path / "job.json")
    with subprocess.Popen(
        [sys.executable, "-m", "lfwstudy.runs.training_process", str(tmp_path / "job.json")],
        stdin=subprocess.PIPE,  # stays open: the process ends with its parent
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        told = process.stderr.read()
    assert process.returncode == 2 and told == (
        "error: run 0000000000000000: its data have changed since it was requested\n"
    )
    assert not (tmp_path / "run").exists()


def test_what_cannot_fit_into_memory_is_said_before_it_starts(tiny, data, tmp_path, monkeypatch, capsys):
    stride = tiny.change({"model.pool1_stride": 1, "model.width": 1.0, "data.side": 105})
    monkeypatch.setattr(training_process, "free_memory", lambda: 2 * 2**30)
    training_process.require_memory(tiny)
    digest = data[1].digest(data[0])
    monkeypatch.setattr(training_process, "load_data", lambda *args: (*data, digest))
    run = stride.identify(0, "float32", digest)
    assert training_process.run_job(Job(run, stride, tmp_path / "run")) == 1
    told = capsys.readouterr().err
    assert re.fullmatch(
        rf"error: run {run}: out of memory: a network of 304,241,473 parameters needs at least \d+\.\d GiB "
        r"for training, 2\.0 GiB are free on this machine\n",
        told,
    ), told
    assert not (tmp_path / "run" / "config.json").exists()
    monkeypatch.setattr(training_process, "free_memory", lambda: None)
    training_process.require_memory(stride)
