"""Many runs: a large store opens, tabulates and renders in time and memory; many seeds do not make the parent grow."""

import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from lfwstudy.system.files import read_csv
from tests.support.commands import COMMAND, python
from tests.support.runs import fill

TABULATE = """
import sys
from lfwstudy.study.study import open_study
study = open_study(sys.argv[1])[0]
study.set_aside_damaged(print)
study.write_results()
"""


# A separate process, so that its largest child is the command's and no other test's.
MEASURE = """import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
assert done.returncode == 0, done.stderr[-3000:]
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss, used.ru_utime + used.ru_stime)"""


def timed(arguments, limit):
    """Seconds and peak memory in MiB, of the largest process, of a command that succeeds; prints its processor time."""
    began = time.monotonic()
    done = python(MEASURE, sys.executable, *arguments, timeout=limit)
    assert done.returncode == 0, done.stderr[-3000:]
    memory, seconds = done.stdout.split()
    print(f"processor time {float(seconds):.1f} s", flush=True)
    return time.monotonic() - began, int(memory) / 1024


@pytest.mark.long
def test_a_thousand_runs_are_tabulated_in_little_memory(tmp_path):
    count = fill(tmp_path, 70)
    seconds, memory = timed(["-c", TABULATE, tmp_path], 100)
    assert len(read_csv(tmp_path / "results.csv")) == count >= 1000
    print(f"{count} runs: {seconds:.1f} s, {memory:,.0f} MiB")
    assert memory < 500


@pytest.mark.long
def test_ten_thousand_runs_are_tabulated_and_rendered(tmp_path):
    count = fill(tmp_path, 667)
    seconds, memory = timed(["-c", TABULATE, tmp_path], 600)
    print(f"{count} runs tabulated: {seconds:.1f} s, {memory:,.0f} MiB", flush=True)
    assert len(read_csv(tmp_path / "results.csv")) == count >= 10_000
    assert seconds < 20 and memory < 2000
    seconds, memory = timed(["-m", "lfwstudy", "report", "--out", tmp_path], 1800)
    size = (tmp_path / "report.html").stat().st_size / 2**20
    print(f"rendered: {seconds:.1f} s, {memory:,.0f} MiB, {size:.1f} MiB of HTML", flush=True)
    assert seconds < 180 and memory < 2000 and size < 50


def resident(process):
    """Resident memory in MiB, 0 for a process that is over."""
    try:
        return process.memory_info().rss / 2**20
    except psutil.NoSuchProcess:
        return 0


@pytest.mark.long
@pytest.mark.parametrize("stand_in", ["1", ""], ids=["stand-ins", "trained"])
def test_a_hundred_seeds_do_not_make_their_parents_grow(tmp_path, stand_in):
    """The command, papermill, and the kernel that starts the hundred processes, which train or copy another's run."""
    options = ("--profile", "speck", "--stages", "base", "--seeds", "100", "--precision", "float32", "--keep", "none")
    command = [*COMMAND, "run", *options, "--out", str(tmp_path / "out")]
    sizes = {"command": {}, "papermill": {}, "kernel": {}}
    with open(tmp_path / "log", "w+") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "LFWSTUDY_TEST_STAND_IN": stand_in}
        )
        while process.poll() is None:
            finished = len(list(tmp_path.glob("out/runs/*/result.json")))
            for role, parent in parents(process, "01_stage-base").items():
                sizes[role].setdefault(finished, []).append(resident(parent))
            time.sleep(0.2)
        log.seek(0)
        assert process.returncode == 0, log.read()
    assert len(read_csv(tmp_path / "out" / "results.csv")) == 100
    for role, measured in sizes.items():
        early, late = (
            np.median([size for done in span for size in measured.get(done, [])])
            for span in (range(10, 30), range(80, 100))
        )
        print(f"{role}: {early:.1f} MiB after ten to thirty runs, {late:.1f} MiB after eighty", flush=True)
        assert late - early < 5


HAND_OUT = """
import sys
import psutil
from lfwstudy.runs.dispatch import run
from tools.stand_in import jobs
for job in jobs(sys.argv[1], 300, pause=0):
    assert not run([job], show=len)
    print(psutil.Process().memory_info().rss / 2**20, flush=True)
"""


@pytest.mark.long
def test_handing_out_runs_does_not_make_a_process_grow(tmp_path):
    """Three hundred processes that stand in for trainings, started and waited for one after the other."""
    done = python(HAND_OUT, tmp_path, timeout=3000)
    assert done.returncode == 0, done.stderr[-3000:]
    sizes = [float(line) for line in done.stdout.split()]
    print(f"{sizes[49]:.2f} MiB after 50 runs, {sizes[-1]:.2f} MiB after {len(sizes)}", flush=True)
    assert len(sizes) == 300 and sizes[-1] - sizes[49] < 1


def parents(process, page):
    """Of a study's command: itself, and the processes that execute a page's notebook, by what they are."""
    found = {"command": psutil.Process(process.pid)}
    try:
        for child in found["command"].children():
            if child.cmdline()[-1].endswith(f"/{page}.json"):
                found["papermill"] = child
                kernels = [kernel for kernel in child.children() if "ipykernel_launcher" in kernel.cmdline()]
                found |= {"kernel": kernels[-1]} if kernels else {}
    except (psutil.NoSuchProcess, IndexError):
        pass
    return found
