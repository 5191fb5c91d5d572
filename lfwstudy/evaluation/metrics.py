"""How good is it, and is the difference real? Accuracy, loss, ROC, AUC, EER, intervals."""

import numpy as np

# Probabilities are kept this far from 0 and 1 in the cross-entropy, as Keras does.
EPSILON = 1e-7


def accuracy(label, score, threshold=0.5):
    """Share of pairs whose score is on the right side of the threshold; NaN where a score is not finite."""
    label, score = np.asarray(label), np.asarray(score, float)
    if not np.isfinite(score).all():
        return float("nan")
    return float(np.mean((score > threshold) == (label > 0.5)))


def cross_entropy(label, score):
    """Mean binary cross-entropy in nats of probabilities against hard labels."""
    label, score = np.asarray(label, float), np.clip(np.asarray(score, float), EPSILON, 1 - EPSILON)
    return float(-np.mean(label * np.log(score) + (1 - label) * np.log1p(-score)))


def platt(label, logit):
    """Scale and shift of a logit that suit the labels best: logistic regression in one variable (Platt 1999).

    A scale below 0.001 (a logit that says nothing, or the opposite) is raised to it, so that the order of scores stays. Labels of
    one class, which nothing can be fitted to, leave the logit as it is.
    """
    from sklearn.linear_model import LogisticRegression

    logit = np.asarray(logit, float)
    if not np.isfinite(logit).all() or not _two_classes(label):
        return 1.0, 0.0
    spread = max(float(logit.std()), 1e-6)
    fitted = LogisticRegression(C=1e4).fit((logit / spread)[:, None], np.asarray(label) > 0.5)
    return max(float(fitted.coef_[0, 0]) / spread, 0.001), float(fitted.intercept_[0])


def calibrated(label, score, others):
    """Probabilities `others` calibrated on pairs that are held out: their `score`s and labels, fitted by `platt`."""
    scale, shift = platt(label, _logit(score))
    return 1 / (1 + np.exp(-(scale * _logit(others) + shift)))


def ensemble(scores):
    """One probability from those of several networks, (networks, pairs) to (pairs,): that of their mean logit."""
    return 1 / (1 + np.exp(-np.mean(_logit(scores), axis=0)))


def rates(label, score, threshold=0.5):
    """True-positive and true-negative rate at a threshold; NaN for a class without pairs."""
    label, same = np.asarray(label) > 0.5, np.asarray(score, float) > threshold
    return tuple(float(right.mean()) if len(right) else float("nan") for right in (same[label], ~same[~label]))


def roc(label, score):
    """Points of the ROC curve: false-positive rates, true-positive rates, thresholds (scikit-learn's)."""
    from sklearn.metrics import roc_curve

    return roc_curve(np.asarray(label), np.asarray(score, float))


def auc(label, score):
    """Area under the ROC curve; NaN where there is one class only."""
    if not _two_classes(label):
        return float("nan")
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(np.asarray(label), np.asarray(score, float)))


def equal_error_rate(label, score):
    """Error rate where false accepts and false rejects are equally frequent, linear between ROC points; NaN where there is one
    class only."""
    if not _two_classes(label):
        return float("nan")
    false_positive, true_positive, _ = roc(label, score)
    gap = false_positive - (1 - true_positive)
    at = int(np.argmax(gap >= 0))
    if at == 0:
        return float(false_positive[0])
    share = -gap[at - 1] / (gap[at] - gap[at - 1])
    return float(false_positive[at - 1] + share * (false_positive[at] - false_positive[at - 1]))


def wilson(correct, total, level=0.95):
    """Wilson's score interval of a proportion (Wilson 1927), lower and upper end."""
    from scipy.stats import binomtest

    interval = binomtest(correct, total).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def summarise(label, score):
    """Accuracy at 0.5, cross-entropy, AUC, EER and rates of scored pairs, as a dict; all NaN where scores are not finite."""
    keys = ("accuracy", "cross_entropy", "auc", "eer", "tpr", "tnr")
    if not np.isfinite(np.asarray(score, float)).all():
        return dict.fromkeys(keys, float("nan"))
    return dict(
        zip(
            keys,
            (
                accuracy(label, score),
                cross_entropy(label, score),
                auc(label, score),
                equal_error_rate(label, score),
                *rates(label, score),
            ),
            strict=True,
        )
    )


def pick_examples(label, score, surest=4, least_sure=2):
    """Rows of telling pairs: dict from (same person?, right?) to the surest and the least sure ones.

    Confidence is the distance of the score from 0.5. Each value is a list of row numbers, the surest first, then the
    least sure; fewer where there are not enough.
    """
    label, score = np.asarray(label) > 0.5, np.asarray(score, float)
    right = (score > 0.5) == label
    groups = {}
    for same in (True, False):
        for is_right in (True, False):
            rows = np.flatnonzero((label == same) & (right == is_right))
            rows = rows[np.argsort(-np.abs(score[rows] - 0.5), kind="stable")]
            last = rows[surest:][-least_sure:] if least_sure else rows[:0]
            groups[same, is_right] = [*rows[:surest].tolist(), *last.tolist()]
    return groups


def best_threshold(label, score):
    """The threshold of highest accuracy, half-way between two scores; for use on validation pairs only.

    Of equally good thresholds the one nearest to 0.5.
    """
    label, score = np.asarray(label) > 0.5, np.asarray(score, float)
    values = np.unique(score)
    candidates = np.concatenate([[values[0] - 1e-6], (values[1:] + values[:-1]) / 2, [values[-1] + 1e-6]])
    positives = np.sort(score[label])
    negatives = np.sort(score[~label])
    right = (len(positives) - np.searchsorted(positives, candidates, "right")) + np.searchsorted(
        negatives, candidates, "right"
    )
    best = np.flatnonzero(right == right.max())
    return float(candidates[best[np.argmin(np.abs(candidates[best] - 0.5))]])


def true_accept_rate(label, score, false_accept_rate):
    """Share of matched pairs accepted at the lowest threshold whose false-accept rate is at most the given one; NaN where there
    is one class only."""
    label, score = np.asarray(label) > 0.5, np.asarray(score, float)
    if not _two_classes(label):
        return float("nan")
    negatives = np.sort(score[~label])[::-1]
    allowed = int(np.floor(false_accept_rate * len(negatives) + 1e-9))
    threshold = negatives[allowed] if allowed < len(negatives) else -np.inf
    return float(np.mean(score[label] > threshold))


def calibration(label, score, bins=10):
    """Expected calibration error (Naeini et al. 2015) over equally wide bins, and the reliability diagram's points.

    Returns (error, list of (mean score, share of matched pairs, count) of the bins that are not empty).
    """
    label, score = np.asarray(label, float), np.asarray(score, float)
    at = np.clip((score * bins).astype(int), 0, bins - 1)
    points = [
        (float(score[at == b].mean()), float(label[at == b].mean()), int((at == b).sum()))
        for b in range(bins)
        if (at == b).any()
    ]
    error = sum(count * abs(confidence - share) for confidence, share, count in points) / len(score)
    return float(error), points


def view2_estimate(accuracies):
    """Mean and standard error over the ten folds, as LFW asks (Huang et al. 2007, section IV): S / sqrt(10)."""
    values = np.asarray(accuracies, float)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _logit(score):
    score = np.clip(np.asarray(score, float), EPSILON, 1 - EPSILON)
    return np.log(score) - np.log1p(-score)


def _two_classes(label):
    label = np.asarray(label) > 0.5
    return bool(label.any() and not label.all())
