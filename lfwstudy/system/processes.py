"""What does a process of ours start with, and when does it end?"""

import json
import os
import select
import site
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path

from lfwstudy.system.backend import keras_backend

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


def end_with_parent(lease=None):
    """Block until the process that started this one is gone (its end of the pipe closes), then end at once.

    lease: seconds after which a parent that writes nothing into the pipe counts as gone, too; None waits for ever.
    """
    while select.select([0], [], [], lease)[0] and os.read(
        0, 4096
    ):  # not sys.stdin, whose lock would be held at the end
        pass
    os._exit(3)
