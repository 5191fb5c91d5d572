"""The parts of a ladder in a study: runs, candidates and rungs, and the choice of what is carried forward."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lfwstudy.config import RunConfig
from lfwstudy.ladder.stage import Stage


class Place(NamedTuple):
    """A run's place in its ladder; `fold` is None under View 1."""

    stage: str
    variant: str
    seed: int
    fold: int | None = None

    def __str__(self) -> str:
        return f"{self.stage}/{self.variant}, seed {self.seed}" + (f", fold {self.fold}" if self.fold else "")


@dataclass(frozen=True)
class Spec:
    """One run of a ladder: its place, its (scaled) configuration and its id, empty if none is recorded yet."""

    stage: str
    variant: str
    seed: int
    fold: int | None
    config: RunConfig
    run: str

    @property
    def place(self) -> Place:
        """The run's place."""
        return Place(self.stage, self.variant, self.seed, self.fold)


@dataclass(frozen=True)
class Candidate:
    """A variant with its runs; `config` is unscaled. `score` is `scores.score`, None until every run is finished."""

    stage: str
    variant: str
    config: RunConfig
    specs: tuple[Spec, ...]
    score: tuple[float, float] | None = None

    def __str__(self) -> str:
        return f"{self.stage}: {self.variant}"

    @property
    def key(self) -> tuple[str, str]:
        """Its stage and variant."""
        return self.stage, self.variant


@dataclass(frozen=True)
class Rung:
    """The current state of a stage: its starting point, its candidates, and the one carried forward.

    failures: {run: message} of the runs that failed in this process.
    """

    stage: Stage
    before: Candidate | None
    candidates: tuple[Candidate, ...]
    after: Candidate | None
    failures: Mapping[str, str] = field(default_factory=dict)

    def carries(self, variant: str) -> bool:
        """Whether this stage carries forward its variant of that id."""
        return self.after is not None and self.after.key == (self.stage.id, variant)

    def complete(self) -> bool:
        """Whether every run of the stage is finished."""
        return all(c.score is not None for c in self.candidates)

    def specs(self) -> list[Spec]:
        """The runs of all candidates."""
        return [spec for candidate in self.candidates for spec in candidate.specs]


def choose(stage: Stage, candidates: Sequence[Candidate], incumbent: Candidate | None, select: str) -> Candidate | None:
    """The candidate that later stages start from: the incumbent competes, order breaks ties.

    select: "validation", or "report" for the report's own choice. None if nothing is usable.
    """
    if select == "report":
        chosen = next((c for c in candidates if c.variant == stage.report_choice), None)
        return chosen if chosen and _usable(chosen) else incumbent
    if incumbent is not None and not stage.carry:
        return incumbent
    usable = [c for c in ([incumbent] if incumbent else []) + list(candidates) if _usable(c)]
    return max(usable, key=lambda c: c.score or ()) if usable else incumbent  # max keeps the first of equals


def possible(
    stage: Stage, starts: Sequence[Candidate | None], candidates: Sequence[Candidate], select: str
) -> list[Candidate | None]:
    """The configurations that stages after an unfinished one may start from, without duplicates."""
    chosen: list[Candidate]
    if select == "report":
        chosen = [c for c in candidates if c.variant == stage.report_choice] or [s for s in starts if s]
    else:
        chosen = [s for s in starts if s] + (list(candidates) if stage.carry else [])
    return list({c.config: c for c in chosen}.values())


def _usable(candidate: Candidate) -> bool:
    return candidate.score is not None and math.isfinite(candidate.score[0])
