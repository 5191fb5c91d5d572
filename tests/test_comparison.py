"""Two runs or studies on the same test pairs: what the sentence, the tables and the page say of them."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from lfwstudy.cli import main
from lfwstudy.errors import StudyError
from lfwstudy.report.comparison import compare, open_side
from lfwstudy.study.results import Results
from lfwstudy.system.files import read_csv, write_csv
from lfwstudy.training.run import PREDICTION_COLUMNS

RESULTS = Path(__file__).parents[1] / "results"
SHALLOW, LARGER = (RESULTS / f"lfw-deepfunneled-{name}" for name in ("shallow", "larger"))


@pytest.fixture
def runs(played):
    """The folders of the two runs of `played`."""
    return {row["stage"]: played / "runs" / row["run"] for row in read_csv(played / "results.csv")}


def test_a_study_stands_for_all_seeds_of_its_best_configuration():
    found = compare(SHALLOW, LARGER)
    results = [Results.open(folder) for folder in (SHALLOW, LARGER)]
    assert [side.specs for side in found.sides] == [study.best().specs for study in results]
    a, b = (study.correct(study.best()) for study in results)
    assert found.difference.seeds == 5 and found.difference.difference == pytest.approx(a.mean() - b.mean())
    assert found.difference.low < found.difference.difference < found.difference.high
    assert np.array_equal(found.components, results[0].test_components())
    row = found.table().rows[0]
    assert row["accuracy [95 %]"].value == a.mean() and 0.97 < row["AUC"] < 0.99
    assert re.fullmatch(
        r"A minus B: \+3\.4 points \[\+\d\.\d, \+\d\.\d\], p 0\.\d{3}: A is better than B\.", found.sentence()
    )


def test_the_other_way_round_it_is_worse():
    assert compare(LARGER, SHALLOW).sentence().endswith("A is worse than B.")


def test_a_kept_run_is_compared_as_its_ladder_compares_it():
    study = Results.open(RESULTS / "lfw-deepfunneled-beyond")
    base = study.climb("base")[0].candidates[0]
    found = compare(study.out / "runs" / base.specs[0].run, SHALLOW)
    assert found.sides[0].calibrated and np.array_equal(found.sides[0].correct, study.correct(base)[:1])
    assert (
        "With 1 seed this is about these networks" in found.sentence()
        and "Only the first seed of each" in found.sentence()
    )


def test_a_run_is_compared_with_itself(runs):
    found = compare(runs["base"], runs["base"])
    assert found.difference.difference == 0 and "inside the noise" in found.sentence()
    assert found.settings().to_text() == "The two have the same settings."
    assert [row["only A correct"] for row in found.gained_and_lost().rows] == [0]


def test_a_run_that_lies_outside_any_study_is_compared_too(played, runs, tmp_path):
    alone = shutil.copytree(runs["base"], tmp_path / runs["base"].name)
    side = open_side(alone)
    assert side.title == f"run {alone.name}" and side.config == open_side(runs["base"]).config
    assert compare(alone, played).difference.seeds == 1


def test_other_test_pairs_are_refused_in_one_line(runs, tmp_path, capsys):
    assert main(["compare", str(SHALLOW), str(RESULTS / "lfw-deepfunneled-view2")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "not the same test pairs: 1,000 of" in told and "and 6,000 of" in told
    other = shutil.copytree(runs["base"], tmp_path / runs["base"].name)
    rows = read_csv(other / "predictions.csv")
    rows[-1]["left"] = "Someone_Else_0001"  # as many pairs, and one of them another
    write_csv(other / "predictions.csv", PREDICTION_COLUMNS, rows)
    with pytest.raises(StudyError, match="not the same test pairs"):
        compare(runs["base"], other)


def test_what_cannot_be_compared_is_said(runs, tmp_path):
    with pytest.raises(StudyError, match="neither a study's folder"):
        open_side(tmp_path)
    damaged = shutil.copytree(runs["base"], tmp_path / runs["base"].name)
    (damaged / "config.json").write_text("{")
    with pytest.raises(StudyError, match="damaged"):
        open_side(damaged)


def test_the_command_prints_a_table_and_writes_a_self_contained_page(played, runs, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["compare", str(runs["base"]), str(played), "--to", str(page)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^A  study: base/base, seed 0 ", out, re.M) and re.search(r"^A minus B: ", out, re.M)
    text = page.read_text(encoding="utf-8")
    assert "<h1>study: base/base, seed 0 against study: augmentation/impatient</h1>" in text and "demo faces" in text
    assert "batch-norm placement" in text and text.count("<svg") == 1 and "<table" in text
    assert not re.search(r"<script|<iframe|(?:src|href)=[\"'](?!data:|#|https://)", text)
