"""What is a run to its executor? A job: the only thing that a study hands to a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from lfwstudy.config import RunConfig
from lfwstudy.system.files import read_json, write_json

TRAINING = "lfwstudy.runs.training_process"
Task = Literal["train", "score-test"]


@dataclass(frozen=True)
class Job:
    """One run to be trained, or its test pairs to be scored.

    Parameters
    ----------
    run : the run's id.
    folder : where its files go.
    precision : float32 or bfloat16.
    data_dir : the user's folder with images and pairs, empty for none.
    data_digest : of the images and pairs; a cluster's worker looks for data with this digest.
    task : score-test adds the test pairs' scores to a finished run.
    threads : threads to compute with; 0: all cores, with no other run at the same time.
    memory : bytes to set aside on a cluster; None: as much as the network is expected to need.
    gpu : the only GPU it may use, as CUDA names it; None: any.
    patience : seconds to wait for the run's lock, which a process whose study was killed may hold for a moment.
    lease : seconds without a sign of life from the parent after which the process ends; None: it ends with its parent.
    stall_seconds : a process on a cluster that uses no processor time for so long is ended.
    program : the module that is run, with the job's file as its argument.
    options : what a program other than the training needs to know.
    """

    run: str
    config: RunConfig
    folder: Path
    seed: int = 0
    precision: str = "float32"
    data_dir: str = ""
    data_digest: str = ""
    task: Task = "train"
    score_test: bool = True
    keep_weights: bool = False
    title: str = ""
    threads: int = 1
    memory: int | None = None
    gpu: str | None = None
    patience: float = 30.0
    lease: float | None = None
    stall_seconds: float = 600.0
    program: str = TRAINING
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def epochs(self) -> int:
        """The most epochs it may take."""
        return self.config.training.epochs

    def write(self, path: Path) -> None:
        """Write it as JSON, atomically."""
        content = {each.name: getattr(self, each.name) for each in fields(self)}
        write_json(path, {**content, "config": self.config.to_dict(), "folder": str(self.folder)})

    @classmethod
    def read(cls, path: str | Path) -> Job:
        """The job that `write` wrote. Raises ConfigError where its configuration is not one."""
        content = read_json(path)
        return cls(**{**content, "config": RunConfig.from_dict(content["config"]), "folder": Path(content["folder"])})
