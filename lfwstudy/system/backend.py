"""The Keras backend and its device: chosen, imported and started as the study needs it."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from lfwstudy.errors import ConfigError, require
from lfwstudy.system.machine import cpu_name

BACKENDS = ("tensorflow", "jax")
# TensorFlow reads these once, when it is imported.
_TENSORFLOW = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_DETERMINISTIC_OPS": "1",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    # Keep freed memory for the next tensor: returning 100 MB pieces to the system and faulting them in again took a quarter
    # of a step.
    "TF_CPU_ALLOCATOR_USE_BFC": "true",
    # Off by default without AVX512-VNNI; with AVX2 alone, oneDNN's convolutions make a step of the small networks five times
    # faster, one of the full network 1.3 times.
    "TF_ENABLE_ONEDNN_OPTS": "1",
}
# What TensorFlow and Keras import if installed, for plots, tables and notebooks.
_NOT_NEEDED = ("IPython", "matplotlib", "pandas", "sklearn")


def import_keras() -> ModuleType:
    """Import Keras with the study's settings instead of keras.json's: float32, channels last.

    Raises ConfigError for a backend other than TensorFlow and JAX, and if Keras cannot read keras.json.
    """
    # TensorFlow looks for JAX; if JAX is the backend, Keras loads it.
    not_needed = (*_NOT_NEEDED, "jax") if keras_backend() == "tensorflow" else _NOT_NEEDED
    for name, value in _TENSORFLOW.items():
        os.environ.setdefault(name, value)
    try:
        with left_out(*not_needed):
            import keras
    except (AttributeError, TypeError, ValueError) as error:
        if not (own := _keras_json()).is_file():  # a broken installation
            raise
        raise ConfigError(
            f"{own}: Keras cannot start with it ({type(error).__name__}: {error}); correct or delete it"
        ) from error
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    return keras


def start_keras_quietly() -> None:
    """Import Keras and start its backend, without the messages of TensorFlow's libraries on machines with no GPU."""
    with quiet_stderr():
        import_keras().ops.zeros(())


def seed_keras(seed: int) -> None:
    """Seed Python's, NumPy's and Keras' random numbers.

    On JAX, Keras would also seed TensorFlow if that is installed, and import it first: seconds of every training's start.
    """
    with left_out(*(["tensorflow"] if keras_backend() == "jax" else [])):
        import_keras().utils.set_random_seed(seed)


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Silence standard error, including C++ code that bypasses sys.stderr."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def left_out(*packages: str) -> Iterator[None]:
    """Hide optional packages from imports, unless they are already loaded.

    TensorFlow and Keras import notebook, plotting and table packages if installed: a third of the time and 200 MB of every
    training process's start.
    """
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None forbids an import
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def keras_backend() -> str:
    """The backend that Keras will load, without loading it: $KERAS_BACKEND, its configuration file's, or TensorFlow.

    Raises ConfigError for any but TensorFlow and JAX.
    """
    backend, source = os.environ.get("KERAS_BACKEND"), "$KERAS_BACKEND"
    if not backend:
        source = "keras.json"
        try:
            backend = str(json.loads(_keras_json().read_text(encoding="utf-8"))["backend"])
        except (OSError, ValueError, KeyError, TypeError):
            return "tensorflow"
    if backend not in BACKENDS:
        raise ConfigError(
            f"{source} asks Keras for the backend {backend!r:.80}; the study runs on tensorflow or jax: set "
            f'KERAS_BACKEND=tensorflow, or "backend" in {_keras_json()}'
        )
    return backend


def require_backend() -> None:
    """Raise ConfigError if the backend cannot train or is not installed."""
    backend = keras_backend()
    other = next(name for name in BACKENDS if name != backend)
    require(backend, otherwise=f", or set KERAS_BACKEND={other}")


def _keras_json() -> Path:
    return Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras")) / "keras.json"


def device_name() -> str:
    """The name of the GPU that the backend uses, else the processor's. Keras must be loaded."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        found = [device.device_kind] if device.platform != "cpu" else []
    else:
        found = [name for name in keras.distribution.list_devices() if not name.startswith("cpu")]
    return found[0] if found else cpu_name()


def keep_compiled(folder: str | Path) -> None:
    """On a GPU, let JAX keep its compiled programs in a folder.

    The runs of a study share most of them, and they keep numbers reproducible although the compiler times algorithms to
    choose among them.
    """
    if keras_backend() == "jax" and device_name() != cpu_name():
        import jax

        if not jax.config.jax_compilation_cache_dir:
            jax.config.update("jax_compilation_cache_dir", str(folder))
            # However small: a training's start compiles dozens, each of which takes a fraction of a second.
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
