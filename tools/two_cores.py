"""Networks of the ladder beyond that were trained on a GPU and on two cores."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lfwstudy.evaluation import intervals, metrics
from lfwstudy.report.table import Column, Interval, Table
from lfwstudy.runs.store import Store
from lfwstudy.study.results import Results
from lfwstudy.system.files import read_json
from tools.kept_studies import RESULTS

BENCHES = ("bench.json", "bench-avx2.json")
_ACCURACY = "test accuracy [95 %]"


@dataclass(frozen=True)
class OnTwoCores:
    """A network trained on two cores: `seconds` of each epoch trained, out of `epochs`.

    Only if it was trained to the end: scores of the test pairs, float (pairs,), with labels and components; `elsewhere`, the
    test accuracy of the same seed on the GPU; `machine`, in words.
    """

    stage: str
    seed: int
    epochs: int
    seconds: Sequence[float]
    scores: np.ndarray = field(default_factory=lambda: np.empty(0))
    labels: np.ndarray = field(default_factory=lambda: np.empty(0))
    components: np.ndarray = field(default_factory=lambda: np.empty(0))
    elsewhere: float = float("nan")
    machine: str = ""

    @property
    def finished(self) -> bool:
        """Whether it was trained to the end."""
        return len(self.scores) > 0

    @property
    def accuracy(self) -> float:
        """Test accuracy of a finished one."""
        return metrics.accuracy(self.labels, self.scores)


def two_cores(studies: Iterable[Results]) -> dict[str, list[OnTwoCores]]:
    """By stage, in the order of their seeds; only those trained to the end, if there are any."""
    stages: dict[str, list[OnTwoCores]] = {}
    for study in studies:
        store = Store(study.out / "two-cores")
        for spec in (spec for rung in study.climb() for spec in rung.specs() if store.is_finished(spec.run)):
            result, scored = store.result(spec.run), store.scores(spec.run)
            machine = f"{result['device']} ({result['backend']}, {result['precision']}){ceiling(result['device'], result['precision'])}"
            stages.setdefault(spec.stage, []).append(
                OnTwoCores(
                    spec.stage,
                    spec.seed,
                    result["epochs_max"],
                    [row["seconds"] for row in store.history(spec.run)],
                    scored["score"],
                    scored["label"],
                    study.test_components(),
                    study.store.result(spec.run)["test_accuracy"],
                    machine,
                )
            )
        if (path := study.out / "two-cores.json").is_file():
            for run in read_json(path):
                stages.setdefault(run["stage"], []).append(
                    OnTwoCores(run["stage"], run["seed"], run["stage_epochs"], run["epoch_seconds"])
                )
    return {
        stage: sorted([r for r in runs if r.finished] or runs, key=lambda r: r.seed) for stage, runs in stages.items()
    }


def two_cores_table(stages: Mapping[str, Sequence[OnTwoCores]]) -> Table:
    """A row per stage: means over its seeds, and the mean of their logits."""
    columns = [Column(name) for name in ("on two cores", "seeds", "epochs", "minutes of training")]
    columns += [Column(name, "percent") for name in (_ACCURACY, "same seeds on the GPU")]
    rows = [row for runs in stages.values() for row in _rows(runs)]
    machines = dict.fromkeys(run.machine for runs in stages.values() for run in runs if run.finished)
    caption = (
        f"{', '.join(machines)}. Minutes without start-up and compilation; means over seeds. The same seed gives different weights there, because "
        "sums are added in a different order."
    )
    return Table(columns, rows, caption)


def _rows(runs: Sequence[OnTwoCores]) -> list[dict]:
    epochs, trained = runs[0].epochs, min(len(run.seconds) for run in runs)
    minutes = [np.mean(run.seconds) * epochs / 60 for run in runs]
    took = f"{np.mean(minutes):.1f}" + (f" (at most {max(minutes):.1f})" if len(runs) > 1 else "")
    row = {
        "on two cores": runs[0].stage,
        "seeds": ", ".join(str(run.seed) for run in runs),
        "epochs": f"{trained} of {epochs}",
    }
    if not runs[0].finished:
        return [row | {"minutes of training": f"{took} for all, estimated"}]
    scores, labels, components = np.stack([run.scores for run in runs]), runs[0].labels > 0.5, runs[0].components
    elsewhere = float(np.mean([run.elsewhere for run in runs]))
    single = _interval((scores > 0.5) == labels, components)
    rows = [row | {"minutes of training": took, _ACCURACY: single, "same seeds on the GPU": elsewhere}]
    if len(runs) > 2:
        together = _interval(((metrics.ensemble(scores) > 0.5) == labels)[None], components)
        rows.append({"on two cores": f"{runs[0].stage}: mean of {len(runs)} networks' logits", _ACCURACY: together})
    return rows


def _interval(correct: np.ndarray, components: np.ndarray) -> Interval:
    return Interval(float(correct.mean()), *intervals.mean_interval(correct, components))


def ceiling(device: str, precision: str) -> str:
    """The peak matrix rate of a machine, in words, if a bench of it is kept; else nothing."""
    for measured in (read_json(RESULTS / file) for file in BENCHES):
        if measured["device"] == device:
            return f", whose matrix products reach {measured['ceiling_gflops'][precision]:,.0f} GFLOP/s in {precision} (`lfwstudy bench`)"
    return ""
