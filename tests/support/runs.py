"""Finished runs without a training."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from lfwstudy.config import TRAINING_VERSION, RunConfig
from lfwstudy.data.protocols import StudyPairs
from lfwstudy.runs.job import Job
from lfwstudy.study.rungs import Spec
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system.files import write_csv, write_json
from lfwstudy.training.decisions import COLUMNS
from lfwstudy.training.run import PREDICTION_COLUMNS, measure, write_predictions

# The studies whose numbers are committed.
KEPT = sorted(path.parent for path in Path(__file__).parents[2].glob("results/*/study.json"))


def run_files(folder: str | Path) -> Path:
    """The four files of a finished run of the default configuration; returns its folder."""
    run = RunConfig().identify(0, "float32", "0")
    job = Job(run, RunConfig(), Path(folder) / run, data_digest="0")
    finish_run(job)
    return job.folder


def finish_run(job: Job, score: float = 1.0, entropy: float = 0.1) -> None:
    """A finished run's files, the smallest that fit together. score, entropy: accuracy and cross-entropy on validation."""
    folder = job.folder
    folder.mkdir(parents=True, exist_ok=True)
    identity = {"run": job.run, "seed": job.seed, "precision": job.precision}
    whole = {"version": TRAINING_VERSION, "config": job.config.to_dict(), "data_digest": job.data_digest}
    write_json(folder / "config.json", identity | whole)
    write_csv(folder / "history.csv", COLUMNS, [dict.fromkeys(COLUMNS, 0.5) | {"epoch": 1}])
    pair = {"pair": 2, "left": 'A,"B"_0001', "right": "A_0002", "label": 1, "score": 0.9, "score_at_best": 0.9}
    sets = ["train", "val"] + (["test"] if job.score_test else [])
    write_csv(folder / "predictions.csv", PREDICTION_COLUMNS, [{"set": s, **pair} for s in sets])
    result = {
        "status": "finished",
        "epochs_run": 1,
        "best_epoch": 1,
        "evaluated_epoch": 1,
        "test_accuracy": None,
        "val_accuracy_at_best": score,
        "val_cross_entropy": entropy,
        "val_loss": 1.0,
        "seconds_total": 1.0,
        "backend": "tensorflow",
        "device": "none",
    }
    write_json(folder / "result.json", identity | result | {f"{s}_accuracy": 1.0 for s in sets})
    if not job.score_test:
        (folder / "epoch-0001.weights.h5").write_bytes(b"weights")


def study(tmp_path: Path, stages: str = "", **settings: Any) -> Study:
    """A study in tmp_path/out that its stages have been asked of."""
    opened = Study(
        Settings(out=str(tmp_path / "out"), precision=settings.pop("precision", "float32"), stages=stages, **settings)
    )
    opened.ask(opened.requested())
    return opened


def fill(out: Path, seeds: int, stages: str = "") -> int:
    """A finished demo study of made-up runs that look like trained ones; returns the number of runs.

    Predictions and histories are shared by hard links: their content is that of a few templates.
    """
    study = Study(Settings(out=str(out), seeds=seeds, stages=stages, precision="float32"))
    study.ask(study.requested())
    rng = np.random.default_rng(0)
    pairs, digest = study.data(study.base().data)[1:]
    predictions = [made_up_predictions(out / f".predictions-{n}.csv", pairs, rng) for n in range(12)]
    histories, count = {}, 0
    for stage in study.stages():
        for candidate in study.climb(upto=stage)[-1].candidates:
            for spec in candidate.specs:
                n, epochs = int(rng.integers(len(predictions))), spec.config.training.epochs
                if (n, epochs) not in histories:
                    histories[n, epochs] = made_up_history(out / f".history-{n}-{epochs}.csv", epochs, rng)
                made_up_run(study.store.folder(spec.run), spec, digest, histories[n, epochs], *predictions[n])
                count += 1
    return count


def made_up_base(out: Path, split: str, right: dict[str, float], seeds: int = 4, **settings: Any) -> Study:
    """A finished study, by default on demo faces, of base runs whose share of right answers is `right`, by set."""
    study = Study(Settings(out=str(out), seeds=seeds, stages="base", split=split, precision="float32", **settings))
    study.ask(["base"])
    pairs, digest = study.data(study.base().data)[1:]
    labels = {name: part.label for name, part in pairs.sets().items()}
    for spec in study.climb()[0].candidates[0].specs:
        rng, path = np.random.default_rng([spec.seed, len(split)]), out / f".{split}-{spec.seed}"
        scores = {
            name: np.where((rng.random(len(label)) < right[name]) == (label > 0.5), 0.8, 0.2)
            for name, label in labels.items()
        }
        at = {"score": scores, "score_at_best": scores}
        write_predictions(path, pairs, at)
        history = made_up_history(out / f".history-{split}-{spec.seed}", spec.config.training.epochs, rng)
        made_up_run(study.store.folder(spec.run), spec, digest, history, path, measure(labels, at, 1.0))
    return study


def made_up_predictions(
    path: Path, pairs: StudyPairs, rng: np.random.Generator
) -> tuple[Path, dict[str, float | None]]:
    """A predictions.csv with scores that are right more often than not; returns its path and what it measures."""
    labels = {name: part.label for name, part in pairs.sets().items()}
    scores = {
        name: np.clip(0.5 + 0.06 * (2.0 * label - 1) + 0.2 * rng.standard_normal(len(label)), 0.01, 0.99)
        for name, label in labels.items()
    }
    at = {"score": scores, "score_at_best": scores}
    write_predictions(path, pairs, at)
    return path, measure(labels, at, 1.0)


def made_up_history(path: Path, epochs: int, rng: np.random.Generator) -> Path:
    """A history.csv of accuracies that rise with the epochs."""
    curve = 0.5 + 0.2 * (1 - np.exp(-np.arange(1, epochs + 1) / 5)) + 0.02 * rng.standard_normal(epochs)
    write_csv(
        path,
        COLUMNS,
        [
            {
                "epoch": e + 1,
                "loss": 2 - c,
                "cross_entropy": 1 - c,
                "accuracy": c,
                "val_loss": 2 - c,
                "val_cross_entropy": 1 - c,
                "val_accuracy": c,
                "learning_rate": 0.001,
                "seconds": 1.0,
            }
            for e, c in enumerate(map(float, curve))
        ],
    )
    return path


def made_up_run(
    folder: Path, spec: Spec, digest: str, history: Path, predictions: Path, measured: dict[str, float | None]
) -> None:
    """A finished run whose history and predictions are those of files, by hard links."""
    folder.mkdir(parents=True)
    os.link(predictions, folder / "predictions.csv")
    os.link(history, folder / "history.csv")
    epochs = spec.config.training.epochs
    write_json(
        folder / "config.json",
        {
            "run": spec.run,
            "version": TRAINING_VERSION,
            "config": spec.config.to_dict(),
            "seed": spec.seed,
            "precision": "float32",
            "data_digest": digest,
        },
    )
    write_json(
        folder / "result.json",
        {
            "run": spec.run,
            "seed": spec.seed,
            "precision": "float32",
            "backend": "tensorflow",
            "device": "none",
            "status": "finished",
            "epochs_run": epochs,
            "epochs_max": epochs,
            "evaluated_epoch": epochs,
            "best_epoch": epochs,
            "seconds_per_epoch": 1.0,
            "seconds_total": float(epochs),
            "seconds_to_best": float(epochs),
            "parameters": 10**6,
            "peak_memory_mb": 700.0,
            "versions": {"python": "3"},
            **measured,
        },
    )
