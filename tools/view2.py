"""Train View 2's networks side by side, without a study: `python -m tools.view2 --data-dir DIR --out DIR`.

A variant of the ladder beyond is trained in all ten folds, then each of its members in a file of stages, tools/members.toml.
The runs are those of `lfwstudy run --ladder beyond --protocol view2`: copied into its runs/, they count as finished. The data
folder may hold the images as `tools.light pack --all-images` wrote them.
"""

import argparse
import math
import sys
from collections.abc import Mapping
from pathlib import Path

from lfwstudy.config import PRECISIONS, RunConfig
from lfwstudy.data.prepare import load_data
from lfwstudy.errors import StudyError, one_line
from lfwstudy.ladder.own_stages import read
from lfwstudy.runs.job import Job
from lfwstudy.runs.store import Store
from lfwstudy.system.machine import cores
from lfwstudy.system.precision import resolve_precision
from tools import light
from tools.ruler import config_of
from tools.side_by_side import SideBySide

FOLDS = range(1, 11)


def jobs(recipes: Mapping[str, RunConfig], data_dir: str, store: Store, precision: str, threads: int = 1) -> list[Job]:
    """All folds of a recipe before the next: the single networks' figure is complete first. Raises DataError."""
    found = []
    for name, recipe in recipes.items():
        for fold in FOLDS:
            config = recipe.change({"data.protocol": "view2", "data.fold": fold})
            digest = load_data(config.data, data_dir)[2]
            run = config.identify(0, precision, digest)
            place = 0, precision, data_dir, digest
            found.append(Job(run, config, store.folder(run), *place, title=f"{name}, fold {fold}", threads=threads))
    return found


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", default="all-people-whitened/whitened", help="STAGE/VARIANT of the ladder beyond")
    parser.add_argument("--members", help="a file of stages with changes to it; without it, the start alone")
    parser.add_argument("--dataset", default="lfw-deepfunneled")
    parser.add_argument("--data-dir", required=True, help="folder with the images and pair files")
    parser.add_argument("--out", type=Path, required=True, help="folder whose runs/ gets the runs")
    parser.add_argument("--precision", choices=("auto", *PRECISIONS), default="auto")
    parser.add_argument("--at-once", type=int, default=cores(), metavar="N", help="networks trained side by side")
    parser.add_argument(
        "--seconds", type=float, default=math.inf, metavar="N", help="start nothing that would end later"
    )
    options = parser.parse_args(arguments)
    data_dir, store = str(Path(options.data_dir).absolute()), Store(options.out / "runs")
    beside = SideBySide(options.at_once, options.seconds)
    try:
        first = config_of(options.start, options.dataset)
        stages = read(options.members) if options.members else ()
        recipes = {options.start: first} | {v.id: first.change(v.changes) for stage in stages for v in stage.variants}
        for framing in {recipe.data for recipe in recipes.values()}:
            light.unpack(Path(data_dir), framing)
        wanted = jobs(recipes, data_dir, store, resolve_precision(options.precision), beside.threads)
        for _ in beside.train([job for job in wanted if not store.is_finished(job.run)]):
            pass
    except StudyError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    done = sum(store.is_finished(job.run) for job in wanted)
    print(f"{done} of {len(wanted)} networks are trained; the same command resumes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
