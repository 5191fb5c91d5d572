"""What is seen of a study on a cluster: a line, and a file that says what runs where."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lfwstudy.runs.job import Job
from lfwstudy.system.text import clock

# The file in the study's folder.
VIEW = "cluster.txt"


@dataclass(frozen=True)
class Running:
    """A run on a worker, as it is shown."""

    host: str
    worker: str
    job: Job
    epoch: int
    accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class Snapshot:
    """How far a study is. seconds: since it began, and at most left; lack: why runs have to wait, empty where they do not."""

    runs: int
    waiting: Sequence[Job]
    running: Sequence[Running]
    failures: Sequence[str]
    workers: int
    aside: Sequence[str]
    lack: str
    trouble: str
    seconds: float
    seconds_left: float | None
    path: str
    dashboard: str


def line(at: Snapshot) -> str:
    """One line on how far it is."""
    done = at.runs - len(at.waiting) - len(at.running)
    failed = f" ({len(at.failures)} failed)" if at.failures else ""
    left = f"; at most {clock(at.seconds_left)} left" if at.seconds_left is not None else ""
    return (
        f"{done} of {at.runs} runs done{failed}, {len(at.running)} in progress on {len({r.worker for r in at.running})} of "
        f"{at.workers} workers; {clock(at.seconds)} so far{left}{at.lack}; what runs where: {at.path}; "
        f"dashboard: {at.dashboard}"
    )


def page(at: Snapshot) -> str:
    """The content of cluster.txt."""
    # The time, because a study that was killed leaves its last view behind.
    lines = [f"{line(at)}; seen at {time.strftime('%Y-%m-%d %H:%M:%S')}", ""]
    for run in sorted(at.running, key=lambda run: (run.host, run.worker)):
        accuracy = f"validation accuracy {run.accuracy:.3f}" if run.accuracy is not None else ""
        lines.append(
            f"{run.host:20s} {run.worker:28s} {run.job.title:50s} epoch {run.epoch:3d} of at most "
            f"{run.job.epochs:3d}  {clock(run.seconds):>10s}  {accuracy}".rstrip()
        )
    lines += [f"waiting              {job.title}" for job in at.waiting[:20]]
    if len(at.waiting) > 20:
        lines.append(f"waiting              and {len(at.waiting) - 20} more")
    lines += [f"set aside            {told}" for told in at.aside]
    lines += [f"failed               {message}" for message in at.failures]
    lines += [f"last trouble         {at.trouble}"] if at.trouble else []
    return "\n".join(lines) + "\n"
