"""The explorers' view of a study: its finished runs, their scored pairs, and the images."""

from collections.abc import Sequence
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd

from lfwstudy.data.bank import ImageBank
from lfwstudy.data.pairs import person_of
from lfwstudy.errors import RunError
from lfwstudy.report.figures import image_uri
from lfwstudy.report.wording import command
from lfwstudy.study.results import Results
from lfwstudy.study.scores import best_run
from lfwstudy.study.study import Study
from lfwstudy.verify import THRESHOLD
from lfwstudy.verify.kept import load_run, run_config
from lfwstudy.widgets.controls import card
from lfwstudy.widgets.explorer import require

SETS = (("test", "test"), ("validation", "val"), ("training", "train"))


class FinishedRuns:
    """A study's finished runs as the explorers use them; everything is read once."""

    def __init__(self, study: Study) -> None:
        self.options = run_options(study)
        self.scored = cache(partial(scored_pairs, study))
        self.images = cache(partial(Images.of_run, study))
        self.network = lru_cache(maxsize=2)(partial(load_run, study.store))  # a network may be large


def finished_rows(study: Results) -> list[dict[str, Any]]:
    """Rows of results.csv of this study's ladder. Raises RunError if there is none."""
    rows = Results(study.settings).rows()  # as recorded: a Study would need the images
    return require(rows, f"No run is finished yet in {study.out}: run `{command(study)}` first")


def run_options(study: Results) -> list[tuple[str, str]]:
    """Finished runs as (text, id): the ladder's best first, then those carried forward, then the others."""
    found = finished_rows(study)
    best = (best_run(found, study.store) or {}).get("run")
    rows = {row["run"]: row for row in reversed(found)}.values()
    ordered = sorted(rows, key=lambda row: (row["run"] != best, not row["carried_forward"]))
    return [(run_title(row), row["run"]) for row in ordered]


def run_title(row: dict[str, Any]) -> str:
    """The name of a row of results.csv in a dropdown."""
    fold = f", fold {row['fold']}" if row["fold"] else ""
    carried = " ►" if row["carried_forward"] else ""
    return f"{row['stage']}: {row['variant']}, seed {row['seed']}{fold}{carried}"


def scored_pairs(study: Results, run: str, part: str) -> pd.DataFrame:
    """The pairs of a set (train, val, test) as a run scored them at its best epoch: pair (its line), left, right, label, score.

    Raises RunError if the set is not scored, the run diverged or its file is damaged.
    """
    found = study.store.predictions(run, part)
    (name,) = (text for text, value in SETS if value == part)
    require(found["label"], f"The {name} pairs of this run are not scored")
    if not np.isfinite(found["score_at_best"]).all():
        raise RunError("This run diverged: its scores are not numbers")
    return pd.DataFrame({**found, "score": found["score_at_best"]})


def correct(scored: pd.DataFrame, threshold: float = THRESHOLD) -> pd.Series:
    """Whether each scored pair is classified correctly at a threshold."""
    return (scored.score > threshold) == (scored.label > 0.5)


class Images:
    """The images of a bank by name."""

    def __init__(self, bank: ImageBank) -> None:
        self.bank = bank
        self.show = cache(self._show)

    @classmethod
    def of_run(cls, study: Study, run: str) -> "Images":
        """The images as a run saw them. Raises DataError if they are not available."""
        return cls(study.data(run_config(study.store, run).data)[0])

    def pixels(self, names: Sequence[str]) -> np.ndarray:
        """The images called `names`: uint8 (n, side, side)."""
        return self.bank.images[self.bank.rows(names)]

    def of_person(self, name: str) -> list[str]:
        """Names of the images of an image's person."""
        return self.bank.names[person_of(self.bank.names) == person_of([name])[0]].tolist()

    def pair_cards(self, scored: pd.DataFrame, threshold: float = THRESHOLD, digits: int = 2) -> list[dict[str, Any]]:
        """A Gallery's cards of scored pairs: both images, label and score, and whether the network is correct."""
        return [
            card(
                pair.Index,
                [self.show(pair.left), self.show(pair.right)],
                f"{'matched' if pair.label else 'mismatched'}, line {pair.pair}\nP(same) {pair.score:.{digits}f}",
                "correct" if right else "incorrect",
            )
            for pair, right in zip(scored.itertuples(), correct(scored, threshold))
        ]

    def _show(self, name: str) -> dict[str, str]:
        """An image of a Gallery's card: {src, alt}."""
        return {"src": image_uri(self.pixels([name])[0]), "alt": spoken(name)}


def spoken(name: str) -> str:
    """An image's name as a person reads it: Ada Lovelace, image 1."""
    person, _, number = name.rpartition("_")
    return f"{person.replace('_', ' ')}, image {int(number)}" if number.isdigit() else name
