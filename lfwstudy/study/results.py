"""What came out of a study? The one reader of its folder: no image and no data set need be at hand."""

from __future__ import annotations

import csv
import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lfwstudy.config import PRECISIONS, RunConfig
from lfwstudy.data.pairs import Pairs
from lfwstudy.data.registry import DATASETS
from lfwstudy.data.splits import component_labels
from lfwstudy.errors import ConfigError, StudyError, choose_one, one_line
from lfwstudy.evaluation import intervals
from lfwstudy.ladder import LADDERS, PROFILES, base_config, get_ladder, get_stage, scale, seeds_of
from lfwstudy.ladder.stage import Published, Stage
from lfwstudy.runs.store import Store
from lfwstudy.study import best
from lfwstudy.study.rungs import Candidate, Place, Rung, Spec, choose
from lfwstudy.study.settings import COMBINATION, RESULT_COLUMNS, Settings
from lfwstudy.system.files import read_csv, read_json
from lfwstudy.system.precision import resolve_precision

if TYPE_CHECKING:
    import pandas as pd

# Where the images were when the study last ran; of one machine, so that it does not travel in study.json.
DATA_DIR_HINT = ".data-dir"
_INTEGERS = ("seed", "fold", "parameters", "epochs_run", "epochs_max", "evaluated_epoch", "best_epoch")
_TEXTS = (*COMBINATION, "stage", "variant", "profile", "dataset", "precision", "backend", "device", "run")
_KINDS = dict.fromkeys(RESULT_COLUMNS, "float64") | dict.fromkeys(_INTEGERS, "Int64") | dict.fromkeys(_TEXTS, "object")


class Results:
    """One ladder of a study, finished or not, as its folder has it.

    study.json says what was asked for and which run stands where, runs/ holds the runs. A folder may hold several ladders:
    combinations of ladder, protocol, split and selection. Nothing is written here, and no image is read.

    Parameters
    ----------
    settings : Settings
        Name the folder and the combination; `Results.open` reads them from the folder.

    Raises
    ------
    ConfigError
        Where the folder belongs to another data set, profile or precision, or study.json is damaged.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.out = settings.folder()
        self.store = Store(self.out / "runs")
        self.record = self._read_record()
        self.precision: str = self.record["precision"]

    @classmethod
    def open(cls, folder: str | Path, combination: Mapping[str, str] | None = None) -> Self:
        """The results in a study's folder.

        Parameters
        ----------
        combination : mapping, optional
            Which ladder where there are several: values of `ladder`, `protocol`, `split`, `select`, or some of them. The
            first that has them is opened.

        Raises
        ------
        StudyError
            Where the folder holds no study, a damaged one, or no such combination.
        """
        out = Path(folder).expanduser().absolute()
        path, wanted = out / "study.json", combination or {}
        if not path.is_file():
            raise StudyError(f"{out}: no study here (study.json is missing); run `lfwstudy run --out {out}` first")
        try:
            record = read_json(path)
            entries = [e for e in record["combinations"] if all(e[key] == value for key, value in wanted.items())]
            if record["combinations"] and not entries:
                raise StudyError(f"{path}: no ladder with {', '.join(f'{k} {v}' for k, v in wanted.items())}")
            hint = out / DATA_DIR_HINT
            data_dir = hint.read_text(encoding="utf-8") if hint.is_file() else ""
            settings = Settings(
                dataset=record["dataset"],
                profile=record["profile"],
                out=str(out),
                data_dir=data_dir if os.path.exists(data_dir) else "",
                seeds=entries[0]["seeds"],
                **{key: entries[0][key] for key in COMBINATION},
            )
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise StudyError(f"{path}: not a readable study ({error})") from error
        return cls(settings)

    def combinations(self) -> list[Self]:
        """The results of each ladder that was ever asked for in this folder."""
        return [
            type(self)(
                dataclasses.replace(
                    self.settings,
                    out=str(self.out),
                    stages="",
                    seeds=entry["seeds"],
                    **{key: entry[key] for key in COMBINATION},
                )
            )
            for entry in self._read_record()["combinations"]
        ]

    # -- the ladder ----------------------------------------------------------------------------------------------

    def stages(self) -> list[str]:
        """Ids of the stages asked for so far, in order."""
        return self._entry()["stages"]

    def seeds(self) -> int:
        """Number of seeds: the largest asked for so far."""
        return max(self._entry()["seeds"], self.settings.seeds)

    def seeds_of(self, stage: Stage) -> int:
        """Number of seeds of a stage: the study's, or more where the stage asks for them."""
        return seeds_of(stage, self.settings.profile, self.seeds(), self.settings.protocol)

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
        return self.base().change(get_ladder(self.settings.ladder)[0].variants[0].changes)

    def published(self, rung: Rung, candidate: Candidate) -> Published | None:
        """What the report prints on a candidate; None where it prints nothing, or describes another configuration there than
        this study's, which another choice carried forward."""
        path = LADDERS[self.settings.ladder].path(self.base())
        same = path.get((candidate.stage, candidate.variant)) == candidate.config
        return next(v.published for v in rung.stage.variants if v.id == candidate.variant) if same else None

    def climb(self, upto: str | None = None) -> list[Rung]:
        """The rungs of the ladder in order, up to and including the stage `upto`; unfinished stages as they stand."""
        rungs: list[Rung] = []
        incumbent: Candidate | None = None
        for name in self.stages():
            stage = get_stage(self.settings.ladder, name)
            start = incumbent.config if incumbent else self.base()
            candidates = tuple(self.candidate(stage, v.id, start.change(v.changes)) for v in stage.variants)
            after = choose(stage, candidates, incumbent, self.settings.select)
            rungs.append(Rung(stage, incumbent, candidates, after))
            incumbent = after
            # An unfinished stage hands its incumbent on, so that it hides nothing of what comes after it.
            if name == upto or after is None:
                break
        return rungs

    def candidate(self, stage: Stage, variant: str, config: RunConfig) -> Candidate:
        """A variant with its runs, scored where all are finished. config: unscaled."""
        specs = []
        for fold in self.folds():
            scaled = scale(config.change({"data.fold": fold}), self.settings.profile, self.settings.ladder)
            for seed in range(self.seeds_of(stage)):
                run = self.run_id(Place(stage.id, variant, seed, fold), scaled)
                specs.append(Spec(stage.id, variant, seed, fold, scaled, run))
        return Candidate(stage.id, variant, config, tuple(specs), self._score(specs))

    def run_id(self, place: Place, config: RunConfig) -> str:
        """Id of the run at a place, as recorded; empty where none is. config: its configuration, which is not asked here."""
        return self.recorded.get(place, "")

    @cached_property
    def recorded(self) -> dict[Place, str]:
        """The run at each place of the ladder, as study.json has it; results.csv, where an earlier version wrote the folder."""
        runs = self._entry().get("runs")
        if runs is not None:
            return {Place(r["stage"], r["variant"], r["seed"], r["fold"]): r["run"] for r in runs}
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError, csv.Error):
            return runs_of(self.filed_rows())
        return {}

    def is_complete(self, rungs: Sequence[Rung]) -> bool:
        """Whether every stage asked for is reached and every run of it is finished."""
        return [rung.stage.id for rung in rungs] == self.stages() and all(rung.complete() for rung in rungs)

    # -- what was measured ---------------------------------------------------------------------------------------

    def rows(self, rungs: Iterable[Rung] | None = None) -> list[dict[str, Any]]:
        """Rows of results.csv of this ladder: dicts with RESULT_COLUMNS, finished runs only."""
        return [
            self._row(rung, spec)
            for rung in (self.climb() if rungs is None else rungs)
            for spec in rung.specs()
            if self.store.is_finished(spec.run)
        ]

    def all_rows(self) -> list[dict[str, Any]]:
        """Rows of results.csv of every ladder in the folder.

        Where a ladder is not complete, and later stages cannot be reached, rows of finished runs that stand in the file stay.
        """
        rows: list[dict[str, Any]] = []
        for ladder in self.combinations():
            rungs = ladder.climb()
            rows += ladder.rows(rungs)
            if not ladder.is_complete(rungs):
                have = {_key(row) for row in rows}
                with suppress(FileNotFoundError, ValueError, KeyError, csv.Error):  # what is damaged is written again
                    rows += [
                        row
                        for row in ladder.filed_rows()
                        if _key(row) not in have
                        and re.fullmatch("[0-9a-f]{16}", row["run"])
                        and self.store.is_finished(row["run"])
                    ]
        return rows

    def filed_rows(self) -> list[dict[str, str]]:
        """Rows of this ladder as results.csv has them, all fields texts. Raises what `read_csv` does, and KeyError."""
        wanted = self.settings.combination()
        if self.settings.protocol == "view2":  # there is no split to tell ladders apart by
            wanted["split"] = ""
        return [row for row in read_csv(self.out / "results.csv") if all(row[k] == v for k, v in wanted.items())]

    def frame(self) -> pd.DataFrame:
        """`rows` as a tidy table: a row for each run at its place, the columns of results.csv with numbers as numbers."""
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=RESULT_COLUMNS).astype({**_KINDS, "carried_forward": "bool"})

    def histories(self) -> pd.DataFrame:
        """Histories of the runs, finished or not: a row for each epoch, with stage, variant, seed, fold and run before them."""
        return self._tables(self.store.history)

    def predictions(self, part: str = "test") -> pd.DataFrame:
        """Scored pairs of the finished runs, those of a set (train, val or test), with the same columns before them."""
        return self._tables(lambda run: self.store.predictions(run, part) if self.store.is_finished(run) else [])

    def best(self, rungs: Sequence[Rung] | None = None) -> Candidate | None:
        """The best candidate of this ladder, by validation alone (`best.best_rows`); None where nothing is finished."""
        rungs = self.climb() if rungs is None else rungs
        found = {(row["stage"], row["variant"]) for row in best.best_rows(self.rows(rungs))}
        return next((c for rung in rungs for c in rung.candidates if (c.stage, c.variant) in found), None)

    def best_run(self, need_weights: bool = False) -> Mapping[str, Any] | None:
        """The row of the best run of all ladders in the folder (`best.best_run`).

        need_weights: only of those whose network is kept. None where no such run is finished.
        """
        return best.best_run(self.all_rows(), self.store, need_weights)

    def correct(self, candidate: Candidate, column: str = "score_at_best") -> np.ndarray | None:
        """Correct answers on the test pairs: bool array (seeds, pairs), the folds of View 2 side by side.

        In a ladder with `calibrated`, at the threshold that validation calibrates. None where a run is not finished, its test
        pairs are not scored, or it diverged.
        """
        scored = self.test_scores(candidate, column)
        return None if scored is None else (scored[0] > 0.5) == (scored[1] > 0.5)

    def test_scores(self, candidate: Candidate, column: str = "score_at_best") -> tuple[np.ndarray, np.ndarray] | None:
        """Scores of the test pairs (seeds, pairs) and their labels (pairs,), as `correct` has them; None likewise."""
        if not all(self.store.is_finished(spec.run, with_test=True) for spec in candidate.specs):
            return None
        calibrate = LADDERS[self.settings.ladder].calibrated and candidate.config.model.head != "cosine"
        runs = tuple((spec.seed, spec.run) for spec in candidate.specs)
        scores, labels = _test_scores(str(self.store.root), runs, calibrate)
        return None if not np.isfinite(scores[column]).all() else (scores[column], labels)

    def validation_correct(self, candidate: Candidate, column: str = "score_at_best") -> tuple[np.ndarray, np.ndarray]:
        """Correct answers on the validation pairs of View 1, bool (seeds, pairs), and their connected components."""
        scored = [self.store.scores(spec.run, "val") for spec in candidate.specs]
        correct = np.stack([(s[column] > 0.5) == (s["label"] > 0.5) for s in scored])
        return correct, _components(self.store.predictions(candidate.specs[0].run, "val"))

    def test_components(self) -> np.ndarray:
        """Connected component of each test pair, in the order of `correct`. Raises StudyError where none is scored."""
        return self._test_components

    def comparisons(self) -> int:
        """How many variants the ladder compares with an incumbent: what a correction for their number counts."""
        return sum(len(get_stage(self.settings.ladder, name).variants) for name in self.stages()[1:]) or 1

    def differences(self, rungs: Iterable[Rung]) -> dict[tuple[str, str], intervals.Difference]:
        """Finished variants against their incumbents, by (stage, variant)."""
        keys, given = [], []
        for rung in rungs:
            before = self.correct(rung.before) if rung.before else None
            for candidate in rung.candidates:
                own = self.correct(candidate)
                if own is not None and before is not None:
                    shared = min(len(own), len(before))  # a stage may have more seeds than the one before it
                    keys.append((rung.stage.id, candidate.variant))
                    given.append((own[:shared], before[:shared]))
        if not given:
            return {}
        return dict(zip(keys, intervals.compare(given, self.test_components(), self.comparisons())))

    # -- what is missing -----------------------------------------------------------------------------------------

    def why_incomplete(self, rung: Rung) -> str:
        """In words: which runs a stage that is not complete lacks, and why. Names no folder: reports travel."""
        if not rung.candidates:
            return "; ".join(rung.failures.values())
        told = []
        for candidate in rung.candidates:
            missing: dict[str, list[Spec]] = {}
            for spec in candidate.specs:
                if not self.store.is_finished(spec.run):
                    missing.setdefault(self.why_unfinished(spec, rung.failures), []).append(spec)
            for reason, specs in missing.items():
                each = [f"seed {spec.seed}" + (f" in fold {spec.fold}" if spec.fold else "") for spec in specs]
                seeds = "" if len(specs) == len(candidate.specs) else f", {' and '.join(each)}"
                told.append(f"{candidate.variant}{seeds}: {reason}")
        return "; ".join(told or rung.failures.values()) or "every run diverged"

    def why_unfinished(self, spec: Spec, failures: Mapping[str, str] | None = None) -> str:
        """In words: why a run is not finished, from its folder; from `failures`, {run: message}, where that says nothing."""
        failures = failures or {}
        if not spec.run:
            return "never started"
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

    # -- how -----------------------------------------------------------------------------------------------------

    def _score(self, specs: Sequence[Spec]) -> tuple[float, float] | None:
        """`best.score`, None where a run is not finished."""
        if not all(self.store.is_finished(spec.run) for spec in specs):
            return None
        results = [self.store.result(spec.run) for spec in specs]
        # A run that diverged is recorded and never chosen.
        if any(r["status"] == "diverged" or r["best_epoch"] is None for r in results):
            return float("-inf"), float("-inf")
        return best.score(results)

    def _row(self, rung: Rung, spec: Spec) -> dict[str, Any]:
        own = {
            **spec.place._asdict(),
            **self.settings.combination(),
            "run": spec.run,
            "profile": self.settings.profile,
            "dataset": self.settings.dataset,
            "precision": self.precision,
            "carried_forward": rung.carries(spec.variant),
        }
        if self.settings.protocol == "view2":
            own["split"] = None
        result = self.store.result(spec.run)
        return {column: own.get(column, result.get(column)) for column in RESULT_COLUMNS}

    def _tables(self, read: Any) -> pd.DataFrame:
        """What `read` returns for each run, one below the other, with the run's place before it."""
        import pandas as pd

        tables = [
            pd.DataFrame(read(spec.run)).assign(**spec.place._asdict(), run=spec.run)
            for rung in self.climb()
            for spec in rung.specs()
            if spec.run
        ]
        table = pd.concat([t for t in tables if len(t)]) if any(map(len, tables)) else pd.DataFrame()
        first = [name for name in (*Place._fields, "run") if name in table]
        return table[[*first, *table.columns.drop(first)]].reset_index(drop=True)

    @cached_property
    def _test_components(self) -> np.ndarray:
        scored: dict[int | None, str] = {}
        for spec in (spec for rung in self.climb() for spec in rung.specs()):
            if spec.fold not in scored and self.store.is_finished(spec.run, with_test=True):
                scored[spec.fold] = spec.run
        if set(scored) != set(self.folds()):
            raise StudyError(f"{self.out}: no finished run has scored the test pairs")
        labels: list[np.ndarray] = []
        for fold in self.folds():
            offset = labels[-1].max() + 1 if labels else 0
            labels.append(_components(self.store.predictions(scored[fold])) + offset)
        return np.concatenate(labels)

    def _entry(self) -> dict[str, Any]:
        """What study.json has on this combination, or what it would have."""
        wanted = self.settings.combination()
        for entry in self.record["combinations"]:
            if all(entry[key] == value for key, value in wanted.items()):
                return entry
        return {**wanted, "seeds": self.settings.seeds, "stages": [], "runs": []}

    def _read_record(self) -> dict[str, Any]:
        """study.json's content, or what it would be; checked against the settings."""
        path, s = self.out / "study.json", self.settings
        try:
            record = read_json(path)
            for entry in record["combinations"]:
                stages = ",".join(entry["stages"])
                Settings(**{key: entry[key] for key in COMBINATION}, seeds=entry["seeds"], stages=stages)
            choose_one("precision", record["precision"], PRECISIONS)
            choose_one("data set", record["dataset"], DATASETS)
            choose_one("profile", record["profile"], PROFILES)
        except FileNotFoundError:
            precision = resolve_precision(s.precision)
            return {"dataset": s.dataset, "profile": s.profile, "precision": precision, "combinations": []}
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}: not a readable study ({error}); move it away to start again, the finished runs next to it stay usable"
            ) from error
        for name in ("dataset", "profile"):
            if record[name] != getattr(s, name):
                raise ConfigError(
                    f"{self.out} holds a study with {name} {record[name]}; {getattr(s, name)} needs another --out"
                )
        if s.precision not in ("auto", record["precision"]):
            raise ConfigError(f"{self.out} holds a study in {record['precision']}; {s.precision} needs another --out")
        return record


def runs_of(rows: Iterable[Mapping[str, str]]) -> dict[Place, str]:
    """The run at each place, from rows of one ladder in results.csv."""
    return {
        Place(row["stage"], row["variant"], int(row["seed"]), int(row["fold"]) if row["fold"] else None): row["run"]
        for row in rows
    }


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells a row from the others, the same for a row from the file and for one that is to be written."""
    return tuple("" if row[name] is None else str(row[name]) for name in (*COMBINATION, *Place._fields))


def _components(scored: Mapping[str, np.ndarray]) -> np.ndarray:
    """Connected component of each scored pair in the graph of people: int (pairs,)."""
    nothing = np.zeros(len(scored["left"]), int)
    return component_labels(Pairs(scored["left"], scored["right"], nothing, nothing, nothing))


@lru_cache(maxsize=64)
def _test_scores(
    root: str, runs: tuple[tuple[int, str], ...], calibrate: bool
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Scores of the test pairs by column, float (seeds, pairs), and their labels (pairs,).

    runs: (seed, run), finished with test scores: what they are does not change any more. calibrate: whether the scores are
    calibrated on validation first.
    """
    store = Store(root)
    by_seed: dict[int, list[dict[str, np.ndarray]]] = {}
    for seed, run in runs:
        by_seed.setdefault(seed, []).append(store.calibrated_scores(run) if calibrate else store.scores(run))
    joined = {
        column: np.stack([np.concatenate([scored[column] for scored in by_seed[seed]]) for seed in sorted(by_seed)])
        for column in ("score", "score_at_best", "label")
    }
    return joined, joined["label"][0]
