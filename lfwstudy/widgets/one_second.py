"""The one-second test, after the report's anecdote: pairs are flashed, and the viewer answers same or different."""

import base64
from collections.abc import Sequence
from typing import Any

import anywidget
import numpy as np
import pandas as pd
import traitlets

from lfwstudy.evaluation import metrics
from lfwstudy.study.study import Study
from lfwstudy.verify.verifier import THRESHOLD
from lfwstudy.widgets.controls import HERE, STYLE, button, checkbox, dropdown, markup, row, synced_list, whole_number
from lfwstudy.widgets.explorer import Explorer, explorer
from lfwstudy.widgets.finished_runs import Images, ScoredPairs, run_options, scored_pairs

FEWEST, MOST = 20, 100


class Flasher(anywidget.AnyWidget):
    """Shows trials one by one and times them in the browser.

    trials: dicts with left and right, data URIs. answers: for each answered trial {trial, same, shown_ms,
    response_ms, undisturbed}; shown_ms is measured between the browser's frames, response_ms from the pair's first frame.
    """

    _esm, _css = HERE / "one_second.js", STYLE
    trials = synced_list()
    milliseconds = traitlets.Int(500).tag(sync=True)
    answers = synced_list()
    done = traitlets.Bool(False).tag(sync=True)


@explorer
def one_second_test(study: Study) -> Explorer:
    """Pairs flashed and masked; at the end your accuracy next to the network's on the same pairs, and a CSV file."""
    return _OneSecondTest(study)


class _OneSecondTest(Explorer):
    def __init__(self, study: Study) -> None:
        self.study = study
        self.scored: ScoredPairs | None = None
        controls = {
            "run": dropdown("Network of run", run_options(study)),
            "count": whole_number("Number of pairs", FEWEST, FEWEST, MOST),
            "shown": whole_number("Shown for, ms", 500, 50, 5000),
            "seed": whole_number("Order number", 0, 0, 9999),
            "only_wrong": checkbox("Only pairs that the network got wrong"),
        }
        super().__init__(new=button("New test"), flasher=Flasher(), result=markup("13em"), **controls)
        p = self.parts
        self.arrange(row(*controls.values(), p.new), p.message, p.flasher, p.result)
        self.press(p.new, self.begin)
        p.flasher.observe(self.end, "done")
        self.follow(self.begin, *controls.values())

    def begin(self) -> str:
        p = self.parts
        p.result.value, p.flasher.trials, p.flasher.answers, p.flasher.done = "", [], [], False
        scored, images = scored_pairs(self.study, p.run.value, "test"), Images.of_run(self.study, p.run.value)
        rows = choose_trials(scored, p.count.value, p.only_wrong.value, p.seed.value)
        self.scored, self.rows, self.asked = scored, rows, p.shown.value
        p.flasher.milliseconds = p.shown.value
        p.flasher.trials = [
            {"left": images.show(scored.left[i])["src"], "right": images.show(scored.right[i])["src"]} for i in rows
        ]
        few = "" if len(rows) == p.count.value else f" The network got too few wrong for {p.count.value}."
        return (
            f"{len(rows)} test pairs, as many matched as mismatched, each shown for {p.shown.value} ms as the network sees "
            f"it: grey, {images.bank.side} × {images.bank.side} pixels.{few}"
        )

    def end(self, _: object) -> None:
        if self.parts.flasher.done and self.scored:
            trials = outcomes(self.scored, self.rows, self.parts.flasher.answers, self.asked)
            self.parts.result.value = _result(trials)


def choose_trials(scored: ScoredPairs, count: int, only_wrong: bool = False, seed: int = 0) -> np.ndarray:
    """Row numbers of a test: half matched, half mismatched, in random order; fewer if there are not enough."""
    rng = np.random.default_rng([seed, 70])
    usable = ~scored.correct() if only_wrong else np.ones(len(scored), bool)
    groups = [np.flatnonzero(usable & (scored.label == label)) for label in (1, 0)]
    half = min(count // 2, *(len(group) for group in groups))
    return rng.permutation(np.concatenate([rng.choice(group, half, replace=False) for group in groups]))


def outcomes(scored: ScoredPairs, rows: np.ndarray, answers: Sequence[dict[str, Any]], asked: int) -> pd.DataFrame:
    """The answered trials, a row each: pair, label, the answers of network and viewer, and times in milliseconds."""
    given = pd.DataFrame(answers, columns=["trial", "same", "shown_ms", "response_ms", "undisturbed"])
    at = rows[given.trial.to_numpy(int)]
    label, viewer = scored.label[at] > 0.5, given.same.to_numpy(bool)
    return pd.DataFrame(
        {
            "trial": given.trial + 1,
            "pair": scored.line[at],
            "left": scored.left[at],
            "right": scored.right[at],
            "label": label.astype(int),
            "network_score": scored.score[at].round(6),
            "network_same": (scored.score[at] > THRESHOLD).astype(int),
            "viewer_same": viewer.astype(int),
            "viewer_correct": (viewer == label).astype(int),
            "asked_ms": asked,
            "shown_ms": given.shown_ms.astype(float).round(1),
            "response_ms": given.response_ms.astype(float).round(1),
            "undisturbed": given.undisturbed.astype(int),
        }
    )


def _result(trials: pd.DataFrame) -> str:
    if trials.empty:
        return "<p>No pair was available for this test.</p>"
    total, disturbed = len(trials), int((trials.undisturbed == 0).sum())
    lines = "".join(
        f'<tr><th scope="row">{name}</th><td>{count} of {total}</td><td>{_percent(count, total)}</td></tr>'
        for name, count in (
            ("You were correct", trials.viewer_correct.sum()),
            ("The network was correct", (trials.network_same == trials.label).sum()),
            ("You and the network agree", (trials.network_same == trials.viewer_same).sum()),
        )
    )
    note = f" In {disturbed} trials the page was hidden or lost the focus; the CSV marks them." if disturbed else ""
    low, median, high = trials.response_ms.quantile([0.25, 0.5, 0.75])
    shown, content = trials.shown_ms, trials.to_csv(index=False, lineterminator="\n")
    return (
        f'<table class="lfw-plain"><caption>{total} pairs; 95 % Wilson intervals</caption><tbody>{lines}</tbody></table>'
        f"<p>Response time: median {median:.0f} ms, middle half {low:.0f} to {high:.0f} ms. Asked for {trials.asked_ms[0]} ms "
        f"on screen, measured between the browser's frames: median {shown.median():.0f} ms, from {shown.min():.0f} to "
        f"{shown.max():.0f} ms.{note}</p>"
        '<p><a download="one-second-test.csv" href="data:text/csv;base64,'
        f'{base64.b64encode(content.encode()).decode()}">Save the answers as CSV</a></p>'
    )


def _percent(count: int, total: int) -> str:
    low, high = metrics.wilson(count, total)
    return f"{100 * count / total:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
