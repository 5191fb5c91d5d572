"""Training processes that start at once: forks of a server that has imported what they need and computed nothing yet.

Importing Keras, TensorFlow, scikit-learn and SciPy takes longer than several epochs of a small network. The server does it
once. It has one thread and no state of TensorFlow's, so that a fork of it is as good as a process started anew. It is not
multiprocessing's, which starts a third process that may be killed without any harm, and whose forks outlive it.
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

from lfwstudy.system.backend import keras_backend
from lfwstudy.system.processes import environment

_asking = threading.Lock()
_server, _requests = None, None
_PR_SET_PDEATHSIG = 1


def pays(job):
    """Whether a job is a small training (one thread) that can be forked here: on Linux, with TensorFlow."""
    return (
        sys.platform == "linux"
        and job["threads"] == 1
        and "program" not in job
        and not job.get("environment")
        and keras_backend() == "tensorflow"
    )


class Forked:
    """A training process, forked; to its parent like a subprocess.Popen. It ends when its parent or the server does.

    job: path of the file that train.main reads; log: open file for what it prints; limits: environment variables that say
    how many threads it computes with. Its standard input is this object's channel, on which the server tells its pid and,
    when it has ended, its exit status.
    """

    def __init__(self, job, log, limits):
        variables = environment(**limits)
        self.channel, theirs = socket.socketpair()
        self.answers, self.returncode, self._reading = self.channel.makefile(), None, threading.Lock()
        with theirs:
            self.server = _ask(theirs, log, variables)
        with suppress(ConnectionError):  # where the server has ended meanwhile there is no answer
            self.channel.sendall(json.dumps([str(job), variables]).encode() + b"\n")
        self.pid = self._answer()

    def poll(self):
        """Exit status, negative where a signal ended it; None while it runs."""
        with self._reading:
            if self.returncode is None and connection.wait([self.channel], 0):
                status = self._answer()
                self.returncode = self.server.wait() if status is None else status
            return self.returncode

    def wait(self, timeout=None):
        """Exit status once it has ended. Raises subprocess.TimeoutExpired."""
        if not connection.wait([self.channel], timeout):
            raise subprocess.TimeoutExpired("forked training", timeout)
        return self.poll()

    def terminate(self):
        """Ask it to end."""
        self._send(signal.SIGTERM)

    def kill(self):
        """End it."""
        self._send(signal.SIGKILL)

    def _send(self, number):
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _answer(self):
        """A number from the server; None where the server has ended, and the training with it."""
        try:
            return int(self.answers.readline())
        except (ConnectionError, ValueError):
            return None


def _ask(channel, log, variables):
    """Ask the server, started where there is none, for a training; returns the server's process."""
    global _server, _requests
    with _asking:
        if _server is None or _server.poll() is not None:
            _requests, theirs = socket.socketpair()
            with theirs:
                _server = subprocess.Popen(
                    [sys.executable, "-m", "lfwstudy.runs.preloaded"],
                    stdin=theirs,
                    stdout=log,
                    stderr=log,
                    env=variables,
                )
        with suppress(ConnectionError):
            socket.send_fds(_requests, [b"."], [channel.fileno(), log.fileno()])
        return _server


def serve():
    """Fork a training for each request at standard input, until the study has ended. Returns in the forks alone: the path of
    the job."""
    interrupt = signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C goes to all of a terminal; the study ends its trainings
    prctl, server, trainings = ctypes.CDLL(None).prctl, os.getpid(), {}
    # The server waits for nothing but its study and trainings that are over: one that is being killed may take as long as
    # the disk that it writes to.
    children, wakes = os.pipe()
    for end in (children, wakes):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    with socket.socket(fileno=os.dup(0)) as requests:
        while True:
            for ready in connection.wait([requests, children]):
                if ready is not requests:
                    os.read(children, 4096)
                    for pid in list(trainings):
                        ended, status = os.waitpid(pid, os.WNOHANG)
                        if ended:
                            _tell(trainings[pid], os.waitstatus_to_exitcode(status))
                            os.close(trainings.pop(pid))
                    continue
                asked, descriptors, *_ = socket.recv_fds(requests, 1, 2, socket.MSG_CMSG_CLOEXEC)
                if not asked:
                    os._exit(0)  # at once, and its trainings with it
                channel, log = descriptors
                pid = os.fork()
                if not pid:
                    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                    if os.getppid() != server:
                        os._exit(3)
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    signal.signal(signal.SIGINT, interrupt)
                    for descriptor in (children, wakes):
                        os.close(descriptor)
                    return _begin(channel, log)
                _tell(channel, pid)
                trainings[pid] = channel
                os.close(log)


def _tell(channel, number):
    with suppress(ConnectionError):  # where nobody waits any more
        os.write(channel, b"%d\n" % number)


def _begin(channel, log):
    """Make of a fork what a training is that was started anew; returns the path of its job."""
    from setproctitle import setproctitle

    for standard, descriptor in enumerate((channel, log, log)):
        os.dup2(descriptor, standard)
    os.close(channel)
    os.close(log)
    with open(0, encoding="ascii", closefd=False) as told:
        job, variables = json.loads(told.readline())
    setproctitle(f"{sys.executable} -m lfwstudy.runs.training_process {job}")
    os.environ.clear()
    os.environ.update(variables)  # those for the threads are read when TensorFlow first computes
    return job
