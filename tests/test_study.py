import dataclasses
import shutil

import numpy as np
import pytest

from lfwstudy import workflow
from lfwstudy.data.registry import DATASETS
from lfwstudy.errors import ConfigError, DataError, RunError, StudyError
from lfwstudy.ladder import LADDERS, PROFILES
from lfwstudy.ladder.profiles import Profile
from lfwstudy.runs import dispatch
from lfwstudy.study.results import RESULT_COLUMNS, Results
from lfwstudy.study.rungs import Candidate, Rung
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study, open_study
from lfwstudy.system.files import locked, read_csv, read_json, write_json
from lfwstudy.training.decisions import COLUMNS
from lfwstudy.training.run import PREDICTION_COLUMNS
from tests.support.failures import content
from tests.support.runs import finish_run, study

CONTRACT = [
    "ladder",
    "stage",
    "variant",
    "seed",
    "fold",
    "profile",
    "dataset",
    "protocol",
    "split",
    "select",
    "precision",
    "backend",
    "device",
    "parameters",
    "epochs_run",
    "epochs_max",
    "evaluated_epoch",
    "best_epoch",
    "train_accuracy",
    "train_loss",
    "train_cross_entropy",
    "val_accuracy",
    "val_loss",
    "val_cross_entropy",
    "test_accuracy",
    "test_loss",
    "test_cross_entropy",
    "val_accuracy_at_best",
    "test_accuracy_at_best",
    "test_auc",
    "test_eer",
    "test_tpr",
    "test_tnr",
    "test_ci_low",
    "test_ci_high",
    "seconds_per_epoch",
    "seconds_total",
    "seconds_to_best",
    "peak_memory_mb",
    "carried_forward",
    "run",
]


def path_of(rungs):
    return [f"{r.after.stage}/{r.after.variant}" for r in rungs]


def test_columns_are_the_agreed_ones():
    assert RESULT_COLUMNS[: len(CONTRACT)] == CONTRACT
    assert PREDICTION_COLUMNS == ("set", "pair", "left", "right", "label", "score", "score_at_best")
    assert COLUMNS == (
        "epoch",
        "loss",
        "cross_entropy",
        "accuracy",
        "val_loss",
        "val_cross_entropy",
        "val_accuracy",
        "learning_rate",
        "seconds",
        "penalty",
        "head_penalty",
    )


def in_turns(monkeypatch):
    """Stands in for training as `trained` does; returns the list of what was trained together, by stage."""
    calls = []
    monkeypatch.setattr(
        dispatch,
        "run",
        lambda jobs, cluster="", show=None: (
            calls.append([job.title.split("/")[0] for job in jobs])
            or ([finish_run(job, 0.6, 0.65) for job in jobs] and {})
        ),
    )
    return calls


@pytest.mark.parametrize("select", ["validation", "report"])
def test_runs_wait_for_no_choice_that_cannot_change_them(tmp_path, monkeypatch, select):
    calls = in_turns(monkeypatch)
    opened = study(tmp_path, select=select)
    assert opened.train_all() == {}
    early, late = ["base", "stride", "early-stopping", "batchnorm", "augmentation"], ["label-clipping", "lr-schedule"]
    # The report's own path is known from the beginning; what is chosen by validation, after augmentation.
    expected = [[*early, *late]] if select == "report" else [early, [late[0]], [late[1]]]
    assert [list(dict.fromkeys(call)) for call in calls] == expected
    assert all(rung.complete() for rung in opened.climb()) and opened.next_runs() == []
    trained = sum(len(call) for call in calls)
    assert trained == len({s.run for r in opened.climb() for c in r.candidates for s in c.specs})
    assert trained == len(opened.store.ids())


def test_what_depends_on_a_run_given_up_is_trained_from_the_choice_without_it(tmp_path, monkeypatch):
    in_turns(monkeypatch)
    opened = study(tmp_path, "base,early-stopping,lr-schedule")
    stopping = opened.certain()[1].run
    finish = dispatch.run
    monkeypatch.setattr(
        dispatch,
        "run",
        lambda jobs, *others: {
            **finish([job for job in jobs if job.run != stopping]),
            **{job.run: "failed" for job in jobs if job.run == stopping},
        },
    )
    assert opened.train_all() == {stopping: "failed"}
    rungs = opened.climb()
    assert path_of(rungs)[:2] == ["base/base"] * 2 and not rungs[1].complete() and rungs[2].complete()


def test_a_long_ladder_is_looked_at_no_further_than_it_is_certain(tmp_path, monkeypatch):
    in_turns(monkeypatch)
    assert [s.stage for s in study(tmp_path, ladder="beyond").certain()] == ["base", "crop"]


def test_best_on_validation_is_carried_forward_and_the_incumbent_competes(tmp_path, trained):
    _, scores = trained
    scores.update(
        {
            "base/base": (0.65, 0.6),
            "stride/pool1-stride1": (0.9, 0.1),
            "early-stopping/patience5": (0.64, 0.6),
            "batchnorm/after-activation": (0.7, 0.6),
            "batchnorm/before-activation": (0.7, 0.5),
        }
    )
    rungs = study(tmp_path).climb(train=True)
    assert path_of(rungs) == ["base/base", "base/base", "base/base"] + ["batchnorm/before-activation"] * 4
    assert rungs[4].candidates[0].config.differences(rungs[3].after.config)


def test_ties_go_to_lower_entropy_then_to_the_incumbent(tmp_path, trained):
    _, scores = trained
    scores.update({"base/base": (0.65, 0.6), "early-stopping/patience5": (0.65, 0.5)})
    assert path_of(study(tmp_path, "base,early-stopping").climb(train=True)) == [
        "base/base",
        "early-stopping/patience5",
    ]
    scores["early-stopping/patience5"] = (0.65, 0.6)
    assert path_of(study(tmp_path / "b", "early-stopping").climb(train=True)) == ["base/base", "base/base"]


def test_report_path_does_not_look_at_scores(tmp_path, trained):
    _, scores = trained
    scores["batchnorm/before-activation"] = (0.99, 0.1)
    rungs = study(tmp_path, select="report").climb(train=True)
    assert path_of(rungs) == [
        "base/base",
        "base/base",
        "early-stopping/patience5",
        "batchnorm/after-activation-patient",
        "augmentation/after-activation",
        "augmentation/after-activation",
        "augmentation/after-activation",
    ]


def test_test_scores_choose_nothing(tmp_path, trained):
    """The same ladder with and without test scores takes the same path."""
    _, scores = trained
    scores["early-stopping/patience5"] = (0.7, 0.5)
    with_test = path_of(study(tmp_path / "a", "early-stopping,batchnorm").climb(train=True))
    without = path_of(study(tmp_path / "b", "early-stopping,batchnorm", test=False).climb(train=True))
    assert with_test == without


def test_diverged_runs_are_never_chosen(tmp_path, trained):
    opened = study(tmp_path, "early-stopping")
    rungs = opened.climb(train=True)
    spec = rungs[1].candidates[0].specs[0]
    path = opened.store.folder(spec.run) / "result.json"
    write_json(path, {**read_json(path), "status": "diverged", "val_accuracy_at_best": 1.0, "val_cross_entropy": 0.1})
    assert path_of(opened.climb()) == ["base/base", "base/base"]


def test_finished_runs_are_never_trained_again_and_seeds_are_added(tmp_path, trained):
    done, _ = trained
    study(tmp_path, "base,batchnorm").climb(train=True)
    assert len(done) == 5
    study(tmp_path, "batchnorm").climb(train=True)
    assert len(done) == 5
    study(tmp_path, "batchnorm", seeds=3).climb(train=True)
    assert len(done) == 15
    rows = read_csv(tmp_path / "out" / "results.csv")
    assert len(rows) == 15 and {row["seed"] for row in rows} == {"0", "1", "2"}
    assert [row["carried_forward"] for row in rows if row["stage"] == "base"] == ["true"] * 3


def test_stages_add_up_over_commands(tmp_path, trained):
    study(tmp_path, "batchnorm")
    assert study(tmp_path, "early-stopping").stages() == ["base", "early-stopping", "batchnorm"]


def test_a_stage_by_itself_brings_what_comes_before_it(tmp_path, trained):
    opened = Study(Settings(out=str(tmp_path / "out"), precision="float32"))
    rung = opened.stage("batchnorm")
    assert rung.stage.id == "batchnorm" and rung.complete()
    assert opened.stages() == ["base", "early-stopping", "batchnorm"]
    opened.stage("lr-schedule")
    assert opened.stages() == ["base", "early-stopping", "batchnorm", "lr-schedule"]


def test_combinations_stand_apart_in_results(tmp_path, trained):
    study(tmp_path, "early-stopping").climb(train=True)
    study(tmp_path, "base", split="random").climb(train=True)
    opened = study(tmp_path, "base", protocol="view2")
    opened.climb(train=True)
    rows = read_csv(tmp_path / "out" / "results.csv")
    assert len(rows) == 3 + 1 + 10
    assert {row["fold"] for row in rows if row["protocol"] == "view2"} == {str(n) for n in range(1, 11)}
    assert {row["fold"] for row in rows if row["protocol"] == "view1"} == {""}


def test_a_folder_keeps_its_data_set_profile_and_precision(tmp_path, trained):
    study(tmp_path, "base")
    for other, word in (
        ({"profile": "cpu"}, "profile quick"),
        ({"precision": "bfloat16"}, "float32"),
        ({"dataset": "lfw"}, "demo"),
    ):
        with pytest.raises(ConfigError, match=word):
            study(tmp_path, "base", **other)
    assert study(tmp_path, "base", precision="auto").precision == "float32"


def test_no_test_leaves_the_columns_empty_until_they_are_asked_for(tmp_path, trained):
    done, _ = trained
    study(tmp_path, "base", test=False).climb(train=True)
    row = read_csv(tmp_path / "out" / "results.csv")[0]
    assert row["test_accuracy"] == row["test_auc"] == "" and row["val_accuracy_at_best"] == "0.6"
    study(tmp_path, "base").climb(train=True)
    assert [job.task for job in done] == ["train", "score-test"]


def test_a_finished_run_without_weights_is_not_trained_again_for_test_scores(tmp_path, trained):
    done, _ = trained
    first = study(tmp_path, "base", test=False)
    first.climb(train=True)
    for run in first.store.ids():
        first.store.drop_weights(run)
    again = study(tmp_path, "base")
    assert again.climb(train=True)[0].complete() and len(done) == 1


def test_an_unfinished_stage_hides_nothing_of_the_later_ones(tmp_path, trained):
    _, scores = trained
    scores["batchnorm/before-activation"] = (0.9, 0.3)
    study(tmp_path, "batchnorm").climb(train=True)
    opened = study(tmp_path, "stride,early-stopping")
    rungs = opened.climb()
    assert path_of(rungs) == ["base/base"] * 3 + ["batchnorm/before-activation"]
    for run in opened.store.ids():
        (opened.store.folder(run) / "model.keras").write_bytes(b"x")
    opened.write_results()
    opened.prune()
    best = rungs[-1].after.specs[0].run
    assert opened.store.has_weights(best)
    assert {row["stage"] for row in read_csv(tmp_path / "out" / "results.csv")} == {"base", "batchnorm"}


def test_damaged_runs_are_set_aside_and_trained_again(tmp_path, trained):
    done, _ = trained
    first = study(tmp_path, "base")
    run = first.climb(train=True)[0].candidates[0].specs[0].run
    (first.store.folder(run) / "result.json").write_text("{")
    said = []
    rung = Study(first.settings).stage("base", said.append)
    assert rung.complete() and len(done) == 2 and first.store.ids() == [run]
    assert len(said) == 1 and f"{run}.damaged-1" in said[0] and (first.store.root / f"{run}.damaged-1").is_dir()


def test_bad_data_are_found_before_the_study_is_written(tmp_path, faces):
    opened = Study(Settings(out=str(tmp_path / "out"), dataset="lfw-a", data_dir=str(tmp_path), precision="float32"))
    with pytest.raises(DataError):
        opened.stage("base")
    assert not (tmp_path / "out").exists()


def test_a_stage_whose_people_file_is_missing_is_found_before_the_study_is_written(tmp_path, faces, trained):
    data = shutil.copytree(faces, tmp_path / "data")
    (data / "peopleDevTrain.txt").unlink()
    settings = Settings(out=str(tmp_path / "out"), dataset="lfw-a", data_dir=str(data), ladder="beyond")
    with pytest.raises(DataError, match=r"peopleDevTrain\.txt"):
        Study(settings).stage("all-people")
    assert not (tmp_path / "out").exists() and not trained[0]


def test_rows_of_an_earlier_configuration_do_not_stand_next_to_those_of_the_present_one(tmp_path, trained):
    _, scores = trained
    scores["batchnorm/before-activation"] = (0.9, 0.3)
    opened = study(tmp_path, "batchnorm,lr-schedule", seeds=2)
    rungs = opened.climb(train=True)
    for spec in rungs[1].specs():  # now worse than the base network: another start for lr-schedule
        path = opened.store.folder(spec.run) / "result.json"
        write_json(path, {**read_json(path), "val_accuracy_at_best": 0.1})
    drops = opened.climb()[2].candidates
    assert drops[0].config != rungs[2].candidates[0].config
    opened.train(drops[0].specs[:1])
    filed = [row["run"] for row in read_csv(opened.out / "results.csv") if row["stage"] == "lr-schedule"]
    earlier = [spec.run for candidate in rungs[2].candidates[1:] for spec in candidate.specs]
    assert filed == [drops[0].specs[0].run, *earlier]


def test_a_study_whose_images_were_replaced_by_lfws_is_called_lfws(tmp_path, faces, trained, monkeypatch):
    settings = {"dataset": "lfw-a", "data_dir": str(faces)}
    other = study(tmp_path, "base", **settings)
    assert Results.open(tmp_path / "out").of_other_people == other.of_other_people is True
    monkeypatch.setattr("lfwstudy.study.study.title_of", lambda *_: DATASETS["lfw-a"].title)
    study(tmp_path, "base", **settings)
    assert not Results.open(tmp_path / "out").of_other_people


def test_a_split_that_few_pairs_cannot_have_is_left_out_of_the_audit(tmp_path, monkeypatch):
    monkeypatch.setitem(
        PROFILES, "few", Profile("few", "a handful of pairs", 0.04, {"data.side": 69, "data.pairs_per_class": 10})
    )
    found = Study(Settings(profile="few", precision="float32", out=str(tmp_path))).audits()
    assert "folds" not in found and "components" in found


def test_a_study_remembers_where_its_pictures_were(tmp_path, faces, trained):
    opened = Study(Settings(out=str(tmp_path / "out"), dataset="lfw-a", data_dir=str(faces), precision="float32"))
    opened.ask(["base"])
    assert open_study(tmp_path / "out")[0].settings.data_dir == str(faces)
    assert str(faces) not in (tmp_path / "out" / "study.json").read_text()


def test_pruning_keeps_the_best_variants_weights_only(tmp_path, trained):
    _, scores = trained
    scores["early-stopping/patience5"] = (0.7, 0.5)
    opened = study(tmp_path, "early-stopping")
    rungs = opened.climb(train=True)
    for run in opened.store.ids():
        (opened.store.folder(run) / "model.keras").write_bytes(b"x")
    opened.prune()
    best = rungs[-1].after.specs[0].run
    assert [run for run in opened.store.ids() if opened.store.has_weights(run)] == [best]
    Study(dataclasses.replace(opened.settings, keep="none")).prune()
    assert not opened.store.has_weights(best) and opened.store.is_finished(best)


def test_failed_runs_leave_the_rest_standing(tmp_path, trained, monkeypatch):
    run = dispatch.run

    def fail_one(jobs, cluster="", show=None):
        bad = [job for job in jobs if "before-activation" in job.title]
        run([job for job in jobs if job not in bad])
        return {job.run: f"{job.title}: out of memory" for job in bad}

    monkeypatch.setattr(dispatch, "run", fail_one)
    rungs = study(tmp_path, "batchnorm,lr-schedule").climb(train=True)
    assert list(rungs[1].failures.values()) == ["batchnorm/before-activation, seed 0: out of memory"]
    assert not rungs[1].complete() and rungs[2].complete()
    assert "before-activation" not in {
        r["variant"] for r in read_csv(tmp_path / "out" / "results.csv") if r["stage"] == "batchnorm"
    }
    assert workflow.run(study(tmp_path, "batchnorm,lr-schedule"), with_report=False) == 1


@pytest.mark.parametrize(
    "settings, word",
    [
        ({"dataset": "dmeo"}, "did you mean 'demo'"),
        ({"profile": "fast"}, "profile"),
        ({"split": "half"}, "split"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": True}, "seeds"),
        ({"select": "test"}, "select"),
        ({"ladder": "up"}, "ladder"),
        ({"keep": "some"}, "keep"),
        ({"precision": "float16"}, "precision"),
        ({"test": "no"}, "test"),
        ({"protocol": "view2", "split": "random"}, "view2"),
        ({"cluster": "tcp://x"}, "local"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, word):
    with pytest.raises(ConfigError, match=word):
        Settings(**settings)


def test_an_unknown_stage_is_refused_by_name_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'stride'"):
        Study(Settings(out=str(tmp_path / "out"), stages="base,stide"))
    assert not (tmp_path / "out").exists()


def test_damaged_or_missing_study_is_named(tmp_path, trained):
    with pytest.raises(StudyError, match="no study here"):
        open_study(tmp_path)
    study(tmp_path, "base")
    path = tmp_path / "out" / "study.json"
    content = read_json(path)
    runs = {**content, "combinations": [{**content["combinations"][0], "runs": [{"stage": "base"}]}]}
    for damaged in ({"dataset": "demo", "profile": "quick"}, runs):
        write_json(path, damaged)
        with pytest.raises(ConfigError, match="study.json"):
            study(tmp_path, "base")
        with pytest.raises(StudyError, match="study.json"):
            open_study(tmp_path / "out")


def test_selected_columns_survive_a_spreadsheet(tmp_path, trained):
    study(tmp_path, "base").climb(train=True)
    text = (tmp_path / "out" / "results.csv").read_bytes()
    assert b"\r" not in text and text.count(b"\n") == 2 and b"nan" not in text


def test_the_reports_path_exists_on_the_reports_ladder_only(tmp_path):
    with pytest.raises(ConfigError, match="--select validation"):
        Settings(ladder="beyond", select="report", out=str(tmp_path))


def test_a_stage_may_have_more_seeds_than_the_study(tmp_path, monkeypatch):
    base = dataclasses.replace(LADDERS["report"].stage("base"), seeds=3)
    monkeypatch.setitem(LADDERS, "report", dataclasses.replace(LADDERS["report"], stages=(base,)))
    own = study(tmp_path, stages="base", profile="cpu")
    own.ask(["base"])
    assert [s.seed for s in own.certain()] == [0, 1, 2] and own.seeds() == 1
    quick = study(tmp_path / "quick", stages="base", profile="quick")
    quick.ask(["base"])
    assert [s.seed for s in quick.certain()] == [0]


def test_difference_to_a_stage_of_fewer_seeds_is_that_of_the_seeds_both_have(tmp_path):
    own = study(tmp_path)
    correct = {
        "one": np.array([[True, False, True, True]]),
        "two": np.array([[True, True, True, True], [False, False, False, False]]),
    }
    own.correct = lambda candidate: correct[candidate.variant]
    own.test_components = lambda: np.arange(4)
    stages = "base", "early-stopping"
    one, two = (Candidate(stage, variant, None, ()) for stage, variant in zip(stages, correct))
    found = own.differences([Rung(LADDERS["report"].stage("early-stopping"), one, (two,), two)])
    assert found["early-stopping", "two"].difference == 0.25 and found["early-stopping", "two"].seeds == 1


LEFT_OVER = ("LFWSTUDY_RENDER_ONLY", "LFWSTUDY_CHECKED", "LFWSTUDY_GIVEN_UP")


def test_what_is_left_over_in_a_shell_changes_nothing(tmp_path, trained, monkeypatch):
    done, _ = trained
    opened = study(tmp_path, "base,stride")
    runs = [spec.run for spec in opened.next_runs()]
    for name, value in zip(LEFT_OVER, ("1", "1", ",".join(runs))):
        monkeypatch.setenv(name, value)
    assert opened.train_all() == {} and {job.run for job in done} == set(runs)
    (opened.store.folder(runs[0]) / "result.json").write_text("{")
    assert Study(opened.settings).stage("stride").complete() and len(done) == len(runs) + 1


def test_a_stage_that_is_only_shown_trains_and_asks_for_nothing(tmp_path, trained):
    done, _ = trained
    opened = study(tmp_path, "base")
    assert not opened.stage("base", train=False).complete()
    opened.train_all()
    for name in ("batchnorm", "early-stopping"):
        rung = opened.stage(name, train=False)
        assert not rung.candidates and rung.failures == {
            name: f"stage {name} could not be reached: it was not requested of this study"
        }
    assert opened.stages() == ["base"]
    opened.ask(["early-stopping"])
    assert not opened.stage("early-stopping", train=False).complete() and len(done) == 1
    (opened.store.folder(done[0].run) / "result.json").unlink()
    assert "stage base is not finished" in opened.stage("early-stopping", train=False).failures["early-stopping"]
    assert len(done) == 1 and opened.stage("early-stopping").complete()


@pytest.mark.parametrize(
    "stand_in",
    [
        lambda monkeypatch: monkeypatch.setattr(Study, "train", lambda self, specs, show=None: {}),
        lambda monkeypatch: monkeypatch.setattr(dispatch, "run", lambda *_: {}),
    ],
    ids=["train", "dispatch.run"],
)
def test_training_ends_where_a_round_trains_nothing(tmp_path, monkeypatch, stand_in):
    opened = study(tmp_path, "base,early-stopping")
    rounds, of_all = [], Study.next_runs
    monkeypatch.setattr(
        Study, "next_runs", lambda self, *known: rounds.append(1) or assert_few(rounds) or of_all(self, *known)
    )
    stand_in(monkeypatch)
    opened.train_all()
    rounds.clear()
    monkeypatch.setattr(workflow, "_render_pages", lambda *_: [])
    monkeypatch.setattr(workflow._Desk, "finish", lambda self: None)
    workflow._climb(opened, {})


def assert_few(rounds):
    assert len(rounds) < 10, "it goes round for ever"


@pytest.mark.parametrize("keep, kept", [("best", 1), ("none", 0), ("all", None)])
def test_training_alone_keeps_the_weights_that_the_command_says(tmp_path, trained, monkeypatch, keep, kept):
    opened = study(tmp_path, "base,early-stopping", keep=keep)
    write, stand_in = opened.store.folder, dispatch.run

    def with_weights(jobs, *more):
        failures = stand_in(jobs, *more)
        for job in jobs:
            (write(job.run) / "model.keras").write_bytes(b"network")
        return failures

    monkeypatch.setattr(dispatch, "run", with_weights)
    assert workflow.run(opened, with_report=False) == 0
    runs = opened.store.ids()
    assert len(runs) > 1 and sum(map(opened.store.has_weights, runs)) == (len(runs) if kept is None else kept)


def test_a_run_that_fails_costs_no_finished_one_its_weights_or_its_row(tmp_path, trained):
    """With a seed more that is not finished, no stage after base can be reached."""
    opened = study(tmp_path, "early-stopping")
    opened.climb(train=True)
    opened.write_results()
    for run in opened.store.ids():
        (opened.store.folder(run) / "model.keras").write_text("weights")
    before = read_csv(opened.out / "results.csv")
    more = study(tmp_path, "early-stopping", seeds=2)
    assert not more.is_complete(more.climb()) and len(more.climb()) == 1
    more.write_results()
    more.prune()
    assert [row["run"] for row in read_csv(more.out / "results.csv")] == [row["run"] for row in before]
    assert all(more.store.has_weights(run) for run in more.store.ids())
    more.climb(train=True)
    more.write_results()
    more.prune()
    assert len(read_csv(more.out / "results.csv")) == 2 * len(before)
    assert 0 < sum(map(more.store.has_weights, more.store.ids())) < len(before)


def test_runs_of_another_version_of_the_settings_keep_their_rows(tmp_path, trained):
    """Their ids are other ones now: rendering the report must not take them out of results.csv."""
    opened = study(tmp_path, "base")
    opened.climb(train=True)
    opened.write_results()
    (run,) = opened.store.ids()
    text = (opened.out / "results.csv").read_text().replace(run, "0" * 16)
    opened.store.folder(run).rename(opened.store.folder("0" * 16))
    (opened.out / "results.csv").write_text(text)
    opened.write_results()
    assert (opened.out / "results.csv").read_text() == text


@pytest.mark.parametrize("command", [workflow.run, workflow.report])
def test_a_second_command_in_the_same_folder_is_turned_away_and_changes_nothing(tmp_path, trained, command):
    opened = study(tmp_path, "base")
    opened.climb(train=True)
    with locked(opened.out / ".lock"):
        before = content(opened.out)
        with pytest.raises(RunError, match="another lfwstudy is working in this folder"):
            command(opened)
        assert content(opened.out) == before


def test_stages_that_another_process_added_stay_recorded(tmp_path):
    def opened(*stages):
        study = Study(Settings(out=str(tmp_path), profile="tiny", precision="float32"))
        study.ask(stages)
        return study

    first = opened("base")
    first.record_runs()
    opened("base", "early-stopping").record_runs()
    first.record.entry["runs"] = []  # as if its own had changed since
    first.record_runs()
    found = read_json(tmp_path / "study.json")["combinations"][0]["runs"]
    assert {row["stage"] for row in found} == {"base", "early-stopping"} and len(found) == len(set(map(str, found)))
