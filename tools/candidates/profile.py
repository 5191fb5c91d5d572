"""Time by operation, from JAX's profiler."""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

# Operations told apart; the rest is summed.
MOST = 25


def seconds_by_operation(run: Callable[[], Any]) -> list[dict[str, Any]]:
    """Device time of what `run` computes, by compiled operation, largest first.

    Returns
    -------
    list of dict
        `operation` (XLA's name; on a GPU, with the kernel's), `seconds` in all, `calls`, and `share` of the total. The last is
        the sum of the rest.
    """
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run()
        seconds: defaultdict[str, float] = defaultdict(float)
        calls = Counter[str]()
        for name, duration in _operations(Path(folder)):
            seconds[name] += duration
            calls[name] += 1
    total = sum(seconds.values())
    found = [(name, value, calls[name]) for name, value in sorted(seconds.items(), key=lambda item: -item[1])]
    rest = found[MOST:]
    found[MOST:] = [("others", sum(row[1] for row in rest), sum(row[2] for row in rest))] if rest else []
    return [
        {"operation": name, "seconds": round(value, 7), "calls": count, "share": round(value / total, 4)}
        for name, value, count in found
    ]


def _operations(folder: Path) -> Iterator[tuple[str, float]]:
    """Name and seconds of each kernel that a GPU ran, or of each operation of a processor, in a folder's traces."""
    for path in folder.glob("**/*.xplane.pb"):
        planes = list(jax.profiler.ProfileData.from_file(str(path)).planes)
        on_gpu = [plane for plane in planes if plane.name.startswith("/device:GPU")]
        for plane in on_gpu or planes:
            for line in plane.lines:
                if on_gpu and not line.name.startswith("Stream"):
                    continue  # a summary of the kernels
                for event in line.events:
                    operation = dict(event.stats).get("hlo_op")
                    if on_gpu:
                        yield f"{operation or 'unnamed'}: {event.name[:80]}", event.duration_ns / 1e9
                    elif operation:
                        yield str(operation), event.duration_ns / 1e9
