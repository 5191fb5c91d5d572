"""A study that trains: its data, the runs still to train, results.csv, and the weights to keep.

A study lives in one folder (`--out`): study.json, runs/, results.csv, notebooks/, html/, report.html.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from lfwstudy.config import TRAINING_VERSION, DataConfig, RunConfig
from lfwstudy.data.bank import ImageBank
from lfwstudy.data.own import made_from
from lfwstudy.data.pair_files import pair_file
from lfwstudy.data.prepare import load_data
from lfwstudy.data.protocols import StudyPairs, audit_splits, people_files, title_of
from lfwstudy.data.registry import DATASETS, resolve_data_dir
from lfwstudy.errors import DataError, StudyError
from lfwstudy.ladder import PROFILES
from lfwstudy.runs import dispatch
from lfwstudy.runs.job import Job, Task
from lfwstudy.study.results import RESULT_COLUMNS, Results
from lfwstudy.study.rungs import Candidate, Place, Rung, Spec, choose, possible
from lfwstudy.study.scores import best_rows
from lfwstudy.study.settings import Settings
from lfwstudy.system.backend import require_backend
from lfwstudy.system.files import write_csv

Show = Callable[[str], object]


class Study(Results):
    """Results that can grow: the ladder's data, the runs still missing, and their training.

    Ids of runs are computed from the data or, if these are gone, taken from the record. Raises ConfigError as Results does,
    and if Keras is set to a backend that cannot train or is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        require_backend()
        super().__init__(settings)
        self._images = ""
        self._digest = lru_cache(self._digest_of)

    @property
    def title(self) -> str:
        """What the images are, for headings."""
        return self._images or super().title

    def ask(self, stages: Iterable[str]) -> None:
        """Add stages to this combination's ladder, and seeds if more are requested than before."""
        with self.record.change() as entry:
            entry["seeds"] = max(entry["seeds"], self.settings.seeds)
            if not self.why_no_images:
                self.record.content.pop("images", None)  # earlier ones may have been replaced
                if self.title != DATASETS[self.settings.dataset].title:
                    self.record.content["images"] = self.title
            entry["stages"] = self.ladder.in_order({*entry["stages"], *stages})
        dataset, data_dir = self.settings.dataset, self.settings.data_dir
        if dataset != "demo" and (folder := resolve_data_dir(dataset, data_dir)):
            self.record.remember_images(str(folder), made_from(str(folder)))

    def data(self, config: DataConfig) -> tuple[ImageBank, StudyPairs, str]:
        """Bank, pairs and data digest of a DataConfig; every pair's images are checked to exist. Raises DataError."""
        return load_data(config, self.settings.data_dir)

    def check_data(self, stages: Iterable[str] = ()) -> None:
        """Raise DataError if the images, or a people file that one of the stages needs, are unusable."""
        config = self.first().data
        self._images = title_of(self.data(config)[0], config, self.settings.data_dir)
        for variant in (variant for name in stages for variant in self.ladder.stage(name).variants):
            for file in people_files(self.base().change(variant.changes).data):
                pair_file(file, self.settings.dataset, self.settings.data_dir)

    @cached_property
    def why_no_images(self) -> str:
        """Why the study's images cannot be shown, as a sentence; empty if they can. Its results need none."""
        try:
            self.check_data()
        except DataError as error:
            return f"The images are not available: {error}"
        return ""

    def run_id(self, place: Place, config: RunConfig) -> str:
        """Id of a run, from its configuration and the data, or from the record if the data are gone."""
        digest = self._digest(config.data)
        return config.identify(place.seed, self.precision, digest) if digest else super().run_id(place, config)

    def audits(self) -> dict[str, dict[str, Any]]:
        """`splits.audit` of every possible split, by name; empty under View 2, or if the pair files are gone."""
        if self.settings.protocol == "view1":
            with suppress(DataError):
                return audit_splits(self.base().data, self.settings.data_dir)
        return {}

    def next_runs(self, given_up: Collection[str] = (), upto: str | None = None) -> list[Spec]:
        """The certain runs still to be trained or scored, without those given up and without duplicates."""
        specs = {s.run: s for s in self.certain(given_up, upto) if s.run not in given_up}
        return self.missing(specs.values())

    def certain(self, given_up: Collection[str] = (), upto: str | None = None) -> list[Spec]:
        """The runs of this combination's ladder, up to a stage, that no open choice can change, in the ladder's order.

        A choice is open while a run it depends on is neither finished nor in `given_up`. A stage that overrides all that
        earlier ones may change is certain from the start, so no core waits for a stage's last run.
        """
        starts: list[Candidate | None] = [None]
        specs: list[Spec] = []
        for name in self.stages():
            stage = self.ladder.stage(name)
            tries = [self.candidates(stage, start.config if start else self.base()) for start in starts]
            same = [of_all[0] for of_all in zip(*tries) if len({c.config for c in of_all}) == 1]
            specs += [spec for candidate in same for spec in candidate.specs]
            own = [spec for candidate in tries[0] for spec in candidate.specs]
            if len(starts) == 1 and all(spec.run in given_up for spec in self.missing(own)):
                starts = [choose(stage, tries[0], starts[0], self.settings.select)]
            else:
                starts = possible(stage, starts, [c for tried in tries for c in tried], self.settings.select)
            if not same or starts == [None] or name == upto:
                break
        return specs

    def missing(self, specs: Iterable[Spec]) -> list[Spec]:
        """The runs among these that still need training or scoring of the test pairs."""
        return [spec for spec in specs if self._task(spec)]

    def why_retrained(self, spec: Spec, known: str) -> str:
        """In words: why the run `known`, an earlier one of the same variant, seed and fold, cannot be used."""
        try:
            record = self.store.record(known)[0]
            then = RunConfig.from_dict(record["config"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return f"the earlier run {known} is gone or cannot be read"
        now = {"training version": TRAINING_VERSION, "precision": self.precision}
        was = {"training version": record.get("version"), "precision": record.get("precision")}
        reasons = [f"{name} {now[name]}, was {was[name]}" for name in now if now[name] != was[name]]
        if record.get("data_digest") != self.data(spec.config.data)[2]:
            reasons.append("its images or pairs have changed")
        changed = ", ".join(f"{key} {new}, was {old}" for key, old, new in spec.config.differences(then))
        if changed:
            reasons.append(f"what it starts from has changed: {changed}")
        return "; ".join(reasons) or f"the run {known} does not match its own configuration"

    def climb(self, upto: str | None = None, train: bool = False, show: Show | None = None) -> list[Rung]:
        """The rungs of the ladder, as from `Results.climb`.

        train: train missing runs first. show: called with a line of text during training.
        """
        failures = self.train_all(show, upto) if train else {}
        rungs = super().climb(upto)
        for at, rung in enumerate(rungs) if failures else ():
            own = {spec.run: failures[spec.run] for spec in rung.specs() if spec.run in failures}
            rungs[at] = dataclasses.replace(rung, failures=own)
        return rungs

    def stage(self, name: str, show: Show | None = None, train: bool = True) -> Rung:
        """Climb to a stage, training missing runs on the way.

        train: False only shows the current state: an empty Rung, with the reason, if the stage cannot be reached. Raises
        StudyError if training does not reach it, DataError if the data are not available.
        """
        stage = self.ladder.stage(name)
        if train:
            earlier = () if self.stages() else self.ladder.stages[: self.ladder.stages.index(stage)]
            needed = [*(s.id for s in earlier if s.carry), name]
            self.check_data(needed)  # bad data fail before anything is recorded
            self.set_aside_damaged(show)
            if name not in self.stages():
                self.ask(needed)
        rungs = self.climb(name, train, show)
        if rungs and rungs[-1].stage.id == name:
            return rungs[-1]
        why = (
            f"stage {rungs[-1].stage.id} is not finished ({self.why_incomplete(rungs[-1])})"
            if name in self.stages()
            else "it was not requested of this study"
        )
        why = f"stage {name} could not be reached: {why}"
        if train:
            raise StudyError(why)
        return Rung(stage, None, (), None, {name: why})

    def set_aside_damaged(self, show: Show | None = None) -> None:
        """Rename runs with damaged or inconsistent files, so that they are trained again; says which."""
        for problem in self.store.set_aside_damaged():
            if show:
                show(problem)

    def train(self, specs: Iterable[Spec], show: Show | None = None) -> dict[str, str]:
        """Train the unfinished runs; returns {run: message} of those that failed."""
        specs = list(specs)
        jobs = [self._job(spec, task) for spec in {s.run: s for s in specs}.values() if (task := self._task(spec))]
        if not jobs:
            return {}
        self.record_runs()
        failures = dispatch.run(jobs, self.settings.cluster, show)
        self.write_results()
        # For any reason: nobody may wait for a run that is no longer being trained.
        titles = {job.run: job.title for job in jobs}
        left = self.missing(s for s in specs if s.run in titles)
        return {s.run: f"{titles[s.run]}: not finished" for s in left} | failures

    def train_all(self, show: Show | None = None, upto: str | None = None) -> dict[str, str]:
        """Train the missing runs of this combination's ladder; stages wait only for those they depend on.

        Returns {run: message} of those that failed.
        """
        failures: dict[str, str] = {}
        tried: set[str] = set()
        while specs := self.next_runs(tried, upto):
            failures |= self.train(specs, show)
            tried |= {spec.run for spec in specs}  # each once, with any outcome
        return failures

    def record_runs(self) -> None:
        """Write to study.json which run stands where in this ladder; later stages' are those of the present incumbent."""
        stages = self.stages()
        specs = [*self.certain(), *self.specs()]
        runs = [{**place._asdict(), "run": run} for place, run in {s.place: s.run for s in specs if s.run}.items()]
        if runs != self.record.entry.get("runs"):
            with self.record.change() as entry:
                # Another process may have added stages meanwhile: theirs stay.
                entry["runs"] = runs + [row for row in entry.get("runs", []) if row["stage"] not in stages]

    def write_results(self) -> None:
        """Write results.csv with the rows of every combination of the study."""
        write_csv(self.out / "results.csv", RESULT_COLUMNS, self.all_rows())
        self.record_runs()

    def prune(self) -> None:
        """Delete the weights that `--keep` does not ask for, at the end; those of runs without test scores stay.

        While a ladder is incomplete, the best are not settled, and nothing is deleted.
        """
        keep, wanted = self.settings.keep, set()
        if keep == "all":
            return
        for ladder in self.combinations() if keep == "best" else ():
            rungs = ladder.climb()
            if not ladder.is_complete(rungs):
                return
            wanted |= {row["run"] for row in best_rows(ladder.rows(rungs))}
        for run in self.store.ids():
            if run not in wanted and self.store.is_finished(run, with_test=True):
                self.store.drop_weights(run)

    def _digest_of(self, config: DataConfig) -> str:
        """The data digest of a configuration; empty if its data are not available."""
        with suppress(DataError):
            return "" if self.why_no_images else self.data(config)[2]
        return ""

    def _task(self, spec: Spec) -> Task | None:
        """The task a run still needs: "train", "score-test" or None. A finished run is never trained again."""
        if not self.store.is_finished(spec.run):
            return "train"
        unscored = self.settings.test and not self.store.is_finished(spec.run, with_test=True)
        return "score-test" if unscored and self.store.can_score(spec.run) else None

    def _job(self, spec: Spec, task: Task) -> Job:
        return Job(
            run=spec.run,
            config=spec.config,
            folder=self.store.folder(spec.run),
            seed=spec.seed,
            precision=self.precision,
            data_dir=self.settings.data_dir,
            data_digest=self.data(spec.config.data)[2],
            task=task,
            score_test=self.settings.test,
            keep_weights=self.settings.keep != "none" or not self.settings.test,
            title=str(spec.place),
            threads=PROFILES[self.settings.profile].threads,
        )


def open_study(out: str | Path) -> list[Study]:
    """The studies (one per combination) in a folder. Raises StudyError if there is none."""
    return Study.open(out).combinations()
