"""The measurement: contestants in separate processes, in turns; its figures, and lines for a person."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from lfwstudy.bench import AHEAD, BARE, BATCH, CEILING, OURS, PLAIN
from lfwstudy.config import RunConfig
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import RunError
from lfwstudy.system.files import write_json
from lfwstudy.system.machine import cpu_name, versions
from lfwstudy.system.precision import precision_warning, resolve_precision
from lfwstudy.system.processes import environment, large_pages

ROUNDS = 5
# No further round begins after this many seconds.
PATIENCE = 110
PROGRAM = "lfwstudy.bench.contestant"


def bench(show: Callable[[str], object] = print, config: RunConfig | None = None) -> dict[str, Any]:
    """Measure and return the figures of `summary`; `show` is called with lines of text along the way.

    config: trained instead of the full network.
    """
    began = time.monotonic()
    config = config or RunConfig()
    prepare_bank(config.data)  # drawn or decoded before any clock runs
    load_pairs(config.data)
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


def summary(
    rates: Mapping[str, float],
    peaks: Sequence[float],
    seconds: Mapping[str, Sequence[float]],
    measured: Mapping[str, Mapping[str, Any]],
    precision: str,
) -> dict[str, Any]:
    """The measurements as one JSON-ready dict.

    Parameters
    ----------
    rates : peak matrix rate in GFLOP/s, by precision.
    peaks : that of the precision used, in each round.
    seconds : by contestant, of a step in each round.
    measured : by contestant, its other measurements.
    """
    ours, plain = measured[OURS], measured[PLAIN]
    shares = [ours["step_gflop"] / own / peak for own, peak in zip(seconds[OURS], peaks)]
    step = {name: float(np.median(values)) for name, values in seconds.items()}
    to_ours = {name: _median_ratio(values, seconds[OURS]) for name, values in seconds.items()}
    return {
        "machine": cpu_name(),
        "device": ours["device"],
        "backend": ours["backend"],
        "precision": precision,
        "warning": precision_warning(precision),
        "versions": versions(),
        "rounds": len(peaks),
        "ceiling_gflops": dict(rates),
        "step_gflop": round(ours["step_gflop"], 1),
        "step_seconds": {name: round(value, 6) for name, value in step.items()},
        "share_of_ceiling": round(float(np.median(shares)), 3),
        "shares_of_ceiling": [round(share, 3) for share in shares],
        "ours_to_bare_keras": round(1 / to_ours[BARE], 3),
        "plain_script_to_ours": round(to_ours[PLAIN], 3),
        "pictures_share_of_step": round(ours["images_seconds"] / step[OURS], 4),
        "first_step_seconds": {name: round(m["first_step_seconds"], 2) for name, m in measured.items()},
        "score_seconds_per_pair": round(ours["score_seconds_per_pair"], 7),
        "plain_score_seconds_per_pair": round(plain["score_seconds_per_pair"], 7),
        "plain_score_to_ours": round(plain["score_seconds_per_pair"] / ours["score_seconds_per_pair"], 2),
        **{
            name: round(ours[name], 3)
            for name in ("checkpoint_seconds", "checkpoint_file_seconds", "plain_write_seconds")
        },
        "peak_memory_mb": {name: m["peak_memory_mb"] for name, m in measured.items()},
    }


def lines(result: Mapping[str, Any]) -> list[str]:
    """The measurements as lines for a person; files of older versions may lack the spread and the checkpoint's file."""
    first, shares = result["first_step_seconds"], result.get("shares_of_ceiling")
    spread = f" ({min(shares):.2f} to {max(shares):.2f} in {len(shares)} rounds)" if shares else ""
    whole = result.get("checkpoint_file_seconds")
    durable = f", durable after {whole:.2f} s" if whole else ""
    return [
        f"a training step of {BATCH} pairs takes {result['step_gflop']:,.0f} GFLOP; time, and peak memory of the process:",
        *(
            f"  {name:16s} {_short(seconds)} {result['peak_memory_mb'][name]:7,.0f} MiB"
            for name, seconds in result["step_seconds"].items()
        ),
        "first step after the start of the process: "
        + ", ".join(f"{name} {first[name]:.1f} s" for name in (OURS, BARE, PLAIN)),
        f"ours takes {result['ours_to_bare_keras']:.3f}x the time of a bare Keras fit",
        f"ours is {result['plain_script_to_ours']:.2f}x as fast as the plain script",
        f"ours runs at {result['share_of_ceiling']:.2f}x the peak matrix rate, in FLOPs of direct convolutions{spread}",
        f"gathering, scaling and augmenting images take {100 * result['pictures_share_of_step']:.1f} % of a step",
        f"scoring: {1000 * result['score_seconds_per_pair']:.3g} ms a pair, plain script "
        f"{1000 * result['plain_score_seconds_per_pair']:.3g} ms ({result['plain_score_to_ours']:.1f}x)",
        f"checkpoint: blocks {result['checkpoint_seconds']:.2f} s{durable} (raw write {result['plain_write_seconds']:.2f} s)",
        *([f"warning: {result['warning']}"] if result["warning"] else []),
    ]


class Contestant:
    """A process that trains a few steps each time it is told to, ended with its context.

    patience: seconds after which it is killed if it owes an answer. program: its module. environment: its further variables.
    """

    def __init__(
        self, name: str, job: Path | str, patience: float = 600, program: str = PROGRAM, **environment: str
    ) -> None:
        self.name, self.job, self.environment = name, job, environment
        self.patience, self.program = patience, program
        self.process: Any = None
        self.told: dict[str, Any] = {}
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115

    def __enter__(self) -> "Contestant":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def launch(self, ahead: bool = True) -> None:
        """Start the process; ahead of its turn, it waits before it compiles."""
        # The others run without our settings, but all use oneDNN's convolutions.
        ours = self.name in (OURS, CEILING)
        own = large_pages() if ours else {"TF_CPU_ALLOCATOR_USE_BFC": "false", "TF_DETERMINISTIC_OPS": "0"}
        began = AHEAD if ahead else str(time.time())
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.program, self.name, str(self.job), began],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment(**own, **self.environment),
        )

    def start(self) -> dict[str, Any]:
        """Have it compile, in its process or a new one; returns what it measured while starting."""
        if self.process:
            self._say_go()
        else:
            self.launch(ahead=False)
        self.told = self._answer()
        return self.told

    def go(self) -> dict[str, Any]:
        """Have it train a round; returns the seconds per step. Raises RunError if the process has failed."""
        self._say_go()
        return self._answer()

    def end(self) -> dict[str, Any]:
        """End it; returns everything it has measured."""
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        return {**self.told, **self._answer()}

    def _say_go(self) -> None:
        with suppress(BrokenPipeError):  # a process that is gone gives no answer
            self.process.stdin.write("go\n")
            self.process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        killer = threading.Timer(self.patience, self.process.kill)
        killer.start()
        try:
            for line in self.process.stdout:
                if line.startswith("{"):  # libraries may print as well
                    return json.loads(line)
        finally:
            killer.cancel()
        self.errors.seek(0)
        raise RunError(f"bench: {self.name} failed (exit status {self.process.wait()}): {self.errors.read()[-600:]}")


def _short(seconds: float) -> str:
    return f"{seconds:7.3f} s " if seconds >= 0.1 else f"{1000 * seconds:7.2f} ms"


def _median_ratio(values: Sequence[float], others: Sequence[float]) -> float:
    return float(np.median([value / other for value, other in zip(values, others, strict=True)]))
