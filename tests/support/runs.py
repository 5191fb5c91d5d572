"""Finished runs without a training."""

from pathlib import Path

from lfwstudy.config import RunConfig
from lfwstudy.system.files import write_csv, write_json
from lfwstudy.training.decisions import COLUMNS
from lfwstudy.training.run import PREDICTION_COLUMNS


def run_files(folder: str | Path) -> Path:
    """A finished run's four files, the smallest that fit together."""
    run = RunConfig().identify(0, "float32", "0")
    folder = Path(folder) / run
    folder.mkdir()
    write_json(
        folder / "config.json",
        {
            "run": run,
            "version": 1,
            "config": RunConfig().to_dict(),
            "seed": 0,
            "precision": "float32",
            "data_digest": "0",
        },
    )
    write_csv(folder / "history.csv", COLUMNS, [dict.fromkeys(COLUMNS, 0.5) | {"epoch": 1}])
    pair = {"pair": 2, "left": 'A,"B"_0001', "right": "A_0002", "label": 1, "score": 0.9, "score_at_best": 0.9}
    write_csv(folder / "predictions.csv", PREDICTION_COLUMNS, [{"set": s, **pair} for s in ("train", "val", "test")])
    write_json(
        folder / "result.json",
        {
            "run": run,
            "status": "finished",
            "epochs_run": 1,
            "best_epoch": 1,
            "evaluated_epoch": 1,
            "val_accuracy_at_best": 1.0,
            "val_cross_entropy": 0.1,
            "train_accuracy": 1.0,
            "val_accuracy": 1.0,
            "test_accuracy": 1.0,
        },
    )
    return folder
