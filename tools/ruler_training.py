"""A training of the ruler: `python -m tools.ruler_training JOB.json` trains a job and measures its network on held-out people.

In one process, so that several networks are trained and measured side by side.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from lfwstudy.config import DataConfig
from lfwstudy.data.bank import ImageBank
from lfwstudy.data.pairs import person_of, read_people
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.runs.job import Job
from lfwstudy.runs.training_process import main as train
from lfwstudy.system.files import read_json, write_json
from lfwstudy.training.whitening import within_class_whitening
from lfwstudy.verify.network import KerasRuntime, Network, load_model
from tools import light

MEASURED = "measured.json"
MATCHED = 3  # pairs of a person
# Images in the cohort, of those trained on, and how many nearest ones tell the usual cosine; today's first.
COHORTS = (("512", 10), ("1536", 30), ("all", 100))
WHITENINGS = (0.0, 0.5)
ZOOM = 10 / 9  # of a second, wider view: 160 pixels for a crop of 144


def main(path: str) -> int:
    """Train the job in a file, then write MEASURED to its run's folder; returns the exit status."""
    job = Job.read(path)
    if not (job.folder / "model.keras").is_file():  # without its weights a run cannot be measured: train it again
        (job.folder / "result.json").unlink(missing_ok=True)
    if status := train(path):
        return status
    views = [prepare_bank(config, job.data_dir) for config in views_of(job.config.data)]
    training = read_people(Path(job.data_dir, "peopleDevTrain.txt"))[0]
    network = Network(CompiledRuntime(load_model(job.folder / "model.keras")), job.config, job.run)
    write_json(job.folder / MEASURED, measure(network, views, training))
    return 0


def measured(job: Job) -> list[dict[str, Any]]:
    """The rows that a job's process measured. Raises FileNotFoundError if it did not."""
    return read_json(job.folder / MEASURED)


def views_of(config: DataConfig) -> list[DataConfig]:
    """The framing of a network's images and, unless it is nearly the whole image, a wider one."""
    wider = round(config.crop * ZOOM)
    return [config, replace(config, crop=wider)] if wider <= light.MIDDLE - light.MARGIN else [config]


def measure(network: Network, views: list[ImageBank], training: Mapping[str, int]) -> list[dict[str, Any]]:
    """Cross-entropy (nats), AUC and accuracy of a network on pairs of held-out people, matched and mismatched alike in weight,
    for each cohort, without and with the wider view, without and with whitening.

    The line from score to log-odds is fitted on pairs within one half of the people and measured within the other.

    Parameters
    ----------
    views : the same images in each framing.
    training : the people trained on; all others are held out.
    """
    person = person_of(views[0].names)
    known = np.isin(person, list(training))
    embeddings = [_unit(network.embed(view.images)) for view in views]
    people = person[~known]
    left, right, label = held_out_pairs(people)
    half = np.isin(people, np.random.default_rng(81).permutation(np.unique(people))[::2]).astype(int)
    within = np.where(half[left] == half[right], half[left], -1)
    rows = []
    for zooms, whitening in product(range(1, len(views) + 1), WHITENINGS):
        both = _unit(np.sum(embeddings[:zooms], axis=0))
        if whitening:
            both = _unit(both @ within_class_whitening(both[known], person[known], whitening))
        mine, others = both[~known], np.random.default_rng(82).permutation(both[known])
        cosine = (mine @ mine.T)[left, right]
        for size, nearest in COHORTS:
            cohort = others if size == "all" else others[: int(size)]
            last = -min(nearest, len(cohort))
            usual = np.partition(mine @ cohort.T, last, axis=1)[:, last:].mean(axis=1)
            scoring = {"cohort": size, "neighbours": nearest, "zooms": zooms, "whitening": whitening}
            rows.append(scoring | crossed(cosine - (usual[left] + usual[right]) / 2, label, within))
    return rows


def held_out_pairs(person: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All mismatched, and at most MATCHED matched pairs of each person: rows left and right, and labels, each (pairs,)."""
    left, right = np.triu_indices(len(person), 1)
    mismatched = person[left] != person[right]
    rows = (np.flatnonzero(person == one) for one in np.unique(person))
    matched = np.array([pair for of_one in rows for pair in list(combinations(of_one, 2))[:MATCHED]], int).reshape(
        -1, 2
    )
    label = np.r_[np.ones(len(matched), int), np.zeros(mismatched.sum(), int)]
    return np.r_[matched[:, 0], left[mismatched]], np.r_[matched[:, 1], right[mismatched]], label


def crossed(score: np.ndarray, label: np.ndarray, half: np.ndarray) -> dict[str, float]:
    """Measures of scores, fitted on half 0 and measured on half 1 and the other way round, averaged; others (-1) are left
    out. Both classes have the same weight."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score
    from sklearn.utils import compute_sample_weight

    found = []
    for fitted, at in ((half == 0, half == 1), (half == 1, half == 0)):
        scaled = score[:, None] / score[fitted].std()
        line = LogisticRegression(C=1e4, class_weight="balanced").fit(scaled[fitted], label[fitted])
        p, y = line.predict_proba(scaled[at])[:, 1], label[at]
        entropy = log_loss(y, p, sample_weight=compute_sample_weight("balanced", y))
        found.append((entropy, roc_auc_score(y, p), balanced_accuracy_score(y, p > 0.5)))
    return dict(zip(("cross_entropy", "auc", "accuracy"), map(float, np.mean(found, axis=0))))


class CompiledRuntime(KerasRuntime):
    """A network whose tower is one compiled function: layer by layer, a GPU would wait for Python."""

    def tower(self, pixels: np.ndarray) -> np.ndarray:
        return self._tower.predict_on_batch(pixels)


def _unit(embeddings: np.ndarray) -> np.ndarray:
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
