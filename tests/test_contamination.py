import json

import numpy as np
import pytest
from scipy import stats

from tools.contamination import contamination, main, resampled_interval


def test_interval_without_overlap_is_students_and_overlap_widens_it():
    values = np.random.default_rng(0).normal(0.05, 0.02, 12)
    mean, low, high = resampled_interval(values, 0.0)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert (low, high) == pytest.approx(tuple(expected)) and mean == pytest.approx(values.mean())
    # Nadeau and Bengio's variance is (1/J + share) / (1/J) times as large.
    wider = resampled_interval(values, 0.25)
    assert (wider[2] - wider[1]) / (high - low) == pytest.approx(np.sqrt(1 + 12 * 0.25))


@pytest.mark.long
def test_splits_are_drawn_anew_and_what_is_finished_is_not_trained_again(tmp_path, monkeypatch):
    small = {"data.pairs_per_class": 40, "data.side": 69, "model.width": 0.05, "training.epochs": 1}
    found = contamination("demo", "", tmp_path, repeats=2, show=lambda text: None, changes=small)
    assert json.loads(json.dumps(found)) == found
    clean, shared = found["splits"]["components"], found["splits"]["random"]
    assert clean["touched"] == 0 < shared["touched"] and len(list((tmp_path / "runs").iterdir())) == 4
    for split in (clean, shared):
        for name in ("train", "validation", "test"):
            assert (
                split[name] == pytest.approx(np.mean([run[name] for run in split["runs"]])) and len(split["runs"]) == 2
            )
    assert found["wider"][0] == pytest.approx(shared["gap"][0] - clean["gap"][0])
    monkeypatch.setattr("lfwstudy.runs.dispatch.start", lambda *_: pytest.fail("trained again"))
    assert contamination("demo", "", tmp_path, repeats=2, show=lambda text: None, changes=small) == found


def test_bad_input_is_one_line(tmp_path, capsys):
    assert (
        main(["--dataset", "lfw", "--data-dir", "/nowhere", "--out", str(tmp_path), "--json", str(tmp_path / "x")]) == 2
    )
    assert capsys.readouterr().err == "error: /nowhere: no such folder or archive (given as --data-dir)\n"
