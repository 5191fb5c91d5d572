"""From a configuration to a finished run: train it, score it, write its files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lfwstudy.config import TRAINING_VERSION, RunConfig
from lfwstudy.data.bank import ImageBank
from lfwstudy.data.cache import cache_folder
from lfwstudy.data.protocols import StudyPairs
from lfwstudy.evaluation import metrics
from lfwstudy.network.operations import keras
from lfwstudy.system.backend import device_name, keep_compiled, seed_keras
from lfwstudy.system.files import read_json, replacing, write_csv, write_json
from lfwstudy.system.machine import cores, peak_memory_mb, versions
from lfwstudy.training import checkpoints, decisions
from lfwstudy.training.batches import (
    IndexedPairs,
    cohort_rows,
    drawable_rows,
    gather_sets,
    learned_rows,
    people_of,
    training_batches,
)
from lfwstudy.training.scorer import Scorer
from lfwstudy.training.trainer import build_trainer, fit
from lfwstudy.training.whitening import Whitening

PREDICTION_COLUMNS = ("set", "pair", "left", "right", "label", "score", "score_at_best")
SETS = ("train", "val", "test")
# Scores by column of predictions.csv, then by set.
Scores = dict[str, dict[str, np.ndarray]]


def train(
    config: RunConfig,
    seed: int,
    precision: str,
    bank: ImageBank,
    pairs: StudyPairs,
    folder: Path,
    run_id: str = "",
    score_test: bool = True,
    keep_weights: bool = True,
    threads: int = 0,
) -> None:
    """Train one configuration in this process, resuming if the folder has a resume state.

    Writes config.json, history.csv, predictions.csv, result.json and, with `keep_weights`, model.keras to `folder`, which is
    created if missing. threads: how many this process computes with, for the record; 0: all cores.

    Raises
    ------
    DataError
        If the pairs are of another protocol than the configuration.
    DamageError
        If weights to be scored are damaged; the folder's content is set aside for a fresh start.
    """
    pairs.require_protocol(config.data.protocol)
    folder.mkdir(parents=True, exist_ok=True)
    identity = {
        "run": run_id,
        "version": TRAINING_VERSION,
        "config": config.to_dict(),
        "seed": seed,
        "precision": precision,
        "data_digest": pairs.digest(bank),
    }
    checkpoints.forget_another_run(folder, identity)
    write_json(folder / "config.json", identity)
    keep_compiled(cache_folder() / "compiled")
    seed_keras(seed)
    images, sets = gather_sets(bank, pairs)
    drawable = drawable_rows(config, images, pairs)
    scorer = build_scorer(config, images, sets, drawable, precision, seed)
    trainer = scorer.trainer
    batches = training_batches(config, sets["train"], images, seed, drawable)
    rows = fit(trainer, scorer, batches, folder)
    evaluated = decisions.evaluated_epoch(rows, config.training)
    if not checkpoints.weights_path(folder, evaluated).exists():
        with trainer.averaged():
            checkpoints.save_weights(folder, trainer.siamese, evaluated)  # the last epoch's, still in memory
    trained = {
        "run": run_id,
        "seed": seed,
        "precision": precision,
        **measure_training(rows, config, evaluated, threads),
    }
    finish(trained, scorer, pairs, folder, score_test, keep_weights)


def score_test_pairs(
    config: RunConfig, bank: ImageBank, pairs: StudyPairs, folder: Path, keep_weights: bool = True
) -> None:
    """Add the test pairs' scores to a run that was finished without them; nothing is trained. Raises as `train` does."""
    pairs.require_protocol(config.data.protocol)
    trained = read_json(folder / "result.json")
    images, sets = gather_sets(bank, pairs)
    drawable = drawable_rows(config, images, pairs)
    scorer = build_scorer(config, images, sets, drawable, trained["precision"], trained["seed"])
    finish(trained, scorer, pairs, folder, True, keep_weights)


def build_scorer(
    config: RunConfig,
    images: ImageBank,
    sets: dict[str, IndexedPairs],
    drawable: np.ndarray | None,
    precision: str,
    seed: int,
) -> Scorer:
    """A scorer with its trainer, whose network has room for the cohort's images."""
    cohort, is_all = cohort_rows(config, sets["train"], drawable, seed), config.model.cohort == "all"
    if cohort is not None:
        config = replace(config, model=replace(config.model, cohort=len(cohort)))
    rows, share = learned_rows(sets["train"], drawable), config.model.whitening
    whitening = Whitening(rows, people_of(images)[rows], share) if share else None
    return Scorer(build_trainer(config, images, precision, seed), sets, cohort, is_all, whitening)


def measure_training(rows: decisions.Rows, config: RunConfig, evaluated: int, threads: int = 0) -> dict[str, Any]:
    """The fields of result.json on training: device, times and epochs."""
    seconds, best = [row["seconds"] for row in rows], decisions.best_epoch(rows)
    return {
        "backend": keras.backend.backend(),
        "device": device_name(),
        "threads": threads or cores(),
        "status": "diverged" if decisions.diverged(rows) else "finished",
        "epochs_run": len(rows),
        "epochs_max": config.training.epochs,
        "evaluated_epoch": evaluated,
        "best_epoch": best,
        "seconds_per_epoch": sum(seconds) / len(seconds),
        "seconds_total": sum(seconds),
        "seconds_to_best": sum(seconds[:best]) if best else None,
        "versions": versions(),
    }


def finish(
    trained: dict[str, Any], scorer: Scorer, pairs: StudyPairs, folder: Path, score_test: bool, keep_weights: bool
) -> None:
    """Score the evaluated and the best epoch's weights and write predictions.csv and result.json.

    trained: the fields known so far; a previous result.json works, too.
    """
    siamese = scorer.trainer.siamese
    evaluated, best = trained["evaluated_epoch"], trained["best_epoch"]
    names = [name for name in SETS if score_test or name != "test"]
    scores, penalties = {}, {}
    for epoch in sorted({evaluated, best} - {None}):
        checkpoints.load_weights(folder, siamese, epoch)
        scorer.settle()
        scores[epoch] = {name: scorer.scores(name) for name in names}
        penalties[epoch] = scorer.penalty()
        if keep_weights and epoch == best:
            with replacing(folder / "model.keras") as temporary:
                siamese.save(temporary)
    labels = {name: scorer.sets[name][2] for name in names}
    nothing = {name: np.full(len(label), np.nan) for name, label in labels.items()}
    at = {"score": scores[evaluated], "score_at_best": scores.get(best, nothing)}
    write_predictions(folder / "predictions.csv", pairs, at)
    result = {
        **trained,
        "parameters": siamese.count_params(),
        **measure(labels, at, penalties[evaluated]),
        "peak_memory_mb": trained.get("peak_memory_mb") or peak_memory_mb(),
    }
    write_json(folder / "result.json", result)
    checkpoints.resume_path(folder).unlink(missing_ok=True)
    # Without test scores, both epochs' weights are still needed by a later command that adds them.
    checkpoints.drop_weights(folder, keep=() if score_test else scores)


def measure(labels: dict[str, np.ndarray], at: Scores, penalty: float) -> dict[str, float | None]:
    """The fields of result.json on scores; None for a set that was not scored.

    Parameters
    ----------
    labels : by set
    penalty : of the evaluated weights
    """
    result: dict[str, float | None] = {}
    for name in SETS:
        scored = name in labels
        summary = metrics.summarise(labels[name], at["score"][name]) if scored else {}
        result[f"{name}_accuracy"] = summary.get("accuracy")
        result[f"{name}_cross_entropy"] = summary.get("cross_entropy")
        result[f"{name}_loss"] = summary["cross_entropy"] + penalty if scored else None
        result[f"{name}_accuracy_at_best"] = (
            metrics.accuracy(labels[name], at["score_at_best"][name]) if scored else None
        )
    # The test set is the last one.
    result |= {f"test_{key}": summary.get(key) for key in ("auc", "eer", "tpr", "tnr")}
    low, high = _accuracy_interval(result["test_accuracy"], len(labels.get("test", ())))
    return result | {"test_ci_low": low, "test_ci_high": high}


def write_predictions(path: Path, pairs: StudyPairs, at: Scores) -> None:
    """predictions.csv: one row per scored pair, with the scores of the evaluated and of the best epoch."""
    rows = [
        {
            "set": name,
            "pair": int(some.line[i]),
            "left": some.left[i],
            "right": some.right[i],
            "label": int(some.label[i]),
            **{column: float(scores[name][i]) for column, scores in at.items()},
        }
        for name, some in pairs.sets().items()
        if name in at["score"]
        for i in range(len(some))
    ]
    write_csv(path, PREDICTION_COLUMNS, rows)


def _accuracy_interval(accuracy: float | None, pairs: int) -> tuple[float | None, float | None]:
    if accuracy is None or not np.isfinite(accuracy):
        return accuracy, accuracy
    return metrics.wilson(round(accuracy * pairs), pairs)
