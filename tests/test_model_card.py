"""The network that comes with the package."""

import dataclasses

import numpy as np
import pytest

from lfwstudy.config import RunConfig
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.errors import StudyError
from lfwstudy.runs.store import Store
from lfwstudy.system.files import read_json
from lfwstudy.verify.kept import SHIPPED, load_network
from tools import model_card
from tools.kept_studies import RESULTS, SHALLOW


def test_network_that_comes_with_the_package_is_small_and_of_a_run_in_results():
    names = ["CARD.md", "head.onnx", "model.keras", "roc.png", "run.json", "tower.onnx"]
    assert sorted(p.name for p in SHIPPED.iterdir()) == names
    assert all((SHIPPED / name).stat().st_size < model_card.LARGEST for name in names)
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


@pytest.mark.long
@pytest.mark.lfw
def test_network_that_comes_with_the_package_gives_the_scores_in_results(lfw_dir):
    known = read_json(SHIPPED / "run.json")
    config = RunConfig.from_dict(known["config"])
    told = Store(RESULTS / SHALLOW / "runs").predictions(known["run"], "test")
    rows, bank = np.linspace(0, len(told["label"]) - 1, 40).astype(int), prepare_bank(config.data, lfw_dir)
    network = load_network()
    left, right = (network.embed(bank.images[bank.rows(told[side][rows])]) for side in ("left", "right"))
    np.testing.assert_allclose(network.score(left, right), told["score_at_best"][rows], atol=2e-3)
