"""Effect of identity overlap between training and validation: the base network under each kind of split."""

from typing import Any

import numpy as np

from lfwstudy.data.pairs import person_of
from lfwstudy.evaluation import intervals
from lfwstudy.report.table import Interval, Table
from lfwstudy.report.wording import command, source_line
from lfwstudy.study.results import Results
from lfwstudy.system.text import signed_points


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
        return Table(empty=f"This is measured by training the base network under another split, too: `{added}`.")
    wider = ""
    if {"random", "components"} <= set(gaps):
        more, low, high = map(signed_points, intervals.difference_of_gaps(gaps["random"], gaps["components"]))
        wider = f"The gap under `random` is {more} points [{low}, {high}] wider than under `components`. "
    caption = (
        f"The base network at its best epoch, in percent. {wider}Interval: bootstrap over connected components of people and "
        "over seeds. The best epoch is chosen on validation, which raises validation a little under every split."
    )
    return Table(rows=list(rows.values()), caption=caption, source=source_line(study))


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
