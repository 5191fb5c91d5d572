"""One training as a process: started with limits, watched, ended; it ends when its parent does."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from lfwstudy.runs import failure
from lfwstudy.runs.failure import Failure, TrainingError
from lfwstudy.runs.forked import Forked, ServerLost, pays
from lfwstudy.runs.job import Job
from lfwstudy.runs.store import Store
from lfwstudy.system.files import locked
from lfwstudy.system.machine import cores, usable_cores
from lfwstudy.system.processes import environment, large_pages

Process = subprocess.Popen | Forked
# A process that has not ended this long after being asked is killed.
_GRACE_SECONDS = 10


def train_in_process(job: Job, watch: Callable[[subprocess.Popen], object] | None = None) -> None:
    """Run one job in a separate process, new or forked from a server, to its end.

    Parameters
    ----------
    watch : called with the process, a new one; returns once it has ended. An exception from it ends the process.

    Raises
    ------
    TrainingError : the process failed; failure.json says why, too.
    """
    process = start(job, forkable=watch is None)
    try:
        if watch:
            assert isinstance(process, subprocess.Popen)
            watch(process)
        process.wait()
    except BaseException:
        end(process)
        raise
    finish(job, process)


def start(job: Job, forkable: bool = True) -> Process:
    """Start a job's process; its output goes to log.txt in the run's folder.

    Raises TrainingError if another process trains the run.
    """
    path, limits = job.folder / "job.json", thread_limits(job.threads)
    with _new_log(job) as log:
        if forkable and pays(job):
            with suppress(ServerLost):  # a new process works without it, and its log shows the error
                return Forked(path, log, limits)
        gpu = {"CUDA_VISIBLE_DEVICES": job.gpu} if job.gpu else {}
        return subprocess.Popen(
            [sys.executable, "-m", job.program, str(path)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment(**large_pages(), **limits, **gpu),
        )


def finish(job: Job, process: Process) -> None:
    """Take in a job's ended process. Raises TrainingError if it failed; the run's folder has a record then.

    One that died after it had written its results has not failed.
    """
    status, folder = process.wait(), job.folder
    if not status or Store(folder.parent).has_done(job):
        for name in ("job.json", failure.NAME):
            (folder / name).unlink(missing_ok=True)
        return
    found = Failure.of_status(status, folder)
    if found.kind != "busy" and not (folder / failure.NAME).exists():
        found.write(folder)
    log = f"; log: {folder / 'log.txt'}" if found.kind in ("crash", "signal") else ""
    raise TrainingError(found, found.message + log)


def end(*processes: Process) -> None:
    """End processes: ask all of them first, and kill those that do not react."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _new_log(job: Job) -> IO[bytes]:
    """Write a job to its run's folder, in place of what earlier processes left, once none is at work there; returns the log."""
    try:
        with locked(job.folder / ".lock", job.patience):
            job.write(job.folder / "job.json")
            # Do not follow links in a folder that came from elsewhere.
            for name in ("log.txt", failure.NAME):
                (job.folder / name).unlink(missing_ok=True)
            return open(job.folder / "log.txt", "xb")
    except BlockingIOError as error:
        raise TrainingError(Failure.of(error)) from None


def thread_limits(threads: int) -> dict[str, str]:
    """TensorFlow's environment variables for a number of threads; none for 0 on a whole machine.

    The number is fixed because the order of sums depends on it. If control groups limit the time of the cores, it is set
    even for 0: the libraries would not see that limit.
    """
    if not threads and cores() < usable_cores():
        threads = cores()
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS") if threads else ()
    return dict.fromkeys(names, str(threads))
