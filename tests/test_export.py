"""A study as CSV and event files: nothing is lost, and nobody's folder is overwritten."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from lfwstudy.cli import main
from lfwstudy.errors import RunError, StudyError
from lfwstudy.study import export as module
from lfwstudy.study.export import export
from lfwstudy.study.results import Results
from lfwstudy.system.files import read_csv, read_json

VIEW2 = Path(__file__).parents[1] / "results/lfw-deepfunneled-view2"


def scalars(file):
    """(epoch, wall time, column, value) of an event file."""
    import tensorflow as tf

    events = tf.compat.v1.train.summary_iterator(str(file))
    return [(e.step, e.wall_time, value.tag, value.simple_value) for e in events for value in e.summary.value]


def test_tables_have_every_run_epoch_and_scored_pair(played, tmp_path):
    study = Results.open(played)
    to = export(study, tmp_path / "deep" / "export")
    assert {path.name for path in to.iterdir()} == module._CONTENT
    assert [row["run"] for row in read_csv(to / "results.csv")] == [row["run"] for row in study.all_rows()]
    histories, scored = pd.read_csv(to / "histories.csv"), pd.read_csv(to / "predictions.csv")
    assert list(histories.columns[:9]) == [
        "ladder",
        "protocol",
        "split",
        "select",
        "stage",
        "variant",
        "seed",
        "fold",
        "run",
    ]
    assert histories["val_loss"].to_list() == pytest.approx(study.histories()["val_loss"].to_list(), rel=1e-8)
    assert list(scored.columns[9:]) == ["set", "pair", "left", "right", "label", "score", "score_at_best"]
    for row in study.all_rows():
        for part in ("train", "val", "test"):
            found = scored[(scored["run"] == row["run"]) & (scored["set"] == part)]
            accuracy = ((found["score"] > 0.5) == (found["label"] > 0.5)).mean()
            assert accuracy == pytest.approx(row[f"{part}_accuracy"])
    assert read_json(to / "export.json") == {
        "study": "study", "dataset": "demo", "profile": "quick", "precision": "float32", "runs": 2
    }  # fmt: skip


def test_event_files_have_the_histories_by_epoch_and_training_time(played, tmp_path):
    study = Results.open(played)
    to = export(study, tmp_path / "export")
    folders = sorted(path.name for path in (to / "tensorboard").iterdir())
    assert folders == ["augmentation-impatient-seed0", "base-base-seed0"]
    (file,) = (to / "tensorboard" / "base-base-seed0").iterdir()
    found = scalars(file)
    history = study.store.history(study.all_rows()[0]["run"])
    assert "tfevents" in file.name and len(found) == sum(len(row) - 1 for row in history)
    for row in history:
        values = {tag: value for step, _, tag, value in found if step == row["epoch"]}
        assert values == pytest.approx({name: value for name, value in row.items() if name != "epoch"})
    assert found[-1][1] == pytest.approx(sum(row["seconds"] for row in history))


def test_folds_and_kept_runs_are_exported(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "write_events", lambda folder, history: folder.mkdir(parents=True))
    to = export(Results.open(VIEW2), tmp_path / "export")
    histories = pd.read_csv(to / "histories.csv")
    assert sorted(set(histories["fold"])) == list(range(1, 11)) and histories["split"].isna().all()
    assert (to / "tensorboard" / "all-people-larger-larger-seed0-fold10").is_dir()


def test_an_earlier_export_is_replaced_and_other_content_is_not(played, tmp_path, capsys):
    to = tmp_path / "export"
    to.mkdir()
    assert main(["export", "--out", str(played), "--to", str(to)]) == 0 and str(to) in capsys.readouterr().out
    (to / "results.csv").write_text("older")
    export(Results.open(played), to)
    assert read_csv(to / "results.csv") and list(tmp_path.iterdir()) == [to]
    (to / "notes.txt").write_text("mine")
    with pytest.raises(StudyError, match=r"notes\.txt"):
        export(Results.open(played), to)
    (to / "notes.txt").rename(tmp_path / "file")
    for taken, word in ((played, "holds"), (tmp_path / "file", "not a folder")):
        assert main(["export", "--out", str(played), "--to", str(taken)]) == 2
        assert word in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failed_export_leaves_what_was_there(played, tmp_path):
    to = export(Results.open(played), tmp_path / "export")
    before = sorted(to.rglob("*"))
    copy = shutil.copytree(played, tmp_path / "copy")
    for damaged in copy.glob("runs/*/predictions.csv"):
        damaged.write_text("set,pair\ntest,2\n")
    with pytest.raises(RunError, match=r"predictions\.csv: damaged"):
        export(Results.open(copy), to)
    assert sorted(to.rglob("*")) == before and {path.name for path in tmp_path.iterdir()} == {"export", "copy"}
