"""Stages and ladders: the types that ladders are written in."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lfwstudy.config import Checked, RunConfig, within
from lfwstudy.errors import ConfigError, choose_one, quoted

# Settings by "section.field".
Changes = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """What the report prints about a variant; None if it prints nothing, or a figure that belongs to another row.

    `loss` is the total on the test pairs with the evaluated weights; seconds are those of the report's machine.
    """

    accuracy: float
    loss: float | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    seconds_per_epoch: float | None = None
    seconds_total: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim of the report: `variant` against `incumbent`, both (stage, variant).

    expects: "better", "worse" or "no gain". column: the scores compared, at the best epoch unless the claim is about
    which weights are evaluated. note: other differences between the two.
    """

    text: str
    variant: tuple[str, str]
    incumbent: tuple[str, str]
    expects: str
    column: str = "score_at_best"
    note: str = ""


@dataclass(frozen=True)
class _Named(Checked):
    """An id, which also names files, and a title."""

    id: str
    title: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}", self.id):
            raise ConfigError(f"an id is a word of small letters, digits and - . _, not {quoted(self.id)}")


@dataclass(frozen=True)
class Variant(_Named):
    """One configuration of a stage: changes ("section.field" to value) to the incumbent's, in unscaled epochs."""

    changes: Changes


@dataclass(frozen=True)
class Stage(_Named):
    """A step of a ladder: a hypothesis about one factor, and the variants that test it.

    carry: whether one of its variants may become the configuration that later stages start from.
    report_choice: the variant that the report continued with; None if it kept its incumbent.
    seeds: minimum number of runs per variant outside the profile `quick`, for stages whose mean or ensemble is reported.
    after: of a user's own stage, the stage it comes after; empty for the end of the ladder.
    """

    hypothesis: str
    variants: tuple[Variant, ...]
    carry: bool = True
    report_choice: str | None = None
    seeds: int = within(1, 1, 1000)
    after: str = ""


@dataclass(frozen=True)
class Ladder:
    """Stages in order, with common settings.

    start: changes to the default configuration that every stage starts from.
    split, select: a study's defaults.
    own_epochs: its epochs are written for two cores; otherwise they are the report's, which a profile scales.
    calibrated: scores are compared after calibration on validation. Some heads are already calibrated in training; the
        others would be compared at an arbitrary threshold.
    replicated: its runs repeat published ones, so histories and figures are compared epoch by epoch.
    """

    id: str
    stages: tuple[Stage, ...]
    start: Changes = field(default_factory=dict)
    split: str = "components"
    select: str = "validation"
    own_epochs: bool = False
    calibrated: bool = False
    replicated: bool = False

    def stage(self, name: str) -> Stage:
        """The stage with an id. Raises ConfigError for an unknown one."""
        stages = {stage.id: stage for stage in self.stages}
        return stages[choose_one("stage", name, stages)]

    def in_order(self, names: Iterable[str]) -> list[str]:
        """The named stages in the ladder's order, always including the first. Raises ConfigError for unknown ones."""
        asked = {self.stage(name).id for name in names} | {self.stages[0].id}
        return [stage.id for stage in self.stages if stage.id in asked]

    def has_path(self) -> bool:
        """Whether the report says what it carried forward, so that a study can follow it."""
        return any(stage.report_choice for stage in self.stages)

    def path(self, start: RunConfig) -> dict[tuple[str, str], RunConfig]:
        """The configuration of each (stage, variant) along the report's own choices, from the first stage's start."""
        found: dict[tuple[str, str], RunConfig] = {}
        for stage in self.stages if self.has_path() else ():
            found |= {(stage.id, v.id): start.change(v.changes) for v in stage.variants}
            start = found.get((stage.id, stage.report_choice or ""), start)
        return found
