"""The ruler for training recipes: how well does a network tell people apart that it has never seen? No test pair is read.

`python -m tools.ruler RECIPES.toml --dataset lfw-deepfunneled --data-dir DIR --out DIR --csv tried.csv` trains every variant
in a file of stages, and the configuration that they change, on four splits of peopleDevTrain's people, 15 % of them held
out, with two seeds. It measures the cross-entropy over all mismatched pairs of the held-out people and up to three matched
pairs of each. A recipe stays if that is at least 2 % lower in three of the four splits. Every measurement is written to
the CSV file as soon as it is made; the same command resumes. Training cannot read images of anybody else.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lfwstudy.config import DataConfig, RunConfig
from lfwstudy.data.bank import ImageBank
from lfwstudy.data.pair_files import pair_file
from lfwstudy.data.pairs import image_names, person_of, read_people, read_view1
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.errors import StudyError, choose_one, one_line
from lfwstudy.ladder import LADDERS, base_config
from lfwstudy.ladder.own_stages import read
from lfwstudy.runs.store import Store
from lfwstudy.system.files import write_csv, write_text
from lfwstudy.system.precision import resolve_precision
from lfwstudy.verify.network import Network, load_run
from tools.measurement import finish, job, line_per_run

SPLITS, SEEDS, HELD_OUT, MATCHED = 4, 2, 0.15, 3
# A recipe stays if it lowers the cross-entropy by this share, in this share of the splits.
GAIN, MOST = 0.02, 0.75
NEAREST = 100  # of all training images, for the usual cosine of an image to strangers
COLUMNS = (
    "recipe",
    "split",
    "seed",
    "cohort",
    "cross_entropy",
    "auc",
    "accuracy",
    "epochs",
    "seconds",
    "device",
    "run",
)


def ruler(
    recipes: Mapping[str, RunConfig], data_dir: str, out: Path, target: Path, splits: int = SPLITS, seeds: int = SEEDS
) -> pd.DataFrame:
    """Train and measure what the CSV file `target` lacks; returns its rows, as in COLUMNS. Raises RunError."""
    rows = pd.read_csv(target, dtype={"run": str}).to_dict("records") if target.exists() else []
    store, precision, show = Store(out / "runs"), resolve_precision("auto"), line_per_run()
    # All recipes on a split before the next: the comparison is complete on the splits that are done.
    for split in range(1, splits + 1):
        for name, config in recipes.items():
            folder = str(write_split(out / f"split-{split}", split, config.data, data_dir))
            titles = [f"{name}, split {split}, seed {seed}" for seed in range(seeds)]
            jobs = [job(config, seed, precision, folder, store, title) for seed, title in enumerate(titles)]
            finish([replace(one, keep_weights=True) for one in jobs], store, show)
            held = split_people(config.data, split, data_dir)[1]
            for one in (one for one in jobs if one.run not in {row["run"] for row in rows}):
                result = store.result(one.run)
                of_run = {"recipe": name, "split": split, "seed": one.seed, "run": one.run, "device": result["device"]}
                of_run |= {"epochs": result["epochs_run"], "seconds": round(result["seconds_total"])}
                bank = prepare_bank(config.data, folder)
                rows += [of_run | found for found in measure(load_run(store, one.run), bank, held)]
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
    leaves out; its images are of these two groups.
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
    bank = folder / f"{config.dataset}-{config.crop}-{config.side}-{config.filter}.npz"
    if not bank.exists():
        prepare_bank(config, data_dir).subset(image_names([training, held])).save(bank)
    return folder


def measure(network: Network, bank: ImageBank, held: Mapping[str, int]) -> list[dict[str, Any]]:
    """Cross-entropy (nats), AUC and accuracy of a network on the pairs of held-out people, matched and mismatched alike in
    weight: of the plain cosine (cohort 0), and less the usual cosine to a cohort, all training images.

    The line from cosine to log-odds is fitted on pairs within one half of the people and measured within the other.
    """
    person = person_of(bank.names)
    held_out = np.isin(person, list(held))
    mine, others = (_unit(network.embed(bank.images[rows])) for rows in (held_out, ~held_out))
    usual = np.sort(mine @ others.T, axis=1)[:, -NEAREST:].mean(axis=1)
    left, right, label = held_out_pairs(person[held_out])
    half = np.isin(person[held_out], np.random.default_rng(81).permutation(list(held))[::2]).astype(int)
    within = np.where(half[left] == half[right], half[left], -1)
    cosine = (mine @ mine.T)[left, right]
    scores = {0: cosine, len(others): cosine - (usual[left] + usual[right]) / 2}
    return [{"cohort": cohort, **crossed(score, label, within)} for cohort, score in scores.items()]


def held_out_pairs(person: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All mismatched, and at most MATCHED matched pairs of each person: rows left and right, and labels, each (pairs,)."""
    left, right = np.triu_indices(len(person), 1)
    mismatched = person[left] != person[right]
    rows = (np.flatnonzero(person == one) for one in np.unique(person))
    matched = np.array([pair for of_one in rows for pair in list(combinations(of_one, 2))[:MATCHED]], int).reshape(
        -1, 2
    )
    label = np.r_[np.ones(len(matched), int), np.zeros(mismatched.sum(), int)]
    return np.r_[matched[:, 0], left[mismatched]], np.r_[matched[:, 1], right[mismatched]], label


def crossed(score: np.ndarray, label: np.ndarray, half: np.ndarray) -> dict[str, float]:
    """Measures of scores, fitted on half 0 and measured on half 1 and the other way round, averaged; others (-1) are left
    out. Both classes have the same weight."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score
    from sklearn.utils import compute_sample_weight

    found = []
    for fitted, at in ((half == 0, half == 1), (half == 1, half == 0)):
        scaled = score[:, None] / score[fitted].std()
        line = LogisticRegression(C=1e4, class_weight="balanced").fit(scaled[fitted], label[fitted])
        p, y = line.predict_proba(scaled[at])[:, 1], label[at]
        entropy = log_loss(y, p, sample_weight=compute_sample_weight("balanced", y))
        found.append((entropy, roc_auc_score(y, p), balanced_accuracy_score(y, p > 0.5)))
    return dict(zip(("cross_entropy", "auc", "accuracy"), map(float, np.mean(found, axis=0))))


def verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """Every recipe, with its cohort, against the first: mean cross-entropy, gain in each split, and whether it stays."""
    keys = [rows["recipe"], rows["cohort"], rows["split"]]
    by_split = rows["cross_entropy"].groupby(keys, sort=False).mean().unstack()
    gains = 1 - by_split / by_split.iloc[0]
    found = gains.rename(columns="gain in split {}".format)
    found.insert(0, "cross_entropy", by_split.mean(axis=1))
    return found.assign(stays=(gains >= GAIN).sum(axis=1) >= MOST * gains.shape[1]).reset_index()


def _write_pairs(path: Path, matched: Sequence[Sequence[str]], mismatched: Sequence[Sequence[str]]) -> None:
    size = min(len(matched), len(mismatched))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join([str(size), *map("\t".join, [*matched[:size], *mismatched[:size]]), ""]))


def _fields(image: str) -> list[str]:
    """A name and a number, as pair files have them."""
    person, _, number = image.rpartition("_")
    return [person, str(int(number))]


def _unit(embeddings: np.ndarray) -> np.ndarray:
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def recipes_of(path: str, start: str, dataset: str) -> dict[str, RunConfig]:
    """The configuration of "stage/variant" of the ladder beyond, then every variant in a file of stages as changes to it.

    Raises ConfigError for an unknown stage, variant or setting.
    """
    ladder = LADDERS["beyond"]
    stage = ladder.stage(start.partition("/")[0])
    name = choose_one("variant", start.partition("/")[2], [variant.id for variant in stage.variants])
    changes = next(variant.changes for variant in stage.variants if variant.id == name)
    # The cohort is the ruler's own.
    first = base_config("report", "beyond", dataset=dataset).change({**changes, "model.cohort": 0})
    own = {f"{stage.id}/{v.id}": first.change(v.changes) for stage in read(path) for v in stage.variants}
    return {start: first, **own}


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", metavar="RECIPES.toml", help="a file of stages, as for `lfwstudy run --stages-file`")
    parser.add_argument("--start", default="all-people-shallow/shallow", help="STAGE/VARIANT of the ladder beyond")
    parser.add_argument("--dataset", default="lfw-deepfunneled")
    parser.add_argument("--data-dir", default="", help="folder with your copy of the images")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and their weights")
    parser.add_argument("--csv", type=Path, required=True, help="file for the measurements")
    parser.add_argument("--splits", type=int, default=SPLITS, metavar="N", help="stop after the first N")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="networks of each recipe and split")
    options = parser.parse_args(arguments)
    try:
        recipes = recipes_of(options.recipes, options.start, options.dataset)
        rows = ruler(recipes, options.data_dir, options.out, options.csv, options.splits, options.seeds)
    except StudyError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    print(verdicts(rows).to_string(index=False, float_format="{:.4f}".format))
    return 0


if __name__ == "__main__":
    sys.exit(main())
