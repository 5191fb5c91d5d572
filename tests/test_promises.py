"""What is trusted and what is not: damaged runs, runs of another configuration, two at a time, runs that diverged."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from lfwstudy import config, workflow
from lfwstudy.config import DataConfig, RunConfig
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import StudyPairs, load_pairs
from lfwstudy.report import ladder_tables, series
from lfwstudy.runs.damage import problem_of
from lfwstudy.runs.store import FILES, Store
from lfwstudy.study import study as study_module
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system import files
from lfwstudy.system.files import read_csv, read_json, write_json, write_text
from lfwstudy.training import checkpoints, run
from tests.support.runs import fill


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    fill(folder, 2, "early-stopping")
    return folder


@pytest.fixture
def out(filled, tmp_path):
    """A finished study of two stages and two seeds, of made-up runs: a copy to damage."""
    shutil.copytree(filled, tmp_path / "out")
    return tmp_path / "out"


def opened(out, **settings):
    return Study(Settings(out=str(out), precision="float32", **settings))


def change(name, **values):
    return lambda folder: write_json(folder / name, {**read_json(folder / name), **values})


def replace(name, old, new):
    def call(folder):
        text = (folder / name).read_text()
        (folder / name).unlink()  # the copies share nothing, but links might
        (folder / name).write_text(text.replace(old, new, 1))

    return call


def cut(name):
    def call(folder):
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name).write_bytes(content[: len(content) // 2])

    return call


DAMAGE = {
    **{f"{name} cut short": cut(name) for name in FILES},
    **{f"{name} empty": lambda f, n=name: (f / n).write_text("") for name in FILES},
    "another configuration": change("config.json", seed=7),
    "another run's result": change("result.json", run="0" * 16),
    "text for a number": change("result.json", val_accuracy_at_best="high"),
    "a status that does not exist": change("result.json", status="ok"),
    "a list for a result": lambda folder: (folder / "result.json").write_text("[]"),
    "an accuracy that predictions deny": change("result.json", test_accuracy=0.99),
    "a changed score": replace("predictions.csv", "\nval,", "\nvalue,"),
    "not text": lambda f: (f / "history.csv").write_bytes(b"\xff\xfe\0"),
    "an epoch lost": lambda f: (f / "history.csv").write_text(
        "\n".join((f / "history.csv").read_text().split("\n")[:-2]) + "\n"
    ),
    "a network cut short": lambda folder: (folder / "model.keras").write_bytes(b"PK\x03\x04" + bytes(100)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_runs_are_named_set_aside_and_asked_for_again(out, damage):
    study = opened(out)
    assert not list(study.store.set_aside_damaged()) and study.climb()[-1].complete()
    victim, *others = study.store.ids()
    damage(study.store.folder(victim))
    said = []
    study.set_aside_damaged(said.append)  # though all were found whole a moment ago
    assert len(said) == 1 and victim in said[0] and "set aside" in said[0]
    assert study.store.ids() == others and (out / "runs" / f"{victim}.damaged-1").is_dir()
    assert [s.run for r in study.climb() for c in r.candidates for s in study.missing(c.specs)] == [victim]


def test_a_run_of_a_later_version_with_more_settings_is_left_as_it_is(out):
    study = opened(out)
    victim = study.store.ids()[0]
    config = read_json(study.store.folder(victim) / "config.json")
    config["config"]["training"]["a_later_setting"] = 3
    write_json(study.store.folder(victim) / "config.json", config)
    assert not list(study.store.set_aside_damaged()) and study.store.is_finished(victim)


def test_only_temporary_files_of_ours_are_swept(tmp_path):
    ours = [files.temporary_next_to(tmp_path / name) for name in ("history.csv", "epoch-0001.weights.h5")]
    theirs = [tmp_path / name for name in (".2024.notes.txt", ".7z.log", ".lfwstudy-notes.txt", "1.2.txt")]
    for path in (*ours, *theirs):
        path.write_text("")
    files.sweep(tmp_path)
    assert not any(path.exists() for path in ours) and all(path.exists() for path in theirs)


def test_content_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    """A machine that stops leaves the old file or the new one, also where its file system writes names before contents."""
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda file: done.append(("flushed", os.fstat(file.fileno()).st_size)) or fsync(file)
    )
    monkeypatch.setattr(os, "replace", lambda *paths: done.append("renamed") or replace(*paths))
    write_text(tmp_path / "file", "five\n")
    assert done == [("flushed", 5), "renamed"]


def test_a_missing_file_makes_a_run_unfinished(out):
    study = opened(out)
    specs = [spec for rung in study.climb() for candidate in rung.candidates for spec in candidate.specs]
    assert study.missing(specs) == [] and len(specs) >= len(FILES)
    for spec, name in zip(specs, FILES):
        (study.store.folder(spec.run) / name).unlink()
    assert study.missing(specs) == specs[: len(FILES)]


def pretend_all_runs_fail_at_once(monkeypatch):
    """No run is trained and no notebook executed."""
    monkeypatch.setattr(Study, "train", lambda self, specs, show=None: {s.run: "not tried" for s in specs})
    monkeypatch.setattr(workflow._Desk, "finish", lambda self: None)
    monkeypatch.setattr(workflow, "_render_pages", lambda *args: [])


def test_runs_that_do_not_match_are_not_reused_and_the_reason_is_printed(out, monkeypatch, capsys):
    opened(out).write_results()
    pretend_all_runs_fail_at_once(monkeypatch)
    told = {}
    for name, prepare in (
        ("same", lambda: None),
        ("version", lambda: [monkeypatch.setattr(m, "TRAINING_VERSION", 2) for m in (config, study_module)]),
        ("precision", lambda: change("study.json", precision="bfloat16")(out)),
        ("data", lambda: monkeypatch.setattr(StudyPairs, "digest", lambda self, bank: "f" * 64)),
    ):
        with monkeypatch.context():
            prepare()
            study_module.load_data.cache_clear()
            study = Study(Settings(out=str(out), seeds=2))
            missing = [s.run for r in study.climb() for c in r.candidates for s in study.missing(c.specs)]
            assert (name == "same") == (not missing)
            workflow._climb(study, study.filed)
            told[name] = capsys.readouterr().err
        monkeypatch.undo()
        pretend_all_runs_fail_at_once(monkeypatch)
        change("study.json", precision="float32")(out)
        study_module.load_data.cache_clear()
    assert "retrained" not in told["same"]
    assert "base is retrained: training version 2, was 1" in told["version"]
    assert "base is retrained: precision bfloat16, was float32" in told["precision"]
    assert "base is retrained: its images or pairs have changed" in told["data"]
    study = opened(out)
    spec = study.climb()[1].candidates[0].specs[0]
    assert "training.patience" in study.why_retrained(spec, study.climb()[0].candidates[0].specs[0].run)


def test_a_resume_state_of_another_run_is_not_resumed_from(tmp_path, caplog):
    identity = {"run": "a" * 16, "seed": 0, "config": RunConfig().to_dict()}
    wider = RunConfig().change({"model.width": 2.0}).to_dict()
    for known in (identity | {"run": "b" * 16}, identity | {"config": wider}, {"run": "a" * 16, "seed": 0}, [], None):
        (tmp_path / "resume.npz").write_bytes(b"x")
        if known is not None:
            write_json(tmp_path / "config.json", known)
        else:
            (tmp_path / "config.json").unlink()
        checkpoints.forget_another_run(tmp_path, identity)
        aside = re.search(r"set aside as (\S+), this run starts over", caplog.text)[1]
        caplog.clear()
        assert not (tmp_path / "resume.npz").exists() and (tmp_path.parent / aside / "resume.npz").read_bytes() == b"x"
    (tmp_path / "resume.npz").write_bytes(b"x")
    older = RunConfig().to_dict()
    del older["model"]["whitening"]  # of a version without this setting
    for written in (identity["config"], older):
        write_json(tmp_path / "config.json", identity | {"config": written})
        checkpoints.forget_another_run(tmp_path, identity)
        assert (tmp_path / "resume.npz").exists()


FILL_CACHE = """
import sys
from lfwstudy.config import DataConfig
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
config = DataConfig(dataset=sys.argv[1], side=41)
print(load_pairs(config, sys.argv[2]).digest(prepare_bank(config, sys.argv[2])))
"""


@pytest.mark.parametrize("dataset", ["lfw-a", pytest.param("demo", marks=pytest.mark.long)])
def test_two_that_start_with_one_empty_cache_share_it(faces, tmp_path, dataset):
    environment, folder = (
        {**os.environ, "LFWSTUDY_CACHE": str(tmp_path / "cache")},
        "" if dataset == "demo" else str(faces),
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", FILL_CACHE, dataset, folder], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=120)[0] for process in both]
    data = DataConfig(dataset=dataset, side=41)
    assert told == [load_pairs(data, folder).digest(prepare_bank(data, folder)) + "\n"] * 2
    assert [p.suffix for p in sorted((tmp_path / "cache" / "banks").iterdir())] == [".lock", ".npz"]
    assert not list((tmp_path / "cache").glob(".lfwstudy*"))


def test_a_run_that_diverges_is_recorded_and_shown_but_never_chosen(tiny, tmp_path, monkeypatch):
    build = run.build_trainer

    def poisoned(*arguments):
        trainer = build(*arguments)
        trainer.siamese.get_layer("head").get_layer("logit").bias.assign([np.nan])
        return trainer

    monkeypatch.setattr(run, "build_trainer", poisoned)
    run.train(tiny, 0, "float32", prepare_bank(tiny.data), load_pairs(tiny.data), tmp_path / "run", "run")
    store = Store(tmp_path)
    result = store.result("run")
    assert result["status"] == "diverged" and result["best_epoch"] is None and result["epochs_run"] == 1
    assert np.isnan(result["val_loss"]) and np.isnan(result["test_accuracy"])
    assert "nan" in (tmp_path / "run" / "history.csv").read_text() and problem_of(store, "run") is None
    assert not store.has_weights("run")


@pytest.mark.parametrize("select", ["validation", "report"])
def test_tables_show_a_diverged_run_and_nothing_starts_from_it(out, select):
    study = opened(out, seeds=2, select=select)
    study.ask(["early-stopping"])
    run = study.climb()[1].candidates[0].specs[1].run  # one seed of two
    nothing = dict.fromkeys(("val_accuracy", "val_loss", "val_cross_entropy", "test_accuracy", "test_loss"), "nan")
    change("result.json", status="diverged", best_epoch=None, val_accuracy_at_best="nan", **nothing)(
        study.store.folder(run)
    )
    rungs = study.climb()
    assert (rungs[1].after.stage, rungs[1].after.variant) == ("base", "base") and rungs[1].complete()
    study.write_results()
    row = next(row for row in read_csv(out / "results.csv") if row["run"] == run)
    assert row["test_accuracy"] == "nan" and row["carried_forward"] == "false"
    table = ladder_tables.accuracies(study, rungs)
    assert table.rows[1]["measured accuracy"] == "diverged" and not series.ladder_points(study, rungs)["carried"][1]
