"""The studies kept in results/, and the test accuracy of their networks."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lfwstudy.evaluation import intervals, metrics
from lfwstudy.report.table import Interval
from lfwstudy.study.results import Results
from lfwstudy.study.rungs import Candidate

RESULTS = Path(__file__).resolve().parents[1] / "results"
# Both of the report's ladders with its hyperparameters; missing until they are trained.
REPORT = "lfw-deepfunneled"
# The same with 15 % of its epochs.
REPORT_CPU = "lfw-deepfunneled-cpu"
BEYOND, SHALLOW, LARGER = "lfw-deepfunneled-beyond", "lfw-deepfunneled-shallow", "lfw-deepfunneled-larger"
# View 2's folds of a stage.
VIEW2 = {"all-people-shallow": "lfw-deepfunneled-shallow-view2", "all-people-larger": "lfw-deepfunneled-view2"}


@cache
def opened(name: str) -> Results:
    """The study of that name in results/, its first ladder."""
    return Results.open(RESULTS / name)


def ladders(name: str) -> list[Results]:
    """All ladders of a study in results/; [] if there is none."""
    return opened(name).combinations() if (RESULTS / name / "study.json").is_file() else []


@cache
def tested(study: Results) -> list[Candidate]:
    """The variants of a ladder whose test pairs are all scored, in its order."""
    return [c for rung in study.climb() for c in rung.candidates if study.correct(c, "score") is not None]


def view2(stage: str) -> tuple[tuple[Results, Candidate], float, float] | None:
    """A stage's ten folds, their mean accuracy and its standard error; None if a fold is missing."""
    study = opened(VIEW2[stage])
    # Stages trained under View 2 are written out in full: they start from the base configuration.
    (candidate,) = study.candidates(study.ladder.stage(stage), study.base())
    if study.correct(candidate, "score") is None:
        return None
    folds: dict[int | None, list[float]] = {}
    for spec, result in zip(candidate.specs, results_of(study, candidate), strict=True):
        folds.setdefault(spec.fold, []).append(result["test_accuracy"])
    return (study, candidate), *metrics.view2_estimate([np.mean(values) for values in folds.values()])


def correct(study: Results, candidate: Candidate, column: str = "score") -> np.ndarray:
    """`Results.correct` of a variant from `tested`: bool (seeds, pairs)."""
    found = study.correct(candidate, column)
    assert found is not None
    return found


def accuracy(study: Results, candidate: Candidate) -> Interval:
    """Mean test accuracy of a variant's networks with the evaluated weights, and its interval over people and seeds."""
    return _with_interval(study, correct(study, candidate))


def ensemble(study: Results, candidate: Candidate) -> Interval:
    """Test accuracy of the mean of the networks' logits."""
    scored = study.test_scores(candidate, "score")
    assert scored is not None
    return _with_interval(study, ((metrics.ensemble(scored[0]) > 0.5) == (scored[1] > 0.5))[None])


def _with_interval(study: Results, right: np.ndarray) -> Interval:
    return Interval(float(right.mean()), *intervals.mean_interval(right, study.test_components()))


def results_of(study: Results, candidate: Candidate) -> list[dict[str, Any]]:
    """result.json of each of a variant's networks."""
    return [study.store.result(spec.run) for spec in candidate.specs]
