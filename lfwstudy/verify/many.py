"""Many photos: pairs in a CSV file, their scores and a threshold fitted on them; a folder's photos and embeddings."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lfwstudy.errors import ConfigError, DataError, one_line, quoted, reading
from lfwstudy.evaluation import metrics
from lfwstudy.system.files import check_target, replacing
from lfwstudy.system.text import percent
from lfwstudy.verify import THRESHOLD

SCORE_COLUMNS = ("left", "right", "score", "same", "error")
# With fewer matched or mismatched pairs, a fitted threshold is a guess.
FEWEST = 20
FOLDS = 10
_FORMATS = (".npz", ".parquet")


def read_pairs(path: str | PathLike[str], labelled: bool = False) -> list[dict[str, str]]:
    """Rows of a CSV file of pairs of photos: `left` and `right` and, of `labelled` pairs, `label`: "1" or "0".

    Other columns are ignored. Raises DataError naming file, line and value, or for too few labelled pairs.
    """
    columns = ("left", "right", "label")[: 2 + labelled]
    pairs = []
    with reading(f"{path}: not a readable CSV file"), open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        header = rows.fieldnames or ()
        if not set(columns) <= set(header):
            raise DataError(f"{path}, line 1: the columns {','.join(columns)} expected, got {quoted(','.join(header))}")
        for row in rows:
            pair = {column: row[column] or "" for column in columns}
            told = f"got {quoted(','.join(pair.values()))}"
            if not (pair["left"] and pair["right"]) or "\0" in pair["left"] + pair["right"]:
                raise DataError(f"{path}, line {rows.line_num}: the paths of two photos expected, {told}")
            if labelled and pair["label"] not in ("0", "1"):
                raise DataError(f"{path}, line {rows.line_num}: a label 1 (same person) or 0 expected, {told}")
            pairs.append(pair)
    if not pairs:
        raise DataError(f"{path}: no pairs below the header")
    if labelled:  # before the photos are read
        _require_enough([int(pair["label"]) for pair in pairs], f"are in {path}")
    return pairs


def score_rows(
    pairs: Iterable[Mapping[str, str]], scores: Iterable[float | DataError], threshold: float
) -> list[dict[str, Any]]:
    """Rows with SCORE_COLUMNS, one for each pair: its score and whether it is above the threshold, or why there is none."""
    return [
        {**pair, "error": one_line(score)}
        if isinstance(score, DataError)
        else {**pair, "score": score, "same": score > threshold}
        for pair, score in zip(pairs, scores, strict=True)
    ]


@dataclass(frozen=True)
class FittedThreshold:
    """The threshold of highest accuracy on some labelled pairs, and accuracies from 0 to 1.

    accuracy: on these same pairs; cross_validated: on each tenth of them with the threshold fitted on the others;
    usual_accuracy: at the threshold `usual`.
    """

    threshold: float
    pairs: int
    accuracy: float
    cross_validated: float
    usual: float
    usual_accuracy: float
    auc: float

    def __str__(self) -> str:
        return (
            f"threshold {self.threshold:g}: {percent(self.accuracy)} % of {self.pairs:,} pairs correct, on the pairs that it "
            f"was fitted on; {percent(self.cross_validated)} % in {FOLDS}-fold cross-validation\n"
            f"threshold {self.usual:g}: {percent(self.usual_accuracy)} %\n"
            f"area under the ROC curve: {self.auc:.3f}"
        )


def fit_threshold(label: ArrayLike, score: ArrayLike, usual: float = THRESHOLD) -> FittedThreshold:
    """Fit a threshold on labelled pairs: `label` (n,), 1 for the same person, and `score` (n,).

    Raises DataError for fewer than FEWEST pairs of a kind.
    """
    label, score = np.asarray(label, int), np.asarray(score, float)
    _require_enough(label, "have a score")
    from sklearn.model_selection import StratifiedKFold

    hits = np.empty(len(label), bool)
    for others, tenth in StratifiedKFold(FOLDS).split(score, label):
        hits[tenth] = (score[tenth] > _best(label[others], score[others])) == label[tenth]
    threshold = _best(label, score)
    return FittedThreshold(
        threshold,
        len(label),
        metrics.accuracy(label, score, threshold),
        float(hits.mean()),
        usual,
        metrics.accuracy(label, score, usual),
        metrics.auc(label, score),
    )


def photos_in(folder: str | PathLike[str], target: Path) -> list[Path]:
    """The files in a folder and its subfolders in the order of their names, except hidden ones and `target`.

    Raises DataError if there is no such folder, or no file in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{folder}: no such folder")
    visible = (path for path in sorted(root.rglob("*")) if "/." not in f"/{path.relative_to(root).as_posix()}")
    photos = [path for path in visible if path.is_file() and path.resolve() != target.resolve()]
    if not photos:
        raise DataError(f"{folder}: no photo in it")
    return photos


def check_embeddings_target(path: Path) -> None:
    """Raise ConfigError if embeddings cannot be written to this file."""
    if path.suffix not in _FORMATS:
        raise ConfigError(f"{path}: a file whose name ends in {' or '.join(_FORMATS)} expected")
    if path.suffix == ".parquet" and not find_spec("pyarrow"):
        raise ConfigError(
            f"{path}: writing parquet needs pyarrow; `pip install 'lfwstudy[parquet]'`, or write an .npz file"
        )
    check_target(path)


def write_embeddings(path: Path, embeddings: Mapping[str, np.ndarray]) -> None:
    """Write embeddings, float32 (d,), by name, atomically.

    To .npz as the arrays `names` and `embeddings`, to .parquet as the columns `name` and `embedding`, a list.
    """
    with replacing(path) as temporary:
        if path.suffix == ".npz":
            np.savez(temporary, names=np.array(list(embeddings)), embeddings=np.stack(list(embeddings.values())))
        else:
            import pandas as pd

            frame = pd.DataFrame(embeddings.items(), columns=["name", "embedding"])
            frame.to_parquet(temporary, engine="pyarrow", index=False)


def _require_enough(label: ArrayLike, where: str) -> None:
    mismatched, matched = np.bincount(label, minlength=2)
    if min(matched, mismatched) < FEWEST:
        raise DataError(
            f"fitting a threshold takes at least {FEWEST} pairs of the same person and {FEWEST} of different people; "
            f"{matched} and {mismatched} {where}"
        )


def _best(label: np.ndarray, score: np.ndarray) -> float:
    return float(np.clip(round(metrics.best_threshold(label, score), 6), 0, 1))  # as it is printed
