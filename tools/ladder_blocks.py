"""Blocks of README.md and docs/ on the report's ladders: each function returns Markdown."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from lfwstudy.ladder.published_figures import replicates
from lfwstudy.ladder.published_histories import published_histories
from lfwstudy.report import ladder_tables
from lfwstudy.report.measured import finished_results, mean_of
from lfwstudy.report.table import Column, Interval, Kind, Table
from lfwstudy.study.results import Results
from lfwstudy.study.rungs import Candidate, Rung
from tools.kept_studies import REPORT, REPORT_CPU, ladders
from tools.study_blocks import listed

# Epochs that the profile `cpu` has, too.
_EPOCHS = (1, 2, 3, 5, 10, 15, 20, 25, 30)
_FIRST: tuple[tuple[str, str, Kind], ...] = (
    ("validation loss", "val_loss", "number"),
    ("training accuracy", "accuracy", "percent"),
    ("validation accuracy", "val_accuracy", "percent"),
)
_COLUMNS = (
    Column("epochs at most", "number", digits=0),
    Column("median seconds per epoch", "number", digits=1),
    Column("seeds", "number", digits=0),
)


def report_ladders() -> str:
    """The tables of the report's ladders, means over seeds."""
    return "\n\n".join(map(_ladder, [*ladders(REPORT), *ladders(REPORT_CPU)])) or (
        "No run of the report's ladders is kept yet: earlier ones lacked the penalty on the last unit, so that their network "
        "was not the report's."
    )


def reproduced() -> str:
    """The published histories next to those of the ladder that repeats the published code."""
    found = [study for study in ladders(REPORT) if study.settings.ladder == "published"]
    tables = [ladder_tables.reproduced(study, study.climb()).to_markdown() for study in found]
    return "\n\n".join(tables) or "The ladder `published` is not trained with the profile `report` yet."


def first_epochs() -> str:
    """`base` of the report's ladders with fewer epochs, next to the published runs of its network in the same epochs."""
    published = [published_histories()[run] for run, _ in replicates().runs]
    measured = {
        f"ladder `{study.settings.ladder}`, seed {spec.seed}": study.store.history(spec.run)
        for study in ladders(REPORT_CPU)
        for spec in study.climb()[0].candidates[0].specs
        if study.store.is_finished(spec.run)
    }
    columns, rows = [Column("epoch", "number", digits=0)], []
    for title, _, kind in _FIRST:
        columns += [Column(f"{title}: {which}", kind, 1) for which in ("published", *measured)]
    for epoch in _EPOCHS:
        row: dict[str, Any] = {"epoch": epoch}
        for title, name, _ in _FIRST:
            theirs = [history[epoch - 1][name] for history in published]
            row[f"{title}: published"] = Interval(theirs[0], min(theirs), max(theirs))
            row |= {f"{title}: {which}": history[epoch - 1][name] for which, history in measured.items()}
        rows.append(row)
    caption = (
        f"Published: `base` and, in brackets, the range of the {len(published)} published runs of this one network "
        "(LFW-a). Validation loss with the weight penalty; accuracy in percent. Ladders: LFW, deep-funneled, profile cpu."
    )
    return Table(columns, rows, caption).to_markdown()


def _ladder(study: Results) -> str:
    rungs = study.climb()
    table = ladder_tables.accuracies(study, rungs)
    candidates = [c for rung in rungs for c in rung.candidates]
    if table.rows:
        rows = [{**row, **_cost(study, candidate)} for row, candidate in zip(table.rows, candidates, strict=True)]
        caption = f"{table.caption} Trained with {_machines(study, candidates)}."
        table = replace(table, columns=[*table.columns, *_COLUMNS], rows=rows, caption=caption)
    settings = study.settings
    title = f"`--profile {settings.profile} --ladder {settings.ladder} --select {settings.select}`:"
    told = [title, table.to_markdown(), _same_weights(study, candidates), _unfinished(study, rungs)]
    return "\n\n".join(filter(None, told))


def _cost(study: Results, candidate: Candidate) -> dict[str, Any]:
    results = finished_results(study, candidate)
    seconds = [row["seconds"] for result in results for row in study.store.history(result["run"])]
    return {
        "epochs at most": mean_of(results, "epochs_max"),
        # Other work on the machine may make some epochs many times longer.
        "median seconds per epoch": median(seconds) if seconds else None,
        "seeds": len(results),
    }


def _machines(study: Results, candidates: Sequence[Candidate]) -> str:
    results = [result for c in candidates for result in finished_results(study, c)]
    return "; ".join(sorted({f"{r['backend']} on {r['device']}" for r in results}))


def _same_weights(study: Results, candidates: Sequence[Candidate]) -> str:
    """Variants whose best epochs' weights give the same test scores; empty where there are none."""
    groups: dict[bytes, list[str]] = {}
    for candidate in candidates:
        if (found := study.test_scores(candidate)) is not None:
            groups.setdefault(found[0].tobytes(), []).append(f"`{candidate.stage}: {candidate.variant}`")
    same = [listed(names) for names in groups.values() if len(names) > 1]
    return f"Trained alike until their best epochs, with the same weights there: {'; '.join(same)}." if same else ""


def _unfinished(study: Results, rungs: Sequence[Rung]) -> str:
    """What the stages begun still lack; empty where that is nothing."""
    missing = [
        f"{c.stage}: {c.variant}"
        for rung in rungs
        if any(study.store.is_finished(spec.run) for spec in rung.specs())
        for c in rung.candidates
        if not all(study.store.is_finished(spec.run) for spec in c.specs)
    ]
    return f"Not finished yet: {', '.join(missing)}; what is carried forward may change with it." if missing else ""
