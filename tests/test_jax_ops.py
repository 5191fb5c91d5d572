"""Candidates for faster operations on JAX, without a GPU: tests/on_jax/candidates.py in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import needs_jax

# Compiling takes most of the time.
_FAST = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
# Keras would import TensorFlow, which that process does not need.
_RUN = "import sys; sys.modules['tensorflow'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"


@pytest.mark.long
@needs_jax
def test_candidates_compute_what_keras_does():
    checks = Path(__file__).parent / "on_jax" / "candidates.py"
    done = subprocess.run(
        [sys.executable, "-c", _RUN, "-q", "-x", "-p", "no:cacheprovider", str(checks)],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": _FAST},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
