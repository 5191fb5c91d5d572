"""Connect to the scheduler at a cluster's address, or say what answers there instead."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed import Client, LocalCluster
from distributed.core import rpc
from distributed.security import Security

from lfwstudy.errors import ConfigError, one_line
from lfwstudy.runs.cluster import versions
from lfwstudy.runs.dispatch import check_cluster
from lfwstudy.system.machine import cores
from lfwstudy.system.text import clock

CONNECT_SECONDS, PROBE_SECONDS = 15, 1
# How long to wait for a lost scheduler, or for a worker that is large enough.
PATIENCE_SECONDS = 600
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


class Lost(Exception):
    """The scheduler does not answer any more."""


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
    given = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTHONSAFEPATH"]
        if given is not None:
            os.environ["PYTHONSAFEPATH"] = given


def describe(address: str) -> str:
    """A line on the cluster at a scheduler's address: workers, machines, dashboard. Raises ConfigError."""
    with connect(address) as client:
        try:
            found = workers_of(client)
        except Lost as error:
            raise ConfigError(f"--cluster: {address}: {error}") from None
        hosts = {worker["host"] for worker in found.values()}
        return (
            f"cluster: {len(found)} worker{'s' if len(found) != 1 else ''} on {len(hosts)} "
            f"machine{'s' if len(hosts) != 1 else ''} at {address}; dashboard: {client.dashboard_link}"
            + ("" if found else f"; {start_one(address)}")
        )


def start_one(address: str) -> str:
    """How to start a worker, in words."""
    return f"start one with `dask worker {address} --nthreads 1`"


def workers_of(client: Client) -> dict[str, dict[str, Any]]:
    """The running workers by address, as the scheduler describes them. Raises Lost."""

    async def ask() -> dict[str, Any]:
        assert client.scheduler is not None
        return await client.scheduler.identity(n_workers=-1)

    try:
        if client.status != "running":
            raise OSError(f"the connection is {client.status}")
        found = client.sync(ask, callback_timeout=CONNECT_SECONDS)["workers"]
    except (OSError, TimeoutError, RuntimeError, AssertionError) as error:
        raise Lost(f"the scheduler does not answer ({str(error) or type(error).__name__})") from None
    return {address: worker for address, worker in found.items() if worker["status"] in ("running", "paused")}


def connect(address: str) -> Client:
    """A client of the scheduler at an address. Raises ConfigError, which says what answers there instead."""
    try:
        # Dask's client waits for the server's greeting without a limit. In a thread: a notebook's event loop is running.
        with ThreadPoolExecutor(1) as thread:
            kind = thread.submit(lambda: asyncio.run(asyncio.wait_for(_ask_kind(address), CONNECT_SECONDS))).result()
    except Exception as error:  # even MemoryError: another server's greeting is read as a length
        problem = what_listens(address)
        if address.startswith("tls:"):
            problem += (
                f" ({str(error) or type(error).__name__}); are the certificates in Dask's configuration "
                "(distributed.comm.tls) right?"
            )
    else:
        if kind == "Scheduler":
            return _client(address)
        problem = f"a Dask {kind.lower()} listens there, not the scheduler"
    raise ConfigError(
        f"--cluster: no Dask scheduler answers at {address}: {one_line(problem)}; `dask scheduler` prints the "
        "address to give (port 8786 unless told otherwise; 8787 is the dashboard)"
    )


def connect_again(address: str, why: str, show: Callable[[str], object] | None) -> Client | None:
    """A client once the scheduler is back, None if it stays away."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        if show:
            show(f"{why}; waiting at most {clock(until - time.monotonic())} for {address} to come back")
        with suppress(ConfigError):
            return connect(address)
        time.sleep(1)
    return None


def told(error: BaseException) -> str:
    """An error from another machine in one line; Dask may have wrapped it in an Exception."""
    return " ".join((str(error) if type(error) is Exception else repr(error)).split())


def _client(address: str) -> Client:
    """A client of a scheduler that can unpickle this package's tasks."""
    client: Client | None = None

    async def ask() -> None:
        assert client is not None
        await client.run_on_scheduler(versions.versions_here)

    try:
        client = Client(address, timeout=CONNECT_SECONDS, name="lfwstudy")
        client.sync(ask, callback_timeout=CONNECT_SECONDS)
    except Exception as error:
        if client:
            client.close(timeout=5)
        raise ConfigError(
            f"--cluster: the scheduler at {address} cannot run this study's tasks ({told(error)}); install "
            "the same versions there"
        ) from None
    return client


async def _ask_kind(address: str) -> str:
    """Scheduler, Worker or Nanny: what a Dask process calls itself."""
    async with rpc(address, timeout=CONNECT_SECONDS, connection_args=Security().get_connection_args("client")) as there:
        return (await there.identity())["type"]


def what_listens(address: str) -> str:
    """What answers at an address where there is no scheduler."""
    parts = urlsplit(address)
    try:
        connection = socket.create_connection((parts.hostname, parts.port), timeout=PROBE_SECONDS)
    except socket.gaierror:
        return "unknown host name"
    except ConnectionRefusedError:
        return "nothing listens on that port"
    except TimeoutError:
        return "the host does not answer (is it on? does a firewall block the port?)"
    except OSError as error:
        return str(error)
    answer = b""
    with connection:
        for words in (b"", b"GET / HTTP/1.0\r\n\r\n"):  # a Dask process speaks first, a web server when asked
            with suppress(OSError):
                connection.sendall(words)
                answer = connection.recv(4096)
                break
    if answer.startswith(b"HTTP/"):
        return "a web server listens there"
    if answer.startswith(b"\x15\x03"):
        return "the server there requires TLS (tls://)"
    if b"pickle-protocol" in answer and parts.scheme == "tls":
        return "the server there does not use TLS (tcp://)"
    return "the server there does not answer like a scheduler"
