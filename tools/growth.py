"""Growth of time and memory with the pairs, with the side of the images, and with the runs of a study.

`python -m tools.growth` writes results/growth.json. It trains a sliver of the network on drawn faces, each measurement in
a separate process like a study's runs, and tabulates studies of made-up runs. Growth as n^k has slope k: 1 is linear, less
is better.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lfwstudy.config import TRAINING_VERSION, RunConfig
from lfwstudy.data import demo
from lfwstudy.data.cache import cache_folder
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import RunError
from lfwstudy.runs.job import Job
from lfwstudy.runs.process import train_in_process
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system.files import locked, read_json, write_json
from lfwstudy.system.machine import cpu_name, versions
from lfwstudy.system.processes import environment
from tools.kept_studies import RESULTS
from tools.measurement import Show

PAIRS = (250, 500, 1000, 2200, 20_000)
SIDES = (69, 90, 105, 150, 210)
SEEDS = (5, 50, 500)  # of the seven variants of three stages
# Enough people for 20,000 different pairs, with about as many images as LFW.
_PEOPLE = 6000
_SLIVER = {"model.width": 0.05, "data.side": 69, "training.epochs": 2}

_TABULATE = """
import sys, time
began = time.perf_counter()
from lfwstudy.system.machine import peak_memory_mb
from lfwstudy.study.study import open_study
study = open_study(sys.argv[1])[0]
study.set_aside_damaged(print)
study.write_results()
print(time.perf_counter() - began, peak_memory_mb())
"""


def growth(
    show: Show = print,
    pairs: Sequence[int] = PAIRS,
    sides: Sequence[int] = SIDES,
    seeds: Sequence[int] = SEEDS,
    people: int = _PEOPLE,
) -> dict[str, Any]:
    """Measure and return the content of the JSON file; `show` is called with lines along the way.

    Returns
    -------
    dict
        `machine`, `versions`, `network` and `curves`. curves: by cause ("pairs", "pixels", "runs") the sizes `n`, the `seconds`
        (of an epoch, or to tabulate a study), the `memory_mb` at the peak of the process, and the slopes of both between the
        two largest sizes.
    """
    faces = _many_faces(pairs[-1] // 2, people, show)
    points: dict[str, list[tuple[int, float, float]]] = {"pairs": [], "pixels": [], "runs": []}

    def measured(cause: str, n: int, seconds: float, memory: float) -> None:
        show(f"{n:7,} {cause:6s} {seconds:8.2f} s {memory:7,.0f} MiB")
        points[cause].append((n, seconds, memory))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in pairs:
            measured("pairs", count, *_train(faces, {"data.pairs_per_class": count // 2}, folder))
        for side in sides:
            changes = {"data.pairs_per_class": pairs[0] // 2, "data.side": side}
            measured("pixels", side**2, *_train(faces, changes, folder))
        template = next(folder.iterdir())
        for count in seeds:
            measured("runs", *_tabulate(folder / f"study-{count}", count, template))
    curves = {cause: _curve(*map(list, zip(*found, strict=True))) for cause, found in points.items()}
    network = "a twentieth of the filters, drawn faces"
    result = {"machine": cpu_name(), "versions": versions(), "network": network, "curves": curves}
    for line in table(result):
        show(line)
    return result


def table(result: dict[str, Any]) -> list[str]:
    """The slopes as lines for a person."""
    return [
        f"{result['machine']}; growth as n^slope between the two largest sizes",
        *(
            f"{cause:6s}: time ^{c['seconds_slope']:.2f}, memory ^{c['memory_slope']:.2f}, up to n = {c['n'][-1]:,}"
            for cause, c in result["curves"].items()
        ),
    ]


def slope(n: Sequence[float], values: Sequence[float]) -> float:
    """The exponent of growth between the two largest sizes."""
    return round(float(np.log(values[-1] / values[-2]) / np.log(n[-1] / n[-2])), 3)


def _curve(n: list[int], seconds: list[float], memory: list[float]) -> dict[str, Any]:
    slopes = {"seconds_slope": slope(n, seconds), "memory_slope": slope(n, memory)}
    return {"n": n, "seconds": seconds, "memory_mb": memory, **slopes}


def _many_faces(per_class: int, people: int, show: Show) -> str:
    """A folder with drawn faces of many people, made on first use: a data folder in LFW-a's layout."""
    folder = cache_folder() / f"growth-{demo.DEMO_VERSION}-{people}-{per_class}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / f".{folder.name}.lock", patience=600):
        if not folder.is_dir():
            show(f"drawing the faces of {people:,} people, once")
            temporary = folder.with_name(f".{folder.name}")
            shutil.rmtree(temporary, ignore_errors=True)
            demo.make_demo(
                temporary,
                people=people,
                train_people=int(0.8 * people),
                train_pairs=per_class,
                test_pairs=max(10, per_class // 10),
                fold_pairs=2,
                seed=7,
            )
            (temporary / "demo").rename(temporary / "lfw2")
            os.replace(temporary, folder)
    return str(folder)


def _train(faces: str, changes: dict[str, Any], folder: Path) -> tuple[float, float]:
    """Seconds of an epoch and peak memory in MiB of a training process."""
    config = RunConfig().change({"data.dataset": "lfw-a", **_SLIVER, **changes})
    bank, pairs = prepare_bank(config.data, faces), load_pairs(config.data, faces)
    run = config.identify(0, "float32", pairs.digest(bank))
    train_in_process(Job(run, config, folder / run, data_dir=faces, threads=0))
    result = read_json(folder / run / "result.json")
    return result["seconds_per_epoch"], result["peak_memory_mb"]


def _tabulate(out: Path, seeds: int, template: Path) -> tuple[int, float, float]:
    """Number of runs, seconds and peak memory in MiB of a process that opens a study of finished runs and writes its table.

    template: the folder of a run whose histories and scores all of them get.
    """
    study = Study(Settings(out=str(out), seeds=seeds, stages="base,early-stopping,batchnorm", precision="float32"))
    study.ask(study.requested())
    result, digest = read_json(template / "result.json"), study.data(study.base().data)[2]
    for stage in study.stages():
        for spec in study.climb(upto=stage)[-1].specs():
            folder = study.store.folder(spec.run)
            folder.mkdir(parents=True)
            for name in ("history.csv", "predictions.csv"):
                os.link(template / name, folder / name)
            identity = {"run": spec.run, "seed": spec.seed}
            config = {"version": TRAINING_VERSION, "config": spec.config.to_dict(), "precision": "float32"}
            write_json(folder / "config.json", {**identity, **config, "data_digest": digest})
            write_json(folder / "result.json", {**result, **identity})
    command, count = [sys.executable, "-c", _TABULATE, str(out)], len(study.store.ids())
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    if done.returncode:
        raise RunError(f"growth: a study of {count} runs could not be tabulated: {done.stderr[-600:]}")
    seconds, memory = map(float, done.stdout.split()[-2:])
    return count, seconds, memory


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    write_json(RESULTS / "growth.json", growth())
