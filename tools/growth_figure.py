"""How time and memory grow, as a figure."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lfwstudy.report.figures.style import MEASURED, TRAIN, new_figure, signed, styled

_TITLES = {
    "pairs": "training pairs\n(an epoch)",
    "pixels": "pixels of an image\n(an epoch)",
    "runs": "runs of a study\n(its table)",
}


@styled()
def growth_figure(result: Mapping[str, Any]) -> Figure:
    """Seconds and memory against pairs, pixels and runs, both axes logarithmic. result: as returned by growth.growth."""
    figure = new_figure(2.9)
    for axis, (cause, curve) in zip(figure.subplots(1, 3), result["curves"].items()):
        memory = axis.twinx()
        axis.loglog(curve["n"], curve["seconds"], "o-", color=MEASURED)
        memory.loglog(curve["n"], curve["memory_mb"], "s--", color=TRAIN, markersize=4)
        memory.set_ylim(50, 5000)
        memory.grid(False)
        shown = [curve["n"][0], curve["n"][len(curve["n"]) // 2], curve["n"][-1]]
        axis.set_xticks(shown, [f"{n:,}" for n in shown])
        axis.minorticks_off()
        axis.set_xlabel(_TITLES[cause])
        axis.set_title(f"slopes: time {curve['seconds_slope']:.2f}, memory {curve['memory_slope']:.2f}")
        axis.set_ylabel("seconds" if cause == "pairs" else "")
        memory.set_ylabel("peak memory, MiB" if cause == "runs" else "")
        memory.tick_params(labelright=cause == "runs", which="both")
    handles = [
        Line2D([], [], marker="o", color=MEASURED, label="seconds"),
        Line2D([], [], marker="s", linestyle="--", color=TRAIN, markersize=4, label="memory"),
    ]
    return signed(figure, f"Drawn faces, {result['network'].partition(',')[0]}; {result['machine']}", handles, 2)
