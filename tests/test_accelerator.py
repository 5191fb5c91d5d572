import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

from lfwstudy.config import RunConfig
from lfwstudy.errors import RunError
from lfwstudy.system.files import read_json
from tests.support.commands import needs_jax
from tools.accelerator import ALL, CANDIDATES, FLAGS, TODAY, Contest, Entry, Measurement, entries, main, measure, rounds


@pytest.mark.long
@needs_jax
def test_everything_is_measured_once_on_slivers(tmp_path):
    result = tmp_path / "accelerator.json"
    fast = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    command = [sys.executable, "-m", "tools.accelerator", "--quick", "--seconds", "3000", "--precision", "float32"]
    done = subprocess.run(
        [*command, "--json", str(result)],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": fast},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = read_json(result)
    full, shallow = found["full network"], found["shallow network"]
    assert found["finished"] and list(full) == [entry.title for entry in entries()] and list(shallow) == [TODAY, ALL]
    assert not [title for rows in (full, shallow) for title, row in rows.items() if "failed" in row]
    assert all(row["median"] > 0 and row["first_step_seconds"] > 0 for rows in (full, shallow) for row in rows.values())
    assert full[TODAY]["times_today"] == 1 and full[ALL]["share_of_peak"] > 0
    for row in (full[TODAY], full[ALL]):
        assert row["validation_seconds"] > 0
        assert 0.99 < sum(operation["share"] for operation in row["operations"]) < 1.01
    assert set(found["starts"]) == {TODAY, ALL, "bare Keras fit"}


class Told:
    """A contestant that answers from a list of seconds, and then fails."""

    process = None

    def __init__(self, *seconds):
        self.seconds = list(seconds)

    def launch(self):
        self.process = "running"

    def start(self):
        if not self.seconds:
            raise RunError("ours failed (exit status 1)")
        return {"first_step_seconds": 1.0}

    def go(self):
        if not self.seconds:
            raise RunError("ours failed (exit status -9)")
        return {"step_seconds": self.seconds.pop(0)}


@pytest.fixture
def contest(tmp_path, monkeypatch):
    measurement = Measurement(tmp_path / "found.json", lambda line: None, seconds=60)
    told = {TODAY: Told(2.0, 4.0, 2.0), "pieces": Told(1.0, 3.0, 1.0), "scan": Told(), "pool_first": Told(1.0)}
    monkeypatch.setattr(Contest, "contestant", lambda self, entry, stack: told[entry.title])
    return Contest("full network", RunConfig(), "float32", tmp_path, measurement)


def test_ratios_are_taken_within_rounds_and_failures_are_left_out(contest):
    with ExitStack() as stack:
        running = contest.begin([Entry(name) for name in (TODAY, "pieces", "scan", "pool_first")], stack)
        assert list(running) == [TODAY, "pieces", "pool_first"]
        rounds(contest, running, 3)
    kept = read_json(contest.measurement.path)["full network"]
    assert kept["pieces"]["times_today"] == 0.5 and kept["pieces"]["median"] == 1.0
    assert "exit status 1" in kept["scan"]["failed"] and "exit status -9" in kept["pool_first"]["failed"]
    assert kept["pool_first"]["step_seconds"] == [1.0]


def test_when_time_runs_out_what_was_measured_is_kept(contest):
    contest.measurement.show = lambda line: setattr(contest.measurement, "patience", -1)
    with ExitStack() as stack:
        running = contest.begin([Entry(TODAY), Entry("pieces")], stack)
        rounds(contest, running, 3)
    kept = read_json(contest.measurement.path)
    assert list(kept["full network"]) == [TODAY] and kept["full network"][TODAY]["step_seconds"] == [2.0]
    assert kept["finished"] is False


def test_a_measurement_that_is_cut_short_is_not_called_finished(tmp_path, monkeypatch):
    ceiling = Told()
    ceiling.start = lambda: {"device": "a GPU", "gflops": {"float32": 100.0}}
    monkeypatch.setattr(Contest, "contestant", lambda self, entry, stack: ceiling)
    found = measure(tmp_path / "found.json", lambda line: None, "float32", quick=True, seconds=-1)
    assert found["finished"] is False and read_json(tmp_path / "found.json") == found


def test_what_matters_most_comes_first():
    titles = [entry.title for entry in entries()]
    assert titles[:2] == [TODAY, ALL] and len(set(titles)) == len(titles)
    assert titles[2 : 1 + len(CANDIDATES)] == [name for name in CANDIDATES if name != "one_validation"]
    assert titles[-len(FLAGS) :] == [f"{ALL}, {title}" for title in FLAGS]


def test_another_backend_has_no_candidates(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert main(["--json", str(tmp_path / "found.json")]) == 2 and "KERAS_BACKEND=jax" in capsys.readouterr().err


def test_a_result_that_could_not_be_written_is_not_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert main(["--json", str(tmp_path / "no" / "found.json")]) == 2
    assert "its folder does not exist" in capsys.readouterr().err
