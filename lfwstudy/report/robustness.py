"""How robust is the best result? Measures besides accuracy, ensembles, folds, factors left out, odd pairs left out."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lfwstudy.data import duplicates
from lfwstudy.evaluation import intervals, metrics
from lfwstudy.report.data_tables import PAIR_COLUMNS, pair_row
from lfwstudy.report.table import Column, Interval, Table
from lfwstudy.report.wording import IMAGE_CLASSES, NO_IMAGES, counted, source_line
from lfwstudy.system.text import percent

if TYPE_CHECKING:
    from lfwstudy.study.results import Results
    from lfwstudy.study.rungs import Candidate, Rung
    from lfwstudy.study.study import Study

Scores = Mapping[str, np.ndarray]


def measures(study: "Results", rungs: "Sequence[Rung]") -> Table:
    """ROC measures, calibration and thresholds of the best configuration, mean over its runs."""
    best = study.best(rungs)
    runs = [s.run for s in best.specs if study.store.is_finished(s.run, with_test=True)] if best else []
    if best is None or not runs or study.correct(best) is None:
        return Table.nothing("The test pairs are not scored.")
    found = [_measures(study.store.scores(run), study.store.scores(run, "val")) for run in runs]
    means = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    rows = [
        {"measure": name, "value": percent(mean) if name.endswith("%") else f"{mean:.3f}"}
        for name, mean in means.items()
    ]
    different = int((study.store.scores(runs[0])["label"] == 0).sum())
    few, more = (int(np.floor(share * different + 1e-9)) for share in (0.001, 0.01))
    caption = (
        f"The best configuration on the test pairs, at its best epoch. Of {different:,} mismatched pairs, 1 % is only "
        f"{counted(more, 'pair')} and 0.1 % {f'only {few:,}' if few else 'less than one'}, so both true-accept rates are rough."
    )
    return Table([Column("measure"), Column("value", "number", digits=3)], rows, caption, source_line(study))


def view2(study: "Results", rungs: "Sequence[Rung]") -> Table:
    """Mean and standard error over the ten folds, per variant."""
    if study.settings.protocol != "view2":
        return Table.nothing("View 1 has no folds; `--protocol view2` trains a network for each of the ten.")
    rows = [
        {"stage": rung.stage.id, "variant": candidate.variant, **row}
        for rung in rungs
        for candidate in rung.candidates
        if (row := _over_folds(study, candidate))
    ]
    caption = (
        "View 2: mean and standard error over ten folds in percent, at a threshold of 0.5 on uncalibrated scores; validation is "
        "the fold after the tested one."
    )
    if not study.ladder.has_path():
        caption += " The recipes were chosen on View 1's training people, who are among View 2's test people, as the protocol allows."
    columns = [
        Column("stage"),
        Column("variant", "name"),
        Column("accuracy ± standard error", "percent"),
        Column("folds"),
    ]
    return Table(columns, rows, caption, source_line(study), "No variant has all ten folds finished.")


def ensemble(study: "Results", rungs: "Sequence[Rung]") -> Table:
    """Test accuracy of the mean over seeds, for the best configuration of each class of images trained on."""
    best = {rung.after.config.data.pictures: rung.after for rung in rungs if rung.after}
    rows = []
    for images, candidate in best.items():
        scored = study.test_scores(candidate)
        if scored is None or len(scored[0]) < 2:
            continue
        together, labels = metrics.ensemble(scored[0]), scored[1]
        singles = [metrics.accuracy(labels, one) for one in scored[0]]
        correct = (together > 0.5) == (labels > 0.5)
        rows.append(
            {
                "trained on": IMAGE_CLASSES[images],
                "configuration": f"{candidate.stage}: {candidate.variant}",
                "networks": len(scored[0]),
                "one network": f"{percent(float(np.mean(singles)))} ({percent(min(singles))} to {percent(max(singles))})",
                "all together": Interval(
                    float(correct.mean()), *intervals.mean_interval(correct[None], study.test_components())
                ),
                "AUC": metrics.auc(labels, together),
            }
        )
    columns = [Column("trained on"), Column("configuration"), Column("networks", "number", digits=0)]
    columns += [Column("one network", "percent"), Column("all together", "percent"), Column("AUC", "number", digits=3)]
    caption = (
        "Test accuracy in percent at the best epochs: one network on average (lowest to highest), and the mean of the networks' "
        "logits. Interval: 95 %, bootstrap over connected components of people."
    )
    empty = "An ensemble needs several seeds of the best configuration; there is one: `--seeds 5` adds more."
    return Table(columns, rows, caption, source_line(study), empty)


def left_out(study: "Results", rungs: "Sequence[Rung]") -> Table:
    """The contribution of each factor of the ladder beyond: the whole recipe against the recipe without it."""
    if study.settings.ladder != "beyond":
        return Table()
    rung = next((r for r in rungs if r.stage.id == "leave-one-out"), None)
    known = [(c, correct) for c in rung.candidates if (correct := study.correct(c)) is not None] if rung else []
    if rung is None or len(known) < 2 or known[0][0].variant != "whole":
        return Table.nothing(
            "The stage `leave-one-out` of the ladder beyond measures the whole recipe without each factor."
        )
    (whole, best), others = known[0], known[1:]
    shared = [min(len(best), len(correct)) for _, correct in others]
    compared = [(best[:seeds], correct[:seeds]) for (_, correct), seeds in zip(others, shared)]
    found = intervals.compare(compared, study.test_components(), len(others))
    titles = {v.id: v.title for v in rung.stage.variants}
    corrected = f"p, corrected for {len(others)}"
    rows: list[dict[str, Any]] = [
        {"left out": "nothing", "accuracy": float(best.mean()), "AUC": _mean_auc(study, whole), "seeds": len(best)}
    ]
    rows += [
        {
            "left out": c.variant.removeprefix("without-"),
            "instead": titles[c.variant],
            "accuracy": float(correct.mean()),
            "AUC": _mean_auc(study, c),
            "contribution [95 %]": Interval(d.difference, d.low, d.high),
            corrected: d.corrected_p if d.seeds > 1 else None,
            "seeds": seeds,
        }
        for (c, correct), seeds, d in zip(others, shared, found)
    ]
    columns = [Column("left out"), Column("instead"), Column("accuracy", "percent"), Column("AUC", "number", digits=3)]
    caption = (
        "Test accuracy in percent at the best epochs, mean over seeds. Scores are calibrated on validation for every head. "
        "Contribution: points that the recipe gains with the factor. Interval: bootstrap over seeds and over connected components "
        f"of people. {_below_05(found)}"
    ).strip()
    columns += [Column("contribution [95 %]", "points"), Column(corrected, "p"), Column("seeds", "number", digits=0)]
    return Table(columns, rows, caption, source_line(study))


def without_odd_pairs(study: "Study", rungs: "Sequence[Rung]") -> Table:
    """Pairs that look odd or mislabelled, with the test accuracy of the best configuration with and without them."""
    best = study.best(rungs)
    correct = study.correct(best) if best else None
    if best is None or correct is None:
        return Table.nothing("The test pairs are not scored.")
    if study.settings.protocol != "view1":
        return Table.nothing("Odd pairs are only searched for under View 1.")
    if study.why_no_images:
        return Table.nothing(NO_IMAGES)
    spec = best.specs[0]
    parts = study.data(spec.config.data)[1].sets()
    odd = list(study.odd_pairs())
    for part in parts:
        scored = study.store.scores(spec.run, part)
        odd += duplicates.confident_errors(part, scored["label"], scored["score_at_best"])
    keep = np.ones(correct.shape[1], bool)
    keep[[o.row for o in odd if o.set == "test"]] = False
    caption = (
        "Pairs that look odd, or that the network gets wrong with the most confidence. Test accuracy with them "
        f"{percent(correct.mean())} %, without the {int((~keep).sum())} of them {percent(correct[:, keep].mean())} %. Leaving out "
        "a network's own errors always raises its accuracy; the figure that counts includes them."
    )
    return Table(PAIR_COLUMNS, [pair_row(parts, o) for o in odd], caption, source_line(study), "No pair looks odd.")


def _below_05(found: Sequence[intervals.Difference]) -> str:
    """How many of the corrected p-values are below .05; nothing where one seed leaves none to be had."""
    known = [d.corrected_p < 0.05 for d in found if d.seeds > 1]
    if not known:
        return ""
    few = " with so few seeds" if not any(known) else ""
    return f"p: Holm's correction; {sum(known) or 'none'} of the {len(known)} {'are' if sum(known) > 1 else 'is'} below .05{few}."


def _measures(scored: Scores, held: Scores) -> dict[str, float]:
    label, score = scored["label"], scored["score_at_best"]
    threshold = metrics.best_threshold(held["label"], held["score_at_best"])
    matched, mismatched = metrics.rates(label, score)
    return {
        "accuracy at 0.5, %": metrics.accuracy(label, score),
        "accuracy at the threshold chosen on validation, %": metrics.accuracy(label, score, threshold),
        "that threshold": threshold,
        "true-positive rate, %": matched,
        "true-negative rate, %": mismatched,
        "area under the ROC curve": metrics.auc(label, score),
        "equal error rate, %": metrics.equal_error_rate(label, score),
        "true accepts at 1 % false accepts, %": metrics.true_accept_rate(label, score, 0.01),
        "true accepts at 0.1 % false accepts, %": metrics.true_accept_rate(label, score, 0.001),
        "expected calibration error": metrics.calibration(label, score)[0],
    }


def _over_folds(study: "Results", candidate: "Candidate") -> dict[str, Any] | None:
    """Accuracy over the ten folds, each a mean over its seeds; None if a fold is missing."""
    folds: dict[int | None, list[float]] = {}
    for spec in candidate.specs:
        if study.store.is_finished(spec.run, with_test=True):
            folds.setdefault(spec.fold, []).append(study.store.result(spec.run)["test_accuracy_at_best"])
    if len(folds) != 10:
        return None
    means = [float(np.mean(folds[fold])) for fold in range(1, 11)]
    mean, error = metrics.view2_estimate(means)
    return {
        "accuracy ± standard error": f"{percent(mean, 2)} ± {percent(error, 2)}",
        "folds": ", ".join(map(percent, means)),
    }


def _mean_auc(study: "Results", candidate: "Candidate") -> float:
    scored = study.test_scores(candidate)
    return float(np.mean([metrics.auc(scored[1], one) for one in scored[0]])) if scored else math.nan
