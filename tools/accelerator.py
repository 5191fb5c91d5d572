"""The training step on a GPU: today's and each candidate for a faster one, and what it spends its time on.

`KERAS_BACKEND=jax python -m tools.accelerator --json FILE` measures, in this order: the peak matrix rate; today's step; all
candidates (`tools.candidates.Candidates`) together; each alone; a bare Keras `fit` and the plain script; compiler
flags with all candidates; further rounds of all of these, in turns; time by operation; the shallow network of the
ladder beyond; and the time from a process's start to its first result. The file is written after every measurement, and at all
times whole: if time runs out, what has been measured is kept. A contestant that fails or hangs is noted and left out.

Each contestant has a process of its own (`tools.candidates.contestant`), started ahead of its turn and kept alive; all share
JAX's folder of compiled programs, except those with flags: XLA may keep its choice of algorithms regardless of flags.
Only `--quick`, for a trial on a CPU, changes the networks.

Left out, as they cannot pay on an H100: NCHW layouts (XLA lays bfloat16 convolutions out as NHWC itself, whatever the
program says), the latency-hiding scheduler (it overlaps communication between GPUs), bfloat16 for Adam's second moment or
the sigmoids (it changes the results), and a copy of the dense layer's weights in bfloat16 (writing it costs what reading it
saves).
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lfwstudy.bench import BARE, CEILING, OURS, PLAIN
from lfwstudy.bench.measure import Contestant
from lfwstudy.config import PRECISIONS, RunConfig
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import ConfigError, RunError, StudyError, one_line
from lfwstudy.ladder import LADDERS
from lfwstudy.network.cost import tower_cost
from lfwstudy.system.backend import keras_backend
from lfwstudy.system.files import check_target, write_json
from lfwstudy.system.machine import cpu_name, versions
from lfwstudy.system.precision import resolve_precision
from tools.candidates import Candidates

Show = Callable[[str], Any]
ROUNDS = 5
SECONDS = 280
# A contestant that hangs must not use up the rest's time; compiling the full network takes much less.
PATIENCE = 120
TODAY, ALL = "today", "all candidates"
CANDIDATES = tuple(Candidates.names())
# As `tools/on_accelerator.sh` trains, and what XLA does not try by itself.
FLAGS = {
    "reproducible": "--xla_gpu_exclude_nondeterministic_ops=true",
    "no command buffers": "--xla_gpu_enable_command_buffer=",
    "no Triton products": "--xla_gpu_enable_triton_gemm=false",
    "convolution fusions": "--xla_gpu_experimental_enable_conv_fusion=true",
}
_QUICK = {"model.width": 0.05, "data.side": 69, "training.batch_size": 4}
_QUICK_SMALL = {"model.width": 0.1, "data.side": 32, "training.batch_size": 16}


@dataclass(frozen=True)
class Entry:
    """A contestant: its title, its way to train (of `lfwstudy.bench`), candidates, and compiler flags."""

    title: str
    name: str = OURS
    candidates: tuple[str, ...] = ()
    flags: str = ""


def entries() -> list[Entry]:
    """All contestants with the full network, those that matter most first."""
    alone = [Entry(name, candidates=(name,)) for name in CANDIDATES if name != "one_validation"]  # not part of a step
    with_flags = [Entry(f"{ALL}, {title}", candidates=CANDIDATES, flags=flags) for title, flags in FLAGS.items()]
    both = [Entry(TODAY), Entry(ALL, candidates=CANDIDATES)]
    as_studies = Entry(f"{TODAY}, reproducible", flags=FLAGS["reproducible"])
    return [*both, *alone, Entry(BARE, BARE), Entry(PLAIN, PLAIN), as_studies, *with_flags]


class Measurement:
    """What has been measured so far, always whole in a file."""

    def __init__(self, path: Path, show: Show, seconds: float) -> None:
        self.path, self.show, self.began, self.patience = path, show, time.monotonic(), seconds
        self.content: dict[str, Any] = {"finished": False}
        self.cut_short = False

    def note(self, line: str, **content: Any) -> None:
        """Keep content and show a line on it."""
        elapsed = time.monotonic() - self.began
        self.content |= content | {"seconds": round(elapsed, 1)}
        write_json(self.path, self.content)
        self.show(f"{elapsed:4.0f} s  {line}")

    def over(self) -> bool:
        """Whether time has run out: then nothing more is begun, and the measurement is cut short."""
        self.cut_short |= time.monotonic() - self.began > self.patience
        return self.cut_short


class Contest:
    """Contestants with one network, in turns."""

    def __init__(self, kind: str, config: RunConfig, precision: str, folder: Path, measurement: Measurement) -> None:
        self.kind, self.config, self.precision, self.folder = kind, config, precision, folder
        self.measurement = measurement
        pairs = config.training.batch_size
        self.gflop = 6 * 2 * pairs * tower_cost(config.model, config.data.side)[0] / 1e9
        self.rows: dict[str, dict[str, Any]] = {}
        measurement.content[kind] = self.rows

    def contestant(self, entry: Entry, stack: ExitStack) -> Contestant:
        """An entry's contestant, ended with the stack."""
        job = self.folder / f"{self.kind}-{len(list(self.folder.glob('*.json')))}.json"
        asked = {"precision": self.precision, "candidates": entry.candidates, "config": self.config.to_dict()}
        write_json(job, asked)
        own = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {entry.flags}"}
        if entry.flags:
            own["JAX_COMPILATION_CACHE_DIR"] = str(job.with_suffix(".programs"))
        return stack.enter_context(Contestant(entry.name, job, PATIENCE, "tools.candidates.contestant", **own))

    def begin(self, some: Sequence[Entry], stack: ExitStack) -> dict[str, Contestant]:
        """Start each, the next one ahead, and train a round; returns those that run."""
        found = [self.contestant(entry, stack) for entry in some]
        running = {}
        for at, (entry, contestant) in enumerate(zip(some, found, strict=True)):
            if self.measurement.over():
                break
            for waiting in found[at : at + 2]:
                if waiting.process is None:
                    waiting.launch()
            row: dict[str, Any] = {"candidates": list(entry.candidates), "flags": entry.flags, "step_seconds": []}
            self.rows[entry.title] = row
            row |= self._answer(entry.title, contestant.start)
            if "failed" not in row and self.round(entry.title, contestant):
                running[entry.title] = contestant
        return running

    def round(self, title: str, contestant: Contestant) -> bool:
        """Train a round; returns whether the contestant did so."""
        row, told = self.rows[title], self._answer(title, contestant.go)
        if "failed" in told:
            row |= told
            return False
        row["step_seconds"].append(told["step_seconds"])
        row |= self._ratios(row)
        words = [f"{self.kind}, {title:34s} {1000 * row['median']:9.3f} ms"]
        words += [f"{100 * row['share_of_peak']:5.1f} % of peak"] if "share_of_peak" in row else []
        words += [f"{row['times_today']:.3f} of today's"] if "times_today" in row else []
        self.measurement.note("  ".join(words))
        return True

    def end(self, title: str, contestant: Contestant) -> None:
        """Have a contestant measure the rest: validation, and time by operation."""
        row = self.rows[title]
        row |= self._answer(title, contestant.end)
        if "failed" in row:
            return
        self.measurement.note(
            f"{self.kind}, {title}: validation {1000 * row['validation_seconds']:.1f} ms; by operation:"
        )
        for line in row["operations"][:12]:
            self.measurement.show(f"{100 * line['share']:11.1f} %  {line['calls']:6d}  {line['operation']}")

    def _ratios(self, row: dict[str, Any]) -> dict[str, float]:
        """Of its rounds: the median, its share of the peak rate, and its ratio to today's step in the same rounds."""
        median, peak = float(np.median(row["step_seconds"])), self.measurement.content.get("peak_gflops", {})
        found = {"median": median}
        if self.precision in peak:
            found["share_of_peak"] = round(self.gflop / median / peak[self.precision], 4)
        if today := self.rows.get(TODAY, {}).get("step_seconds"):
            ratios = [own / other for own, other in zip(row["step_seconds"], today)]
            found["times_today"] = round(float(np.median(ratios)), 4)
        return found

    def _answer(self, title: str, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A contestant's answer; `failed` and why if it gives none."""
        try:
            return ask()
        except RunError as error:
            self.measurement.note(f"{self.kind}, {title} failed: {one_line(error)[-200:]}")
            return {"failed": one_line(error)[:600]}


def measure(path: Path, show: Show, precision: str, quick: bool, seconds: float) -> dict[str, Any]:
    """Measure all; returns the file's content."""
    full = RunConfig().change(_QUICK if quick else {})
    small = RunConfig().change({**_shallow(), "data.dataset": "demo", **(_QUICK_SMALL if quick else {})})
    for config in (full, small):
        prepare_bank(config.data)  # drawn before any clock runs
        load_pairs(config.data)
    measurement = Measurement(path, show, seconds)
    about: dict[str, Any] = {"machine": cpu_name(), "versions": versions(), "precision": precision}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        contest = Contest("full network", full, precision, folder, measurement)
        ceiling = contest.contestant(Entry(CEILING, CEILING), stack)
        peak = ceiling.start()
        rates = ", ".join(f"{kind} {gflops:,.0f}" for kind, gflops in peak["gflops"].items())
        about |= {"device": peak["device"], "peak_gflops": peak["gflops"], "step_gflop": round(contest.gflop, 1)}
        measurement.note(f"{peak['device']}; peak matrix rate in GFLOP/s: {rates}", **about)
        running = contest.begin(entries(), stack)
        rounds(contest, running, 1 if quick else ROUNDS)
        for title in (TODAY, ALL):
            if title in running and not measurement.over():
                contest.end(title, running[title])
        both = entries()[:2]
        other = Contest("shallow network", small, precision, folder, measurement)
        rounds(other, other.begin(both, stack), 1 if quick else ROUNDS)
        starts(contest, [*both, Entry(BARE, BARE)])
    whole = not measurement.cut_short
    measurement.note("finished" if whole else "time has run out: the rest is not measured", finished=whole)
    return measurement.content


def rounds(contest: Contest, running: dict[str, Contestant], count: int) -> None:
    """The rounds after the first one, in turns."""
    for _ in range(count - 1):
        for title, contestant in list(running.items()):
            if contest.measurement.over() or not contest.round(title, contestant):
                del running[title]


def starts(contest: Contest, some: Sequence[Entry]) -> None:
    """Seconds from a process's start to its first step and its result, nothing else running, programs compiled before."""
    found: dict[str, dict[str, float]] = {}
    for entry in some:
        if contest.measurement.over() or "failed" in contest.rows.get(entry.title, {"failed": "not begun"}):
            continue
        with ExitStack() as stack:
            found[entry.title] = told = contest.contestant(entry, stack).start()
        line = (
            f"{told['first_step_seconds']:.1f} s to the first step, {told['first_result_seconds']:.1f} s to its result"
        )
        contest.measurement.note(f"start, {entry.title}: {line}", starts=found)


def _shallow() -> dict[str, Any]:
    """The shallow network of the ladder beyond, on the pairs' images."""
    stage = next(stage for stage in LADDERS["beyond"].stages if stage.id == "shallow")
    return dict(stage.variants[0].changes)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", required=True, type=Path, metavar="FILE", help="file for the result")
    parser.add_argument("--precision", default="auto", choices=("auto", *PRECISIONS), help="of the convolutions")
    parser.add_argument("--seconds", default=SECONDS, type=float, metavar="N", help="begin nothing after so many")
    parser.add_argument("--quick", action="store_true", help="slivers of the networks, one round: on a processor")
    options = parser.parse_args(arguments)

    def show(line: str) -> None:
        print(line, flush=True)

    try:
        if keras_backend() != "jax":
            raise ConfigError("the candidates are JAX's: set KERAS_BACKEND=jax")
        check_target(options.json)
        precision = resolve_precision(options.precision)
        found = measure(options.json, show, precision, options.quick, options.seconds)
    except StudyError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0 if found["finished"] else 1


if __name__ == "__main__":
    sys.exit(main())
