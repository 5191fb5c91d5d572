"""How much does a cluster add? A simulated study: stand-in trainings on many workers of one machine.

`python -m tools.cluster_load --runs 1000 --workers 50` measures the hand-out of runs: how many a second, processor
time and memory of scheduler and client, and the time to go on after the client was killed half-way. What it writes to
results/cluster.json is what the tables of docs/cluster.md are made of (`python -m tools.readme_blocks`).
`python -m tools.cluster_load JOB.json` is the stand-in: it writes a run's files as a training does, and sleeps.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from lfwstudy.config import RunConfig
from lfwstudy.runs.dispatch import run
from lfwstudy.runs.job import Job
from lfwstudy.runs.process import end
from lfwstudy.system.files import locked, replacing, write_csv, write_json
from lfwstudy.system.machine import cpu_name, peak_memory_mb
from lfwstudy.system.processes import end_with_parent, environment
from lfwstudy.training.decisions import COLUMNS

RESUME_EPOCHS = 5
RESULTS = Path(__file__).resolve().parents[1] / "results" / "cluster.json"


def stand_in(path):
    """Do what train.main does, but for the training: `pause` seconds an epoch, numbers that mean nothing.

    The job's options are `pause`; `trace`, a file to which each trained epoch is added with its process and its GPU; and
    `hang`, a file: where it is not there yet, the stand-in makes it and hangs.
    """
    job = Job.read(path)
    threading.Thread(target=end_with_parent, args=(job.lease,), daemon=True).start()
    try:
        with locked(job.folder / ".lock", patience=job.patience):
            if not (job.folder / "result.json").exists():
                _pretend(job, job.folder)
    except BlockingIOError:
        print(f"error: another process trains run {job.run}", file=sys.stderr)
        return 2
    return 0


def jobs(root, count, epochs=4, pause=0.05, trace="", hang="", **more):
    """Jobs of stand-in trainings, each a run in the folder `root`; `more`: other fields of theirs."""
    config = RunConfig().change({"model.width": 0.05, "data.side": 69, "training.epochs": epochs})
    given = {"config": config, "memory": 0, "program": "tools.cluster_load"} | more
    options = {"pause": pause, "trace": trace, "hang": hang}
    return [
        Job(run, folder=Path(root) / run, seed=number, title=f"stand-in {number}", options=options, **given)
        for number, run in enumerate(f"{number:016x}" for number in range(count))
    ]


def _pretend(job, folder):
    rows = []
    if (folder / "resume.npz").exists():
        import numpy as np  # only where needed: a thousand stand-ins should start fast

        with np.load(folder / "resume.npz", allow_pickle=False) as content:
            rows = json.loads(content["rows"].tobytes())
    write_json(folder / "config.json", {"run": job.run, "config": job.config.to_dict(), "seed": job.seed})
    while len(rows) < job.epochs:
        if (hang := job.options["hang"]) and len(rows) == 2 and not Path(hang).exists():
            Path(hang).touch()
            time.sleep(3600)
        time.sleep(job.options["pause"])
        rows.append(dict.fromkeys(COLUMNS, 0.5) | {"epoch": len(rows) + 1})
        _trace(job, len(rows))
        write_csv(folder / "history.csv", COLUMNS, rows)
        if len(rows) % RESUME_EPOCHS == 0:
            import numpy as np

            with replacing(folder / "resume.npz") as temporary, open(temporary, "wb") as file:
                np.savez(file, rows=np.frombuffer(json.dumps(rows).encode(), np.uint8))
    scored = [
        {"set": name, "pair": 2, "left": "A_0001", "right": "A_0002", "label": 1, "score": 0.9, "score_at_best": 0.9}
        for name in ("train", "val", "test")
    ]
    write_csv(folder / "predictions.csv", list(scored[0]), scored)
    write_json(
        folder / "result.json",
        {
            "run": job.run,
            "seed": job.seed,
            "status": "finished",
            "epochs_run": len(rows),
            "best_epoch": 1,
            "evaluated_epoch": 1,
            "val_accuracy_at_best": 0.6,
            "val_cross_entropy": 0.6,
            "seconds_total": 1.0,
            **{f"{name}_accuracy": 1.0 for name in ("train", "val", "test")},
        },
    )
    (folder / "resume.npz").unlink(missing_ok=True)


def _trace(job, epoch):
    if trace := job.options["trace"]:
        with open(trace, "a", encoding="utf-8") as file:
            file.write(f"{job.run} {epoch} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')}\n")


def main(arguments):
    """Entry point."""
    if len(arguments) == 1 and arguments[0].endswith(".json"):
        return stand_in(arguments[0])
    parser = argparse.ArgumentParser(
        prog="python -m tools.cluster_load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--json", default=str(RESULTS), metavar="FILE", help="where the measurements go")
    for name in ("client", "workers-at"):  # the processes that the measurement starts
        parser.add_argument(f"--{name}", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.workers_at:
        return asyncio.run(_serve(options.workers_at, options.workers))
    if options.client:
        return _client(*options.client.split(","), options.runs)
    write_json(options.json, {**measure(options.runs, options.workers), **overhead()})
    return 0


def measure(runs, workers):
    """Measure a simulated study; returns a dict of numbers. Scheduler, workers and client are processes of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        address = f"tcp://127.0.0.1:{_free_port()}"
        own = [sys.executable, "-m", "tools.cluster_load", "--runs", str(runs), "--workers", str(workers)]
        with open(folder / "log", "w") as log:
            scheduler = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "distributed.cli.dask_scheduler",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    address.rpartition(":")[2],
                    "--no-dashboard",
                ],
                stdout=log,
                stderr=log,
                env=environment(),
            )
            serving = subprocess.Popen([*own, "--workers-at", address], stdout=log, stderr=log, env=environment())
            try:
                client = [*own, "--client", f"{address},{folder}"]
                return _measured(client, scheduler, folder, runs, workers)
            finally:
                end(serving)
                end(scheduler)


def overhead(count=8, epochs=10, pause=2.0):
    """The same stand-ins, one at a time for each core, by the local executor and by as many workers of local:N.

    In turns, local, cluster, cluster, local, so that what else the machine does meets both. Returns wall seconds of both,
    the cluster's without its start, which a study pays once.
    """
    from lfwstudy.runs.cluster.client import started
    from lfwstudy.system.machine import cores

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


def _measured(client, scheduler, folder, runs, workers):
    import psutil

    scheduler = psutil.Process(scheduler.pid)
    while len(scheduler.net_connections()) < workers:  # all of them are there
        time.sleep(1)
    idle = scheduler.memory_info().rss
    used = sum(scheduler.cpu_times()[:2])
    first = subprocess.Popen(client, stdout=subprocess.DEVNULL, env=environment())
    while _finished(folder) < runs / 2:
        time.sleep(0.5)
    first.kill()
    first.wait()
    time.sleep(5)  # what was in progress ends by itself
    half, trace = _finished(folder), (folder / "trace").stat().st_size
    began = time.monotonic()
    second = subprocess.Popen(client, stdout=subprocess.PIPE, env=environment())
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


def _client(address, folder, runs):
    """The study's side of the measurement: hand out what is not finished, print what it took."""
    root = Path(folder) / "runs"
    root.mkdir(exist_ok=True)
    from lfwstudy.runs.store import Store

    store = Store(root)
    missing = [job for job in jobs(root, runs, trace=str(Path(folder) / "trace")) if not store.is_finished(job.run)]
    started = sum(os.times()[:2])
    failures = run(missing, address)
    print(json.dumps({"cpu": sum(os.times()[:2]) - started, "memory_mb": peak_memory_mb()}))
    return 1 if failures else 0


async def _serve(address, count):
    """Many workers in one process: what they do here is to wait for the processes they start."""
    from distributed import Worker

    workers = [Worker(address, nthreads=1, memory_limit=0, name=f"w{number}") for number in range(count)]
    await asyncio.gather(*workers)
    await asyncio.gather(*(worker.finished() for worker in workers))
    return 0


def _finished(folder):
    return len(list(Path(folder).glob("runs/*/result.json")))


def _trained_twice(folder):
    """Runs whose last epoch was trained more than once."""
    lines = [line.split()[:2] for line in (Path(folder) / "trace").read_text().splitlines()]
    last = max(int(epoch) for _, epoch in lines)
    names = [name for name, epoch in lines if int(epoch) == last]
    return len(names) - len(set(names))


def _free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
