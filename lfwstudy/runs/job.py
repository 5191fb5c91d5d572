"""A job: all that a study hands to a training."""

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
    memory : bytes to reserve on a cluster; None: an estimate from the network.
    gpu : the only GPU it may use, by its CUDA name; None: any.
    patience : seconds to wait for the run's lock, which a process whose study was killed may still hold.
    lease : seconds without a sign of life from the parent after which the process ends; None: it ends with its parent.
    stall_seconds : a process on a cluster is ended after this long without using processor time.
    program : the module to run, with the job's file as its argument.
    options : arguments of a program other than the training.
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
        """The maximum number of epochs."""
        return self.config.training.epochs

    def content(self) -> dict[str, Any]:
        """The job as plain values, for `of`."""
        content = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**content, "config": self.config.to_dict(), "folder": str(self.folder)}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Job":
        """The job with this content. Raises ConfigError if its configuration is invalid."""
        return cls(**{**content, "config": RunConfig.from_dict(content["config"]), "folder": Path(content["folder"])})

    def write(self, path: Path) -> None:
        """Write it as JSON, atomically."""
        write_json(path, self.content())

    @classmethod
    def read(cls, path: str | Path) -> "Job":
        """The job that `write` wrote. Raises as `of` does."""
        return cls.of(read_json(path))
