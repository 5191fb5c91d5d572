"""Threshold and ROC: one slider moves the point on the curve, the histograms, the table and the pairs beside it."""

import numpy as np

from lfwstudy.evaluation import metrics
from lfwstudy.system.text import percent
from lfwstudy.widgets import drawing
from lfwstudy.widgets.controls import (
    Gallery,
    Slider,
    dropdown,
    explorer,
    guarded,
    markup,
    message,
    panel,
    row,
    when_changed,
)
from lfwstudy.widgets.finished_runs import SETS, Pictures, bank_of, run_options, scored_pairs
from lfwstudy.widgets.pair_browser import pair_card

_BINS = 40
_EITHER_SIDE = 4


@explorer
def move_threshold(study):
    """What a threshold does: its point on the ROC curve, who is on which side, and the pairs just either side of it."""
    runs, part = dropdown("Run", run_options(study)), dropdown("Set", SETS)
    threshold = Slider(label="Threshold", value=0.5, step=0.005, digits=3)
    told, figure, table = message(), markup("330px"), markup("8em")
    below, above = (
        Gallery(label=label, slots=_EITHER_SIDE, size=72, empty="no pair")
        for label in ("Just below: called different", "Just above: called same")
    )
    state = {}

    def load():
        state.clear()
        figure.value = table.value = ""
        below.cards = above.cards = []
        scored = scored_pairs(study, runs.value, part.value)
        state.update(
            scored=scored,
            figure=_Figure(scored),
            order=np.argsort(scored.score, kind="stable"),
            advice=_advice(study, runs.value),
        )
        move()
        state["pictures"] = Pictures(bank_of(study, runs.value))
        return move()

    def move():
        if "scored" not in state:
            return None
        scored, at = state["scored"], threshold.value
        figure.value = state["figure"].at(at)
        table.value = _confusion(scored, at)
        if "pictures" in state:
            order = state["order"]
            cut = int(np.searchsorted(scored.score[order], at, side="right"))
            below.cards = [_card(scored, i, state["pictures"], at) for i in order[max(0, cut - _EITHER_SIDE) : cut]]
            above.cards = [_card(scored, i, state["pictures"], at) for i in order[cut : cut + _EITHER_SIDE]]
        return state["advice"]

    refresh = guarded(told, load)
    when_changed(refresh, runs, part)
    when_changed(guarded(told, move), threshold)
    refresh()
    return panel(
        row(runs, part),
        threshold,
        figure,
        row(table),
        row(below, above),
        told,
        run=runs,
        part=part,
        threshold=threshold,
        figure=figure,
        table=table,
        below=below,
        above=above,
        message=told,
    )


class _Figure:
    """ROC and histograms drawn once; a threshold adds a point and two lines."""

    def __init__(self, scored):
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

    def at(self, threshold):
        """The figure with a threshold marked."""
        true_positive, true_negative = metrics.rates(self.label, self.score, threshold)
        right = metrics.accuracy(self.label, self.score, threshold)
        x = self.bars.x(threshold)
        words = (
            f"threshold {threshold:.3f}: {percent(true_positive)} % of the matched pairs called same, "
            f"{percent(1 - true_negative)} % of the mismatched ones; {percent(right)} % of all right"
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

    def _bars(self, counts, sign, colour):
        width = (self.bars.right - self.bars.left) / _BINS
        return "".join(
            f'<rect x="{self.bars.left + i * width:.1f}" width="{width - 1:.1f}" '
            f'y="{self.bars.y(max(0, sign * n)):.1f}" height="{self.bars.y(0) - self.bars.y(n):.1f}" fill="{colour}"/>'
            for i, n in enumerate(counts)
            if n
        )


def _confusion(scored, threshold):
    same, called = scored.label > 0.5, scored.score > threshold
    cells = [
        [int((same & called).sum()), int((same & ~called).sum())],
        [int((~same & called).sum()), int((~same & ~called).sum())],
    ]
    right = cells[0][0] + cells[1][1]
    low, high = metrics.wilson(right, len(scored))
    lines = "".join(
        f'<tr><th scope="row">{name}</th><td>{a}</td><td>{b}</td></tr>'
        for name, (a, b) in zip(("matched", "mismatched"), cells)
    )
    return (
        f'<table class="lfw-plain"><caption>{right} of {len(scored):,} pairs right: {percent(right / len(scored))} % '
        f"[{percent(low)}, {percent(high)}]</caption><thead><tr><td></td>"
        f'<th scope="col">called same</th><th scope="col">called different</th></tr></thead><tbody>{lines}</tbody></table>'
    )


def _card(scored, at, pictures, threshold):
    right = bool((scored.score[at] > threshold) == (scored.label[at] > 0.5))
    return {
        **pair_card(scored, at, pictures),
        "mark": "right" if right else "wrong",
        "text": f"{'matched' if scored.label[at] else 'mismatched'}\nP(same) {scored.score[at]:.3f}",
    }


def _advice(study, run):
    held = scored_pairs(study, run, "val")
    best = metrics.best_threshold(held.label, held.score)
    return (
        f"The validation pairs would choose {best:.3f}. A threshold moved by hand to suit the test pairs flatters the "
        "network: results are always given at 0.5."
    )
