"""One run on a cluster's worker: is the machine fit for it, where are its data, which GPU is free; and its process."""

import hashlib
import importlib.resources
import os
import platform
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from distributed import Worker, get_worker

from lfwstudy import __version__
from lfwstudy.data.cache import cache_folder
from lfwstudy.data.prepare import load_data
from lfwstudy.data.registry import DATASETS
from lfwstudy.errors import StudyError, one_line
from lfwstudy.runs.failure import Failure, TrainingError
from lfwstudy.runs.job import Job
from lfwstudy.runs.process import train_in_process
from lfwstudy.runs.store import Store
from lfwstudy.system.backend import keras_backend
from lfwstudy.system.files import locked
from lfwstudy.system.machine import versions as installed_versions

POLL_SECONDS = 0.5
# A training process ends by itself after this long without a sign from its worker. It is shorter than the five minutes
# after which Dask's scheduler gives a silent worker's run to another.
LEASE_SECONDS = 60
# A training process that uses less processor time than this in a job's stall_seconds hangs.
STALL_CPU_SECONDS = 0.5
# For the run's lock: a process on a worker that was cut off needs time to notice.
LOCK_PATIENCE = 150
# A network file system may show another machine's file a moment late.
TOKEN_SECONDS = 5.0
# The task: a name, which each worker looks up in its own package.
TRAIN_HERE = f"{__name__}:train_here"
_FREE_GPUS: dict[str, list[str]] = {}


class Ended(Exception):
    """A run did not finish: the kind of failure, and a message. An error, because it reaches the study with its task."""


def train_here(content: Mapping[str, Any], versions: dict[str, str], token: str) -> None:
    """Train one run in a separate process. Raises Ended.

    Parameters
    ----------
    content : of a Job.
    versions, token : requirements on this machine, as for `difference` and `unseen`.
    """
    own, reason = get_worker(), difference(versions) or unseen(Path(token))
    try:
        if reason:
            raise TrainingError(Failure("machine", reason))
        job = Job.of(content)
        if Store(job.folder.parent).has_done(job):
            return
        data_dir = find_data(job)
        with _gpu(own) as gpu:
            given = replace(job, lease=job.lease or LEASE_SECONDS, patience=LOCK_PATIENCE, data_dir=data_dir, gpu=gpu)
            train_in_process(given, watch=partial(_watch, own, given))
    except Exception as error:
        failure = Failure.of(error)
        raise Ended(failure.kind, f"{failure.message} (on {os.uname().nodename})") from None


def dask_setup(own: Worker) -> None:
    """Let a worker of local:N ignore Ctrl-C, which reaches all of a terminal's processes: the study ends its workers.

    Dask calls this by its name, see `scheduler.started`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def token_file(folder: Path) -> Iterator[Path]:
    """A file in a study's folder of runs with a name of its own: a machine that sees it shares the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".cluster-*"):  # of studies that were killed: one that lives holds its own
        with suppress(OSError), locked(left):
            left.unlink()
    path = folder / f".cluster-{uuid.uuid4().hex}"
    with locked(path):
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def unseen(token: Path) -> str:
    """Why this machine cannot work in the study's folder of runs; empty if it can."""
    study, until = token.parents[1], time.monotonic() + TOKEN_SECONDS
    while not token.exists():
        if not token.parent.is_dir() or time.monotonic() > until:
            return f"it does not see the study's folder {study}; give --out a folder that all workers share at the same path"
        os.listdir(token.parent)  # makes a network file system look again
        time.sleep(0.2)
    return "" if os.access(token.parent, os.W_OK) else f"it cannot write to the study's folder {study}"


def versions_here() -> dict[str, str]:
    """Versions that the numbers of a run depend on: this package's code, Python, Keras, its backend, NumPy."""
    installed, backend, code = installed_versions(), keras_backend(), hashlib.sha256()
    package = Path(str(importlib.resources.files(__package__.partition(".")[0])))
    for path in sorted(package.rglob("*.py")):  # the files, which trainings read, not this process's modules
        code.update(f"{path.relative_to(package).as_posix()}\n".encode() + path.read_bytes())
    return {
        "lfwstudy": f"{__version__} (code {code.hexdigest()[:8]})",
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "Keras": installed.get("keras", "none"),
        "backend": f"{backend} {installed.get(backend, 'none')}",
        "NumPy": installed.get("numpy", "none"),
    }


def difference(expected: dict[str, str]) -> str:
    """How this process differs from `expected`, another one's `versions_here`; empty if it does not."""
    here = versions_here()
    told = [f"{name} is {here.get(name)} instead of {v}" for name, v in expected.items() if here.get(name) != v]
    return f"{', '.join(told)}; install the same versions there" if told else ""


def find_data(job: Job) -> str:
    """The data folder on this machine with the run's data digest; empty for $LFWSTUDY_DATA and for images that it draws or
    has downloaded. Nothing is downloaded. Raises TrainingError if there is none.
    """
    if not job.data_digest:
        return job.data_dir
    dataset = DATASETS[job.config.data.dataset]
    downloaded = cache_folder() / "downloads" / dataset.archive
    own = [""] if dataset.name == "demo" or os.environ.get("LFWSTUDY_DATA") or downloaded.is_file() else []
    why = "none there"
    for folder in [*filter(os.path.exists, [job.data_dir]), *own]:
        try:
            if load_data(job.config.data, folder)[2] == job.data_digest:
                return folder
            why = "those there differ"
        except (StudyError, PermissionError) as error:
            why = one_line(error)
    told = (
        f"no images and pairs with the study's digest at {job.data_dir or '--data-dir'}, $LFWSTUDY_DATA or in the cache "
        f"({why}); put them into the shared folder and give that with --data-dir"
    )
    raise TrainingError(Failure("machine", told))


@contextmanager
def _gpu(own: Worker) -> Iterator[str | None]:
    """A GPU that no other process of this worker uses; None if the worker has none."""
    count = int((own.state.total_resources or {}).get("GPU", 0))
    if not count:
        yield None
        return
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    # Each run has a thread; these operations are atomic.
    free = _FREE_GPUS.setdefault("free", named or [str(number) for number in range(count)])
    try:
        gpu = free.pop()
    except IndexError:
        told = "it declares more GPUs than CUDA_VISIBLE_DEVICES names; correct its --resources"
        raise TrainingError(Failure("machine", told)) from None
    try:
        yield gpu
    finally:
        free.append(gpu)


def _watch(own: Worker, job: Job, process: subprocess.Popen) -> None:
    """Watch a training process until it ends: renew its lease; raise TrainingError if it hangs or is no longer wanted."""
    watched, used, moved = psutil.Process(process.pid), 0.0, time.monotonic()
    assert process.stdin is not None
    while process.poll() is None:
        known = own.state.tasks.get(own.get_current_task())
        # The study has gone or given the run to another worker, or this worker has lost its scheduler.
        if known is None or known.state != "executing" or own.status.name in ("closing", "closed", "failed"):
            raise TrainingError(Failure("cluster", "it is no longer wanted"))
        with suppress(BrokenPipeError):
            process.stdin.write(b".")
            process.stdin.flush()
        if (now := sum(watched.cpu_times()[:2])) - used >= STALL_CPU_SECONDS:
            used, moved = now, time.monotonic()
        if time.monotonic() - moved > job.stall_seconds:
            raise TrainingError(Failure("stalled", f"it did nothing for {job.stall_seconds:.0f} s and was ended"))
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
