"""Trainings side by side on one machine, until a time."""

import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from lfwstudy.config import RunConfig
from lfwstudy.errors import StudyError, one_line
from lfwstudy.network.cost import tower_cost
from lfwstudy.runs.job import Job
from lfwstudy.runs.process import Process, end, finish, start
from lfwstudy.runs.store import Store
from lfwstudy.system.machine import cores

_POLL_SECONDS = 0.1


class SideBySide:
    """Trains jobs, `at_once` of them side by side (0: one on each core).

    Parameters
    ----------
    seconds : from now on; no training is started that would not end by then, judging by those before it, and those that
        still run then are ended.
    """

    def __init__(self, at_once: int = 0, seconds: float = math.inf) -> None:
        self.at_once = at_once if at_once > 0 else cores()
        self.threads = max(1, cores() // self.at_once)
        self.until = time.monotonic() + seconds
        # Of the latest trainings: seconds of the process without training, and of training for a unit of work. The first
        # ones of all also compile.
        self.starts, self.paces = (deque([0.0], maxlen=self.at_once) for _ in range(2))

    def train(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Train jobs in order; yields each when it is done. One that fails is told and left out."""
        waiting, running = deque(jobs), dict[Process, tuple[Job, float]]()
        try:
            while waiting or running:
                while waiting and len(running) < self.at_once:
                    if self._fits(job := waiting.popleft()):
                        running[_start(job)] = job, time.monotonic()
                for process in [each for each in running if each.poll() is not None]:
                    job, began = running.pop(process)
                    if _succeeded(job, process):
                        self._learn(job, time.monotonic() - began)
                        yield job
                if time.monotonic() > self.until:
                    return
                time.sleep(_POLL_SECONDS)
        finally:
            end(*running)

    def _fits(self, job: Job) -> bool:
        expected = max(self.starts) + _work(job.config) * max(self.paces)
        fits = time.monotonic() + expected < self.until
        _say(f"{job.title}: started" if fits else f"{job.title}: left out, {expected:.0f} s expected")
        return fits

    def _learn(self, job: Job, wall: float) -> None:
        trained = Store(job.folder.parent).result(job.run)["seconds_total"]
        self.starts.append(max(0.0, wall - trained))  # some was trained by an earlier process
        self.paces.append(trained / _work(job.config))
        _say(f"{job.title}: {wall:.0f} s, {trained:.0f} s of them training")


def _work(config: RunConfig) -> float:
    """Multiply-adds of a training's images, up to a factor."""
    training = config.training
    images = (training.drawn_people or 2000) * (training.pairs_per_person if training.drawn_people else 1)
    return training.epochs * images * tower_cost(config.model, config.data.side)[0]


def _start(job: Job) -> Process:
    """Start a job's process, which finds this folder's tools."""
    root = str(Path(__file__).resolve().parents[1])
    given = os.environ.get("PYTHONPATH", "")
    if root not in given.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, given]))
    return start(job)


def _succeeded(job: Job, process: Process) -> bool:
    try:
        finish(job, process)
    except StudyError as error:
        _say(f"error: {job.title}: {error}")
        return False
    if status := process.wait():  # a program may do more than train
        _say(f"error: {job.title}: trained, then ended with status {status}; log: {job.folder / 'log.txt'}")
    return not status


def _say(text: str) -> None:
    print(one_line(text), file=sys.stderr, flush=True)
