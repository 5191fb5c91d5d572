"""How are runs trained on many machines? Each run a task of Dask's distributed scheduler.

The study hands a run to a worker that has room for it, hears how far it is, and takes over its files where the worker
does not see the study's folder. Whatever is lost on the way (a worker, the scheduler, the connection), the run goes on
from its resume state on another worker. What a task does on its worker is in worker.py.
"""

import asyncio
import dataclasses
import os
import queue
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import dask
from distributed import Client, LocalCluster
from distributed.core import rpc
from distributed.security import Security

from lfwstudy.config import DataConfig, RunConfig
from lfwstudy.data.pair_files import has_pair_file, pair_file
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs, people_files
from lfwstudy.data.registry import IMAGES
from lfwstudy.errors import ConfigError, StudyError, one_line
from lfwstudy.network.cost import training_memory
from lfwstudy.runs.cluster import worker
from lfwstudy.runs.local import check_cluster
from lfwstudy.runs.store import FILES, Store
from lfwstudy.system.files import locked, read_csv, write_text
from lfwstudy.system.machine import cores
from lfwstudy.system.text import clock

# Workers here share their cores with what they train: looked at a hundred times a second, a thread that only waits for a
# process tells nothing, and each idle worker took a fifteenth of a core.
_QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.admin.system-monitor.interval": "2s",
}
# The address of the workers that `--cluster local:N` has started, for the notebooks of the study.
_started = {}
# The file in the study's folder that says what runs where.
VIEW = "cluster.txt"
CONNECT_SECONDS, PROBE_SECONDS = 15, 1
# How long a lost scheduler, or a worker that is large enough, is waited for.
PATIENCE_SECONDS = 600
# Attempts at a run that end in an error, and workers that may vanish under it, before it counts as failed.
ATTEMPTS, LOSSES = 3, 5
PIECE = 8 << 20
# A shared folder may show files that another machine has just written a while later.
SETTLE_SECONDS = 60
_POLL_SECONDS, _LOOK_SECONDS = 0.2, 2.0
_BUNDLING = threading.Lock()


def run(jobs, address, show=None):
    """Train jobs on a cluster; returns {run: message} of those that failed, as executors.run does.

    address: tcp://HOST:PORT, tls://HOST:PORT or local:N. Raises ConfigError where nobody answers there. A scheduler that
    goes away later is waited for; where it does not come back, the runs that are missing are said to be.
    """
    with started(address) as address:
        study = _Handout(jobs, show)
        client = _connect(address)
        while client:
            try:
                study.hand_out(client)
                break
            except _Lost as lost:
                study.take_back()
                client = _connect_again(address, str(lost), show)
        else:
            study.give_up(
                f"the scheduler at {address} was lost and did not come back within "
                f"{clock(PATIENCE_SECONDS)}; the same command goes on once it is there"
            )
        study.tell_end()
        return study.failures


@contextmanager
def started(address):
    """The scheduler's address behind `--cluster`; local:N starts N workers here and stops them at the end."""
    check_cluster(address)
    if not address.startswith("local:"):
        yield address
        return
    if address in _started:  # by whoever called this
        yield _started[address]
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
def _safe_path():
    """Let the processes that multiprocessing starts, workers and its own helper, import nothing from the current folder."""
    given = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTHONSAFEPATH"]
        if given is not None:
            os.environ["PYTHONSAFEPATH"] = given


def describe(address):
    """A line on the cluster at a scheduler's address: workers, machines, dashboard. Raises ConfigError."""
    with _connect(address) as client:
        workers = _workers(client)
        hosts = {worker["host"] for worker in workers.values()}
        return (
            f"cluster: {len(workers)} worker{'s' if len(workers) != 1 else ''} on {len(hosts)} "
            f"machine{'s' if len(hosts) != 1 else ''} at {address}; dashboard: {client.dashboard_link}"
            + ("" if workers else f"; {_start_one(address)}")
        )


def memory_of(config):
    """Bytes that a run of a RunConfig is to have of a worker: all of LFW's pictures are reckoned with."""
    return training_memory(config.model, config.data.side, config.training.batch_size, pictures=IMAGES)


def need_on(job, worker):
    """What a run takes of a worker: dict of CORES, MEMORY (bytes), GPU and threads; None where it never fits.

    worker: as Dask's scheduler describes it. A worker that declares no CORES has as many as threads; one that declares
    no MEMORY has its memory limit. A run that is to have a machine for itself takes all cores, or those of its GPU.
    """
    declared = worker["resources"] or {}
    gpus = int(declared.get("GPU", 0))
    of_all = int(declared.get("CORES", worker["nthreads"]))
    wanted = job["threads"] or max(1, of_all // max(1, gpus))
    memory = job.get("memory", 0)
    limit = declared.get("MEMORY") or worker.get("memory_limit") or float("inf")
    if wanted > of_all or memory > limit:
        return None
    return {"CORES": wanted, "MEMORY": memory, "GPU": min(1, gpus), "threads": 1}


def room_on(worker, needs):
    """What is left of a worker once the needs of the runs on it are met: dict as need_on gives."""
    declared = worker["resources"] or {}
    total = {
        "CORES": declared.get("CORES", worker["nthreads"]),
        "GPU": declared.get("GPU", 0),
        "MEMORY": declared.get("MEMORY") or worker.get("memory_limit") or float("inf"),
        "threads": worker["nthreads"],
    }
    return {name: amount - sum(need[name] for need in needs) for name, amount in total.items()}


class _Lost(Exception):
    """The scheduler does not answer any more."""


@dataclass
class _Attempt:
    """A run on a worker."""

    job: dict
    worker: str
    need: dict
    future: object
    since: float
    host: str = ""
    shared: bool = True
    epoch: int = 0
    accuracy: float | None = None
    moving: set = field(default_factory=set)  # transfers in progress
    result: dict | None = None  # as train_here returns it


class _Handout:
    """The jobs of one call: which wait, which are where, which failed."""

    def __init__(self, jobs, show):
        self.show, self.failures, self.running = show, {}, {}
        self.jobs = {job["run"]: self._prepared(job) for job in jobs}
        self.waiting = dict(self.jobs)
        self.epochs = {run: len(_history(job)) for run, job in self.jobs.items()}
        self.before, self.began = sum(self.epochs.values()), time.monotonic()
        self.attempts, self.losses, self.refused = Counter(), Counter(), {}
        self.inbox, self.bundles = queue.Queue(), {}
        # What is known of each worker: None while it is asked, "" where it can train, else why it cannot.
        self.verdicts, self.versions = {}, worker.versions_here()
        self.root = Path(jobs[0]["folder"]).parent
        self.workers, self.dashboard, self.unfit_since, self.trouble = {}, "", None, ""

    # -- the loop --------------------------------------------------------------------------------------------------

    def hand_out(self, client):
        """Keep the workers busy until nothing waits or runs. Raises _Lost."""
        self.client, self.address, self.dashboard = client, client.scheduler.address, client.dashboard_link
        self.topic = f"lfwstudy-{uuid.uuid4().hex}"
        looked = shown = 0.0
        with (
            self._mark() as self.mark,
            tempfile.TemporaryDirectory() as self.scratch,
            ThreadPoolExecutor(4) as self.movers,
        ):
            client.subscribe_topic(self.topic, lambda event: self.inbox.put(("event", event[1])))
            try:
                while self.waiting or self.running:
                    if time.monotonic() - looked >= _LOOK_SECONDS:
                        looked = time.monotonic()
                        self.workers = _workers(client)
                        self._forget_lost_workers()
                        self._examine_new_workers()
                        self._give_up_what_fits_nowhere()
                        self._write_view()
                    self._place()
                    self._listen()
                    if self.show and time.monotonic() - shown >= 1:
                        shown = time.monotonic()
                        self.show(self.line())
            finally:
                self.movers.shutdown(wait=False, cancel_futures=True)
                with suppress(Exception):
                    client.cancel([a.future for a in self.running.values()])
                client.close(timeout=5)

    def take_back(self):
        """Let everything wait again that was on a worker."""
        for attempt in list(self.running):
            self._wait_again(attempt)
        self.inbox, self.workers = queue.Queue(), {}
        self.verdicts = {address: reason for address, reason in self.verdicts.items() if reason}

    def give_up(self, reason):
        """Count every run that is not finished as failed."""
        self.take_back()
        for job in self.waiting.values():
            self._fail(job, reason)
        self.waiting = {}

    def _place(self):
        """Hand waiting runs to workers with room, the emptiest first; runs that are alike are looked at once."""
        rooms = {
            address: room_on(worker, [a.need for a in self.running.values() if a.worker == address])
            for address, worker in self._usable().items()
        }
        full = set()
        for run, job in list(self.waiting.items()):
            kind = (job["threads"], job["memory"], *sorted(self.refused.get(run, ())))
            if kind in full:
                continue
            found = None
            for address in sorted(rooms, key=lambda a: -rooms[a]["threads"]):
                need = need_on(job, self.workers[address])
                if (
                    need
                    and address not in self.refused.get(run, ())
                    and all(rooms[address][name] >= amount for name, amount in need.items())
                ):
                    found = address, need
                    break
            if found is None:
                full.add(kind)
                continue
            self._submit(job, *found)
            rooms[found[0]] = {name: rooms[found[0]][name] - amount for name, amount in found[1].items()}

    def _submit(self, job, address, need):
        declared = self.workers[address]["resources"] or {}
        attempt = f"{job['run']}-{uuid.uuid4().hex[:8]}"
        sent = {**job, "resume_epochs": worker.resume_epochs(job["folder"]), "versions": self.versions}
        if "CORES" in declared and not declared.get("GPU"):
            sent["threads"] = need["CORES"]
        future = self.client.submit(
            worker.train_here,
            sent,
            attempt,
            self.topic,
            self.mark,
            key=attempt,
            pure=False,
            workers=[address],
            allow_other_workers=False,
            resources={n: need[n] for n in ("CORES", "MEMORY", "GPU") if declared.get(n)} or None,
        )
        del self.waiting[job["run"]]
        self.running[attempt] = _Attempt(job, address, need, future, time.monotonic())
        inbox = self.inbox
        future.add_done_callback(lambda future: inbox.put(("done", attempt)))

    def _listen(self):
        """Take in what has happened, for a moment at most."""
        until = time.monotonic() + _POLL_SECONDS
        with suppress(queue.Empty):
            while True:
                kind, content = self.inbox.get(timeout=max(0, until - time.monotonic()))
                if kind == "done" and content in self.running:
                    self._settle(content)
                    until = 0  # there is room for another run
                elif kind == "event" and content["attempt"] in self.running:
                    self._hear(content)
                elif kind == "worker" and content[0] in self.verdicts:
                    self._take_in(*content)
                elif kind == "trouble":
                    self.trouble = content

    def _hear(self, event):
        """An event that a task has told."""
        at = self.running[event["attempt"]]
        at.host = event["host"]
        if event["what"] == "start":
            at.shared = event["shared"]
        elif event["what"] == "epoch":
            at.epoch, at.accuracy = event["epoch"], event["accuracy"]
            self.epochs[at.job["run"]] = at.epoch
            if event["history"]:
                with suppress(OSError):
                    write_text(Path(at.job["folder"]) / "history.csv", event["history"])
        elif event["what"] == "end":
            at.result = event["result"]
        elif event["what"] in ("data", "state", "offer"):
            ask = (event["what"], event.get("offer"))
            if ask not in at.moving:
                at.moving.add(ask)
                self.movers.submit(self._move, event, at, ask)

    def _settle(self, attempt):
        """An attempt has ended: the run is finished, or tried again, or failed."""
        at = self.running[attempt]
        if at.future.status == "cancelled":
            raise _Lost("the connection to the scheduler was lost")
        if at.future.status == "error":
            error = at.future.exception()
            result = {
                "problem": _told(error),
                "host": at.host or at.worker,
                "blame": "machine" if isinstance(error, ImportError) else "attempt",
            }
        else:
            result = at.result or self._ask_result(at)
        if result["problem"] is None and not self._has_files(at.job):
            result |= {
                "problem": f"{result['host']} reports it finished, but its files are not in {at.job['folder']}",
                "blame": "attempt",
            }
        if result["problem"] is None:
            del self.running[attempt]
            self.epochs[at.job["run"]] = at.job["epochs"]
            return
        if self._wait_again(attempt):
            self._blame(at, result)

    def _ask_result(self, at):
        """The result of a task whose last event was lost with a connection."""
        try:
            return at.future.result(timeout=CONNECT_SECONDS)
        except TimeoutError:
            return {"problem": "its worker does not answer", "blame": "attempt", "host": at.host or at.worker}

    def _blame(self, at, result):
        run, message = at.job["run"], f"{result['problem']} (on {result['host']})"
        if result["blame"] == "machine":
            self.verdicts[at.worker] = message
            return
        self.attempts[run] += 1
        if result["blame"] == "run" or self.attempts[run] >= ATTEMPTS:
            del self.waiting[run]
            self._fail(at.job, message)
        else:
            self.refused.setdefault(run, set()).add(at.worker)

    def _forget_lost_workers(self):
        for attempt, at in list(self.running.items()):
            if at.worker not in self.workers:
                run = at.job["run"]
                self.losses[run] += 1
                if self._wait_again(attempt) and self.losses[run] >= LOSSES:
                    del self.waiting[run]
                    self._fail(
                        at.job,
                        f"{LOSSES} workers were lost while they trained it, the last {at.host or at.worker} "
                        "(out of memory?)",
                    )

    def _examine_new_workers(self):
        """Ask workers, before they get a run, whether they have what the study was started with.

        A task whose module is missing ends the worker that receives it; a called function fails and says why.
        """
        for address in self.workers.keys() - self.verdicts.keys():
            self.verdicts[address] = None
            asyncio.run_coroutine_threadsafe(self._examine(address, self.inbox), self.client.loop.asyncio_loop)

    async def _examine(self, address, inbox):
        try:
            asked = self.client.run(worker.difference, self.versions, workers=[address], on_error="return")
            answer = (await asyncio.wait_for(asked, CONNECT_SECONDS))[address]
        except Exception as error:
            answer = error
        inbox.put(("worker", (address, answer)))

    def _take_in(self, address, answer):
        """A worker's answer: what differs there from here, or an error."""
        if isinstance(answer, (OSError, TimeoutError, KeyError)):  # silent or gone: asked again if it is still there
            del self.verdicts[address]
            self.trouble = f"worker {address} does not answer ({str(answer) or type(answer).__name__})"
            return
        answer = _told(answer) if isinstance(answer, Exception) else answer
        self.verdicts[address] = f"{answer}; install the same versions there" if answer else ""

    def _usable(self):
        return {address: worker for address, worker in self.workers.items() if self.verdicts.get(address) == ""}

    def _aside(self):
        return {address: reason for address, reason in self.verdicts.items() if reason}

    def _give_up_what_fits_nowhere(self):
        """Fail runs that no worker can take, once a worker that could has been waited for."""
        usable = self._usable()
        for run in self.waiting:  # a run that failed on every worker may go to any of them again
            if usable and usable.keys() <= self.refused.get(run, set()):
                self.refused[run] = set()
        unfit = [job for job in self.waiting.values() if not any(need_on(job, w) for w in usable.values())]
        if not unfit or self.running:
            self.unfit_since = None
            return
        self.unfit_since = self.unfit_since or time.monotonic()
        hopeless = self.verdicts and all(self.verdicts.values())
        if hopeless or time.monotonic() - self.unfit_since > PATIENCE_SECONDS:
            for job in unfit:
                del self.waiting[job["run"]]
                self._fail(job, self._why_nowhere(job, usable))

    def _why_nowhere(self, job, usable):
        if usable:
            return (
                f"no worker has the {job['memory'] / 2**30:.1f} GiB of memory and {job['threads'] or 'all'} cores that "
                'it needs; start one with --memory-limit or --resources "MEMORY=..."'
            )
        if self._aside():
            return f"no worker can train it: {self._not_used()}"
        return f"the cluster has no worker; {_start_one(self.address)}, then give the same command again" + (
            f" ({self.trouble})" if self.trouble else ""
        )

    def _not_used(self):
        """Workers that were set aside, one of each of the first reasons; all are in the view."""
        alike = {reason: address for address, reason in self._aside().items()}
        return "; ".join(f"worker {address} is not used: {reason}" for reason, address in list(alike.items())[:2])

    def _wait_again(self, attempt):
        """Take an attempt back; True where its run has to be tried again, not where its files are here already."""
        at = self.running.pop(attempt)
        with suppress(Exception):
            at.future.cancel()
        if self._is_finished(at.job):
            self.epochs[at.job["run"]] = at.job["epochs"]
            return False
        self.waiting[at.job["run"]] = at.job
        return True

    def _fail(self, job, message):
        self.failures[job["run"]] = f"{job['title']}: {message}"
        with suppress(OSError):  # the study's last words on a run are read from its log
            Path(job["folder"]).mkdir(parents=True, exist_ok=True)
            with open(Path(job["folder"]) / "log.txt", "a", encoding="utf-8") as log:
                log.write(f"\nerror: {message}\n")

    def _is_finished(self, job):
        return Store(self.root).is_finished(job["run"], with_test=job["task"] == "score-test")

    def _has_files(self, job):
        until = time.monotonic() + SETTLE_SECONDS
        while not self._is_finished(job):
            if time.monotonic() > until:
                return False
            os.listdir(self.root)  # makes a network file system look anew
            time.sleep(0.5)
        return True

    def _prepared(self, job):
        return {"memory": memory_of(RunConfig.from_dict(job["config"])), **job}

    @contextmanager
    def _mark(self):
        """Path and content of a file by which a worker sees whether it has the study's folder, too."""
        content = uuid.uuid4().hex
        path = self.root / f".cluster-{content}"
        self.root.mkdir(parents=True, exist_ok=True)
        for left in self.root.glob(".cluster-*"):  # of a study that was killed
            left.unlink(missing_ok=True)
        path.write_text(content, encoding="utf-8")
        try:
            yield str(path), content
        finally:
            path.unlink(missing_ok=True)

    # -- files, where the folder is not shared -----------------------------------------------------------------------

    def _move(self, event, at, ask):
        """Send or take what an event is about; runs in a thread. A failure is told, and asked for again by the task."""
        try:
            if event["what"] == "offer":
                self._take(event, at)
                return
            files = self._bundle(at.job) if event["what"] == "data" else _state_files(at.job)
            try:
                for path in files:
                    self._send(at.worker, event["attempt"], path)
                problem = None
            except OSError as error:
                problem = f"{error} while receiving {path.name}"
            digests = {} if problem else {path.name: worker.sha256(path) for path in files}
            self._call(at.worker, worker.put_done, event["attempt"], digests, problem)
        except StudyError as error:
            self._call(at.worker, worker.put_done, event["attempt"], {}, str(error))
        except Exception as error:
            self.inbox.put(("trouble", f"{event['what']} of {at.job['title']}: {error}"))
        finally:
            at.moving.discard(ask)

    def _send(self, worker, attempt, path):
        offset, size = 0, path.stat().st_size
        with open(path, "rb") as file:
            while offset == 0 or offset < size:
                content = file.read(PIECE)
                self._call(worker, worker.put, attempt, path.name, offset, content)
                offset += max(1, len(content))

    def _take(self, event, at):
        """Fetch the offered files, put them in place (what marks a run as finished last) and say that they are safe."""
        folder = Path(at.job["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        incoming = {}
        with (
            locked(folder / ".lock", patience=10),
            tempfile.TemporaryDirectory(dir=folder, prefix=".incoming-") as scratch,
        ):
            pieces = [
                (name, offset, min(PIECE, size - offset))
                for name, (size, _) in event["files"].items()
                for offset in range(0, max(1, size), PIECE)
            ]
            for group in _groups(pieces):
                found = self._call(at.worker, worker.get, event["attempt"], event["offer"], group)
                for (name, offset, _), content in zip(group, found):
                    with open(Path(scratch) / Path(name).name, "r+b" if offset else "wb") as file:
                        file.seek(offset)
                        file.write(content)
            for name, (_, digest) in event["files"].items():
                incoming[name] = Path(scratch) / Path(name).name
                if worker.sha256(incoming[name]) != digest:
                    raise OSError(f"{name} arrived damaged")
            for name in sorted(incoming, key=lambda name: (name in FILES, name == "result.json")):
                os.replace(incoming[name], folder / name)
            for old in (*folder.glob("epoch-*.weights.h5"), folder / "resume.npz"):
                if old.name not in incoming:
                    old.unlink(missing_ok=True)
        self._call(at.worker, worker.got, event["attempt"], event["offer"])

    def _bundle(self, job):
        """The pictures that any pair of the run's protocol names, or all where it learns from all training people, as a bank
        file, and the pair files; made once."""
        config = DataConfig(**job["config"]["data"])
        key = (config.dataset, config.protocol, config.pictures, config.crop, config.side, config.filter)
        with _BUNDLING:
            if key not in self.bundles or not self.bundles[key][0].exists():
                self.bundles[key] = _make_bundle(config, job["data_dir"], Path(self.scratch) / uuid.uuid4().hex)
        return self.bundles[key]

    def _call(self, worker, function, *arguments):
        """Call a function on a worker; raises what it raises, TimeoutError where the worker is silent."""

        async def call():
            return await self.client.run(function, *arguments, workers=[worker])

        return self.client.sync(call, callback_timeout=120)[worker]

    # -- what is seen ------------------------------------------------------------------------------------------------

    def line(self):
        """One line on how far it is."""
        done = len(self.jobs) - len(self.waiting) - len(self.running)
        failed = f" ({len(self.failures)} failed)" if self.failures else ""
        on = len({at.worker for at in self.running.values()})
        return (
            f"{done} of {len(self.jobs)} runs done{failed}, {len(self.running)} in progress on {on} of "
            f"{len(self.workers)} workers; {clock(time.monotonic() - self.began)} so far{self._left()}{self._lack()}; "
            f"what runs where: {self.view_path()}; dashboard: {self.dashboard}"
        )

    def _lack(self):
        """Why runs have to wait, where workers were set aside or none can be used."""
        told = f"; {self._not_used()}" if self._aside() else ""
        why = self.trouble if self.workers else f"no worker has joined, {_start_one(self.address)}"
        if why and self.waiting and self.unfit_since and not self._usable():
            left = max(0, PATIENCE_SECONDS - (time.monotonic() - self.unfit_since))
            told += f"; {why} (waiting at most {clock(left)} more)"
        return told

    def view_path(self):
        """The file that says what runs where."""
        return self.root.parent / VIEW

    def tell_end(self):
        """The last line and the last view."""
        done = len(self.jobs) - len(self.failures)
        text = f"{done} run{'s' if done != 1 else ''} trained in {clock(time.monotonic() - self.began)}" + (
            f", {len(self.failures)} failed." if self.failures else "."
        )
        with suppress(OSError):
            self._write_view()
        if self.show:
            self.show(text)

    def _write_view(self):
        # The time, because a study that was killed leaves its last view behind.
        lines = [f"{self.line()}; seen at {time.strftime('%Y-%m-%d %H:%M:%S')}", ""]
        for at in sorted(self.running.values(), key=lambda at: (at.host, at.worker)):
            accuracy = f"validation accuracy {at.accuracy:.3f}" if at.accuracy is not None else ""
            lines.append(
                f"{at.host or 'starting':20s} {at.worker:28s} {at.job['title']:50s} epoch {at.epoch:3d} of at most "
                f"{at.job['epochs']:3d}  {clock(time.monotonic() - at.since):>10s}  {accuracy}".rstrip()
            )
        lines += [f"waiting              {job['title']}" for job in list(self.waiting.values())[:20]]
        if len(self.waiting) > 20:
            lines.append(f"waiting              and {len(self.waiting) - 20} more")
        lines += [f"set aside            {address}: {reason}" for address, reason in self._aside().items()]
        lines += [f"failed               {message}" for message in self.failures.values()]
        lines += [f"last trouble         {self.trouble}"] if self.trouble else []
        write_text(self.view_path(), "\n".join(lines) + "\n")

    def _left(self):
        total = sum(job["epochs"] for job in self.jobs.values())
        done = sum(
            self.jobs[run]["epochs"] if run in self.failures else min(count, self.jobs[run]["epochs"])
            for run, count in self.epochs.items()
        )
        if not self.before < done < total:
            return ""
        spent = time.monotonic() - self.began
        return f"; at most {clock(spent / (done - self.before) * (total - done))} left"


def _connect(address):
    try:
        # Dask's client waits for the server's greeting without a limit. In a thread: a notebook's event loop is running.
        with ThreadPoolExecutor(1) as thread:
            kind = thread.submit(lambda: asyncio.run(asyncio.wait_for(_ask_kind(address), CONNECT_SECONDS))).result()
    except Exception as error:  # even MemoryError: another server's greeting is read as a length
        problem = _what_listens(address)
        if address.startswith("tls:"):
            problem += (
                f" ({str(error) or type(error).__name__}); are the certificates right that Dask's configuration "
                "names under distributed.comm.tls?"
            )
    else:
        if kind == "Scheduler":
            return _client(address)
        problem = f"a Dask {kind.lower()} listens there, not the scheduler"
    raise ConfigError(
        f"--cluster: no Dask scheduler answers at {address}: {one_line(problem)}; `dask scheduler` prints the "
        "address to give (port 8786 unless told otherwise; 8787 is the dashboard)"
    )


def _client(address):
    """A client of a scheduler that can read tasks of this package."""
    client = None

    async def ask():
        await client.run_on_scheduler(worker.versions_here)

    try:
        client = Client(address, timeout=CONNECT_SECONDS, name="lfwstudy")
        client.sync(ask, callback_timeout=CONNECT_SECONDS)
    except Exception as error:
        if client:
            client.close(timeout=5)
        raise ConfigError(
            f"--cluster: the scheduler at {address} cannot run this study's tasks ({_told(error)}); install "
            "the same versions there"
        ) from None
    return client


def _told(error):
    """An error from another machine in one line; Dask may have put it into an Exception that shows it."""
    return " ".join((str(error) if type(error) is Exception else repr(error)).split())


async def _ask_kind(address):
    """Scheduler, Worker or Nanny: what a Dask process calls itself."""
    async with rpc(address, timeout=CONNECT_SECONDS, connection_args=Security().get_connection_args("client")) as there:
        return (await there.identity())["type"]


def _what_listens(address):
    """What is found at an address where no scheduler answers."""
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
    return "a server listens there that does not answer as a scheduler does"


def _start_one(address):
    return f"start one with `dask worker {address} --nthreads 1`"


def _connect_again(address, why, show):
    """A client once the scheduler is back, None where it stays away."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        if show:
            show(f"{why}; waiting at most {clock(until - time.monotonic())} for {address} to come back")
        with suppress(ConfigError):
            return _connect(address)
        time.sleep(1)
    return None


def _workers(client):
    """The running workers by address, as the scheduler describes them. Raises _Lost."""

    async def ask():
        return await client.scheduler.identity(n_workers=-1)

    try:
        if client.status != "running":
            raise OSError(f"the connection is {client.status}")
        found = client.sync(ask, callback_timeout=CONNECT_SECONDS)["workers"]
    except (OSError, TimeoutError, RuntimeError, AttributeError) as error:
        raise _Lost(f"the scheduler does not answer ({str(error) or type(error).__name__})") from None
    return {address: worker for address, worker in found.items() if worker["status"] in ("running", "paused")}


def _state_files(job):
    """What a run goes on from, in the order in which it is put in place."""
    folder = Path(job["folder"])
    names = (*FILES, "resume.npz")
    return [*sorted(folder.glob("epoch-*.weights.h5")), *(folder / n for n in names if (folder / n).is_file())]


def _make_bundle(config, data_dir, folder):
    folder.mkdir()
    names = ("pairs.txt",) if config.protocol == "view2" else ("pairsDevTrain.txt", "pairsDevTest.txt")
    people = ["people.txt"] if has_pair_file("people.txt", config.dataset, data_dir) else []
    for name in {*names, *people, *people_files(config)}:
        shutil.copy(pair_file(name, config.dataset, data_dir), folder / name)
    bank, whole = prepare_bank(config, data_dir), dataclasses.replace(config, pairs_per_class=None, split="components")
    if config.pictures == "pairs":
        bank = bank.subset(load_pairs(whole, data_dir).names())
    bank.save(folder / "bank.npz")
    return sorted(folder.iterdir())


def _groups(pieces):
    """Pieces in groups of at most PIECE bytes together, so that small files share a call."""
    group, size = [], 0
    for piece in pieces:
        if group and size + piece[2] > PIECE:
            yield group
            group, size = [], 0
        group.append(piece)
        size += piece[2]
    if group:
        yield group


def _history(job):
    try:
        return read_csv(Path(job["folder"]) / "history.csv")
    except OSError:
        return []
