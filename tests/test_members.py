"""Members are tested on the kept networks of View 2."""

import lzma
import shutil
from pathlib import Path

import pytest

from lfwstudy.data.protocols import load_pairs, validation_set
from lfwstudy.errors import StudyError
from lfwstudy.evaluation import metrics
from lfwstudy.ladder import base_config, own_stages
from lfwstudy.study.results import Results
from lfwstudy.system.files import read_json, write_json
from tools.members import estimate, main, together

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "results" / "lfw-deepfunneled-shallow-view2"
STAGE = "all-people-shallow"


@pytest.fixture(scope="module")
def study():
    return Results.open(KEPT, {"protocol": "view2"})


def test_one_network_a_fold_gives_the_studys_own_figure(study):
    scored = together(study, [STAGE])
    candidate = next(c for rung in study.climb() for c in rung.candidates if c.stage == STAGE)
    correct = study.correct(candidate).reshape(10, 600)
    found = estimate(scored)
    assert (found["accuracy"], found["accuracy_error"]) == pytest.approx(metrics.view2_estimate(correct.mean(axis=1)))
    assert len(scored) == 6000 and set(scored["networks"]) == {1} and 0.97 < found["auc"] < 1
    twice = together(study, [STAGE, f"{STAGE}/shallow"])
    assert set(twice["networks"]) == {1} and twice.equals(scored)


def test_test_labels_have_no_part_in_the_scores(study, tmp_path):
    copy = tmp_path / "study"
    shutil.copytree(KEPT, copy)
    path = copy / "runs" / "predictions.csv.xz"
    with lzma.open(path, "rt", encoding="utf-8") as file:
        header, *rows = (line.split(",") for line in file)
    at, part = header.index("label"), header.index("set")
    for row in rows:
        row[at] = str(1 - int(row[at])) if row[part] == "test" else row[at]
    with lzma.open(path, "wt", encoding="utf-8", preset=0) as file:
        file.writelines(",".join(row) for row in [header, *rows])
    told, wrong = together(study, [STAGE]), together(Results.open(copy, {"protocol": "view2"}), [STAGE])
    assert (wrong["label"] == 1 - told["label"]).all() and (wrong["score"] == told["score"]).all()
    assert estimate(wrong)["accuracy"] == pytest.approx(1 - estimate(told)["accuracy"])


def test_what_is_missing_is_named(tmp_path, capsys):
    shutil.copytree(KEPT, tmp_path / "study")
    record = read_json(tmp_path / "study" / "study.json")
    record["combinations"][0]["runs"][2]["run"] = "0" * 16
    write_json(tmp_path / "study" / "study.json", record)
    with pytest.raises(StudyError, match="1 of the networks not finished, the first is .*, seed 0, fold 3"):
        together(Results.open(tmp_path / "study", {"protocol": "view2"}), [STAGE])
    assert main([str(KEPT), "all-poeple-shallow"]) == 2
    assert "did you mean 'all-people-shallow'" in capsys.readouterr().err
    assert main([str(KEPT), STAGE, "--csv", str(tmp_path / "scores.csv")]) == 0
    assert "accuracy 0.93" in capsys.readouterr().out
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 6001


def test_each_training_set_is_validation_of_one_member(faces):
    first = base_config("report", "beyond", dataset="lfw-a").change({"data.protocol": "view2", "data.fold": 7})
    (stage,) = own_stages.read(ROOT / "tools" / "members.toml")
    members = [first, *(first.change(variant.changes) for variant in stage.variants)]
    assert sorted(validation_set(member.data) for member in members) == [1, 2, 3, 4, 5, 6, 8, 9, 10]
    for member in members:
        pairs = load_pairs(member.data, str(faces))
        people = [set(part.people().ravel()) for part in (pairs.train, pairs.validation, pairs.test)]
        assert set(pairs.validation.fold) == {validation_set(member.data)} and set(pairs.test.fold) == {7}
        assert len(set(pairs.train.fold)) == 8 and not people[1] & people[2]
