"""The network that comes with the package."""

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from lfwstudy import load_verifier
from lfwstudy.config import RunConfig
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.errors import DataError, StudyError
from lfwstudy.runs.store import Store
from lfwstudy.system.files import read_json
from lfwstudy.verify.network import SHIPPED, load_network
from lfwstudy.verify.verifier import verify_photos
from tools import model_card
from tools.kept_studies import RESULTS, SHALLOW


def test_network_that_comes_with_the_package_is_small_and_of_a_run_in_results():
    assert sorted(p.name for p in SHIPPED.iterdir()) == ["CARD.md", "model.keras", "roc.png", "run.json"]
    assert (SHIPPED / "model.keras").stat().st_size < model_card.LARGEST
    known, store = read_json(SHIPPED / "run.json"), Store(RESULTS / SHALLOW / "runs")
    assert store.record(known["run"])[0]["config"] == known["config"]
    assert store.result(known["run"])["test_accuracy_at_best"] == known["test_accuracy"]
    told = (SHIPPED / "CARD.md").read_text(encoding="utf-8")
    assert known["run"] in told and f"| accuracy | {100 * known['test_accuracy']:.1f} % [" in told


@pytest.mark.lfw
def test_card_is_that_of_the_results(lfw_dir):
    study, candidate, spec = model_card.best_of(RESULTS / SHALLOW)
    study.settings = dataclasses.replace(study.settings, data_dir=lfw_dir)
    card = model_card.card(study, candidate, spec)
    assert card == (SHIPPED / "CARD.md").read_text(encoding="utf-8")


def test_no_network_is_handed_out_without_its_weights_or_of_drawn_faces(played, tmp_path):
    with pytest.raises(StudyError, match="the weights of run 6b9e3a5cd063d3ff are not kept"):
        model_card.ship(RESULTS / SHALLOW, tmp_path / "shipped")
    with pytest.raises(StudyError, match="drawn faces"):
        model_card.ship(played, tmp_path / "shipped")
    assert not (tmp_path / "shipped").exists()


def test_two_photos_are_scored_without_any_study(faces, tmp_path, monkeypatch):
    photo = next(faces.rglob("*.jpg"))
    monkeypatch.chdir(tmp_path)
    answer = verify_photos(photo, photo, left_box=(70, 70, 180, 180), right_box=(70, 70, 180, 180))
    assert re.fullmatch(
        r"same person: P\(same\) [01]\.\d\d, threshold 0\.50 \(network: shipped with lfwstudy\)", str(answer)
    )
    assert not answer.is_demo


def test_photos_are_compared_and_embedded_from_python(faces, tmp_path):
    paths = sorted(faces.rglob("*.jpg"))[:2]
    box = (70, 70, 180, 180)
    verifier, answer = load_verifier(), verify_photos(*paths, left_box=box, right_box=box)
    assert verifier.score(*paths, left_box=box, right_box=box) == answer.score
    assert verifier.score(*map(Image.open, paths), left_box=box, right_box=box) == pytest.approx(answer.score, abs=1e-6)
    embeddings = verifier.embed(paths, boxes=[box, box])
    assert embeddings.shape[0] == 2 and embeddings.dtype == np.float32
    assert verifier.network.score(embeddings[:1], embeddings[1:]) == pytest.approx(answer.score, abs=1e-6)
    with pytest.raises(DataError, match="no face found.*with left_box"):
        verifier.score(Image.new("L", (300, 300), 90), paths[0], right_box=box)


@pytest.mark.lfw
def test_network_that_comes_with_the_package_gives_the_scores_in_results(lfw_dir):
    known = read_json(SHIPPED / "run.json")
    config = RunConfig.from_dict(known["config"])
    told = Store(RESULTS / SHALLOW / "runs").predictions(known["run"], "test")
    rows, bank = np.linspace(0, len(told["label"]) - 1, 40).astype(int), prepare_bank(config.data, lfw_dir)
    network = load_network()
    left, right = (network.embed(bank.images[bank.rows(told[side][rows])]) for side in ("left", "right"))
    np.testing.assert_allclose(network.score(left, right), told["score_at_best"][rows], atol=2e-3)
