"""What a user sees of a study on a cluster: a line, and a file that lists what runs where."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lfwstudy.system.text import clock

if TYPE_CHECKING:
    from lfwstudy.runs.cluster.handout import Handout

# The file in the study's folder.
VIEW = "cluster.txt"


def line(study: Handout) -> str:
    """One line on its progress."""
    done = len(study.jobs) - len(study.waiting) - len(study.running)
    failed = f" ({len(study.failures)} failed)" if study.failures else ""
    on, spent = len({at.worker for at in study.running.values()}), time.monotonic() - study.began
    return (
        f"{done} of {len(study.jobs)} runs done{failed}, {len(study.running)} in progress on {on} of "
        f"{len(study.workers.present)} workers; {clock(spent)} so far{_left(study, spent)}{study.lack()}; what runs where: "
        f"{study.view_path()}; dashboard: {study.dashboard}"
    )


def page(study: Handout) -> str:
    """The content of cluster.txt."""
    # With the time, because a killed study leaves its last view behind.
    lines = [f"{line(study)}; seen at {time.strftime('%Y-%m-%d %H:%M:%S')}", ""]
    for at in sorted(study.running.values(), key=lambda at: (at.host, at.worker)):
        accuracy = f"validation accuracy {at.accuracy:.3f}" if at.accuracy is not None else ""
        lines.append(
            f"{at.host:20s} {at.worker:28s} {at.job.title:50s} epoch {study.epochs[at.job.run]:3d} of at most "
            f"{at.job.epochs:3d}  {clock(time.monotonic() - at.since):>10s}  {accuracy}".rstrip()
        )
    lines += [f"waiting              {job.title}" for job in list(study.waiting.values())[:20]]
    if len(study.waiting) > 20:
        lines.append(f"waiting              and {len(study.waiting) - 20} more")
    lines += [f"set aside            {address}: {reason}" for address, reason in study.workers.aside().items()]
    lines += [f"failed               {message}" for message in study.failures.values()]
    lines += [f"last trouble         {study.workers.trouble}"] if study.workers.trouble else []
    return "\n".join(lines) + "\n"


def _left(study: Handout, spent: float) -> str:
    total = sum(job.epochs for job in study.jobs.values())
    done = sum(
        job.epochs if run in study.failures else min(study.epochs[run], job.epochs) for run, job in study.jobs.items()
    )
    return (
        f"; at most {clock(spent / (done - study.before) * (total - done))} left" if study.before < done < total else ""
    )
