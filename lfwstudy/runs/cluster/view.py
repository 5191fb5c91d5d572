"""What a user sees of a study on a cluster: a line, and a file that lists what runs where."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lfwstudy.runs.local import time_left
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
    left = time_left(spent, sum(study.epochs.values()), study.before, sum(job.epochs for job in study.jobs.values()))
    trouble = "".join(f"; {told}" for told in (study.not_used(), study.stuck) if told)
    return (
        f"{done} of {len(study.jobs)} runs done{failed}, {len(study.running)} in progress on {on} of "
        f"{len(study.workers)} workers, {len(study.waiting)} waiting; {clock(spent)} so far{left}{trouble}; what runs where: "
        f"{study.view}; dashboard: {study.dashboard}"
    )


def page(study: Handout) -> str:
    """The content of cluster.txt."""
    # With the time, because a killed study leaves its last view behind.
    lines = [f"{line(study)}; seen at {time.strftime('%Y-%m-%d %H:%M:%S')}", ""]
    lines += [
        f"{at.where:50s} {at.job.title:50s} epoch {study.epochs[at.job.run]:3d} of at most {at.job.epochs:3d}  "
        f"{clock(time.monotonic() - at.since):>10s}"
        for at in sorted(study.running.values(), key=lambda at: at.where)
    ]
    lines += [f"waiting              {job.title}" for job in list(study.waiting.values())[:20]]
    lines += [f"set aside            {address}: {reason}" for (address, _), reason in study.aside.items()]
    lines += [f"failed               {message}" for message in study.failures.values()]
    return "\n".join(lines) + "\n"
