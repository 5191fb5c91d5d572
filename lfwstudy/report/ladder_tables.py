"""Tables of the ladder: each variant's changes, its measured and published figures, and its cost."""

from collections.abc import Sequence
from typing import Any

from lfwstudy.config import flatten
from lfwstudy.ladder import PROFILES
from lfwstudy.ladder import published_histories as published_runs
from lfwstudy.ladder.stage import Published
from lfwstudy.report import measured
from lfwstudy.report.table import Compared, Table
from lfwstudy.report.wording import IMAGE_CLASSES, plain, setting, shows_published, source_line
from lfwstudy.study.results import Results
from lfwstudy.study.rungs import Candidate, Rung, Spec

Rows = Sequence[dict[str, Any]]
# Columns of results.csv by heading.
_EFFORT = {
    "seconds per epoch": "seconds_per_epoch",
    "training time": "seconds_total",
    "to the best epoch": "seconds_to_best",
    "peak memory, MiB": "peak_memory_mb",
    "parameters": "parameters",
}


def changes(study: Results, rung: Rung) -> Table:
    """Each variant's changes to the configuration that its stage starts from."""
    if not rung.candidates:
        return Table(empty="The starting point of this stage is not settled yet.")
    if rung.before is None:
        return Table(empty="This is the first stage: the ladder starts from it.")
    rows = []
    for candidate in rung.candidates:
        scaled = flatten(candidate.specs[0].config.to_dict())
        differences = candidate.config.differences(rung.before.config)
        for key, old, new in differences:
            run = plain(scaled[key]) if scaled[key] != new else None
            cells = candidate.variant, setting(key), plain(old), plain(new), run
            rows.append(dict(zip(("variant", "setting", "incumbent", "here", "as run"), cells)))
        if not differences:
            rows.append({"variant": candidate.variant, "setting": "nothing: the same configuration"})
    caption = f"Changes to {rung.before}, the incumbent."
    if any(row.get("as run") for row in rows):
        caption += f" The profile {study.settings.profile} scales epochs: the last column is what was run."
    return Table(rows=rows, caption=caption, source=source_line(study))


def configuration(study: Results, candidate: Candidate | None) -> Table:
    """All settings of a candidate."""
    if candidate is None:
        return Table(empty=measured.nothing_finished(study, ()))
    rows = [
        {"setting": setting(key), "value": plain(value)}
        for key, value in flatten(candidate.specs[0].config.to_dict()).items()
        if value
    ]
    caption = f"{candidate}, every setting that is not zero, no or none; epochs as they were run."
    return Table(rows=rows, caption=caption, source=source_line(study))


def accuracies(study: Results, rungs: Sequence[Rung]) -> Table:
    """The main table: accuracy, loss and epochs of each variant, means over seeds, next to the report's."""
    found = list(measured.variants(study, rungs))
    return Table(
        rows=[
            measured.place(rungs, candidate) | _accuracy(study, candidate, published)
            for _, candidate, published in found
        ],
        caption=_accuracy_caption(study),
        source=source_line(study),
        empty=measured.nothing_finished(study, rungs),
        marked=frozenset(n for n, (rung, candidate, _) in enumerate(found) if rung.carries(candidate.variant)),
    )


def effort(study: Results, rungs: Sequence[Rung]) -> Table:
    """Seconds and memory of each variant, next to the report's seconds."""
    rows = [
        measured.place(rungs, candidate)
        | {name: _beside(study, published, results, column) for name, column in _EFFORT.items()}
        for _, candidate, published in measured.variants(study, rungs)
        if (results := measured.finished_results(study, candidate))
    ]
    caption = "Training time without start-up and compilation, and peak memory of the training process."
    if shows_published(study):
        caption += " Published (LFW-a, the report's GPU) | measured."
    return Table(rows=rows, caption=caption, source=source_line(study), empty=measured.nothing_finished(study, rungs))


def reproduced(study: Results, rungs: Sequence[Rung]) -> Table:
    """The published histories next to those of the ladder that repeats the published code, and whether they agree.

    Runs too short to compare are left out.
    """
    if not (study.ladder.replicated and shows_published(study)):
        return Table()
    if (factor := PROFILES[study.settings.profile].factor) != 1:
        return Table(
            empty=f"Epochs times {factor:g}: only the profile `report` is compared with the published histories epoch by epoch. "
            "Their curves lie under ours in each stage's figure."
        )
    rows = [
        row for _, candidate, _ in measured.variants(study, rungs) if (row := _reproduction(study, candidate.specs[0]))
    ]
    caption = (
        "Total validation loss and training accuracy after some epochs, published (LFW-a) | measured, first seed. Reproduced: "
        f"the validation loss stays within {100 * published_runs.TOLERANCE:.0f} % of the published one from epoch "
        f"{published_runs.FROM_EPOCH} until both are below {published_runs.LEARNED:g}, and the number of epochs is within "
        f"{100 * published_runs.TOLERANCE:.0f} %. Published histories: github.com/MaorSagi/SiameseCNN."
    )
    return Table(rows=rows, caption=caption, source=source_line(study), empty="No run is long enough to be compared.")


def _beside(study: Results, published: Published | None, results: Rows, key: str, name: str = "") -> Any:
    """The mean of a measure, next to the figure that the report prints and calls `name`, if the two may be compared."""
    mean = measured.mean_of(results, key)
    is_printed = shows_published(study) and (name or key) in Published.__annotations__
    return Compared(published and getattr(published, name or key), mean) if is_printed else mean


def _accuracy(study: Results, candidate: Candidate, published: Published | None) -> dict[str, Any]:
    results, ladder = measured.finished_results(study, candidate), study.ladder
    return {
        "published accuracy": (published.accuracy if published else "–") if shows_published(study) else None,
        "trained on": None if ladder.has_path() else IMAGE_CLASSES[candidate.config.data.pictures],
        "measured accuracy": measured.accuracy_with_interval(study, candidate),
        "at best epoch": measured.mean_accuracy_at_best(study, candidate),
        "validation at best": measured.mean_of(results, "val_accuracy_at_best"),
        "AUC": measured.mean_of(results, "test_auc") if ladder.calibrated else None,
        "TPR": measured.mean_of(results, "test_tpr"),
        "TNR": measured.mean_of(results, "test_tnr"),
        "loss": _beside(study, published, results, "test_loss", "loss"),
        "epochs": _beside(study, published, results, "epochs_run", "epochs"),
        "best epoch": _beside(study, published, results, "best_epoch"),
    }


def _accuracy_caption(study: Results) -> str:
    told = f"Test accuracy in percent; ► is carried forward. Interval: {measured.interval_words(study)}."
    if shows_published(study):
        factor = PROFILES[study.settings.profile].factor
        scaled = "" if factor == 1 else f"; epochs here are the report's times {factor:g}"
        told += f" Published: LFW-a, one run each. Loss, epochs and best epoch: published | measured{scaled}."
    if study.ladder.calibrated:
        told += (
            " Scores are calibrated on validation for every head (TPR and TNR as the network scores). Do not compare networks "
            "trained on different images."
        )
    return told


def _reproduction(study: Results, spec: Spec) -> dict[str, Any] | None:
    history, finished = study.store.history(spec.run), study.store.is_finished(spec.run)
    theirs = published_runs.published_histories().get((spec.stage, spec.variant), ())
    compared = published_runs.compare(history, theirs)
    if not theirs or not history or (compared is None and not finished):
        return None

    def both(name: str, epoch: int) -> Compared:
        return Compared(*(rows[epoch - 1][name] if epoch <= len(rows) else None for rows in (theirs, history)))

    return {
        "stage": spec.stage,
        "variant": spec.variant,
        **{f"loss at {epoch}": both("val_loss", epoch) for epoch in published_runs.LOSS_EPOCHS},
        **{f"accuracy at {epoch}": both("accuracy", epoch) for epoch in published_runs.ACCURACY_EPOCHS},
        "accuracy at the end": Compared(theirs[-1]["accuracy"], history[-1]["accuracy"]),
        "epochs": Compared(len(theirs), len(history) if finished else f"{len(history)} so far"),
        "farthest apart": f"{100 * compared.farthest:.0f} % at {compared.at_epoch}" if compared else None,
        "reproduced": "not finished" if not finished else "yes" if compared and compared.reproduced else "no",
    }
