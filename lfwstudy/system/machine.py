"""What machine is this? Names, versions, memory and which precision it computes in."""

import math
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

# Else the first process that asks JAX for its devices keeps three quarters of an accelerator's memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

CONTROL_GROUP = "/sys/fs/cgroup"


def cores(group: str = CONTROL_GROUP) -> int:
    """Number of cores that this process may use: those it may run on, or what its control group grants where that is less.

    group: where the control groups are mounted. A part of a core counts as one.
    """
    return max(1, math.ceil(min([usable_cores(), *_quotas(group)])))


def usable_cores() -> int:
    """Number of cores that this process may run on, whatever share of their time it gets."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(group):
    """Cores' worth of time that each control group around this process grants; none where there is no limit."""
    try:
        lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except (OSError, ValueError):
        lines = []
    # Version 2 has one tree, version 1 one for each kind of resource. In a container the path may be the host's: only the
    # root is there then, and is the container's own.
    for _, kinds, path in [*lines, ("", "", "/"), ("", "cpu", "/")]:
        if not kinds or "cpu" in kinds.split(","):
            for place in [PurePosixPath(path), *PurePosixPath(path).parents]:
                yield from _quota(Path(group) / kinds / str(place).lstrip("/"))


def _quota(folder):
    """Cores' worth of time of one control group, of either version, as a list: empty where it has no limit."""
    found = []
    for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        try:
            quota, period = map(int, " ".join((folder / name).read_text() for name in names).split())
        except (OSError, ValueError):  # not there, or "max"
            continue
        found += [quota / period] if quota > 0 and period > 0 else []
    return found


def cpu_name():
    """The processor's name and number of cores available to this process."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{name}, {cores()} cores"


def cpu_flags():
    """Feature flags of the processor, an empty set where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in text.splitlines() if line.startswith("flags")), set())


def free_memory():
    """Bytes that a new process may take of this machine, and of its control group where that is less; None where it is not
    known (Linux tells)."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return None
    group = Path(CONTROL_GROUP)
    try:
        used = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())["anon"]
        free = min(free, int((group / "memory.max").read_text()) - int(used))
    except (OSError, ValueError, KeyError):  # no control group, or one without a limit
        pass
    return free


def peak_memory_mb():
    """Peak memory of this process in MiB: resident size, or the accelerator's where one is used.

    Of a forked training without what it shares of the libraries' files with its server and did not use itself.
    """
    import resource

    if "jax" in sys.modules:
        device = sys.modules["jax"].devices()[0]
        if device.platform != "cpu":
            return round(device.memory_stats().get("peak_bytes_in_use", 0) / 2**20, 1)
    try:  # Linux's getrusage counts what the parent had when it started this process, too
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return round(int(status["VmHWM"].split()[0]) / 2**10, 1)
    except (OSError, ValueError, KeyError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def versions():
    """Versions of Python and of the packages that numbers depend on; those not installed are left out."""
    found = {"python": platform.python_version()}
    for name in ("lfwstudy", "keras", "tensorflow", "jax", "numpy", "pillow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found
