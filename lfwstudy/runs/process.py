"""One training as a process: started with limits, watched, ended; it ends when its parent does."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from lfwstudy.runs import failure
from lfwstudy.runs.failure import Failure, TrainingError
from lfwstudy.runs.forked import Forked, ServerLost, pays
from lfwstudy.runs.job import Job
from lfwstudy.system.files import locked
from lfwstudy.system.machine import cores, usable_cores
from lfwstudy.system.processes import environment, large_pages

Process = subprocess.Popen | Forked
# A process that has not ended this long after being asked is killed.
_GRACE_SECONDS = 10


def train_in_process(
    job: Job, children: Children | None = None, watch: Callable[[subprocess.Popen], object] | None = None
) -> None:
    """Run one job in a separate process, new or forked from a server; its output goes to log.txt in the run's folder.

    Parameters
    ----------
    children : gets the process, to be able to end it.
    watch : called with the process; returns once it has ended. An exception from it ends the process.

    Raises
    ------
    TrainingError : the process failed; failure.json says why, too.
    """
    with _new_log(job) as log:
        process = _start(job, log, forkable=watch is None)
    if children:
        children.add(process)
    try:
        if watch:
            assert isinstance(process, subprocess.Popen)
            watch(process)
        status = process.wait()
    except BaseException:
        end(process)
        raise
    if status:
        raise _error(status, job.folder)
    (job.folder / "job.json").unlink(missing_ok=True)


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


def _start(job: Job, log: IO[bytes], forkable: bool) -> Process:
    path, limits = job.folder / "job.json", thread_limits(job.threads)
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


def _error(status: int, folder: Path) -> TrainingError:
    """The error of a failed process; its folder gets a record if the process left none."""
    found = Failure.of_status(status, folder)
    if found.kind != "busy" and not (folder / failure.NAME).exists():
        found.write(folder)
    log = folder / "log.txt"
    return TrainingError(found, f"{found.message}; log: {log}" if found.kind in ("crash", "signal") else "")


def end(process: Process) -> None:
    """End a process: ask first, kill it if it does not react."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Children:
    """The processes started so far, to be stopped together."""

    def __init__(self) -> None:
        self._processes: list[Process] = []
        self._lock, self._stopped = threading.Lock(), False

    def add(self, process: Process) -> None:
        """Add a process; if the others have been stopped, it is stopped, too."""
        with self._lock:
            self._processes.append(process)
            if self._stopped:
                process.terminate()

    def stop(self) -> None:
        """Ask all to end, and kill those that do not."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                if process.poll() is None:
                    process.terminate()
        for process in self._processes:
            end(process)


def thread_limits(threads: int) -> dict[str, str]:
    """TensorFlow's environment variables for a number of threads; none for 0 on a whole machine.

    The number is fixed because the order of sums depends on it. If control groups limit the time of the cores, it is set
    even for 0: the libraries would not see that limit.
    """
    if not threads and cores() < usable_cores():
        threads = cores()
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS") if threads else ()
    return dict.fromkeys(names, str(threads))
