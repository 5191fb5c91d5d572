"""Scores of finished runs by seed and pair, and the components of pairs connected through their people."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from lfwstudy.data.pairs import Pairs
from lfwstudy.data.splits import component_labels
from lfwstudy.runs.store import Store
from lfwstudy.study.rungs import Spec


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


def validation_correct(store: Store, specs: Sequence[Spec], column: str) -> tuple[np.ndarray, np.ndarray]:
    """Correct answers on the validation pairs of View 1, bool (seeds, pairs), and the components of the pairs (pairs,)."""
    scored = [store.scores(spec.run, "val") for spec in specs]
    correct = np.stack([(s[column] > 0.5) == (s["label"] > 0.5) for s in scored])
    return correct, components([store.predictions(specs[0].run, "val")])


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
