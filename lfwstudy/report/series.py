"""Data for figures, tidy frames read from finished runs, and what to see in them, in sentences computed from the runs."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lfwstudy.evaluation import metrics
from lfwstudy.ladder import FIGURES, PROFILES
from lfwstudy.ladder.published_histories import FROM_EPOCH, published_histories, scaled
from lfwstudy.report import measured
from lfwstudy.report.table import Interval
from lfwstudy.report.wording import NO_IMAGES, Text, is_lfw, shows_published
from lfwstudy.study.results import Results
from lfwstudy.study.rungs import Candidate, Rung
from lfwstudy.study.study import Study
from lfwstudy.system.text import signed_points
from lfwstudy.training.decisions import best_epoch, evaluated_epoch, should_stop

Pair = tuple[np.ndarray, np.ndarray, float, str]
_PAIRS_CAPTION = (
    "In each row the most confident answers come first, then the least confident. P(same) is the network's confidence that the two images show one "
    "person; the tick in the bar is the threshold of 0.50. Lines are those of the pair file."
)


def published_rows(study: Results, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The published histories of some (stage, variant), epochs scaled by the profile.

    Only the ladder that repeats the published code is compared with them.
    """
    if not (study.ladder.replicated and shows_published(study)):
        return {}
    factor, known = PROFILES[study.settings.profile].factor, published_histories()
    return {key: scaled(known[key], factor) for key in keys if key in known}


def published_curves(study: Results, rung: Rung) -> pd.DataFrame | None:
    """The published histories of a stage's variants, None if there is none to compare."""
    found = published_rows(study, [c.key for c in rung.candidates])
    frames = [pd.DataFrame(rows).assign(variant=variant) for (_, variant), rows in found.items()]
    return pd.concat(frames, ignore_index=True) if frames else None


def curves_caption(study: Results, rung: Rung) -> str:
    """What to see in the learning curves of a stage."""
    told = (
        "Training dashed and grey, validation solid and blue; the dot is the epoch of the best validation accuracy. Where the two "
        "part, the network memorises the training pairs."
    )
    if published_curves(study, rung) is not None:
        factor = PROFILES[study.settings.profile].factor
        scaled = "" if factor == 1 else f", its epochs times {factor:g} as in this profile"
        told += f" The published run of the same variant, on LFW-a, lies underneath in orange{scaled}."
    return told


def watched(study: Results, rung: Rung) -> dict[str, tuple[pd.DataFrame, dict[str, Any]]]:
    """Data for `figures.watched`: by variant, the history of its first run and the epochs of decisions."""
    found = {}
    for candidate in rung.candidates:
        spec = candidate.specs[0]
        rows, training = study.store.history(spec.run), spec.config.training
        if rows:
            drop, period = training.lr_drop_epoch, training.checkpoint_period
            marks = {
                "monitor": training.monitor,
                "checkpoints": list(range(period, len(rows) + 1, period)) if period else [],
                "stop": len(rows) if should_stop(rows, training) else None,
                "evaluated": evaluated_epoch(rows, training),
                "learning rate / 10": drop if drop and len(rows) > drop else None,
            }
            found[candidate.variant] = (pd.DataFrame(rows), marks)
    return found


def learning(study: Results, rung: Rung) -> Text:
    """How far training accuracy ends above validation accuracy, by variant."""
    rows = study.histories([rung])
    if rows.empty:
        return Text("")
    last = rows.groupby(["variant", "run"], sort=False).last()
    gaps = (last["accuracy"] - last["val_accuracy"]).groupby("variant", sort=False).mean()
    told = [f"`{variant}` {signed_points(gap)}" for variant, gap in gaps.items()]
    return Text(f"Training minus validation accuracy in the last epoch, in points: {', '.join(told)}.")


def stopping(study: Results, rung: Rung) -> Text:
    """When the first run of each variant ended, which weights were evaluated, and which epoch was best."""
    told = []
    for variant, (history, marks) in watched(study, rung).items():
        ended = "stopped early" if marks["stop"] else "ended"
        best = best_epoch(history.to_dict("records"))
        peak = f"; validation accuracy peaked at epoch {best}" if best else ""
        told.append(f"`{variant}` {ended} after epoch {len(history)}; epoch {marks['evaluated']} is evaluated{peak}.")
    return Text(" ".join(told))


def scores(study: Results, candidates: Iterable[Candidate], with_stage: bool = False) -> pd.DataFrame:
    """Scores at the best epoch of all finished runs: title, label, score. Test pairs, or validation if tests are not scored.

    with_stage: the title is "stage: variant" rather than the variant. It names the set unless that is the test pairs.
    """
    frames = []
    for candidate in candidates:
        title = str(candidate) if with_stage else candidate.variant
        for run in (spec.run for spec in candidate.specs if study.store.is_finished(spec.run)):
            part = "test" if study.store.is_finished(run, with_test=True) else "val"
            found = study.store.scores(run, part)
            named = title if part == "test" else f"{title} (validation)"
            frame = pd.DataFrame({"title": named, "label": found["label"], "score": found["score_at_best"]})
            frames.append(frame[np.isfinite(frame["score"])])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def separation(study: Results, rung: Rung) -> Text:
    """How well the scores of each variant separate matched from mismatched test pairs: means over its runs."""
    told = [
        f"`{candidate.variant}` {measured.mean_auc(scored):.3f} ({100 * np.mean((scored[0] > 0.5) != (scored[1] > 0.5)):.0f} % misclassified)"
        for candidate in rung.candidates
        if (scored := study.test_scores(candidate))
    ]
    area = "Area under the ROC curve on the test pairs at the best epoch, mean over runs"
    return Text(f"{area}: {', '.join(told)}." if told else "")


def path(rungs: Sequence[Rung]) -> list[Candidate]:
    """The configurations carried forward, each once, in the ladder's order."""
    return list({c.key: c for rung in rungs if (c := rung.after)}.values())


def roc_runs(study: Results, candidate: Candidate | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels and scores of a candidate's runs at their best epochs; [] if the test pairs are not scored."""
    if candidate is None or study.correct(candidate) is None:
        return []
    found = [study.store.scores(spec.run) for spec in candidate.specs]
    return [(s["label"], s["score_at_best"]) for s in found]


def ladder_points(study: Results, rungs: Sequence[Rung]) -> pd.DataFrame:
    """A row for each variant: stage, label, accuracy, low, high (NaN where unknown), singles, published, carried."""
    points = []
    for rung, candidate, published in measured.variants(study, rungs):
        found, singles = measured.accuracy_with_interval(study, candidate), measured.accuracies(study, candidate)
        point = _point(rung, candidate) | {"accuracy": np.mean(singles or np.nan), "singles": singles}
        low, high = (found.low, found.high) if isinstance(found, Interval) else (np.nan, np.nan)
        points.append(point | {"low": low, "high": high, "published": published.accuracy if published else np.nan})
    return pd.DataFrame(points)


def time_points(study: Results, rungs: Sequence[Rung]) -> pd.DataFrame:
    """Accuracy against training seconds, means over seeds: label, seconds, accuracy, published, carried; the report's below."""
    points = []
    for rung, candidate, _ in measured.variants(study, rungs):
        accuracy = measured.mean_accuracy_at_best(study, candidate) or np.nan
        if np.isfinite(accuracy) and rung.stage.id != "leave-one-out":  # which has its own table
            seconds = measured.mean_of(measured.finished_results(study, candidate), "seconds_total")
            points.append(_point(rung, candidate) | {"seconds": seconds, "accuracy": accuracy, "published": False})
    return pd.DataFrame(points + (report_points() if is_lfw(study) else []))


def time_caption(study: Results) -> str:
    """What to see in accuracy against time."""
    machines = " The machines differ: the report's seconds are those of its GPU." if is_lfw(study) else ""
    return f"Up and to the left is better.{machines}"


def report_points() -> list[dict[str, Any]]:
    """The report's own figures in the form of `time_points`."""
    printed = [p for p in FIGURES.values() if p.seconds_total]
    shared = {"label": "the report", "published": True, "carried": False}
    return [shared | {"seconds": p.seconds_total, "accuracy": p.accuracy} for p in printed]


def clock(study: Results, rungs: Sequence[Rung]) -> Text:
    """What the total validation loss of the base network followed."""
    runs = [c.specs[0].run for rung in rungs for c in rung.candidates if c.key == ("base", "base")]
    base = [
        row
        for run in runs
        for row in study.store.history(run)
        if np.isfinite([row["val_loss"], row.get("head_penalty", np.nan)]).all()
    ]
    if len(base) < 2 or not base[0]["head_penalty"] > 0:
        return Text("")
    start, end = base[min(FROM_EPOCH, len(base) - 1) - 1], base[-1]
    fall, of_head = (start[key] - end[key] for key in ("val_loss", "head_penalty"))
    lowest = min(base, key=lambda row: row["val_cross_entropy"])["epoch"]
    told = (
        f"From epoch {start['epoch']} to {end['epoch']} the total validation loss of `base` falls by {fall:.1f}, the penalty on "
        f"its last unit by {of_head:.1f}"
    )
    if abs(of_head - fall) < 0.25 * abs(fall):
        told = f"**A clock.** {told}: Adam moves each of that unit's weights by at most the learning rate per step, whatever the network learns"
    return Text(f"{told}. The validation cross-entropy was lowest at epoch {lowest}.")


def telling_pairs(study: Study, candidate: Candidate | None) -> tuple[list[tuple[str, list[Pair]]] | str, str]:
    """Pairs of a candidate's first run for `figures.gallery`, with the best epoch's scores, and their caption.

    Test pairs, or validation if tests are not scored. A sentence if there are none to show.
    """
    if candidate is None or study.why_no_images:
        return NO_IMAGES if candidate else "No run is finished yet.", ""
    spec = candidate.specs[0]
    bank = study.data(spec.config.data)[0]
    tested = study.store.is_finished(spec.run, with_test=True)
    scored = study.store.predictions(spec.run, "test" if tested else "val")
    groups = []
    for (same, right), rows in metrics.pick_examples(scored["label"], scored["score_at_best"]).items():
        lefts, rights = (bank.images[bank.rows(scored[side][rows])] for side in ("left", "right"))
        points, lines = scored["score_at_best"][rows], scored["pair"][rows]
        title = (
            f"{'Same person' if same else 'Different people'}, classified {'correctly ✓' if right else 'incorrectly ✗'}"
        )
        groups.append((title, [(a, b, float(s), f"line {n}") for a, b, s, n in zip(lefts, rights, points, lines)]))
    shown = f"{candidate}, seed {spec.seed}, {'test' if tested else 'validation'} pairs at its best epoch."
    return groups, f"{shown} {_PAIRS_CAPTION}"


def _point(rung: Rung, candidate: Candidate) -> dict[str, Any]:
    return {
        "stage": candidate.stage,
        "label": str(candidate),
        "carried": rung.carries(candidate.variant),
    }
