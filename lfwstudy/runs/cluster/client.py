"""Train runs on many machines: each run is a task of Dask's distributed scheduler, in a folder that all machines share.

The study hands each run to a worker with room for it and reads the run's progress from its folder. If a worker, the
scheduler or the connection is lost, the run is resumed on another worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import dask
from distributed import LocalCluster

from lfwstudy.runs.cluster.handout import Handout
from lfwstudy.runs.cluster.scheduler import connect, start_one, workers_of
from lfwstudy.runs.cluster.view import VIEW
from lfwstudy.runs.cluster.worker import token_file
from lfwstudy.runs.dispatch import check_cluster
from lfwstudy.runs.job import Job
from lfwstudy.system.machine import cores

__all__ = ["VIEW", "describe", "run", "started"]

# Workers here share their cores with the trainings: profiling a waiting thread a hundred times a second tells nothing and
# costs each idle worker a fifteenth of a core.
_QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.admin.system-monitor.interval": "2s",
}
# The address of the local cluster started by `--cluster local:N`, for the notebooks of the study.
_started: dict[str, str] = {}


def run(jobs: Sequence[Job], address: str, show: Callable[[str], object] | None = None) -> dict[str, str]:
    """Train jobs on a cluster, as dispatch.run describes it.

    If the scheduler goes away, it is waited for; if it does not come back, the unfinished runs count as failed.

    Raises
    ------
    ConfigError : no scheduler answers at `address`.
    """
    with started(address) as address, token_file(jobs[0].folder.parent) as token:
        study = Handout(jobs, address, connect(address), token, show)
        try:
            return study.hand_out()
        finally:
            with suppress(OSError):  # it did not close in time
                study.client.close(timeout=5)  # the scheduler then takes back what workers still train


@contextmanager
def started(address: str) -> Iterator[str]:
    """The scheduler's address for `--cluster`; local:N starts N workers here and stops them at the end."""
    check_cluster(address)
    if not address.startswith("local:") or address in _started:  # by a caller
        yield _started.get(address, address)
        return
    count = int(address.partition(":")[2])
    with (
        dask.config.set(_QUIET),
        _safe_path(),
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            resources={"CORES": max(1, cores() // count)},
            silence_logs=50,
        ) as local,
    ):
        _started[address] = local.scheduler_address
        try:
            yield local.scheduler_address
        finally:
            del _started[address]


@contextmanager
def _safe_path() -> Iterator[None]:
    """Keep multiprocessing's processes, workers and helper, from importing from the current folder."""
    own = "PYTHONSAFEPATH" not in os.environ
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if own:
            del os.environ["PYTHONSAFEPATH"]


def describe(address: str) -> str:
    """A line on the cluster at a scheduler's address: workers, machines, dashboard. Raises ConfigError."""
    with connect(address) as client:
        found = workers_of(client).values()
        hosts = {worker["host"] for worker in found}
        return (
            f"cluster: {len(found)} worker{'s' if len(found) != 1 else ''} on {len(hosts)} "
            f"machine{'s' if len(hosts) != 1 else ''} at {address}; dashboard: {client.dashboard_link}"
            + ("" if found else f"; {start_one(address)}")
        )
