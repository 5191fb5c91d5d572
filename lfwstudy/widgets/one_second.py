"""The one-second test, after the report's anecdote: pairs flashed for a moment, the viewer says same or different."""

import base64
import csv
import html
import io
from pathlib import Path

import anywidget
import numpy as np
import traitlets

from lfwstudy.evaluation import metrics
from lfwstudy.widgets.controls import (
    button,
    checkbox,
    dropdown,
    explorer,
    guarded,
    markup,
    message,
    panel,
    row,
    whole_number,
)
from lfwstudy.widgets.finished_runs import Pictures, bank_of, run_options, scored_pairs

_HERE = Path(__file__).parent
FEWEST, MOST = 20, 100
CSV_COLUMNS = (
    "trial",
    "pair",
    "left",
    "right",
    "label",
    "network_score",
    "network_same",
    "viewer_same",
    "viewer_right",
    "asked_ms",
    "shown_ms",
    "response_ms",
    "undisturbed",
)


class Flasher(anywidget.AnyWidget):
    """Shows trials one by one and times them in the browser.

    trials: dicts with left and right, data URIs. answers: for each trial answered so far {trial, same, shown_ms,
    response_ms, undisturbed}; shown_ms is measured between the browser's frames, response_ms from the pair's first frame.
    """

    _esm, _css = _HERE / "one_second.js", _HERE / "style.css"
    trials = traitlets.List().tag(sync=True)
    milliseconds = traitlets.Int(500).tag(sync=True)
    answers = traitlets.List().tag(sync=True)
    done = traitlets.Bool(False).tag(sync=True)


@explorer
def one_second_test(study):
    """Pairs flashed and masked; at the end your accuracy beside the network's on the same pairs, and a CSV file."""
    runs = dropdown("Network of run", run_options(study))
    count = whole_number("Number of pairs", FEWEST, FEWEST, MOST)
    shown = whole_number("Shown for, ms", 500, 50, 5000)
    seed = whole_number("Order number", 0, 0, 9999)
    only_wrong = checkbox("Only pairs that the network got wrong")
    new = button("New test")
    told, result, flasher = message(), markup("13em"), Flasher()
    state = {}

    def begin():
        result.value, flasher.trials, flasher.answers, flasher.done = "", [], [], False
        scored = scored_pairs(study, runs.value, "test")
        pictures = Pictures(bank_of(study, runs.value))
        rows = choose_trials(scored, count.value, only_wrong.value, seed.value)
        state.update(scored=scored, rows=rows, asked=shown.value)
        flasher.milliseconds = shown.value
        flasher.trials = [
            {"left": pictures.show(scored.left[i])["src"], "right": pictures.show(scored.right[i])["src"]} for i in rows
        ]
        few = "" if len(rows) == count.value else f" The network got too few wrong for {count.value}."
        return (
            f"{len(rows)} test pairs, as many matched as mismatched, each shown for {shown.value} ms as the network sees it: "
            f"grey, {pictures.bank.side} × {pictures.bank.side} pixels.{few}"
        )

    def end(_):
        if flasher.done and state:
            trials = outcomes(state["scored"], state["rows"], flasher.answers, state["asked"])
            result.value = _told(trials)

    refresh = guarded(told, begin)
    new.on_click(refresh)
    for control in (runs, count, shown, seed, only_wrong):
        control.observe(refresh, "value")
    flasher.observe(end, "done")
    refresh()
    return panel(
        row(runs, count, shown, seed, only_wrong, new),
        told,
        flasher,
        result,
        run=runs,
        count=count,
        shown=shown,
        seed=seed,
        only_wrong=only_wrong,
        new=new,
        message=told,
        flasher=flasher,
        result=result,
    )


def choose_trials(scored, count, only_wrong=False, seed=0):
    """Row numbers of a test: half matched, half mismatched, in random order; fewer where there are not enough."""
    rng = np.random.default_rng([seed, 70])
    usable = ~scored.right_answer() if only_wrong else np.ones(len(scored), bool)
    groups = [np.flatnonzero(usable & (scored.label == label)) for label in (1, 0)]
    half = min(count // 2, *(len(group) for group in groups))
    return rng.permutation(np.concatenate([rng.choice(group, half, replace=False) for group in groups]))


def outcomes(scored, rows, answers, asked):
    """One dict per answered trial, with CSV_COLUMNS."""
    found = []
    for answer in answers:
        i = rows[answer["trial"]]
        same = bool(scored.label[i] > 0.5)
        found.append(
            {
                "trial": answer["trial"] + 1,
                "pair": int(scored.line[i]),
                "left": scored.left[i],
                "right": scored.right[i],
                "label": int(same),
                "network_score": round(float(scored.score[i]), 6),
                "network_same": int(scored.score[i] > 0.5),
                "viewer_same": int(answer["same"]),
                "viewer_right": int(answer["same"] == same),
                "asked_ms": asked,
                "shown_ms": round(answer["shown_ms"], 1),
                "response_ms": round(answer["response_ms"], 1),
                "undisturbed": int(answer["undisturbed"]),
            }
        )
    return found


def _told(trials):
    if not trials:
        return "<p>No pair was available for this test.</p>"
    total = len(trials)
    viewer = sum(t["viewer_right"] for t in trials)
    network = sum(t["network_same"] == t["label"] for t in trials)
    agree = sum(t["network_same"] == t["viewer_same"] for t in trials)
    shown, response = (np.array([t[key] for t in trials]) for key in ("shown_ms", "response_ms"))
    lines = "".join(
        f'<tr><th scope="row">{name}</th><td>{right} of {total}</td><td>{_percent(right, total)}</td></tr>'
        for name, right in (
            ("You were right", viewer),
            ("The network was right", network),
            ("You and the network agree", agree),
        )
    )
    disturbed = total - sum(t["undisturbed"] for t in trials)
    note = f" In {disturbed} trials the page was hidden or lost the focus; the CSV marks them." if disturbed else ""
    return (
        f'<table class="lfw-plain"><caption>{total} pairs; 95 % intervals after Wilson</caption><tbody>{lines}</tbody></table>'
        f"<p>Response time: median {np.median(response):.0f} ms, middle half {np.quantile(response, 0.25):.0f} to "
        f"{np.quantile(response, 0.75):.0f} ms. Asked for {trials[0]['asked_ms']} ms on screen, measured between the browser's frames: "
        f"median {np.median(shown):.0f} ms, from {shown.min():.0f} to {shown.max():.0f} ms.{html.escape(note)}</p>"
        f'<p><a download="one-second-test.csv" href="data:text/csv;base64,{base64.b64encode(to_csv(trials).encode()).decode()}">'
        "Save the answers as CSV</a></p>"
    )


def to_csv(trials):
    """The trials as CSV text."""
    file = io.StringIO()
    writer = csv.DictWriter(file, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(trials)
    return file.getvalue()


def _percent(right, total):
    low, high = metrics.wilson(right, total)
    return f"{100 * right / total:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
