"""When the machine fails, the failure is named, finished work stays, and independent work continues."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest

from lfwstudy import workflow
from lfwstudy.errors import ConfigError, DataError
from lfwstudy.report import notebooks, pages
from lfwstudy.runs import dispatch, training_process
from lfwstudy.runs.failure import Failure, TrainingError
from lfwstudy.runs.process import train_in_process
from lfwstudy.runs.store import Store
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system.files import locked, read_csv
from tests.support.commands import COMMAND, lfwstudy, python, study_in
from tests.support.failures import content
from tests.support.notebooks import write_notebook
from tools.stand_in import jobs


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def study_of(faces, out, **settings):
    return Study(Settings(dataset="lfw-a", data_dir=str(faces), out=str(out), precision="float32", **settings))


def job_of(study, **changes):
    """The base network's job, its configuration changed."""
    study.ask(["base"])
    spec = study.climb()[0].candidates[0].specs[0]
    job = study._job(spec, "train")
    if changes:
        config = spec.config.change(changes)
        run = config.identify(0, "float32", study.data(config.data)[2])
        return replace(job, config=config, run=run, folder=study.store.folder(run), title="changed")
    return job


@pytest.mark.long
def test_a_full_disk_is_named(faces, small_disk):
    study = study_of(faces, small_disk / "out")
    with pytest.raises(TrainingError, match="No space left") as error:
        train_in_process(job_of(study))
    assert error.value.failure.kind == "disk"
    assert not any(study.store.is_finished(run) for run in study.store.ids())
    for path in small_disk.rglob("*.json"):
        json.loads(path.read_text())


def test_a_full_disk_is_one_line_of_the_command(faces, small_disk):
    (small_disk / "filler").write_bytes(bytes(1 << 20)[: (1 << 20) - 4096])
    with pytest.raises(OSError):
        (small_disk / "more").write_bytes(bytes(8192))
    done = lfwstudy(*study_in(faces, small_disk / "out", "--stages", "base"))
    assert done.returncode == 1 and "Traceback" not in done.stderr and "No space left" in done.stderr


def test_a_folder_that_can_only_be_read_is_one_line(faces, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = lfwstudy(*study_in(faces, small_disk / "out"))
    assert done.returncode == 2 and done.stderr == f"error: {small_disk} is not writable; give another --out\n"


def test_a_folder_without_permission_is_one_line(faces, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    # Root may write everywhere, unless it gives up the right to.
    humble = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override") if os.geteuid() == 0 else ()
    if humble and not shutil.which("setpriv"):
        pytest.skip("root may write everywhere, and there is no setpriv to give that up")
    done = lfwstudy(*study_in(faces, tmp_path / "closed" / "out"), before=humble)
    told = f"error: {tmp_path / 'closed'} is not writable; give another --out\n"
    assert done.returncode == 2 and done.stderr == told, done.stderr
    assert not list((tmp_path / "closed").iterdir())


def test_what_ended_a_training_stays_in_its_folder(faces, tmp_path):
    """A process that is killed says nothing itself; the command, another process than its parent, tells from the record."""
    study = study_of(faces, tmp_path / "out")
    job = job_of(study)
    with pytest.raises(TrainingError, match="ended by signal 9 .out of memory.*; log: "):
        train_in_process(job, watch=lambda process: process.kill())
    spec = study.climb()[0].candidates[0].specs[0]
    assert study.why_unfinished(spec) == "its process was ended by signal 9 (out of memory?)"


@pytest.mark.parametrize(
    "error, kind",
    [
        (MemoryError("x"), "memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (OSError(errno.EMFILE, "Too many open files"), "system"),
        (PermissionError(errno.EACCES, "Permission denied"), "system"),
        (ImportError("cannot import name 'x'"), "system"),
        (ModuleNotFoundError("No module named 'h5py'"), "machine"),
        (DataError("no images"), "data"),
        (ConfigError("no such setting"), "input"),
        (BlockingIOError(), "busy"),
        (KeyError("No space left on device"), "crash"),
    ],
)
def test_failures_are_told_apart_by_what_they_are(error, kind):
    assert Failure.of(error).kind == kind


def test_a_bug_is_recorded_and_keeps_its_traceback(faces, tmp_path, monkeypatch, capsys):
    job = job_of(study_of(faces, tmp_path / "out"))
    job.folder.mkdir(parents=True)
    monkeypatch.setattr(training_process, "load_data", lambda *_: {}["none"])
    with pytest.raises(KeyError):
        training_process.run_job(job)
    assert Failure.read(job.folder) == Failure("crash", "KeyError: 'none'")


def test_another_process_at_the_run_is_said_and_its_folder_left_alone(tmp_path):
    job = replace(jobs(tmp_path / "runs", 1)[0], patience=0)
    job.folder.mkdir(parents=True)
    for name in ("job.json", "log.txt", "failure.json"):
        (job.folder / name).write_text("the other's")
    before = content(job.folder)
    with locked(job.folder / ".lock"), pytest.raises(TrainingError, match="another process trains it") as error:
        train_in_process(job)
    assert error.value.failure.kind == "busy" and content(job.folder) == {".lock": b"", **before}


def test_a_process_that_ends_before_it_trains_says_its_last_words(tmp_path):
    (job,) = jobs(tmp_path / "runs", 1, program="no_such_program")
    with pytest.raises(TrainingError, match="failed with status 1: .*No module named no_such_program; log: "):
        train_in_process(job)
    assert Failure.read(job.folder).kind == "crash"


def test_a_process_that_dies_after_it_wrote_its_results_has_not_failed(tmp_path, monkeypatch):
    program = "import os, sys\nfrom tools.stand_in import main\nmain(sys.argv[1])\nos.kill(os.getpid(), 9)\n"
    (tmp_path / "dies_late.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    (job,) = jobs(tmp_path / "runs", 1, 1, program="dies_late")
    assert dispatch.run([job]) == {}
    left = {path.name for path in job.folder.iterdir()}
    assert left == {"config.json", "history.csv", "predictions.csv", "result.json", "log.txt", ".lock"}


def test_only_runs_that_are_unfinished_in_the_end_count_as_failed():
    one, two = SimpleNamespace(run="1", place="a"), SimpleNamespace(run="2", place="b")
    failed = {"1": "killed", "2": "killed"}
    study = SimpleNamespace(train=lambda *_: failed, missing=lambda specs: [spec for spec in specs if spec is two])
    desk = workflow._Desk(study, [])
    desk.train([one, two])
    assert desk.given_up == {"2": "killed"}


def test_the_page_of_a_stage_tells_why_a_run_never_began():
    spec = SimpleNamespace(run="1", place="base: base")
    rung = SimpleNamespace(stage=SimpleNamespace(id="base"), specs=lambda: [spec])
    study = SimpleNamespace(train=lambda *_: {"1": "no worker"}, missing=list, stages=lambda: ["base"])
    study.climb, study.why_unfinished = lambda upto: [rung], lambda spec, failures: failures[spec.run]
    desk = workflow._Desk(study, [])
    desk.train([spec])
    assert desk._is_ready("base") and desk.failures == ["base: base: no worker"]


def test_what_a_process_killed_at_its_end_left_goes_with_the_weights(tmp_path):
    names = {"result.json", "resume.npz", "model.keras", "epoch-0001.weights.h5"}
    for name in names:
        (tmp_path / name).touch()
    Store(tmp_path.parent).drop_weights(tmp_path.name)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_memory_is_suspected_where_the_kernel_may_have_killed_alone(tmp_path):
    told = {number: Failure.of_status(-number, tmp_path).message for number in (signal.SIGKILL, signal.SIGABRT)}
    assert "out of memory?" in told[signal.SIGKILL] and told[signal.SIGABRT] == "its process was ended by signal 6"


@pytest.mark.parametrize("failure", [OSError(errno.ESTALE, "Stale file handle"), PermissionError(errno.EACCES, "no")])
def test_a_history_that_cannot_be_read_now_ends_no_training(tmp_path, monkeypatch, failure):
    (job,) = jobs(tmp_path / "runs", 1)
    job.folder.mkdir(parents=True)
    (job.folder / "history.csv").write_text("epoch,loss\n1,0.5\n")  # without the column that is shown
    assert "epoch 1 of at most 4;" in dispatch.progress([job], time.monotonic() - 1)
    (job.folder / "job.json").touch()
    for name in ("history", "is_finished"):
        monkeypatch.setattr(Store, name, lambda *_, **__: (_ for _ in ()).throw(failure))
    assert "epoch 0 of at most 4;" in dispatch.progress([job], time.monotonic() - 1)


LIMITED = """
import json, resource, sys
from lfwstudy.runs import dispatch
from lfwstudy.runs.job import Job
resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
print(json.dumps(dispatch.run([Job.read(path) for path in sys.argv[1:]])))
"""


@pytest.mark.long
def test_a_variant_that_needs_too_much_memory_fails_alone(faces, tmp_path):
    """A network of some sixty GiB under a limit of twelve, next to one that fits."""
    study = study_of(faces, tmp_path / "out")
    jobs = [job_of(study, **{"model.width": 4.0, "model.pool1_stride": 1, "data.side": 105}), job_of(study)]
    paths = [tmp_path / f"{job.run}.json" for job in jobs]
    for job, path in zip(jobs, paths):
        job.write(path)
    done = python(LIMITED, *paths)
    assert done.returncode == 0, done.stderr
    failures = json.loads(done.stdout)
    assert list(failures) == [jobs[0].run] and "memory" in failures[jobs[0].run], failures
    assert study.store.is_finished(jobs[1].run) and not study.store.is_finished(jobs[0].run)


@pytest.mark.long
def test_a_kernel_that_dies_leaves_a_gap_that_says_so(faces, tmp_path, monkeypatch):
    study = study_of(faces, tmp_path / "out")
    found = [pages.Page(stem, stem, stem, f"{stem}.ipynb", {}) for stem in ("dies", "lives", "fails")]
    write_notebook(
        tmp_path / "dies.ipynb", "print('before it')", "import os; os.kill(os.getpid(), 9)", "print('after it')"
    )
    write_notebook(tmp_path / "lives.ipynb", "print('alive')")
    write_notebook(tmp_path / "fails.ipynb", "raise ValueError('<b>broken\\x1b[31m</b>')")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(pages, "all_pages", lambda study: found)
    failures = workflow._render_pages(study, found)
    assert sorted(f.split(":")[0] for f in failures) == ["dies", "fails"], failures
    assert any("DeadKernelError" in f and "out of memory?" in f for f in failures)
    page = pages.render(study).read_text()
    assert "alive" in page and page.count('<p class="gap">') == 2 and "DeadKernelError" in page
    assert "<b>broken" not in page and "\x1b" not in page


@pytest.mark.long
def test_a_killed_variant_shows_as_a_gap_and_the_rest_goes_on(faces, tmp_path):
    """The training of one variant is killed, as a kernel without memory does, whenever it starts; then once more without."""
    log = open(tmp_path / "log", "w+")
    stages = ("--profile", "tiny", "--stages", "stride,early-stopping")
    process = subprocess.Popen([*COMMAND, *study_in(faces, tmp_path / "out", *stages)], stdout=log, stderr=log)
    while process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                job = re.search(r"(?<= )/\S*job\.json", " ".join(child.cmdline()))
                if job and json.loads(open(job[0]).read())["title"].startswith("stride"):
                    child.send_signal(signal.SIGKILL)
            except (psutil.NoSuchProcess, psutil.ZombieProcess, OSError, ValueError):
                pass
        time.sleep(0.2)
    log.seek(0)
    told = log.read()
    assert process.returncode == 1 and "stride/pool1-stride1, seed 0: its process was ended by signal 9" in told, told
    assert [row["stage"] for row in read_csv(tmp_path / "out" / "results.csv")] == ["base", "early-stopping"]
    assert 'class="gap"' in (tmp_path / "out" / "report.html").read_text()
    done = lfwstudy(*study_in(faces, tmp_path / "out", *stages))
    assert done.returncode == 0 and 'class="gap"' not in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.long
def test_a_disk_that_fills_up_keeps_what_is_finished(faces, tmp_path):
    """There is room for the base network's study, not for one eight times larger; with more room the command resumes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a small file system can only be mounted by root")
    try:
        assert lfwstudy(*study_in(faces, folder / "out", "--stages", "base")).returncode == 0
        before = {
            run: (folder / "out" / "runs" / run / "predictions.csv").read_text()
            for run in Store(folder / "out" / "runs").ids()
        }
        free = os.statvfs(folder)
        (folder / "filler").write_bytes(bytes(free.f_bavail * free.f_bsize - (300 << 10)))
        done = lfwstudy(*study_in(faces, folder / "out", "--stages", "early-stopping"))
        assert done.returncode == 1 and "No space left" in done.stderr and "Traceback" not in done.stderr
        (folder / "filler").unlink()
        assert lfwstudy(*study_in(faces, folder / "out", "--stages", "early-stopping")).returncode == 0
        assert all(
            (folder / "out" / "runs" / run / "predictions.csv").read_text() == text for run, text in before.items()
        )
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
