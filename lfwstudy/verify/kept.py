"""Where kept networks are found: the best of a study, that of a run, and the one shipped with the package."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from lfwstudy.config import RunConfig
from lfwstudy.errors import RunError, StudyError, one_line
from lfwstudy.system.files import read_json
from lfwstudy.verify.network import TOWER, KerasRuntime, Network, OpenCVRuntime, load_model

if TYPE_CHECKING:
    from lfwstudy.runs.store import Store

# The shipped network in both forms, its configuration and its model card.
SHIPPED = Path(__file__).with_name("shipped")


def load_network(out: str | PathLike[str] = "") -> Network:
    """The network of a study's best run with kept weights; without a study, the one shipped with the package.

    Raises StudyError if there is no study, or no finished run has kept its weights.
    """
    if not out and (SHIPPED / TOWER).is_file():
        config = RunConfig.from_dict(read_json(SHIPPED / "run.json")["config"])
        return Network(OpenCVRuntime(SHIPPED), config, "shipped with lfwstudy")
    from lfwstudy.study.results import Results
    from lfwstudy.study.settings import default_root

    folder = Path(out) if out else default_root() / "runs" / "demo-quick"
    results = Results.open(folder)
    best = results.best_run(need_weights=True)
    if best is None:
        raise StudyError(f"{folder}: no finished run has kept its weights; run the study with --keep best")
    return load_run(results.store, best["run"], f"{best['stage']}: {best['variant']}, seed {best['seed']}")


def load_run(store: "Store", run: str, name: str = "") -> Network:
    """The network of a run. Raises RunError if its weights are not kept, StudyError if its files are damaged."""
    path = store.folder(run) / "model.keras"
    if not path.is_file():
        raise RunError(f"The weights of run {run} are not kept; `lfwstudy run --keep all` keeps those of every run")
    return Network(KerasRuntime(load_model(path)), run_config(store, run), name or run)


def run_config(store: "Store", run: str) -> RunConfig:
    """The configuration of a run. Raises RunError if config.json cannot be read."""
    path = store.folder(run) / "config.json"
    try:
        return RunConfig.from_dict(read_json(path)["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: missing or damaged ({one_line(error)}); `lfwstudy run` sets such a run aside and trains it again"
        ) from error
