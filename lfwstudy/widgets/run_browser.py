"""The run browser: choose stages, variants and seeds; overlay curves, compare configurations, sort results."""

from operator import attrgetter
from typing import Any

import ipywidgets

from lfwstudy.report.series import published_rows
from lfwstudy.report.table import Column, Table
from lfwstudy.report.wording import plain, setting
from lfwstudy.study.results import Results
from lfwstudy.verify.kept import run_config
from lfwstudy.widgets import drawing
from lfwstudy.widgets.controls import SortableTable, blank, checkbox, dropdown, markup, row, several
from lfwstudy.widgets.explorer import Explorer, require
from lfwstudy.widgets.finished_runs import finished_rows, run_title

# By name in results.csv.
_COLUMNS = {
    "stage": Column("stage"),
    "variant": Column("variant"),
    "seed": Column("seed", "number", digits=0),
    "fold": Column("fold", "number", digits=0),
    "val_accuracy_at_best": Column("validation at best, %", "percent"),
    "test_accuracy": Column("test, %", "percent"),
    "test_accuracy_at_best": Column("test at best, %", "percent"),
    "test_auc": Column("AUC", "number", digits=3),
    "test_tpr": Column("TPR, %", "percent"),
    "test_tnr": Column("TNR, %", "percent"),
    "epochs_run": Column("epochs", "number", digits=0),
    "best_epoch": Column("best epoch", "number", digits=0),
    "seconds_per_epoch": Column("s per epoch", "number", digits=2),
    "parameters": Column("parameters", "number", digits=0),
}
_MEASURES = (("accuracy", "accuracy"), ("cross-entropy", "cross_entropy"), ("total loss", "loss"))
# Colours and dashes distinguish this many curves.
_MOST = 16


class RunBrowser(Explorer):
    """Compare finished runs: learning curves, differences between configurations, and results."""

    def build(self, study: Results) -> list[ipywidgets.Widget]:
        self.study, self.rows = study, finished_rows(study)
        self.columns = {n: c for n, c in _COLUMNS.items() if n != "fold" or any(r["fold"] for r in self.rows)}
        self.filters = {
            name: several(f"{name.capitalize()}s", list(dict.fromkeys(r[name] for r in self.rows)))
            for name in ("stage", "variant", "seed")
        }
        p = self.add(
            carried=checkbox("Only runs carried forward", any(r["carried_forward"] for r in self.rows)),
            measure=dropdown("Measure", _MEASURES),
            figure=markup("360px"),
            differences=markup("6em"),
            table=SortableTable(
                caption="Finished runs. Click a heading to sort; ► is carried forward.",
                columns=[*(column.name for column in self.columns.values()), "carried"],
            ),
            **self.filters,
        )
        choices = *self.filters.values(), p.measure, p.carried
        self.watch(self.refresh, *choices)()
        return [row(*choices), p.message, p.figure, p.differences, p.table]

    def refresh(self) -> str:
        p = self.parts
        rows = [r for r in self.rows if r["carried_forward"] or not p.carried.value]
        chosen = [r for r in rows if all(r[name] in f.value for name, f in self.filters.items())]
        p.table.rows = [
            [*(column.show(r[name]) for name, column in self.columns.items()), "►" if r["carried_forward"] else ""]
            for r in chosen
        ]
        if not chosen:
            blank(p.figure, p.differences)
            return "No run is chosen: choose at least one stage, variant and seed."
        runs = list({r["run"]: r for r in chosen}.values())
        p.figure.value = _figure(self.study, runs[:_MOST], p.measure.value)
        p.differences.value = _differences(self.study, runs)
        cut = f"; the curves are those of the first {_MOST}" if len(runs) > _MOST else ""
        return f"{len(chosen)} of {len(self.rows)} finished runs are chosen{cut}."


def _figure(study: Results, rows: list[dict[str, Any]], measure: str) -> str:
    lines = []
    for i, r in enumerate(rows):
        missing = f"{study.store.folder(r['run']) / 'history.csv'}: missing or damaged"
        lines.append(drawing.Curve(run_title(r), require(study.store.history(r["run"]), missing), *drawing.look(i)))
    title = f"{measure.replace('_', '-')} over epochs of {len(lines)} runs"
    note = "Thick: validation, the dot at the epoch of its best accuracy. Point at an epoch to read its values."
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


def _differences(study: Results, rows: list[dict[str, Any]]) -> str:
    """A table of the settings in which configurations differ, a column for each."""
    variants = {f"{r['stage']}: {r['variant']}{' ►' * r['carried_forward']}": r["run"] for r in rows}
    configs = {name: run_config(study.store, run) for name, run in variants.items()}
    if len(configs) == 1:
        return '<p class="lfw-note">Choose two or more variants to compare their configurations.</p>'
    first, *others = configs.values()
    keys = dict.fromkeys(key for other in others for key, *_ in other.differences(first))
    table = [
        {"setting": setting(key), **{name: plain(attrgetter(key)(c)) for name, c in configs.items()}} for key in keys
    ]
    caption = "Settings in which the chosen variants differ."
    return Table(rows=table, caption=caption, empty="The chosen variants have the same configuration.").to_html()
