"""A killed study resumes to the numbers of an uninterrupted one; two studies do not harm each other."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lfwstudy.system.files import read_csv, read_json
from lfwstudy.training.recorder import RESUME_EPOCHS
from tests.support.commands import COMMAND, study_in

# What is waited for comes when the machine has got to it; a test that waits longer than this has failed.
DEADLINE = 600
# A study of one run without notebooks: what a kill can hit in seconds.
BRIEF = """
import sys
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
study = Study(Settings(dataset="lfw-a", data_dir=sys.argv[1], out=sys.argv[2], stages="base", precision="float32"))
study.set_aside_damaged(print)
study.ask(["base"])
rungs = study.climb(train=True)
study.write_results()
sys.exit(0 if rungs[-1].complete() else 1)
"""
TIMES = {"seconds", "seconds_per_epoch", "seconds_total", "seconds_to_best", "peak_memory_mb"}


def brief(faces, out):
    return [sys.executable, "-c", BRIEF, str(faces), str(out)]


def command(faces, out, stages):
    """The whole command on the small drawn data set: notebooks and report."""
    return [*COMMAND, *study_in(faces, out, "--profile", "tiny", "--stages", stages)]


def start(arguments, log):
    """A study in its own session, as started by a terminal."""
    return subprocess.Popen(arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


def numbers(out):
    """All that a study measured, but the times."""

    def without(path):
        return [{key: value for key, value in row.items() if key not in TIMES} for row in read_csv(path)]

    runs = sorted(p.name for p in (out / "runs").iterdir() if (p / "result.json").exists())
    return without(out / "results.csv"), {
        run: (without(out / "runs" / run / "history.csv"), (out / "runs" / run / "predictions.csv").read_text())
        for run in runs
    }


def tree(process):
    """A process with all it started, itself first."""
    try:
        return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def end(process, how, rng):
    """End a study in one of the ways that the world knows; returns who was hit, for the log."""
    processes = tree(process)
    if not processes:
        return "nobody: it was over"
    if how == "one process killed":
        victim = rng.choice(processes)
    elif how == "machine gone":
        victim = None
        for each in processes:
            _signal(each, signal.SIGKILL)
    else:
        victim = processes[0]
    if how == "one process killed":
        told = " ".join(victim.cmdline()[-3:]) if victim.is_running() else "one that was over"
        _signal(victim, signal.SIGKILL)
        return told
    if how == "terminated":
        _signal(victim, signal.SIGTERM)
    elif how == "Ctrl-C":  # goes to all of a terminal's foreground group
        os.killpg(process.pid, signal.SIGINT)
    return how


def _signal(process, number):
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        pass


def wait_for_all(process, processes):
    """Wait until a study and all that it started is over; what does not end by itself is a failure."""
    process.wait(DEADLINE)
    _, alive = psutil.wait_procs(processes, timeout=DEADLINE)
    for each in alive:
        each.kill()
    assert not alive, f"left running: {alive}"


def no_file_is_half_written(out):
    """What a reader finds at any moment can be read, or is gone."""
    for path in Path(out).rglob("*"):
        if not path.name.startswith(".") and path.is_file():
            try:
                _read(path)
            except FileNotFoundError:
                pass


def _read(path):
    if path.suffix in (".json", ".ipynb"):
        read_json(path)
    elif path.suffix == ".csv":
        rows = read_csv(path)
        assert (rows or path.name == "results.csv") and all(
            None not in row and None not in row.values() for row in rows
        ), path
    elif path.suffix == ".html":
        assert path.read_text().rstrip().endswith("</html>"), path


HOW = ["one process killed", "machine gone", "Ctrl-C", "terminated"]


@pytest.mark.long
def test_three_kills_change_nothing(faces, tmp_path):
    with open(tmp_path / "log", "w+") as log:
        assert start(brief(faces, tmp_path / "whole"), log).wait(DEADLINE) == 0, (tmp_path / "log").read_text()
        out, rng = tmp_path / "killed", random.Random(1)
        for how, epochs in (("one process killed", 1), ("machine gone", 6), ("terminated", 11)):
            process = start(brief(faces, out), log)
            until = time.monotonic() + DEADLINE
            while (
                process.poll() is None
                and time.monotonic() < until
                and max((len(read_csv(p)) for p in out.glob("runs/*/history.csv")), default=0) < epochs
            ):
                no_file_is_half_written(out)  # nor for those who read while it runs
                time.sleep(0.02)
            processes = tree(process)
            end(process, how, rng)
            no_file_is_half_written(out)
            wait_for_all(process, processes)
        run, epochs = next(iter(_epochs(out).items()))
        assert start(brief(faces, out), log).wait(DEADLINE) == 0, (tmp_path / "log").read_text()
    assert numbers(out) == numbers(tmp_path / "whole")
    first = re.search(r"epoch +([0-9]+)/", (out / "runs" / run / "log.txt").read_text())
    assert int(first[1]) > epochs - RESUME_EPOCHS, "more than one period was trained again"


# What 25 kills of three studies hit, in the order in which a study comes by: what runs, or the page whose notebook is
# executed. Ways to end a study are dealt out by chance.
ONE_STAGE = ("00_data", "training", "checkpointing", "evaluation", "01_stage-base", "02_report", "rendering")
TWO_STAGES = (
    "checkpointing",
    "training",
    "evaluation",
    "01_stage-base",
    "training",
    "checkpointing",
    "training",
    "checkpointing",
    "01_stage-early-stopping",
    "02_report",
    "rendering",
)
# A kill comes so many seconds at most after its moment began: where in it is left to chance.
SECONDS = {"training": 0.5, "checkpointing": 0, "evaluation": 0.5, "rendering": 1.5}


@pytest.mark.long
@pytest.mark.parametrize(
    "number, stages, moments", [(1, "base", ONE_STAGE), (2, "base", ONE_STAGE), (3, "early-stopping", TWO_STAGES)]
)
def test_twenty_five_kills_at_random_moments_change_nothing(faces, tmp_path, number, stages, moments):
    """The whole command, notebooks and report included. What was hit is printed (pytest -s)."""
    rng = random.Random(10 * int(os.environ.get("LFWSTUDY_KILL_SEED", "1")) + number)
    ways = (HOW * len(moments))[: len(moments)]
    rng.shuffle(ways)
    whole, studies, complete = tmp_path / "whole", 1, False
    with open(tmp_path / "log", "w+") as log:
        assert start(command(faces, whole, stages), log).wait(DEADLINE) == 0, (tmp_path / "log").read_text()
        for kill, (moment, how) in enumerate(zip(moments, ways)):
            hit = False
            while not hit:
                studies += (
                    complete  # it ended before the moment, or only a process that ends by itself was hit: start over
                )
                assert studies <= len(moments), f"never came by {moment}"
                out = tmp_path / f"killed-{studies}"
                before, since, process = _epochs(out), time.time(), start(command(faces, out, stages), log)
                if hit := _wait_for(moment, process, out, since):
                    time.sleep(rng.uniform(0, SECONDS.get(moment, 3)))
                    processes = tree(process)
                    print(
                        f"kill {kill + 1}, {moment}: {how}: {end(process, how, rng)}; epochs {_epochs(out)}", flush=True
                    )
                    no_file_is_half_written(out)
                    wait_for_all(process, processes)
                _repeats_no_more_than_a_period(out, before, since)
                complete = process.wait(DEADLINE) == 0
                assert not complete or numbers(out) == numbers(whole)
        assert start(command(faces, out, stages), log).wait(DEADLINE) == 0, (tmp_path / "log").read_text()
    assert numbers(out) == numbers(whole)
    page = (out / "report.html").read_text()
    assert "Traceback" not in page and 'class="gap"' not in page


def _wait_for(moment, process, out, since):
    """Wait until a study comes by a moment; False where it is over first."""
    until = time.monotonic() + DEADLINE
    while process.poll() is None and time.monotonic() < until:
        if _is_at(moment, process, out, since):
            return True
        time.sleep(0.0005 if moment == "checkpointing" else 0.02)
    return False


def _is_at(moment, process, out, since):
    """Whether a study that was started at the time `since` is at a moment."""
    if moment == "checkpointing":
        return bool(_newer(since, *out.glob("runs/*/.lfwstudy-*.npz"), *out.glob("runs/*/.lfwstudy-*.h5")))
    if moment in ("training", "evaluation"):
        lines = r"epoch +([0-9]+)/\1 " if moment == "evaluation" else "epoch "
        return any(
            re.search(lines, log.read_text()) and not (log.parent / "result.json").exists()
            for log in _newer(since, *out.glob("runs/*/log.txt"))
        )
    running = [" ".join(line) for line in map(_command_line, tree(process))]
    if moment == "rendering":
        return bool(_newer(since, out / "notebooks" / "02_report.ipynb")) and not any(
            "lfwstudy.report.notebooks" in line for line in running
        )
    return (
        any(line.endswith(f"/{moment}.json") for line in running)
        and any("ipykernel" in line for line in running)
        and not any("lfwstudy.runs.training_process" in line for line in running)
    )


def _newer(since, *paths):
    found = []
    for path in paths:
        try:
            found += [path] if path.stat().st_mtime > since else []
        except FileNotFoundError:
            pass
    return found


def _command_line(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _repeats_no_more_than_a_period(out, before, since):
    """Runs resumed after the time `since` repeat at most one period of epochs."""
    for log in _newer(since, *out.glob("runs/*/log.txt")):
        first = re.search(r"epoch +([0-9]+)/", log.read_text())
        if first and log.parent.name in before:
            assert int(first[1]) > before[log.parent.name] - RESUME_EPOCHS, (
                f"{log}: more than one period was trained again"
            )


def _epochs(out):
    return {path.parent.name: len(read_csv(path)) for path in out.glob("runs/*/history.csv")}
