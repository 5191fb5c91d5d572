"""One run on a cluster's worker: its data, its GPU, and the process that trains it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psutil
from distributed import Worker, get_worker

from lfwstudy.data.cache import cache_folder
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.data.registry import DATASETS
from lfwstudy.errors import StudyError, one_line
from lfwstudy.runs.cluster.versions import Token, answer
from lfwstudy.runs.failure import Failure, TrainingError
from lfwstudy.runs.job import Job
from lfwstudy.runs.process import train_in_process
from lfwstudy.runs.store import Store

POLL_SECONDS = 0.5
# A training process ends by itself after this long without a sign from its worker. It is shorter than the five minutes
# after which Dask's scheduler gives a silent worker's run to another.
LEASE_SECONDS = 60
# A training process that uses less processor time than this in a job's stall_seconds hangs.
STALL_CPU_SECONDS = 0.5
# For the run's lock: a process on a worker that was cut off needs time to notice.
LOCK_PATIENCE = 150
_DATA: dict[str, str] = {}  # data digest to the data folder where it was found
_GPUS: dict[str, bool] = {}  # the worker's GPUs by name: whether a process has it
_DATA_LOCK, _GPU_LOCK = threading.Lock(), threading.Lock()


def train_here(job: Job, attempt: str, versions: dict[str, str], token: Token) -> Failure | None:
    """The Dask task: train one run in a separate process; returns why it is not finished.

    Parameters
    ----------
    attempt : the task's key.
    versions, token : requirements on this machine, as for versions.answer.
    """
    own = get_worker()
    try:
        # The machine may have been updated since the worker was asked.
        if reason := asyncio.run(answer(versions, token))[1]:
            return Failure("machine", reason)
        if job.task == "train" and Store(job.folder.parent).is_finished(job.run):
            return None
        data_dir = find_data(job)
        with _gpu(own) as gpu:
            given = replace(job, lease=job.lease or LEASE_SECONDS, patience=LOCK_PATIENCE, data_dir=data_dir, gpu=gpu)
            train_in_process(given, watch=lambda process: _watch(own, attempt, given, process))
    except _Unwanted:
        return Failure("cluster", "it is no longer wanted")
    except (StudyError, OSError) as error:
        return Failure.of(error)
    return None


def find_data(job: Job) -> str:
    """The data folder on this machine with the run's data digest. Raises TrainingError if there is none."""
    with _DATA_LOCK:
        if job.data_digest and job.data_digest not in _DATA:
            _DATA[job.data_digest] = _data_here(job)
        return _DATA.get(job.data_digest, job.data_dir)


def _data_here(job: Job) -> str:
    config, unreadable = job.config.data, None
    demo = config.dataset == "demo"
    for folder in _places(job):
        try:
            if load_pairs(config, folder).digest(prepare_bank(config, folder)) == job.data_digest:
                return folder
        except StudyError:
            pass
        except OSError as error:
            unreadable = error
    if unreadable and (demo or not isinstance(unreadable, PermissionError)):
        raise unreadable
    if demo:
        raise TrainingError(Failure("machine", "it draws different demo faces; install the same versions there"))
    where = f"{job.data_dir} or " if job.data_dir else ""
    why = f" ({one_line(unreadable)})" if unreadable else ""
    told = (
        f"no images and pairs with the study's digest at {where}$LFWSTUDY_DATA or in the cache there{why}; put them into "
        "the shared folder and give that with --data-dir"
    )
    raise TrainingError(Failure("machine", told))


def _places(job: Job) -> list[str]:
    """Data folders that may hold the images on this machine; "" for downloaded or drawn images."""
    dataset = job.config.data.dataset
    if dataset == "demo":
        return [""]
    given = [job.data_dir, os.environ.get("LFWSTUDY_DATA", "")]
    downloaded = os.path.isfile(cache_folder() / "downloads" / DATASETS[dataset].archive)
    return [*filter(os.path.exists, given), *[""] * downloaded]


class _Unwanted(Exception):
    """The study has gone or given the run to another worker."""


def _check(own: Worker, attempt: str) -> None:
    """Raise _Unwanted if the study has cancelled the task or the worker has lost its scheduler."""
    known = own.state.tasks.get(attempt)
    if (
        known is None
        or known.state in ("cancelled", "released", "resumed", "forgotten")
        or own.status.name in ("closing", "closed", "failed")
    ):
        raise _Unwanted


@contextmanager
def _gpu(own: Worker) -> Iterator[str | None]:
    """A GPU that no other process of this worker uses; None if the worker has none."""
    count = int((own.state.total_resources or {}).get("GPU", 0))
    if not count:
        yield None
        return
    with _GPU_LOCK:
        if not _GPUS:
            seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
            _GPUS.update(dict.fromkeys(seen or map(str, range(count)), False))
        device = next(name for name, taken in _GPUS.items() if not taken)
        _GPUS[device] = True
    try:
        yield device
    finally:
        _GPUS[device] = False


def _watch(own: Worker, attempt: str, job: Job, process: subprocess.Popen) -> None:
    """Watch a training process until it ends: renew its lease, and end it if it hangs."""
    cpu, moved = -1.0, time.monotonic()
    while process.poll() is None:
        _check(own, attempt)
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(b".")
            process.stdin.flush()
        used = _cpu_seconds(process.pid)
        if used - cpu >= STALL_CPU_SECONDS:
            cpu, moved = used, time.monotonic()
        if time.monotonic() - moved > job.stall_seconds:
            raise TrainingError(
                Failure("stalled", f"its process did nothing for {job.stall_seconds:.0f} s and was ended")
            )
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)


def _cpu_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system
    except psutil.Error:
        return 0.0
