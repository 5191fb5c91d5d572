"""Training processes that start at once: forks of a server that has imported the libraries but computed nothing.

Importing Keras, TensorFlow, scikit-learn and SciPy takes longer than several epochs of a small network. The server does it
once. It has one thread and no TensorFlow state, so a fork of it is as good as a new process.

multiprocessing's forkserver is as fast, but it imports the main module into every training (a script without the usual
guard would start itself again) and survives, with its trainings, a study that was killed.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing import connection
from pathlib import Path
from typing import IO

from lfwstudy.runs.job import TRAINING, Job
from lfwstudy.system.backend import keras_backend, quiet_stderr
from lfwstudy.system.processes import environment

_asking = threading.Lock()
_server: subprocess.Popen | None = None
_requests: socket.socket | None = None
_PR_SET_PDEATHSIG = 1


def pays(job: Job) -> bool:
    """Whether a job is a small training (one thread) that can be forked here: on Linux, with TensorFlow."""
    return (
        sys.platform == "linux"
        and job.threads == 1
        and job.program == TRAINING
        and not job.gpu
        and keras_backend() == "tensorflow"
        and _can_wait()
    )


def _can_wait() -> bool:
    """Whether the system gives descriptors of processes, by which the server waits: Linux since 5.3, unless forbidden."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


class ServerLost(Exception):
    """The server ended before it forked a training."""


class Forked:
    """A forked training process, used like a subprocess.Popen. It ends when its parent or the server does.

    job : path of the job's file; log : for its output; limits : environment variables that limit its threads. Its standard
    input is this object's channel, on which the server sends its pid and, when it has ended, its exit status. Raises
    ServerLost.
    """

    def __init__(self, job: Path, log: IO[bytes], limits: dict[str, str]) -> None:
        variables = environment(**limits)
        self.channel, theirs = socket.socketpair()
        self.answers = self.channel.makefile()
        self.returncode: int | None = None
        with theirs:
            self.server = _ask(theirs, log, variables)
        with suppress(ConnectionError):  # no answer if the server has ended meanwhile
            self.channel.sendall(json.dumps([str(job), variables]).encode() + b"\n")
        pid = self._answer()
        if pid is None:
            raise ServerLost
        self.pid = pid

    def poll(self) -> int | None:
        """Exit status, negative if a signal ended it; None while it runs."""
        if self.returncode is None and connection.wait([self.channel], 0):
            status = self._answer()
            self.returncode = self.server.wait() if status is None else status
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Exit status once it has ended. Raises subprocess.TimeoutExpired."""
        # Asked once only: trainings forked later have its channel too, which then never closes.
        if self.returncode is None and not connection.wait([self.channel], timeout):
            raise subprocess.TimeoutExpired("forked training", timeout or 0)
        return self.poll()

    def terminate(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.terminate(signal.SIGKILL)

    def _answer(self) -> int | None:
        """A number from the server; None if the server has ended, and the training with it."""
        try:
            return int(self.answers.readline())
        except (ConnectionError, ValueError):
            return None


def _ask(channel: socket.socket, log: IO[bytes], variables: dict[str, str]) -> subprocess.Popen:
    """Ask the server, started if necessary, for a training; returns the server's process."""
    global _server, _requests
    with _asking:  # explorers train in threads
        if _server is None or _server.poll() is not None:
            _requests, theirs = socket.socketpair()
            with theirs:
                _server = subprocess.Popen(
                    [sys.executable, "-m", "lfwstudy.runs.forked"],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,  # each fork has its own log
                    stderr=subprocess.DEVNULL,
                    env=variables,
                )
        assert _requests is not None
        with suppress(ConnectionError):
            socket.send_fds(_requests, [b"."], [channel.fileno(), log.fileno()])
        return _server


def serve() -> str:
    """Fork a training for each request on standard input, until the study has ended. Returns only in the forks: the path of
    the job."""
    # Ctrl-C goes to all of a terminal; the study ends its trainings.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    prctl, server = ctypes.CDLL(None).prctl, os.getpid()
    # Through the process's descriptor, which is ready once it has ended: a killed process may take as long as the disk it
    # writes to, and nobody should wait for it.
    trainings: dict[int, tuple[int, int]] = {}
    with socket.socket(fileno=os.dup(0)) as requests:
        while True:
            for ready in connection.wait([requests, *trainings]):
                if isinstance(ready, int):
                    pid, channel = trainings.pop(ready)
                    _tell(channel, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                    os.close(channel)
                    os.close(ready)
                    continue
                asked, descriptors, *_ = socket.recv_fds(requests, 1, 2, socket.MSG_CMSG_CLOEXEC)
                if not asked:
                    os._exit(0)  # at once, with its trainings
                channel, log = descriptors
                pid = os.fork()
                if not pid:
                    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                    if os.getppid() != server:
                        os._exit(3)
                    signal.signal(signal.SIGINT, interrupt)
                    return _begin(channel, log)
                trainings[os.pidfd_open(pid)] = pid, channel
                _tell(channel, pid)
                os.close(log)


def _tell(channel: int, number: int) -> None:
    with suppress(ConnectionError):  # if nobody waits any more
        os.write(channel, b"%d\n" % number)


def _begin(channel: int, log: int) -> str:
    """Make a fork like a newly started training; returns the path of its job."""
    from setproctitle import setproctitle

    for standard, descriptor in enumerate((channel, log, log)):
        os.dup2(descriptor, standard)
    os.close(channel)
    os.close(log)
    with open(0, encoding="ascii", closefd=False) as told:
        job, variables = json.loads(told.readline())
    setproctitle(f"{sys.executable} -m lfwstudy.runs.training_process {job}")
    os.environ.clear()
    os.environ.update(variables)  # thread limits are read when TensorFlow first computes
    return job


if __name__ == "__main__":
    # The server imports all that a training does, to measure its results and to write a checkpoint, too.
    with quiet_stderr():
        import lfwstudy.training.run  # noqa: F401  (first: it keeps packages out that the others would bring in)

        # isort: split
        import h5py  # noqa: F401
        import scipy.stats  # noqa: F401
        import setproctitle  # noqa: F401
        import sklearn.linear_model
        import sklearn.metrics  # noqa: F401

        from lfwstudy.runs import training_process

    sys.exit(training_process.main(serve()))
