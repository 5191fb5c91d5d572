"""How are runs trained? Each configuration in a process of its own, handed to a concurrent.futures executor."""

import csv
import html
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from lfwstudy.errors import ConfigError, RunError
from lfwstudy.runs import forked
from lfwstudy.system.files import read_csv, write_json
from lfwstudy.system.machine import cores, usable_cores
from lfwstudy.system.processes import environment, large_pages
from lfwstudy.system.text import clock

# A process that takes longer to end than this after being asked is killed.
_GRACE_SECONDS = 10
_POLL_SECONDS = 0.2
# Less free space than this is a full disk: not even a log fits.
_FULL_BYTES = 64 << 10


def run(jobs, cluster="", show=None):
    """Train jobs, each in a process of its own; returns {run: message} of those that failed.

    jobs: dicts as train.main reads them, with `title`, `epochs` and `threads`: 0 where a run takes the whole machine and
    runs alone, else the number of threads it computes with; as many run at once, in this order, as there are cores for.
    show: called with a line on how far it is. One run's failure does not stop the others. cluster: hands them to the
    cluster there.
    """
    if cluster:
        return load_cluster().run(jobs, cluster, show)
    failures, started, children = {}, time.monotonic(), _Children()
    before = sum(len(_history(Path(job["folder"]))) for job in jobs)
    waiting, running, there = deque(jobs), {}, cores()

    def need(job):
        return min(job["threads"] or there, there)

    with ThreadPoolExecutor(there) as pool:
        try:
            while waiting or running:
                while waiting and need(waiting[0]) <= there - sum(map(need, running.values())):
                    job = waiting.popleft()
                    running[pool.submit(train_in_process, job, children)] = job
                for future in wait(running, _POLL_SECONDS, FIRST_COMPLETED).done:
                    job = running.pop(future)
                    if future.exception():
                        failures[job["run"]] = f"{job['title']}: {future.exception()}"
                if show and (waiting or running):
                    show(progress(jobs, started, failures, before))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            children.stop()
            raise
    if show:
        done = len(jobs) - len(failures)
        show(
            f"{done} run{'s' if done != 1 else ''} trained in {clock(time.monotonic() - started)}"
            + (f", {len(failures)} failed." if failures else ".")
        )
    return failures


def check_cluster(address: str) -> str:
    """Raise ConfigError unless `address` has a form that --cluster takes; needs nothing of Dask."""
    form = r"(tcp|tls)://(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})|local:[1-9][0-9]{0,2}"
    matched = re.fullmatch(form, address)
    if not matched or not 0 < int(matched["port"] or 1) < 65536:
        raise ConfigError(
            f"--cluster must be tcp://HOST:PORT, tls://HOST:PORT or local:N (N workers on this machine), got "
            f"{address[:80]!r}"
        )
    return address


def load_cluster():
    """The module `cluster`. Raises ConfigError where Dask is not installed: it is needed for --cluster alone."""
    try:
        from lfwstudy.runs.cluster import client
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("distributed", "dask"):
            raise
        raise ConfigError(
            f"--cluster needs the package {error.name}, which is not installed here: pip install 'lfwstudy[cluster]'"
        ) from None
    return client


def train_in_process(job, children=None, watch=None):
    """Run one job in a fresh Python process, or in one forked from a server; its output goes to log.txt in the run's folder.

    watch: called with the process, to return when it has ended; what it raises ends the process. Raises RunError with
    the end of the log, and the exit status as `status`, where the process fails. The process ends when this one does.
    """
    folder = Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "job.json", {**job, "ends_with_parent": True})
    limits = _thread_limits(job["threads"])
    (folder / "log.txt").unlink(missing_ok=True)  # a link in a folder from elsewhere is not written through
    with open(folder / "log.txt", "x", encoding="utf-8") as log:
        if watch is None and forked.pays(job):
            process = forked.Forked(folder / "job.json", log, limits)
        else:
            process = subprocess.Popen(
                [sys.executable, "-m", job.get("program", "lfwstudy.runs.training_process"), str(folder / "job.json")],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment(**{**large_pages(), **limits, **job.get("environment", {})}),
            )
        if children:
            children.add(process)
        try:
            if watch:
                watch(process)
            status = process.wait()
        except BaseException:
            end(process)
            raise
    if status:
        error = RunError(_explain(status, folder / "log.txt"))
        error.status = status
        raise error
    (folder / "job.json").unlink(missing_ok=True)


def progress(jobs, started, failures=(), before=0):
    """One line on how far some jobs are, read from their histories: runs done, the current one, time left.

    before: epochs that were there already when the jobs started.
    """
    total = sum(job["epochs"] for job in jobs)
    done, finished, current = 0.0, 0, ""
    for job in jobs:
        folder = Path(job["folder"])
        if (folder / "result.json").exists() or job["run"] in failures:
            done, finished = done + job["epochs"], finished + 1
            continue
        rows = _history(folder)
        done += len(rows)
        if rows or (folder / "job.json").exists():
            last = f", validation accuracy {rows[-1]['val_accuracy']}" if rows else ""
            current += f"; {job['title']}: epoch {len(rows)} of at most {job['epochs']}{last}"
    spent = time.monotonic() - started
    left = f"; at most {clock(spent / (done - before) * (total - done))} left" if before < done < total else ""
    return f"{finished} of {len(jobs)} runs done{current}; {clock(spent)} so far{left}"


def end(process):
    """End a process: asked first, killed where it does not listen."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Progress:
    """A line of text in a notebook or terminal that is replaced as work goes on, and ends as plain text."""

    def __init__(self):
        self.text, self.handle = "", None

    def __enter__(self):
        return self

    def show(self, text):
        """Replace the line."""
        if text == self.text:
            return
        from IPython.display import DisplayHandle, Markdown

        self.text = text
        line = Markdown(html.escape(text, quote=False))  # it may tell what stood in a file
        if self.handle is None:
            self.handle = DisplayHandle()
            self.handle.display(line)
        else:
            self.handle.update(line)

    def __exit__(self, *error):
        pass


class _Children:
    """The processes started so far, to be stopped together."""

    def __init__(self):
        self.processes, self.lock, self.stopped = [], threading.Lock(), False

    def add(self, process):
        with self.lock:
            self.processes.append(process)
            if self.stopped:
                process.terminate()

    def stop(self):
        with self.lock:
            self.stopped = True
            for process in self.processes:
                if process.poll() is None:
                    process.terminate()
        for process in self.processes:
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _thread_limits(threads):
    # Fixed where given: sums depend on how many threads share them. A share of the cores' time is no number of them: the
    # libraries would not see it.
    if not threads and cores() < usable_cores():
        threads = cores()
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS") if threads else ()
    return dict.fromkeys(names, str(threads))


def _history(folder):
    try:
        return [
            {**row, "val_accuracy": f"{float(row['val_accuracy']):.3f}"} for row in read_csv(folder / "history.csv")
        ]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):  # not there yet, or damaged by hand
        return []


def _explain(status, log):
    """What a process that failed is to be remembered by, in one line; where its log has no such line, it gets it."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    told = next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), None)
    if told:
        return told
    last = lines[-1] if lines else "no output"
    if status < 0:
        memory = status == -signal.SIGKILL or "bad_alloc" in last
        told = f"its process was ended by signal {-status}{' (out of memory?)' if memory else ''}"
    else:
        full = " (the disk is full)" if shutil.disk_usage(log).free < _FULL_BYTES else ""
        told = f"its process failed with status {status}: {last}{full}"
    try:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"\nerror: {told}\n")
    except OSError:  # on a full disk the message alone remains
        pass
    return f"{told}; log: {log}"
