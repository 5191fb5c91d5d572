"""On PYTHONPATH while tests run: every process of a study then knows profiles that train in seconds."""

import os
import sys

from lfwstudy.ladder.profiles import PROFILES, Profile

# A grammar of web addresses, optional and not needed here, that nbformat and Jupyter take three seconds to compile.
sys.modules["rfc3987_syntax"] = None

PROFILES["tiny"] = Profile(
    "tiny",
    "a sliver of the network, for tests",
    0.04,
    {"model.width": 0.05, "data.side": 69, "data.pairs_per_class": 40, "training.learning_rate": 0.003},
    threads=1,
)
PROFILES["speck"] = Profile(
    "speck", "one epoch, where only the number of runs counts", 0.005, PROFILES["tiny"].changes, threads=1
)


def note(event, arguments=()):
    """Note in a file that this process began, and each host that Python looks up, connects to or sends to."""
    if event in ("began", "socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        to = arguments[event in ("socket.connect", "socket.sendto")] if arguments else ""
        with open(os.environ["LFWSTUDY_TEST_CONNECTIONS"], "a") as file:
            file.write(f"{event} {to[0] if isinstance(to, tuple) else to}\n")


if os.environ.get("LFWSTUDY_TEST_CONNECTIONS"):
    note("began")
    os.register_at_fork(after_in_child=lambda: note("began"))  # the trainings of a server
    sys.addaudithook(note)

if os.environ.get("LFWSTUDY_TEST_STAND_IN"):
    from dataclasses import replace

    from lfwstudy.runs import dispatch

    run = dispatch.run
    dispatch.run = lambda jobs, *more: run([replace(job, program="stand_in") for job in jobs], *more)
