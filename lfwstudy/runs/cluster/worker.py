"""What happens on a cluster's worker? One run in a fresh process: its data, its folder, its watch, its way home.

Each Dask task is one run. What a task wants of the study it says as an event (`tell`); what the study hands over or
takes it does by calling `put`, `put_done`, `get` and `got` on the worker. Both go through the scheduler, in pieces.
"""

import hashlib
import importlib.resources
import json
import os
import platform
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
from distributed import get_worker

from lfwstudy import __version__
from lfwstudy.config import DataConfig
from lfwstudy.data.cache import cache_folder
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import RunError, StudyError, proves_damage
from lfwstudy.runs.local import train_in_process
from lfwstudy.runs.store import Store
from lfwstudy.system.backend import keras_backend
from lfwstudy.system.files import locked, read_csv
from lfwstudy.system.machine import versions

POLL_SECONDS = 0.5
# A request that nobody has answered is repeated: the event may have been lost with a connection.
REPEAT_SECONDS = 15
# A training process ends by itself when its worker has not shown for so long that it lives and is wanted: shorter
# than the five minutes after which Dask's scheduler gives the run of a silent worker to another one.
LEASE_SECONDS = 60
# A training process that has used no processor time for so long hangs.
STALL_SECONDS, STALL_CPU_SECONDS = 600, 0.5
# A resume state that has to travel does so at this pace, so that the states of many runs do not fill the network, but
# after ten minutes at the latest, which a run on one machine may lose, too.
STATE_BYTES_PER_SECOND, STATE_SECONDS = 2**20, 600
# For the run's lock: the process of a worker that was cut off is given time to notice.
LOCK_PATIENCE = 150
# Messages that tell of a machine that no run succeeds on, not of a run.
_MACHINE_TROUBLE = (
    "No space left on device",
    "Disk quota exceeded",
    "Read-only file system",
    "No module named",
    "Input/output error",
)
_TASKS = {}  # the tasks of this process by attempt, for the functions that the study calls
_DATA = {}  # data digest to the data folder where it was found
_GPUS, _GPU_LOCK = {}, threading.Lock()  # the worker's GPUs by name: whether a process has it


def train_here(job, attempt, topic, mark):
    """The Dask task: one run in a process of its own; returns where it ran and what went wrong.

    job: as train.main reads it; attempt: the task's key; topic: where events are told; mark: path and content of a file
    that tells whether the study's folder is here, too. Returns a dict: `problem`, None or a message; `blame`, "run" where
    another attempt would end likewise, "machine" where no run would succeed here, else "attempt"; `host`.
    """
    task = _Task(job, attempt, topic, mark)
    _TASKS[attempt] = task
    result = {"problem": None, "blame": None, "host": task.host}
    try:
        _train(task)
    except _Unwanted:
        result |= {"problem": "not wanted any more", "blame": "attempt"}
    except (StudyError, OSError) as error:
        result |= {"problem": str(error), "blame": _blame(error)}
    finally:
        del _TASKS[attempt]
        shutil.rmtree(task.outbox, ignore_errors=True)
        shutil.rmtree(task.inbox, ignore_errors=True)
    task.tell("end", result=result)  # sooner there than what Dask asks for, and without a worker that has to answer
    return result


def put(attempt, name, offset, content):
    """Called by the study: write a piece of a file into the task's inbox."""
    task = _TASKS[attempt]
    try:
        task.inbox.mkdir(parents=True, exist_ok=True)
        with open(task.inbox / Path(name).name, "r+b" if offset else "wb") as file:
            file.seek(offset)
            file.write(content)
    except OSError as error:  # a full disk: the task that waits for the files has to know
        task.answer(error)
        raise


def put_done(attempt, digests, problem=None):
    """Called by the study: all files are in the inbox (name to SHA-256), or could not be sent."""
    task = _TASKS[attempt]
    if problem is None:
        wrong = [name for name, digest in digests.items() if sha256(task.inbox / name) != digest]
        problem = f"{', '.join(wrong)} arrived damaged" if wrong else None
    task.answer(RunError(problem) if problem else None)


def get(attempt, offer, pieces):
    """Called by the study: the content of pieces (name, offset, length) of offered files, as a list of bytes."""
    task = _TASKS[attempt]
    if task.offer != offer:
        raise RunError("replaced by a newer offer")
    found = []
    for name, offset, length in pieces:
        with open(task.outbox / Path(name).name, "rb") as file:
            file.seek(offset)
            found.append(file.read(length))
    return found


def got(attempt, offer):
    """Called by the study: the offered files are safe with it."""
    task = _TASKS.get(attempt)
    if task and task.offer == offer:
        task.offered = False
        task.answer(None)


def versions_here() -> dict[str, str]:
    """What the numbers of a run depend on, by name: this package's code, Python, Keras, its backend, NumPy."""
    installed, backend = versions(), keras_backend()
    code = hashlib.sha256()
    package = Path(str(importlib.resources.files(__package__.partition(".")[0])))
    for path in sorted(package.rglob("*.py")):  # as trainings will read it, whatever this process has imported
        code.update(f"{path.relative_to(package).as_posix()} {sha256(path)}\n".encode())
    return {
        "lfwstudy": f"{__version__} (code {code.hexdigest()[:8]})",
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "Keras": installed.get("keras", "none"),
        "backend": f"{backend} {installed.get(backend, 'none')}",
        "NumPy": installed.get("numpy", "none"),
    }


def difference(expected: dict[str, str]) -> str:
    """How this process differs from `expected`, another's `versions_here`; empty where it does not."""
    here = versions_here()
    return ", ".join(
        f"{name} is {here.get(name, 'none')} instead of {wanted}"
        for name, wanted in expected.items()
        if here.get(name) != wanted
    )


def sha256(path):
    """SHA-256 (hex) of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_pause(size):
    """Seconds between two resume states of `size` bytes that travel."""
    return min(STATE_SECONDS, size / STATE_BYTES_PER_SECOND)


def resume_epochs(folder):
    """Epochs that a run's resume state holds; 0 where there is none or it is damaged. Raises OSError where it cannot be read."""
    try:
        with np.load(Path(folder) / "resume.npz", allow_pickle=False) as content:
            return len(json.loads(content["rows"].tobytes()))
    except FileNotFoundError:
        return 0
    except Exception as error:
        if not proves_damage(error):
            raise
        return 0


class _Unfit(RunError):
    """No run of the study can be trained on this machine."""


class _Unwanted(Exception):
    """The study has gone or given the run to another worker."""


class _Task:
    """One attempt at a run, shared between the thread that tends it and the calls that the study makes."""

    def __init__(self, job, attempt, topic, mark):
        self.job, self.attempt, self.topic, self.worker = job, attempt, topic, get_worker()
        self.host = f"{os.uname().nodename}"
        self.shared = _is_shared(mark)
        own = cache_folder() / "cluster"
        self.folder = Path(job["folder"]) if self.shared else own / "runs" / job["run"]
        self.inbox, self.outbox = own / f"inbox-{attempt}", own / f"outbox-{attempt}"
        self.offer, self.offered, self.manifest = 0, False, {}
        self.sent, self.next_state = None, 0.0  # the resume state offered last, by its time, and when another may be
        self.answered, self.error = threading.Event(), None

    def tell(self, what, **values):
        """Send an event to the study."""
        self.worker.log_event(self.topic, {"attempt": self.attempt, "what": what, "host": self.host, **values})

    def answer(self, error):
        """Let the waiting thread go on, with an error to raise or None."""
        self.error = error
        self.answered.set()

    def wait(self, what, **values):
        """Tell something until the study has answered; raises what it answered with."""
        self.answered.clear()
        told = -REPEAT_SECONDS
        while not self.answered.wait(0.1):
            self.check()
            if time.monotonic() - told >= REPEAT_SECONDS:
                self.tell(what, **values)
                told = time.monotonic()
        if self.error:
            raise self.error

    def check(self):
        """Raise _Unwanted where the study has cancelled the task or the worker has lost its scheduler."""
        known = self.worker.state.tasks.get(self.attempt)
        if (
            known is None
            or known.state in ("cancelled", "released", "resumed", "forgotten")
            or self.worker.status.name in ("closing", "closed", "failed")
        ):
            raise _Unwanted


def _train(task):
    job = task.job
    if other := difference(job["versions"]):  # it may have been updated since the worker was asked
        raise _Unfit(f"{other}; install the same versions there")
    task.tell("start", shared=task.shared)
    task.folder.mkdir(parents=True, exist_ok=True)
    data_dir = _find_data(task)
    if not task.shared and not _is_done_here(task):
        _bring_state(task)
    if not _is_done_here(task):
        with _gpu(task) as environment:
            train_in_process(
                {
                    "lease": LEASE_SECONDS,
                    "patience": LOCK_PATIENCE,
                    **job,
                    "data_dir": data_dir,
                    "folder": str(task.folder),
                    "environment": environment,
                },
                watch=lambda process: _watch(task, process),
            )
    if not task.shared:
        _send_home(task)


def _is_done_here(task):
    """Whether the run's folder on this machine has it finished: a run that ended while its worker was cut off."""
    return task.job["task"] == "train" and Store(task.folder.parent).is_finished(task.job["run"])


def _is_shared(mark):
    path, content = mark
    try:
        return Path(path).read_text(encoding="utf-8") == content and os.access(Path(path).parent, os.W_OK)
    except OSError:
        return False


def _blame(error):
    if isinstance(error, _Unfit) or any(words in str(error) for words in _MACHINE_TROUBLE):
        return "machine"
    # Status 2 is a line that says what of the input cannot be used; another process in the run's folder is none.
    told = isinstance(error, StudyError) and getattr(error, "status", 2) == 2
    return "run" if told and "another process" not in str(error) else "attempt"


# -- data --------------------------------------------------------------------------------------------------------------


def _find_data(task):
    """The data folder on this machine that gives the run's data digest; received where there is none."""
    digest = task.job["data_digest"]
    if digest and digest not in _DATA:
        _DATA[digest] = _with_lock(task, cache_folder() / "cluster" / ".data.lock", lambda: _find_or_receive(task))
    return _DATA.get(digest, task.job["data_dir"])


def _with_lock(task, path, call):
    """Call with a lock of this machine held, so that data come here once; gives way where the run is not wanted."""
    while True:
        try:
            with locked(path, patience=1):
                return call()
        except BlockingIOError:
            task.check()


def _find_or_receive(task):
    found = _data_here(task.job)
    if found is not None:
        return found
    if task.job["config"]["data"]["dataset"] == "demo":
        raise _Unfit("it draws other demo faces; install the same versions there")
    task.wait("data")
    arrived = task.inbox.rename(cache_folder() / "cluster" / f"data-{task.attempt}")
    found = _data_here(task.job)
    if found is None:
        shutil.rmtree(arrived, ignore_errors=True)
        raise RunError("the pictures that the study has sent do not have the digest it computed")
    return found


def _data_here(job):
    """A folder on this machine whose pictures and pairs have the run's digest, None where there is none."""
    config = DataConfig(**job["config"]["data"])
    given = [job["data_dir"], os.environ.get("LFWSTUDY_DATA", "")] if config.dataset != "demo" else [""]
    places = [str(path) for path in sorted((cache_folder() / "cluster").glob("data-*"))]
    for folder in (*given, *places) if config.dataset != "demo" else given:
        if config.dataset != "demo" and not os.path.exists(folder or " "):
            continue
        try:
            if load_pairs(config, folder).digest(prepare_bank(config, folder)) == job["data_digest"]:
                return folder
        except (StudyError, OSError):
            continue
    return None


# -- the run's folder, where it is not shared --------------------------------------------------------------------------


def _bring_state(task):
    """Fetch the study's resume state where it is ahead of what this machine has from an earlier attempt."""
    scoring = task.job["task"] == "score-test"
    if not scoring and task.job.get("resume_epochs", 0) <= resume_epochs(task.folder):
        return
    task.wait("state")
    with locked(task.folder / ".lock", patience=LOCK_PATIENCE):
        for path in sorted(task.inbox.iterdir(), key=lambda path: path.name == "resume.npz"):
            shutil.move(path, task.folder / path.name)


def _send_home(task):
    """Offer all files of a finished run until the study has them; then this machine's copy goes."""
    while not _offer(
        task, [p for p in task.folder.iterdir() if p.is_file() and p.name[0] != "." and p.name != "job.json"]
    ):
        task.check()
    task.wait("offer", offer=task.offer, files=task.manifest, last=True)
    shutil.rmtree(task.folder, ignore_errors=True)


def _offer_state(task):
    """Offer the resume state of a run in progress; the next one follows once this one was taken."""
    stamp = _stamp(task.folder / "resume.npz")
    if task.offered or stamp is None or stamp == task.sent or time.monotonic() < task.next_state:
        return
    files = [
        task.folder / "resume.npz",
        task.folder / "config.json",
        task.folder / "history.csv",
        *task.folder.glob("epoch-*.weights.h5"),
    ]
    # What was written meanwhile might not fit together: the next look finds it settled.
    if _offer(task, files) and _stamp(task.folder / "resume.npz") == stamp:
        task.sent, task.offered = stamp, True
        task.next_state = time.monotonic() + state_pause(sum(size for size, _ in task.manifest.values()))
        task.tell("offer", offer=task.offer, files=task.manifest, last=False)


def _offer(task, files):
    """Link files into the outbox, where training does not replace them; False where one has gone meanwhile."""
    task.offer += 1
    shutil.rmtree(task.outbox, ignore_errors=True)
    task.outbox.mkdir(parents=True)
    try:
        for path in files:
            os.link(path, task.outbox / path.name)
    except FileNotFoundError:
        return False
    task.manifest = {path.name: (path.stat().st_size, sha256(path)) for path in sorted(task.outbox.iterdir())}
    return True


# -- the process -------------------------------------------------------------------------------------------------------


@contextmanager
def _gpu(task):
    """Environment in which a training process sees one GPU that no other process of this worker has."""
    count = int((task.worker.state.total_resources or {}).get("GPU", 0))
    if not count:
        yield {}
        return
    with _GPU_LOCK:
        if not _GPUS:
            seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
            _GPUS.update(dict.fromkeys(seen or map(str, range(count)), False))
        device = next(name for name, taken in _GPUS.items() if not taken)
        _GPUS[device] = True
    try:
        yield {"CUDA_VISIBLE_DEVICES": device}
    finally:
        _GPUS[device] = False


def _watch(task, process):
    """Tend a training process until it ends: its lease, its progress, its resume state, whether it hangs."""
    seen, told = None, 0.0
    cpu, moved = -1.0, time.monotonic()
    stall = task.job.get("stall_seconds", STALL_SECONDS)
    while process.poll() is None:
        task.check()
        try:
            process.stdin.write(b".")
            process.stdin.flush()
        except BrokenPipeError:
            pass
        stamp = _stamp(task.folder / "history.csv")
        if stamp != seen and time.monotonic() - told >= 1:
            seen, told = stamp, time.monotonic()
            _tell_progress(task)
        if not task.shared:
            _offer_state(task)
        used = _cpu_seconds(process.pid)
        if used - cpu >= STALL_CPU_SECONDS:
            cpu, moved = used, time.monotonic()
        if time.monotonic() - moved > stall:
            raise _Stalled(f"its process on {task.host} has done nothing for {stall:.0f} s and was ended")
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)


class _Stalled(RunError):
    """A training process hangs; another attempt may not."""

    status = 3


def _tell_progress(task):
    try:
        text = (task.folder / "history.csv").read_text(encoding="utf-8")
        rows = read_csv(task.folder / "history.csv")
    except OSError:
        return
    if rows:
        task.tell(
            "epoch", epoch=len(rows), accuracy=float(rows[-1]["val_accuracy"]), history=None if task.shared else text
        )


def _cpu_seconds(pid):
    try:
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system
    except psutil.Error:
        return 0.0


def _stamp(path):
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
