"""The one-second test, after the report's anecdote: pairs are flashed, and the viewer answers same or different."""

import base64
from collections.abc import Sequence
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd

from lfwstudy.evaluation import metrics
from lfwstudy.report.table import Column, Interval, Table
from lfwstudy.study.study import Study
from lfwstudy.verify import THRESHOLD
from lfwstudy.widgets.controls import Flasher, Gallery, blank, checkbox, dropdown, markup, row, whole_number
from lfwstudy.widgets.explorer import Explorer
from lfwstudy.widgets.finished_runs import FinishedRuns, correct

FEWEST, MOST = 20, 100
_LATER = "They are shown after the last pair."


class OneSecondTest(Explorer):
    """Pairs flashed and masked; at the end your accuracy next to the network's on the same pairs, and a CSV file."""

    def build(self, study: Study) -> list[ipywidgets.Widget]:
        self.runs = FinishedRuns(study)
        controls = {
            "run": dropdown("Network of run", self.runs.options, "40em"),
            "count": whole_number("Number of pairs", FEWEST, FEWEST, MOST),
            "shown": whole_number("Shown for, ms", 500, 50, 5000),
            "seed": whole_number("Order number", 0, 0, 9999),
            "only_wrong": checkbox("Only pairs that the network got wrong"),
        }
        p = self.add(
            flasher=Flasher(),
            result=markup("13em"),
            missed=Gallery(label="Pairs you missed, with the network's answers", size=84, empty=_LATER),
            **controls,
        )
        self.watch(self.begin, *controls.values())()
        p.flasher.observe(self.end, "answers")
        return [row(*controls.values()), p.message, p.flasher, p.result, p.missed]

    def begin(self) -> str:
        p = self.parts
        p.flasher.trials = p.flasher.answers = []
        scored, images = self.runs.scored(p.run.value, "test"), self.runs.images(p.run.value)
        self.asked = choose_trials(scored, p.count.value, p.only_wrong.value, p.seed.value)
        p.flasher.milliseconds = p.shown.value
        p.flasher.trials = [
            {"left": images.show(left)["src"], "right": images.show(right)["src"]}
            for left, right in zip(self.asked.left, self.asked.right)
        ]
        few = f" There are too few such pairs for {p.count.value}." if len(self.asked) < p.count.value - 1 else ""
        return (
            f"{len(self.asked)} test pairs, as many matched as mismatched, each shown for {p.shown.value} ms as the network "
            f"sees it: grey, {images.bank.side} × {images.bank.side} pixels.{few}"
        )

    def end(self, _: object) -> None:
        """Show the result, and the pairs that were missed, once the last pair is answered."""
        p, answers = self.parts, self.parts.flasher.answers
        blank(p.result, p.missed)
        p.missed.empty = _LATER
        if answers and len(answers) == len(self.asked):
            trials = outcomes(self.asked, answers, p.flasher.milliseconds)
            p.result.value, p.missed.empty = _result(trials), "None: you were right about every pair."
            missed = self.asked[(trials.viewer_correct == 0).to_numpy()]
            p.missed.cards = self.runs.images(p.run.value).pair_cards(missed)


def choose_trials(scored: pd.DataFrame, count: int, only_wrong: bool = False, seed: int = 0) -> pd.DataFrame:
    """The pairs of a test: half matched, half mismatched, in random order; fewer if there are not enough."""
    rng = np.random.default_rng([seed, 70])
    usable = ~correct(scored) if only_wrong else pd.Series(True, scored.index)
    groups = [np.flatnonzero(usable & (scored.label == label)) for label in (1, 0)]
    half = min(count // 2, *(len(group) for group in groups))
    return scored.iloc[rng.permutation(np.concatenate([rng.choice(group, half, replace=False) for group in groups]))]


def outcomes(asked: pd.DataFrame, answers: Sequence[dict[str, Any]], milliseconds: int) -> pd.DataFrame:
    """The answered trials, a row each: pair, label, the answers of network and viewer, and times in milliseconds."""
    given = pd.DataFrame(answers, columns=["trial", "same", "shown_ms", "response_ms", "undisturbed"])
    pairs = asked.iloc[given.trial.to_numpy(int)].reset_index()
    return pd.DataFrame(
        {
            "trial": given.trial + 1,
            **pairs[["pair", "left", "right", "label"]],
            "network_score": pairs.score.round(6),
            "network_same": (pairs.score > THRESHOLD).astype(int),
            "viewer_same": given.same.astype(int),
            "viewer_correct": (given.same == (pairs.label > 0.5)).astype(int),
            "asked_ms": milliseconds,
            "shown_ms": given.shown_ms.astype(float).round(1),
            "response_ms": given.response_ms.astype(float).round(1),
            "undisturbed": given.undisturbed.astype(int),
        }
    )


def _result(trials: pd.DataFrame) -> str:
    counts = {
        "You were correct": trials.viewer_correct.sum(),
        "The network was correct": (trials.network_same == trials.label).sum(),
        "You and the network agree": (trials.network_same == trials.viewer_same).sum(),
    }
    total, disturbed = len(trials), int((trials.undisturbed == 0).sum())
    table = Table(
        [Column(""), Column("pairs"), Column("share, %", "percent", digits=0)],
        [
            {
                "": name,
                "pairs": f"{count} of {total}",
                "share, %": Interval(count / total, *metrics.wilson(count, total)),
            }
            for name, count in counts.items()
        ],
        f"{total} pairs; 95 % Wilson intervals",
    )
    note = f" In {disturbed} trials the page was hidden or lost the focus; the CSV marks them." if disturbed else ""
    low, median, high = trials.response_ms.quantile([0.25, 0.5, 0.75])
    shown, content = trials.shown_ms, trials.to_csv(index=False, lineterminator="\n")
    return (
        f"{table.to_html()}<p>Response time: median {median:.0f} ms, middle half {low:.0f} to {high:.0f} ms. Asked for "
        f"{trials.asked_ms[0]} ms on screen, measured between the browser's frames: median {shown.median():.0f} ms, from "
        f"{shown.min():.0f} to {shown.max():.0f} ms.{note}</p>"
        '<p><a download="one-second-test.csv" href="data:text/csv;base64,'
        f'{base64.b64encode(content.encode()).decode()}">Save the answers as CSV</a></p>'
    )
