"""What tests of trainings share."""

from pathlib import Path
from typing import Any

from lfwstudy.system.files import read_csv


def numbers(folder: Path) -> tuple[list[dict[str, Any]], str]:
    """Everything a run measured except its times."""
    history = [{k: v for k, v in row.items() if k != "seconds"} for row in read_csv(folder / "history.csv")]
    return history, (folder / "predictions.csv").read_text()


COMPACT = {"model.architecture": "compact", "model.width": 0.1, "model.l2": 0.0, "data.side": 48, "data.crop": 144}
# Everything that the second ladder adds.
BEYOND = {
    **COMPACT,
    "model.head": "cosine",
    "model.flip_average": True,
    "model.cohort": 30,
    "training.optimizer": "adamw",
    "training.weight_decay": 0.05,
    "training.schedule": "cosine",
    "training.warmup": 1,
    "training.flip": True,
    "training.shift": 0.04,
    "training.rotation": 8.0,
    "training.erase": 0.5,
    "training.cover": 0.5,
    "training.contrast": 1.0,
    "training.average": 0.9,
    "model.dropout": 0.2,
    "training.epochs": 4,
}
