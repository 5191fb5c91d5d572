import json

import numpy as np
import pytest

from lfwstudy.config import ALL_BFLOAT16, ModelConfig
from lfwstudy.network.siamese import build_siamese
from tools.precision import main, precision, table


def test_all_of_it_in_bfloat16_rounds_where_the_rule_does_not(rng):
    images = rng.random((2, 3, 69, 69, 1)).astype(np.float32)
    towers = {
        name: build_siamese(ModelConfig(width=0.05), 69, name, seed=3).get_layer("tower")
        for name in ("float32", "bfloat16", ALL_BFLOAT16)
    }
    exact, rule, rounded = (np.asarray(tower(images[0])).astype(np.float32) for tower in towers.values())
    assert rounded == pytest.approx(exact, abs=0.1) and rule == pytest.approx(exact, abs=0.1)
    bits = rounded.view(np.uint32) & 0xFFFF
    assert not bits.any() and (rule.view(np.uint32) & 0xFFFF).any()
    model = build_siamese(ModelConfig(width=0.05), 69, ALL_BFLOAT16)
    assert [w.dtype for w in model.weights] == ["float32"] * len(model.weights)


@pytest.mark.long
def test_same_seeds_are_compared_and_what_is_finished_is_not_trained_again(tmp_path, monkeypatch):
    small = {"data.pairs_per_class": 40, "data.side": 69, "model.width": 0.05, "training.epochs": 2}
    found = precision("demo", "", tmp_path, seeds=2, show=lambda text: None, changes=small)
    assert json.loads(json.dumps(found)) == found and len(list((tmp_path / "runs").iterdir())) == 6
    exact, rule, rounded = (found["networks"][name] for name in ("float32", "bfloat16", ALL_BFLOAT16))
    assert rule["difference"] == pytest.approx(np.mean(rule["accuracies"]) - np.mean(exact["accuracies"]))
    assert rule["entropy"][1] <= rule["entropy"][0] <= rule["entropy"][2]
    assert rule["loss"] != exact["loss"] != rounded["loss"]
    monkeypatch.setattr("lfwstudy.runs.dispatch.start", lambda *_: pytest.fail("trained again"))
    assert precision("demo", "", tmp_path, seeds=2, show=lambda text: None, changes=small) == found
    rounded.update(difference=-0.05, within=False)
    line = next(line for line in table(found).to_markdown().splitlines() if "everything" in line)
    assert "| -5.00 | no |" in line


def test_bad_input_is_one_line(tmp_path, capsys):
    assert (
        main(["--dataset", "lfw", "--data-dir", "/nowhere", "--out", str(tmp_path), "--json", str(tmp_path / "x")]) == 2
    )
    assert capsys.readouterr().err == "error: /nowhere: no such folder or archive (given as --data-dir)\n"
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "--json", "x", "--seeds", "1"])
