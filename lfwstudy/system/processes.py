"""The environment of our processes, and their end."""

import json
import os
import re
import select
import site
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path
from typing import NoReturn

from lfwstudy.system.backend import keras_backend

# The folder that holds the package.
_ROOT = Path(__file__).resolve().parents[2]

# Variables of a user's shell that would change what our processes compute, draw or execute, or keep them from ending.
_USERS_OWN = re.compile("KERAS_MAX_.*|KERAS_NNX_ENABLED|MPLBACKEND|PYTHON(INSPECT|STARTUP|WARNINGS)")


def environment(**more: str) -> dict[str, str]:
    """Environment of a Python process of ours.

    The process finds this package, imports nothing from the current folder and writes UTF-8; the user's settings do not
    affect what it computes or draws.

    Parameters
    ----------
    more : further variables.

    Raises
    ------
    ConfigError
        As `keras_backend` does.
    """
    own = [] if _is_installed() else [str(_ROOT)]
    # An empty entry, as after a trailing colon, means the current folder.
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(entry)]
    kept = {name: value for name, value in os.environ.items() if not _USERS_OWN.fullmatch(name)}
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
def _is_installed() -> bool:
    """Whether every Python process finds this package because pip installed it, as a copy or in place.

    If so, its root stays off PYTHONPATH, which precedes the standard library: a checkout is often the current folder and
    may hold any file.
    """
    for found in distributions(name="lfwstudy", path=[*site.getsitepackages(), site.getusersitepackages()]):
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        in_place = origin.get("dir_info", {}).get("editable")
        return _ROOT.as_uri() == (origin["url"] if in_place else Path(str(found.locate_file(""))).resolve().as_uri())
    return False


def large_pages() -> dict[str, str]:
    """Environment variables that make glibc (2.35 and later) ask Linux for large pages, unless the user has set them.

    A step of the full network walks through gigabytes; large pages save time in page tables.
    """
    return {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")}


def end_with_parent(lease: float | None = None) -> NoReturn:
    """Block until the parent process is gone (its end of the pipe closes), then end at once.

    lease: seconds of silence in the pipe after which the parent counts as gone, too; None: no limit.
    """
    # Not sys.stdin, whose lock would be held at exit.
    while select.select([0], [], [], lease)[0] and os.read(0, 4096):
        pass
    os._exit(3)
