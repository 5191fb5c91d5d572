"""Measurements of a variant: means over its finished runs, and the interval of its test accuracy."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lfwstudy.evaluation import intervals, metrics
from lfwstudy.ladder.stage import Published
from lfwstudy.report.table import Interval
from lfwstudy.report.wording import command, shows_published
from lfwstudy.study.results import Results
from lfwstudy.study.rungs import Candidate, Rung
from lfwstudy.system.text import percent


def variants(study: Results, rungs: Sequence[Rung]) -> Iterator[tuple[Rung, Candidate, Published | None]]:
    """Every variant of some stages, with what the report prints on it if the two may be compared."""
    compared = shows_published(study)
    for rung in rungs:
        for candidate in rung.candidates:
            yield rung, candidate, study.published(candidate) if compared else None


def place(rungs: Sequence[Rung], candidate: Candidate) -> dict[str, str]:
    """A variant's place, the first cells of its row; a stage's own page does not repeat the stage in every row."""
    return ({"stage": candidate.stage} if len(rungs) > 1 else {}) | {"variant": candidate.variant}


def finished_results(study: Results, candidate: Candidate) -> list[dict[str, Any]]:
    """result.json of a candidate's finished runs."""
    return [study.store.result(spec.run) for spec in candidate.specs if study.store.is_finished(spec.run)]


def mean_of(results: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """Mean of a measure over the runs that have it, None if none has."""
    values = [r[key] for r in results if r[key] is not None]
    return float(np.mean(values)) if values else None


def accuracies(study: Results, candidate: Candidate, column: str = "score") -> list[float]:
    """Test accuracy of each finished run; calibrated if the ladder compares calibrated scores.

    column: "score" with the evaluated weights, "score_at_best" with those of the best epoch.
    """
    if study.calibrates(candidate):
        runs = [spec.run for spec in candidate.specs if study.store.is_finished(spec.run, with_test=True)]
        scored = [study.store.calibrated_scores(run) for run in runs]
        return [metrics.accuracy(scores["label"], scores[column]) for scores in scored]
    name = {"score": "test_accuracy", "score_at_best": "test_accuracy_at_best"}[column]
    return [r[name] for r in finished_results(study, candidate) if r[name] is not None]


def mean_accuracy_at_best(study: Results, candidate: Candidate) -> float | None:
    """Mean test accuracy at the best epochs, None if no test pair is scored."""
    values = accuracies(study, candidate, "score_at_best")
    return float(np.mean(values)) if values else None


def mean_auc(scored: tuple[np.ndarray, np.ndarray] | None) -> float | None:
    """Mean area under the ROC curve of runs, of their scores (runs, pairs) and the labels (pairs,); None without scores."""
    return float(np.mean([metrics.auc(scored[1], one) for one in scored[0]])) if scored else None


def accuracy_with_interval(study: Results, candidate: Candidate) -> Interval | str:
    """Mean test accuracy with the evaluated weights, its interval and the single runs; words where runs lack or diverged."""
    results, singles = finished_results(study, candidate), accuracies(study, candidate)
    if not singles:
        return "not scored" if results else "not finished"
    correct = study.correct(candidate, "score")
    if any(r["status"] == "diverged" for r in results):
        return "diverged"
    mean = float(np.mean(singles))
    if correct is None:
        return f"{percent(mean)} % ({len(singles)} of {len(candidate.specs)} runs)"
    # Other people meet in few groups: their pairs are far from independent.
    if len(correct) == 1 and _one_run_each(study) and not study.of_other_people:
        low, high = metrics.wilson(int(correct.sum()), correct.size)
    else:
        low, high = intervals.mean_interval(correct, study.test_components(), draws=4000)
    return Interval(mean, low, high, singles)


def interval_words(study: Results) -> str:
    """The kind of the intervals of `accuracy_with_interval`: the same throughout a study."""
    if _one_run_each(study):
        how = "Wilson's 95 % interval of one run"
        if study.of_other_people:
            how = "95 % of one run, bootstrapped over connected components of people"
        return f"{how}, which does not include the spread between seeds"
    return (
        "95 % of the mean, bootstrapped over connected components of people and over seeds; single runs in parentheses"
    )


def best_candidate(rung: Rung) -> Candidate | None:
    """The finished candidate of a stage with the best validation score, None if none is finished."""
    finished = [c for c in rung.candidates if c.score is not None and np.isfinite(c.score[0])]
    return max(finished, key=lambda c: c.score or (), default=None)


def nothing_finished(study: Results, rungs: Sequence[Rung]) -> str:
    """The sentence shown in place of finished runs."""
    what = f"run of {rungs[0].stage.id}" if len(rungs) == 1 else "run"
    return f"No {what} is finished yet: `{command(study)}`."


def _one_run_each(study: Results) -> bool:
    stages = [study.ladder.stage(name) for name in study.stages()]
    return all(study.seeds_of(stage) * len(study.folds()) == 1 for stage in stages)
