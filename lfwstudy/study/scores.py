"""Scores of finished runs, by seed and pair; the best configuration of a study and its best run, by validation alone."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from lfwstudy.data.pairs import Pairs
from lfwstudy.data.splits import component_labels
from lfwstudy.errors import StudyError
from lfwstudy.evaluation import metrics
from lfwstudy.runs.store import Store
from lfwstudy.study.rungs import Spec
from lfwstudy.study.settings import COMBINATION

Row = Mapping[str, Any]

# One digit fewer than in results.csv, so that means over its rows tie like means over result.json.
_DIGITS = 8


def score(results: Iterable[Row]) -> tuple[float, float]:
    """A configuration's score on validation: larger is better; equal scores are ties.

    Parameters
    ----------
    results : iterable of dict
        A result.json or a row of results.csv for each seed (and fold).

    Returns
    -------
    tuple of float
        Mean accuracy at the best epoch (0 to 1) and minus the mean cross-entropy (nats). NaN where a seed diverged.

    Raises
    ------
    StudyError
        If a number is missing or is not one.
    """
    numbers = [[_number(result, name) for name in ("val_accuracy_at_best", "val_cross_entropy")] for result in results]
    accuracy, entropy = np.mean(numbers, axis=0)
    return round(float(accuracy), _DIGITS), -round(float(entropy), _DIGITS)


def best_rows(rows: Iterable[Row]) -> list[Row]:
    """Rows of the best configuration, one for each seed and fold; [] if nothing is carried forward.

    Among the configurations that the ladders in `rows` carried forward, the best has the highest `score`; among equals,
    the first.

    Parameters
    ----------
    rows : iterable of dict
        Rows of results.csv, as read from the file or from `Results.rows`, of one ladder or several.

    Raises
    ------
    StudyError
        If a row carried forward lacks a number.
    """
    return next(iter(_ranked(rows)), [])


def best_run(rows: Iterable[Row], store: Store, need_weights: bool = False) -> Row | None:
    """The row of the best configuration's best run: the one with the lowest validation cross-entropy.

    Parameters
    ----------
    rows : iterable of dict
        As for `best_rows`.
    store : Store
        The runs. The cross-entropy is that of the best epoch's weights, which are the ones kept.
    need_weights : bool
        Consider only runs whose network is kept, and the next best configuration if the best has none.

    Returns
    -------
    dict or None
        None if no such run is finished.
    """
    for configuration in _ranked(rows):
        runs = [
            row
            for row in configuration
            if store.is_finished(row["run"]) and (not need_weights or store.has_weights(row["run"]))
        ]
        if len(runs) > 1:
            scored = [store.scores(row["run"], "val") for row in runs]
            return runs[np.argmin([metrics.cross_entropy(s["label"], s["score_at_best"]) for s in scored])]
        if runs:
            return runs[0]
    return None


def test_scores(
    store: Store, specs: Sequence[Spec], column: str, calibrate: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Scores of the test pairs, float (seeds, pairs), and their labels (pairs,); the folds of View 2 side by side.

    Parameters
    ----------
    column : str
        "score" or "score_at_best".
    calibrate : bool
        Whether to calibrate the scores on validation first.

    Returns
    -------
    tuple of array, or None
        None if a run is not finished, its test pairs are not scored, or it diverged.
    """
    if not all(store.is_finished(spec.run, with_test=True) for spec in specs):
        return None
    scores, labels = _test_scores(str(store.root), tuple((spec.seed, spec.run) for spec in specs), calibrate)
    return (scores[column], labels) if np.isfinite(scores[column]).all() else None


def components(scored: Iterable[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Connected component of each scored pair in the graph of people: int (pairs,).

    scored: predictions of each fold, one after the other; pairs of different folds belong to different components.
    """
    labels: list[np.ndarray] = []
    for fold in scored:
        nothing = np.zeros(len(fold["left"]), int)
        found = component_labels(Pairs(fold["left"], fold["right"], nothing, nothing, nothing))
        labels.append(found + (labels[-1].max() + 1 if labels else 0))
    return np.concatenate(labels)


def _ranked(rows: Iterable[Row]) -> list[list[Row]]:
    """The configurations carried forward, best first: lists of rows."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        if row["carried_forward"] in (True, "true"):
            key = *(row[name] for name in COMBINATION), row["stage"], row["variant"]
            groups.setdefault(key, []).append(row)
    scored = [(score(group), group) for group in groups.values()]
    usable = [(found, group) for found, group in scored if all(map(math.isfinite, found))]
    # Stable: equals keep their order.
    return [group for _, group in sorted(usable, key=lambda pair: pair[0], reverse=True)]


def _number(result: Row, name: str) -> float:
    try:
        return float(result[name])
    except (KeyError, TypeError, ValueError):
        raise StudyError(
            f"run {result.get('run')}: {name} is {str(result.get(name))[:80]!r}, not a number; "
            "`lfwstudy run` writes results.csv again"
        ) from None


@lru_cache(maxsize=64)
def _test_scores(
    root: str, runs: tuple[tuple[int, str], ...], calibrate: bool
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`test_scores` by column. runs: (seed, run), finished with test scores, which no longer change."""
    store = Store(root)
    by_seed: dict[int, list[dict[str, np.ndarray]]] = {}
    for seed, run in runs:
        by_seed.setdefault(seed, []).append(store.calibrated_scores(run) if calibrate else store.scores(run))
    joined = {
        column: np.stack([np.concatenate([scored[column] for scored in by_seed[seed]]) for seed in sorted(by_seed)])
        for column in ("score", "score_at_best", "label")
    }
    return joined, joined["label"][0]
