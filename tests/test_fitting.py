"""A threshold fitted on a user's own labelled pairs, in Python and by `lfwstudy verify --pairs --fit-threshold`."""

import csv
import re

import numpy as np
import pytest
from PIL import Image

from lfwstudy.cli import main
from lfwstudy.data.drawn_faces import draw_face
from lfwstudy.errors import DataError
from lfwstudy.evaluation import metrics
from lfwstudy.verify.many import FEWEST, fit_threshold


def _pairs(rng, count=200):
    """Labels and scores of a network whose scores are all too high: they part best at 0.8."""
    label = np.repeat([1, 0], count)
    return label, np.clip(np.where(label, 0.9, 0.7) + 0.05 * rng.normal(size=2 * count), 0, 1)


def test_the_threshold_separates_what_one_half_does_not(rng):
    label, score = _pairs(rng)
    fitted = fit_threshold(label, score)
    assert fitted.threshold == pytest.approx(0.8, abs=0.03)
    assert fitted.usual_accuracy == pytest.approx(0.5, abs=0.01) and fitted.auc > 0.99
    assert fitted.accuracy == metrics.accuracy(label, score, fitted.threshold) > 0.95
    assert 0.95 < fitted.cross_validated <= fitted.accuracy
    assert str(fitted).startswith(f"threshold {fitted.threshold:g}: ") and "threshold 0.5: 50.0 %" in str(fitted)


def test_cross_validation_sees_through_a_threshold_fitted_on_noise(rng):
    label = np.tile([0, 1], FEWEST)
    found = [fit_threshold(label, rng.random(len(label))) for _ in range(30)]
    assert np.mean([fitted.accuracy for fitted in found]) > 0.57
    assert np.mean([fitted.cross_validated for fitted in found]) == pytest.approx(0.5, abs=0.05)


def test_the_threshold_is_one_that_the_option_takes():
    label, score = np.repeat([1, 0], FEWEST), np.zeros(2 * FEWEST)
    assert 0 <= fit_threshold(label, score).threshold <= 1
    score[:FEWEST] = 1.0
    assert fit_threshold(label, score).accuracy == 1


@pytest.mark.parametrize("matched, mismatched", [(FEWEST - 1, 500), (500, FEWEST - 1), (0, 0)])
def test_too_few_pairs_are_refused(matched, mismatched):
    label = np.repeat([1, 0], [matched, mismatched])
    with pytest.raises(DataError, match=f"at least {FEWEST} pairs .* {matched} and {mismatched} have a score"):
        fit_threshold(label, np.linspace(0, 1, len(label)))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A file of labelled pairs of drawn faces, one of which has no face."""
    folder = tmp_path_factory.mktemp("labelled")
    for person in range(4):
        for number in range(4):
            Image.fromarray(draw_face([person], [person, number])).save(folder / f"{person}_{number}.png")
    Image.new("L", (300, 300), 90).save(folder / "wall.png")
    names = [f"{person}_{number}.png" for person in range(4) for number in range(4)]
    both = [(a, b) for i, a in enumerate(names) for b in names[:i]]
    matched = [(a, b, 1) for a, b in both if a[0] == b[0]]
    mismatched = [(a, b, 0) for a, b in both if a[0] != b[0]]
    with open(folder / "labelled.csv", "w", newline="") as file:
        csv.writer(file).writerows([("left", "right", "label"), *matched, *mismatched[:30], ("wall.png", "0_0.png", 0)])
    return folder / "labelled.csv"


def test_too_few_pairs_with_a_score_are_told(capsys, tmp_path):
    Image.fromarray(draw_face([1], [0])).save(tmp_path / "a.png")
    rows = ["a.png,a.png,1"] * FEWEST + ["a.png,gone.png,0"] * FEWEST
    (tmp_path / "pairs.csv").write_text("\n".join(["left,right,label", *rows]))
    assert main(["verify", "--pairs", str(tmp_path / "pairs.csv"), "--fit-threshold"]) == 2
    assert f"{FEWEST} and 0 have a score" in capsys.readouterr().err


def test_the_command_fits_on_the_pairs_that_have_a_score(capsys, labelled, tmp_path):
    scored = tmp_path / "scores.csv"
    assert main(["verify", "--pairs", str(labelled), "--fit-threshold", "--out-csv", str(scored)]) == 1
    out, err = capsys.readouterr()
    assert "1 of 55 pairs could not be scored" in err
    found = re.match(r"threshold ([\d.e-]+): [\d.]+ % of 54 pairs correct, .* cross-validation\nthreshold 0\.5: ", out)
    with open(scored) as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["left", "right", "score", "same", "error"]
    same = [row["same"] == "true" for row in rows if not row["error"]]
    assert same == [float(row["score"]) > float(found[1]) for row in rows if not row["error"]]


@pytest.mark.parametrize(
    "content, words",
    [
        ("left,right\na.png,b.png\n", "line 1: the columns left,right,label expected, got 'left,right'"),
        ("left,right,label\na.png,b.png,yes\n", "line 2: a label 1 (same person) or 0 expected, got 'a.png,b.png,yes'"),
        ("left,right,label\na.png,b.png,1\na.png,b.png\n", "line 3: a label"),
        ("left,right,label\na.png,b.png,1\n", "; 1 and 0 are in"),
    ],
)
def test_a_file_without_labels_is_named_with_line_and_value(capsys, tmp_path, content, words):
    (tmp_path / "pairs.csv").write_text(content)
    assert main(["verify", "--pairs", str(tmp_path / "pairs.csv"), "--fit-threshold"]) == 2
    assert words in capsys.readouterr().err
