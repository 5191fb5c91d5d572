"""Trainings forked from a warm server equal those of new processes."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.runs import dispatch, forked, process
from lfwstudy.runs.failure import TrainingError
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system.files import read_csv, read_json
from lfwstudy.system.processes import environment
from lfwstudy.training.recorder import RESUME_EPOCHS

# What is waited for comes when the machine has got to it; a test that waits longer than this has failed.
DEADLINE = 600

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forked on Linux alone")


def job_of(faces, out):
    study = Study(Settings(dataset="lfw-a", data_dir=str(faces), out=str(out), precision="float32"))
    study.ask(["base"])
    return study._job(study.climb()[0].candidates[0].specs[0], "train")


def of_a_run(folder):
    """What a run measured, less its times and memory."""
    history = [
        {name: value for name, value in row.items() if name != "seconds"} for row in read_csv(folder / "history.csv")
    ]
    result = {
        name: value
        for name, value in read_json(folder / "result.json").items()
        if "second" not in name and name != "peak_memory_mb"
    }
    return history, result, (folder / "predictions.csv").read_text()


@pytest.mark.long
def test_a_forked_training_is_that_of_a_new_process(faces, tmp_path):
    measured = []
    for name in ("forked", "new"):
        job = job_of(faces, tmp_path / name)
        assert forked.pays(job)
        process.train_in_process(job, watch=None if name == "forked" else lambda process: None)
        measured.append(of_a_run(job.folder))
        log = (job.folder / "log.txt").read_text()
        assert "epoch   1/" in log and "cudart" not in log.split("epoch   1/")[1]
    assert measured[0] == measured[1]


@pytest.mark.long
def test_a_forked_training_that_fails_says_why(faces, tmp_path):
    job = job_of(faces, tmp_path / "out")
    with pytest.raises(TrainingError, match="its data have changed since"):
        process.train_in_process(replace(job, run="0" * 16))


@pytest.mark.long
def test_forked_trainings_side_by_side_and_one_that_is_killed(faces, tmp_path):
    jobs = [job_of(faces, tmp_path / str(number)) for number in range(4)]
    for number, job in enumerate(jobs):
        changed = {} if number else {"run": "0" * 16}  # of data that are not there
        jobs[number] = replace(job, title=str(number), **changed)
    assert {name: "changed" in told for name, told in dispatch.run(jobs).items()} == {"0" * 16: True}
    assert all((job.folder / "result.json").exists() for job in jobs[1:])

    job = job_of(faces, tmp_path / "killed")
    job.folder.mkdir(parents=True)
    job.write(job.folder / "job.json")
    with open(tmp_path / "log.txt", "x") as log:
        training = forked.Forked(job.folder / "job.json", log, process.thread_limits(1))
    assert training.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        training.wait(0)
    training.kill()
    assert training.wait() == training.poll() == -signal.SIGKILL

    forked._server.kill()
    forked._server.wait()
    process.train_in_process(job_of(faces, tmp_path / "after"))  # by another server


# A study, which ends with this process.
PARENT = """
import sys, threading
from lfwstudy.system.processes import end_with_parent
from lfwstudy.runs.job import Job
from lfwstudy.runs.process import train_in_process
threading.Thread(target=end_with_parent, daemon=True).start()
train_in_process(Job.read(sys.argv[1]))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "who, number, told",
    [
        (0, signal.SIGKILL, ""),
        (1, signal.SIGKILL, "signal 9"),
        (2, signal.SIGKILL, "signal 9"),
        (2, signal.SIGTERM, "signal 15"),
        (None, signal.SIGINT, "KeyboardInterrupt"),
    ],
)
def test_a_training_its_server_and_its_parent_end_with_each_other(faces, tmp_path, who, number, told):
    """If any of a study's processes ends, no other keeps training; trainings resume from their state."""
    job = endless(job_of(faces, tmp_path / "out"))
    folder = job.folder
    job.write(tmp_path / "job.json")

    def wait_for(condition):
        until = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.01)

    @contextmanager
    def started():
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, tmp_path / "job.json"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield parent
        finally:
            parent.kill()
            parent.communicate()

    with started() as parent:
        wait_for(lambda: (folder / "history.csv").exists() and len(read_csv(folder / "history.csv")) > RESUME_EPOCHS)
        family = [psutil.Process(parent.pid), *psutil.Process(parent.pid).children(recursive=True)]
        _, server, training = family
        assert training.ppid() == server.pid and server.ppid() == parent.pid
        assert " ".join(training.cmdline()).rstrip().endswith(f"-m lfwstudy.runs.training_process {folder}/job.json")
        if who is None:
            os.killpg(parent.pid, number)  # Ctrl-C goes to all of a terminal's foreground group
        else:
            family[who].send_signal(number)
        assert not psutil.wait_procs(family[1:], timeout=DEADLINE)[1]
        assert told in parent.communicate(timeout=DEADLINE)[1] and parent.returncode
    epochs = len(read_csv(folder / "history.csv"))
    (folder / "log.txt").unlink()
    with started():
        wait_for(lambda: (folder / "log.txt").exists() and "epoch " in (folder / "log.txt").read_text())
    first = re.search(r"epoch +([0-9]+)/", (folder / "log.txt").read_text())
    assert int(first[1]) > epochs - RESUME_EPOCHS


SERVER = """
import os, time
from lfwstudy.runs import forked
forked.serve()
os.closerange(0, 256)
time.sleep(10**6)
"""


def test_a_server_waits_for_no_training_that_is_still_ending(tmp_path, monkeypatch):
    """One that has closed its files and does not end, as where a disk holds it: others begin and end, and so does the server."""
    ours, theirs = socket.socketpair()
    with open(tmp_path / "log.txt", "w+") as log, ThreadPoolExecutor(1) as pool:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=theirs, stdout=log, stderr=log, env=environment()
        )
        try:
            theirs.close()
            monkeypatch.setattr(forked, "_server", server)
            monkeypatch.setattr(forked, "_requests", ours)

            def begin():
                """A training, once it has closed its files."""
                training = forked.Forked(tmp_path / "job.json", log, {})
                while list(Path(f"/proc/{training.pid}/fd").iterdir()):
                    time.sleep(0.01)
                return training

            first = pool.submit(begin).result(DEADLINE)
            second = pool.submit(begin).result(60)
            assert first.pid != second.pid and first.poll() is second.poll() is None
            for training, ask, status in (
                (second, second.kill, -signal.SIGKILL),
                (first, first.terminate, -signal.SIGTERM),
            ):
                ask()
                assert training.wait(DEADLINE) == training.poll() == status
            last = psutil.Process(pool.submit(begin).result(DEADLINE).pid)
            ours.close()
            assert server.wait(DEADLINE) == 0 and not psutil.wait_procs([last], timeout=DEADLINE)[1]
        finally:
            server.kill()
            server.wait()


def test_a_training_that_has_ended_waits_for_none_forked_after_it(tmp_path, monkeypatch):
    ours, theirs = socket.socketpair()
    code = "from lfwstudy.runs import forked\nimport time\ntime.sleep(600 if 'long' in forked.serve() else 0.5)"
    with open(tmp_path / "log.txt", "w+") as log:
        server = subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=log, stderr=log, env=environment())
        theirs.close()
        monkeypatch.setattr(forked, "_server", server)
        monkeypatch.setattr(forked, "_requests", ours)
        try:
            first, later = (forked.Forked(tmp_path / name, log, {}) for name in ("short", "long"))
            assert first.wait(DEADLINE) == 0
            with ThreadPoolExecutor(1) as pool:  # waiting for the later one would take 10 minutes
                again = pool.submit(first.wait)
                done = wait([again], 5).done
                assert later.poll() is None
                later.kill()
            assert done and again.result() == 0
        finally:
            server.kill()
            server.wait()


@pytest.mark.long
def test_a_script_without_the_usual_guard_is_not_imported_by_its_trainings(faces, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom lfwstudy.runs import forked, dispatch\nfrom lfwstudy.runs.job import Job\njob = Job.read(sys.argv[1])\n"
        "print('once', forked.pays(job), dispatch.run([job]))\n"
    )
    job = job_of(faces, tmp_path / "out")
    job.write(tmp_path / "job.json")
    done = subprocess.run(
        [sys.executable, script, tmp_path / "job.json"], capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.stdout == "once True {}\n" and (job.folder / "result.json").exists(), done.stderr


@pytest.mark.long
def test_where_the_server_cannot_import_the_trainings_own_log_says_why(faces, tmp_path, monkeypatch):
    for name in ("_server", "_requests"):
        monkeypatch.setattr(forked, name, None)
    (tmp_path / "h5py.py").write_text("raise ImportError('this one is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    job = job_of(faces, tmp_path / "out")
    with pytest.raises(TrainingError, match="requires the h5py module") as error:
        process.train_in_process(job)
    assert error.value.failure.kind == "system" and "h5py" in (job.folder / "log.txt").read_text()


@pytest.mark.parametrize("change", [{"threads": 0}, {"program": "lfwstudy.bench"}, {"gpu": "0"}])
def test_what_is_not_a_small_training_of_this_machine_starts_anew(faces, tmp_path, change, monkeypatch):
    job = job_of(faces, tmp_path / "out")
    assert forked.pays(job) and not forked.pays(replace(job, **change))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert not forked.pays(job)


def test_nothing_is_forked_where_the_system_forbids_waiting_by_descriptor(faces, tmp_path, monkeypatch):
    job = job_of(faces, tmp_path / "out")

    def forbidden(pid):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", forbidden)
    assert not forked.pays(job)


def endless(job):
    """The job with epochs without end."""
    config = job.config.change({"training.epochs": 10**5})
    bank, pairs = prepare_bank(config.data, job.data_dir), load_pairs(config.data, job.data_dir)
    return replace(job, config=config, run=config.identify(job.seed, job.precision, pairs.digest(bank)))
