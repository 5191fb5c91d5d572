"""Threshold and ROC: one slider moves the point on the curve, the histograms, the counts and the pairs next to it."""

import numpy as np

from lfwstudy.evaluation import metrics
from lfwstudy.study.study import Study
from lfwstudy.system.text import percent
from lfwstudy.widgets import drawing
from lfwstudy.widgets.controls import Gallery, Slider, dropdown, markup, row
from lfwstudy.widgets.explorer import Explorer, explorer
from lfwstudy.widgets.finished_runs import SETS, Images, ScoredPairs, run_options, scored_pairs
from lfwstudy.widgets.pair_browser import pair_card

_BINS = 40
_EITHER_SIDE = 4


@explorer
def move_threshold(study: Study) -> Explorer:
    """The effect of a threshold: its point on the ROC curve, the counts on either side, and the pairs closest to it."""
    return _Threshold(study)


class _Threshold(Explorer):
    def __init__(self, study: Study) -> None:
        self.study, self.advice = study, ""
        self.scored: ScoredPairs | None = None
        self.images: Images | None = None
        super().__init__(
            run=dropdown("Run", run_options(study)),
            part=dropdown("Set", SETS),
            threshold=Slider(label="Threshold", value=0.5, step=0.005, digits=3),
            figure=markup("330px"),
            table=markup("8em"),
            below=Gallery(label="Just below: called different", slots=_EITHER_SIDE, empty="no pair"),
            above=Gallery(label="Just above: called same", slots=_EITHER_SIDE, empty="no pair"),
        )
        p = self.parts
        self.arrange(row(p.run, p.part), p.threshold, p.figure, row(p.table), row(p.below, p.above), p.message)
        self.follow(self.move, p.threshold)
        self.follow(self.load, p.run, p.part)

    def load(self) -> str:
        p = self.parts
        self.scored = self.images = None
        p.figure.value = p.table.value = ""
        p.below.cards = p.above.cards = []
        scored, validation = (scored_pairs(self.study, p.run.value, part) for part in (p.part.value, "val"))
        self.figure, self.order = _Figure(scored), np.argsort(scored.score, kind="stable")
        self.scored, self.advice = scored, _advice(validation)
        self.move()  # works without images, too
        self.images = Images.of_run(self.study, p.run.value)
        return self.move()

    def move(self) -> str:
        if self.scored is None:
            return ""
        p, scored, threshold = self.parts, self.scored, self.parts.threshold.value
        p.figure.value, p.table.value = self.figure.at(threshold), _confusion(scored, threshold)
        if images := self.images:
            cut = int(np.searchsorted(scored.score[self.order], threshold, side="right"))
            for gallery, rows in (
                (p.below, self.order[max(0, cut - _EITHER_SIDE) : cut]),
                (p.above, self.order[cut : cut + _EITHER_SIDE]),
            ):
                gallery.cards = [pair_card(scored, at, images, threshold, digits=3) for at in rows]
        return self.advice


class _Figure:
    """ROC and histograms drawn once; a threshold adds a point and two lines."""

    def __init__(self, scored: ScoredPairs) -> None:
        self.score, self.label = scored.score, scored.label > 0.5
        false_positive, true_positive, _ = metrics.roc(scored.label, scored.score)
        self.roc = drawing.Axes((56, 26, 286, 246), (0, 1), (0, 1))
        counts = [np.histogram(self.score[self.label == same], _BINS, (0, 1))[0] for same in (True, False)]
        top = max(1, *(c.max() for c in counts))
        self.bars = drawing.Axes((380, 26, 780, 246), (0, 1), (-top, top))
        self.fixed = (
            self.roc.frame("mismatched pairs called same, %", "matched called same, %", percent="xy")
            + self.roc.line([(0, 0), (1, 1)], drawing.TRAIN, "2 3", 1)
            + self.roc.line(list(zip(false_positive, true_positive)), drawing.MEASURED, width=2)
            + self.bars.frame("P(same)", "pairs")
            + self._bars(counts[0], 1, drawing.MATCHED)
            + self._bars(counts[1], -1, drawing.MISMATCHED)
            + drawing.key(380, 16, drawing.MATCHED, "matched pairs, upwards")
            + drawing.key(560, 16, drawing.MISMATCHED, "mismatched pairs, downwards")
        )

    def at(self, threshold: float) -> str:
        """The figure with a threshold marked."""
        true_positive, true_negative = metrics.rates(self.label, self.score, threshold)
        x = self.bars.x(threshold)
        words = (
            f"threshold {threshold:.3f}: {percent(true_positive)} % of the matched and {percent(1 - true_negative)} % of "
            f"the mismatched pairs called same; {percent(metrics.accuracy(self.label, self.score, threshold))} % correct"
        )
        return drawing.svg(
            800,
            304,
            f"ROC curve and histogram of scores, {words}",
            self.fixed,
            self.roc.dot(1 - true_negative, true_positive, drawing.WRONG, 6),
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="22" y2="250" stroke="{drawing.WRONG}" stroke-width="2.5"/>',
            drawing.text(8, 298, words[0].upper() + words[1:]),
        )

    def _bars(self, counts: np.ndarray, sign: int, colour: str) -> str:
        width = (self.bars.right - self.bars.left) / _BINS
        return "".join(
            f'<rect x="{self.bars.left + i * width:.1f}" width="{width - 1:.1f}" '
            f'y="{self.bars.y(max(0, sign * n)):.1f}" height="{self.bars.y(0) - self.bars.y(n):.1f}" fill="{colour}"/>'
            for i, n in enumerate(counts)
            if n
        )


def _confusion(scored: ScoredPairs, threshold: float) -> str:
    same, called, total = scored.label > 0.5, scored.score > threshold, len(scored)
    lines = "".join(
        f'<tr><th scope="row">{name}</th><td>{(actual & called).sum()}</td><td>{(actual & ~called).sum()}</td></tr>'
        for name, actual in (("matched", same), ("mismatched", ~same))
    )
    correct = int((same == called).sum())
    low, high = metrics.wilson(correct, total)
    return (
        f'<table class="lfw-plain"><caption>{correct} of {total:,} pairs correct: {percent(correct / total)} % '
        f"[{percent(low)}, {percent(high)}]</caption><thead><tr><td></td>"
        f'<th scope="col">called same</th><th scope="col">called different</th></tr></thead><tbody>{lines}</tbody></table>'
    )


def _advice(validation: ScoredPairs) -> str:
    best = metrics.best_threshold(validation.label, validation.score)
    return (
        f"The validation pairs would choose {best:.3f}. A threshold moved by hand to suit the test pairs flatters the "
        "network: results are always given at 0.5."
    )
