"""Tables of the ladder: each variant's changes, its measured and published figures, and its cost."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lfwstudy.ladder import PROFILES
from lfwstudy.report.measured import (
    accuracy_with_interval,
    finished_results,
    interval_words,
    mean_accuracy,
    mean_of,
    nothing_finished,
)
from lfwstudy.report.table import Column, Compared, Table
from lfwstudy.report.wording import IMAGE_CLASSES, SETTINGS, plain, shows_published, source_line

if TYPE_CHECKING:
    from lfwstudy.ladder.stage import Published
    from lfwstudy.study.results import Results
    from lfwstudy.study.rungs import Candidate, Rung

# Epochs at which the weight penalty is shown.
_EPOCHS = (1, 2, 4, 8, 16)


def changes(study: "Results", rung: "Rung") -> Table:
    """Each variant's changes to the configuration that its stage starts from."""
    if not rung.candidates:
        return Table.nothing("The starting point of this stage is not settled yet.")
    if rung.before is None:
        return Table.nothing("This is the first stage: there is nothing to compare with yet.")
    factor = PROFILES[study.settings.profile].factor_for(study.ladder)
    columns = [Column(name) for name in ("variant", "setting", "before", "here", f"times {factor:g}")]
    rows = []
    for candidate in rung.candidates:
        scaled = candidate.specs[0].config.to_dict()
        differences = candidate.config.differences(rung.before.config)
        for key, old, new in differences:
            section, name = key.split(".")
            cells = (candidate.variant, SETTINGS.get(key, key), plain(old), plain(new), plain(scaled[section][name]))
            rows.append(dict(zip([c.name for c in columns], cells)))
        if not differences:
            rows.append({"variant": candidate.variant, "setting": "nothing: the same configuration"})
    caption = (
        f"Changes to {rung.before.stage}: {rung.before.variant}, the incumbent. The last column is what this profile "
        "ran; the others are in the ladder's own epochs."
    )
    return Table(columns, rows, caption, source_line(study))


def configuration(study: "Results", candidate: "Candidate | None") -> Table:
    """All settings of a candidate."""
    if candidate is None:
        return Table.nothing(nothing_finished(()))
    rows = [
        {"setting": SETTINGS.get(f"{section}.{name}", name), "value": plain(value)}
        for section, values in candidate.specs[0].config.to_dict().items()
        for name, value in values.items()
        if value is not None
    ]
    caption = "The whole configuration, epochs as this profile ran them."
    return Table([Column("setting"), Column("value")], rows, caption, source_line(study))


def accuracies(study: "Results", rungs: "Sequence[Rung]") -> Table:
    """The main table: accuracy, loss and epochs of each variant, means over seeds, next to the report's."""
    ladder = study.ladder
    first = Column("published accuracy", "percent") if shows_published(study) else Column("trained on")
    columns = [
        Column("stage"),
        Column("variant", "name"),
        first,
        Column("measured accuracy", "percent"),
        Column("at best epoch", "percent"),
        Column("validation at best", "percent"),
        *([Column("AUC", "number", digits=3)] if ladder.calibrated else []),
        Column("TPR", "percent"),
        Column("TNR", "percent"),
        Column("loss", "number", digits=2),
        Column("epochs", "number", digits=0),
        Column("best epoch", "number", digits=0),
    ]
    found = list(_variants(study, rungs))
    rows = [_accuracy_row(study, *variant) for variant in found]
    marked = frozenset(n for n, (rung, candidate, _) in enumerate(found) if rung.carries(candidate.variant))
    if not rows:
        return Table.nothing(nothing_finished(rungs))
    return Table(columns, rows, _accuracy_caption(study), source_line(study), marked=marked)


def effort(study: "Results", rungs: "Sequence[Rung]") -> Table:
    """Seconds and memory of each variant, next to the report's seconds."""
    published = shows_published(study)
    columns = [
        Column("stage"),
        Column("variant", "name"),
        Column("seconds per epoch", "number", digits=2),
        Column("training time", "seconds"),
        Column("to the best epoch", "seconds"),
        Column("peak memory", "number", "MiB", 0),
        Column("parameters", "number", digits=0),
    ]
    rows = []
    for rung, candidate, p in _variants(study, rungs):
        if results := finished_results(study, candidate):
            epoch, total = (mean_of(results, key) for key in ("seconds_per_epoch", "seconds_total"))
            rows.append(
                {
                    "stage": rung.stage.id,
                    "variant": candidate.variant,
                    "seconds per epoch": Compared(p and p.seconds_per_epoch, epoch) if published else epoch,
                    "training time": Compared(p and p.seconds_total, total) if published else total,
                    "to the best epoch": mean_of(results, "seconds_to_best"),
                    "peak memory": mean_of(results, "peak_memory_mb"),
                    "parameters": results[0]["parameters"],
                }
            )
    if not rows:
        return Table.nothing(nothing_finished(rungs))
    also = " Published (LFW-a, the report's GPU) | measured." if published else ""
    caption = f"Training time without start-up and compilation, and peak memory of the training process.{also}"
    return Table(columns, rows, caption, source_line(study))


def penalties(study: "Results", rungs: "Sequence[Rung]") -> Table:
    """The weight penalty, total validation loss minus cross-entropy, over the epochs of each variant's first run."""
    columns = [Column("stage"), Column("variant", "name")]
    columns += [Column(f"epoch {epoch}", "number", digits=2) for epoch in _EPOCHS]
    columns += [Column("last epoch", "number", digits=2), Column("epochs", "number", digits=0)]
    rows = []
    for rung, candidate, _ in _variants(study, rungs):
        penalty = [r["val_loss"] - r["val_cross_entropy"] for r in study.store.history(candidate.specs[0].run)]
        if penalty:
            own = {f"epoch {epoch}": penalty[epoch - 1] for epoch in _EPOCHS if epoch <= len(penalty)}
            row = {"stage": rung.stage.id, "variant": candidate.variant, **own}
            rows.append({**row, "last epoch": penalty[-1], "epochs": len(penalty)})
    if not rows:
        return Table.nothing(nothing_finished(rungs))
    caption = "The penalty in the total loss after some epochs, first run of each variant."
    if not study.of_other_people:
        caption += (
            " The report's total validation loss, penalty included, is 120 after one epoch, 75 after five and 47 after "
            "twenty."
        )
    return Table(columns, rows, caption, source_line(study))


def _variants(study: "Results", rungs: "Sequence[Rung]") -> "Iterator[tuple[Rung, Candidate, Published | None]]":
    for rung in rungs:
        for candidate in rung.candidates:
            yield rung, candidate, study.published(candidate)


def _accuracy_row(study: "Results", rung: "Rung", candidate: "Candidate", p: "Published | None") -> dict[str, Any]:
    results = finished_results(study, candidate)
    means: dict[str, Any] = {name: mean_of(results, name) for name in ("test_loss", "epochs_run", "best_epoch")}
    if shows_published(study):
        means = {
            "test_loss": Compared(p and p.loss, means["test_loss"]),
            "epochs_run": Compared(p and p.epochs, means["epochs_run"]),
            "best_epoch": Compared(p and p.best_epoch, means["best_epoch"]),
        }
    return {
        "stage": rung.stage.id,
        "variant": candidate.variant,
        "published accuracy": p.accuracy if p else "–",
        "trained on": IMAGE_CLASSES[candidate.config.data.pictures],
        "measured accuracy": accuracy_with_interval(study, candidate),
        "at best epoch": mean_accuracy(study, candidate, "score_at_best"),
        "validation at best": mean_of(results, "val_accuracy_at_best"),
        "AUC": mean_of(results, "test_auc"),
        "TPR": mean_of(results, "test_tpr"),
        "TNR": mean_of(results, "test_tnr"),
        "loss": means["test_loss"],
        "epochs": means["epochs_run"],
        "best epoch": means["best_epoch"],
    }


def _accuracy_caption(study: "Results") -> str:
    kind = interval_words(study)
    if study.of_other_people:
        return f"Test accuracy in percent; ► is carried forward. Interval: {kind}."
    if not shows_published(study):
        return (
            "Test accuracy in percent, scores calibrated on validation for every head (TPR and TNR as the network scores); "
            f"► is carried forward. Interval: {kind}. Do not compare networks trained on different images."
        )
    factor = PROFILES[study.settings.profile].factor
    scaled = "" if factor == 1 else f"; epochs here are the report's times {factor:g}"
    return (
        "Test accuracy in percent, published (LFW-a, one run each) next to measured; ► is carried forward. "
        f"Interval: {kind}. Loss, epochs and best epoch: published | measured{scaled}."
    )
