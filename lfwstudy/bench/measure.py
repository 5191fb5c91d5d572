"""The measurement: contestants in separate processes, in turns."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from lfwstudy.bench import BARE, CEILING, OURS, PLAIN
from lfwstudy.bench.summary import lines, summary
from lfwstudy.config import RunConfig
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import RunError
from lfwstudy.system.files import write_json
from lfwstudy.system.precision import resolve_precision
from lfwstudy.system.processes import environment, large_pages

ROUNDS = 5
# No further round begins after this many seconds.
PATIENCE = 110


def bench(show: Callable[[str], object] = print, config: RunConfig | None = None) -> dict[str, Any]:
    """Measure and return the figures of `summary`; `show` is called with lines of text along the way.

    config: trained instead of the full network.
    """
    began = time.monotonic()
    config = config or RunConfig()
    prepare_bank(config.data), load_pairs(config.data)  # drawn or decoded before any clock runs
    precision = resolve_precision("auto")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        job = Path(folder) / "job.json"
        write_json(job, {"config": config.to_dict(), "precision": precision})
        ceiling, *others = (stack.enter_context(Contestant(name, job)) for name in (CEILING, OURS, BARE, PLAIN))
        peak = ceiling.start()
        show(f"{peak['device']}; convolutions in {precision}")
        for name, gflops in peak["gflops"].items():
            show(f"peak matrix rate in {name}: {gflops:,.0f} GFLOP/s")
        for contestant in others:
            first = contestant.start()["first_step_seconds"]
            show(f"{contestant.name}: the first step starts {first:.1f} s after its process")
        peaks: list[float] = []
        seconds: dict[str, list[float]] = {contestant.name: [] for contestant in others}
        while len(peaks) < ROUNDS and not (peaks and time.monotonic() - began > PATIENCE):
            peaks.append(ceiling.go()["gflops"])
            for contestant in others:
                seconds[contestant.name].append(contestant.go()["step_seconds"])
        measured = {contestant.name: contestant.end() for contestant in others}
    rates = peak["gflops"] | {precision: round(float(np.median(peaks)), 1)}
    result = summary(rates, peaks, seconds, measured, precision)
    for line in lines(result):
        show(line)
    return result


class Contestant:
    """A process that trains a few steps each time it is told to (`lfwstudy.bench.contestant`), ended with its context."""

    def __init__(self, name: str, job: Path | str) -> None:
        self.name, self.job = name, job
        self.process: Any = None
        self.told: dict[str, Any] = {}
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115

    def __enter__(self) -> "Contestant":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def start(self) -> dict[str, Any]:
        """Start the process; returns what it measured while starting."""
        # The others run without our settings, but all use oneDNN's convolutions.
        ours = self.name in (OURS, CEILING)
        own = large_pages() if ours else {"TF_CPU_ALLOCATOR_USE_BFC": "false", "TF_DETERMINISTIC_OPS": "0"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lfwstudy.bench.contestant", self.name, str(self.job), str(time.time())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment(**own),
        )
        self.told = self._answer()
        return self.told

    def go(self) -> dict[str, Any]:
        """Have it train a round; returns the seconds per step. Raises RunError if the process has failed."""
        with suppress(BrokenPipeError):  # a process that is gone gives no answer
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        return self._answer()

    def end(self) -> dict[str, Any]:
        """End it; returns everything it has measured."""
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        return {**self.told, **self._answer()}

    def _answer(self) -> dict[str, Any]:
        for line in self.process.stdout:
            if line.startswith("{"):  # libraries may print as well
                return json.loads(line)
        self.errors.seek(0)
        raise RunError(f"bench: {self.name} failed (exit status {self.process.wait()}): {self.errors.read()[-600:]}")
