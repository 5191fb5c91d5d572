"""The whole ladder: which runs there are, what is carried forward, training what is missing, results.csv.

A study lives in one folder (`--out`): study.json, runs/, results.csv, notebooks/, html/, report.html.
"""

import csv
import dataclasses
import os
import re
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from lfwstudy.config import PRECISIONS, PROTOCOLS, SPLITS, TRAINING_VERSION, RunConfig
from lfwstudy.data import duplicates
from lfwstudy.data.pair_files import has_pair_file, pair_file
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import audit_random, audit_split, check_images, load_pairs, people_files
from lfwstudy.data.registry import DATASETS, resolve_data_dir
from lfwstudy.data.splits import component_labels
from lfwstudy.errors import ConfigError, StudyError, choose_one, one_line
from lfwstudy.evaluation import intervals
from lfwstudy.ladder import LADDERS, PROFILES, base_config, get_ladder, get_stage, in_order, scale, seeds_of
from lfwstudy.runs import local
from lfwstudy.runs.store import Store
from lfwstudy.study import best
from lfwstudy.system.backend import keras_backend
from lfwstudy.system.files import locked, read_csv, read_json, write_csv, write_json, write_text
from lfwstudy.system.precision import resolve_precision

# Where the pictures were when the study last ran; of one machine, so that it does not travel in study.json.
DATA_DIR_HINT = ".data-dir"
SELECTIONS = ("validation", "report")
KEEP = ("best", "all", "none")
RESULT_COLUMNS = [
    "ladder",
    "stage",
    "variant",
    "seed",
    "fold",
    "profile",
    "dataset",
    "protocol",
    "split",
    "select",
    "precision",
    "backend",
    "device",
    "parameters",
    "epochs_run",
    "epochs_max",
    "evaluated_epoch",
    "best_epoch",
    "train_accuracy",
    "train_loss",
    "train_cross_entropy",
    "val_accuracy",
    "val_loss",
    "val_cross_entropy",
    "test_accuracy",
    "test_loss",
    "test_cross_entropy",
    "val_accuracy_at_best",
    "test_accuracy_at_best",
    "test_auc",
    "test_eer",
    "test_tpr",
    "test_tnr",
    "test_ci_low",
    "test_ci_high",
    "seconds_per_epoch",
    "seconds_total",
    "seconds_to_best",
    "peak_memory_mb",
    "carried_forward",
    "run",
]


@dataclass(frozen=True)
class Settings:
    """What a user asks of a study; the fields are the command's options.

    stages: comma-separated ids, empty for all; split, select: empty for the ladder's own; data_dir, out, cluster: empty for
    none. test: whether the test pairs are scored. Raises ConfigError for values that do not exist.
    """

    dataset: str = "demo"
    data_dir: str = ""
    profile: str = "quick"
    ladder: str = "report"
    stages: str = ""
    seeds: int = 1
    split: str = ""
    protocol: str = "view1"
    select: str = ""
    precision: str = "auto"
    keep: str = "best"
    test: bool = True
    cluster: str = ""
    out: str = ""

    def __post_init__(self):
        ladder = LADDERS[choose_one("ladder", self.ladder, LADDERS)]
        object.__setattr__(self, "split", self.split or ("components" if self.protocol == "view2" else ladder.split))
        object.__setattr__(self, "select", self.select or ladder.select)
        for name, known in (
            ("dataset", DATASETS),
            ("profile", PROFILES),
            ("split", SPLITS),
            ("protocol", PROTOCOLS),
            ("select", SELECTIONS),
            ("precision", ("auto", *PRECISIONS)),
            ("keep", KEEP),
        ):
            choose_one(name.replace("dataset", "data set"), getattr(self, name), known)
        if not isinstance(self.seeds, int) or isinstance(self.seeds, bool) or not 1 <= self.seeds <= 1000:
            raise ConfigError(f"seeds must be a whole number from 1 to 1000, got {self.seeds!r}")
        if not isinstance(self.test, bool):
            raise ConfigError(f"test must be true or false, got {self.test!r}")
        if self.select == "report" and not ladder.has_path():
            raise ConfigError(
                f"--select report follows the report's own path; the ladder {self.ladder} has none: use "
                "--select validation"
            )
        if self.protocol == "view2" and self.split != "components":
            raise ConfigError(
                f"the split {self.split!r} does not go with protocol view2: its validation is the fold after "
                "the tested one"
            )
        if self.cluster:
            local.check_cluster(self.cluster)
        self.stage_ids()
        for name in ("data_dir", "out"):
            value = getattr(self, name)
            if value:
                object.__setattr__(self, name, str(Path(value).expanduser().absolute()))

    def stage_ids(self):
        """The stages asked for, in the ladder's order; all of them where none is named."""
        names = [name.strip() for name in self.stages.split(",") if name.strip()]
        return in_order(self.ladder, names or [stage.id for stage in get_ladder(self.ladder)])

    def folder(self):
        """The study's folder: `out`, else runs/<dataset>-<profile> below the checkout or the current folder."""
        return Path(self.out) if self.out else default_root() / "runs" / f"{self.dataset}-{self.profile}"

    def combination(self):
        """What keeps ladders apart within one folder."""
        return {name: getattr(self, name) for name in ("ladder", "protocol", "split", "select")}


@dataclass(frozen=True)
class Spec:
    """One run of a ladder: where it stands, its (scaled) configuration and its id."""

    stage: str
    variant: str
    seed: int
    fold: int | None
    config: object
    run: str


@dataclass(frozen=True)
class Candidate:
    """A variant with its runs; `config` is unscaled. `score` is None until every run is finished."""

    stage: str
    variant: str
    config: object
    specs: tuple
    score: tuple | None = None


@dataclass(frozen=True)
class Rung:
    """A stage of the ladder as it stands: what it started from, its candidates, and what is carried forward."""

    stage: object
    before: Candidate | None
    candidates: tuple
    after: Candidate | None
    failures: dict = field(default_factory=dict)

    def carries(self, variant):
        """Whether this stage's variant of that id is what is carried forward."""
        return self.after is not None and (self.after.stage, self.after.variant) == (self.stage.id, variant)

    def complete(self):
        """Whether every run of the stage is finished."""
        return all(c.score is not None for c in self.candidates)


class Study:
    """A folder of runs and the ladders that are climbed in it; study.json says which.

    Raises ConfigError where the folder belongs to another data set, profile or precision, and where Keras is set to a backend
    that cannot train it.
    """

    def __init__(self, settings):
        keras_backend()
        self.settings = settings
        self.out = settings.folder()
        self.store = Store(self.out / "runs")
        self.record = self._read_record()
        self.precision = self.record["precision"]

    def ask(self, stages):
        """Add stages to this combination's ladder, and its seeds where more are asked for than before."""
        with locked(self.out / ".study.lock", patience=10):
            self.record = self._read_record()
            entry = self._combination_record()
            if entry not in self.record["combinations"]:
                self.record["combinations"].append(entry)
            entry["seeds"] = max(entry["seeds"], self.settings.seeds)
            entry["stages"] = in_order(self.settings.ladder, {*entry["stages"], *stages})
            write_json(self.out / "study.json", self.record)
            if self.settings.dataset != "demo" and (
                folder := resolve_data_dir(self.settings.dataset, self.settings.data_dir)
            ):
                write_text(self.out / DATA_DIR_HINT, str(folder))

    # -- what there is to do -------------------------------------------------------------------------------------

    def stages(self):
        """Ids of this combination's stages asked for so far, in order."""
        return self._combination_record()["stages"]

    def seeds(self):
        """Number of seeds of this combination: the largest asked for so far."""
        return max(self._combination_record()["seeds"], self.settings.seeds)

    def seeds_of(self, stage):
        """Number of seeds of a Stage: the study's, or more where the stage asks for them."""
        return seeds_of(stage, self.settings.profile, self.seeds(), self.settings.protocol)

    def folds(self):
        """Held-out folds: [None] under View 1, 1 to 10 under View 2."""
        return list(range(1, 11)) if self.settings.protocol == "view2" else [None]

    def base(self):
        """The configuration the ladder starts from, in unscaled epochs."""
        return base_config(
            self.settings.profile,
            self.settings.ladder,
            dataset=self.settings.dataset,
            protocol=self.settings.protocol,
            split=self.settings.split,
            fold=self.folds()[0],
        )

    def published(self, rung, candidate):
        """What the report prints on a Candidate of a Rung; None where it prints nothing, or describes another configuration
        there than this study's, which another choice carried forward."""
        same = (
            LADDERS[self.settings.ladder].path(self.base()).get((candidate.stage, candidate.variant))
            == candidate.config
        )
        return next(v.published for v in rung.stage.variants if v.id == candidate.variant) if same else None

    def first(self):
        """The configuration of the first stage's first variant, in unscaled epochs."""
        return self.base().change(get_ladder(self.settings.ladder)[0].variants[0].changes)

    def data(self, config):
        """Bank, StudyPairs and data digest of a DataConfig, checked: every pair's pictures are there."""
        return _load_data(config, self.settings.data_dir)

    def audits(self):
        """splits.audit of every split of the development pairs that can be made here, by name; empty under View 2."""
        if self.settings.protocol != "view1":
            return {}
        data = self.base().data
        found = {}
        for name in SPLITS:
            if name != "folds" or has_pair_file("people.txt", data.dataset, self.settings.data_dir):
                with suppress(ConfigError):  # of few pairs, a split may leave a side empty
                    found[name] = audit_split(dataclasses.replace(data, split=name), self.settings.data_dir)
        return found

    def random_audits(self, count=50):
        """splits.audit of `count` random splits of the development pairs; empty under View 2."""
        if self.settings.protocol != "view1":
            return []
        return audit_random(self.base().data, self.settings.data_dir, count)

    def duplicates(self):
        """quirks.near_duplicates of the whole bank."""
        return _duplicates(self.base().data, self.settings.data_dir)

    def odd_pairs(self):
        """quirks.odd_pairs of this study's pairs; training's images are those of all training people where the file is at hand."""
        return duplicates.odd_pairs(self.duplicates(), self.widest_pairs())

    def widest_pairs(self):
        """This study's pairs with all images that a stage may train on, where the people file for it is at hand: StudyPairs."""
        data = self.base().data
        wider = dataclasses.replace(data, pictures="all-people")
        there = all(has_pair_file(name, data.dataset, self.settings.data_dir) for name in people_files(wider))
        return self.data(wider if there else data)[1]

    def climb(self, upto=None, train=False, show=None):
        """The rungs of the ladder in order, up to and including the stage `upto`.

        train: train what is missing; else unfinished stages stand as they are.
        show: called with a line of text while training.
        """
        rungs, incumbent = [], None
        for name in self.stages():
            stage = get_stage(self.settings.ladder, name)
            start = incumbent.config if incumbent else self.base()
            candidates = [self._candidate(stage, v, start.change(v.changes)) for v in stage.variants]
            failures = {}
            if train:
                failures = self.train([s for c in candidates for s in c.specs], show)
            candidates = tuple(dataclasses.replace(c, score=self._score(c)) for c in candidates)
            after = self._choose(stage, candidates, incumbent)
            rungs.append(Rung(stage, incumbent, candidates, after, failures))
            incumbent = after
            # An unfinished stage hands its incumbent on, so that it hides nothing of what comes after it.
            if name == upto or after is None:
                break
        return rungs

    def stage(self, name, show=None, train=True):
        """Climb to a stage, training what is missing on the way; returns its Rung.

        train: False only shows what there is: an empty Rung that says why where the stage cannot be reached. Raises
        StudyError where training does not reach it.
        """
        stage = get_stage(self.settings.ladder, name)
        # Bad data fail before anything is asked for.
        self.data(scale(self.first(), self.settings.profile, self.settings.ladder).data)
        if train:
            self.set_aside_damaged(show)
        if train and name not in self.stages():
            ladder = get_ladder(self.settings.ladder)
            earlier = ladder[: ladder.index(stage)] if not self.stages() else ()
            self.ask([s.id for s in earlier if s.carry] + [name])
        rungs = self.climb(upto=name, train=train, show=show)
        if rungs and rungs[-1].stage.id == name:
            return rungs[-1]
        why = (
            f"stage {rungs[-1].stage.id} is not finished ({self.why_incomplete(rungs[-1])})"
            if name in self.stages()
            else "this study was not asked for it"
        )
        why = f"stage {name} could not be reached: {why}"
        if train:
            raise StudyError(why)
        return Rung(stage, None, (), None, {name: why})

    def set_aside_damaged(self, show=None):
        """Rename runs whose files cannot be read or do not fit, so that they are trained anew; says which."""
        for problem in self.store.set_aside_damaged():
            if show:
                show(problem)

    def train(self, specs, show=None):
        """Train the runs that are not finished yet; returns {run: message} of those that failed."""
        jobs = []
        for spec in {spec.run: spec for spec in specs}.values():
            task = self._task(spec)
            if task:
                jobs.append(self._job(spec, task))
        if not jobs:
            return {}
        failures = local.run(jobs, self.settings.cluster, show)
        self.write_results()
        # Whatever the reason: nobody waits for a run that nobody trains any more.
        tried = {job["run"]: job["title"] for job in jobs}
        return {
            s.run: f"{tried[s.run]}: not finished" for s in self.missing(s for s in specs if s.run in tried)
        } | failures

    def train_all(self, show=None):
        """Train what this combination's ladder lacks, no stage waiting for another that it does not depend on.

        Returns {run: message} of those that failed.
        """
        failures, tried = {}, set()
        while specs := self.next_runs(tried):
            failures |= self.train(specs, show)
            tried |= {spec.run for spec in specs}  # each once, whatever became of it
        return failures

    def next_runs(self, given_up=()):
        """The certain runs that are still to be trained or scored, without those given up, each once."""
        specs = {s.run: s for s in self.certain(given_up) if s.run not in given_up}
        return self.missing(specs.values())

    def certain(self, given_up=()):
        """The runs of this combination's ladder that no open choice can change: Specs, in the ladder's order.

        A choice is open while a run it depends on is neither finished nor among the ids `given_up`. Stages that set
        whatever an earlier one may have changed are certain from the beginning: no core waits for a stage's last run.
        """
        starts, specs = [None], []
        for name in self.stages():
            stage = get_stage(self.settings.ladder, name)
            tries = [
                [
                    self._candidate(stage, v, (start.config if start else self.base()).change(v.changes))
                    for v in stage.variants
                ]
                for start in starts
            ]
            same = [of_all[0] for of_all in zip(*tries) if len({c.config for c in of_all}) == 1]
            specs += [spec for candidate in same for spec in candidate.specs]
            own = [spec for candidate in tries[0] for spec in candidate.specs]
            if len(starts) == 1 and all(spec.run in given_up for spec in self.missing(own)):
                scored = [dataclasses.replace(c, score=self._score(c)) for c in tries[0]]
                starts = [self._choose(stage, scored, starts[0])]
            else:
                starts = self._possible(stage, starts, [c for tried in tries for c in tried])
            if not same or starts == [None]:
                break
        return specs

    def missing(self, specs):
        """Of these runs, those that a training or a scoring of test pairs is still needed for."""
        return [spec for spec in specs if self._task(spec)]

    def why_anew(self, spec, known):
        """In words: why the run `known`, an earlier one of the same variant, seed and fold, is not this one."""
        try:
            record = read_json(self.store.folder(known) / "config.json")
            then = RunConfig.from_dict(record["config"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return f"the earlier run {known} is no longer there"
        now = {"training version": TRAINING_VERSION, "precision": self.precision}
        was = {"training version": record.get("version"), "precision": record.get("precision")}
        reasons = [f"{name} {now[name]}, before {was[name]}" for name in now if now[name] != was[name]]
        if record.get("data_digest") != self.data(spec.config.data)[2]:
            reasons.append("its pictures or pairs have changed")
        changed = ", ".join(f"{key} {new}, before {old}" for key, old, new in spec.config.differences(then))
        return (
            "; ".join(reasons + ([f"what it starts from has changed: {changed}"] if changed else []))
            or f"the run {known} names another configuration than its own"
        )

    def why_incomplete(self, rung) -> str:
        """In words: which runs a stage that is not complete lacks, and why. Names no folder: reports travel."""
        if not rung.candidates:
            return "; ".join(rung.failures.values())
        told = []
        for candidate in rung.candidates:
            missing = {
                spec: self.why_unfinished(spec, rung.failures)
                for spec in candidate.specs
                if not self.store.is_finished(spec.run)
            }
            for reason in dict.fromkeys(missing.values()):
                specs = [spec for spec in missing if missing[spec] == reason]
                seeds = (
                    ""
                    if len(specs) == len(candidate.specs)
                    else ", "
                    + " and ".join(
                        f"seed {spec.seed}" + (f" in fold {spec.fold}" if spec.fold else "") for spec in specs
                    )
                )
                told.append(f"{candidate.variant}{seeds}: {reason}")
        return "; ".join(told or rung.failures.values()) or "every run diverged"

    def why_unfinished(self, spec, failures=()) -> str:
        """In words: why a run is not finished, from its folder; from `failures`, {run: message}, where that says nothing."""
        folder = self.store.folder(spec.run)
        log = folder / "log.txt"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        if errors := [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]:
            reason = one_line(errors[-1])
        elif spec.run in failures:
            reason = one_line(failures[spec.run])
        elif epochs := len(self.store.history(spec.run)):
            reason = f"interrupted after epoch {epochs} of at most {spec.config.training.epochs}; the same command resumes it"
        elif lines or (folder / "job.json").is_file():
            reason = "interrupted before its first epoch ended; the same command starts it again"
        elif aside := sorted(path.name for path in self.store.root.glob(f"{spec.run}.damaged-*")):
            reason = f"it was damaged and set aside as {aside[-1]}; the same command trains it again"
        else:
            reason = "never started"
        return reason.replace(str(self.out), self.out.name)[:300]

    # -- what came out -------------------------------------------------------------------------------------------

    def rows(self, rungs=None):
        """Rows of results.csv of this combination: dicts with RESULT_COLUMNS, finished runs only."""
        rows = []
        for rung in self.climb() if rungs is None else rungs:
            for candidate in rung.candidates:
                for spec in candidate.specs:
                    if self.store.is_finished(spec.run):
                        rows.append(self._row(rung, candidate, spec))
        return rows

    def best(self, rungs=None):
        """The Candidate that `best.best_rows` picks from this combination's ladder, None where nothing is finished."""
        rungs = self.climb() if rungs is None else rungs
        found = {(row["stage"], row["variant"]) for row in best.best_rows(self.rows(rungs))}
        return next((c for rung in rungs for c in rung.candidates if (c.stage, c.variant) in found), None)

    def correct(self, candidate, column="score_at_best"):
        """Correct answers on the test pairs: bool array (seeds, pairs), the folds of View 2 side by side.

        In a ladder with `calibrated`, at the threshold that validation calibrates. None where a run is not finished, its test
        pairs are not scored, or it diverged.
        """
        scored = self.test_scores(candidate, column)
        return None if scored is None else (scored[0] > 0.5) == (scored[1] > 0.5)

    def test_scores(self, candidate, column="score_at_best"):
        """Scores of the test pairs (seeds, pairs) and their labels (pairs,), as `correct` has them; None likewise."""
        if not all(self.store.is_finished(spec.run, with_test=True) for spec in candidate.specs):
            return None
        calibrate = LADDERS[self.settings.ladder].calibrated and candidate.config.model.head != "cosine"
        scores, labels = _test_scores(
            str(self.store.root), tuple((spec.seed, spec.run) for spec in candidate.specs), calibrate
        )
        return None if not np.isfinite(scores[column]).all() else (scores[column], labels)

    def validation_correct(self, candidate, column="score_at_best"):
        """Right answers on the validation pairs of View 1, bool (seeds, pairs), and their connected components."""
        scored = [self.store.scores(spec.run, "val") for spec in candidate.specs]
        correct = np.stack([(s[column] > 0.5) == (s["label"] > 0.5) for s in scored])
        return correct, component_labels(self.data(candidate.specs[0].config.data)[1].validation)

    def test_components(self):
        """Connected component of each test pair, in the order of `correct`."""
        labels, offset = [], 0
        for fold in self.folds():
            pairs = self.data(dataclasses.replace(self.base().data, fold=fold))[1].test
            labels.append(component_labels(pairs) + offset)
            offset = labels[-1].max() + 1
        return np.concatenate(labels)

    def comparisons(self):
        """How many variants the ladder compares with an incumbent: what a correction for their number counts."""
        return sum(len(get_stage(self.settings.ladder, name).variants) for name in self.stages()[1:]) or 1

    def differences(self, rungs):
        """Finished variants against their incumbents: dict (stage, variant) to intervals.Difference."""
        keys, given = [], []
        for rung in rungs:
            for candidate in rung.candidates if rung.before else ():
                arrays = [self.correct(c) for c in (candidate, rung.before)]
                if all(a is not None for a in arrays):
                    keys.append((rung.stage.id, candidate.variant))
                    shared = min(map(len, arrays))  # a stage may have more seeds than the one before it
                    given.append([a[:shared] for a in arrays])
        if not given:
            return {}
        return dict(zip(keys, intervals.compare(given, self.test_components(), self.comparisons())))

    def write_results(self):
        """Write results.csv with the rows of every combination of the study.

        Where a ladder is not complete, and later stages cannot be reached, rows of finished runs that stand there stay.
        """
        path, rows, known = self.out / "results.csv", [], []
        with suppress(FileNotFoundError, ValueError, csv.Error):  # what is damaged is written again
            known = read_csv(path)
        for study in self.combinations():
            rungs = study.climb()
            rows += study.rows(rungs)
            if not study.is_complete(rungs):
                own = {
                    key: "" if key == "split" and study.settings.protocol == "view2" else value
                    for key, value in study.settings.combination().items()
                }
                have = {tuple(str(row[name] if row[name] is not None else "") for name in _ROW_KEY) for row in rows}
                rows += [
                    row
                    for row in known
                    if all(row.get(key) == value for key, value in own.items())
                    and tuple(row.get(name) for name in _ROW_KEY) not in have
                    and re.fullmatch("[0-9a-f]{16}", row.get("run") or "")
                    and self.store.is_finished(row["run"])
                ]
        write_csv(path, RESULT_COLUMNS, rows)

    def is_complete(self, rungs):
        """Whether every stage asked for is reached and every run of it is finished."""
        return [rung.stage.id for rung in rungs] == self.stages() and all(rung.complete() for rung in rungs)

    def combinations(self):
        """A Study per combination of ladder, protocol, split and selection that was ever asked for here."""
        record = self._read_record()
        return [
            Study(
                dataclasses.replace(
                    self.settings,
                    out=str(self.out),
                    stages="",
                    **{key: entry[key] for key in ("ladder", "protocol", "split", "select", "seeds")},
                )
            )
            for entry in record["combinations"]
        ]

    def prune(self):
        """Delete the weights that `--keep` does not want, at the end; those of runs without test scores stay.

        Which are the best is not settled, and nothing is deleted, while a ladder is not complete.
        """
        keep, wanted = self.settings.keep, set()
        if keep == "all":
            return
        for study in self.combinations() if keep == "best" else ():
            rungs = study.climb()
            if not study.is_complete(rungs):
                return
            wanted |= {row["run"] for row in best.best_rows(study.rows(rungs))}
        for run in self.store.ids():
            if self.store.is_finished(run) and run not in wanted and self.store.is_finished(run, with_test=True):
                self.store.drop_weights(run)

    # -- how -----------------------------------------------------------------------------------------------------

    def _candidate(self, stage, variant, config):
        specs = []
        for fold in self.folds():
            folded = config.change({"data.fold": fold})
            scaled = scale(folded, self.settings.profile, self.settings.ladder)
            digest = self.data(scaled.data)[2]
            for seed in range(self.seeds_of(stage)):
                specs.append(
                    Spec(stage.id, variant.id, seed, fold, scaled, scaled.identify(seed, self.precision, digest))
                )
        return Candidate(stage.id, variant.id, config, tuple(specs))

    def _score(self, candidate):
        """(mean validation accuracy at the best epoch, minus mean validation cross-entropy), None where unfinished."""
        if not all(self.store.is_finished(spec.run) for spec in candidate.specs):
            return None
        results = [self.store.result(spec.run) for spec in candidate.specs]
        # A run that diverged is recorded and never chosen.
        if any(r["status"] == "diverged" or r["best_epoch"] is None for r in results):
            return (float("-inf"), float("-inf"))
        return best.score(results)

    def _choose(self, stage, candidates, incumbent):
        """The candidate that later stages start from: the incumbent competes, order breaks ties."""
        if self.settings.select == "report":
            chosen = next((c for c in candidates if c.variant == stage.report_choice), None)
            usable = chosen is not None and chosen.score is not None and np.isfinite(chosen.score[0])
            return chosen if usable else incumbent
        field_ = ([incumbent] if incumbent else []) + [c for c in candidates if c.score is not None]
        if incumbent is not None and not stage.carry:
            return incumbent
        usable = [c for c in field_ if c.score and np.isfinite(c.score[0])]
        if not usable:
            return incumbent
        return max(usable, key=lambda c: c.score)  # max keeps the first of equals

    def _possible(self, stage, starts, candidates):
        """What stages after an unfinished one may start from, each configuration once."""
        if self.settings.select == "report":
            chosen = [c for c in candidates if c.variant == stage.report_choice] or starts
        else:
            chosen = [s for s in starts if s] + (candidates if stage.carry else [])
        return list({c.config: c for c in chosen}.values())

    def _task(self, spec):
        """What a run still needs: "train", "score-test" or None. A finished run is never trained again."""
        if not self.store.is_finished(spec.run):
            return "train"
        if (
            self.settings.test
            and not self.store.is_finished(spec.run, with_test=True)
            and self.store.can_score(spec.run)
        ):
            return "score-test"
        return None

    def _job(self, spec, task):
        return {
            "task": task,
            "run": spec.run,
            "config": spec.config.to_dict(),
            "seed": spec.seed,
            "precision": self.precision,
            "data_dir": self.settings.data_dir,
            "data_digest": self.data(spec.config.data)[2],
            "folder": str(self.store.folder(spec.run)),
            "score_test": self.settings.test,
            "keep_weights": self.settings.keep != "none" or not self.settings.test,
            "title": f"{spec.stage}/{spec.variant}, seed {spec.seed}" + (f", fold {spec.fold}" if spec.fold else ""),
            "epochs": spec.config.training.epochs,
            "threads": PROFILES[self.settings.profile].threads,
        }

    def _row(self, rung, candidate, spec):
        result = self.store.result(spec.run)
        own = {
            "stage": spec.stage,
            "variant": spec.variant,
            "seed": spec.seed,
            "fold": spec.fold,
            "run": spec.run,
            "profile": self.settings.profile,
            "dataset": self.settings.dataset,
            "carried_forward": rung.carries(candidate.variant),
            **self.settings.combination(),
            "precision": self.precision,
        }
        if self.settings.protocol == "view2":
            own["split"] = None
        return {column: own.get(column, result.get(column)) for column in RESULT_COLUMNS}

    def _combination_record(self):
        wanted = self.settings.combination()
        for entry in self.record["combinations"]:
            if all(entry[key] == value for key, value in wanted.items()):
                return entry
        return {**wanted, "seeds": self.settings.seeds, "stages": []}

    def _read_record(self):
        """study.json's content, or what it would be; checked against the settings."""
        path, s = self.out / "study.json", self.settings
        try:
            record = read_json(path)
            for entry in record["combinations"]:
                Settings(
                    **{key: entry[key] for key in ("ladder", "protocol", "split", "select", "seeds")},
                    stages=",".join(entry["stages"]),
                )
            choose_one("precision", record["precision"], PRECISIONS)
            choose_one("data set", record["dataset"], DATASETS), choose_one("profile", record["profile"], PROFILES)
        except FileNotFoundError:
            return {
                "dataset": s.dataset,
                "profile": s.profile,
                "precision": resolve_precision(s.precision),
                "combinations": [],
            }
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}: not a readable study ({error}); move it away to start anew, the finished "
                "runs beside it stay usable"
            ) from error
        for name in ("dataset", "profile"):
            if record[name] != getattr(s, name):
                raise ConfigError(
                    f"{self.out} holds a study with {name} {record[name]}; {getattr(s, name)} needs another --out"
                )
        if s.precision not in ("auto", record["precision"]):
            raise ConfigError(f"{self.out} holds a study in {record['precision']}; {s.precision} needs another --out")
        return record


# What tells the rows of one combination apart.
_ROW_KEY = ("ladder", "protocol", "split", "select", "stage", "variant", "seed", "fold")


def open_study(out):
    """The studies (one per combination) of a folder that holds one. Raises StudyError where it holds none."""
    out = Path(out).expanduser().absolute()
    if not (out / "study.json").is_file():
        raise StudyError(f"{out}: no study here (study.json is missing); run `lfwstudy run --out {out}` first")
    try:
        record = read_json(out / "study.json")
        entry = record["combinations"][0]
        hint = out / DATA_DIR_HINT
        data_dir = hint.read_text(encoding="utf-8") if hint.is_file() else ""
        settings = Settings(
            dataset=record["dataset"],
            profile=record["profile"],
            out=str(out),
            data_dir=data_dir if os.path.exists(data_dir) else "",
            **{key: entry[key] for key in ("ladder", "protocol", "split", "select", "seeds")},
        )
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise StudyError(f"{out / 'study.json'}: not a readable study ({error})") from error
    return Study(settings).combinations()


def default_root():
    """The checkout (the nearest folder upwards whose pyproject.toml names this project), else the current folder."""
    here = Path.cwd()
    return next(
        (folder for folder in (here, *here.parents) if _project_name(folder / "pyproject.toml") == "lfwstudy"), here
    )


def _project_name(path):
    """The name in a pyproject.toml; None where there is none to read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


@lru_cache(maxsize=64)
def _test_scores(root, runs, calibrate):
    """Scores of the test pairs by column, float (seeds, pairs), and their labels (pairs,).

    runs: tuple of (seed, run), finished with test scores: what they are does not change any more. calibrate: whether the
    scores are calibrated on validation first.
    """
    by_seed = {}
    for seed, run in runs:
        by_seed.setdefault(seed, []).append(
            Store(root).calibrated_scores(run) if calibrate else Store(root).scores(run)
        )
    joined = {
        column: np.stack([np.concatenate([scored[column] for scored in by_seed[seed]]) for seed in sorted(by_seed)])
        for column in ("score", "score_at_best", "label")
    }
    return joined, joined["label"][0]


@lru_cache(maxsize=4)
def _duplicates(config, data_dir):
    return tuple(duplicates.near_duplicates(prepare_bank(config, data_dir)))


@lru_cache(maxsize=64)
def _load_data(config, data_dir):
    bank = prepare_bank(config, data_dir)
    files = ("pairsDevTrain.txt", "pairsDevTest.txt") if config.protocol == "view1" else ("pairs.txt",) * 2
    pairs = load_pairs(config, data_dir)
    for file, parts in zip(files, ((pairs.train, pairs.validation), (pairs.test,))):
        for part in parts:
            check_images(bank, pair_file(file, config.dataset, data_dir), part)
    return bank, pairs, pairs.digest(bank)
