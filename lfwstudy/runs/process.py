"""One training as a process: started with its limits, watched, ended; it ends when its parent does."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

from lfwstudy.errors import RunError
from lfwstudy.runs import forked
from lfwstudy.runs.job import Job
from lfwstudy.system.machine import cores, environment, large_pages, usable_cores

# A process that takes longer to end than this after being asked is killed.
_GRACE_SECONDS = 10
# Less free space than this is a full disk: not even a log fits.
_FULL_BYTES = 64 << 10


def train_in_process(job: Job, children: Children | None = None, watch: Callable | None = None) -> None:
    """Run one job in a fresh Python process, or in one forked from a server; its output goes to log.txt in the run's folder.

    watch: called with the process, to return when it has ended; what it raises ends the process. Raises RunError with
    the end of the log, and the exit status as `status`, where the process fails. The process ends when this one does.
    """
    folder = job.folder
    folder.mkdir(parents=True, exist_ok=True)
    job.write(folder / "job.json")
    limits = _thread_limits(job.threads)
    (folder / "log.txt").unlink(missing_ok=True)  # a link in a folder from elsewhere is not written through
    with open(folder / "log.txt", "x", encoding="utf-8") as log:
        if watch is None and forked.pays(job):
            process = forked.Forked(folder / "job.json", log, limits)
        else:
            process = subprocess.Popen(
                [sys.executable, "-m", job.program, str(folder / "job.json")],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment(**large_pages(), **limits, **({"CUDA_VISIBLE_DEVICES": job.gpu} if job.gpu else {})),
            )
        if children:
            children.add(process)
        try:
            if watch:
                watch(process)
            status = process.wait()
        except BaseException:
            end(process)
            raise
    if status:
        error = RunError(_explain(status, folder / "log.txt"))
        error.status = status
        raise error
    (folder / "job.json").unlink(missing_ok=True)


def end_with_parent(lease: float | None = None) -> None:
    """Block until the process that started this one is gone (its end of the pipe closes), then end at once.

    lease: seconds after which a parent that writes nothing into the pipe counts as gone, too; None waits for ever.
    """
    while select.select([0], [], [], lease)[0] and os.read(
        0, 4096
    ):  # not sys.stdin, whose lock would be held at the end
        pass
    os._exit(3)


def end(process: subprocess.Popen | forked.Forked) -> None:
    """End a process: asked first, killed where it does not listen."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Children:
    """The processes started so far, to be stopped together."""

    def __init__(self):
        self.processes, self.lock, self.stopped = [], threading.Lock(), False

    def add(self, process):
        with self.lock:
            self.processes.append(process)
            if self.stopped:
                process.terminate()

    def stop(self):
        with self.lock:
            self.stopped = True
            for process in self.processes:
                if process.poll() is None:
                    process.terminate()
        for process in self.processes:
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _thread_limits(threads: int) -> dict[str, str]:
    # Fixed where given: sums depend on how many threads share them. A share of the cores' time is no number of them: the
    # libraries would not see it.
    if not threads and cores() < usable_cores():
        threads = cores()
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS") if threads else ()
    return dict.fromkeys(names, str(threads))


def _explain(status, log):
    """What a process that failed is to be remembered by, in one line; where its log has no such line, it gets it."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    told = next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), None)
    if told:
        return told
    last = lines[-1] if lines else "no output"
    if status < 0:
        memory = status == -signal.SIGKILL or "bad_alloc" in last
        told = f"its process was ended by signal {-status}{' (out of memory?)' if memory else ''}"
    else:
        full = " (the disk is full)" if shutil.disk_usage(log).free < _FULL_BYTES else ""
        told = f"its process failed with status {status}: {last}{full}"
    try:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"\nerror: {told}\n")
    except OSError:  # on a full disk the message alone remains
        pass
    return f"{told}; log: {log}"
