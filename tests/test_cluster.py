"""Runs on many machines: real schedulers and workers on loopback, most with stand-ins for the trainings."""

import errno
import operator
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from lfwstudy.config import RunConfig
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.data.registry import DATASETS
from lfwstudy.errors import ConfigError, RunError
from lfwstudy.network.cost import least_memory
from lfwstudy.runs import dispatch
from lfwstudy.runs.failure import Failure
from lfwstudy.runs.job import Job
from lfwstudy.runs.store import Store
from lfwstudy.system.files import read_csv
from tests.support.commands import lfwstudy
from tests.support.trained import numbers
from tools.stand_in import RESUME_EPOCHS, jobs

dask = pytest.importorskip("dask", reason="--cluster needs the package distributed")
from lfwstudy.runs.cluster import handout, scheduler, worker  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
GIB = 2**30


# -- without a cluster -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "tcp://host",
        "host:8786",
        "local:0",
        "local:",
        "tcp://:8786",
        "ucx://host:1",
        "tcp://host:8786/x",
        "local:2 ",
        "tcp://host:0",
        "tcp://host:65536",
        "http://host:8787/status",
    ],
)
def test_malformed_addresses_are_refused(address):
    with pytest.raises(ConfigError, match="tcp://HOST:PORT"):
        dispatch.check_cluster(address)


@pytest.mark.parametrize("address", ["tcp://host:8786", "tls://10.0.0.1:8786", "tcp://[::1]:8786", "local:4"])
def test_addresses_are_taken(address):
    assert dispatch.check_cluster(address) == address


def test_a_malformed_address_is_quoted_in_part():
    with pytest.raises(ConfigError) as refused:
        dispatch.check_cluster("tcp://" + 10_000 * "x")
    assert len(str(refused.value)) < 250


@contextmanager
def listening(talk):
    """A server on loopback; yields its port. talk: called with each connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            talk(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize(
    "talk",
    [
        lambda taken: taken.recv(9) and taken.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        lambda taken: taken.sendall(b"SSH-2.0-OpenSSH_9.6\r\n") or taken.recv(99),
        lambda taken: taken.recv(99) and taken.sendall(b"\x15\x03\x01\x00\x02\x02\x46"),
        lambda taken: taken.close(),
        lambda taken: time.sleep(30),
    ],
    ids=["web server", "SSH", "TLS", "hangs up", "silent"],
)
def test_another_server_in_a_schedulers_place_is_told_in_a_line(talk, tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "ANSWER_SECONDS", 1)
    with listening(talk) as port, pytest.raises(ConfigError, match="does not answer like one") as refused:
        dispatch.run(jobs(tmp_path / "runs", 1), f"tcp://127.0.0.1:{port}")
    message = str(refused.value)
    assert f"at tcp://127.0.0.1:{port}" in message and "8786" in message and "8787" in message and "\n" not in message


def test_unreachable_scheduler_is_wrong_use(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "ANSWER_SECONDS", 1)
    with socket.socket() as held:  # bound, and nobody listens
        held.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"no Dask scheduler answers at {address}: Connection refused"):
            dispatch.run(jobs(tmp_path / "runs", 1), address)
    with pytest.raises(ConfigError, match=r"no Dask scheduler answers at tcp://nowhere.invalid:8786: .*[Nn]ame"):
        dispatch.run(jobs(tmp_path / "runs", 1), "tcp://nowhere.invalid:8786")


def test_other_code_and_other_versions_are_told_apart(tmp_path, monkeypatch):
    here = worker.versions_here()
    assert worker.difference(here) == ""
    assert worker.difference({**here, "Python": "2.7", "Keras": "1.0"}) == (
        f"Python is {here['Python']} instead of 2.7, Keras is {here['Keras']} instead of 1.0; install the same versions there"
    )
    monkeypatch.setattr(worker.importlib.resources, "files", lambda name: tmp_path / "lfwstudy")
    shutil.copytree(ROOT / "lfwstudy", tmp_path / "lfwstudy", ignore=shutil.ignore_patterns("__pycache__"))
    assert worker.versions_here() == here
    for change in (
        lambda path: path.write_text(path.read_text() + "\n"),
        lambda path: path.rename(path.with_name("other.py")),
    ):
        change(tmp_path / "lfwstudy" / "network" / "siamese.py")
        assert "lfwstudy is" in worker.difference(here)
        (tmp_path / "lfwstudy" / "network" / "other.py").unlink(missing_ok=True)
        shutil.copy(ROOT / "lfwstudy" / "network" / "siamese.py", tmp_path / "lfwstudy" / "network")


def test_the_backend_is_part_of_the_versions(monkeypatch):
    here = worker.versions_here()
    monkeypatch.setenv("KERAS_BACKEND", "jax" if here["backend"].startswith("tensorflow") else "tensorflow")
    assert worker.difference(here).startswith("backend is")


def test_other_code_on_a_machine_is_its_fault_and_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "get_worker", lambda: None)
    older = {**worker.versions_here(), "lfwstudy": "0.0.1 (code 00000000)"}
    with worker.token_file(tmp_path / "runs") as token, pytest.raises(worker.Ended) as ended:
        worker.train_here(jobs(tmp_path / "runs", 1)[0].content(), older, str(token))
    kind, message = ended.value.args
    assert kind == "machine" and "instead of 0.0.1" in message and f"(on {os.uname().nodename})" in message


@pytest.mark.parametrize("error, kind", [(MemoryError("no room"), "memory"), (KeyError("none"), "crash")])
def test_what_stops_a_run_on_a_fit_worker_is_not_taken_for_another_version(tmp_path, monkeypatch, error, kind):
    def fail(job):
        raise error

    monkeypatch.setattr(worker, "get_worker", lambda: None)
    monkeypatch.setattr(worker, "find_data", fail)
    with worker.token_file(tmp_path / "runs") as token, pytest.raises(worker.Ended) as ended:
        worker.train_here(jobs(tmp_path / "runs", 1)[0].content(), worker.versions_here(), str(token))
    assert ended.value.args[0] == kind


def test_a_worker_that_declares_more_gpus_than_it_may_use_is_at_fault(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(worker, "_FREE_GPUS", {})
    own = SimpleNamespace(state=SimpleNamespace(total_resources={"GPU": 2}))
    with worker._gpu(own) as gpu, pytest.raises(RunError, match="declares more GPUs") as error, worker._gpu(own):
        pass
    assert gpu == "3" and error.value.failure.kind == "machine" and worker._FREE_GPUS == {"free": ["3"]}


def test_a_folder_that_cannot_be_listed_is_an_error_and_no_silence(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert "does not see" in worker.unseen(tmp_path / "runs" / ".cluster-none")
    (tmp_path / "runs").mkdir()
    with pytest.raises(PermissionError, match="Permission denied"):
        worker.unseen(tmp_path / "runs" / ".cluster-none")


def test_a_second_study_in_the_folder_leaves_the_first_ones_token(tmp_path):
    (tmp_path / ".cluster-left").write_text("by a study that was killed")
    with worker.token_file(tmp_path) as first, worker.token_file(tmp_path) as second:
        assert worker.unseen(first) == worker.unseen(second) == "" and len(list(tmp_path.glob(".cluster-*"))) == 2
    assert not list(tmp_path.iterdir())


def test_a_folder_that_a_worker_does_not_share_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "TOKEN_SECONDS", 0.3)
    with worker.token_file(tmp_path / "study" / "runs") as token:
        assert worker.unseen(token) == ""
        for other in (token.with_name(".cluster-of-another"), tmp_path / "elsewhere" / "runs" / token.name):
            told = worker.unseen(other)
            assert "it does not see the study's folder" in told and "give --out a folder that all workers share" in told
        monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
        assert worker.unseen(token) == f"it cannot write to the study's folder {tmp_path / 'study'}"


def test_data_that_are_not_on_a_worker_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("LFWSTUDY_DATA", raising=False)
    config = RunConfig().change({"data.dataset": "lfw-a"})
    (missing,) = jobs(tmp_path / "runs", 1, config=config, data_digest="0" * 64, data_dir="/nowhere")
    with pytest.raises(RunError, match=r"no images and pairs with the study's digest at /nowhere, \$LFWSTUDY_DATA"):
        worker.find_data(missing)


@pytest.mark.parametrize("cached", [False, True])
def test_images_that_a_worker_has_downloaded_are_used_and_none_are_downloaded(tmp_path, monkeypatch, cached):
    """Where the study's own data folder is there, and may not be read."""
    monkeypatch.delenv("LFWSTUDY_DATA", raising=False)
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path))
    config = RunConfig().change({"data.dataset": "lfw-a"})
    if cached:
        (tmp_path / "downloads").mkdir()
        (tmp_path / "downloads" / DATASETS["lfw-a"].archive).touch()

    def load(data, folder):
        if folder:
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return None, None, "0" * 64

    monkeypatch.setattr(worker, "load_data", load)
    (job,) = jobs(tmp_path / "runs", 1, config=config, data_digest="0" * 64, data_dir=str(tmp_path))
    if cached:
        assert worker.find_data(job) == ""
    else:
        with pytest.raises(RunError, match="or in the cache .*Permission denied"):
            worker.find_data(job)


def test_missing_package_says_what_to_install(monkeypatch):
    for name in ("handout", "scheduler", "worker"):
        monkeypatch.delitem(sys.modules, f"lfwstudy.runs.cluster.{name}")
        monkeypatch.delattr(f"lfwstudy.runs.cluster.{name}")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'lfwstudy\[cluster\]'"):
        dispatch.load_cluster()


def described(nthreads=1, memory=8 * GIB, **resources):
    return {"nthreads": nthreads, "memory_limit": memory, "resources": resources}


@pytest.mark.parametrize(
    "worker, threads, memory, at_once",
    [
        (described(4), 1, GIB, 4),
        (described(4), 0, GIB, 1),
        (described(4), 1, 3 * GIB, 2),
        (described(1), 1, 9 * GIB, 0),
        (described(8, CORES=4), 2, GIB, 2),
        (described(8, CORES=4), 0, GIB, 1),
        (described(8, CORES=4), 8, GIB, 0),
        (described(4, 64 * GIB, GPU=4), 0, GIB, 4),
        (described(4, 64 * GIB, GPU=2, CORES=16), 0, GIB, 2),
        (described(4, 64 * GIB, MEMORY=4e9), 1, 3 * 10**9, 1),
        (described(4, 0), 1, 50 * GIB, 4),
    ],
)
def test_workers_are_not_overcommitted(worker, threads, memory, at_once):
    job = Job("run", RunConfig(), Path("run"), threads=threads, memory=memory)
    need, room, taken = scheduler.need_on(job, worker), scheduler.resources_of(worker), 0
    while need <= room:
        room.subtract(need)
        taken += 1
    assert taken == at_once


def memory_of(config):
    return scheduler.memory_of(Job("run", config, Path("run")))


@pytest.mark.parametrize(
    "placement, peak_mb",
    [("none", 2977.9), ("after-activation", 4347.6), ("before-activation", 4350.4), ("activation-and-pooling", 2519.6)],
)
def test_memory_set_aside_covers_what_runs_took(placement, peak_mb):
    """Peaks of full networks in batches of 64, convolutions in bfloat16, on two cores of an AMD EPYC."""
    config, peak = RunConfig().change({"model.batchnorm": placement}), peak_mb * 2**20
    assert peak < memory_of(config) < 2.2 * peak
    assert least_memory(config.model, config.data.side, config.training.batch_size) < peak


def test_memory_set_aside_for_the_largest_network():
    assert 8 * GIB < memory_of(RunConfig().change({"model.pool1_stride": 1})) < 12 * GIB


# -- with one ----------------------------------------------------------------------------------------------------------


class Machines:
    """A scheduler and workers as processes, each worker with its own cache, as on separate machines."""

    def __init__(self, folder, host="127.0.0.1", address="", protocol="tcp", **settings):
        self.folder, self.processes, self.host, self.protocol, self.address = folder, [], host, protocol, address
        if not address:
            self.start_scheduler(**settings)

    def start_scheduler(self, **settings):
        """Start it, at a port that is free; again at the same one."""
        environment = {
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "20s",
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "15s",
            **settings,
        }
        port = self.address.rpartition(":")[2] or 0
        own = ("--host", self.host, "--port", port, "--protocol", self.protocol, "--no-dashboard")
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", *own]
        self.scheduler = self._start(command, "scheduler", environment)
        self.address = self.told("scheduler", r"Scheduler at:\s+(\S+)")

    def told(self, name, pattern):
        """What a process says in its log, once it has."""
        until(lambda: re.search(pattern, (self.folder / f"{name}.log").read_text()))
        return re.search(pattern, (self.folder / f"{name}.log").read_text())[1]

    def start_worker(self, name, *options, before=(), **settings):
        environment = {
            "LFWSTUDY_CACHE": str(self.folder / f"cache-{name}"),
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "15s",
            **settings,
        }
        return self._start(
            [
                *before,
                sys.executable,
                "-m",
                "distributed.cli.dask_worker",
                self.address,
                "--name",
                name,
                "--no-nanny",
                "--no-dashboard",
                "--local-directory",
                self.folder / f"dask-{name}",
                *(() if "--nthreads" in options else ("--nthreads", 1)),
                *options,
            ],
            f"worker-{name}",
            environment,
        )

    def _start(self, command, name, environment):
        with open(self.folder / f"{name}.log", "a") as log:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}", **environment},
            )
        self.processes.append(process)
        return process

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def shared_scheduler(tmp_path_factory):
    """One scheduler for the tests that leave it alone."""
    found = Machines(tmp_path_factory.mktemp("scheduler"))
    yield found
    found.stop()


@pytest.fixture
def machines(tmp_path, shared_scheduler):
    """Workers of this test alone at the shared scheduler."""
    found = Machines(tmp_path, address=shared_scheduler.address)
    yield found
    found.stop()


@pytest.fixture
def impatient(monkeypatch):
    """A study that soon gives up what no worker can train."""
    monkeypatch.setattr(scheduler, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(handout, "_LOOK_SECONDS", 0.1)


@pytest.fixture
def own_machines(tmp_path):
    """Workers and a scheduler of this test alone."""
    found = Machines(tmp_path)
    yield found
    found.stop()


def in_background(call):
    """Start a call in a thread; returns a function that waits for its value."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call)
    pool.shutdown(wait=False)
    return lambda patience=300: future.result(patience)


def until(condition, patience=240):
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
    value = in_background(lambda: dispatch.run(jobs(root, 2, 9, 0.3, trace=str(trace)), machines.address, said.append))
    until(lambda: epochs_of(root) >= 6)
    first.kill()
    machines.start_worker("b")
    assert value() == {}
    assert_all_finished(root, 2, trace, repeated=1)
    assert "2 runs trained in" in said[-1] and "dashboard" in said[0] and "what runs where" in said[0]
    assert re.match(r"2 of 2 runs done, .*; seen at \d{4}-\d\d-\d\d \d\d:", (tmp_path / "cluster.txt").read_text())
    assert not list(root.glob(".cluster-*"))


@pytest.mark.long
def test_process_that_hangs_is_ended_and_tried_again(machines, tmp_path):
    machines.start_worker("a")
    root, trace = tmp_path / "runs", tmp_path / "trace"
    assert (
        dispatch.run(
            jobs(root, 1, 3, 0.1, trace=str(trace), hang=str(tmp_path / "hangs"), stall_seconds=10), machines.address
        )
        == {}
    )
    assert_all_finished(root, 1, trace, repeated=1)


@pytest.mark.long
def test_scheduler_restarted_and_workers_back(own_machines, tmp_path):
    own_machines.start_worker("a")
    root, trace = tmp_path / "runs", tmp_path / "trace"
    said = []
    value = in_background(
        lambda: dispatch.run(jobs(root, 2, 8, 0.3, trace=str(trace)), own_machines.address, said.append)
    )
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
    code = (
        f"from lfwstudy.runs import dispatch\nfrom tools import stand_in\n"
        f"dispatch.run(stand_in.jobs({str(root)!r}, 2, 8, 0.3, trace={str(trace)!r}), {machines.address!r})"
    )
    client = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    until(lambda: epochs_of(root, 1) >= 2)
    client.kill()
    client.wait()
    left = [job for job in jobs(root, 2, 8, 0.3, trace=str(trace)) if not Store(root).is_finished(job.run)]
    assert len(left) == 1
    assert dispatch.run(left, machines.address) == {}
    assert_all_finished(root, 2, trace, repeated=1)
    assert not list(root.glob(".cluster-*"))


@pytest.mark.long
def test_lost_scheduler_is_said_with_what_is_missing(own_machines, tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "PATIENCE_SECONDS", 3)
    own_machines.start_worker("a")
    value = in_background(lambda: dispatch.run(jobs(tmp_path / "runs", 2, 50, 0.2), own_machines.address))
    until(lambda: epochs_of(tmp_path / "runs") >= 1)
    own_machines.scheduler.kill()
    failures = value()
    assert set(failures) == {f"{n:016x}" for n in range(2)}
    assert all(
        "was lost and is not back" in message and "the same command resumes" in message for message in failures.values()
    )


def test_a_run_that_fits_nowhere_says_what_it_needs(machines, tmp_path, impatient):
    machines.start_worker("a", "--memory-limit", "1 GiB")
    machines.told("worker-a", "Registered (to)")
    failures = dispatch.run([*jobs(tmp_path / "runs", 1, 1, memory=9 * GIB)], machines.address)
    assert "9.0 GiB" in failures[f"{0:016x}"] and "--memory-limit" in failures[f"{0:016x}"]


def without_package(folder):
    """The environment of a Dask process that cannot import this package."""
    folder.mkdir()
    (folder / "lfwstudy.py").write_text("raise ModuleNotFoundError(\"No module named 'lfwstudy'\")\n")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PYTHONSAFEPATH": "1"}


@pytest.fixture
def foreign(tmp_path):
    """Environments of workers that cannot train what the study asks, by what is said of them."""
    for name in ("other", "older"):
        shutil.copytree(ROOT / "lfwstudy", tmp_path / name / "lfwstudy", ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "other" / "lfwstudy" / "training" / "trainer.py", "a") as file:
        file.write("# another revision\n")
    (tmp_path / "older" / "lfwstudy" / "runs" / "cluster" / "worker.py").write_text("def versions_here(): pass\n")
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "sitecustomize.py").write_text(
        "import platform\nplatform.python_version_tuple = lambda: ('3', '99', '0')\n"
    )
    paths = {
        r"lfwstudy is \S+ \(code \w{8}\) instead of \S+ \(code \w{8}\)": "other",
        "has no attribute|Can't get attribute": "older",
        r"Python is 3\.99 instead of 3\.1": "python",
    }
    return {
        "No module named 'lfwstudy'": without_package(tmp_path / "without"),
        **{
            said: {"PYTHONPATH": f"{tmp_path / name}{os.pathsep}{ROOT}", "PYTHONSAFEPATH": "1"}
            for said, name in paths.items()
        },
    }


@pytest.mark.long
def test_workers_with_another_package_are_named_and_get_no_run(machines, foreign, tmp_path, impatient):
    workers = [machines.start_worker(number, **environment) for number, environment in enumerate(foreign.values())]
    until(lambda: f"cluster: {len(workers)} workers" in scheduler.describe(machines.address))
    failures = dispatch.run(jobs(tmp_path / "runs", 1, 2, 0.05), machines.address)
    message = failures[f"{0:016x}"]
    assert re.search(r"no worker can train it: worker tcp://127.0.0.1:\d+ is not used", message)
    assert "install the same versions" in message and "\n" not in message and len(message) < 500
    view = (tmp_path / "cluster.txt").read_text()
    assert all(re.search(f"set aside .*({said})", view) for said in foreign)
    machines.start_worker("good")
    until(lambda: f"cluster: {len(workers) + 1} workers" in scheduler.describe(machines.address))
    told = []
    # As many runs as workers: each worker is given one at first.
    assert dispatch.run(jobs(tmp_path / "runs", len(workers) + 1, 2, 0.05), machines.address, told.append) == {}
    assert (tmp_path / "cluster.txt").read_text().count("set aside  ") == len(workers)
    assert "is not used: " in told[-2]
    assert all(worker.poll() is None for worker in workers)  # each was asked, and sent no task that it cannot read


def test_a_scheduler_needs_nothing_of_the_package(tmp_path):
    machines = Machines(tmp_path, **without_package(tmp_path / "without"))
    try:
        machines.start_worker("a")
        assert dispatch.run(jobs(tmp_path / "runs", 1, 1), machines.address) == {}
        (failed,) = dispatch.run(jobs(tmp_path / "none", 1, program="lfwstudy.nothing"), machines.address).values()
        assert "No module named lfwstudy.nothing" in failed and f"(on {os.uname().nodename})" in failed
    finally:
        machines.stop()


def test_a_workers_own_port_is_not_a_schedulers(machines, tmp_path):
    machines.start_worker("a")
    address = machines.told("worker-a", r"Start worker at:\s+(\S+)")
    with pytest.raises(ConfigError, match="a Dask worker listens there, not the scheduler"):
        dispatch.run(jobs(tmp_path / "runs", 1), address)


def test_a_cluster_without_workers_is_said_at_once_and_in_the_end(machines, tmp_path, impatient):
    told = []
    assert f"dask worker {machines.address}" in scheduler.describe(machines.address)
    failures = dispatch.run(jobs(tmp_path / "runs", 1), machines.address, told.append)
    assert any(f"no worker; start one with `dask worker {machines.address}" in line for line in told)
    assert f"no worker; start one with `dask worker {machines.address}" in failures[f"{0:016x}"]


class Ended:
    """A task's future that has ended."""

    def __init__(self, error):
        self.error, self.status = error, "error" if error else "finished"

    def done(self):
        return True

    def exception(self):
        return self.error

    def release(self):
        pass


def study_on(root, errors, count=3):
    """The bookkeeping of a study of one run, on workers whose attempts end in errors, one after the other."""

    def submit(function, *_, **__):
        return Ended(errors.pop(0)) if function is operator.call else None

    client = SimpleNamespace(submit=submit, dashboard_link="", status="closed", close=lambda timeout: None)
    study = handout.Handout(jobs(root, 1), "tcp://s:1", client, root / ".cluster-none", None)
    for number in range(count):
        address = f"tcp://w{number}:1"
        study.workers[address, "one"] = {**described(), "name": f"host-{number}"}
    return study


def attempt(study):
    study._place()
    study._settle()


def ended(error):
    failure = Failure.of(error)
    return worker.Ended(failure.kind, failure.message)


def test_a_run_whose_folder_cannot_be_written_fails_alone(tmp_path):
    refused = [ended(PermissionError(errno.EACCES, "Permission denied")) for _ in range(3)]
    study = study_on(tmp_path / "runs", refused)
    for _ in range(handout.ATTEMPTS):
        attempt(study)
    assert len(study.failures) == 1 and "Permission denied" in study.failures[f"{0:016x}"] and not refused
    assert len(study.usable()) == 3 and study.aside == {}


def test_a_run_that_failed_is_tried_on_every_other_worker_first(tmp_path):
    study = study_on(tmp_path / "runs", [worker.Ended("crash", "a bug")] * 4, 2)
    study.attempts[f"{0:016x}"] = -10
    tried = []
    for _ in range(4):
        study._place()
        tried += [at.worker for at in study.running.values()]
        study._settle()
    assert tried[0] != tried[1] and len(tried) == 4


def test_a_run_that_failed_on_the_only_worker_large_enough_may_go_there_again(tmp_path):
    study = study_on(tmp_path / "runs", [worker.Ended("crash", "a bug")] * handout.ATTEMPTS, 1)
    study.waiting = {run: replace(job, memory=GIB) for run, job in study.waiting.items()}
    study.workers["tcp://small:1", "one"] = {**described(memory=1), "name": "small"}
    for _ in range(handout.ATTEMPTS):
        attempt(study)
    assert "a bug" in study.failures[f"{0:016x}"] and not study.waiting


def test_what_fits_nowhere_is_found_without_asking_each_worker_for_each_run(tmp_path, monkeypatch):
    study, asked = study_on(tmp_path / "runs", [], 20), []
    (job,) = study.waiting.values()
    study.waiting = {f"{number:016x}": replace(job, run=f"{number:016x}", memory=9 * GIB) for number in range(200)}
    monkeypatch.setattr(handout, "need_on", lambda *about: asked.append(about) or scheduler.need_on(*about))
    study._give_up_what_is_stuck()
    assert "9.0 GiB" in study.stuck and len(study.waiting) == 200 and len(asked) == 20


def test_another_process_at_a_run_is_said_and_its_folder_left_alone(tmp_path):
    study = study_on(tmp_path / "runs", [worker.Ended("busy", "another process trains it")] * handout.ATTEMPTS)
    for _ in range(handout.ATTEMPTS):
        attempt(study)
    assert "another process trains it" in study.failures[f"{0:016x}"] and not (tmp_path / "runs").exists()


def test_attempts_are_counted_only_while_a_run_gets_no_further(tmp_path):
    run = f"{0:016x}"
    study = study_on(tmp_path / "runs", [worker.Ended("crash", "a bug")] * 6)
    history = tmp_path / "runs" / run / "history.csv"
    history.parent.mkdir(parents=True)
    for epochs in (0, 2, 4):
        study._place()
        history.write_text("epoch\n" + "".join(f"{epoch + 1}\n" for epoch in range(epochs)))
        study._settle()
        assert study.attempts[run] == 1
    attempt(study)
    assert study.attempts[run] == 2 and not study.failures
    attempt(study)
    assert "a bug" in study.failures[run]


@pytest.mark.parametrize(
    "error", [ended(ModuleNotFoundError("No module named 'h5py'")), AttributeError("no such name")]
)
def test_a_worker_where_no_run_succeeds_is_set_aside_and_no_attempt_counted(tmp_path, error):
    study = study_on(tmp_path / "runs", [error])
    attempt(study)
    assert len(study.usable()) == 2 and not study.attempts and len(study.waiting) == 1


def test_a_worker_set_aside_is_used_again_once_it_was_mended_and_restarted(tmp_path):
    study = study_on(tmp_path / "runs", [worker.Ended("disk", "No space left on device (on host-0)")], 1)
    attempt(study)
    assert study.usable() == {} and "tcp://w0:1 is not used: No space left on device (on host-0)" in study.not_used()
    study.workers = {("tcp://w0:1", "two"): {**described(), "name": "host-0"}}
    assert list(study.usable()) == [("tcp://w0:1", "two")]


def test_a_run_whose_files_cannot_be_read_now_is_tried_again(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ESTALE, "Stale file handle")

    study = study_on(tmp_path / "runs", [None])
    study._place()
    monkeypatch.setattr(study.store, "is_finished", fail)
    study._settle()
    assert list(study.waiting) == list(study.attempts) == [f"{0:016x}"] and not study.failures


def test_a_study_whose_only_worker_is_unusable_waits_for_another(tmp_path):
    study = study_on(tmp_path / "runs", [worker.Ended("machine", "Python is 3.1"), None], 1)
    attempt(study)
    study._give_up_what_is_stuck()
    assert "no worker can train it: worker tcp://w0:1 is not used: Python is 3.1" in study.stuck and not study.failures
    assert study.line().count("Python is 3.1") == 1
    study.workers["tcp://w1:1", "one"] = {**described(), "name": "host-1"}
    study._place()
    study._give_up_what_is_stuck()
    assert [at.worker[0] for at in study.running.values()] == ["tcp://w1:1"] and not study.stuck


def test_workers_of_this_machine_that_are_all_unusable_fail_the_study_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "_started", {"local:2": "tcp://s:1"})
    study = study_on(tmp_path / "runs", [worker.Ended("disk", "No space left on device")] * 2, 2)
    attempt(study)
    study._give_up_what_is_stuck()
    assert not study.failures
    attempt(study)
    study._give_up_what_is_stuck()
    assert "No space left on device" in study.failures[f"{0:016x}"] and not study.waiting


def test_a_lost_worker_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(handout, "ATTEMPTS", 1)
    study = study_on(tmp_path / "runs", [None], 1)
    study._place()
    study.running[f"{0:016x}"].future.status = "pending"
    study.workers = {}
    study._settle()
    assert "its worker, host-0, tcp://w0:1, was lost" in study.failures[f"{0:016x}"]


def test_runs_of_a_lost_scheduler_wait_again_and_no_attempt_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "ANSWER_SECONDS", 0.5)
    study = study_on(tmp_path / "runs", [None])
    study._place()
    study.running[f"{0:016x}"].future.status = "cancelled"
    study._look()
    assert study.lost and not study.workers
    study._settle()
    study._give_up_what_is_stuck()
    assert list(study.waiting) == [f"{0:016x}"] and not study.attempts and "tcp://s:1 was lost" in study.stuck


def test_a_client_that_does_not_close_in_time_is_replaced(tmp_path, monkeypatch):
    def hang(timeout):
        raise TimeoutError

    study, fresh = study_on(tmp_path / "runs", []), SimpleNamespace()
    study.client.close = hang
    monkeypatch.setattr(scheduler, "connect", lambda address: fresh)
    study._look()
    assert study.client is fresh


def test_what_is_shown_of_a_cluster_ends_no_training(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "ANSWER_SECONDS", 0.5)
    study = study_on(tmp_path / "runs", [None], 1)
    study._place()
    monkeypatch.setattr(study.store, "history", lambda run: [{"epoch": 1, "loss": 0.5}])
    study._look()
    assert study.epochs[f"{0:016x}"] == 1
    study._tell("")
    assert (tmp_path / "cluster.txt").exists()
    (tmp_path / "cluster.txt").unlink()
    (tmp_path / "cluster.txt").mkdir()  # nothing can be written there
    study._tell("")


def most_at_once(root, value):
    """The largest number of runs in progress at once, by their processes' files; waits for a background call's end."""
    most = 0
    while True:
        most = max(most, len(list(root.glob("*/job.json"))))
        try:
            assert value(0.05) == {}
            return most
        except TimeoutError:
            continue


@pytest.mark.long
def test_declared_memory_bounds_how_many_run_at_once_the_stride_stage_included(machines, tmp_path, monkeypatch):
    """Networks of 304 M parameters: never on the small worker, two at once on one with four threads and 24 GB."""
    monkeypatch.setattr(scheduler, "PATIENCE_SECONDS", 2)
    wide = RunConfig().change({"model.pool1_stride": 1, "training.epochs": 12})
    made = jobs(tmp_path / "runs", 5, 12, 0.3, config=wide, memory=None)
    machines.start_worker("small", "--nthreads", 4, "--resources", "MEMORY=4e9 CORES=4")
    machines.told("worker-small", "Registered (to)")
    failures = dispatch.run(made[:1], machines.address)
    size = f"{memory_of(wide) / GIB:.1f} GiB"
    assert f"no worker has the {size}" in failures[f"{0:016x}"] and not list((tmp_path / "runs").glob("*/result.json"))
    machines.start_worker("large", "--nthreads", 4, "--resources", "MEMORY=24e9 CORES=4")
    machines.told("worker-large", "Registered (to)")
    assert most_at_once(tmp_path / "runs", in_background(lambda: dispatch.run(made, machines.address))) == 2


@pytest.mark.long
def test_each_gpu_serves_one_run_at_a_time(machines, tmp_path):
    """By what the processes are told to see; there is no GPU here."""
    root, seen = tmp_path / "runs", tmp_path / "trace"
    machines.start_worker("a", "--nthreads", 4, "--resources", "GPU=2 CORES=8", CUDA_VISIBLE_DEVICES="3,5")
    value = in_background(lambda: dispatch.run(jobs(root, 4, 8, 0.3, trace=str(seen)), machines.address))
    assert most_at_once(root, value) == 2
    devices = {}
    for line in seen.read_text().splitlines():
        run, _, _, device = line.split()
        devices.setdefault(run, set()).add(device)
    assert sorted(map(sorted, devices.values())) == [["3"], ["3"], ["5"], ["5"]]


@pytest.fixture
def certificates(tmp_path):
    """Dask's settings with a certificate made here by a test authority."""
    if not may("openssl", "version"):
        pytest.skip("certificates are made with openssl, which is not installed here")
    folder = tmp_path / "tls"
    folder.mkdir()
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
        "req -newkey rsa:2048 -nodes -keyout node.key -out node.csr -subj /CN=node",
        "x509 -req -in node.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out node.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return {
        "ca-file": str(folder / "ca.pem"),
        **{
            f"{role}.{part}": str(folder / f"node.{end}")
            for role in ("scheduler", "worker", "client")
            for part, end in (("cert", "pem"), ("key", "key"))
        },
    }


@pytest.mark.long
def test_certificates_of_dasks_configuration_are_used(certificates, tmp_path, monkeypatch):
    for name, value in certificates.items():
        monkeypatch.setenv(f"DASK_DISTRIBUTED__COMM__TLS__{name.upper().replace('.', '__').replace('-', '_')}", value)
    machines = Machines(tmp_path, protocol="tls")
    try:
        machines.start_worker("a")
        with dask.config.set({f"distributed.comm.tls.{name}": value for name, value in certificates.items()}):
            assert dispatch.run(jobs(tmp_path / "runs", 1, 6, 0.1), machines.address) == {}
        assert Store(tmp_path / "runs").is_finished(f"{0:016x}")
        with pytest.raises(ConfigError, match="are Dask's certificates"):
            dispatch.run(jobs(tmp_path / "none", 1), machines.address)
        monkeypatch.setattr(scheduler, "ANSWER_SECONDS", 2)
        with pytest.raises(ConfigError, match="no Dask scheduler answers"):  # nobody talks to it without
            dispatch.run(jobs(tmp_path / "none", 1), machines.address.replace("tls", "tcp"))
    finally:
        machines.stop()


@pytest.mark.long
def test_ctrl_c_ends_a_local_cluster_and_its_trainings_without_a_traceback(tmp_path):
    root = tmp_path / "runs"
    code = (
        "from lfwstudy.runs import dispatch\nfrom tools import stand_in\nif __name__ == '__main__':\n    try:\n        "
        f"dispatch.run(stand_in.jobs({str(root)!r}, 2, 500, 0.3), 'local:2')\n    except KeyboardInterrupt:\n        "
        "print('interrupted')"
    )
    (tmp_path / "study.py").write_text(code)
    command = [sys.executable, tmp_path / "study.py"]
    with open(tmp_path / "log", "w") as log:
        study = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    until(lambda: epochs_of(root) and epochs_of(root, 1))
    started = [study.pid, *(child.pid for child in psutil.Process(study.pid).children(recursive=True))]
    os.killpg(study.pid, signal.SIGINT)  # as a terminal does
    study.wait(60)
    until(lambda: not any(psutil.pid_exists(pid) for pid in started), 60)
    assert (tmp_path / "log").read_text() == "interrupted\n"


# -- real trainings ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_training_killed_with_its_worker_ends_with_the_numbers_of_an_undisturbed_one(machines, tmp_path, tiny):
    config = tiny.change({"training.epochs": 14})
    digest = load_pairs(config.data).digest(prepare_bank(config.data))
    run = config.identify(0, "float32", digest)
    here, there = (
        Job(run, config, tmp_path / place / "runs" / run, data_digest=digest, title="real")
        for place in ("here", "there")
    )
    first = machines.start_worker("a")
    value = in_background(lambda: dispatch.run([there], machines.address))
    until(lambda: (there.folder / "resume.npz").exists())
    first.kill()
    assert not (there.folder / "result.json").exists()
    machines.start_worker("b")
    assert value() == {}
    told = (there.folder / "log.txt").read_text()
    assert "epoch  14/14" in told and "epoch   1/14" not in told  # it resumed instead of starting over
    assert dispatch.run([here]) == {}
    assert numbers(here.folder) == numbers(there.folder)


@pytest.mark.long
def test_whole_study_on_a_local_cluster_equals_the_one_without(tmp_path):
    """The command, its notebooks and its report; the one without a cluster cannot import Dask."""
    for name in ("dask", "distributed"):
        (tmp_path / "blocked").mkdir(exist_ok=True)
        (tmp_path / "blocked" / f"{name}.py").write_text("raise ImportError('not without --cluster')")
    told = {}
    for name, path, options in (("one", str(tmp_path / "blocked"), ()), ("two", "", ("--cluster", "local:2"))):
        done = lfwstudy(
            *("run", "--profile", "tiny", "--stages", "early-stopping", "--seeds", 2, "--out", tmp_path / name),
            *options,
            cwd=ROOT,
            timeout=900,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), path, os.environ["PYTHONPATH"]])),
            },
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name / "report.html").stat().st_size > 1e5
        told[name] = done.stderr
    assert "cluster: 2 workers on 1 machine" in told["two"] and "dashboard: http://127.0.0.1:" in told["two"]
    assert "6 of 6 runs done" in (tmp_path / "two" / "cluster.txt").read_text()
    assert not (tmp_path / "one" / "cluster.txt").exists() and "dashboard" not in told["one"]
    one, two = (
        [
            {name: value for name, value in row.items() if "seconds" not in name and name != "peak_memory_mb"}
            for row in read_csv(tmp_path / name / "results.csv")
        ]
        for name in ("one", "two")
    )
    assert one == two and len(one) == 6
    for row in one:
        assert numbers(tmp_path / "one" / "runs" / row["run"]) == numbers(tmp_path / "two" / "runs" / row["run"])


# -- with separate mounts and networks -------------------------------------------------------------------------------


def may(*command):
    return subprocess.run(command, capture_output=True).returncode == 0


needs_namespaces = pytest.mark.skipif(
    not may("unshare", "--mount", "true") or not may("ip", "netns", "list"),
    reason="no namespaces of one's own may be made here",
)


@needs_namespaces
@pytest.mark.long
def test_full_disk_on_one_worker_leaves_the_runs_to_the_others(machines, tmp_path, tiny):
    """The cache of one worker, where it keeps its images, is on another, full file system."""
    root, full = tmp_path / "runs", tmp_path / "cache-full"
    full.mkdir()
    digest = load_pairs(tiny.data).digest(prepare_bank(tiny.data))
    hidden = f'mount -t tmpfs -o size=4k tmpfs {full}; yes 2>/dev/null > {full}/filler; exec "$@"'
    machines.start_worker("full", before=("unshare", "--mount", "bash", "-c", hidden, "worker"))
    machines.start_worker("good", LFWSTUDY_CACHE=os.environ["LFWSTUDY_CACHE"])
    until(lambda: all("Registered to" in (tmp_path / f"worker-{name}.log").read_text() for name in ("full", "good")))
    assert dispatch.run(jobs(root, 3, config=tiny, pause=0.2, data_digest=digest), machines.address) == {}
    assert "No space left on device" in (tmp_path / "cluster.txt").read_text()
    assert all(Store(root).is_finished(f"{n:016x}") for n in range(3))


@needs_namespaces
def test_a_worker_without_the_studys_folder_is_named(machines, tmp_path, impatient):
    root, elsewhere = tmp_path / "study" / "runs", tmp_path / "study"
    root.mkdir(parents=True)
    machines.start_worker(
        "a", before=("unshare", "--mount", "bash", "-c", f'mount -t tmpfs tmpfs {elsewhere}; exec "$@"', "worker")
    )
    machines.told("worker-a", "Registered (to)")
    (told,) = dispatch.run(jobs(root, 1, 1), machines.address).values()
    assert f"it does not see the study's folder {elsewhere}" in told and "--out" in told and "\n" not in told
    machines.start_worker("b")
    machines.told("worker-b", "Registered (to)")
    assert dispatch.run(jobs(root, 2, 1), machines.address) == {}
    assert "set aside            tcp://127.0.0.1" in (tmp_path / "study" / "cluster.txt").read_text()


@pytest.mark.long
def test_worker_that_stands_still_loses_its_run_to_another(machines, tmp_path):
    """The scheduler drops a silent worker, its training ends with the lease, and another worker resumes the run."""
    still = machines.start_worker("a")
    root, trace = tmp_path / "runs", tmp_path / "trace"
    value = in_background(lambda: dispatch.run(jobs(root, 1, 60, 0.3, trace=str(trace), lease=4), machines.address))
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
    for command in (
        f"netns add {name}",
        f"link add {name} type veth peer name inner netns {name}",
        f"addr add 10.231.7.1/24 dev {name}",
        f"link set {name} up",
        f"-n {name} addr add 10.231.7.2/24 dev inner",
        f"-n {name} link set inner up",
        f"-n {name} link set lo up",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    yield name, "10.231.7.1", name
    subprocess.run(["ip", "link", "delete", name])
    subprocess.run(["ip", "netns", "delete", name])


@needs_namespaces
@pytest.mark.long
def test_cut_network_costs_at_most_one_resume_period(network, tmp_path):
    """A worker behind the cut trains on for a moment; the run's lock keeps a second one waiting."""
    name, host, link = network
    machines = Machines(tmp_path, host)
    try:
        machines.start_worker("cut", before=("ip", "netns", "exec", name))
        root, trace = tmp_path / "runs", tmp_path / "trace"
        value = in_background(lambda: dispatch.run(jobs(root, 2, 100, 0.3, trace=str(trace)), machines.address))
        until(lambda: epochs_of(root) >= 6)
        subprocess.run(["ip", "link", "set", link, "down"], check=True)
        machines.start_worker("b")
        assert value() == {}
        assert_all_finished(root, 2, trace, repeated=1)
        assert all(times <= 2 for times in trained(trace).values())
    finally:
        machines.stop()
