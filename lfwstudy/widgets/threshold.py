"""Threshold and ROC: one slider moves the point on the curve, the histograms, the counts and the pairs next to it."""

from functools import cache

import ipywidgets
import numpy as np
import pandas as pd

from lfwstudy.evaluation import metrics
from lfwstudy.report.table import Column, Table
from lfwstudy.study.study import Study
from lfwstudy.system.text import percent
from lfwstudy.widgets import drawing
from lfwstudy.widgets.controls import Gallery, Slider, blank, dropdown, markup, row
from lfwstudy.widgets.explorer import Explorer
from lfwstudy.widgets.finished_runs import SETS, FinishedRuns

_BINS = 40
_EITHER_SIDE = 4


class ThresholdMover(Explorer):
    """The effect of a threshold: its point on the ROC curve, the counts on either side, and the pairs closest to it."""

    def build(self, study: Study) -> list[ipywidgets.Widget]:
        self.runs = FinishedRuns(study)
        self.figure = cache(lambda run, part: _Figure(self.runs.scored(run, part)))
        p = self.add(
            run=dropdown("Run", self.runs.options, "40em"),
            part=dropdown("Set", SETS),
            threshold=Slider(description="Threshold", value=0.5, step=0.005, digits=3),
            figure=markup("330px"),
            table=markup("8em"),
            below=Gallery(label="Just below: called different", slots=_EITHER_SIDE, empty="no pair"),
            above=Gallery(label="Just above: called same", slots=_EITHER_SIDE, empty="no pair"),
        )
        self.watch(self.load, p.run, p.part)()
        self.watch(self.move, p.threshold)
        return [row(p.run, p.part), p.threshold, p.figure, p.table, row(p.below, p.above), p.message]

    def load(self) -> str:
        """Show another run or set."""
        p = self.parts
        blank(p.figure, p.table, p.below, p.above)
        return self.move()

    def move(self) -> str:
        """Show the threshold's place."""
        p, threshold = self.parts, self.parts.threshold.value
        run, part = p.run.value, p.part.value
        scored, validation = self.runs.scored(run, part), self.runs.scored(run, "val")
        p.figure.value, p.table.value = self.figure(run, part).at(threshold), _confusion(scored, threshold)
        images = self.runs.images(run)  # without images the figure and the table still move
        below = scored.score <= threshold
        p.below.cards, p.above.cards = (
            images.pair_cards(pairs.sort_values("score", kind="stable"), threshold, digits=3)
            for pairs in (
                scored[below].nlargest(_EITHER_SIDE, "score"),
                scored[~below].nsmallest(_EITHER_SIDE, "score"),
            )
        )
        best = metrics.best_threshold(validation.label, validation.score)
        return (
            f"The validation pairs would choose {best:.3f}. A threshold moved by hand to suit the test pairs flatters the "
            "network: results are always given at 0.5."
        )


class _Figure:
    """ROC and histograms drawn once; a threshold adds a point and two lines."""

    def __init__(self, scored: pd.DataFrame) -> None:
        self.score, self.label = scored.score, scored.label > 0.5
        false_positive, true_positive, _ = metrics.roc(scored.label, scored.score)
        self.roc = drawing.Axes((56, 12, 286, 232), (0, 1), (0, 1))
        counts = [np.histogram(self.score[self.label == same], _BINS, (0, 1))[0] for same in (True, False)]
        top = max(1, *(c.max() for c in counts))
        self.bars = drawing.Axes((380, 12, 780, 232), (0, 1), (-top, top))
        self.fixed = (
            self.roc.frame("mismatched pairs called same, %", "matched called same, %", percent="xy")
            + self.roc.line([0, 1], [0, 1], drawing.TRAIN, "2 3", 1)
            + self.roc.line(false_positive, true_positive, drawing.MEASURED, width=2)
            + self.bars.frame("P(same)", "pairs")
            + self._bars(counts[0], 1, drawing.MATCHED)
            + self._bars(counts[1], -1, drawing.MISMATCHED)
        )
        area, equal = metrics.auc(self.label, self.score), percent(metrics.equal_error_rate(self.label, self.score))
        self.legend = drawing.legend(
            [
                (f"ROC curve: area under it (AUC) {area:.3f}, equal error rate (EER) {equal} %", drawing.MEASURED, ""),
                ("matched pairs, upwards", drawing.MATCHED, ""),
                ("mismatched pairs, downwards", drawing.MISMATCHED, ""),
            ]
        )

    def at(self, threshold: float) -> str:
        """The figure with a threshold marked."""
        true_positive, true_negative = metrics.rates(self.label, self.score, threshold)
        words = (
            f"threshold {threshold:.3f}: {percent(true_positive)} % of the matched and {percent(1 - true_negative)} % of "
            f"the mismatched pairs called same; {percent(metrics.accuracy(self.label, self.score, threshold))} % correct"
        )
        drawn = drawing.svg(
            800,
            270,
            f"ROC curve and histogram of scores, {words}",
            self.fixed,
            self.roc.dot(1 - true_negative, true_positive, drawing.WRONG, 6),
            self.bars.line([threshold] * 2, self.bars.y_range, drawing.WRONG, width=2.5),
        )
        return f'{drawn}{self.legend}<p class="lfw-note">{words[0].upper()}{words[1:]}.</p>'

    def _bars(self, counts: np.ndarray, sign: int, colour: str) -> str:
        width = (self.bars.right - self.bars.left) / _BINS
        return "".join(
            f'<rect x="{self.bars.left + i * width:.1f}" width="{width - 1:.1f}" '
            f'y="{self.bars.y(max(0, sign * n)):.1f}" height="{self.bars.y(0) - self.bars.y(n):.1f}" fill="{colour}"/>'
            for i, n in enumerate(counts)
            if n
        )


def _confusion(scored: pd.DataFrame, threshold: float) -> str:
    same, called = scored.label > 0.5, scored.score > threshold
    correct, total = int((same == called).sum()), len(scored)
    low, high = metrics.wilson(correct, total)
    return Table(
        [Column(""), Column("called same", "number", digits=0), Column("called different", "number", digits=0)],
        [
            {"": name, "called same": (actual & called).sum(), "called different": (actual & ~called).sum()}
            for name, actual in (("matched", same), ("mismatched", ~same))
        ],
        f"{correct} of {total:,} pairs correct: {percent(correct / total)} % [{percent(low)}, {percent(high)}]",
    ).to_html()
