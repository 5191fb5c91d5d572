"""How robust is the best result? Measures besides accuracy, ensembles, folds, shared people, factors and odd pairs left out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lfwstudy.data import duplicates
from lfwstudy.data.pair_files import OWN_VIEW2
from lfwstudy.data.pairs import person_of
from lfwstudy.evaluation import intervals, metrics
from lfwstudy.report.data_tables import affected_pairs, pair_row
from lfwstudy.report.measured import mean_auc
from lfwstudy.report.table import Interval, Table
from lfwstudy.report.wording import IMAGE_CLASSES, NO_IMAGES, command, counted, source_line
from lfwstudy.study.results import Results
from lfwstudy.study.rungs import Rung
from lfwstudy.study.study import Study
from lfwstudy.system.text import percent, signed_points

Scores = Mapping[str, np.ndarray]
# Measures that are no share of the pairs.
_NO_SHARES = ("that threshold", "area under the ROC curve", "expected calibration error")


def measures(study: Results, rungs: Sequence[Rung]) -> Table:
    """ROC measures, calibration and thresholds of the best configuration, mean over its runs."""
    best = study.best(rungs)
    if best is None or study.correct(best) is None:
        return Table(empty="The test pairs are not scored.")
    runs = [spec.run for spec in best.specs]
    found = pd.DataFrame([_measures(study.store.scores(run), study.store.scores(run, "val")) for run in runs])
    rows = [
        {"measure": name, "mean over runs": f"{mean:.3f}" if name in _NO_SHARES else f"{percent(mean)} %"}
        for name, mean in found.mean(skipna=False).items()
    ]
    different = int((study.store.scores(runs[0])["label"] == 0).sum())
    few, more = (int(np.floor(share * different + 1e-9)) for share in (0.001, 0.01))
    caption = (
        f"The best configuration on the test pairs, at its best epoch. Of {different:,} mismatched pairs, 1 % is only "
        f"{counted(more, 'pair')} and 0.1 % {f'only {few:,}' if few else 'less than one'}, so both true-accept rates are rough."
    )
    return Table(rows=rows, caption=caption, source=source_line(study))


def overlap_table(study: Results) -> Table:
    """Validation minus test accuracy of the base network under person-disjoint and contaminated splits."""
    if not study.ladder.has_path():
        return Table(empty="The effect of identity overlap is measured with the base network of the report's ladder.")
    rows: dict[str, dict[str, Any]] = {}
    gaps: dict[str, intervals.Difference] = {}
    for other in study.combinations():
        s = other.settings
        alike = s.ladder == study.settings.ladder and s.protocol == "view1" and s.split not in gaps
        if alike and (found := _base_under_split(other)):
            rows[s.split], gaps[s.split] = found
    if len(rows) < 2:
        added = command(study, split="random", stages="base")
        return Table(empty=f"To measure this, train the base network under another split as well: `{added}`.")
    wider = ""
    if {"random", "components"} <= set(gaps):
        more, low, high = map(signed_points, intervals.difference_of_gaps(gaps["random"], gaps["components"]))
        wider = f"The gap under `random` is {more} points [{low}, {high}] wider than under `components`. "
    caption = (
        f"The base network at its best epoch, in percent. {wider}Interval: bootstrap over connected components of people and "
        "over seeds. The best epoch is chosen on validation, which raises validation a little under every split."
    )
    return Table(rows=list(rows.values()), caption=caption, source=source_line(study))


def view2(study: Results) -> Table:
    """Mean and standard error over the ten folds, per variant."""
    if study.settings.protocol != "view2":
        added = command(study, protocol="view2", split="components", seeds=1)
        needs = f" ({OWN_VIEW2})" if study.settings.dataset == "folder" else ""
        return Table(empty=f"View 1 has no folds. This trains a network for each of View 2's ten{needs}: `{added}`.")
    scored = study.frame().dropna(subset="test_accuracy_at_best")
    rows = []
    for (stage, variant), runs in scored.groupby(["stage", "variant"], sort=False):
        folds = runs.groupby("fold")["test_accuracy_at_best"].mean()
        if len(folds) == 10:
            told = " ± ".join(percent(part, 2) for part in metrics.view2_estimate(folds))
            each = ", ".join(map(percent, folds))
            rows.append({"stage": stage, "variant": variant, "accuracy ± standard error": told, "folds": each})
    caption = (
        "View 2: mean and standard error over ten folds in percent, at a threshold of 0.5 on uncalibrated scores; unless a "
        "variant says otherwise, validation is the fold after the tested one."
    )
    if not study.ladder.has_path():
        caption += " The recipes were chosen on View 1's training people, who are among View 2's test people, as the protocol allows."
    return Table(rows=rows, caption=caption, source=source_line(study), empty="No variant has all ten folds finished.")


def ensemble(study: Results, rungs: Sequence[Rung]) -> Table:
    """Test accuracy of the mean over seeds, for the best configuration of each class of images trained on."""
    rows = []
    for candidate in {rung.after.config.data.pictures: rung.after for rung in rungs if rung.after}.values():
        scored = study.test_scores(candidate)
        if scored is None or len(scored[0]) < 2:
            continue
        together, labels = metrics.ensemble(scored[0]), scored[1]
        singles = [metrics.accuracy(labels, one) for one in scored[0]]
        correct = (together > 0.5) == (labels > 0.5)
        low, high = intervals.mean_interval(correct[None], study.test_components())
        rows.append(
            {
                "trained on": IMAGE_CLASSES[candidate.config.data.pictures],
                "configuration": str(candidate),
                "networks": len(scored[0]),
                "one network": f"{percent(float(np.mean(singles)))} ({percent(min(singles))} to {percent(max(singles))})",
                "all together": Interval(float(correct.mean()), low, high),
                "AUC": metrics.auc(labels, together),
            }
        )
    caption = (
        "Test accuracy in percent at the best epochs: one network on average (lowest to highest), and the mean of the networks' "
        "logits. Interval: 95 %, bootstrap over connected components of people."
    )
    empty = "With several seeds, the ensemble of the best configuration's networks is scored as well."
    return Table(rows=rows, caption=caption, source=source_line(study), empty=empty)


def left_out(study: Results, rungs: Sequence[Rung]) -> Table:
    """The contribution of each factor of the ladder beyond: the whole recipe against the recipe without it."""
    rung = next((r for r in rungs if r.stage.id == "leave-one-out"), None)
    known = [(c, correct) for c in rung.candidates if (correct := study.correct(c)) is not None] if rung else []
    if rung is None or len(known) < 2 or known[0][0].variant != "whole":
        return Table()
    best, others = known[0][1], known[1:]
    shared = [min(len(best), len(correct)) for _, correct in others]
    compared = [(best[:seeds], correct[:seeds]) for (_, correct), seeds in zip(others, shared)]
    found = intervals.compare(compared, study.test_components(), len(others))
    titles = {v.id: v.title for v in rung.stage.variants} | {"whole": None}
    rows = [
        {
            "left out": c.variant.removeprefix("without-").replace("whole", "nothing"),
            "instead": titles[c.variant],
            "accuracy": float(correct.mean()),
            "AUC": mean_auc(study.test_scores(c)),
            "contribution [95 %]": Interval(d.difference, d.low, d.high) if d else None,
            "corrected p": d.corrected_p if d and d.seeds > 1 else None,
            "seeds": seeds,
        }
        for (c, correct), seeds, d in zip(known, [len(best), *shared], [None, *found])
    ]
    caption = (
        "Test accuracy in percent at the best epochs, mean over seeds. Scores are calibrated on validation for every head. "
        "Contribution: points that the recipe gains with the factor. Interval: bootstrap over seeds and over connected components "
        f"of people. Corrected p: Holm's correction for {len(others)} comparisons."
    )
    return Table(rows=rows, caption=caption, source=source_line(study))


def without_odd_pairs(study: Study, rungs: Sequence[Rung]) -> Table:
    """Pairs that look odd or mislabelled, with the test accuracy of the best configuration with and without them."""
    best = study.best(rungs)
    correct = study.correct(best) if best else None
    if best is None or correct is None or study.settings.protocol != "view1":
        return Table()
    if study.why_no_images:
        return Table(empty=NO_IMAGES)
    spec = best.specs[0]
    parts = study.data(spec.config.data)[1].sets()
    odd = affected_pairs(study)
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
    rows = [pair_row(parts, one) for one in odd]
    return Table(rows=rows, caption=caption, source=source_line(study), empty="No pair looks odd.")


def _measures(scored: Scores, held: Scores) -> dict[str, float]:
    label, score = scored["label"], scored["score_at_best"]
    threshold = metrics.best_threshold(held["label"], held["score_at_best"])
    matched, mismatched = metrics.rates(label, score)
    return {
        "accuracy at 0.5": metrics.accuracy(label, score),
        "accuracy at the threshold chosen on validation": metrics.accuracy(label, score, threshold),
        "that threshold": threshold,
        "true-positive rate": matched,
        "true-negative rate": mismatched,
        "area under the ROC curve": metrics.auc(label, score),
        "equal error rate": metrics.equal_error_rate(label, score),
        "true accepts at 1 % false accepts": metrics.true_accept_rate(label, score, 0.01),
        "true accepts at 0.1 % false accepts": metrics.true_accept_rate(label, score, 0.001),
        "expected calibration error": metrics.calibration(label, score)[0],
    }


def _base_under_split(study: Results) -> tuple[dict[str, Any], intervals.Difference] | None:
    """The row of a split and its gap, at the best epochs; None if the test pairs are not scored."""
    rungs = study.climb(upto="base")
    correct = study.correct(rungs[0].candidates[0]) if rungs else None
    if correct is None:
        return None
    base = rungs[0].candidates[0]
    validation, components = study.validation_correct(base)
    gap = intervals.gap((validation, components), (correct, study.test_components()))
    train, held = (study.store.predictions(base.specs[0].run, part) for part in ("train", "val"))
    known = np.union1d(person_of(train["left"]), person_of(train["right"]))
    touched = np.isin(person_of(held["left"]), known) | np.isin(person_of(held["right"]), known)
    row = {
        "split": study.settings.split,
        "validation pairs with a person of training": f"{touched.sum()} of {touched.size}",
        "validation": float(validation.mean()),
        "test": float(correct.mean()),
        "validation minus test [95 %]": Interval(gap.difference, gap.low, gap.high),
        "seeds": len(correct),
    }
    return row, gap
