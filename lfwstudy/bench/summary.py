"""The figures: ratios within a round, and lines for a person."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lfwstudy.bench import BARE, BATCH, OURS, PLAIN
from lfwstudy.system.machine import cpu_name, versions
from lfwstudy.system.precision import precision_warning


def summary(
    rates: Mapping[str, float],
    peaks: Sequence[float],
    seconds: Mapping[str, Sequence[float]],
    measured: Mapping[str, Mapping[str, Any]],
    precision: str,
) -> dict[str, Any]:
    """The measurements as one JSON-ready dict.

    Parameters
    ----------
    rates : peak matrix rate in GFLOP/s, by precision.
    peaks : that of the precision used, in each round.
    seconds : by contestant, of a step in each round.
    measured : by contestant, its other measurements.
    """
    ours, plain = measured[OURS], measured[PLAIN]
    shares = [ours["step_gflop"] / own / peak for own, peak in zip(seconds[OURS], peaks)]
    step = {name: float(np.median(values)) for name, values in seconds.items()}
    to_ours = {name: _median_ratio(values, seconds[OURS]) for name, values in seconds.items()}
    return {
        "machine": cpu_name(),
        "device": ours["device"],
        "backend": ours["backend"],
        "precision": precision,
        "warning": precision_warning(precision),
        "versions": versions(),
        "rounds": len(peaks),
        "ceiling_gflops": dict(rates),
        "step_gflop": round(ours["step_gflop"], 1),
        "step_seconds": {name: round(value, 6) for name, value in step.items()},
        "share_of_ceiling": round(float(np.median(shares)), 3),
        "shares_of_ceiling": [round(share, 3) for share in shares],
        "ours_to_bare_keras": round(1 / to_ours[BARE], 3),
        "plain_script_to_ours": round(to_ours[PLAIN], 3),
        "pictures_share_of_step": round(ours["images_seconds"] / step[OURS], 4),
        "first_step_seconds": {name: round(m["first_step_seconds"], 2) for name, m in measured.items()},
        "score_seconds_per_pair": round(ours["score_seconds_per_pair"], 7),
        "plain_score_seconds_per_pair": round(plain["score_seconds_per_pair"], 7),
        "plain_score_to_ours": round(plain["score_seconds_per_pair"] / ours["score_seconds_per_pair"], 2),
        **{
            name: round(ours[name], 3)
            for name in ("checkpoint_seconds", "checkpoint_file_seconds", "plain_write_seconds")
        },
        "peak_memory_mb": {name: m["peak_memory_mb"] for name, m in measured.items()},
    }


def lines(result: Mapping[str, Any]) -> list[str]:
    """The measurements as lines for a person; files of older versions may lack the spread and the checkpoint's file."""
    first, shares = result["first_step_seconds"], result.get("shares_of_ceiling")
    spread = f" ({min(shares):.2f} to {max(shares):.2f} in {len(shares)} rounds)" if shares else ""
    whole = result.get("checkpoint_file_seconds")
    durable = f", durable after {whole:.2f} s" if whole else ""
    return [
        f"a training step of {BATCH} pairs takes {result['step_gflop']:,.0f} GFLOP; time, and peak memory of the process:",
        *(
            f"  {name:16s} {_short(seconds)} {result['peak_memory_mb'][name]:7,.0f} MiB"
            for name, seconds in result["step_seconds"].items()
        ),
        "first step after the start of the process: "
        + ", ".join(f"{name} {first[name]:.1f} s" for name in (OURS, BARE, PLAIN)),
        f"ours takes {result['ours_to_bare_keras']:.3f}x the time of a bare Keras fit",
        f"ours is {result['plain_script_to_ours']:.2f}x as fast as the plain script",
        f"ours runs at {result['share_of_ceiling']:.2f}x the peak matrix rate, in FLOPs of direct convolutions{spread}",
        f"gathering, scaling and augmenting images take {100 * result['pictures_share_of_step']:.1f} % of a step",
        f"scoring: {1000 * result['score_seconds_per_pair']:.3g} ms a pair, plain script "
        f"{1000 * result['plain_score_seconds_per_pair']:.3g} ms ({result['plain_score_to_ours']:.1f}x)",
        f"checkpoint: blocks {result['checkpoint_seconds']:.2f} s{durable} (raw write {result['plain_write_seconds']:.2f} s)",
        *([f"warning: {result['warning']}"] if result["warning"] else []),
    ]


def _short(seconds: float) -> str:
    return f"{seconds:7.3f} s " if seconds >= 0.1 else f"{1000 * seconds:7.2f} ms"


def _median_ratio(values: Sequence[float], others: Sequence[float]) -> float:
    return float(np.median([value / other for value, other in zip(values, others, strict=True)]))
