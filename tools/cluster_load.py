"""The overhead of a cluster, in a simulated study: stand-in trainings on many workers of one machine.

`python -m tools.cluster_load --runs 1000 --workers 50` measures runs handed out per second, processor time and memory of
scheduler and client, and the time to resume after the client was killed half-way. It writes results/cluster.json, from
which `python -m tools.readme_blocks` makes the tables of docs/cluster.md.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lfwstudy.runs.dispatch import run
from lfwstudy.runs.process import end
from lfwstudy.runs.store import Store
from lfwstudy.system.files import write_json
from lfwstudy.system.machine import cores, cpu_name, peak_memory_mb
from lfwstudy.system.processes import environment
from tools.stand_in import jobs

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.cluster_load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument(
        "--json", default=str(ROOT / "results/cluster.json"), metavar="FILE", help="file for the result"
    )
    for name in ("client", "workers-at"):  # the processes that the measurement starts
        parser.add_argument(f"--{name}", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    # So that child processes, and theirs, find `tools`, too.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    if options.workers_at:
        return asyncio.run(_serve(options.workers_at, options.workers))
    if options.client:
        address, _, folder = options.client.partition(",")
        return _client(address, folder, options.runs)
    write_json(options.json, {**measure(options.runs, options.workers), **overhead()})
    return 0


def measure(runs: int, workers: int) -> dict[str, Any]:
    """Figures of a simulated study whose client is killed half-way; scheduler, workers and client are processes of this machine."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), str(_free_port())
        address = f"tcp://127.0.0.1:{port}"
        own = ["-m", "tools.cluster_load", "--runs", str(runs), "--workers", str(workers)]
        dask = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
        with open(folder / "log", "w") as log:
            scheduler = _started(dask, stdout=log, stderr=log)
            serving = _started([*own, "--workers-at", address], stdout=log, stderr=log)
            try:
                return _measured([*own, "--client", f"{address},{folder}"], scheduler, folder, runs, workers)
            finally:
                end(serving)
                end(scheduler)


def overhead(count: int = 8, epochs: int = 10, pause: float = 2.0) -> dict[str, Any]:
    """The same stand-ins, one at a time per core, without a cluster and with as many workers of local:N.

    Measured in turns, local, cluster, cluster, local, so that other load affects both. Wall seconds, without the start of
    the cluster, which a study pays once.
    """
    from lfwstudy.runs.cluster.scheduler import started

    taken = {"local": 0.0, "cluster": 0.0}
    with tempfile.TemporaryDirectory() as folder, started(f"local:{cores()}") as address:
        run(jobs(Path(folder) / "warm-up" / "runs", cores(), 1), address)
        for turn, name in enumerate(("local", "cluster", "cluster", "local")):
            began = time.monotonic()
            run(jobs(Path(folder) / str(turn) / "runs", count, epochs, pause), address if name == "cluster" else "")
            taken[name] += time.monotonic() - began
    return {
        "overhead_runs": 2 * count,
        "overhead_run_seconds": epochs * pause,
        "overhead_at_once": cores(),
        "local_seconds": taken["local"],
        "cluster_seconds": taken["cluster"],
    }


def _measured(client: list[str], scheduling: subprocess.Popen, folder: Path, runs: int, workers: int) -> dict[str, Any]:
    import psutil

    scheduler = psutil.Process(scheduling.pid)
    while len(scheduler.net_connections()) < workers:  # all have joined
        time.sleep(1)
    idle, used = scheduler.memory_info().rss, sum(scheduler.cpu_times()[:2])
    first = _started(client, stdout=subprocess.DEVNULL)
    while _finished(folder) < runs / 2:
        time.sleep(0.5)
    first.kill()
    first.wait()
    time.sleep(5)  # runs in progress end by themselves
    half, trace = _finished(folder), (folder / "trace").stat().st_size
    began = time.monotonic()
    second = _started(client, stdout=subprocess.PIPE)
    while (folder / "trace").stat().st_size == trace and second.poll() is None:
        time.sleep(0.05)
    resumed = time.monotonic() - began
    told = json.loads(second.communicate()[0])
    wall = time.monotonic() - began
    return {
        "machine": cpu_name(),
        "runs": runs,
        "workers": workers,
        "finished_at_kill": half,
        "finished": _finished(folder),
        "trained_twice": _trained_twice(folder),
        "runs_per_second": (runs - half) / wall,
        "seconds_to_resume": resumed,
        "scheduler_cpu_ms_per_run": 1000 * (sum(scheduler.cpu_times()[:2]) - used) / runs,
        "scheduler_memory_idle_mb": idle / 2**20,
        "scheduler_memory_mb": scheduler.memory_info().rss / 2**20,
        "client_cpu_ms_per_run": 1000 * told["cpu"] / (runs - half),
        "client_memory_mb": told["memory_mb"],
    }


def _client(address: str, folder: str, runs: int) -> int:
    """The client in the measurement: hand out unfinished runs, print processor time and memory."""
    store = Store(Path(folder) / "runs")
    store.root.mkdir(exist_ok=True)
    trace = str(Path(folder) / "trace")
    missing = [job for job in jobs(store.root, runs, trace=trace) if not store.is_finished(job.run)]
    began = sum(os.times()[:2])
    failures = run(missing, address)
    print(json.dumps({"cpu": sum(os.times()[:2]) - began, "memory_mb": peak_memory_mb()}))
    return 1 if failures else 0


async def _serve(address: str, count: int) -> int:
    """Many workers in one process: they only wait for the processes they start."""
    from distributed import Worker

    workers = [Worker(address, nthreads=1, memory_limit=0, name=f"w{number}") for number in range(count)]
    await asyncio.gather(*workers)
    await asyncio.gather(*(worker.finished() for worker in workers))
    return 0


def _started(arguments: list[str], **streams: Any) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, *arguments], env=environment(), **streams)


def _finished(folder: Path) -> int:
    return len(list(folder.glob("runs/*/result.json")))


def _trained_twice(folder: Path) -> int:
    """Runs whose last epoch was trained more than once."""
    lines = [line.split()[:2] for line in (folder / "trace").read_text().splitlines()]
    last = max(int(epoch) for _, epoch in lines)
    names = [name for name, epoch in lines if int(epoch) == last]
    return len(names) - len(set(names))


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
