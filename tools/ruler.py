"""The ruler for training recipes: how well does a network tell people apart that it has never seen? No test pair is read.

`python -m tools.ruler RECIPES.toml --dataset lfw-deepfunneled --data-dir DIR --out DIR --csv tried.csv` trains every variant
in a file of stages, and the configuration that they change, on four splits of peopleDevTrain's people, 15 % of them held
out, with two seeds. It measures the cross-entropy over all mismatched pairs of the held-out people and up to three matched
pairs of each. A recipe stays if that is at least 2 % lower in three of the four splits. Every measurement is written to
the CSV file as soon as it is made; the same command resumes. Training cannot read images of anybody else.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from lfwstudy.config import PRECISIONS, DataConfig, RunConfig
from lfwstudy.data.bank import ImageBank
from lfwstudy.data.pair_files import pair_file
from lfwstudy.data.pairs import image_names, read_people, read_view1
from lfwstudy.data.prepare import load_data, prepare_bank
from lfwstudy.errors import StudyError, choose_one, one_line
from lfwstudy.ladder import LADDERS, base_config
from lfwstudy.ladder.own_stages import read
from lfwstudy.runs.job import Job
from lfwstudy.runs.store import Store
from lfwstudy.system.files import check_target, write_csv, write_text
from lfwstudy.system.machine import cores
from lfwstudy.system.precision import resolve_precision
from tools import light, ruler_training
from tools.side_by_side import SideBySide

SPLITS, SEEDS, HELD_OUT = 4, 2, 0.15
# A recipe stays if it lowers the cross-entropy by this share, in this share of the splits.
GAIN, MOST = 0.02, 0.75
SCORING = ("cohort", "neighbours", "zooms", "whitening")
COLUMNS = (
    *("recipe", "split", "seed", *SCORING),
    *("cross_entropy", "auc", "accuracy", "parameters", "epochs", "seconds", "device", "run"),
)


def ruler(
    recipes: Mapping[str, RunConfig],
    data_dir: str,
    out: Path,
    target: Path,
    splits: int = SPLITS,
    seeds: int = SEEDS,
    beside: SideBySide | None = None,
    precision: str = "auto",
) -> pd.DataFrame:
    """Train and measure what the CSV file `target` lacks; returns its rows, as in COLUMNS. Raises DataError, RunError.

    beside: trains the networks, several at once, perhaps until a time; by default as many as there are cores.
    """
    rows = pd.read_csv(target, dtype={"run": str, "cohort": str}).to_dict("records") if target.exists() else []
    beside, known, store = beside or SideBySide(), {row["run"] for row in rows}, Store(out / "runs")
    precision, places, jobs = resolve_precision(precision), {}, []
    # All recipes on a split before the next: the comparison is complete on the splits that are done.
    for seed, split, (name, config) in product(range(seeds), range(1, splits + 1), recipes.items()):
        folder, digest = _split_data(out, split, config.data, data_dir)
        run = config.identify(seed, precision, digest)
        places[run] = {"recipe": name, "split": split, "seed": seed, "run": run}
        job = Job(run, config, store.folder(run), seed, precision, folder, digest, keep_weights=True)
        title = f"{name}, split {split}, seed {seed}"
        jobs.append(replace(job, title=title, threads=beside.threads, program=ruler_training.__name__))
    for job in beside.train([job for job in jobs if job.run not in known]):
        result = store.result(job.run)
        of_run = places[job.run] | {"parameters": result["parameters"], "epochs": result["epochs_run"]}
        of_run |= {"seconds": round(result["seconds_total"]), "device": result["device"]}
        rows += [of_run | found for found in ruler_training.measured(job)]
        write_csv(target, COLUMNS, rows)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def split_people(config: DataConfig, split: int, data_dir: str) -> tuple[dict[str, int], dict[str, int]]:
    """People of peopleDevTrain.txt to train on and people held out, with their numbers of images; a function of the split."""
    (counts,) = read_people(pair_file("peopleDevTrain.txt", config.dataset, data_dir))
    people = sorted(counts)
    drawn = np.random.default_rng([80, split]).random(len(people)) < HELD_OUT
    parts = ({p: counts[p] for p, held in zip(people, drawn) if held == wanted} for wanted in (False, True))
    return next(parts), next(parts)


def write_split(folder: Path, split: int, config: DataConfig, data_dir: str) -> Path:
    """Write a data folder for a split; returns it.

    Its training pairs are View 1's among the training people, its test pairs are of the held-out people, whom training
    leaves out; its images, in each framing of `ruler_training.views_of`, are of these two groups.
    """
    training, held = split_people(config, split, data_dir)
    pairs = read_view1(pair_file("pairsDevTrain.txt", config.dataset, data_dir))
    inside = np.isin(pairs.people(), list(training)).all(axis=1)
    matched, mismatched = (pairs.take(inside & (pairs.label == label)) for label in (1, 0))
    several = [person for person, images in held.items() if images > 1]
    _write_pairs(
        folder / "pairsDevTrain.txt",
        [_fields(left)[:2] + _fields(right)[1:] for left, right in zip(matched.left, matched.right)],
        [_fields(left) + _fields(right) for left, right in zip(mismatched.left, mismatched.right)],
    )
    _write_pairs(
        folder / "pairsDevTest.txt",
        [[person, "1", "2"] for person in several],
        [[one, "1", other, "1"] for one, other in zip(several, [*several[1:], several[0]])],
    )
    people = [f"{person}\t{images}" for person, images in training.items()]
    write_text(folder / "peopleDevTrain.txt", "\n".join([str(len(people)), *people, ""]))
    # All splits are of the same people: one file serves them.
    for framing in ruler_training.views_of(config):
        name = f"{framing.dataset}-{framing.crop}-{framing.side}-{framing.filter}.npz"
        if not (shared := folder.parent / "images" / name).exists():
            _images(framing, data_dir).subset(image_names([training, held])).save(shared)
        if not (folder / name).exists():
            (folder / name).symlink_to(Path("..", "images", name))
    return folder


@lru_cache(maxsize=64)
def _split_data(out: Path, split: int, config: DataConfig, data_dir: str) -> tuple[str, str]:
    """A split's data folder and the digest of its data."""
    folder = str(write_split(out / f"split-{split}", split, config, data_dir).absolute())
    return folder, load_data(config, folder)[2]


def _images(config: DataConfig, data_dir: str) -> ImageBank:
    """The images of a data folder, which may have them as `tools.light` packs them."""
    return light.bank(data_dir, config) if Path(data_dir, light.NAME).is_file() else prepare_bank(config, data_dir)


def verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """Every recipe and scoring: mean cross-entropy, its gain over the first recipe with the first scoring (today's), gains
    over the first recipe with the same scoring in each split, and whether the recipe stays. Gains are of the same splits and
    seeds."""
    measured = rows.set_index(["recipe", *SCORING, "split", "seed"])["cross_entropy"].unstack(["split", "seed"])
    measured = measured.reindex(rows.set_index(["recipe", *SCORING]).index.unique())  # in the order of the rows
    first = measured.xs(measured.index[0][0]).reindex(measured.index.droplevel("recipe"))
    gains = (1 - measured / first.to_numpy()).T.groupby("split").mean().T
    found = gains.rename(columns="gain in split {}".format)
    found.insert(0, "cross_entropy", measured.mean(axis=1))
    found.insert(1, "gain over today's", (1 - measured / measured.iloc[0]).mean(axis=1))
    return found.assign(stays=(gains >= GAIN).sum(axis=1) >= MOST * gains.notna().sum(axis=1)).reset_index()


def _write_pairs(path: Path, matched: Sequence[Sequence[str]], mismatched: Sequence[Sequence[str]]) -> None:
    size = min(len(matched), len(mismatched))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join([str(size), *map("\t".join, [*matched[:size], *mismatched[:size]]), ""]))


def _fields(image: str) -> list[str]:
    """A name and a number, as pair files have them."""
    person, _, number = image.rpartition("_")
    return [person, str(int(number))]


def recipes_of(path: str, start: str, dataset: str, only: Sequence[str] = ()) -> dict[str, RunConfig]:
    """The configuration of "stage/variant" of the ladder beyond, then every variant in a file of stages as changes to it.

    only : stages, or "stage/variant", of the file; () for all. Raises ConfigError for an unknown stage, variant or setting.
    """
    first = config_of(start, dataset).change({"model.cohort": 0, "model.whitening": 0.0})  # the ruler has its own
    own = {f"{stage.id}/{v.id}": first.change(v.changes) for stage in read(path) for v in stage.variants}
    for name in only:
        choose_one("recipe", name, [*own, *(recipe.partition("/")[0] for recipe in own)])
    chosen = {name: own[name] for name in own if not only or {name, name.partition("/")[0]} & set(only)}
    return {start: first, **chosen}


def config_of(name: str, dataset: str) -> RunConfig:
    """The configuration of "stage/variant" of the ladder beyond. Raises ConfigError for an unknown one."""
    stage = LADDERS["beyond"].stage(name.partition("/")[0])
    variants = {variant.id: variant.changes for variant in stage.variants}
    changes = variants[choose_one("variant", name.partition("/")[2], list(variants))]
    return base_config("report", "beyond", dataset=dataset).change(changes)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", metavar="RECIPES.toml", help="a file of stages, as for `lfwstudy run --stages-file`")
    parser.add_argument("--start", default="all-people-shallow/shallow", help="STAGE/VARIANT of the ladder beyond")
    parser.add_argument("--only", nargs="+", default=(), metavar="STAGE[/VARIANT]", help="some of the recipes")
    parser.add_argument("--dataset", default="lfw-deepfunneled")
    parser.add_argument("--data-dir", default="", help="folder with your copy of the images")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and their weights")
    parser.add_argument("--csv", type=Path, required=True, help="file for the measurements")
    parser.add_argument("--splits", type=int, default=SPLITS, metavar="N", help="stop after the first N")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="networks of each recipe and split")
    parser.add_argument(
        "--precision", choices=("auto", *PRECISIONS), default="auto", help="to resume: as in the CSV file's runs"
    )
    parser.add_argument("--at-once", type=int, default=cores(), metavar="N", help="networks trained side by side")
    parser.add_argument(
        "--seconds", type=float, default=math.inf, metavar="N", help="start nothing that would end later"
    )
    options = parser.parse_args(arguments)
    try:
        check_target(options.csv)
        recipes = recipes_of(options.recipes, options.start, options.dataset, options.only)
        beside = SideBySide(options.at_once, options.seconds)
        places = options.data_dir, options.out, options.csv
        rows = ruler(recipes, *places, options.splits, options.seeds, beside, options.precision)
    except StudyError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    wanted = options.splits * options.seeds * len(recipes)
    print(verdicts(rows).to_string(index=False, float_format="{:.4f}".format) if len(rows) else "nothing is measured")
    print(f"{rows['run'].nunique()} of {wanted} networks are measured; the same command resumes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
