"""One answer to "which is best" for verify, the card, the report, the explorers and --keep best."""

import shutil

import pytest

from lfwstudy.errors import StudyError
from lfwstudy.report import summary
from lfwstudy.runs.store import FILES, Store
from lfwstudy.study.results import RESULT_COLUMNS, Results
from lfwstudy.study.scores import best_rows, best_run, score
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system.files import read_csv, read_json, write_csv, write_json
from lfwstudy.training.run import PREDICTION_COLUMNS
from lfwstudy.verify import kept
from tests.support.runs import finish_run
from tools import model_card
from tools.kept_studies import RESULTS, SHALLOW

REPORT = {"ladder": "report", "stage": "batchnorm", "variant": "before-activation", "accuracy": 0.68}
BEYOND = {"ladder": "beyond", "stage": "all-people-shallow", "variant": "shallow", "accuracy": 0.941}


def make_run(root, run, confidence=0.9, weights=True):
    """A finished run of two validation pairs, both right, with so much confidence."""
    folder = root / run
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text("{}\n")
    pair = {"set": "val", "pair": 2, "left": "A_0001", "right": "A_0002"}
    write_csv(
        folder / "predictions.csv",
        PREDICTION_COLUMNS,
        [
            {**pair, "label": label, "score": 0.5, "score_at_best": confidence if label else 1 - confidence}
            for label in (1, 0)
        ],
    )
    if weights:
        (folder / "model.keras").write_bytes(b"weights")


@pytest.fixture
def rows_of(tmp_path):
    """Writes runs of configurations, and returns their rows of results.csv and the store."""
    count = 0

    def call(*configurations):
        nonlocal count
        rows = []
        for ladder, stage, variant, accuracy, *others in (c.values() for c in configurations):
            for seed, more in enumerate(others[0] if others else [{}]):
                count += 1
                run = f"{count:016x}"
                entropy = more.get("entropy", 0.6)
                make_run(tmp_path / "runs", run, more.get("confidence", 0.9), more.get("weights", True))
                # The evaluated weights' cross-entropy says the opposite of the kept ones': it must not pick the seed.
                rows.append(
                    {
                        "ladder": ladder,
                        "protocol": "view1",
                        "split": "components",
                        "select": "validation",
                        "stage": stage,
                        "variant": variant,
                        "seed": seed,
                        "fold": None,
                        "carried_forward": True,
                        "run": run,
                        "val_accuracy_at_best": more.get("accuracy", accuracy),
                        "val_cross_entropy": entropy,
                        "test_accuracy": 1 - accuracy,
                        "test_accuracy_at_best": 1 - accuracy,
                    }
                )
        return rows, Store(tmp_path / "runs")

    return call


def through_csv(tmp_path, rows):
    write_csv(tmp_path / "results.csv", RESULT_COLUMNS, rows)
    return read_csv(tmp_path / "results.csv")


@pytest.mark.parametrize("order", [(REPORT, BEYOND), (BEYOND, REPORT)], ids=["report first", "beyond first"])
@pytest.mark.parametrize("from_file", [False, True])
def test_best_of_two_ladders_is_the_one_with_the_higher_validation_accuracy(rows_of, tmp_path, order, from_file):
    rows, store = rows_of(*order)
    rows = through_csv(tmp_path, rows) if from_file else rows
    assert {row["stage"] for row in best_rows(rows)} == {"all-people-shallow"}
    assert best_run(rows, store)["stage"] == "all-people-shallow"


def test_best_of_five_seeds_has_the_lowest_cross_entropy_of_the_kept_weights(rows_of, tmp_path):
    seeds = [{"confidence": c, "entropy": c} for c in (0.7, 0.8, 0.95, 0.9, 0.6)]
    rows, store = rows_of({**BEYOND, "seeds": seeds})
    assert best_run(rows, store)["seed"] == 2 and len(best_rows(rows)) == 5
    assert best_run(through_csv(tmp_path, rows), store)["seed"] == "2"


def test_means_over_seeds_count_and_not_one_lucky_seed(rows_of):
    rows, store = rows_of({**REPORT, "seeds": [{"accuracy": 0.95}, {"accuracy": 0.6}]}, {**BEYOND, "accuracy": 0.9})
    assert best_run(rows, store)["stage"] == "all-people-shallow"


def test_a_better_run_without_weights_is_passed_over_only_where_weights_are_needed(rows_of):
    seeds = [{"confidence": 0.8}, {"confidence": 0.95, "weights": False}, {"confidence": 0.9}]
    rows, store = rows_of(REPORT, {**BEYOND, "seeds": seeds})
    assert best_run(rows, store)["seed"] == 1
    needed = best_run(rows, store, need_weights=True)
    assert (needed["stage"], needed["seed"]) == ("all-people-shallow", 2)
    for row in best_rows(rows):
        store.drop_weights(row["run"])
    assert best_run(rows, store, need_weights=True)["stage"] == "batchnorm"
    assert best_run(rows, store)["seed"] == 1


def test_ties_go_to_the_lower_cross_entropy_then_to_the_first(rows_of):
    later = {**BEYOND, "accuracy": 0.68, "seeds": [{"entropy": 0.5}]}
    assert best_rows(rows_of(REPORT, later)[0])[0]["stage"] == "all-people-shallow"
    assert best_rows(rows_of(REPORT, {**later, "seeds": [{"entropy": 0.6}]})[0])[0]["stage"] == "batchnorm"


def test_equal_means_tie_whatever_order_their_seeds_are_added_in():
    one, other = (
        [{"val_accuracy_at_best": a, "val_cross_entropy": 0.5} for a in accuracies]
        for accuracies in ((0.1, 0.2, 0.3), (0.3, 0.2, 0.1))
    )
    assert sum((0.1, 0.2, 0.3)) != sum((0.3, 0.2, 0.1)) and score(one) == score(other)


def test_what_is_not_carried_forward_diverged_or_never_finished_is_not_best(rows_of):
    rows, store = rows_of(REPORT, BEYOND, {**BEYOND, "stage": "cohort"})
    rows[1]["carried_forward"], rows[2]["val_accuracy_at_best"] = False, float("nan")
    assert best_run(rows, store)["stage"] == "batchnorm"
    (store.folder(rows[0]["run"]) / "result.json").unlink()
    assert best_run(rows, store) is None and best_run([], store) is None and best_rows([]) == []


@pytest.mark.parametrize("column", ["val_accuracy_at_best", "val_cross_entropy"])
@pytest.mark.parametrize("value", ["", "high", None])
def test_a_row_without_a_number_is_named(rows_of, column, value):
    rows, _ = rows_of(REPORT)
    rows[0][column] = value
    with pytest.raises(StudyError, match=f"run 0+1: {column}.*lfwstudy run"):
        best_rows(rows)


def test_shipped_network_is_the_best_of_its_study():
    rows, store = read_csv(RESULTS / SHALLOW / "results.csv"), Store(RESULTS / SHALLOW / "runs")
    assert best_run(rows, store)["run"] == read_json(kept.SHIPPED / "run.json")["run"]


def finish(study, spec, accuracy):
    """A finished run of a study, with weights."""
    folder = study.store.folder(spec.run)
    finish_run(study._job(spec, "train"), accuracy, 0.5)
    write_json(
        folder / "result.json",
        {**read_json(folder / "result.json"), "test_accuracy_at_best": 1.0, "test_tpr": 1.0, "test_tnr": 1.0},
    )
    (folder / "model.keras").write_bytes(b"weights")


@pytest.fixture
def two_ladders(tmp_path):
    """A demo study of a finished base network in each ladder, five seeds of the second; which validates better is set by a test."""
    out = tmp_path / "out"

    def call(report, beyond, first="report"):
        accuracy = {"report": report, "beyond": beyond}
        for ladder in sorted(accuracy, key=lambda name: name != first):
            study = Study(
                Settings(
                    out=str(out),
                    ladder=ladder,
                    stages="base",
                    seeds=5 if ladder == "beyond" else 1,
                    precision="float32",
                    select="validation",
                )
            )
            study.ask(["base"])
            for spec in study.climb()[0].candidates[0].specs:
                finish(study, spec, accuracy[ladder])
                # Seed 3 is the surest; the label is that of a matched pair.
                path = study.store.folder(spec.run) / "predictions.csv"
                sure = 0.99 if spec.seed == 3 else 0.9
                write_csv(path, PREDICTION_COLUMNS, [{**row, "score_at_best": sure} for row in read_csv(path)])
            study.write_results()
        return study

    return call


@pytest.mark.parametrize("first", ["report", "beyond"])
@pytest.mark.parametrize("report, beyond, best", [(0.68, 0.941, "beyond"), (0.9, 0.7, "report")])
def test_verify_the_card_and_the_report_agree(two_ladders, tmp_path, monkeypatch, first, report, beyond, best):
    study = two_ladders(report, beyond, first)
    rows = read_csv(tmp_path / "out" / "results.csv")
    expected = next(r["run"] for r in rows if r["ladder"] == best and r["seed"] == ("3" if best == "beyond" else "0"))
    loaded = []
    monkeypatch.setattr(kept, "load_run", lambda store, run, name: loaded.append(run))
    kept.load_network(str(tmp_path / "out"))
    monkeypatch.setattr(model_card.wording, "is_demo", lambda study: False)
    monkeypatch.setattr(model_card, "card", lambda study, candidate, at: "")
    monkeypatch.setattr(model_card, "load_model", lambda path: None)  # the made-up weights are no network
    monkeypatch.setattr(model_card, "write_onnx", lambda model, folder: None)
    monkeypatch.setattr(
        model_card.figures, "roc", lambda *_: type("", (), {"savefig": lambda self, path, **_: path.write_bytes(b"")})()
    )
    assert loaded == [expected] == [model_card.ship(tmp_path / "out", tmp_path / "shipped")]
    monkeypatch.setattr(summary, "accuracy_with_interval", lambda *_: "")  # the made-up test pair is not the data's
    for ladder in study.combinations():
        assert f"**{ladder.climb()[-1].after.stage}:" in summary.headline(ladder, ladder.climb())
    # A ladder's best stays, all its seeds: what the others pick is among them.
    study.prune()
    weights = {run for run in study.store.ids() if study.store.has_weights(run)}
    assert weights == {row["run"] for row in rows} and expected in weights


def test_along_the_reports_path_the_best_is_kept_though_it_is_not_the_last(tmp_path, monkeypatch):
    study = Study(Settings(out=str(tmp_path / "out"), select="report", stages="early-stopping", precision="float32"))
    study.ask(study.requested())
    for stage, accuracy in (("base", 0.7), ("early-stopping", 0.6)):
        for spec in (spec for candidate in study.climb(upto=stage)[-1].candidates for spec in candidate.specs):
            finish(study, spec, accuracy)
    study.write_results()
    assert [rung.after.stage for rung in study.climb()] == ["base", "early-stopping"]
    monkeypatch.setattr(summary, "accuracy_with_interval", lambda *_: "")
    study.prune()
    assert [run for run in study.store.ids() if study.store.has_weights(run)] == [s.run for s in study.best().specs]
    assert study.best().stage == "base" and "base: base" in summary.headline(study, study.climb())


def test_verify_names_a_result_that_cannot_be_read(played, tmp_path):
    results = Results.open(shutil.copytree(played, tmp_path / "study"))
    (run,) = filter(results.store.has_weights, results.store.ids())
    path = results.store.folder(run) / "result.json"
    write_json(path, {**read_json(path), "val_accuracy_at_best": "high"})
    with pytest.raises(StudyError, match=f"{run}: val_accuracy_at_best is 'high'"):
        kept.load_network(results.out)
    path.write_text("{")
    with pytest.raises(StudyError, match=r"result\.json: damaged"):
        kept.load_network(results.out)


def test_verify_says_where_no_network_is_kept(played, tmp_path):
    results = Results.open(shutil.copytree(played, tmp_path / "study"))
    for run in results.store.ids():
        results.store.drop_weights(run)
    with pytest.raises(StudyError, match="no finished run has kept its weights"):
        kept.load_network(results.out)
    with pytest.raises(StudyError, match="no study here"):
        kept.load_network(tmp_path / "none")
