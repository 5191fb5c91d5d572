"""The resources that a run takes and that a worker has left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lfwstudy.config import RunConfig
from lfwstudy.data.registry import IMAGES
from lfwstudy.network.cost import training_memory
from lfwstudy.runs.job import Job

# Amounts by name: CORES, MEMORY (bytes), GPU, threads.
Amounts = dict[str, float]
Worker = Mapping[str, Any]  # as Dask's scheduler describes it


def memory_of(config: RunConfig) -> int:
    """Bytes of memory to reserve on a worker for a run, with all of LFW's images."""
    return training_memory(config.model, config.data.side, config.training.batch_size, images=IMAGES)


def need_on(job: Job, worker: Worker) -> Amounts | None:
    """The resources that a job takes of a worker; None if it never fits.

    A worker that declares no CORES has one per thread; one that declares no MEMORY has its memory limit. A run without a
    number of threads takes all cores, or its GPU's share of them.
    """
    total = _total(worker)
    gpus = int(total["GPU"])
    cores, memory = job.threads or max(1, int(total["CORES"]) // max(1, gpus)), job.memory or 0
    if cores > total["CORES"] or memory > total["MEMORY"]:
        return None
    return {"CORES": cores, "MEMORY": memory, "GPU": min(1, gpus), "threads": 1}


def room_on(worker: Worker, needs: Iterable[Amounts]) -> Amounts:
    """The resources left on a worker after the needs of its runs."""
    taken = list(needs)
    return {name: amount - sum(need[name] for need in taken) for name, amount in _total(worker).items()}


def _total(worker: Worker) -> Amounts:
    declared = worker["resources"] or {}
    return {
        "CORES": declared.get("CORES", worker["nthreads"]),
        "GPU": declared.get("GPU", 0),
        "MEMORY": declared.get("MEMORY") or worker.get("memory_limit") or float("inf"),
        "threads": worker["nthreads"],
    }
