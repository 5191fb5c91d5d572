"""Train runs on many machines: each run is a task of Dask's distributed scheduler, in a folder that all machines share.

The study hands each run to a worker with room for it and reads the run's progress from its folder. If a worker, the
scheduler or the connection is lost, the run is resumed on another worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distributed import Client

from lfwstudy.runs.cluster import scheduler
from lfwstudy.runs.cluster.handout import Handout
from lfwstudy.runs.cluster.scheduler import Lost, connect, connect_again, describe, started
from lfwstudy.runs.cluster.versions import token_file
from lfwstudy.runs.cluster.view import VIEW
from lfwstudy.runs.cluster.workers import Workers
from lfwstudy.runs.job import Job
from lfwstudy.system.text import clock

__all__ = ["VIEW", "describe", "run", "started"]


def run(jobs: Sequence[Job], address: str, show: Callable[[str], object] | None = None) -> dict[str, str]:
    """Train jobs on a cluster, as dispatch.run describes it.

    If the scheduler goes away, it is waited for; if it does not come back, the unfinished runs count as failed.

    Raises
    ------
    ConfigError : no scheduler answers at `address`, or it lacks this package.
    """
    with started(address) as address, token_file(jobs[0].folder.parent) as token:
        study = Handout(jobs, address, Workers(token), show)
        client: Client | None = connect(address)
        while client:
            try:
                study.hand_out(client)
                break
            except Lost as lost:
                study.take_back()
                client = connect_again(address, str(lost), show)
        else:
            study.give_up(
                f"the scheduler at {address} was lost and did not come back within {clock(scheduler.PATIENCE_SECONDS)}; the same "
                "command resumes once it is there"
            )
        study.tell_end()
        return study.failures
