"""The network that comes with the package, and its card: what it was made of, how good it is, what it is not for.

`python -m tools.model_card STUDY` makes both from a study on LFW whose last configuration has kept its weights.
"""

import shutil
import sys

import numpy as np

from lfwstudy.config import RunConfig
from lfwstudy.data.pairs import person_of
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import StudyError
from lfwstudy.evaluation import intervals, metrics
from lfwstudy.report import figures, wording
from lfwstudy.study.best import best_run
from lfwstudy.study.study import open_study
from lfwstudy.system.files import replacing, write_json, write_text
from lfwstudy.system.text import percent
from lfwstudy.verify.photos import SHIPPED

LARGEST = 10 * 2**20

_CARD = """# The network that comes with lfwstudy

Two pictures of faces in, the probability that they show the same person out. `lfwstudy verify LEFT RIGHT` uses it where no
study is named. It is a teaching example and proves nobody's identity.

This card is written by `python -m tools.model_card` from the run `{run}` of the ladder {ladder}, configuration
{stage}: {variant}, seed {seed}{chosen}. The test pairs chose nothing.

## Data

{alignment} pictures of Labeled Faces in the Wild, View 1; {pictures} pictures of {people} people to learn from ({class_}), of whom
{single} people have one picture only. Validation: {validation} pairs of {validation_people} other people, for the choice of epoch and
seed and for the calibration of the score; the recipe was chosen on other splits of the training people. Test: the {test} pairs of pairsDevTest.txt, of {test_people} other people again: they chose nothing, but many
runs of this project were scored on them, so that no figure is a first look. No other data but the published alignment. This folder holds {parameters:,} weights{cohort} and no picture.

## Recipe

{recipe}

Trained in {precision} for {epochs} epochs, {seconds:.0f} s on {device} ({backend}); weights of epoch {best}.

## Figures

On the {test} test pairs, at P(same) 0.5:

| measure | value |
|---|---|
| accuracy | {accuracy} % [{low}, {high}], 95 % over connected components of people |
{all_seeds}| matched pairs called same (TPR), mismatched pairs called different (TNR) | {tpr} %, {tnr} % |
| area under the ROC curve | {auc:.3f} |
| equal error rate | {eer} % |
| matched pairs accepted where 1 in 100 mismatched ones is | {tar} % |
| expected calibration error, 10 bins | {ece} points |
| validation accuracy | {val} % |

![ROC curve and reliability on the test pairs](roc.png)

## Limits

- About one answer in {wrong:.0f} is wrong on LFW's own pairs. At a threshold where one stranger in a hundred is let in, {missed:.0f} of
  100 matched pairs are turned away. Nothing that matters to a person may rest on it.
- It has learned from frontal press photographs in grey, found by one face detector and aligned by deep funneling. Photos given
  to `lfwstudy verify` are framed in the same way, not aligned: the accuracy on them is unmeasured; expect it to be lower.
- The probability holds where as many pairs are of one person as of two. Where strangers are the rule, most of those called
  the same are not.

## Who is under-represented

LFW is of public figures in the news of 2002 and 2003. Its authors name children, people over 80, women and many ethnic groups
as few or missing. This network has seen no more of them, and LFW does not label them: how much worse it is for them cannot be
told from these figures. Of the people it learned from, {share:.0f} % are known by one picture.
"""


def ship(out, folder=SHIPPED):
    """Copy the best network of a study to `folder`, with its run.json, roc.png and CARD.md. Returns the run's id.

    The best is `best.best_run`, with or without its weights: no other is handed out in its place. Raises StudyError where
    the runs of its configuration are not all scored on the test pairs, the data are drawn, its weights are not kept or too large.
    """
    studies = open_study(out)
    if wording.is_demo(studies[0]):
        raise StudyError(f"{out}: a network trained on drawn faces is not handed out")
    rows = [(study, row) for study in studies for row in study.rows()]
    chosen = best_run([row for _, row in rows], studies[0].store)
    study = next((study for study, row in rows if row is chosen), None)
    if study is None or study.correct(best := study.best()) is None:
        raise StudyError(f"{out}: no configuration is finished, or the best one's test pairs are not scored")
    at = next(at for at, spec in enumerate(best.specs) if spec.run == chosen["run"])
    spec, result = best.specs[at], study.store.result(chosen["run"])
    model = study.store.folder(spec.run) / "model.keras"
    if not model.is_file():
        raise StudyError(f"{out}: the weights of run {spec.run} are not kept; run the study with --keep best")
    if model.stat().st_size > LARGEST:
        raise StudyError(
            f"{model}: {model.stat().st_size / 2**20:.1f} MiB, at most {LARGEST / 2**20:.0f} are handed out"
        )
    folder.mkdir(exist_ok=True)
    write_text(folder / "CARD.md", card(study, best, at))
    scores = study.store.scores(spec.run)
    with replacing(folder / "roc.png") as temporary:
        figures.roc([(scores["label"], scores["score_at_best"])], wording.source_line(study)).savefig(
            temporary, format="png", dpi=100
        )
    write_json(
        folder / "run.json",
        {
            "run": spec.run,
            "seed": spec.seed,
            "config": spec.config.to_dict(),
            "test_accuracy": result["test_accuracy_at_best"],
        },
    )
    with replacing(folder / "model.keras") as temporary:
        shutil.copyfile(model, temporary)
    return spec.run


def card(study, candidate, at):
    """The card of a candidate's run number `at`, as Markdown."""
    spec, store = candidate.specs[at], study.store
    config, result = spec.config, store.result(spec.run)
    pairs = load_pairs(config.data, study.settings.data_dir)
    scores = store.scores(spec.run)
    label, score = scores["label"], scores["score_at_best"]
    right = (score > 0.5) == (label > 0.5)
    low, high = intervals.mean_interval(right[None], study.test_components())
    of_seeds = study.correct(candidate).mean(axis=1)
    held = person_of(np.concatenate([pairs.validation.names(), pairs.test.names()]))
    names = pairs.names() if config.data.pictures == "all-people" else pairs.train.names()
    people, counts = np.unique([p for p in person_of(names) if p not in set(held)], return_counts=True)
    tpr, tnr = metrics.rates(label, score)
    tar = metrics.true_accept_rate(label, score, 0.01)
    recipe = "\n".join(
        f"- {line}" for line in wording.differences_in_words(config, RunConfig()) if "data.dataset" not in line
    )
    return _CARD.format(
        run=spec.run,
        ladder=study.settings.ladder,
        stage=candidate.stage,
        variant=candidate.variant,
        seed=spec.seed,
        chosen=f": of {len(of_seeds)} seeds the one with the lowest validation cross-entropy"
        if len(of_seeds) > 1
        else "",
        all_seeds=f"| all {len(of_seeds)} seeds of this recipe | {percent(of_seeds.mean())} % on average, {percent(of_seeds.min())} to "
        f"{percent(of_seeds.max())} % |\n"
        if len(of_seeds) > 1
        else "",
        alignment={"lfw-deepfunneled": "The deep-funneled", "lfw-a": "The aligned (LFW-a)"}.get(
            config.data.dataset, "The"
        ),
        pictures=f"{counts.sum():,}",
        people=f"{len(people):,}",
        class_=wording.IMAGE_CLASSES[config.data.pictures],
        single=f"{(counts == 1).sum():,}",
        validation=len(pairs.validation),
        validation_people=len(np.unique(pairs.validation.people())),
        test=f"{len(pairs.test):,}",
        test_people=len(np.unique(pairs.test.people())),
        parameters=result["parameters"],
        recipe=recipe,
        cohort=f", among them the embeddings of {config.model.cohort} pictures of training people, without their names,"
        if config.model.cohort
        else "",
        precision=result["precision"],
        epochs=result["epochs_run"],
        seconds=result["seconds_total"],
        device=result["device"],
        backend=result["backend"],
        best=result["best_epoch"],
        accuracy=percent(right.mean()),
        low=percent(low),
        high=percent(high),
        tpr=percent(tpr),
        tnr=percent(tnr),
        auc=metrics.auc(label, score),
        eer=percent(metrics.equal_error_rate(label, score)),
        tar=percent(tar),
        ece=percent(metrics.calibration(label, score)[0]),
        val=percent(result["val_accuracy_at_best"]),
        wrong=1 / max(1 - right.mean(), 1e-9),
        missed=100 * (1 - tar),
        share=100 * (counts == 1).mean(),
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tools.model_card STUDY")
    try:
        print(f"run {ship(sys.argv[1])}: {SHIPPED}")
    except StudyError as error:
        sys.exit(f"error: {error}")
