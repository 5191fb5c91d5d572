"""Compare two runs or two studies on the same test pairs: a table, a sentence, and a page with the curves."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from lfwstudy.config import RunConfig
from lfwstudy.data.registry import DATASETS
from lfwstudy.errors import StudyError
from lfwstudy.evaluation import intervals
from lfwstudy.ladder.claims import FEWEST_SEEDS
from lfwstudy.report import figures
from lfwstudy.report.measured import mean_auc
from lfwstudy.report.pages import Page, section, write_page
from lfwstudy.report.table import Interval, Table
from lfwstudy.report.wording import counted, plain, setting
from lfwstudy.runs.damage import problem_of
from lfwstudy.runs.store import Store
from lfwstudy.study import scores
from lfwstudy.study.results import Results
from lfwstudy.study.rungs import Spec
from lfwstudy.study.settings import COMBINATION
from lfwstudy.system.files import given_path
from lfwstudy.system.text import p_value, signed_points


@dataclass(frozen=True)
class Side:
    """One of the two: the runs of a configuration.

    images: what they are, in words. calibrated: whether scores are calibrated on validation, as in its ladder.
    """

    title: str
    images: str
    folder: Path
    store: Store
    specs: tuple[Spec, ...]
    calibrated: bool = False

    @cached_property
    def config(self) -> RunConfig:
        """The configuration, as recorded with the first run."""
        return RunConfig.from_dict(self.store.record(self.specs[0].run)[0]["config"])

    @cached_property
    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the test pairs at the best epochs (seeds, pairs), and labels (pairs,).

        Raises StudyError where a run has not scored them or diverged.
        """
        found = scores.test_scores(self.store, self.specs, "score_at_best", self.calibrated)
        if found is None:
            raise StudyError(f"{self.folder}: the test pairs are not scored, or a run diverged: nothing to compare")
        return found

    @cached_property
    def correct(self) -> np.ndarray:
        """Correct answers on the test pairs: bool (seeds, pairs)."""
        scores, labels = self.scores
        return (scores > 0.5) == (labels > 0.5)

    @property
    def seeds(self) -> list[int]:
        """The seeds, in the order of `scores`."""
        return sorted({spec.seed for spec in self.specs})

    @cached_property
    def pairs(self) -> list[dict[str, np.ndarray]]:
        """The test pairs of each fold, as from `Store.predictions`."""
        return [self.store.predictions(spec.run) for spec in self.specs if spec.seed == self.seeds[0]]


@dataclass(frozen=True)
class Comparison:
    """Two sides on the same test pairs. difference: accuracy of the first minus that of the second, seed by seed."""

    sides: tuple[Side, Side]
    components: np.ndarray
    difference: intervals.Difference

    def table(self) -> Table:
        """Accuracy and AUC of each side on the test pairs."""
        rows = [
            {
                "": name,
                "configuration": side.title,
                "images": side.images,
                "seeds": len(side.correct),
                "accuracy [95 %]": Interval(
                    float(side.correct.mean()), *intervals.mean_interval(side.correct, self.components)
                ),
                "AUC": mean_auc(side.scores),
            }
            for name, side in zip("AB", self.sides)
        ]
        caption = (
            f"On the same {self.components.size:,} test pairs, with the weights of the epoch of the best validation accuracy. "
            "Accuracy in percent; interval: bootstrap over seeds and over connected components of people."
        )
        return Table(rows=rows, caption=caption)

    def sentence(self) -> str:
        """The paired difference, its interval and what it means."""
        d = self.difference
        low, high = signed_points(d.low), signed_points(d.high)
        told = f"A minus B: {signed_points(d.difference)} points [{low}, {high}], p {p_value(d.p)}"
        told += ", inside the noise." if d.word == "inside the noise" else f": A is {d.word} than B."
        if any(len(side.correct) > d.seeds for side in self.sides):
            told += f" Only the first {f'{d.seeds} seeds' if d.seeds > 1 else 'seed'} of each is compared."
        if d.seeds < FEWEST_SEEDS:
            told += f" With {counted(d.seeds, 'seed')} this is about these networks, not about the ways of training."
        return told

    def gained_and_lost(self) -> Table:
        """Pairs that only one side classifies correctly, for each seed, with McNemar's exact test."""
        rows = []
        for a, b, *seeds in zip(*(side.correct for side in self.sides), *(side.seeds for side in self.sides)):
            gained, lost, p = intervals.mcnemar_exact(a, b)
            seed = " and ".join(dict.fromkeys(map(str, seeds)))
            rows.append({"seed": seed, "only A correct": gained, "only B correct": lost, "p": p})
        caption = "Pairs that only one side classifies correctly. McNemar's exact test treats pairs as independent."
        return Table(rows=rows, caption=caption)

    def settings(self) -> Table:
        """The settings in which the two configurations differ."""
        found = self.sides[0].config.differences(self.sides[1].config)
        rows = [{"setting": setting(key), "A": plain(a), "B": plain(b)} for key, b, a in found]
        return Table(rows=rows, empty="The two have the same settings.")

    def write(self, target: str | Path) -> Path:
        """Write the comparison as one self-contained HTML page; returns its path."""
        source = f"{' and '.join(dict.fromkeys(s.images for s in self.sides))}, {self.components.size:,} test pairs"
        histories = [
            pd.DataFrame(side.store.history(spec.run)).assign(run=spec.run, title=f"{name}: {side.title}")
            for name, side in zip("AB", self.sides)
            for spec in side.specs
        ]
        curves = figures.overlaid_curves(pd.concat(histories), source)
        caption = "Training dashed, validation solid; the dots mark the epochs of the best validation accuracy."
        parts = [
            f"<h1>A against B</h1><p>{self.sentence()}</p>{self.table().to_html()}",
            f"<h2>Learning curves</h2>{figures.captioned(curves, caption).data}",
            f"<h2>Pair by pair</h2>{self.gained_and_lost().to_html()}",
            f"<h2>Settings that differ</h2>{self.settings().to_html()}",
        ]
        page = section(Page("comparison", "comparison", "A against B"), "".join(parts))
        is_demo = any(side.config.data.dataset == "demo" for side in self.sides)
        return write_page(Path(target), " against ".join(s.title for s in self.sides), [page], source, is_demo)


def compare(first: str | Path, second: str | Path) -> Comparison:
    """Compare two runs or studies on the same test pairs, the scores at their best epochs.

    Parameters
    ----------
    first, second : str or Path
        A run's folder (runs/<id>), or a study's, for all seeds of its best configuration.

    Raises
    ------
    StudyError
        If one is neither, has not scored the test pairs, or has scored other pairs than the other.
    """
    sides = a, b = open_side(first), open_side(second)
    seeds = min(len(a.correct), len(b.correct))
    if len(a.pairs) != len(b.pairs) or not all(
        np.array_equal(one[name], other[name])
        for one, other in zip(a.pairs, b.pairs)
        for name in ("left", "right", "label")
    ):
        counts = " and ".join(f"{side.correct.shape[1]:,} of {side.folder}" for side in sides)
        raise StudyError(f"not the same test pairs: {counts}; both need one data set's pairs and one protocol")
    components = scores.components(a.pairs)
    difference = intervals.compare([(a.correct[:seeds], b.correct[:seeds])], components)[0]
    return Comparison(sides, components, difference)


def open_side(path: str | Path) -> Side:
    """The runs of a folder. Raises StudyError if it is neither a study's nor a finished run's."""
    folder = given_path(path)
    if (folder / "study.json").is_file():
        return _best_of(folder)
    store = Store(folder.parent)  # it knows runs that are kept together in a few files, too
    if not store.is_finished(folder.name):
        raise StudyError(f"{folder}: neither a study's folder (with study.json) nor a finished run's (runs/<id>)")
    if problem := problem_of(store, folder.name):
        raise StudyError(f"{folder}: damaged ({problem}); `lfwstudy run` sets such a run aside and trains it again")
    study = folder.parent.parent
    for ladder in Results.open(study).combinations() if (study / "study.json").is_file() else ():
        for candidate in (c for rung in ladder.climb() for c in rung.candidates):
            if own := [spec for spec in candidate.specs if spec.run == folder.name]:
                title = f"{ladder.out.name}: {own[0].place}"
                return Side(title, ladder.title, folder, store, (own[0],), ladder.calibrates(candidate))
    record = store.record(folder.name)[0]
    config = RunConfig.from_dict(record["config"])
    spec = Spec("", "", record["seed"], config.data.fold, config, folder.name)
    return Side(f"run {folder.name}", DATASETS[config.data.dataset].title, folder, store, (spec,))


def _best_of(folder: Path) -> Side:
    """The best configuration of a study across its ladders."""
    row = Results.open(folder).best_run()
    ladder = Results.open(folder, {name: row[name] for name in COMBINATION if row[name]}) if row else None
    best = ladder.best() if ladder else None
    if ladder is None or best is None:
        raise StudyError(f"{folder}: no finished run is carried forward yet; `lfwstudy run --out {folder}` resumes it")
    title = f"{folder.name}: {best.stage}/{best.variant}"
    return Side(title, ladder.title, folder, ladder.store, best.specs, ladder.calibrates(best))
