"""The threshold that suits a user's own labelled pairs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lfwstudy.errors import DataError
from lfwstudy.evaluation import metrics
from lfwstudy.system.text import percent
from lfwstudy.verify import THRESHOLD

# With fewer matched, or fewer mismatched, pairs a threshold is a guess.
FEWEST = 20
FOLDS = 10


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
    counts = np.bincount(label, minlength=2)
    if counts.min() < FEWEST:
        raise DataError(
            f"a threshold is fitted on at least {FEWEST} pairs of the same person and {FEWEST} of different people; "
            f"{counts[1]} and {counts[0]} have a score"
        )
    fold, hits = np.empty(len(label), int), np.empty(len(label), bool)
    for kind, count in enumerate(counts):
        fold[label == kind] = np.arange(count) % FOLDS
    for test in (fold == number for number in range(FOLDS)):
        hits[test] = (score[test] > _best(label[~test], score[~test])) == label[test]
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


def _best(label: np.ndarray, score: np.ndarray) -> float:
    return float(np.clip(round(metrics.best_threshold(label, score), 6), 0, 1))  # as it is printed
