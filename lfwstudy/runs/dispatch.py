"""Choose the executor that trains runs: this machine or a cluster."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from types import ModuleType

from lfwstudy.errors import ConfigError, require
from lfwstudy.runs import local
from lfwstudy.runs.job import Job

Show = Callable[[str], object]


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
    return load_cluster().run(jobs, cluster, show) if cluster else local.run(jobs, show)


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
