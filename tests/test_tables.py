"""Sentences match the measurements of the ladder they are about."""

import dataclasses
import json
import subprocess

import numpy as np
import pytest

from lfwstudy.cli import main
from lfwstudy.config import TrainingConfig
from lfwstudy.ladder import LADDERS
from lfwstudy.ladder.stage import Ladder
from lfwstudy.report import data_tables, notebooks, summary, wording
from lfwstudy.report.table import Table
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.training import augment
from tests.support.runs import study


def outcome(tmp_path, trained, stages, scores, **settings):
    trained[1].update(scores)
    opened = study(tmp_path, stages, **settings)
    return summary.outcome(opened, opened.climb(train=True)[-1])


BASE, DROPS = "base/base", ["lr-schedule/drop40", "lr-schedule/drop50", "lr-schedule/drop60"]


@pytest.mark.parametrize(
    "scores, told, not_told",
    [
        # A tie with the incumbent, won and lost by cross-entropy, or by order alone.
        (
            [(0.81, 0.6), (0.7, 0.5), (0.81, 0.5), (0.8, 0.1)],
            [
                "**drop50**",
                "of 81.0 %; the incumbent, base: base, has 81.0 %.",
                "**drop50** is carried forward: at the same accuracy as the incumbent, its lower cross-entropy decides.",
            ],
            ["is the highest"],
        ),
        (
            [(0.81, 0.5), (0.7, 0.5), (0.81, 0.6), (0.8, 0.1)],
            [
                "The incumbent stays: at the same accuracy as `drop50`, its lower cross-entropy decides.",
            ],
            [],
        ),
        (
            [(0.81, 0.5), (0.7, 0.5), (0.81, 0.5), (0.8, 0.1)],
            ["The incumbent stays: at the same accuracy as `drop50`, the order decides."],
            [],
        ),
        # A tie between variants above the incumbent.
        (
            [(0.7, 0.5), (0.81, 0.5), (0.81, 0.4), (0.81, 0.6)],
            [
                "of 81.0 %; the incumbent, base: base, has 70.0 %.",
                "carried forward: at the same accuracy as `drop40` and `drop60`, its lower cross-entropy decides.",
            ],
            [],
        ),
        # No tie.
        (
            [(0.7, 0.5), (0.8, 0.5), (0.81, 0.4), (0.7, 0.6)],
            ["its validation accuracy is the highest."],
            ["same accuracy"],
        ),
        (
            [(0.7, 0.5), (0.7004, 0.5), (0.6, 0.4), (0.6, 0.6)],
            ["of 70.0 %; the incumbent, base: base, has 70.0 %.", "its validation accuracy is the highest."],
            [],
        ),
        (
            [(0.7, 0.5), (0.6, 0.5), (0.65, 0.4), (0.6, 0.6)],
            ["of 65.0 %; the incumbent, base: base, has 70.0 %.", "no variant is better on validation."],
            ["decides"],
        ),
    ],
)
def test_what_decided_is_said(tmp_path, trained, scores, told, not_told):
    text = outcome(tmp_path, trained, "lr-schedule", dict(zip([BASE, *DROPS], scores)))
    assert all(words in text for words in told) and not any(words in text for words in not_told), text


def test_the_reports_path_is_not_said_to_follow_a_tie(tmp_path, trained):
    text = outcome(
        tmp_path, trained, "early-stopping", {BASE: (0.7, 0.5), "early-stopping/patience5": (0.7, 0.4)}, select="report"
    )
    assert (
        "**patience5** is carried forward: this ladder follows the report's choices." in text
        and "cross-entropy" not in text
    )


@pytest.mark.parametrize("accuracy", [0.93, 0.7, 0.55])
def test_standard_error_is_that_of_the_measured_accuracy(tmp_path, trained, accuracy):
    text = outcome(tmp_path, trained, "base", {BASE: (accuracy, 0.5)})
    opened = study(tmp_path, "base")
    pairs = len(opened.store.scores(opened.climb()[0].candidates[0].specs[0].run, "val")["label"])
    error = 100 * np.sqrt(accuracy * (1 - accuracy) / pairs)
    assert (
        f"With {pairs} validation pair, one standard error of an accuracy of {100 * accuracy:.1f} % is {error:.1f} points"
        in text
    )
    assert "one run of each variant" in text


def test_no_error_is_made_up_for_an_accuracy_of_one(tmp_path, trained):
    text = outcome(tmp_path, trained, "base", {BASE: (1.0, 0.5)})
    assert "standard error" not in text and "This is one run of each variant." in text


def test_the_command_shown_adds_to_the_study_at_hand(tmp_path, monkeypatch):
    (tmp_path / "my faces; $HOME").mkdir()
    settings = Settings(
        dataset="lfw",
        data_dir=str(tmp_path / "my faces; $HOME"),
        ladder="published",
        out=str(tmp_path / "it's"),
        seeds=2,
        keep="all",
    )
    opened = Study(settings)
    opened.ask(["early-stopping"])
    told = wording.command(opened, select="validation", seeds=3)
    name, *given = (
        subprocess.run(["bash", "-c", f"printf '%s\\0' {told}"], capture_output=True, text=True).stdout[:-1].split("\0")
    )
    asked = []
    monkeypatch.setattr("lfwstudy.study.estimate.estimate", lambda study, *_: asked.append(study.settings) or [])
    assert name == "lfwstudy" and main([*given, "--dry-run"]) == 0
    assert asked == [dataclasses.replace(opened.settings, select="validation", seeds=3, stages="base,early-stopping")]
    monkeypatch.chdir(tmp_path)  # not a checkout: the root of what is shown is the current folder
    assert wording.command(opened).endswith("--out it\\'s") and "--data-dir my\\ faces\\;\\ \\$HOME" in wording.command(
        opened
    )


def augmentation_part(ladder, out, monkeypatch):
    """What the data notebook shows from its section on augmentation on: texts, and what the figure is made of."""
    shown, drawn = [], []
    monkeypatch.setattr("lfwstudy.report.figures.augmented", lambda *parts: drawn.append(parts))
    cells = json.loads((notebooks.NOTEBOOKS / "00_data.ipynb").read_text())["cells"]
    at = next(i for i, cell in enumerate(cells) if "## Augmentation" in "".join(cell["source"]))
    end = next(i for i, cell in enumerate(cells) if "## The network" in "".join(cell["source"]))
    opened = Study(Settings(out=str(out), ladder=ladder, precision="float32"))
    bank, pairs, _ = opened.data(opened.first().data)
    names = {"study": opened, "bank": bank, "pairs": pairs, "source": "", "data_tables": data_tables}
    exec("from lfwstudy.report import figures", names)
    for cell in cells[at:end]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            shown.append(source)
        elif source.startswith("data_tables."):
            shown.append(eval(source, names))
        else:
            exec(source, names)
    return " ".join(item.to_html() if isinstance(item, Table) else item for item in shown), drawn


@pytest.mark.parametrize(
    "ladder, told, not_told, rows",
    [
        (
            "report",
            [
                "`augmentation`",
                "2 augmented copies",
                "shear: 5;",
                "Label clipping",
                "to 0.005 and 0.995, or to 0.015 and 0.985",
            ],
            ["online", "stretched"],
            "first copies",
        ),
        (
            "published",
            ["2 augmented copies", "grey levels of copies stretched: yes", "Label clipping"],
            ["online", "shear"],
            "first copies",
        ),
        (
            "beyond",
            ["`online-augmentation`", "augmented online", "random mirroring: yes", "rotation in degrees, at most: 8"],
            ["copies", "lipp", "epsilon", "erased"],
            "one epoch",
        ),
    ],
)
def test_data_notebook_shows_how_the_ladder_at_hand_varies_images(tmp_path, monkeypatch, ladder, told, not_told, rows):
    text, ((shown, _, _),) = augmentation_part(ladder, tmp_path, monkeypatch)
    captions, (originals, *varied) = zip(*shown)
    assert all(words in text for words in told) and not any(words in text for words in not_told), text
    assert captions[1] == rows and len(varied) == len(captions) - 1 == 2
    assert all(one.shape == originals.shape and one.dtype == np.float32 for one in varied)
    assert not np.array_equal(*varied) and not np.allclose(varied[0], originals / 255)


def test_a_ladder_that_varies_nothing_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(LADDERS, "report", Ladder("report", LADDERS["report"].stages[:1]))
    text, drawn = augmentation_part("report", tmp_path, monkeypatch)
    assert "No stage of this ladder augments its training images." in text and "lipping" not in text and not drawn


@pytest.mark.parametrize(
    "training",
    [
        TrainingConfig(flip=True),
        TrainingConfig(shift=0.1),
        TrainingConfig(erase=1.0),
        TrainingConfig(augmented_copies=1, zoom=(0.8, 0.9)),
    ],
)
def test_examples_are_varied_as_training_varies(training):
    images = np.random.default_rng(0).integers(0, 256, (16, 40, 40), np.uint8)
    for varied in augment.examples(images, training, 2):
        changed = [not np.allclose(one, image / 255, atol=1e-4) for one, image in zip(varied, images)]
        assert varied.min() >= 0 and varied.max() <= 1 and sum(changed) > 4
        if training.flip:
            assert all(
                np.allclose(one, image[:, ::-1] / 255, atol=1e-4)
                for one, image, new in zip(varied, images, changed)
                if new
            )
        if training.erase:
            assert (varied == 0.5).any()
