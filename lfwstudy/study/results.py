"""The results of a study: the one reader of its folder. No images and no data set are needed."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lfwstudy.errors import StudyError, one_line
from lfwstudy.evaluation import intervals
from lfwstudy.runs.failure import Failure
from lfwstudy.study import scores
from lfwstudy.study.climb import Climb
from lfwstudy.study.rungs import Candidate, Place, Rung, Spec
from lfwstudy.study.settings import COMBINATION
from lfwstudy.system.files import is_locked

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "ladder stage variant seed fold profile dataset protocol split select precision backend device parameters "
    "epochs_run epochs_max evaluated_epoch best_epoch train_accuracy train_loss train_cross_entropy val_accuracy "
    "val_loss val_cross_entropy test_accuracy test_loss test_cross_entropy val_accuracy_at_best "
    "test_accuracy_at_best test_auc test_eer test_tpr test_tnr test_ci_low test_ci_high seconds_per_epoch "
    "seconds_total seconds_to_best peak_memory_mb carried_forward run"
)
RESULT_COLUMNS = _COLUMNS.split()
_INTEGERS = ("seed", "fold", "parameters", "epochs_run", "epochs_max", "evaluated_epoch", "best_epoch")
_TEXTS = (*COMBINATION, "stage", "variant", "profile", "dataset", "precision", "backend", "device", "run")
_KINDS = dict.fromkeys(RESULT_COLUMNS, "float64") | dict.fromkeys(_INTEGERS, "Int64") | dict.fromkeys(_TEXTS, "object")


class Results(Climb):
    """The results of one ladder of a study; `Results.open` reads them from its folder.

    Raises what `Climb` does.
    """

    def rows(self, rungs: Iterable[Rung] | None = None) -> list[dict[str, Any]]:
        """Rows of results.csv of this ladder: dicts with RESULT_COLUMNS, only finished runs."""
        return [
            self._row(rung, spec)
            for rung in (self.climb() if rungs is None else rungs)
            for spec in rung.specs()
            if self.store.is_finished(spec.run)
        ]

    def all_rows(self) -> list[dict[str, Any]]:
        """Rows of results.csv of every ladder in the folder.

        While a ladder is incomplete, the rows that the file has of other variants' finished runs stay.
        """
        rows: list[dict[str, Any]] = []
        for ladder in self.combinations():
            rungs = ladder.climb()
            own = ladder.rows(rungs)
            rows += own
            if not ladder.is_complete(rungs):
                # By variant: its earlier runs may be of another configuration.
                have = {(row["stage"], row["variant"]) for row in own}
                with suppress(FileNotFoundError, ValueError, KeyError, csv.Error):  # a damaged file is rewritten
                    rows += [
                        row
                        for row in ladder.filed_rows()
                        if (row["stage"], row["variant"]) not in have
                        and re.fullmatch("[0-9a-f]{16}", row["run"] or "")
                        and self.store.is_finished(row["run"])
                    ]
        return rows

    def frame(self) -> pd.DataFrame:
        """`rows` as a tidy frame: a row for each run at its place, the columns of results.csv, numbers as numbers."""
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=RESULT_COLUMNS).astype({**_KINDS, "carried_forward": "bool"})

    def histories(self, rungs: Iterable[Rung] | None = None) -> pd.DataFrame:
        """Histories of the runs, finished or not: a row for each epoch, with stage, variant, seed, fold and run before them."""
        return self._tables(self.store.history, rungs)

    def predictions(self, part: str = "test") -> pd.DataFrame:
        """Scored pairs of the finished runs in a set (train, val or test), with the same columns before them."""
        return self._tables(lambda run: self.store.predictions(run, part) if self.store.is_finished(run) else [])

    def best(self, rungs: Sequence[Rung] | None = None) -> Candidate | None:
        """The best candidate of this ladder, by validation alone (`scores.best_rows`); None if nothing is finished."""
        rungs = self.climb() if rungs is None else rungs
        found = {(row["stage"], row["variant"]) for row in scores.best_rows(self.rows(rungs))}
        return next((c for rung in rungs for c in rung.candidates if c.key in found), None)

    def best_run(self, need_weights: bool = False) -> Mapping[str, Any] | None:
        """The row of the best run of all ladders in the folder (`scores.best_run`).

        need_weights: only among runs whose network is kept. None if no such run is finished.
        """
        return scores.best_run(self.all_rows(), self.store, need_weights)

    def combination(self) -> dict[str, str | None]:
        """What tells this ladder from others in its folder, as results.csv has it: View 2 has no split."""
        return self.settings.combination() | ({"split": None} if self.settings.protocol == "view2" else {})

    def calibrates(self, candidate: Candidate) -> bool:
        """Whether a candidate's scores are calibrated on validation before they are compared."""
        return self.ladder.calibrated and candidate.config.model.head != "cosine"

    def correct(self, candidate: Candidate, column: str = "score_at_best") -> np.ndarray | None:
        """Correct answers on the test pairs: bool array (seeds, pairs), the folds of View 2 side by side.

        In a ladder with `calibrated`, scores are calibrated on validation first. None if a run is not finished, its test
        pairs are not scored, or it diverged.
        """
        found = self.test_scores(candidate, column)
        return None if found is None else (found[0] > 0.5) == (found[1] > 0.5)

    def test_scores(self, candidate: Candidate, column: str = "score_at_best") -> tuple[np.ndarray, np.ndarray] | None:
        """Scores of the test pairs (seeds, pairs) and their labels (pairs,), as used by `correct`; None likewise."""
        return scores.test_scores(self.store, candidate.specs, column, self.calibrates(candidate))

    def validation_correct(self, candidate: Candidate) -> tuple[np.ndarray, np.ndarray]:
        """Correct answers at the best epochs on the validation pairs of View 1, bool (seeds, pairs), and the components."""
        scored = [self.store.scores(spec.run, "val") for spec in candidate.specs]
        correct = np.stack([(s["score_at_best"] > 0.5) == (s["label"] > 0.5) for s in scored])
        return correct, scores.components([self.store.predictions(candidate.specs[0].run, "val")])

    def test_components(self) -> np.ndarray:
        """Connected component of each test pair, in the order of `correct`. Raises StudyError if none is scored."""
        return self._test_components

    def comparisons(self) -> int:
        """Number of variants that the ladder compares with an incumbent, for the correction of p-values."""
        return sum(len(self.ladder.stage(name).variants) for name in self.stages()[1:]) or 1

    def differences(self, rungs: Iterable[Rung]) -> dict[tuple[str, str], intervals.Difference]:
        """Finished variants against the incumbent of their stage, by (stage, variant)."""
        keys, given = [], []
        for rung in rungs:
            before = self.correct(rung.before) if rung.before else None
            for candidate in rung.candidates:
                own = self.correct(candidate)
                if own is not None and before is not None:
                    shared = min(len(own), len(before))  # a stage may have more seeds than the one before it
                    keys.append(candidate.key)
                    given.append((own[:shared], before[:shared]))
        if not given:
            return {}
        return dict(zip(keys, intervals.compare(given, self.test_components(), self.comparisons())))

    def why_incomplete(self, rung: Rung) -> str:
        """In words: the missing runs of an incomplete stage, and why. Names no folder: reports are passed on."""
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
        """In words: why a run is not finished, from its folder or else from `failures`, {run: message}."""
        failures = failures or {}
        if not spec.run:
            return "never started"
        folder = self.store.folder(spec.run)
        if is_locked(folder / ".lock"):
            reason = "another process is training it"
        elif failure := Failure.read(folder):
            reason = failure.message
        elif spec.run in failures:
            reason = one_line(failures[spec.run])
        elif epochs := len(self.store.history(spec.run)):
            reason = f"interrupted after epoch {epochs} of at most {spec.config.training.epochs}; the same command resumes it"
        elif (folder / "job.json").is_file():
            reason = "interrupted before its first epoch ended; the same command starts it again"
        elif aside := sorted(path.name for path in self.store.root.glob(f"{spec.run}.damaged-*")):
            reason = f"it was damaged and set aside as {aside[-1]}; the same command trains it again"
        else:
            reason = "never started"
        return reason.replace(str(self.out), self.out.name)[:300]

    def _row(self, rung: Rung, spec: Spec) -> dict[str, Any]:
        own = {
            **spec.place._asdict(),
            **self.combination(),
            "run": spec.run,
            "profile": self.settings.profile,
            "dataset": self.settings.dataset,
            "precision": self.precision,
            "carried_forward": rung.carries(spec.variant),
        }
        result = self.store.result(spec.run)
        return {column: own.get(column, result.get(column)) for column in RESULT_COLUMNS}

    def _tables(self, read: Callable[[str], Any], rungs: Iterable[Rung] | None = None) -> pd.DataFrame:
        """The tables that `read` returns for each run, concatenated, with the run's place in front."""
        import pandas as pd

        runs = [spec for spec in self.specs(rungs) if spec.run]
        tables = [pd.DataFrame(read(spec.run)).assign(**spec.place._asdict(), run=spec.run) for spec in runs]
        table = pd.concat([t for t in tables if len(t)] or [pd.DataFrame()])
        first = [name for name in (*Place._fields, "run") if name in table]
        return table[[*first, *table.columns.drop(first)]].reset_index(drop=True)

    @cached_property
    def _test_components(self) -> np.ndarray:
        runs: dict[int | None, str] = {}
        for spec in self.specs():
            if spec.fold not in runs and self.store.is_finished(spec.run, with_test=True):
                runs[spec.fold] = spec.run
        if set(runs) != set(self.folds()):
            raise StudyError(f"{self.out}: no finished run has scored the test pairs")
        return scores.components(self.store.predictions(runs[fold]) for fold in self.folds())
