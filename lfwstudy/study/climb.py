"""The state of a ladder: its stages in order, the run at each place, and the configuration each stage hands on."""

import csv
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Self

from lfwstudy.config import RunConfig
from lfwstudy.data.registry import DATASETS
from lfwstudy.ladder import FIGURES, PROFILES, base_config
from lfwstudy.ladder.stage import Ladder, Published, Stage
from lfwstudy.runs.store import Store
from lfwstudy.study.record import Record, settings_in
from lfwstudy.study.rungs import Candidate, Place, Rung, Spec, choose
from lfwstudy.study.scores import score
from lfwstudy.study.settings import Settings
from lfwstudy.system.files import read_csv


class Climb:
    """One ladder of a study, finished or not, read from its folder.

    study.json records the requested stages and the run at each place; runs/ holds the runs. A folder may hold several
    ladders: combinations of ladder, protocol, split and selection. Nothing is written, and no image is read.

    Parameters
    ----------
    settings : Settings
        The folder and the combination; `Climb.open` reads them from the folder.

    Raises
    ------
    ConfigError
        If the folder belongs to another data set, profile or precision, study.json is damaged, or a stage is unknown.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.out = settings.folder()
        self.store = Store(self.out / "runs")
        self.record = Record(settings)
        self.precision: str = self.record.content["precision"]
        self.requested()

    @classmethod
    def open(cls, folder: str | Path, combination: Mapping[str, str] | None = None) -> Self:
        """The results in a study's folder.

        Parameters
        ----------
        combination : mapping, optional
            Which of several ladders: values of some of `ladder`, `protocol`, `split`, `select`. The first match is opened.

        Raises
        ------
        StudyError
            If the folder holds no study, a damaged one, or no such combination.
        """
        return cls(settings_in(folder, combination or {}))

    def combinations(self) -> list[Self]:
        """The results of each ladder ever requested in this folder."""
        return [
            type(self)(
                dataclasses.replace(
                    self.settings, out=str(self.out), stages="", stages_file="", set_options=(), **ladder
                )
            )
            for ladder in self.record.ladders()
        ]

    def stages(self) -> list[str]:
        """Ids of the stages requested so far, in order."""
        return self.record.entry["stages"]

    @property
    def ladder(self) -> Ladder:
        """The ladder, with the user's own stages."""
        return self.record.ladder

    def requested(self) -> list[str]:
        """Ids of the stages that the settings name or give, in order; all of the ladder if there are none."""
        names = [name.strip() for name in self.settings.stages.split(",") if name.strip()]
        names += [stage.id for stage in self.record.given]
        return self.ladder.in_order(names or [stage.id for stage in self.ladder.stages])

    def seeds(self) -> int:
        """Number of seeds: the largest requested so far."""
        return max(self.record.entry["seeds"], self.settings.seeds)

    def seeds_of(self, stage: Stage) -> int:
        """Number of seeds of a stage: the study's, or more if the stage asks for them."""
        return PROFILES[self.settings.profile].seeds_of(stage, self.seeds(), self.settings.protocol)

    def folds(self) -> list[int | None]:
        """Held-out folds: [None] under View 1, 1 to 10 under View 2."""
        return list(range(1, 11)) if self.settings.protocol == "view2" else [None]

    def base(self) -> RunConfig:
        """The configuration that the ladder starts from, in unscaled epochs."""
        s = self.settings
        data = {"dataset": s.dataset, "protocol": s.protocol, "split": s.split, "fold": self.folds()[0]}
        return base_config(s.profile, s.ladder, **data)

    def first(self) -> RunConfig:
        """The configuration of the first stage's first variant, in unscaled epochs."""
        return self.base().change(self.ladder.stages[0].variants[0].changes)

    @property
    def title(self) -> str:
        """What the images are, for headings."""
        return self.record.content.get("images") or DATASETS[self.settings.dataset].title

    @property
    def of_other_people(self) -> bool:
        """Whether the images are neither LFW's nor the demo's: no published figure belongs next to theirs."""
        return self.settings.dataset == "folder" or self.title != DATASETS[self.settings.dataset].title

    def scale(self, config: RunConfig) -> RunConfig:
        """A configuration with its epochs scaled by the profile."""
        return PROFILES[self.settings.profile].scale(config, self.ladder)

    def published(self, candidate: Candidate) -> Published | None:
        """What the report prints on a candidate; None if it prints nothing, or if it describes another configuration there,
        because another choice was carried forward."""
        same = self.ladder.path(self.base()).get(candidate.key) == candidate.config
        return FIGURES.get(candidate.key) if same and not self.of_other_people else None

    def climb(self, upto: str | None = None) -> list[Rung]:
        """The rungs of the ladder in order, up to and including the stage `upto`; unfinished stages in their current state."""
        rungs: list[Rung] = []
        incumbent: Candidate | None = None
        for name in self.stages():
            stage = self.ladder.stage(name)
            candidates = self.candidates(stage, incumbent.config if incumbent else self.base())
            after = choose(stage, candidates, incumbent, self.settings.select)
            rungs.append(Rung(stage, incumbent, candidates, after))
            incumbent = after
            # An unfinished stage hands on the best so far, so that later stages stay visible.
            if name == upto or after is None:
                break
        return rungs

    def specs(self, rungs: Iterable[Rung] | None = None) -> list[Spec]:
        """The runs of some rungs, by default of all."""
        return [spec for rung in (self.climb() if rungs is None else rungs) for spec in rung.specs()]

    def candidates(self, stage: Stage, start: RunConfig) -> tuple[Candidate, ...]:
        """A stage's variants with their runs, scored where all are finished. start: what they change, unscaled."""
        found = []
        for variant in stage.variants:
            config, specs = start.change(variant.changes), []
            for fold in self.folds():
                scaled = self.scale(config.change({"data.fold": fold}))
                for seed in range(self.seeds_of(stage)):
                    place = Place(stage.id, variant.id, seed, fold)
                    specs.append(Spec(*place, scaled, self.run_id(place, scaled)))
            found.append(Candidate(stage.id, variant.id, config, tuple(specs), self._score(specs)))
        return tuple(found)

    def run_id(self, place: Place, config: RunConfig) -> str:
        """Id of the run recorded at a place; empty if none is. config: its configuration, not needed here."""
        # What an earlier version of this package added to the folder is in results.csv alone.
        return self.record.runs.get(place) or self.filed.get(place, "")

    def is_complete(self, rungs: Sequence[Rung]) -> bool:
        """Whether every requested stage is reached and all its runs are finished."""
        return [rung.stage.id for rung in rungs] == self.stages() and all(rung.complete() for rung in rungs)

    def filed_rows(self) -> list[dict[str, str]]:
        """Rows of this ladder in results.csv, all fields as text. Raises what `read_csv` does, and KeyError."""
        wanted = self.settings.combination()
        if self.settings.protocol == "view2":  # no split to tell ladders apart
            wanted["split"] = ""
        return [row for row in read_csv(self.out / "results.csv") if all(row[k] == v for k, v in wanted.items())]

    def _score(self, specs: Sequence[Spec]) -> tuple[float, float] | None:
        """`scores.score`, None if a run is not finished."""
        if not all(self.store.is_finished(spec.run) for spec in specs):
            return None
        results = [self.store.result(spec.run) for spec in specs]
        # A run that diverged is recorded and never chosen.
        if any(r["status"] == "diverged" or r["best_epoch"] is None for r in results):
            return float("-inf"), float("-inf")
        return score(results)

    @cached_property
    def filed(self) -> dict[Place, str]:
        """The run at each place of the ladder as results.csv has it; none where it cannot be read."""
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError, csv.Error):
            return {
                Place(r["stage"], r["variant"], int(r["seed"]), int(r["fold"]) if r["fold"] else None): r["run"]
                for r in self.filed_rows()
            }
        return {}
