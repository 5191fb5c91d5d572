import numpy as np
import pytest

from lfwstudy.ladder import FIGURES, LADDERS, base_config
from lfwstudy.ladder.published_histories import compare, published_histories
from lfwstudy.report import figures, ladder_tables, series
from lfwstudy.study.rungs import Candidate
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system.files import write_csv
from lfwstudy.training.decisions import COLUMNS
from lfwstudy.widgets import run_browser as runs
from tests.support.runs import made_up_predictions, made_up_run

BASE = published_histories()["base", "base"]


def history_of(factor=1.0, epochs=200, start=1):
    """A run whose validation loss is `factor` times the published one from an epoch on."""
    return [
        {"epoch": row["epoch"], "val_loss": row["val_loss"] * (factor if row["epoch"] >= start else 1)}
        for row in BASE[:epochs]
    ]


def test_published_histories_are_of_variants_of_the_ladder_and_end_where_the_report_says():
    known = LADDERS["published"].path(base_config("report", "published"))
    histories = published_histories()
    assert set(histories) - set(known) == {("augmentation", "before-activation-patience10")}
    assert sum(map(len, histories.values())) == 1933
    assert all(len(histories[key]) == p.epochs for key, p in FIGURES.items() if key in histories)
    assert all([row["epoch"] for row in rows] == list(range(1, len(rows) + 1)) for rows in histories.values())


def test_published_checkpoints_are_those_of_the_lowest_total_validation_loss():
    """What the report prints as the best epoch follows from the histories and the configuration, where the period was 5."""
    from lfwstudy.training.decisions import best_checkpoint, should_stop

    configs = LADDERS["published"].path(base_config("report", "published"))
    checked = 0
    for key, rows in published_histories().items():
        p = FIGURES.get(key)
        if p and p.best_epoch and p.best_epoch % 5 == 0:
            training = configs[key].training
            assert best_checkpoint(rows, training) == p.best_epoch, key
            assert len(rows) == training.epochs or (
                should_stop(rows, training) and not should_stop(rows[:-1], training)
            ), key
            checked += 1
    assert checked == 8


@pytest.mark.parametrize(
    "rows, farthest, reproduced",
    [
        (history_of(), 0.0, True),
        (history_of(1.19), 0.19, True),
        (history_of(0.82), 0.18, True),
        (history_of(1.21), 0.21, False),
        (history_of(1.5, start=150), None, True),
        (history_of(2.0)[:4] + history_of()[4:], 0.0, True),
        (history_of(epochs=170), 0.0, True),
        (history_of(epochs=150), 0.0, False),
        (history_of(np.nan, start=50), np.nan, False),
    ],
)
def test_a_run_reproduces_within_a_fifth_until_both_have_learned(rows, farthest, reproduced):
    found = compare(rows, BASE)
    assert found.reproduced is reproduced
    if farthest is not None:
        assert found.farthest == pytest.approx(farthest, nan_ok=True)


def test_runs_too_short_to_compare_say_nothing():
    assert compare(history_of(epochs=4), BASE) is None


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A study of the ladder `published` in the profile `report` with a made-up base run: its history is the published one times a factor."""
    monkeypatch.setattr("lfwstudy.report.wording.is_lfw", lambda study: True)

    def make(factor=1.1, epochs=200, ladder="published"):
        study = Study(
            Settings(out=str(tmp_path / ladder), ladder=ladder, profile="report", stages="base", precision="float32")
        )
        study.ask(["base"])
        spec = study.climb()[0].candidates[0].specs[0]
        pairs, digest = study.data(spec.config.data)[1:]
        predictions, measured = made_up_predictions(tmp_path / f"{ladder}.csv", pairs, np.random.default_rng(0))
        history = tmp_path / f"{ladder}-history.csv"
        write_csv(
            history,
            COLUMNS,
            [
                {
                    **row,
                    "val_loss": factor * row["val_loss"],
                    "val_cross_entropy": 0.6 + 0.001 * row["epoch"],
                    "cross_entropy": 0.1,
                    "learning_rate": 0.001,
                    "seconds": 1.0,
                    "penalty": factor * row["val_loss"],
                    "head_penalty": 0.9 * row["val_loss"],
                }
                for row in BASE[:epochs]
            ],
        )
        made_up_run(study.store.folder(spec.run), spec, digest, history, predictions, measured)
        return study, study.climb()

    return make


@pytest.mark.parametrize("factor, word", [(1.1, "yes"), (1.3, "no")])
def test_the_report_says_per_variant_whether_it_reproduces(finished, factor, word):
    study, rungs = finished(factor)
    told = ladder_tables.reproduced(study, rungs).to_html()
    assert f"<td>{word}</td>" in told and f"{100 * (factor - 1):.0f} % at" in told
    assert f"{BASE[0]['val_loss']:.2f}\u00a0|\u00a0{factor * BASE[0]['val_loss']:.2f}" in told and "LFW-a" in told
    assert ladder_tables.reproduced(Study(Settings(out=str(study.out / "x"))), []).to_html() == ""


def test_a_run_still_training_is_told_from_one_that_stopped(finished):
    study, rungs = finished(epochs=60)
    (study.store.folder(rungs[0].candidates[0].specs[0].run) / "result.json").unlink()
    (row,) = ladder_tables.reproduced(study, rungs).rows
    assert row["epochs"].measured == "60 so far" and row["reproduced"] == "not finished"


def test_epochs_of_a_scaled_profile_are_not_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("lfwstudy.report.wording.is_lfw", lambda study: True)
    study = Study(Settings(out=str(tmp_path), ladder="published", profile="cpu"))
    assert "Epochs times 0.15" in ladder_tables.reproduced(study, study.climb()).empty
    last = series.published_rows(study, [("base", "base")])["base", "base"][-1]
    assert last["epoch"] == pytest.approx(30) and last["val_loss"] == BASE[-1]["val_loss"]


def test_the_clock_is_told_from_the_histories(finished):
    study, rungs = finished(1.0)
    told = series.clock(study, rungs)
    fall = BASE[4]["val_loss"] - BASE[-1]["val_loss"]
    assert f"falls by {fall:.1f}" in told and f"by {0.9 * fall:.1f}" in told and "lowest at epoch 1." in told
    ((_history, marks),) = series.watched(study, rungs[0]).values()
    assert {name: marks[name] for name in ("stop", "evaluated", "learning rate / 10")} == {
        "stop": None,
        "evaluated": 200,
        "learning rate / 10": None,
    }
    drawn = figures.captioned(figures.watched(series.watched(study, rungs[0]), "source"), "caption").data
    assert all(
        name in drawn for name in ("total validation loss", "penalty of the last unit", "validation cross-entropy")
    )


def test_published_curves_lie_under_ours_in_figures_and_explorers(finished):
    study, rungs = finished()
    published = series.published_curves(study, rungs[0])
    assert list(published["val_loss"]) == [row["val_loss"] for row in BASE]
    drawn = figures.captioned(figures.learning_curves(study.histories([rungs[0]]), "source", published), "caption").data
    assert (
        "published, validation" in drawn
        and "total loss" in drawn
        and "in orange" in series.curves_caption(study, rungs[0])
    )
    rows = [
        {
            "stage": "base",
            "variant": "base",
            "seed": "0",
            "fold": "",
            "carried_forward": "true",
            "run": rungs[0].candidates[0].specs[0].run,
        }
    ]
    assert "published, base/base" in runs._figure(study, rows, "loss") and "published" not in runs._figure(
        study, rows, "cross_entropy"
    )
    # The report's own ladder was never run by the published code.
    study, rungs = finished(ladder="report")
    assert series.published_curves(study, rungs[0]) is None


def test_published_figures_stand_beside_the_configuration_that_the_report_describes_alone(tmp_path):
    def figures(**settings):
        study = Study(Settings(out=str(tmp_path / "-".join(settings.values())), precision="float32", **settings))
        study.ask(study.requested())
        start, found = study.base(), {}
        for stage in LADDERS[study.settings.ladder].stages:
            for v in stage.variants:
                candidate = Candidate(stage.id, v.id, start.change(v.changes), ())
                found[stage.id, v.id] = study.published(candidate)
            carried = stage.report_choice
            if stage.id == "augmentation" and settings.get("select") == "validation":
                carried = "before-activation"  # which the report did not carry forward
            if carried:
                start = start.change(next(v.changes for v in stage.variants if v.id == carried))
        return {key for key, p in found.items() if p}

    everything = set(FIGURES)
    assert figures(ladder="report", select="report") == figures(ladder="published") == everything
    assert {stage for stage, _ in everything - figures(ladder="report", select="validation")} == {
        "label-clipping",
        "lr-schedule",
    }
    assert figures(ladder="beyond") == set()
