"""Train runs on many machines: each run is a task of Dask's distributed scheduler, in a folder that all machines share.

The study hands each run to a worker with room for it and reads the run's progress from its folder. If a worker, the
scheduler or the connection is lost, the run is resumed on another worker.
"""

import operator
import os
import pkgutil
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from distributed import Client, Future

from lfwstudy.errors import ConfigError, RunError, one_line
from lfwstudy.runs.cluster import scheduler
from lfwstudy.runs.cluster.scheduler import Amounts, Key, Worker, describe, memory_of, need_on, resources_of, started
from lfwstudy.runs.cluster.worker import TRAIN_HERE, Ended, token_file, versions_here
from lfwstudy.runs.dispatch import ending, time_left
from lfwstudy.runs.failure import Failure
from lfwstudy.runs.job import Job
from lfwstudy.runs.store import Store
from lfwstudy.system.files import write_text
from lfwstudy.system.text import clock

__all__ = ["VIEW", "describe", "run", "started"]

# A run fails after this many attempts in a row that ended in an error or with their worker and trained no further epoch.
ATTEMPTS = 3
# A shared folder may show files written by another machine only after a while.
SETTLE_SECONDS = 60
_POLL_SECONDS, _LOOK_SECONDS = 0.2, 2.0
# The file in the study's folder that lists what runs where.
VIEW = "cluster.txt"


def run(jobs: Sequence[Job], address: str, show: Callable[[str], object] | None = None) -> dict[str, str]:
    """Train jobs on a cluster, as dispatch.run describes it.

    If the scheduler goes away, it is waited for; if it does not come back, the unfinished runs count as failed.

    Raises
    ------
    ConfigError : no scheduler answers at `address`.
    """
    with started(address) as address, token_file(jobs[0].folder.parent) as token:
        study = Handout(jobs, address, scheduler.connect(address), token, show)
        try:
            return study.hand_out()
        finally:
            with suppress(OSError):  # it did not close in time
                study.client.close(timeout=5)  # the scheduler then takes back what workers still train


@dataclass
class Attempt:
    """A run on a worker."""

    job: Job
    worker: Key
    where: str
    future: Future
    since: float
    epoch: int


class Handout:
    """The jobs of one call: waiting, running on a worker, or failed."""

    def __init__(
        self, jobs: Sequence[Job], address: str, client: Client, token: Path, show: Callable[[str], object] | None
    ) -> None:
        self.address, self.client, self.token, self.show = address, client, token, show
        self.view, self.dashboard = jobs[0].folder.parents[1] / VIEW, client.dashboard_link
        self.jobs = {job.run: replace(job, memory=memory_of(job)) for job in jobs}
        self.store, self.versions = Store(jobs[0].folder.parent), versions_here()
        self.waiting, self.running, self.failures = dict(self.jobs), dict[str, Attempt](), dict[str, str]()
        self.epochs = {run: len(self.store.history(run)) for run in self.jobs}
        self.before, self.began = sum(self.epochs.values()), time.monotonic()
        self.attempts, self.refused = Counter[str](), defaultdict[str, set[Key]](set)
        self.workers: dict[Key, Worker] = {}
        self.aside = dict[Key, str]()  # the unusable ones that ever joined, with the reason
        self.lost, self.stuck, self.stuck_since = False, "", 0.0

    def hand_out(self) -> dict[str, str]:
        """Keep the workers busy until no run waits or trains; returns a message for each failed run."""
        looked = 0.0
        while self.waiting or self.running:
            if looking := time.monotonic() - looked >= _LOOK_SECONDS:
                looked = time.monotonic()
                self._look()
            self._settle()
            self._place()
            if looking:
                self._give_up_what_is_stuck()
                self._tell(self.line())
            time.sleep(_POLL_SECONDS)
        self._tell(ending(len(self.jobs), len(self.failures), time.monotonic() - self.began))
        return self.failures

    def usable(self) -> dict[Key, Worker]:
        """Workers that can train."""
        return {key: worker for key, worker in self.workers.items() if key not in self.aside}

    def _look(self) -> None:
        """See which workers there are and how far their runs are."""
        try:
            self.workers, self.lost = scheduler.workers_of(self.client), False
        except (OSError, RuntimeError):  # the runs on workers wait again, for the scheduler
            self.workers, self.lost = {}, True
            with suppress(OSError):  # it did not close in time
                self.client.close(timeout=5)
            with suppress(ConfigError):
                self.client = scheduler.connect(self.address)
        for run in self.running:
            self._see_epochs(run)

    def _see_epochs(self, run: str) -> None:
        with suppress(OSError):  # a network file system may lose a file that is being replaced
            self.epochs[run] = len(self.store.history(run)) or self.epochs[run]

    def _place(self) -> None:
        """Hand waiting runs to workers with room, the emptiest first; runs with equal needs are considered once."""
        usable = self.usable()
        rooms = {key: resources_of(worker) for key, worker in usable.items()}
        for at in self.running.values():
            if at.worker in rooms:
                rooms[at.worker].subtract(need_on(at.job, usable[at.worker]))
        full = set()
        for run, job in list(self.waiting.items()):
            if (kind := (job.threads, job.memory, frozenset(self.refused[run]))) in full:
                continue
            # A run that failed on every worker that is large enough may go to any of them again.
            allowed = (fitting := self._fitting(job)) - self.refused[run] or fitting
            for key in sorted(allowed, key=lambda key: -rooms[key]["threads"]):
                if (need := need_on(job, usable[key])) <= rooms[key]:
                    rooms[key].subtract(need)
                    self._submit(job, key, need)
                    break
            else:
                full.add(kind)

    def _fitting(self, job: Job) -> set[Key]:
        """Usable workers that are large enough for a run."""
        return {key for key, worker in self.usable().items() if need_on(job, worker) <= resources_of(worker)}

    def _submit(self, job: Job, key: Key, need: Amounts) -> None:
        worker, address = self.workers[key], key[0]
        declared = worker["resources"] or {}
        if "CORES" in declared and not declared.get("GPU"):
            job = replace(job, threads=int(need["CORES"]))
        # Found by name on the worker: one that has no such package, or another version, fails the task and says why. A
        # worker that cannot unpickle a task ends, and a scheduler would need the package too.
        found = self.client.submit(pkgutil.resolve_name, TRAIN_HERE, key=f"name-{uuid.uuid4().hex}", workers=[address])
        future = self.client.submit(
            operator.call,
            found,
            *(job.content(), self.versions, str(self.token)),
            key=f"{job.run}-{uuid.uuid4().hex[:8]}",
            workers=[address],
            resources={name: need[name] for name in ("CORES", "MEMORY", "GPU") if declared.get(name)} or None,
        )
        where = address if worker["name"] == address else f"{worker['name']}, {address}"
        asked = self.waiting.pop(job.run)
        self.running[job.run] = Attempt(asked, key, where, future, time.monotonic(), self.epochs[job.run])

    def _settle(self) -> None:
        """Handle ended and lost attempts: each run is finished, waits again, or failed."""
        for run, at in list(self.running.items()):
            if at.worker in self.workers and not at.future.done():
                continue
            del self.running[run]
            self._see_epochs(run)
            try:
                failure = self._failure(at)
            except (OSError, RunError) as error:  # from a network file system, say; the next worker looks again
                failure = Failure("cluster", f"its files cannot be read: {one_line(error)}")
            at.future.release()
            if failure is None:
                self.epochs[run] = at.job.epochs
                continue
            self.waiting[run] = at.job
            if not self.lost and at.future.status != "cancelled":
                self._blame(at, failure)

    def _failure(self, at: Attempt) -> Failure | None:
        """Why an attempt did not finish its run; None if it did."""
        if self.store.has_done(at.job):
            return None
        if at.future.status == "error":
            error = at.future.exception()
            if isinstance(error, Ended):
                return Failure(*error.args)
            hint = "" if isinstance(error, OSError) else "; install the same versions there"
            return Failure("machine", f"{one_line(repr(error))}{hint}")
        if at.future.status != "finished":
            return Failure("cluster", f"its worker, {at.where}, was lost (out of memory?)")
        until = time.monotonic() + SETTLE_SECONDS
        while not self.store.has_done(at.job):
            if time.monotonic() > until:
                return Failure("cluster", f"its worker reports it finished, but its files are not in {at.job.folder}")
            os.listdir(self.store.root)  # makes a network file system look again
            time.sleep(0.5)
        return None

    def _blame(self, at: Attempt, failure: Failure) -> None:
        run = at.job.run
        if failure.kind in ("disk", "machine"):  # no run would succeed there
            self.aside[at.worker] = failure.message
            return
        self.attempts[run] = 1 if self.epochs[run] > at.epoch else self.attempts[run] + 1
        self.refused[run].add(at.worker)
        if failure.kind in ("data", "input") or self.attempts[run] >= ATTEMPTS:
            self._fail(at.job, failure)

    def _fail(self, job: Job, failure: Failure) -> None:
        del self.waiting[job.run]
        self.failures[job.run], self.epochs[job.run] = f"{job.title}: {failure.message}", job.epochs
        if failure.kind != "busy":  # the folder is another process's
            with suppress(OSError):  # as if it had failed on this machine
                job.folder.mkdir(parents=True, exist_ok=True)
                failure.write(job.folder)

    def _give_up_what_is_stuck(self) -> None:
        """Fail runs that no worker can take, after waiting for one that can."""
        kinds = {(job.threads, job.memory): job for job in ({} if self.running else self.waiting).values()}
        unfit = {kind for kind, job in kinds.items() if not self._fitting(job)}
        if not unfit:
            self.stuck, self.stuck_since = "", 0.0
            return
        stuck = [job for job in self.waiting.values() if (job.threads, job.memory) in unfit]
        self.stuck_since = self.stuck_since or time.monotonic()
        left = self.stuck_since + scheduler.PATIENCE_SECONDS - time.monotonic()
        self.stuck = f"{self._why_stuck(stuck[0])} (waiting at most {clock(max(0, left))} more)"
        if left < 0 or (self.workers and not self.usable() and scheduler.is_local(self.address)):
            for job in stuck:
                self._fail(job, Failure("cluster", self._why_stuck(job)))

    def _why_stuck(self, job: Job) -> str:
        if self.lost:
            return f"the scheduler at {self.address} was lost and is not back; once it is, the same command resumes"
        if self.usable():
            need = f"{(job.memory or 0) / 2**30:.1f} GiB of memory and {job.threads or 'all'} cores"
            return f"no worker has the {need} that it needs; start one with --memory-limit or --resources MEMORY=..."
        if self.aside:
            return f"no worker can train it: {self.not_used()}"
        return f"the cluster has no worker; {scheduler.start_one(self.address)}, then give the same command again"

    def line(self) -> str:
        """One line on its progress."""
        done = len(self.jobs) - len(self.waiting) - len(self.running)
        failed = f" ({len(self.failures)} failed)" if self.failures else ""
        on, spent = len({at.worker for at in self.running.values()}), time.monotonic() - self.began
        left = time_left(spent, sum(self.epochs.values()), self.before, sum(job.epochs for job in self.jobs.values()))
        unused = self.not_used()
        trouble = "".join(f"; {told}" for told in (unused if unused not in self.stuck else "", self.stuck) if told)
        return (
            f"{done} of {len(self.jobs)} runs done{failed}, {len(self.running)} in progress on {on} of "
            f"{len(self.workers)} workers, {len(self.waiting)} waiting; {clock(spent)} so far{left}{trouble}; what runs where: "
            f"{self.view}; dashboard: {self.dashboard}"
        )

    def page(self) -> str:
        """The content of cluster.txt."""
        # With the time, because a killed study leaves its last view behind.
        lines = [f"{self.line()}; seen at {time.strftime('%Y-%m-%d %H:%M:%S')}", ""]
        lines += [
            f"{at.where:50s} {at.job.title:50s} epoch {self.epochs[at.job.run]:3d} of at most {at.job.epochs:3d}  "
            f"{clock(time.monotonic() - at.since):>10s}"
            for at in sorted(self.running.values(), key=lambda at: at.where)
        ]
        lines += [f"waiting              {job.title}" for job in list(self.waiting.values())[:20]]
        lines += [f"set aside            {address}: {reason}" for (address, _), reason in self.aside.items()]
        lines += [f"failed               {message}" for message in self.failures.values()]
        return "\n".join(lines) + "\n"

    def not_used(self) -> str:
        """Workers set aside, in words: one for each of the first reasons."""
        alike = {reason: address for (address, _), reason in self.aside.items()}
        return "; ".join(f"worker {address} is not used: {reason}" for reason, address in list(alike.items())[:2])

    def _tell(self, line: str) -> None:
        with suppress(OSError):  # what is only shown ends no training
            write_text(self.view, self.page())
        if self.show:
            self.show(line)
