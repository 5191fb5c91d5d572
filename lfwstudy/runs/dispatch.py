"""Train runs, each in a separate process: on this machine, as many at once as there are cores for, or on a cluster."""

import html
import os
import re
import subprocess
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from types import ModuleType

from lfwstudy.errors import ConfigError, RunError, require
from lfwstudy.runs.job import Job
from lfwstudy.runs.process import Process, end, finish, start
from lfwstudy.runs.store import Store
from lfwstudy.system.machine import cores
from lfwstudy.system.text import clock, sparkline

Show = Callable[[str], object]
_POLL_SECONDS = 0.2


def run(jobs: Sequence[Job], cluster: str = "", show: Show | None = None) -> dict[str, str]:
    """Train jobs, each in a separate process; one run's failure does not stop the others.

    Parameters
    ----------
    cluster : address as for `check_cluster`; empty: this machine.
    show : called with a line on the progress.

    Returns
    -------
    A message for each failed run, by its id.
    """
    return load_cluster().run(jobs, cluster, show) if cluster else _train_here(jobs, show)


def check_cluster(address: str) -> str:
    """Raise ConfigError unless `address` has a form that --cluster takes; Dask is not needed."""
    form = r"(tcp|tls)://(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})|local:[1-9][0-9]{0,2}"
    matched = re.fullmatch(form, address)
    if not matched or not 0 < int(matched["port"] or 1) < 65536:
        raise ConfigError(
            f"--cluster must be tcp://HOST:PORT, tls://HOST:PORT or local:N (N workers on this machine), got "
            f"{address[:80]!r}"
        )
    return address


def load_cluster() -> ModuleType:
    """The cluster's front, `handout`. Raises ConfigError if Dask, needed only for --cluster, is not installed."""
    require("dask", "distributed")
    from lfwstudy.runs.cluster import handout

    return handout


def _train_here(jobs: Sequence[Job], show: Show | None) -> dict[str, str]:
    """Train jobs in order on this machine, as `run` describes it. A run without a number of threads runs alone."""
    began, before = time.monotonic(), sum(len(_history(job)) for job in jobs)
    waiting, running, there = deque(jobs), dict[Process, Job](), cores()
    failures: dict[str, str] = {}
    due = 0.0

    def attempt(step: Callable[..., Process | None], job: Job, *more: Process) -> Process | None:
        try:
            return step(job, *more)
        except Exception as error:  # the other runs go on
            failures[job.run] = f"{job.title}: {error}"
            return None

    try:
        while waiting or running:
            while waiting and sum(min(job.threads or there, there) for job in [waiting[0], *running.values()]) <= there:
                job = waiting.popleft()
                if process := attempt(start, job):
                    running[process] = job
            for process in list(running):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS / len(running))
                    attempt(finish, running.pop(process), process)
            if show and (waiting or running) and (asked := time.monotonic()) >= due:
                show(progress(jobs, began, failures, before))
                due = time.monotonic() + 4 * (time.monotonic() - asked)  # of many runs: the cores are for training
    finally:
        end(*running)
    if show:
        show(ending(len(jobs), len(failures), time.monotonic() - began))
    return failures


def progress(jobs: Sequence[Job], started: float, failures: Collection[str] = (), before: int = 0) -> str:
    """One line on the progress of some jobs, read from their histories: runs done, the current one, time left.

    before: epochs that were already trained when the jobs started.
    """
    total = sum(job.epochs for job in jobs)
    done, finished, current = 0.0, 0, ""
    for job in jobs:
        if job.run in failures or _is_done(job):
            done, finished = done + job.epochs, finished + 1
            continue
        rows = _history(job)
        done += len(rows)
        if rows or os.path.exists(job.folder / "job.json"):
            accuracies = [row["val_accuracy"] for row in rows if "val_accuracy" in row]
            curve = f"{accuracies[-1]:.3f} {sparkline(accuracies)} (best {max(accuracies):.3f})" if accuracies else ""
            last = f", validation accuracy {curve}" if curve else ""
            current += f"; {job.title}: epoch {len(rows)} of at most {job.epochs}{last}"
    spent = time.monotonic() - started
    return f"{finished} of {len(jobs)} runs done{current}; {clock(spent)} so far{time_left(spent, done, before, total)}"


def time_left(spent: float, done: float, before: float, total: float) -> str:
    """How long the rest of some epochs takes at most, as the end of a line; empty where that is unknown."""
    return f"; at most {clock(spent / (done - before) * (total - done))} left" if before < done < total else ""


def ending(runs: int, failed: int, seconds: float) -> str:
    """The last line on some runs."""
    done = runs - failed
    return f"{done} run{'s' if done != 1 else ''} trained in {clock(seconds)}" + (
        f", {failed} failed." if failed else "."
    )


class Progress:
    """A line of text in a notebook that is replaced as work proceeds, and ends as plain text."""

    def __init__(self) -> None:
        self._text, self._id = "", uuid.uuid4().hex

    def show(self, text: str) -> None:
        """Replace the line."""
        if text != self._text:
            from IPython.display import Markdown, display

            line = Markdown(html.escape(text, quote=False))  # it may quote a file
            display(line, display_id=self._id, update=bool(self._text))
            self._text = text


def _is_done(job: Job) -> bool:
    with suppress(OSError, RunError):  # what is only shown ends no training
        return Store(job.folder.parent).has_done(job)
    return False


def _history(job: Job) -> list[dict[str, float]]:
    with suppress(OSError):  # likewise
        return Store(job.folder.parent).history(job.run)
    return []
