"""What a page says where a run or a whole stage is missing: that it is, and why."""

import shutil
from contextlib import nullcontext

import pytest

from lfwstudy.errors import StudyError
from lfwstudy.report import summary
from lfwstudy.runs import dispatch
from lfwstudy.runs.failure import Failure
from lfwstudy.study.study import Study
from lfwstudy.system.files import locked, write_csv, write_json
from lfwstudy.training.decisions import COLUMNS
from tests.support.notebooks import page_of
from tests.support.runs import finish_run, study


@pytest.mark.parametrize(
    "ladder, later", [("report", ("stride", "batchnorm", "lr-schedule")), ("beyond", ("crop", "people"))]
)
def test_later_pages_say_that_the_first_stage_is_not_finished_and_why(tmp_path, ladder, later):
    opened = study(tmp_path, ladder=ladder, stages=",".join(later))
    variant = opened.climb()[0].candidates[0].variant
    for stage in later:
        told = page_of(stage, opened)
        assert (
            f"Not finished: stage {stage} could not be reached: stage base is not finished ({variant}: never started)."
            in told
        )
        assert (
            f"# {stage}: " in told and f"No run of {stage} is finished" in told and "200 epochs, the last" not in told
        )
        assert "This is the first stage" not in told
    told = page_of("base", opened)
    assert f"Not finished: {variant}: never started." in told and "This is the first stage" in told


def test_a_stage_that_cannot_be_trained_says_why(tmp_path, monkeypatch):
    opened = study(tmp_path, "batchnorm")
    monkeypatch.setattr(dispatch, "run", lambda jobs, *_: {job.run: "base/base, seed 0: no memory" for job in jobs})
    with pytest.raises(
        StudyError, match=r"batchnorm could not be reached: stage base is not finished \(base: .*no memory\)"
    ):
        Study(opened.settings).stage("batchnorm")


def leave(opened, spec, what):
    """The folder of a run as something leaves it that went wrong; returns what is to be said of it."""
    folder = opened.store.folder(spec.run)
    if what != "never":
        folder.mkdir(parents=True)
        (folder / "job.json").write_text("{}")
    if what in ("failed", "interrupted late", "in training"):
        write_csv(folder / "history.csv", COLUMNS, [dict.fromkeys(COLUMNS, 0.5) | {"epoch": n} for n in (1, 2, 3)])
    if what == "failed":
        Failure("crash", f"its process failed with status 1: <b>{folder}</b> broke").write(folder)
        return f"its process failed with status 1: &lt;b&gt;out/runs/{spec.run}&lt;/b&gt; broke"
    if what == "damaged":
        folder.rename(folder.with_name(f"{spec.run}.damaged-1"))
        return f"it was damaged and set aside as {spec.run}.damaged-1"
    return {
        "never": "never started",
        "interrupted late": "interrupted after epoch 3 of at most 15; the same command resumes it",
        "interrupted early": "interrupted before its first epoch ended",
        "in training": "another process is training it",
    }[what]


WHAT = ["never", "failed", "interrupted late", "interrupted early", "damaged", "in training"]


@pytest.mark.parametrize("what", WHAT)
def test_a_gap_names_its_reason(tmp_path, trained, what):
    study(tmp_path, "base").climb(train=True)
    opened = study(tmp_path, "stride")
    spec = opened.climb()[1].candidates[0].specs[0]
    reason = leave(opened, spec, what)
    with locked(opened.store.folder(spec.run) / ".lock") if what == "in training" else nullcontext():
        told = summary.gap(opened, opened.stage("stride", train=False)).data
    assert f"Not finished: pool1-stride1: {reason}" in told and str(tmp_path) not in told and "<b>" not in told


def test_each_reason_is_said_once_with_the_runs_that_it_is_of(tmp_path, trained):
    study(tmp_path, "base", seeds=3).climb(train=True)
    opened = study(tmp_path, "lr-schedule", seeds=3)
    first, second, _third = opened.climb()[1].candidates
    reason = leave(opened, first.specs[1], "failed")
    finish_run(opened._job(first.specs[0], "train"), 0.6, 0.6)
    finish_run(opened._job(second.specs[0], "train"), 0.6, 0.6)
    told = summary.gap(opened, opened.stage("lr-schedule", train=False)).data
    assert f"drop40, seed 1: {reason}; drop40, seed 2: never started; drop50, seed 1 and seed 2: never started" in told
    assert "drop60: never started" in told and told.count("Not finished") == 1


def test_a_reason_from_a_folder_from_elsewhere_is_cut_and_printable(tmp_path, trained):
    opened = study(tmp_path, "base")
    spec = opened.climb()[0].candidates[0].specs[0]
    leave(opened, spec, "failed")
    record = opened.store.folder(spec.run) / "failure.json"
    write_json(record, {"kind": "crash", "message": "\x1b[31m" + "x" * 10_000})
    assert opened.why_unfinished(spec).startswith("\\x1b[31mxx") and len(opened.why_unfinished(spec)) == 300
    for damaged in ("[]", "{", '{"kind": "crash", "message": 1}', '{"kind": "other", "message": "x"}'):
        record.write_text(damaged)
        assert opened.why_unfinished(spec).startswith("interrupted after epoch 3")
    shutil.rmtree(opened.store.root)
    assert opened.why_unfinished(spec) == "never started"
    assert opened.why_unfinished(spec, {spec.run: "no space\nleft"}) == "no space\\nleft"
