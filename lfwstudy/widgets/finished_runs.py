"""The explorers' view of a study: its finished runs, their scored pairs, and the images."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lfwstudy.data.bank import ImageBank
from lfwstudy.data.pairs import person_of
from lfwstudy.errors import RunError
from lfwstudy.report.figures import image_uri
from lfwstudy.study.best import best_run
from lfwstudy.study.results import Results
from lfwstudy.study.study import Study
from lfwstudy.verify.network import run_config
from lfwstudy.widgets.explorer import require

SETS = (("test", "test"), ("validation", "val"), ("training", "train"))


@dataclass(frozen=True, eq=False)
class ScoredPairs:
    """The pairs of one set as one run scored them, at its best epoch; arrays of one length."""

    run: str
    line: np.ndarray
    left: np.ndarray
    right: np.ndarray
    label: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def correct(self, threshold: float = 0.5) -> np.ndarray:
        """Whether each pair is classified correctly at a threshold."""
        return (self.score > threshold) == (self.label > 0.5)


def finished_rows(study: Results) -> list[dict[str, Any]]:
    """Rows of results.csv of this study's ladder. Raises RunError if there is none."""
    rows = Results(study.settings).rows()  # as recorded: a Study would need the images
    return require(rows, f"No run is finished yet in {study.out}: run `lfwstudy run --out {study.out}` first")


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


def scored_pairs(study: Results, run: str, part: str) -> ScoredPairs:
    """The pairs of a set (train, val, test) as a run scored them.

    Raises RunError if the set is not scored, the run diverged or its file is damaged.
    """
    try:
        found = study.store.predictions(run, part)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{study.store.folder(run) / 'predictions.csv'}: missing or damaged ({error})") from error
    (name,) = (text for text, value in SETS if value == part)
    require(found["label"], f"The {name} pairs of this run are not scored")
    if not np.isfinite(found["score_at_best"]).all():
        raise RunError("This run diverged: its scores are not numbers")
    return ScoredPairs(run, found["pair"], found["left"], found["right"], found["label"], found["score_at_best"])


class Images:
    """The images of a bank by name, as data URIs, each made once."""

    def __init__(self, bank: ImageBank) -> None:
        self.bank = bank
        self._known: dict[str, str] = {}

    @classmethod
    def of_run(cls, study: Study, run: str) -> "Images":
        """The images as a run saw them. Raises DataError if they are not available."""
        return cls(study.data(run_config(study.store, run).data)[0])

    def pixels(self, names: Sequence[str]) -> np.ndarray:
        """The images called `names`: uint8 (n, side, side)."""
        return self.bank.images[self.bank.rows(names)]

    def show(self, name: str) -> dict[str, str]:
        """An image of a Gallery's card: {src, alt}."""
        if name not in self._known:
            self._known[name] = image_uri(self.pixels([name])[0])
        return {"src": self._known[name], "alt": spoken(name)}

    def of_person(self, name: str, others_than: Collection[str] = ()) -> list[str]:
        """Names of the images of an image's person, except the given ones."""
        own = self.bank.names[person_of(self.bank.names) == person_of([name])[0]]
        return [n for n in own if n not in others_than]


def spoken(name: str) -> str:
    """An image's name as a person reads it: Ada Lovelace, image 1."""
    person, _, number = name.rpartition("_")
    return f"{person.replace('_', ' ')}, image {int(number)}" if number.isdigit() else name
