"""A cluster: its scheduler, at an address or started here; its workers, and the resources that a run takes of one."""

import asyncio
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed import Client, LocalCluster
from distributed.core import rpc
from distributed.security import Security

from lfwstudy.data.registry import IMAGES
from lfwstudy.errors import ConfigError
from lfwstudy.network.cost import training_memory
from lfwstudy.runs.dispatch import check_cluster
from lfwstudy.runs.job import Job
from lfwstudy.system.machine import cores

# How long to wait for a lost scheduler, or for a worker that is large enough; for an answer.
PATIENCE_SECONDS, ANSWER_SECONDS = 600, 15
# A worker's address and folder: another one at the same address has another folder.
Key = tuple[str, str]
Worker = Mapping[str, Any]  # as Dask's scheduler describes it
# Amounts by name: CORES, MEMORY (bytes), GPU, threads.
Amounts = Counter[str]
# Settings of Dask for workers here, which share their cores with the trainings: profiling a waiting thread a hundred times a
# second tells nothing and costs each idle worker a fifteenth of a core.
_HERE = {
    "distributed.worker.preload": ["lfwstudy.runs.cluster.worker"],  # its dask_setup
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.admin.system-monitor.interval": "2s",
}
# Addresses of the schedulers that `started` started, by local:N.
_started: dict[str, str] = {}


def connect(address: str) -> Client:
    """A client of the scheduler at an address. Raises ConfigError, which says why there is none."""
    try:
        # Dask's client waits for the server's greeting without a limit. In a thread: a notebook's event loop is running.
        with ThreadPoolExecutor(1) as thread:
            kind = thread.submit(asyncio.run, _ask_kind(address)).result()
        if kind == "Scheduler":
            return Client(address, timeout=ANSWER_SECONDS, name="lfwstudy")
        problem = f"a Dask {kind.lower()} listens there, not the scheduler"
    except Exception:  # even MemoryError: another server's greeting is read as a length
        problem = _what_listens(address)
    raise ConfigError(
        f"--cluster: no Dask scheduler answers at {address}: {problem}; `dask scheduler` prints the address to give "
        "(port 8786 unless told otherwise; 8787 is the dashboard)"
    )


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


@contextmanager
def started(address: str) -> Iterator[str]:
    """The scheduler's address for `--cluster`; local:N starts N workers here and stops them at the end."""
    check_cluster(address)
    if not address.startswith("local:") or address in _started:  # by a caller
        yield _started.get(address, address)
        return
    count = int(address.partition(":")[2])
    with (
        dask.config.set(_HERE),
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


def is_local(address: str) -> bool:
    """Whether `started` started the scheduler at an address: no worker will join it."""
    return address in _started.values()


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


async def _ask_kind(address: str) -> str:
    """Scheduler, Worker or Nanny: what a Dask process calls itself."""
    certificates = Security().get_connection_args("client")
    async with asyncio.timeout(ANSWER_SECONDS), rpc(address, connection_args=certificates) as there:
        return (await there.identity())["type"]


def _what_listens(address: str) -> str:
    """What is at an address where no scheduler answers."""
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=1).close()
    except OSError as error:
        return f"{error.strerror or error} (is it running? does a firewall block the port?)"
    asked = " (are Dask's certificates, distributed.comm.tls, right?)" if parts.scheme == "tls" else ""
    return f"what listens there does not answer like one{asked}"


def workers_of(client: Client) -> dict[Key, Worker]:
    """The running workers. Raises OSError if the scheduler does not answer."""
    if client.status != "running":
        raise OSError(f"the connection is {client.status}")
    assert client.scheduler is not None
    found = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER_SECONDS)["workers"]
    return {
        (address, worker["local_directory"]): worker
        for address, worker in found.items()
        if worker["status"] in ("running", "paused")
    }


def start_one(address: str) -> str:
    """How to start a worker, in words."""
    return f"start one with `dask worker {address} --nthreads 1`"


def memory_of(job: Job) -> int:
    """Bytes of memory to reserve on a worker for a run, with all of LFW's images."""
    model, data, training = job.config.model, job.config.data, job.config.training
    return training_memory(model, data.side, training.batch_size, IMAGES) if job.memory is None else job.memory


def resources_of(worker: Worker) -> Amounts:
    """The resources of a worker; one that declares no CORES has one per thread, no MEMORY its memory limit."""
    has = {"CORES": worker["nthreads"], "MEMORY": worker["memory_limit"] or sys.maxsize, "GPU": 0}
    has |= (worker["resources"] or {}) | {"threads": worker["nthreads"]}
    return Counter({name: int(amount) for name, amount in has.items()})


def need_on(job: Job, worker: Worker) -> Amounts:
    """The resources that a job takes of a worker.

    A run without a number of threads takes all cores, or its GPU's share of them.
    """
    has = resources_of(worker)
    cores = job.threads or max(1, has["CORES"] // max(1, has["GPU"]))
    return Counter(CORES=cores, MEMORY=job.memory or 0, GPU=min(1, has["GPU"]), threads=1)
