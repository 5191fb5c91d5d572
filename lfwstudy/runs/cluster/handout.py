"""Hand runs to workers and take them back when something is lost: the study's bookkeeping."""

from __future__ import annotations

import os
import queue
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from distributed import Client, Future

from lfwstudy.runs.cluster import scheduler, view, worker
from lfwstudy.runs.cluster.needs import Amounts, memory_of, need_on, room_on
from lfwstudy.runs.cluster.workers import Key, Workers
from lfwstudy.runs.failure import Failure
from lfwstudy.runs.job import Job
from lfwstudy.runs.local import ending
from lfwstudy.runs.store import Store
from lfwstudy.system.files import write_text
from lfwstudy.system.text import clock

# A run fails after this many attempts that end in an error, or this many lost workers.
ATTEMPTS, LOSSES = 3, 5
# A shared folder may show files written by another machine only after a while.
SETTLE_SECONDS = 60
_POLL_SECONDS, _LOOK_SECONDS = 0.2, 2.0


@dataclass
class Attempt:
    """A run on a worker."""

    job: Job
    worker: str
    key: Key
    host: str
    need: Amounts
    future: Future
    since: float
    accuracy: float | None = None


class Handout:
    """The jobs of one call: waiting, running on a worker, or failed."""

    def __init__(
        self, jobs: Sequence[Job], address: str, workers: Workers, show: Callable[[str], object] | None
    ) -> None:
        self.address, self.workers, self.show, self.failures = address, workers, show, dict[str, str]()
        self.jobs = {
            job.run: job if job.memory is not None else replace(job, memory=memory_of(job.config)) for job in jobs
        }
        self.waiting, self.running = dict(self.jobs), dict[str, Attempt]()
        self.store = Store(jobs[0].folder.parent)
        self.epochs = {run: len(self.store.history(run)) for run in self.jobs}
        self.before, self.began = sum(self.epochs.values()), time.monotonic()
        self.attempts, self.losses = Counter[str](), Counter[str]()
        self.refused: dict[str, set[str]] = {}
        self.ended: queue.Queue[str] = queue.Queue()
        self.dashboard, self.unfit_since = "", 0.0

    # -- the loop --------------------------------------------------------------------------------------------------

    def hand_out(self, client: Client) -> None:
        """Keep the workers busy until no run waits or trains. Raises scheduler.Lost."""
        self.client, self.dashboard = client, client.dashboard_link
        looked = shown = 0.0
        try:
            while self.waiting or self.running:
                if time.monotonic() - looked >= _LOOK_SECONDS:
                    looked = time.monotonic()
                    self._look()
                self._place()
                self._listen()
                if self.show and time.monotonic() - shown >= 1:
                    shown = time.monotonic()
                    self.show(view.line(self))
        finally:
            with suppress(Exception):
                client.cancel([at.future for at in self.running.values()])
            client.close(timeout=5)

    def take_back(self) -> None:
        """Let every run that was on a worker wait again."""
        for attempt in list(self.running):
            self._wait_again(attempt)
        self.ended = queue.Queue()
        self.workers.forget()

    def give_up(self, reason: str) -> None:
        """Count every unfinished run as failed."""
        self.take_back()
        for job in list(self.waiting.values()):
            self._fail(job, Failure("cluster", reason))

    def tell_end(self) -> None:
        """Show the last line and write the last view."""
        self._write_view()
        if self.show:
            self.show(ending(len(self.jobs), len(self.failures), time.monotonic() - self.began))

    def _look(self) -> None:
        self.workers.look(self.client)
        for at in self.running.values():
            with suppress(OSError):  # a network file system may lose a file that is being replaced
                if rows := self.store.history(at.job.run):
                    self.epochs[at.job.run], at.accuracy = len(rows), rows[-1].get("val_accuracy")
        self._forget_lost_workers()
        self._give_up_what_fits_nowhere()
        self._write_view()

    # -- to the workers --------------------------------------------------------------------------------------------

    def _place(self) -> None:
        """Hand waiting runs to workers with room, the emptiest first; runs with equal needs are considered once."""
        self.workers.hear()
        usable = self.workers.usable()
        rooms = {
            address: room_on(found, [at.need for at in self.running.values() if at.worker == address])
            for address, found in usable.items()
        }
        full = set()
        for run, job in list(self.waiting.items()):
            kind = (job.threads, job.memory, *sorted(self.refused.get(run, ())))
            if kind in full:
                continue
            for address in sorted(rooms.keys() - self.refused.get(run, set()), key=lambda a: -rooms[a]["threads"]):
                need = need_on(job, usable[address])
                if need and all(rooms[address][name] >= amount for name, amount in need.items()):
                    self._submit(job, address, need)
                    rooms[address] = {name: rooms[address][name] - amount for name, amount in need.items()}
                    break
            else:
                full.add(kind)

    def _submit(self, job: Job, address: str, need: Amounts) -> None:
        declared = self.workers.present[address]["resources"] or {}
        if "CORES" in declared and not declared.get("GPU"):
            job = replace(job, threads=int(need["CORES"]))
        attempt = f"{job.run}-{uuid.uuid4().hex[:8]}"
        future = self.client.submit(
            worker.train_here,
            job,
            attempt,
            self.workers.versions,
            self.workers.token,
            key=attempt,
            pure=False,
            workers=[address],
            allow_other_workers=False,
            resources={n: need[n] for n in ("CORES", "MEMORY", "GPU") if declared.get(n)} or None,
        )
        key, host = self.workers.key(address), self.workers.host(address)
        self.running[attempt] = Attempt(self.waiting.pop(job.run), address, key, host, need, future, time.monotonic())
        ended = self.ended
        future.add_done_callback(lambda _: ended.put(attempt))

    # -- back from workers ----------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Take in ended attempts, for a moment at most."""
        with suppress(queue.Empty):
            attempt = self.ended.get(timeout=_POLL_SECONDS)
            while True:
                if attempt in self.running:
                    self._settle(attempt)
                attempt = self.ended.get_nowait()

    def _settle(self, attempt: str) -> None:
        """Handle an ended attempt: its run is finished, tried again, or failed."""
        at = self.running[attempt]
        if at.future.status == "cancelled":
            raise scheduler.Lost("the connection to the scheduler was lost")
        failure = None if self._is_finished(at.job) else self._failure(at)
        if self._wait_again(attempt) and failure:
            self._blame(at, failure)

    def _failure(self, at: Attempt) -> Failure:
        """Why an attempt did not finish its run."""
        try:
            found = at.future.result(timeout=scheduler.CONNECT_SECONDS)
        except TimeoutError:
            return Failure("cluster", "its worker does not answer")
        except Exception as error:
            return Failure("machine" if isinstance(error, ModuleNotFoundError) else "crash", scheduler.told(error))
        until = time.monotonic() + SETTLE_SECONDS
        while found is None and not self._is_finished(at.job) and time.monotonic() < until:
            os.listdir(self.store.root)  # makes a network file system look again
            time.sleep(0.5)
        return found or Failure("cluster", f"its worker reports it finished, but its files are not in {at.job.folder}")

    def _blame(self, at: Attempt, failure: Failure) -> None:
        failure = replace(failure, message=f"{failure.message} (on {at.host})")
        if failure.kind in ("disk", "machine"):  # no run would succeed there
            self.workers.set_aside(at.key, failure.message)
            return
        self.attempts[at.job.run] += 1
        if failure.kind in ("data", "input") or self.attempts[at.job.run] >= ATTEMPTS:
            self._fail(at.job, failure)
        else:
            self.refused.setdefault(at.job.run, set()).add(at.worker)

    def _forget_lost_workers(self) -> None:
        for attempt, at in list(self.running.items()):
            if at.worker not in self.workers.present:
                self.losses[at.job.run] += 1
                if self._wait_again(attempt) and self.losses[at.job.run] >= LOSSES:
                    told = f"{LOSSES} workers were lost while they trained it, the last {at.host} (out of memory?)"
                    self._fail(at.job, Failure("cluster", told))

    def _wait_again(self, attempt: str) -> bool:
        """Take an attempt back; True if its run has to be tried again, False if it is already finished."""
        at = self.running.pop(attempt)
        with suppress(Exception):
            at.future.cancel()
        if self._is_finished(at.job):
            self.epochs[at.job.run] = at.job.epochs
            return False
        self.waiting[at.job.run] = at.job
        return True

    def _is_finished(self, job: Job) -> bool:
        return self.store.is_finished(job.run, with_test=job.task == "score-test")

    def _fail(self, job: Job, failure: Failure) -> None:
        del self.waiting[job.run]
        self.failures[job.run] = f"{job.title}: {failure.message}"
        with suppress(OSError):  # as if it had failed on this machine
            job.folder.mkdir(parents=True, exist_ok=True)
            failure.write(job.folder)

    # -- runs that fit nowhere -------------------------------------------------------------------------------------------

    def _give_up_what_fits_nowhere(self) -> None:
        """Fail runs that no worker can take, after waiting for one that can."""
        usable = self.workers.usable()
        for run in self.waiting:  # a run that failed on every worker may go to any of them again
            if usable and usable.keys() <= self.refused.get(run, set()):
                self.refused[run] = set()
        unfit = [job for job in self.waiting.values() if not any(need_on(job, found) for found in usable.values())]
        if not unfit or self.running:
            self.unfit_since = 0.0
            return
        self.unfit_since = self.unfit_since or time.monotonic()
        if self.workers.hopeless() or time.monotonic() - self.unfit_since > scheduler.PATIENCE_SECONDS:
            for job in unfit:
                self._fail(job, Failure("cluster", self._why_nowhere(job)))

    def _why_nowhere(self, job: Job) -> str:
        if self.workers.usable():
            return (
                f"no worker has the {(job.memory or 0) / 2**30:.1f} GiB of memory and {job.threads or 'all'} cores that "
                'it needs; start one with --memory-limit or --resources "MEMORY=..."'
            )
        if self.workers.aside():
            return f"no worker can train it: {self.workers.not_used()}"
        trouble = f" ({self.workers.trouble})" if self.workers.trouble else ""
        return (
            f"the cluster has no worker; {scheduler.start_one(self.address)}, then give the same command again{trouble}"
        )

    # -- what the user sees ------------------------------------------------------------------------------------------------

    def lack(self) -> str:
        """Why runs have to wait, if workers were set aside or none can be used."""
        found = f"; {self.workers.not_used()}" if self.workers.aside() else ""
        none = f"no worker has joined, {scheduler.start_one(self.address)}"
        why = self.workers.trouble if self.workers.present else none
        if why and self.waiting and self.unfit_since and not self.workers.usable():
            left = max(0, scheduler.PATIENCE_SECONDS - (time.monotonic() - self.unfit_since))
            found += f"; {why} (waiting at most {clock(left)} more)"
        return found

    def view_path(self) -> Path:
        """The file that lists what runs where."""
        return self.store.root.parent / view.VIEW

    def _write_view(self) -> None:
        with suppress(OSError):  # what is only shown ends no training
            write_text(self.view_path(), view.page(self))
