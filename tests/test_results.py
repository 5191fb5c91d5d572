"""A study is read from its folder alone: no image, no data set, no cache."""

import json
import shutil

import numpy as np
import pytest

from lfwstudy import workflow
from lfwstudy.data import demo, prepare, registry
from lfwstudy.errors import DataError, StudyError
from lfwstudy.report.wording import NO_IMAGES
from lfwstudy.runs.failure import Failure
from lfwstudy.study.results import RESULT_COLUMNS, Results
from lfwstudy.study.study import Study
from lfwstudy.system.files import read_csv, read_json, write_json
from tests.support.notebooks import page_of
from tests.support.runs import KEPT, study


@pytest.fixture
def nothing_at_hand(monkeypatch, tmp_path):
    """From the call on, there is no image: not in the cache, not in a folder, and none can be drawn."""

    def call():
        monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path / "empty"))
        monkeypatch.delenv("LFWSTUDY_DATA", raising=False)
        prepare.load_data.cache_clear()

        def gone(*_, **__):
            raise DataError("the images are gone")

        monkeypatch.setattr(demo, "make_demo", gone)
        monkeypatch.setattr(registry, "resolve_data_dir", gone)
        monkeypatch.setattr(prepare, "prepare_bank", gone)

    return call


def texts(rows):
    """Rows as a CSV file has them, of the columns that stand-ins for runs have."""
    return [{key: str(row[key]) for key in ("stage", "variant", "seed", "run", "val_accuracy_at_best")} for row in rows]


def without_record(out):
    """A folder's study.json as earlier versions wrote it."""
    record = read_json(out / "study.json")
    for entry in record["combinations"]:
        del entry["runs"]
    write_json(out / "study.json", record)


def test_a_finished_study_is_read_without_its_images_and_elsewhere(tmp_path, trained, nothing_at_hand):
    trained[1]["batchnorm/before-activation"] = (0.9, 0.3)
    opened = study(tmp_path, "base,early-stopping,batchnorm", seeds=2)
    rungs = opened.climb(train=True)
    nothing_at_hand()
    elsewhere = shutil.move(opened.out, tmp_path / "elsewhere")
    results = Results.open(elsewhere)
    assert results.climb() == rungs and results.best() == rungs[-1].after
    assert texts(results.rows()) == texts(read_csv(elsewhere / "results.csv"))
    assert results.best_run()["variant"] == "before-activation" and results.is_complete(results.climb())
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize("kind", [Results, Study])
def test_what_is_half_finished_is_told_apart_without_images(tmp_path, trained, nothing_at_hand, kind):
    opened = study(tmp_path, "base,early-stopping", seeds=2)
    opened.climb("base", train=True)
    opened.record_runs()
    planned = opened.next_runs()
    opened.store.folder(planned[0].run).mkdir()
    Failure("memory", "out of memory").write(opened.store.folder(planned[0].run))
    nothing_at_hand()
    results = kind.open(tmp_path / "out")
    base, stopping = results.climb()
    assert base.complete() and not stopping.complete() and [s.run for s in stopping.specs()] == [s.run for s in planned]
    assert results.why_incomplete(stopping).startswith(
        "patience5, seed 0: out of memory; patience5, seed 1: never started"
    )
    assert [row["stage"] for row in results.rows()] == ["base", "base"]


def test_stages_that_an_earlier_version_added_are_found_by_their_rows(tmp_path, trained):
    """It writes results.csv and leaves the record of the runs as it was."""
    opened = study(tmp_path, "base,early-stopping")
    opened.climb(train=True)
    opened.write_results()
    record = read_json(opened.out / "study.json")
    runs = record["combinations"][0]["runs"]
    record["combinations"][0]["runs"] = [row for row in runs if row["stage"] == "base"]
    write_json(opened.out / "study.json", record)
    assert [rung.complete() for rung in Results.open(opened.out).climb()] == [True, True]


def test_the_report_of_a_study_whose_images_are_gone_comes_out(tmp_path, faces, trained, capsys, monkeypatch):
    data = shutil.copytree(faces, tmp_path / "data")
    opened = study(tmp_path, "base,early-stopping", dataset="lfw-a", data_dir=str(data))
    rungs = opened.climb(train=True)
    before = (opened.out / "results.csv").read_text(), (opened.out / "study.json").read_text()
    shutil.rmtree(data / "lfw2")
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path / "empty"))
    prepare.load_data.cache_clear()
    executed = []
    monkeypatch.setattr(workflow, "_render_pages", lambda study, wanted: executed.extend(p.stem for p in wanted) or [])
    gone = Study.open(opened.out)
    assert "images are not available: " in gone.why_no_images and gone.audits() and gone.climb() == rungs
    assert workflow.report(gone) == 0
    assert executed == ["02_report", "01_stage-base", "01_stage-early-stopping"]
    assert "warning: The images are not available: " in capsys.readouterr().err
    assert before == ((opened.out / "results.csv").read_text(), (opened.out / "study.json").read_text())
    with pytest.raises(DataError):
        workflow.run(gone)


@pytest.mark.parametrize("notebook", ["01_stage", "02_report"])
def test_pages_without_images_show_the_results_and_say_what_needs_them(played, tmp_path, nothing_at_hand, notebook):
    out = shutil.copytree(played, tmp_path / "study")
    nothing_at_hand()
    shown = page_of("augmentation", Study.open(out), notebook)
    assert NO_IMAGES in shown and "impatient" in shown and "data:image/jpeg" not in shown


def test_a_folder_of_an_earlier_version_is_read_and_resumed_without_training(tmp_path, trained, nothing_at_hand):
    done, _ = trained
    opened = study(tmp_path, "base,batchnorm")
    rungs = opened.climb(train=True)
    without_record(opened.out)
    assert Results.open(opened.out).climb() == rungs
    count = len(done)
    resumed = study(tmp_path, "base,batchnorm")
    assert resumed.climb(train=True) == rungs and len(done) == count
    resumed.write_results()
    assert "runs" in read_json(opened.out / "study.json")["combinations"][0]
    (opened.out / "results.csv").unlink()
    nothing_at_hand()
    assert Results.open(opened.out).climb() == rungs


def test_runs_of_an_open_choice_are_recorded_once_it_is_made(tmp_path, trained):
    opened = study(tmp_path, "early-stopping,batchnorm,lr-schedule")
    opened.record_runs()
    recorded = {place.stage for place in Results.open(opened.out).record.runs}
    assert recorded == {"base", "early-stopping", "batchnorm"}
    opened.climb(train=True)
    assert "lr-schedule" in {place.stage for place in Results.open(opened.out).record.runs}
    # A seed more, and the choice is open again: what was trained from the old one is no longer part of the ladder.
    more = study(tmp_path, "early-stopping,batchnorm,lr-schedule", seeds=2)
    more.record_runs()
    assert "lr-schedule" not in {place.stage for place in Results.open(opened.out).record.runs}


def test_a_combination_is_opened_by_what_it_is_called(tmp_path, trained):
    study(tmp_path, "base").climb(train=True)
    view2 = study(tmp_path, "base", protocol="view2")
    view2.climb(train=True)
    out = tmp_path / "out"
    assert Results.open(out).settings.protocol == "view1"
    results = Results.open(out, {"protocol": "view2"})
    assert [row["fold"] for row in results.rows()] == list(range(1, 11)) and results.frame()["split"].isna().all()
    without_record(out)
    assert [c.rows() for c in Results.open(out).combinations()] == [c.rows() for c in view2.combinations()]
    with pytest.raises(StudyError, match="no ladder with ladder beyond"):
        Results.open(out, {"ladder": "beyond"})


@pytest.mark.parametrize("folder", KEPT, ids=lambda path: path.name)
def test_kept_studies_are_read_as_their_results_have_them(folder):
    filed, found = read_csv(folder / "results.csv"), []
    for results in Results.open(folder).combinations():
        rungs = results.climb()
        found += (rows := results.rows(rungs))
        assert results.best(rungs).specs[0].run in {row["run"] for row in rows}
        pairs = 6000 if results.settings.protocol == "view2" else 1000
        assert results.test_components().shape == results.correct(results.best(rungs)).shape[1:] == (pairs,)
        assert bool(results.differences(rungs)) == (len(rungs) > 1)
    columns = ("ladder", "stage", "variant", "seed", "run", "carried_forward")
    assert [[str(row[c]).lower() for c in columns] for row in found] == [
        [row[c].lower() for c in columns] for row in filed
    ]


def test_frames_are_tidy_and_their_numbers_are_numbers():
    results = Results.open(KEPT[0].with_name("lfw-deepfunneled-shallow"))
    frame = results.frame()
    assert list(frame.columns) == RESULT_COLUMNS and len(frame) == len(results.rows())
    assert frame["seed"].dtype == "Int64" and frame["fold"].isna().all() and frame["carried_forward"].dtype == bool
    assert frame["test_accuracy"].dtype == np.float64 and frame["seconds_total"].gt(0).all()
    histories = results.histories()
    assert list(histories.columns[:6]) == ["stage", "variant", "seed", "fold", "run", "epoch"]
    assert histories.groupby("run").size().to_dict() == dict(zip(frame["run"], frame["epochs_run"]))
    scored = results.predictions().query("run == @frame.run[0]")
    right = (scored["score"] > 0.5) == (scored["label"] > 0.5)
    assert len(scored) == 1000 and right.mean() == pytest.approx(frame["test_accuracy"][0])


def test_an_empty_study_has_empty_frames(tmp_path, trained):
    study(tmp_path, "base")
    results = Results.open(tmp_path / "out")
    assert results.frame().empty and list(results.frame().columns) == RESULT_COLUMNS
    assert results.histories().empty and results.predictions().empty and results.best() is None
    with pytest.raises(StudyError, match="no finished run"):
        results.test_components()


def test_the_record_names_every_run_at_its_place(tmp_path, trained):
    opened = study(tmp_path, "base", seeds=2)
    opened.climb(train=True)
    (entry,) = json.loads((opened.out / "study.json").read_text())["combinations"]
    assert entry["runs"] == [
        {"stage": "base", "variant": "base", "seed": seed, "fold": None, "run": run}
        for seed, run in enumerate(s.run for s in opened.climb()[0].specs())
    ]
