"""A study that is killed goes on to the numbers of one that was not; two studies do each other no harm."""

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

from lfwstudy.callbacks import RESUME_EPOCHS
from lfwstudy.files import read_csv, read_json

# A study of one run without notebooks: what a kill can hit in seconds.
BRIEF = """
import sys
from lfwstudy.study import Settings, Study
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


def command(faces, out):
    """The whole command on the small drawn data set: two stages, notebooks and report."""
    return [sys.executable, "-m", "lfwstudy.cli", "run", "--dataset", "lfw-a", "--data-dir", str(faces), "--stages",
            "early-stopping", "--precision", "float32", "--out", str(out)]


def start(arguments, log):
    """A study in a session of its own, as a terminal starts it."""
    return subprocess.Popen(arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


def numbers(out):
    """All that a study measured, but the times."""
    def without(path):
        return [{key: value for key, value in row.items() if key not in TIMES} for row in read_csv(path)]
    runs = sorted(p.name for p in (out / "runs").iterdir() if (p / "result.json").exists())
    return without(out / "results.csv"), {run: (without(out / "runs" / run / "history.csv"),
                                                (out / "runs" / run / "predictions.csv").read_text()) for run in runs}


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


def wait_for_all(process, processes, seconds):
    """Wait until a study and all that it started is over; what does not end by itself is a failure."""
    process.wait(seconds)
    _, alive = psutil.wait_procs(processes, timeout=60)
    for each in alive:
        each.kill()
    assert not alive, f"left running: {alive}"


def no_file_is_half_written(out):
    """What a reader finds at any moment can be read."""
    for path in Path(out).rglob("*"):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix in (".json", ".ipynb"):
            read_json(path)
        elif path.suffix == ".csv":
            rows = read_csv(path)
            assert (rows or path.name == "results.csv") and all(None not in row and None not in row.values() for row in rows), path
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>"), path


HOW = ["one process killed", "machine gone", "Ctrl-C", "terminated"]


def test_three_kills_change_nothing(faces, tmp_path):
    with open(tmp_path / "log", "w+") as log:
        assert start(brief(faces, tmp_path / "whole"), log).wait(200) == 0, (tmp_path / "log").read_text()
        out, rng = tmp_path / "killed", random.Random(1)
        for how, epochs in (("one process killed", 1), ("machine gone", 6), ("terminated", 11)):
            process = start(brief(faces, out), log)
            until = time.monotonic() + 100
            while process.poll() is None and time.monotonic() < until and \
                    max((len(read_csv(p)) for p in out.glob("runs/*/history.csv")), default=0) < epochs:
                time.sleep(0.05)
            processes = tree(process)
            end(process, how, rng)
            no_file_is_half_written(out)
            wait_for_all(process, processes, 100)
        run, epochs = next(iter(_epochs(out).items()))
        assert start(brief(faces, out), log).wait(200) == 0, (tmp_path / "log").read_text()
    assert numbers(out) == numbers(tmp_path / "whole")
    first = re.search(r"epoch +([0-9]+)/", (out / "runs" / run / "log.txt").read_text())
    assert int(first[1]) > epochs - RESUME_EPOCHS, "more than one period was trained again"


@pytest.mark.long
def test_twenty_five_kills_at_random_moments_change_nothing(faces, tmp_path):
    """The whole command, notebooks and report included. What was hit is printed (pytest -s)."""
    rng = random.Random(int(os.environ.get("LFWSTUDY_KILL_SEED", "1")))
    began = time.monotonic()
    with open(tmp_path / "log", "w+") as log:
        assert start(command(faces, tmp_path / "whole"), log).wait(600) == 0, (tmp_path / "log").read_text()
        took = time.monotonic() - began
        studies, kills, out = 1, 0, tmp_path / "killed-1"
        while kills < 25:
            process = start(command(faces, out), log)
            try:
                process.wait(rng.uniform(0, 0.8 * took))
            except subprocess.TimeoutExpired:
                processes, how = tree(process), rng.choice(HOW)
                epochs = _epochs(out)
                told = end(process, how, rng)
                kills += 1
                print(f"kill {kills}: {how}: {told}; epochs before: {epochs}", flush=True)
                no_file_is_half_written(out)
                wait_for_all(process, processes, 600)
            if process.returncode == 0:  # over before it could be killed, or only its last pages were hit
                assert numbers(out) == numbers(tmp_path / "whole")
                studies, out = studies + 1, tmp_path / f"killed-{studies + 1}"
        assert start(command(faces, out), log).wait(600) == 0, (tmp_path / "log").read_text()
        assert numbers(out) == numbers(tmp_path / "whole")
        assert "Traceback" not in (out / "report.html").read_text() and 'class="gap"' not in (out / "report.html").read_text()
    print(f"{kills} kills in {studies} studies", flush=True)


def _epochs(out):
    return {path.parent.name: len(read_csv(path)) for path in out.glob("runs/*/history.csv")}
