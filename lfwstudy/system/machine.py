"""This machine: names, versions, and the cores and memory that its control groups grant."""

import math
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

# Otherwise the first process that asks JAX for its devices keeps three quarters of a GPU's memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

# Root of /proc and /sys/fs/cgroup.
SYSTEM = Path("/")


def cores() -> int:
    """Number of cores this process may use: those it may run on, or fewer if its control groups grant less.

    A fraction of a core counts as one.
    """
    granted = [share for group in _control_groups("cpu") for share in _cpu_share(group)]
    return max(1, math.ceil(min([usable_cores(), *granted])))


def usable_cores() -> int:
    """Number of cores that this process may run on, regardless of its share of their time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's name and the number of cores available to this process."""
    name = _table("proc/cpuinfo").get("model name") or platform.processor() or platform.machine()
    return f"{name}, {cores()} cores"


def cpu_flags() -> set[str]:
    """Feature flags of the processor; an empty set if unknown."""
    return set(_table("proc/cpuinfo").get("flags", "").split())


def free_memory() -> int | None:
    """Bytes that a new process may take: what is left on the machine, or in a control group if that is less.

    None if unknown (on Linux it is known).
    """
    try:
        free = int(_table("proc/meminfo")["MemAvailable"].split()[0]) * 1024
    except (KeyError, ValueError):
        return None
    for group in _control_groups("memory"):
        for limit, used in (("memory.max", "anon"), ("memory.limit_in_bytes", "total_rss")):
            with suppress(OSError, ValueError, KeyError):  # no such file, or "max"
                taken = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
                free = min(free, int((group / limit).read_text()) - int(taken[used]))
    return max(free, 0)


def peak_memory_mb() -> float:
    """Peak memory of this process in MiB: resident size, or GPU memory if JAX computes on one.

    For a forked training, pages of library files that it shares with its server and never used do not count.
    """
    import resource

    if "jax" in sys.modules:
        device = sys.modules["jax"].devices()[0]
        if device.platform != "cpu":
            return round(device.memory_stats().get("peak_bytes_in_use", 0) / 2**20, 1)
    try:  # Linux's getrusage includes the parent's memory at the time of the fork
        return round(int(_table("proc/self/status")["VmHWM"].split()[0]) / 2**10, 1)
    except (KeyError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on; those not installed are left out."""
    found = {"python": platform.python_version()}
    for name in ("lfwstudy", "keras", "tensorflow", "jax", "numpy", "pillow"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _table(path: str) -> dict[str, str]:
    """The lines `key: value` of one of Linux's files, the first of each key; empty if it cannot be read."""
    try:
        lines = (SYSTEM / path).read_text().splitlines()
    except (OSError, ValueError):
        return {}
    fields = [line.split(":", 1) for line in reversed(lines) if ":" in line]
    return {key.strip(): value.strip() for key, value in fields}


def _control_groups(kind: str) -> Iterator[Path]:
    """Folders of the control groups around this process that limit a kind of resource: `cpu` or `memory`."""
    try:
        lines = [line.split(":", 2) for line in (SYSTEM / "proc/self/cgroup").read_text().splitlines()]
    except (OSError, ValueError):
        lines = []
    # Version 2 has one tree, version 1 one per kind of resource. In a container the path may be the host's: then only the
    # root exists, and it is the container's.
    for _, kinds, path in [*lines, ["", "", "/"], ["", kind, "/"]]:
        if not kinds or kind in kinds.split(","):
            for place in [PurePosixPath(path), *PurePosixPath(path).parents]:
                yield SYSTEM / "sys/fs/cgroup" / kinds / str(place).lstrip("/")


def _cpu_share(group: Path) -> Iterator[float]:
    """Cores of processor time that one control group, of either version, grants; nothing if it sets no limit."""
    for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        with suppress(OSError, ValueError):  # no such file, or "max"
            quota, period = map(int, " ".join((group / name).read_text() for name in names).split())
            if quota > 0 and period > 0:
                yield quota / period
