"""A study kept in a few files says what its run folders say."""

import shutil

import numpy as np
import pandas as pd
import pytest

from lfwstudy.errors import RunError
from lfwstudy.runs.damage import problem_of
from lfwstudy.runs.kept import RECORDS, TABLES
from lfwstudy.runs.store import FILES, Store
from tools.keep import keep_study, main


@pytest.fixture
def kept(played, tmp_path):
    """The small study of `played`, and what is kept of it."""
    keep_study(played, tmp_path / "kept", demo=True)
    return Store(played / "runs"), Store(tmp_path / "kept" / "runs")


def test_kept_runs_are_read_as_their_folders_are(kept):
    folders, files = kept
    assert len(folders.ids()) == 2 and files.ids() == folders.ids()
    for run in folders.ids():
        for name in TABLES:
            assert files.text(run, name).encode() == (folders.folder(run) / name).read_bytes()
        assert files.record(run) == folders.record(run) and files.result(run) == folders.result(run)
        assert files.history(run) == folders.history(run) and len(files.history(run)) == 2
        assert files.is_finished(run, with_test=True) and problem_of(files, run) is None
        for part in ("train", "val", "test"):
            np.testing.assert_equal(files.scores(run, part), folders.scores(run, part))
            np.testing.assert_equal(files.predictions(run, part), folders.predictions(run, part))


def test_only_tables_and_settings_are_kept(kept):
    folders, files = kept
    root = files.root.parent
    assert any(folders.has_weights(run) for run in folders.ids()) and not any(map(files.has_weights, files.ids()))
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert found == {"study.json", "results.csv", *(f"runs/{name}" for name in (RECORDS, *TABLES.values()))}


def test_pandas_reads_the_tables(kept):
    table = pd.read_csv(kept[1].root / TABLES["predictions.csv"])
    run = kept[1].ids()[0]
    of_run = table[(table.run == run) & (table.set == "test")]
    np.testing.assert_array_equal(of_run.score, kept[1].scores(run)["score"])


def test_a_run_trained_later_stands_next_to_kept_ones(kept):
    folders, files = kept
    files.folder("later").mkdir()
    for name in FILES:
        shutil.copy(folders.folder(folders.ids()[0]) / name, files.folder("later"))
    assert files.ids() == [*folders.ids(), "later"] and files.is_finished("later")
    assert not files.is_finished("another") and files.history("another") == []
    with pytest.raises(FileNotFoundError):
        files.result("another")


def test_demo_unfinished_and_damaged_studies_are_refused(played, tmp_path, capsys):
    assert main([str(played), str(tmp_path / "a")]) == 2
    assert "drawn faces" in capsys.readouterr().err and not (tmp_path / "a").exists()
    shutil.copytree(played, tmp_path / "study")
    for run in Store(played / "runs").ids():
        (tmp_path / "study" / "runs" / run / "predictions.csv").write_text("")
    assert main(["--demo", str(tmp_path / "study"), str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err.count("damaged") == 4 and not (tmp_path / "b").exists()
    for path in (tmp_path / "study").rglob("result.json"):
        path.unlink()
    assert main(["--demo", str(tmp_path / "study"), str(tmp_path / "c")]) == 2
    assert "no finished run" in capsys.readouterr().err
    (tmp_path / "study" / "study.json").write_text("{")
    assert main([str(tmp_path / "study"), str(tmp_path / "d")]) == 2
    assert "study.json" in capsys.readouterr().err and not (tmp_path / "d").exists()


@pytest.mark.parametrize("name", [RECORDS, *TABLES.values()])
def test_a_damaged_file_is_named(kept, tmp_path, name):
    store = Store(shutil.copytree(kept[1].root, tmp_path / "damaged"))
    path = store.root / name
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match=f"{name}: damaged"):
        [(store.result(run), store.scores(run), store.text(run, "history.csv")) for run in store.ids()]


@pytest.fixture
def histories(played, tmp_path):
    """A copy of the small study of `played`, and its runs' history files."""
    shutil.copytree(played, tmp_path / "study")
    store = Store(tmp_path / "study" / "runs")
    return [store.folder(run) / "history.csv" for run in store.ids()]


@pytest.mark.parametrize("older", [0, 1])
def test_a_run_older_than_a_column_is_kept_next_to_newer_ones(histories, tmp_path, older):
    history = histories[older]
    history.write_text("".join(line.rpartition(",")[0] + "\n" for line in history.read_text().splitlines()))
    keep_study(tmp_path / "study", tmp_path / "kept", demo=True)
    kept = Store(tmp_path / "kept" / "runs")
    assert [kept.text(file.parent.name, "history.csv") for file in histories] == [f.read_text() for f in histories]


def test_tables_that_would_not_be_read_back_are_refused_and_nothing_is_written(histories, tmp_path, capsys):
    histories[0].write_text(histories[0].read_text().replace("epoch,loss", "epoch,lost"))
    assert main(["--demo", str(tmp_path / "study"), str(tmp_path / "kept")]) == 2
    assert "cannot be packed" in capsys.readouterr().err and not (tmp_path / "kept").exists()
