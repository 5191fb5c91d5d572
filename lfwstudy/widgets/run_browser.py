"""The run browser: choose stages, variants and seeds; overlay curves, list differences, sort results."""

from html import escape
from typing import Any, Literal, NamedTuple

from lfwstudy.report.series import published_rows
from lfwstudy.report.wording import differences_in_words
from lfwstudy.study.results import Results
from lfwstudy.system.text import percent
from lfwstudy.verify.network import run_config
from lfwstudy.widgets import drawing
from lfwstudy.widgets.controls import Table, dropdown, markup, row, several
from lfwstudy.widgets.explorer import Explorer, explorer, require
from lfwstudy.widgets.finished_runs import finished_rows, run_title


class _Column(NamedTuple):
    heading: str
    name: str  # of results.csv
    kind: Literal["plain", "percent", "carried"] = "plain"
    digits: int = 0


_COLUMNS = (
    _Column("stage", "stage"),
    _Column("variant", "variant"),
    _Column("seed", "seed"),
    _Column("fold", "fold"),
    _Column("validation at best, %", "val_accuracy_at_best", "percent", 1),
    _Column("test, %", "test_accuracy", "percent", 1),
    _Column("test at best, %", "test_accuracy_at_best", "percent", 1),
    _Column("AUC", "test_auc", digits=3),
    _Column("TPR, %", "test_tpr", "percent", 1),
    _Column("TNR, %", "test_tnr", "percent", 1),
    _Column("epochs", "epochs_run"),
    _Column("best epoch", "best_epoch"),
    _Column("s per epoch", "seconds_per_epoch", digits=2),
    _Column("parameters", "parameters"),
    _Column("carried", "carried_forward", "carried"),
)
_MEASURES = (("accuracy", "accuracy"), ("cross-entropy", "cross_entropy"), ("total loss", "loss"))
# Colours and dashes distinguish this many curves.
_MOST = 16


@explorer
def browse_runs(study: Results) -> Explorer:
    """Compare finished runs: learning curves, differences between configurations, and results."""
    return _RunBrowser(study)


class _RunBrowser(Explorer):
    def __init__(self, study: Results) -> None:
        self.study, self.rows = study, finished_rows(study)
        self.columns = [c for c in _COLUMNS if c.name != "fold" or any(r["fold"] for r in self.rows)]
        super().__init__(
            stages=several("Stages", list(dict.fromkeys(r["stage"] for r in self.rows))),
            variants=several("Variants", list(dict.fromkeys(r["variant"] for r in self.rows))),
            seeds=several("Seeds", sorted({r["seed"] for r in self.rows})),
            measure=dropdown("Measure", _MEASURES),
            figure=markup("360px"),
            words=markup("6em"),
            table=Table(
                caption="Finished runs. Click a heading to sort; ► is carried forward.",
                columns=[column.heading for column in self.columns],
                digits=[column.digits for column in self.columns],
            ),
        )
        p = self.parts
        choices = p.stages, p.variants, p.seeds, p.measure
        self.arrange(row(*choices), p.message, p.figure, p.words, p.table)
        self.follow(self.refresh, *choices)

    def refresh(self) -> str:
        p = self.parts
        wanted = {"stage": p.stages.value, "variant": p.variants.value, "seed": p.seeds.value}
        chosen = [r for r in self.rows if all(r[name] in values for name, values in wanted.items())]
        p.table.rows = [[_cell(r[column.name], column.kind) for column in self.columns] for r in chosen]
        if not chosen:
            p.figure.value = p.words.value = ""
            return "No run is chosen: choose at least one stage, variant and seed."
        drawn = list({r["run"]: r for r in chosen}.values())[:_MOST]
        p.figure.value = _figure(self.study, drawn, p.measure.value)
        p.words.value = _differences(self.study, drawn)
        cut = f"; the curves are those of the first {_MOST}" if len(chosen) > _MOST else ""
        return f"{len(chosen)} of {len(self.rows)} finished runs are chosen{cut}."


def _figure(study: Results, rows: list[dict[str, Any]], measure: str) -> str:
    lines = [drawing.Curve(run_title(r), _history(study, r["run"]), *drawing.look(i)) for i, r in enumerate(rows)]
    title = f"{measure.replace('_', '-')} over epochs of {len(lines)} runs"
    note = "Thick: validation, the dot at the epoch of its best accuracy."
    if measure != "cross_entropy":  # the published histories have no separate cross-entropy
        published = published_rows(study, list(dict.fromkeys((r["stage"], r["variant"]) for r in rows)))
        for i, ((stage, variant), history) in enumerate(published.items()):
            dash = drawing.look(len(drawing.LINES) * i)[1]
            lines.append(drawing.Curve(f"published, {stage}/{variant}", history, drawing.PUBLISHED, dash))
        note += " The published runs are on LFW-a." if published else ""
    names = [(line.name, line.colour, line.dash) for line in lines]
    return (
        drawing.curves(lines, measure, title)
        + drawing.legend([*names, ("training, thin", drawing.TRAIN, "4 3")])
        + f'<p class="lfw-note">{note}</p>'
    )


def _history(study: Results, run: str) -> list[dict[str, Any]]:
    path = study.store.folder(run) / "history.csv"
    return require(study.store.history(run), f"{path}: missing or damaged")


def _differences(study: Results, rows: list[dict[str, Any]]) -> str:
    first, *others = rows
    if not others:
        return '<p class="lfw-note">Choose two or more runs to compare their configurations.</p>'
    own = run_config(study.store, first["run"])
    items = []
    for other in others:
        found = differences_in_words(run_config(study.store, other["run"]), own)
        items.append(f"<li>{escape(run_title(other))}: {escape('; '.join(found) or 'the same configuration')}</li>")
    return f"<p>Compared with {escape(run_title(first))}:</p><ul>{''.join(items)}</ul>"


def _cell(value: Any, kind: str) -> str | float | None:
    if kind == "carried":
        return "►" if value else ""
    if kind == "percent" and value is not None:
        return float(percent(value))  # rounded here, because the browser rounds halves differently
    return value
