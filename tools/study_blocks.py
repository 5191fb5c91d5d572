"""Blocks of README.md and docs/ on the studies kept in results/: each function returns Markdown."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lfwstudy.ladder import FIGURES, LADDERS
from lfwstudy.report import figures, robustness, series
from lfwstudy.report.measured import mean_of
from lfwstudy.report.summary import best_published
from lfwstudy.report.table import Column, Table
from lfwstudy.report.wording import IMAGE_CLASSES
from lfwstudy.study.results import Results
from lfwstudy.study.rungs import Candidate
from lfwstudy.system.text import percent
from tools.kept_studies import (
    BEYOND,
    LARGER,
    REPORT,
    SHALLOW,
    VIEW2,
    accuracy,
    correct,
    ensemble,
    ladders,
    opened,
    results_of,
    tested,
    view2,
)
from tools.two_cores import OnTwoCores, ceiling, two_cores, two_cores_table

# The report's own best network: stage and variant.
REPORT_BEST = ("augmentation", "after-activation")
ACCURACY, _SUMMARY = "test accuracy [95 %]", "test accuracy, % [95 %]"


def summary() -> str:
    """The README's few rows: the report's best network, the same one trained here, and the best beyond it."""
    rows = [
        _summary_row("the report's best, as published", "LFW-a, pairs only", "View 1", FIGURES[REPORT_BEST].accuracy)
    ]
    for study in ladders(REPORT):
        same = [c for c in tested(study) if (c.stage, c.variant) == REPORT_BEST]
        rows += [_measured_row(f"the same network, `--ladder {study.settings.ladder}`", study, c) for c in same]
    shallow = opened(SHALLOW)
    rows += [_measured_row(f"`{c.stage}`", shallow, c) for c in tested(shallow) if c.stage != "base"]
    if folds := view2("all-people-shallow"):
        told = f"{percent(folds[1])} ± {percent(folds[2])} (ten folds, standard error)"
        rows.append(_summary_row("`all-people-shallow`", "eight of ten sets of people", "View 2", told))
    columns = [Column("network"), Column("trained on"), Column("tested on"), Column(_SUMMARY, "percent")]
    return Table(columns, rows).to_markdown()


def _measured_row(name: str, study: Results, candidate: Candidate) -> dict[str, Any]:
    trained_on = f"`{study.settings.dataset}`, {IMAGE_CLASSES[candidate.config.data.pictures]}"
    shown = Column("", "percent").show(accuracy(study, candidate))
    return _summary_row(name, trained_on, "View 1", f"{shown} (mean of {len(candidate.specs)} seeds)")


def _summary_row(name: str, trained_on: str, tested_on: str, shown: Any) -> dict[str, Any]:
    return {"network": name, "trained on": trained_on, "tested on": tested_on, _SUMMARY: shown}


def headline() -> str:
    """The findings, in a few sentences."""
    told = [
        f"The report's best network classified {percent(best_published())} % of the test pairs correctly, on LFW-a and without "
        "using names."
    ]
    for study in ladders(REPORT):
        base, *others = (float(correct(study, c).mean()) for c in tested(study))
        told.append(
            f"With the report's hyperparameters, on `{study.settings.dataset}`, the base network of `--ladder "
            f"{study.settings.ladder}` reaches {percent(base)} %"
            + (f", the other variants {percent(min(others))} to {percent(max(others))} %." if others else ".")
        )
    shallow, all_people = (_reached(stage) for stage in ("shallow", "all-people-shallow"))
    told.append(
        "A small network trained in another way, on the deep-funneled images and with the people's names, reaches "
        f"{shallow} from the images listed in the training pairs, and {all_people} from all images of the training people."
    )
    if folds := view2("all-people-shallow"):
        told.append(
            f"Under View 2, LFW's protocol for reported figures, it reaches **{percent(folds[1])} ± {percent(folds[2])} %** (mean of "
            "ten folds and its standard error). Its recipe was chosen on View 1's training people, who are among View 2's "
            "test people, as the protocol allows."
        )
    return " ".join(told)


def _reached(stage: str) -> str:
    study = opened(SHALLOW)
    candidate = next(c for c in tested(study) if c.stage == stage)
    single, together = correct(study, candidate), ensemble(study, candidate)
    return (
        f"**{percent(single.mean())} %** (mean of {len(single)} seeds; {percent(together.value)} % for their ensemble)"
    )


def beyond() -> str:
    """The ladder beyond on two cores: a row per variant with its interval over seeds and people, ensembles, and the
    contribution of each factor."""
    study = opened(BEYOND)
    titles = {(stage.id, v.id): v.title for stage in LADDERS["beyond"].stages for v in stage.variants}
    found = [c for c in tested(study) if c.stage != "leave-one-out"]
    rows = [_row(study, c) | {"what changes": titles[c.stage, c.variant]} for c in found]
    together = [_ensemble_row(study, c) for c in found if len(c.specs) > 2]
    columns = [Column("stage", "name"), Column("what changes"), Column("trained on"), Column(ACCURACY, "percent")]
    columns += [
        Column("AUC", "number", digits=3),
        Column("at best epoch", "percent"),
        Column("validation at best", "percent"),
    ]
    columns += [Column(name, "number", digits=0) for name in ("training seconds", "parameters", "seeds")]
    carried = {(r.after.stage, r.after.variant) for r in study.climb() if r.after}
    first = study.store.result(found[0].specs[0].run)
    caption = (
        f"{study.settings.dataset}, split `{study.settings.split}`, {study.precision}, {first['backend']} on {first['device']}"
        f"{ceiling(first['device'], study.precision)}. Accuracy in percent of View 1's test pairs, mean over seeds, scores "
        "calibrated on validation for every head: with the checkpoint of the lowest validation loss, and at the epoch of the "
        "highest validation accuracy, by which ► is carried forward. Intervals: bootstrap over connected components of people "
        "and, if there are several, over seeds; with one seed they do not include the spread between seeds. Training seconds "
        "include validation after every epoch, but not start-up and compilation; '1 thread' marks networks trained on one core "
        "while another network used the other."
    )
    marked = frozenset(n for n, c in enumerate(found) if (c.stage, c.variant) in carried)
    return "\n\n".join(
        [
            Table(columns, rows + together, caption, marked=marked).to_markdown(),
            f"![Accuracy against training seconds](results/{BEYOND}/seconds.png)",
            robustness.left_out(study, study.climb()).to_markdown(),
        ]
    )


def larger() -> str:
    """The last stages of the ladder beyond: View 1 by seeds, View 2 by folds, and networks trained on two cores."""
    rows: list[dict[str, Any]] = []
    devices: dict[str, list[str]] = {}
    for study in map(opened, (SHALLOW, LARGER)):
        for candidate in (c for c in tested(study) if c.stage != "base"):
            row = _row(study, candidate) | {"protocol": "View 1", "networks": f"mean of {len(candidate.specs)} seeds"}
            rows += [row, _ensemble_row(study, candidate) | {"stage": candidate.stage, "protocol": "View 1"}]
            devices.setdefault(row["device"], []).append(f"`{candidate.stage}`")
    for stage in VIEW2:
        if found := view2(stage):
            shown = f"{percent(found[1])} ± {percent(found[2])} (standard error)"
            row = _row(*found[0]) | {"trained on": "eight sets of people.txt", "protocol": "View 2", ACCURACY: shown}
            rows.append(row | {"networks": "10 folds, a network each"})
            devices.setdefault(row["device"], []).append(f"View 2's `{stage}`")
    columns = [
        Column("stage"),
        Column("trained on"),
        Column("protocol"),
        Column("networks"),
        Column(ACCURACY, "percent"),
    ]
    columns += [Column("at best epoch", "percent"), Column("validation at best", "percent")]
    columns += [Column("training seconds", "number", digits=0), Column("parameters", "number", digits=0)]
    on = "; ".join(f"{listed(stages)} on {device}" for device, stages in devices.items())
    caption = (
        f"lfw-deepfunneled, convolutions in bfloat16: {on}. Training seconds are for up to six networks in parallel on a GPU, "
        "or for two cores, with some pauses. Accuracy in percent with the checkpoint of the lowest validation loss; at best "
        "epoch: of the highest validation accuracy."
    )
    return "\n\n".join([Table(columns, rows, caption).to_markdown(), two_cores_table(_on_two_cores()).to_markdown()])


def seconds_figure() -> Figure:
    """Accuracy against training seconds on two cores of the ladder beyond, and of the report.

    For stages trained on a GPU, their networks trained on two cores are shown.
    """
    study = opened(BEYOND)
    carried = {(r.after.stage, r.after.variant) for r in study.climb() if r.after}
    points: list[dict[str, Any]] = [
        {
            "label": _with_class(c),
            "accuracy": float(correct(study, c).mean()),
            "seconds": mean_of(results_of(study, c), "seconds_total"),
            "carried": (c.stage, c.variant) in carried,
            "published": False,
        }
        for c in tested(study)
        if c.stage != "leave-one-out"
    ]
    candidates = {c.stage: c for name in (SHALLOW, LARGER) for c in tested(opened(name))}
    for stage, runs in _on_two_cores().items():
        if runs[0].finished:
            point = {"label": _with_class(candidates[stage]), "carried": False, "published": False}
            point["accuracy"] = float(np.mean([run.accuracy for run in runs]))
            points.append(point | {"seconds": float(np.mean([sum(run.seconds) for run in runs]))})
    device = study.store.result(tested(study)[0].specs[0].run)["device"]
    source = f"{study.settings.dataset}, {study.precision}, {device}, mean over seeds; shallow stages: bfloat16, an Intel Xeon's 2 cores"
    named = "measured here, best checkpoint, pairs only unless said"
    return figures.accuracy_against_time(pd.DataFrame(points + series.report_points()), source, named)


def listed(names: Sequence[str]) -> str:
    """Names with commas and an "and"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _row(study: Results, candidate: Candidate) -> dict[str, Any]:
    results = results_of(study, candidate)
    threads = sum(study.store.record(spec.run)[1].get("threads") == 1 for spec in candidate.specs)
    alone = (
        f" ({'1 thread' if threads == len(results) else f'{threads} of {len(results)} on 1 thread'})" if threads else ""
    )
    return {
        "stage": candidate.stage,
        "trained on": IMAGE_CLASSES[candidate.config.data.pictures],
        ACCURACY: accuracy(study, candidate) if study.settings.protocol == "view1" else None,
        "AUC": mean_of(results, "test_auc"),
        "at best epoch": float(correct(study, candidate, "score_at_best").mean()),
        "validation at best": mean_of(results, "val_accuracy_at_best"),
        "training seconds": f"{mean_of(results, 'seconds_total'):,.0f}{alone}",
        "parameters": results[0]["parameters"],
        "seeds": len(results),
        "device": f"{results[0]['device']} ({results[0]['backend']})",
    }


def _ensemble_row(study: Results, candidate: Candidate) -> dict[str, Any]:
    told = f"mean of {len(candidate.specs)} networks' logits"
    images = IMAGE_CLASSES[candidate.config.data.pictures]
    stage = f"{candidate.stage}: {told}"
    return {"stage": stage, "networks": told, "trained on": images, ACCURACY: ensemble(study, candidate)}


def _with_class(candidate: Candidate) -> str:
    """A stage's name in the figure, with the class of its images unless it is the usual one."""
    images = candidate.config.data.pictures
    return candidate.stage if images == "pairs" else f"{candidate.stage} ({IMAGE_CLASSES[images]})"


def _on_two_cores() -> dict[str, list[OnTwoCores]]:
    return two_cores([opened(SHALLOW), opened(LARGER)])
