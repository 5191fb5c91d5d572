"""The precision of this machine: bfloat16 if it has the arithmetic, else float32."""

import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from lfwstudy.system.backend import device_name, keras_backend
from lfwstudy.system.machine import cpu_flags, cpu_name
from lfwstudy.system.processes import environment


def resolve_precision(wanted: str) -> str:
    """`float32` or `bfloat16`; `auto` is bfloat16 if this machine has the arithmetic."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if has_bfloat16() else "float32"


def has_bfloat16() -> bool:
    """Whether the processor (AVX512-BF16, AMX) or a GPU has bfloat16 arithmetic."""
    return bool({"avx512_bf16", "amx_bf16"} & cpu_flags()) or _has_gpu()


def precision_warning(precision: str) -> str | None:
    """A warning if this machine only emulates a precision, else None."""
    if precision in ("float32", resolve_precision("auto")):
        return None
    return (
        f"this study computes in {precision}, which this processor ({cpu_name()}) only emulates: training takes as long "
        "as in float32, and the numbers are the same up to rounding; a machine with AVX512-BF16, AMX or a GPU trains "
        "twice as fast"
    )


def _has_gpu() -> bool:
    """Whether there is a GPU that the backend sees: TensorFlow's standard package does not see any."""
    if keras_backend() == "jax" and "keras" in sys.modules:  # this process already holds JAX's devices
        return device_name() != cpu_name()
    return _has_device_file() and _backend_sees_one()


def _has_device_file() -> bool:
    return Path("/dev/nvidia0").exists() or Path("/dev/dxg").exists()


@lru_cache(maxsize=1)
def _backend_sees_one() -> bool:
    # Asked in another process: this one would keep the GPU's memory.
    asked = "import keras, sys; sys.exit(all(name.startswith('cpu') for name in keras.distribution.list_devices()))"
    return subprocess.run([sys.executable, "-c", asked], capture_output=True, env=environment()).returncode == 0
