"""What machine is this? Names, versions, memory and which precision it computes in."""

import json
import math
import os
import platform
import site
import subprocess
import sys
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path, PurePosixPath

from lfwstudy.errors import ConfigError

BACKENDS = ("tensorflow", "jax")
# Settings in a user's shell that would change what our processes compute, draw or execute, or keep them from ending.
# The folder that holds the package.
_ROOT = Path(__file__).resolve().parents[2]
_USERS_OWN = (
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
    "KERAS_NNX_ENABLED",
    "MPLBACKEND",
    "PYTHONINSPECT",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
)
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


def environment(**more: str) -> dict[str, str]:
    """Environment of a Python process of ours: it finds this package however this process found it, imports nothing from the
    current folder, writes UTF-8, and none of the user's own settings decide what it computes or draws.

    more: variables set besides. Raises ConfigError as `keras_backend` does.
    """
    own = [] if _is_installed() else [str(_ROOT)]
    # An empty entry, such as a trailing colon leaves, stands for the current folder.
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(entry)]
    kept = {name: value for name, value in os.environ.items() if name not in _USERS_OWN}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(own + given),
        "PYTHONSAFEPATH": "1",
        "PYTHONIOENCODING": "utf-8:backslashreplace",
        "KERAS_BACKEND": keras_backend(),
        # No configuration file: the defaults.
        "KERAS_HOME": os.devnull,
        "MATPLOTLIBRC": os.devnull,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **more,
    }


@lru_cache(maxsize=1)
def _is_installed():
    """Whether every Python process finds this package, because pip installed it, as a copy or in place.

    Its root then stays off PYTHONPATH, which comes before the standard library: a checkout is often the current folder, and
    holds whatever its user puts there.
    """
    for found in distributions(name="lfwstudy", path=[*site.getsitepackages(), site.getusersitepackages()]):
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        in_place = origin.get("dir_info", {}).get("editable")
        return _ROOT.as_uri() == (origin["url"] if in_place else Path(found.locate_file("")).resolve().as_uri())
    return False


def large_pages():
    """Environment variables by which glibc (2.35 and later) asks Linux for large pages, unless its settings are the user's
    own: a step of the full network walks through gigabytes, and finds less of them by way of small pages' tables."""
    return {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")}


@contextmanager
def left_out(*packages):
    """Let imports go without packages that they take along where installed, unless they are loaded already.

    TensorFlow and Keras look for notebooks', plotting and table packages: a third of the seconds and 200 MB of every
    training process's start.
    """
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def import_keras():
    """Import Keras as the study computes with it, whatever the user's keras.json says: float32, channels last.

    Raises ConfigError for a backend other than TensorFlow and JAX, and where Keras cannot read keras.json.
    """
    keras_backend()
    try:
        import keras
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{_keras_json()}: Keras cannot start with it ({type(error).__name__}: {error}); correct or delete it"
        ) from error
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    return keras


def start_keras_quietly():
    """Import Keras and start its backend without the lines that TensorFlow's libraries print on a machine with no GPU."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_stderr():
        import_keras().ops.zeros(())


@contextmanager
def quiet_stderr():
    """Nothing is written to standard error, by C++ code past sys.stderr neither."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def keras_backend():
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


def _keras_json():
    return Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras")) / "keras.json"


def device_name():
    """What the backend computes on: the accelerator's name, else the processor's. For use where Keras is loaded."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform != "cpu":
            return device.device_kind
    elif any(not name.startswith("cpu") for name in keras.distribution.list_devices()):
        return next(name for name in keras.distribution.list_devices() if not name.startswith("cpu"))
    return cpu_name()


def keep_compiled(folder):
    """On an accelerator, let JAX keep the programs that it compiles in a folder: the runs of a study share most of them, and
    they give the same numbers twice even where the compiler chooses among algorithms by measuring them."""
    if keras_backend() == "jax" and device_name() != cpu_name():
        import jax

        if not jax.config.jax_compilation_cache_dir:
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def resolve_precision(wanted):
    """`float32` or `bfloat16`; `auto` is bfloat16 where the processor (AVX512-BF16, AMX) or an accelerator has it."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if has_bfloat16() else "float32"


def has_bfloat16():
    """Whether the processor (AVX512-BF16, AMX) or an accelerator has bfloat16 arithmetic."""
    return bool({"avx512_bf16", "amx_bf16"} & cpu_flags()) or _has_accelerator()


def precision_warning(precision):
    """A sentence where this machine has no arithmetic of its own for a precision, else None."""
    if precision == resolve_precision("auto") or precision == "float32":
        return None
    return (
        f"this study computes in {precision}, which this processor ({cpu_name()}) only emulates: training takes "
        "as long as in float32, and the numbers are the same up to rounding; a machine with AVX512-BF16, AMX "
        "or an accelerator trains twice as fast"
    )


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


def _has_accelerator():
    """Whether there is an accelerator, and a backend that sees it: TensorFlow's usual package for one computes on the CPU."""
    if keras_backend() == "jax" and "keras" in sys.modules:  # this process has JAX's devices already
        return device_name() != cpu_name()
    return _has_device_file() and _backend_sees_one()


def _has_device_file():
    return Path("/dev/nvidia0").exists() or Path("/dev/dxg").exists()


@lru_cache(maxsize=1)
def _backend_sees_one():
    # Asked in a process of its own: this one would keep the device's memory.
    asked = "import keras, sys; sys.exit(all(name.startswith('cpu') for name in keras.distribution.list_devices()))"
    return subprocess.run([sys.executable, "-c", asked], capture_output=True, env=environment()).returncode == 0
