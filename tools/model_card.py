"""The shipped network and its model card: training data, accuracy, limits.

`python -m tools.model_card STUDY` makes both from a study on LFW whose best configuration has kept its weights.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from lfwstudy.config import DataConfig, RunConfig
from lfwstudy.data.pairs import person_of
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import StudyError
from lfwstudy.evaluation import intervals, metrics
from lfwstudy.report import figures, wording
from lfwstudy.report.table import Column, Table
from lfwstudy.study.results import Results
from lfwstudy.study.rungs import Candidate, Spec
from lfwstudy.system.files import replacing, write_json, write_text
from lfwstudy.system.text import percent
from lfwstudy.verify.kept import SHIPPED
from lfwstudy.verify.network import load_model
from tools import measurement_blocks
from tools.kept_studies import correct
from tools.onnx_files import write_onnx

LARGEST = 10 * 2**20
TEMPLATE = Path(__file__).with_name("card.md")
_ALIGNMENT = {"lfw-deepfunneled": "The deep-funneled", "lfw-a": "The aligned (LFW-a)"}


def ship(out: str | Path, folder: Path = SHIPPED) -> str:
    """Copy the best network of a study to `folder`, also as ONNX, with run.json, roc.png and CARD.md; returns the run's id.

    The best is `Results.best_run`, whether or not its weights are kept: no other run takes its place.

    Raises
    ------
    StudyError
        If the runs of its configuration are not all scored on the test pairs, the faces are drawn, or its weights are missing
        or too large.
    """
    if wording.is_demo(Results.open(out)):
        raise StudyError(f"{out}: a network trained on drawn faces is not shipped")
    study, candidate, spec = best_of(out)
    model = study.store.folder(spec.run) / "model.keras"
    if not model.is_file():
        raise StudyError(f"{out}: the weights of run {spec.run} are not kept; run the study with --keep best")
    if (size := model.stat().st_size) > LARGEST:
        raise StudyError(f"{model}: {size / 2**20:.1f} MiB, at most {LARGEST / 2**20:.0f} are shipped")
    folder.mkdir(exist_ok=True)
    write_text(folder / "CARD.md", card(study, candidate, spec))
    scores, accuracy = study.store.scores(spec.run), study.store.result(spec.run)["test_accuracy_at_best"]
    with replacing(folder / "roc.png") as temporary:
        figure = figures.roc([(scores["label"], scores["score_at_best"])], wording.source_line(study))
        figure.savefig(temporary, format="png", dpi=100)
    record = {"run": spec.run, "seed": spec.seed, "config": spec.config.to_dict(), "test_accuracy": accuracy}
    write_json(folder / "run.json", record)
    with replacing(folder / "model.keras") as temporary:
        shutil.copyfile(model, temporary)
    write_onnx(load_model(model), folder)
    return spec.run


def best_of(out: str | Path) -> tuple[Results, Candidate, Spec]:
    """The best run of a study's folder, with its ladder and configuration. Raises StudyError if its tests are not scored."""
    row = Results.open(out).best_run() or {}
    for study in Results.open(out).combinations() if row else ():
        for candidate in (c for rung in study.climb() for c in rung.candidates):
            spec = next((spec for spec in candidate.specs if spec.run == row["run"]), None)
            if spec and candidate.stage == row["stage"] and study.correct(candidate) is not None:
                return study, candidate, spec
    raise StudyError(f"{out}: no configuration is finished, or the best one's test pairs are not scored")


def card(study: Results, candidate: Candidate, spec: Spec) -> str:
    """The card of one of a candidate's runs, as Markdown."""
    config, result, count = spec.config, study.store.result(spec.run), len(candidate.specs)
    scores = study.store.scores(spec.run)
    accuracy = metrics.accuracy(scores["label"], scores["score_at_best"])
    accepted = metrics.true_accept_rate(scores["label"], scores["score_at_best"], 0.01)
    start = RunConfig().change({"data.dataset": config.data.dataset})
    return TEMPLATE.read_text(encoding="utf-8").format(
        spec=spec,
        result=result,
        ladder=study.settings.ladder,
        chosen=f", the one of {count} with the lowest validation cross-entropy" if count > 1 else "",
        alignment=_ALIGNMENT.get(config.data.dataset, "The"),
        data=_people(config.data, study.settings.data_dir),
        class_=wording.IMAGE_CLASSES[config.data.pictures],
        cohort=f", among them the embeddings of {config.model.cohort} images of training people, without their names,"
        if config.model.cohort
        else "",
        recipe="\n".join(
            f"- {wording.setting(key)}: {wording.plain(new)} instead of {wording.plain(old)}"
            for key, old, new in config.differences(start)
        ),
        figures=_figures(study, candidate, spec).to_markdown(),
        verify=measurement_blocks.verify(spec.run),
        one_in=1 / max(1 - accuracy, 1e-9),
        turned_away=100 * (1 - accepted),
    )


def _people(config: DataConfig, data_dir: str) -> dict[str, Any]:
    """Numbers of images, pairs and people in each part of the data."""
    pairs = load_pairs(config, data_dir)
    held = set(person_of(np.concatenate([pairs.validation.names(), pairs.test.names()])))
    names = pairs.names() if config.pictures == "all-people" else pairs.train.names()
    people, counts = np.unique([person for person in person_of(names) if person not in held], return_counts=True)
    single = int((counts == 1).sum())
    return {
        "images": int(counts.sum()),
        "people": len(people),
        "single": single,
        "known_by_one": 100 * single / len(people),
        "validation": len(pairs.validation),
        "validation_people": len(np.unique(pairs.validation.people())),
        "test": len(pairs.test),
        "test_people": len(np.unique(pairs.test.people())),
    }


def _figures(study: Results, candidate: Candidate, spec: Spec) -> Table:
    scores, result = study.store.scores(spec.run), study.store.result(spec.run)
    label, score = scores["label"], scores["score_at_best"]
    right = (score > 0.5) == (label > 0.5)
    interval = map(percent, intervals.mean_interval(right[None], study.test_components()))
    matched, mismatched = metrics.rates(label, score)
    seeds = correct(study, candidate, "score_at_best").mean(axis=1)
    spread = f"{percent(seeds.mean())} % on average, {percent(seeds.min())} to {percent(seeds.max())} %"
    measures = {
        "accuracy": f"{percent(right.mean())} % [{', '.join(interval)}], 95 % over connected components of people",
        **({f"all {len(seeds)} seeds of this recipe": spread} if len(seeds) > 1 else {}),
        "matched pairs called same (TPR), mismatched pairs called different (TNR)": f"{percent(matched)} %, {percent(mismatched)} %",
        "area under the ROC curve": f"{metrics.auc(label, score):.3f}",
        "equal error rate": f"{percent(metrics.equal_error_rate(label, score))} %",
        "matched pairs accepted at 1 % false accepts": f"{percent(metrics.true_accept_rate(label, score, 0.01))} %",
        "expected calibration error, 10 bins": f"{percent(metrics.calibration(label, score)[0])} points",
        "validation accuracy": f"{percent(result['val_accuracy_at_best'])} %",
    }
    return Table([Column("measure"), Column("value")], [{"measure": m, "value": v} for m, v in measures.items()])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", help="folder of a study on LFW that keeps its best network")
    try:
        print(f"run {ship(parser.parse_args().study)}: {SHIPPED}")
    except StudyError as error:
        sys.exit(f"error: {error}")
