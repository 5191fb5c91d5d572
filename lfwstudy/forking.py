"""Training processes that start at once: forks of a server that has imported what they need and computed nothing yet.

Importing Keras, TensorFlow, scikit-learn and SciPy takes longer than several epochs of a small network. The server does it
once. It has one thread and no state of TensorFlow's, so that a fork of it is as good as a process started anew.
"""

import multiprocessing
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from multiprocessing import connection
from pathlib import Path

from .machine import environment, keras_backend

# multiprocessing reads how a child ended from a pipe, once: two threads that do so at a time see one that never ended well.
_reading = threading.Lock()


def pays(job):
    """Whether a job is a small training (one thread) that can be forked here: on Linux, with TensorFlow."""
    return (sys.platform == "linux" and job["threads"] == 1 and "program" not in job and not job.get("environment")
            and keras_backend() == "tensorflow" and _main_is_guarded())


class Forked:
    """A training process, forked; to its parent like a subprocess.Popen. It ends when its parent does.

    job: path of the file that train.main reads; log: path of an empty file for what it prints; limits: environment
    variables that say how many threads it computes with.
    """

    def __init__(self, job, log, limits):
        context = multiprocessing.get_context("forkserver")
        variables = environment(**limits)
        with _reading, _set(variables):  # the server takes its environment from this process
            context.set_forkserver_preload(["lfwstudy.preloaded"])
            self.process = context.Process(target=_train, args=(str(job), str(log), variables), daemon=True)
            self.process.start()
        self.pid = self.process.pid

    def poll(self):
        """Exit status, negative where a signal ended it; None while it runs."""
        with _reading:
            return self.process.exitcode

    def wait(self, timeout=None):
        """Exit status once it has ended. Raises subprocess.TimeoutExpired."""
        if not connection.wait([self.process.sentinel], timeout):
            raise subprocess.TimeoutExpired("forked training", timeout)
        return self.poll()

    def terminate(self):
        """Ask it to end."""
        self.process.terminate()

    def kill(self):
        """End it."""
        self.process.kill()


def _main_is_guarded():
    """Whether a child may import this process's main module, as multiprocessing has it: a user's script without the usual
    guard would start its study anew."""
    main = sys.modules["__main__"]
    module, script = getattr(getattr(main, "__spec__", None), "name", None), getattr(main, "__file__", None)
    if module is not None:
        return module.startswith("lfwstudy.") or module.endswith(".__main__")
    return script is None or Path(script).name == "lfwstudy"


def _train(job, log, variables):
    """Train in a process that was just forked, its output in a file."""
    from setproctitle import setproctitle
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(), os.getppid()), daemon=True).start()
    setproctitle(f"{sys.executable} -m lfwstudy.train {job}")  # what it is called where it is started anew
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    sys.stdout.reconfigure(line_buffering=True)
    os.environ.clear()
    os.environ.update(variables)  # those for the threads are read when TensorFlow first computes
    from . import train
    sys.exit(train.main(job))


def _end_with(parent, server):
    """End at once when the parent has ended, or the server that this process was forked from: without the server, the parent
    takes this process for ended."""
    while parent.is_alive() and os.getppid() == server:
        parent.join(1)
    os._exit(3)


@contextmanager
def _set(values):
    """Environment variables that have other values for a while."""
    before = {name: os.environ.get(name) for name, value in values.items() if os.environ.get(name) != value}
    os.environ.update({name: values[name] for name in before})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
