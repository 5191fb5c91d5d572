"""Runs on many machines: real schedulers and workers on loopback, most with stand-ins for the trainings."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from lfwstudy import executors
from lfwstudy.cluster_load import RESUME_EPOCHS, jobs
from lfwstudy.config import ModelConfig
from lfwstudy.datasets import load_pairs, prepare_bank
from lfwstudy.errors import ConfigError
from lfwstudy.files import read_csv
from lfwstudy.model_cost import training_memory
from lfwstudy.runs import FILES, Store

cluster = pytest.importorskip("lfwstudy.cluster", reason="--cluster needs the package distributed")
ROOT = Path(__file__).resolve().parents[1]
GIB = 2**30


# -- without a cluster -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["tcp://host", "host:8786", "local:0", "local:", "tcp://:8786", "ucx://host:1",
                                     "tcp://host:8786/x", "local:2 "])
def test_malformed_addresses_are_refused(address):
    with pytest.raises(ConfigError, match="tcp://HOST:PORT"):
        executors.check_cluster(address)


@pytest.mark.parametrize("address", ["tcp://host:8786", "tls://10.0.0.1:8786", "tcp://[::1]:8786", "local:4"])
def test_addresses_are_taken(address):
    assert executors.check_cluster(address) == address


def test_unreachable_scheduler_is_wrong_use(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(ConfigError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        executors.run(jobs(tmp_path / "runs", 1), "tcp://127.0.0.1:9")


def test_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "lfwstudy.cluster")
    monkeypatch.delattr("lfwstudy.cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'lfwstudy\[cluster\]'"):
        executors.load_cluster()


def test_nothing_of_dask_is_imported_without_cluster():
    code = ("import sys, lfwstudy.cli, lfwstudy.conduct, lfwstudy.executors; "
            "sys.exit(any(m.split('.')[0] in ('dask', 'distributed') for m in sys.modules))")
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def described(nthreads=1, memory=8 * GIB, **resources):
    return {"nthreads": nthreads, "memory_limit": memory, "resources": resources}


@pytest.mark.parametrize("worker, threads, memory, at_once", [
    (described(4), 1, GIB, 4), (described(4), 0, GIB, 1), (described(4), 1, 3 * GIB, 2), (described(1), 1, 9 * GIB, 0),
    (described(8, CORES=4), 2, GIB, 2), (described(8, CORES=4), 0, GIB, 1), (described(8, CORES=4), 8, GIB, 0),
    (described(4, 64 * GIB, GPU=4), 0, GIB, 4), (described(4, 64 * GIB, GPU=2, CORES=16), 0, GIB, 2),
    (described(4, 64 * GIB, MEMORY=4e9), 1, 3e9, 1), (described(4, 0), 1, 50 * GIB, 4)])
def test_workers_are_not_overcommitted(worker, threads, memory, at_once):
    job = {"threads": threads, "memory": memory}
    need = cluster.need_on(job, worker)
    assert (need is None) == (at_once == 0)
    taken = []
    while need and all(cluster.room_on(worker, taken)[name] >= amount for name, amount in need.items()):
        taken.append(need)
    assert len(taken) == at_once


def test_memory_set_aside_covers_what_runs_took():
    """Peaks of the committed runs, all with full networks and batches of 64; and the stride stage's 304 M parameters."""
    results = ROOT / "results" / "lfw-deepfunneled"
    for run in Store(results / "runs").ids():
        config, result = Store(results / "runs").record(run)
        config = config["config"]
        peak = result["peak_memory_mb"] * 2**20
        asked = training_memory(ModelConfig(**config["model"]), config["data"]["side"], config["training"]["batch_size"],
                                pictures=4000)
        assert peak < asked < 2.2 * peak
    assert 8 * GIB < training_memory(ModelConfig(pool1_stride=1), 105, 64, 4000) < 12 * GIB


# -- with one ----------------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


class Machines:
    """A scheduler and workers as processes, each worker with a cache of its own, as on a machine of its own."""

    def __init__(self, folder, host="127.0.0.1", port=None):
        self.folder, self.processes, self.port, self.host = folder, [], port or free_port(), host
        self.address = f"tcp://{host}:{self.port}"
        if port is None:
            self.start_scheduler()

    def start_scheduler(self, before=(), **settings):
        environment = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "6s", "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "15s", **settings}
        self.scheduler = self._start([*before, sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", self.host,
                                      "--port", self.port, "--no-dashboard"], "scheduler", environment)

    def start_worker(self, name, *options, before=(), **settings):
        environment = {"LFWSTUDY_CACHE": str(self.folder / f"cache-{name}"),
                       "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "15s", **settings}
        return self._start([*before, sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--name", name,
                            "--no-nanny", "--nthreads", 1, "--no-dashboard", "--local-directory", self.folder / f"dask-{name}",
                            *options], f"worker-{name}", environment)

    def _start(self, command, name, environment):
        with open(self.folder / f"{name}.log", "a") as log:
            process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, cwd=ROOT,
                                       env={**os.environ, "PYTHONPATH": str(ROOT), **environment})
        self.processes.append(process)
        return process

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """One scheduler for the tests that leave it alone."""
    found = Machines(tmp_path_factory.mktemp("scheduler"))
    yield found
    found.stop()


@pytest.fixture
def machines(tmp_path, scheduler):
    """Workers of this test alone at the shared scheduler."""
    found = Machines(tmp_path, port=scheduler.port)
    yield found
    found.stop()


@pytest.fixture
def own_machines(tmp_path):
    """Workers and a scheduler of this test alone."""
    found = Machines(tmp_path)
    yield found
    found.stop()


@pytest.fixture
def unshared(monkeypatch):
    """Workers do not see the study's folder: they look for another one."""
    @contextmanager
    def mark(self):
        self.root.mkdir(parents=True, exist_ok=True)
        yield str(self.root / ".nowhere"), "nothing"
    monkeypatch.setattr(cluster._Handout, "_mark", mark)


def in_background(call):
    """Start a call in a thread; returns a function that waits for its value."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call)
    pool.shutdown(wait=False)
    return lambda patience=120: future.result(patience)


def until(condition, patience=90):
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def epochs_of(root, run=0):
    path = Path(root) / f"{run:016x}" / "history.csv"
    return len(read_csv(path)) if path.exists() else 0


def trained(trace):
    """How often each epoch of each run was trained, from the stand-ins' trace."""
    lines = Path(trace).read_text().split("\n") if Path(trace).exists() else []
    return Counter(tuple(line.split()[:2]) for line in lines if line)


def assert_all_finished(root, count, trace, repeated=0):
    """Every run is finished, no epoch is missing, and at most `repeated` runs repeated at most one resume period."""
    assert all(Store(root).is_finished(f"{n:016x}") for n in range(count))
    again = Counter()
    for (run, _), times in trained(trace).items():
        again[run] += times - 1
    assert sum(extra > 0 for extra in again.values()) <= repeated
    assert all(extra <= RESUME_EPOCHS for extra in again.values())


@pytest.mark.long
def test_worker_killed_in_training_costs_at_most_one_resume_period(machines, tmp_path):
    first = machines.start_worker("a")
    root, trace = tmp_path / "runs", tmp_path / "trace"
    said = []
    value = in_background(lambda: executors.run(jobs(root, 2, 9, 0.3, trace=str(trace)), machines.address, said.append))
    until(lambda: epochs_of(root) >= 6)
    first.kill()
    machines.start_worker("b")
    assert value() == {}
    assert_all_finished(root, 2, trace, repeated=1)
    assert "2 runs trained in" in said[-1] and "dashboard" in said[0] and "what runs where" in said[0]
    assert not list(root.glob(".cluster-*"))


def test_results_and_resume_state_travel_where_no_folder_is_shared(machines, tmp_path, unshared):
    first = machines.start_worker("a")
    root, trace = tmp_path / "runs", tmp_path / "trace"
    value = in_background(lambda: executors.run(jobs(root, 1, 12, 0.3, trace=str(trace)), machines.address))
    until(lambda: (root / f"{0:016x}" / "resume.npz").exists())
    first.kill()
    machines.start_worker("b")
    assert value() == {}
    assert_all_finished(root, 1, trace, repeated=1)
    assert {p.name for p in (root / f"{0:016x}").iterdir()} - {"log.txt", ".lock"} == set(FILES)
    assert not list((tmp_path / "cache-b" / "cluster" / "runs").iterdir())
    assert len(trained(trace)) == 12 and trained(trace)[f"{0:016x}", "1"] == 1


def test_process_that_hangs_is_ended_and_tried_again(machines, tmp_path):
    machines.start_worker("a")
    root, trace = tmp_path / "runs", tmp_path / "trace"
    assert executors.run(jobs(root, 1, 3, 0.1, trace=str(trace), hang=str(tmp_path / "hangs"), stall_seconds=2),
                         machines.address) == {}
    assert_all_finished(root, 1, trace, repeated=1)


@pytest.mark.long
def test_scheduler_restarted_and_workers_back(own_machines, tmp_path):
    own_machines.start_worker("a")
    root, trace = tmp_path / "runs", tmp_path / "trace"
    said = []
    value = in_background(lambda: executors.run(jobs(root, 2, 8, 0.3, trace=str(trace)), own_machines.address, said.append))
    until(lambda: epochs_of(root) >= 2)
    own_machines.scheduler.kill()
    own_machines.scheduler.wait()
    own_machines.start_scheduler()
    own_machines.start_worker("b")
    assert value() == {}
    assert_all_finished(root, 2, trace, repeated=1)


@pytest.mark.long
def test_client_killed_and_back_trains_nothing_twice(machines, tmp_path):
    machines.start_worker("a")
    root, trace = tmp_path / "runs", tmp_path / "trace"
    code = (f"from lfwstudy import executors, cluster_load\n"
            f"executors.run(cluster_load.jobs({str(root)!r}, 2, 8, 0.3, trace={str(trace)!r}), {machines.address!r})")
    client = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    until(lambda: epochs_of(root, 1) >= 2)
    client.kill()
    client.wait()
    left = [job for job in jobs(root, 2, 8, 0.3, trace=str(trace)) if not Store(root).is_finished(job["run"])]
    assert len(left) == 1
    assert executors.run(left, machines.address) == {}
    assert_all_finished(root, 2, trace, repeated=1)


@pytest.mark.long
def test_lost_scheduler_is_said_with_what_is_missing(own_machines, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 3)
    own_machines.start_worker("a")
    value = in_background(lambda: executors.run(jobs(tmp_path / "runs", 2, 50, 0.2), own_machines.address))
    until(lambda: epochs_of(tmp_path / "runs") >= 1)
    own_machines.scheduler.kill()
    failures = value()
    assert set(failures) == {f"{n:016x}" for n in range(2)}
    assert all("did not come back" in message and "the same command" in message for message in failures.values())


def test_a_run_that_fits_nowhere_says_what_it_needs(machines, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 2)
    machines.start_worker("a", "--memory-limit", "1 GiB")
    until(lambda: "Registered to" in (tmp_path / "worker-a.log").read_text())
    failures = executors.run([*jobs(tmp_path / "runs", 1, 1, memory=9 * GIB)], machines.address)
    assert "9.0 GiB" in failures[f"{0:016x}"] and "--memory-limit" in failures[f"{0:016x}"]


# -- with mounts and networks of their own -------------------------------------------------------------------------------


def may(*command):
    return subprocess.run(command, capture_output=True).returncode == 0


needs_namespaces = pytest.mark.skipif(not may("unshare", "--mount", "true") or not may("ip", "netns", "list"),
                                      reason="no namespaces of one's own may be made here")


@needs_namespaces
def test_full_disk_on_one_worker_leaves_the_runs_to_the_others(machines, tmp_path):
    """One worker sees another, full file system where its cache is, and not the study's folder."""
    root, trace = tmp_path / "runs", tmp_path / "trace"
    root.mkdir()
    hidden = tmp_path / "cache-full"
    hidden.mkdir()
    full = machines.start_worker("full", before=(
        "unshare", "--mount", "bash", "-c", f"mount -t tmpfs tmpfs {root}; mount -t tmpfs -o size=4k tmpfs {hidden}; "
        f"yes 2>/dev/null > {hidden}/filler; exec \"$@\"", "worker"))
    machines.start_worker("good")
    until(lambda: all("Registered to" in (tmp_path / f"worker-{name}.log").read_text() for name in ("full", "good")))
    assert executors.run(jobs(root, 3, 2, 0.2, trace=str(trace)), machines.address) == {}
    assert full.poll() is None and "No space left on device" in (tmp_path / "cluster.txt").read_text()
    assert_all_finished(root, 3, trace)


@needs_namespaces
@pytest.mark.long
def test_two_workers_of_a_machine_receive_the_pictures_once_and_train_the_same(machines, tmp_path, tiny, faces):
    """Neither the pictures nor the study's folder are on the machine; the local executor's numbers come out."""
    config = tiny.change({"data.dataset": "lfw-a", "data.pairs_per_class": 16, "training.batch_size": 8})
    pairs, bank = load_pairs(config.data, str(faces)), prepare_bank(config.data, str(faces))
    made = [{"task": "train", "run": config.identify(seed, "float32", pairs.digest(bank)), "config": config.to_dict(),
             "seed": seed, "precision": "float32", "data_dir": str(faces), "data_digest": pairs.digest(bank),
             "score_test": True, "keep_weights": True, "title": f"seed {seed}", "epochs": 3, "threads": 1} for seed in (0, 1)]
    here, there = ([{**job, "folder": str(tmp_path / place / "runs" / job["run"])} for job in made]
                   for place in ("here", "there"))
    (tmp_path / "there" / "runs").mkdir(parents=True)
    for name in "ab":
        machines.start_worker(name, LFWSTUDY_CACHE=str(tmp_path / "cache"), before=(
            "unshare", "--mount", "bash", "-c",
            f"mount -t tmpfs tmpfs {faces}; mount -t tmpfs tmpfs {tmp_path / 'there'}; exec \"$@\"", "worker"))
    assert executors.run(there, machines.address) == {}
    assert executors.run(here) == {}
    for one, other in zip(here, there):
        assert one["run"] == other["run"] and Path(other["folder"], "model.keras").stat().st_size > 0
        assert Path(one["folder"], "predictions.csv").read_bytes() == Path(other["folder"], "predictions.csv").read_bytes()
        first, second = (read_csv(Path(job["folder"], "history.csv")) for job in (one, other))
        assert [{**row, "seconds": ""} for row in first] == [{**row, "seconds": ""} for row in second]
    assert [p.name for p in (tmp_path / "cache" / "cluster" / "runs").iterdir()] == []
    assert len(list((tmp_path / "cache" / "cluster").glob("data-*"))) == 1


@pytest.mark.long
def test_worker_that_stands_still_loses_its_run_to_another(machines, tmp_path):
    """The scheduler drops a worker that is silent, its training ends with the lease, another worker goes on."""
    still = machines.start_worker("a")
    root, trace = tmp_path / "runs", tmp_path / "trace"
    value = in_background(lambda: executors.run(jobs(root, 1, 60, 0.3, trace=str(trace), lease=4), machines.address))
    until(lambda: epochs_of(root) >= 6)
    still.send_signal(signal.SIGSTOP)
    machines.start_worker("b")
    until(lambda: len({line.split()[2] for line in trace.read_text().splitlines()}) == 2)
    still.send_signal(signal.SIGCONT)  # it finds itself dropped and must not disturb
    assert value() == {}
    assert_all_finished(root, 1, trace, repeated=1)


@pytest.fixture
def network():
    """A network namespace joined to ours by one link: (its name, our address, our end of the link)."""
    name = f"lfw{os.getpid()}"
    for command in (f"netns add {name}", f"link add {name} type veth peer name inner netns {name}",
                    f"addr add 10.231.7.1/24 dev {name}", f"link set {name} up",
                    f"-n {name} addr add 10.231.7.2/24 dev inner", f"-n {name} link set inner up", f"-n {name} link set lo up"):
        subprocess.run(["ip", *command.split()], check=True)
    yield name, "10.231.7.1", name
    subprocess.run(["ip", "link", "delete", name])
    subprocess.run(["ip", "netns", "delete", name])


@needs_namespaces
@pytest.mark.long
@pytest.mark.parametrize("shared", [True, False])
def test_cut_network_costs_at_most_one_resume_period(network, tmp_path, shared, request):
    """A worker behind the cut goes on for a moment; where the folder is shared the run's lock keeps a second one waiting."""
    if not shared:
        request.getfixturevalue("unshared")
    name, host, link = network
    machines = Machines(tmp_path, host)
    try:
        machines.start_worker("cut", before=("ip", "netns", "exec", name))
        root, trace = tmp_path / "runs", tmp_path / "trace"
        value = in_background(lambda: executors.run(jobs(root, 2, 100, 0.3, trace=str(trace)), machines.address))
        until(lambda: epochs_of(root) >= 6)
        subprocess.run(["ip", "link", "set", link, "down"], check=True)
        machines.start_worker("b")
        assert value(150) == {}
        if shared:
            assert_all_finished(root, 2, trace, repeated=1)
        # Without a shared folder the machine behind the cut trains in vain until it notices.
        assert all(Store(root).is_finished(f"{n:016x}") for n in range(2))
        assert all(times <= 2 for times in trained(trace).values())
    finally:
        machines.stop()
