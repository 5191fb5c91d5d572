"""Measures of scores: accuracy, cross-entropy, ROC, AUC, EER and calibration.

Everywhere `label` is (n,), 1 for the same person, and `score` (n,), a probability of "same".
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Probabilities are kept this far from 0 and 1 in the cross-entropy, as Keras does.
EPSILON = 1e-7


def accuracy(label: ArrayLike, score: ArrayLike, threshold: float = 0.5) -> float:
    """Share of pairs classified correctly at a threshold; NaN if a score is not finite."""
    label, score = np.asarray(label), np.asarray(score, float)
    if not np.isfinite(score).all():
        return float("nan")
    return float(np.mean((score > threshold) == (label > 0.5)))


def cross_entropy(label: ArrayLike, score: ArrayLike) -> float:
    """Mean binary cross-entropy in nats of probabilities against hard labels."""
    y, p = np.asarray(label, float), np.clip(np.asarray(score, float), EPSILON, 1 - EPSILON)
    return -float(np.mean(y * np.log(p) + (1 - y) * np.log1p(-p)))


def platt(label: ArrayLike, logit: ArrayLike, balanced: bool = False) -> tuple[float, float]:
    """Scale and shift that calibrate a logit: logistic regression in one variable (Platt 1999).

    The scale is at least 0.001, so the order of scores is kept. Labels of one class leave the logit unchanged. `balanced`:
    both classes have the same weight, however many pairs they have.
    """
    from sklearn.linear_model import LogisticRegression

    logit = np.asarray(logit, float)
    if not np.isfinite(logit).all() or not _two_classes(label):
        return 1.0, 0.0
    spread = max(float(logit.std()), 1e-6)
    weight = "balanced" if balanced else None
    fitted = LogisticRegression(C=1e4, class_weight=weight).fit((logit / spread)[:, None], np.asarray(label) > 0.5)
    return max(float(fitted.coef_[0, 0]) / spread, 0.001), float(fitted.intercept_[0])


def calibrated(label: ArrayLike, score: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """The probabilities `others`, calibrated by `platt` on held-out pairs with these labels and scores."""
    scale, shift = platt(label, _logit(score))
    return 1 / (1 + np.exp(-(scale * _logit(others) + shift)))


def ensemble(scores: ArrayLike) -> NDArray[np.float64]:
    """The probability at the mean logit of several networks: (networks, pairs) to (pairs,)."""
    return 1 / (1 + np.exp(-np.mean(_logit(scores), axis=0)))


def rates(label: ArrayLike, score: ArrayLike, threshold: float = 0.5) -> tuple[float, float]:
    """True-positive and true-negative rate at a threshold; NaN for a class without pairs."""
    label, same = np.asarray(label) > 0.5, np.asarray(score, float) > threshold
    positive, negative = (float(hit.mean()) if len(hit) else float("nan") for hit in (same[label], ~same[~label]))
    return positive, negative


def roc(label: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """False-positive rates, true-positive rates and thresholds of the ROC curve (scikit-learn's)."""
    from sklearn.metrics import roc_curve

    return roc_curve(np.asarray(label), np.asarray(score, float))


def auc(label: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve; NaN for one class."""
    if not _two_classes(label):
        return float("nan")
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(np.asarray(label), np.asarray(score, float)))


def equal_error_rate(label: ArrayLike, score: ArrayLike) -> float:
    """Error rate where false accepts and false rejects are equally frequent, linear between ROC points; NaN for one class."""
    if not _two_classes(label):
        return float("nan")
    false_positive, true_positive, _ = roc(label, score)
    return float(np.interp(0, false_positive - (1 - true_positive), false_positive))


def wilson(correct: int, total: int) -> tuple[float, float]:
    """Lower and upper end of Wilson's 95 % score interval of a proportion (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(correct, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def summarise(label: ArrayLike, score: ArrayLike) -> dict[str, float]:
    """Accuracy at 0.5, cross-entropy, AUC, EER and rates of scored pairs; all NaN if a score is not finite."""
    if not np.isfinite(np.asarray(score, float)).all():
        return dict.fromkeys(("accuracy", "cross_entropy", "auc", "eer", "tpr", "tnr"), float("nan"))
    positive, negative = rates(label, score)
    return {
        "accuracy": accuracy(label, score),
        "cross_entropy": cross_entropy(label, score),
        "auc": auc(label, score),
        "eer": equal_error_rate(label, score),
        "tpr": positive,
        "tnr": negative,
    }


def pick_examples(label: ArrayLike, score: ArrayLike) -> dict[tuple[bool, bool], list[int]]:
    """Rows of the four most and two least confident pairs by (same person, classified correctly), most confident first.

    Confidence is the distance of the score from 0.5.
    """
    label, score = np.asarray(label) > 0.5, np.asarray(score, float)
    correct = (score > 0.5) == label
    groups = {}
    for same in (True, False):
        for hit in (True, False):
            rows = np.flatnonzero((label == same) & (correct == hit))
            rows = rows[np.argsort(-np.abs(score[rows] - 0.5), kind="stable")].tolist()
            groups[same, hit] = rows[:4] + rows[4:][-2:]
    return groups


def best_threshold(label: ArrayLike, score: ArrayLike) -> float:
    """The threshold of highest accuracy, half-way between two scores; among equals, the nearest to 0.5.

    For validation pairs only.
    """
    label, score = np.asarray(label) > 0.5, np.asarray(score, float)
    values = np.unique(score)
    candidates = np.concatenate([[values[0] - 1e-6], (values[1:] + values[:-1]) / 2, [values[-1] + 1e-6]])
    matched, mismatched = np.sort(score[label]), np.sort(score[~label])
    false_rejects, true_rejects = (np.searchsorted(of, candidates, "right") for of in (matched, mismatched))
    correct = len(matched) - false_rejects + true_rejects
    best = np.flatnonzero(correct == correct.max())
    return float(candidates[best[np.argmin(np.abs(candidates[best] - 0.5))]])


def true_accept_rate(label: ArrayLike, score: ArrayLike, false_accept_rate: float) -> float:
    """Share of matched pairs accepted at the lowest threshold with at most this false-accept rate; NaN for one class."""
    if not _two_classes(label):
        return float("nan")
    from sklearn.metrics import roc_curve

    false_positive, true_positive, _ = roc_curve(label, score, drop_intermediate=False)
    return float(true_positive[false_positive <= false_accept_rate + 1e-9].max())


def calibration(label: ArrayLike, score: ArrayLike) -> tuple[float, list[tuple[float, float, int]]]:
    """Expected calibration error over ten bins of equal width (Naeini et al. 2015), and the reliability diagram's points.

    Each point is (mean score, share of matched pairs, count) of a non-empty bin.
    """
    label, score = np.asarray(label, float), np.asarray(score, float)
    at = np.minimum((score * 10).astype(int), 9)
    points = [(float(score[at == b].mean()), float(label[at == b].mean()), int((at == b).sum())) for b in np.unique(at)]
    error = sum(count * abs(confidence - share) for confidence, share, count in points) / len(score)
    return float(error), points


def view2_estimate(accuracies: ArrayLike) -> tuple[float, float]:
    """Mean and standard error S / sqrt(10) over the ten folds (Huang et al. 2007, section IV)."""
    values = np.asarray(accuracies, float)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _logit(score: ArrayLike) -> NDArray[np.float64]:
    p = np.clip(np.asarray(score, float), EPSILON, 1 - EPSILON)
    return np.log(p) - np.log1p(-p)


def _two_classes(label: ArrayLike) -> bool:
    label = np.asarray(label) > 0.5
    return bool(label.any() and not label.all())
