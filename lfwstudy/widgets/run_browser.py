"""The run browser: stages, variants and seeds chosen, curves overlaid, differences in words, a table to sort and filter."""

import html

from lfwstudy.report.series import published_rows
from lfwstudy.report.wording import differences_in_words
from lfwstudy.system.text import percent
from lfwstudy.widgets import drawing
from lfwstudy.widgets.controls import (
    Table,
    dropdown,
    explorer,
    guarded,
    markup,
    message,
    panel,
    row,
    several,
    when_changed,
)
from lfwstudy.widgets.finished_runs import config_of, finished_rows, history_of, run_title

# Heading, column of results.csv, what it holds, digits shown.
_COLUMNS = (
    ("stage", "stage", str, 0),
    ("variant", "variant", str, 0),
    ("seed", "seed", int, 0),
    ("fold", "fold", int, 0),
    ("validation at best, %", "val_accuracy_at_best", "percent", 1),
    ("test, %", "test_accuracy", "percent", 1),
    ("test at best, %", "test_accuracy_at_best", "percent", 1),
    ("AUC", "test_auc", float, 3),
    ("TPR, %", "test_tpr", "percent", 1),
    ("TNR, %", "test_tnr", "percent", 1),
    ("epochs", "epochs_run", int, 0),
    ("best epoch", "best_epoch", int, 0),
    ("s per epoch", "seconds_per_epoch", float, 2),
    ("parameters", "parameters", int, 0),
    ("carried", "carried_forward", "carried", 0),
)
# More curves than colours and dashes tell apart are not drawn.
_MOST = 16


@explorer
def browse_runs(study):
    """Finished runs side by side: learning curves, what their configurations differ in, and their results."""
    rows = finished_rows(study)
    columns = [column for column in _COLUMNS if column[1] != "fold" or any(r["fold"] for r in rows)]
    stages = several("Stages", list(dict.fromkeys(r["stage"] for r in rows)))
    variants = several("Variants", list(dict.fromkeys(r["variant"] for r in rows)))
    seeds = several("Seeds", sorted({r["seed"] for r in rows}, key=int))
    measure = dropdown(
        "Measure", [("accuracy", "accuracy"), ("cross-entropy", "cross_entropy"), ("total loss", "loss")]
    )
    told, figure, words = message(), markup("360px"), markup("6em")
    table = Table(
        caption="Finished runs. A click on a heading sorts; ► is carried forward.",
        columns=[name for name, *_ in columns],
        digits=[digits for *_, digits in columns],
    )

    def show():
        chosen = [
            r
            for r in rows
            if r["stage"] in stages.value and r["variant"] in variants.value and r["seed"] in seeds.value
        ]
        table.rows = [[_cell(r[key], kind) for _, key, kind, _ in columns] for r in chosen]
        if not chosen:
            figure.value = words.value = ""
            return "No run is chosen: choose at least one stage, variant and seed."
        drawn = list({r["run"]: r for r in chosen}.values())[:_MOST]
        figure.value = _figure(study, drawn, measure.value)
        words.value = _differences(study, drawn)
        return f"{len(chosen)} of {len(rows)} finished runs are chosen" + (
            f"; the curves are those of the first {_MOST}." if len(chosen) > _MOST else "."
        )

    refresh = guarded(told, show)
    when_changed(refresh, stages, variants, seeds, measure)
    refresh()
    return panel(
        row(stages, variants, seeds, measure),
        told,
        figure,
        words,
        table,
        stages=stages,
        variants=variants,
        seeds=seeds,
        measure=measure,
        message=told,
        figure=figure,
        words=words,
        table=table,
    )


def _figure(study, rows, measure):
    lines = [(run_title(r), history_of(study.store, r["run"]), *drawing.look(i)) for i, r in enumerate(rows)]
    title = f"{measure.replace('_', '-')} over epochs of {len(lines)} runs"
    note = "Thick: validation, the dot at the epoch of its best accuracy."
    # The published histories have no cross-entropy of their own.
    published = (
        published_rows(study, list(dict.fromkeys((r["stage"], r["variant"]) for r in rows)))
        if measure != "cross_entropy"
        else {}
    )
    if published:
        lines += [
            (f"published, {stage}/{variant}", curve, drawing.PUBLISHED, drawing.look(len(drawing.LINES) * i)[1])
            for i, ((stage, variant), curve) in enumerate(published.items())
        ]
        note += " The published runs are of LFW-a."
    names = [(name, colour, dash) for name, _, colour, dash in lines]
    return (
        drawing.curves(lines, measure, title)
        + drawing.legend([*names, ("training, thin", drawing.TRAIN, "4 3")])
        + f'<p class="lfw-note">{note}</p>'
    )


def _differences(study, rows):
    first, *others = rows
    own = config_of(study, first["run"])
    told = []
    for other in others:
        found = differences_in_words(config_of(study, other["run"]), own)
        told.append(
            f"<li>{html.escape(run_title(other))}: {html.escape('; '.join(found) or 'the same configuration')}</li>"
        )
    if not told:
        return '<p class="lfw-note">Choose two or more runs to read what their configurations differ in.</p>'
    return f"<p>Compared with {html.escape(run_title(first))}:</p><ul>{''.join(told)}</ul>"


def _cell(value, kind):
    if value == "":
        return None
    if kind == "carried":
        return "►" if value == "true" else ""
    if kind == "percent":
        return float(percent(value))  # rounded here: the browser would round a half otherwise
    return kind(value)
