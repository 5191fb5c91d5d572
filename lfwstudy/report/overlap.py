"""Effect of identity overlap between training and validation: the base network under each kind of split."""

from typing import TYPE_CHECKING, Any

import numpy as np

from lfwstudy.data.pairs import person_of
from lfwstudy.evaluation import intervals
from lfwstudy.report.table import Column, Interval, Table
from lfwstudy.report.wording import source_line
from lfwstudy.system.text import signed_points

if TYPE_CHECKING:
    from lfwstudy.study.results import Results
    from lfwstudy.study.rungs import Candidate


def overlap_table(study: "Results") -> Table:
    """Validation minus test accuracy of the base network under person-disjoint and contaminated splits."""
    if not study.ladder.has_path():
        return Table.nothing("The effect of identity overlap is measured with the base network of the report's ladder.")
    found = measured_overlap(study)
    if len(found["splits"]) < 2:
        return Table.nothing(
            "To measure the effect of identity overlap, add the base stage under another split to this study: `lfwstudy run "
            "--split random --stages base` with the same other options."
        )
    columns = [
        Column("split"),
        Column("validation pairs with a person of training"),
        Column("validation", "percent"),
        Column("test", "percent"),
        Column("validation minus test [95 %]", "points"),
        Column("seeds", "number", digits=0),
    ]
    rows = [
        {
            "split": split,
            "validation pairs with a person of training": f"{s['touched']} of {s['pairs']}",
            "validation": s["validation"],
            "test": s["test"],
            "validation minus test [95 %]": Interval(*s["gap"]),
            "seeds": s["seeds"],
        }
        for split, s in found["splits"].items()
    ]
    caption = (
        f"The base network at its best epoch, in percent. {wider_gap(found)} Interval: bootstrap over connected components of "
        "people and over seeds. The best epoch is chosen on validation, which raises validation a little under every split."
    )
    return Table(columns, rows, caption, source_line(study))


def measured_overlap(study: "Results") -> dict[str, Any]:
    """The effect of identity overlap, JSON-ready; shares in 0..1, at the best epochs.

    Returns
    -------
    dict
        `splits`, by name, and `wider`: the gap under `random` minus that under `components` with its interval, None if either
        is missing.
    """
    splits: dict[str, Any] = {}
    gaps: dict[str, intervals.Difference] = {}
    for other in study.combinations():
        split, same = other.settings.split, other.settings.ladder == study.settings.ladder
        rungs = other.climb(upto="base") if same and other.settings.protocol == "view1" and split not in gaps else []
        correct = other.correct(rungs[0].candidates[0]) if rungs else None
        if correct is None:
            continue
        base = rungs[0].candidates[0]
        validation, components = other.validation_correct(base)
        gap = gaps[split] = intervals.gap(validation, components, correct, other.test_components())
        splits[split] = {
            "touched": _touched(other, base),
            "pairs": validation.shape[1],
            "validation": float(validation.mean()),
            "test": float(correct.mean()),
            "seeds": len(correct),
            "gap": [gap.difference, gap.low, gap.high],
        }
    wider = None
    if {"random", "components"} <= set(gaps):
        wider = [float(value) for value in intervals.difference_of_gaps(gaps["random"], gaps["components"])]
    return {"splits": splits, "wider": wider}


def wider_gap(found: dict[str, Any]) -> str:
    """How much wider the gap is with shared people, as a sentence; empty if not measured."""
    if not found["wider"]:
        return ""
    more, low, high = map(signed_points, found["wider"])
    return f"The gap under `random` is {more} points [{low}, {high}] wider than under `components`."


def _touched(study: "Results", candidate: "Candidate") -> int:
    """Number of validation pairs with a person of the training pairs."""
    train, held = (study.store.predictions(candidate.specs[0].run, part) for part in ("train", "val"))
    known = np.union1d(person_of(train["left"]), person_of(train["right"]))
    return int((np.isin(person_of(held["left"]), known) | np.isin(person_of(held["right"]), known)).sum())
