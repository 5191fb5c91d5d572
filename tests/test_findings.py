import re

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lfwstudy.data.splits import component_labels
from lfwstudy.evaluation import metrics
from lfwstudy.ladder import CLAIMS, LADDERS
from lfwstudy.report.ladder_tables import accuracies
from lfwstudy.report.robustness import left_out, measures, overlap_table
from lfwstudy.report.verdicts import claim_verdicts
from lfwstudy.study.rungs import Candidate, Rung
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system.files import write_csv
from lfwstudy.training.run import PREDICTION_COLUMNS, measure
from tests.support.runs import made_up_base, made_up_history, made_up_run


def test_a_gap_that_shared_people_make_is_told_from_one_that_they_do_not(tmp_path):
    study = made_up_base(tmp_path, "components", {"train": 0.9, "val": 0.7, "test": 0.7})
    assert "--split random --seeds 4 --stages base" in overlap_table(study).to_markdown()
    made_up_base(tmp_path, "random", {"train": 0.9, "val": 0.85, "test": 0.7})
    table = overlap_table(study)
    clean, shared = table.rows
    touched, gap = "validation pairs with a person of training", "validation minus test [95 %]"
    assert (clean["split"], shared["split"]) == ("components", "random") and clean[touched] == "0 of 96"
    assert 0 < int(shared[touched].partition(" of ")[0]) <= 96
    assert clean[gap].low < 0 < clean[gap].high and shared[gap].low > 0
    told = re.search(r"is \+(\S+) points \[\+(\S+), \+(\S+)\] wider than under `components`", table.caption)
    more, low, high = map(float, told.groups())
    assert 0 < low < more < high and abs(more - 15) < 6


def test_the_threshold_of_the_measures_is_validations_whatever_the_test_pairs_say(tmp_path):
    study = made_up_base(tmp_path, "components", {"train": 0.9, "val": 0.9, "test": 0.1}, seeds=1)
    run = study.store.ids()[0]
    held, tested = study.store.scores(run, "val"), study.store.scores(run)
    threshold = metrics.best_threshold(held["label"], held["score_at_best"])
    found = {row["measure"]: row["mean over runs"] for row in measures(study, study.climb()).rows}
    assert found["that threshold"] == f"{threshold:.3f}"
    assert threshold != metrics.best_threshold(tested["label"], tested["score_at_best"])


def test_claims_are_judged_along_the_reports_path_wherever_it_stands_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("lfwstudy.report.wording.is_lfw", lambda study: True)
    study = made_up_base(tmp_path, "components", {"train": 0.9, "val": 0.7, "test": 0.7})
    assert "--select report" in claim_verdicts(study).to_markdown()
    Study(Settings(out=str(tmp_path), select="report", stages="base", precision="float32")).ask(["base"])
    told = claim_verdicts(study).to_markdown()
    assert all(claim.text in told for claim in CLAIMS) and "No person is in both" in told
    assert told.count("no verdict") >= len(CLAIMS)


def test_heads_of_the_second_ladder_are_compared_at_the_threshold_that_validation_calibrates(tmp_path):
    """A distance head may order pairs well and have them all below 0.5: that is its threshold's fault."""

    def shifted(out, ladder):
        study = Study(Settings(out=str(out), ladder=ladder, stages="base", precision="float32"))
        study.ask(["base"])
        candidate = study.climb()[0].candidates[0]
        pairs, digest = study.data(candidate.specs[0].config.data)[1:]
        labels = {name: part.label for name, part in pairs.sets().items()}
        rng = np.random.default_rng(0)
        scores = {name: 1 / (1 + np.exp(4 - rng.normal(3.0 * label, 0.5))) for name, label in labels.items()}
        (tmp_path / "scores").unlink(missing_ok=True)
        write_csv(
            tmp_path / "scores",
            PREDICTION_COLUMNS,
            [
                {
                    "set": name,
                    "pair": int(part.line[i]),
                    "left": part.left[i],
                    "right": part.right[i],
                    "label": int(part.label[i]),
                    "score": scores[name][i],
                    "score_at_best": scores[name][i],
                }
                for name, part in pairs.sets().items()
                for i in range(len(part))
            ],
        )
        history = made_up_history(tmp_path / "history", candidate.specs[0].config.training.epochs, rng)
        made_up_run(
            study.store.folder(candidate.specs[0].run),
            candidate.specs[0],
            digest,
            history,
            tmp_path / "scores",
            measure(labels, {"score": scores, "score_at_best": scores}, 1.0),
        )
        rungs = study.climb()
        return study.correct(rungs[0].candidates[0]).mean(), accuracies(study, rungs)

    plain, table = shifted(tmp_path / "report", "report")
    assert plain < 0.6 and "AUC" not in [column.name for column in table.columns]
    fair, table = shifted(tmp_path / "beyond", "beyond")
    assert fair > 0.95 and "AUC" in [column.name for column in table.columns]
    assert table.rows[0]["measured accuracy"].value == fair


def test_worth_of_a_factor_is_what_the_whole_recipe_has_more(tmp_path):
    study = Study(Settings(out=str(tmp_path), ladder="beyond", stages="base", precision="float32"))
    stage = LADDERS["beyond"].stage("leave-one-out")
    test = study.data(study.base().data)[1].test
    rng, pairs = np.random.default_rng(0), len(test)
    shares = {"whole": 0.9, "without-crop": 0.6, "without-erase": 0.9}
    correct = {variant: rng.random((2, pairs)) < share for variant, share in shares.items()}
    label = np.arange(pairs) % 2
    scored = {variant: (np.where(right == (label == 1), 0.9, 0.1), label) for variant, right in correct.items()}
    study.test_scores = lambda candidate, column="": scored.get(candidate.variant)
    study.test_components = lambda: component_labels(test)
    rung = Rung(stage, None, tuple(Candidate(stage.id, v.id, None, ()) for v in stage.variants), None)
    table = left_out(study, [rung])
    nothing, without_crop, without_erase = table.rows  # those that are finished
    assert nothing["left out"] == "nothing" and nothing["accuracy"] == correct["whole"].mean()
    assert [row["seeds"] for row in table.rows] == [2, 2, 2] and "Holm's correction for 2" in table.caption
    worth = correct["whole"].mean() - correct["without-crop"].mean()
    assert without_crop["left out"] == "crop" and "whole" in without_crop["instead"]
    assert without_crop["contribution [95 %]"].value == pytest.approx(worth) and without_crop["corrected p"] < 0.05
    areas = [roc_auc_score(label, one) for one in scored["without-crop"][0]]
    assert without_crop["AUC"] == pytest.approx(np.mean(areas)) and without_erase["left out"] == "erase"
    assert left_out(Study(Settings(out=str(tmp_path / "other"))), []).to_html() == ""
