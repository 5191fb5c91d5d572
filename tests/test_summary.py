"""The first screen of the report: the answer with its interval, what limits it, and links; the rest folded away."""

import re
import shutil

import numpy as np
import pytest
from bs4 import BeautifulSoup
from sklearn.metrics import roc_auc_score

from lfwstudy.ladder import PROFILES
from lfwstudy.report import measured, pages, series, summary, verdicts, wording
from lfwstudy.report.table import Interval
from lfwstudy.study.results import Results
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system.files import write_json
from lfwstudy.system.text import percent
from tests.support.runs import KEPT, made_up_base, study

NOT_COMPARABLE = "Not comparable with the published figures"


def test_the_answer_is_one_sentence_with_the_measured_test_accuracy_and_its_interval(tmp_path):
    opened = made_up_base(tmp_path, "components", {"train": 0.9, "val": 0.7, "test": 0.7})
    rungs = opened.climb()
    accuracy = measured.accuracy_with_interval(opened, opened.best(rungs))
    figures = [percent(value) for value in (accuracy.value, accuracy.low, accuracy.high)]
    told = summary.headline(opened, rungs)
    assert re.findall(r"\d+\.\d", told) == figures and told.count(". ") == 0 and "**base: base**" in told


def test_a_study_without_scored_test_pairs_answers_by_validation(tmp_path, trained):
    opened = study(tmp_path, "base", test=False)
    told = summary.headline(opened, opened.climb(train=True))
    assert "60.0 % of the validation pairs" in told and "not scored" in told
    assert set(series.scores(opened, opened.climb()[0].candidates)["title"]) == {"base (validation)"}


def test_caveats_are_of_the_study_at_hand(tmp_path, trained):
    opened = study(tmp_path, "base")
    images, seeds, profile = summary.caveats(opened, opened.best(opened.climb(train=True))).split("\n")
    assert "drawn" in images and "leaves out the spread" in seeds and "at least 3 seeds" in seeds
    assert PROFILES["quick"].title in profile
    kept = Results.open(next(path for path in KEPT if path.name == "lfw-deepfunneled-shallow"))
    images, seeds, profile = summary.caveats(kept, kept.best()).split("\n")
    assert "LFW, deep-funneled: press" in images and "15 %" not in profile  # the ladder beyond has its own epochs
    assert "5 runs" in seeds and "includes the spread" in seeds and "variants with 1 seed get no verdict" in seeds


@pytest.mark.parametrize(
    "settings, warned",
    [
        ({"dataset": "lfw-a", "profile": "quick"}, True),
        ({"dataset": "lfw", "profile": "cpu"}, True),
        ({"dataset": "lfw", "profile": "report"}, False),
        ({"dataset": "lfw", "profile": "quick", "ladder": "beyond"}, False),  # the report has no figures for it
        ({"dataset": "demo", "profile": "quick"}, False),
    ],
)
def test_a_small_profile_on_real_images_is_not_compared_with_published_figures(tmp_path, settings, warned):
    opened = Study(Settings(out=str(tmp_path), precision="float32", **settings))
    told = wording.heading(opened, "Summary")
    assert (NOT_COMPARABLE in told) == warned
    assert (PROFILES[settings["profile"]].title in told) == warned


def test_differences_of_one_seed_are_one_sentence(tmp_path, trained):
    opened = study(tmp_path, "early-stopping")
    table = verdicts.differences(opened, opened.climb(train=True))
    assert not table.rows and "No verdict on 2 differences measured with one seed" in table.empty
    more = study(tmp_path, "early-stopping", seeds=2)
    table = verdicts.differences(more, more.climb(train=True))
    assert len(table.rows) == 2 and "one seed" not in table.caption


def test_a_stage_without_scored_runs_is_not_taken_for_the_first(tmp_path, trained):
    opened = study(tmp_path, "early-stopping", seeds=2)
    base, stopping = opened.climb(train=True)
    assert verdicts.differences(opened, [base]).to_html() == ""
    for spec in stopping.specs():
        shutil.rmtree(opened.store.folder(spec.run))
    for rung in opened.climb()[1:]:
        assert "needs two finished variants" in verdicts.differences(opened, [rung]).empty


def test_a_mean_over_some_of_the_runs_says_so(tmp_path, trained):
    opened = study(tmp_path, "base", seeds=2)
    (candidate,) = opened.climb(train=True)[0].candidates
    assert isinstance(measured.accuracy_with_interval(opened, candidate), Interval)
    shutil.rmtree(opened.store.folder(candidate.specs[1].run))
    assert measured.accuracy_with_interval(opened, candidate) == "100.0 % (1 of 2 runs)"


def test_separation_is_the_mean_over_runs_on_the_named_pairs(tmp_path):
    opened = made_up_base(tmp_path, "components", {"train": 0.9, "val": 0.7, "test": 0.7})
    rung = opened.climb()[0]
    scores, labels = opened.test_scores(rung.candidates[0])
    mean = np.mean([roc_auc_score(labels, one) for one in scores])
    told = series.separation(opened, rung)
    assert f"`base` {mean:.3f} (" in told and "test pairs at the best epoch, mean over runs" in told


def test_the_gallery_names_the_variant_and_the_set(tmp_path):
    opened = made_up_base(tmp_path, "components", {"train": 0.9, "val": 0.7, "test": 0.7})
    groups, caption = series.telling_pairs(opened, opened.climb()[0].candidates[0])
    assert len(groups) == 4 and caption.startswith("base: base, seed 0, test pairs at its best epoch. In each row")


def test_what_the_figures_were_made_from_names_the_images(tmp_path):
    opened = made_up_base(tmp_path, "components", {"train": 0.9, "val": 0.7, "test": 0.7})
    value = {row[""]: row["value"] for row in summary.made_from(opened, opened.climb()).rows}
    bank = opened.data(opened.first().data)[0]
    assert f": {len(bank):,}, crop {bank.crop}, side {bank.side}" in value["images"]
    assert value["notes on the images"] == "none"
    opened.why_no_images = "gone"
    value = {row[""]: row["value"] for row in summary.made_from(opened, opened.climb()).rows}
    assert f": crop {bank.crop}" in value["images"] and "notes on the images" not in value


def test_a_note_that_stages_share_is_shown_once_in_a_page(tmp_path):
    notes = "<blockquote><p>Demo.</p></blockquote><p>Text</p>", "<blockquote><p>Other.</p></blockquote>"
    parts = [pages.section(pages.Page(name, name, name), "".join(notes)) for name in "ab"]
    report = BeautifulSoup(pages.write_page(tmp_path / "p.html", "T", parts, "", False).read_text(), "html.parser")
    assert [quote.get_text(strip=True) for quote in report.find_all("blockquote")] == ["Demo.", "Other."]
    assert report.get_text().count("Text") == 2


def test_the_appendix_is_folded_and_links_lead_to_stages(tmp_path, monkeypatch):
    opened = Study(Settings(out=str(tmp_path), precision="float32"))
    page = pages.Page("02_report-b", "summary-b", "Summary", "02_report.ipynb", {}, "-b")
    monkeypatch.setattr(pages, "all_pages", lambda study: [page])
    texts = ["# Title", "## First\n\n[base](#stage-base)", "## Appendix\n\nSeen", "### Costs", "Long", "### Settings"]
    cells = [{"cell_type": "markdown", "metadata": {}, "source": text} for text in texts]
    pages.notebook_path(opened, page).parent.mkdir()
    write_json(pages.notebook_path(opened, page), {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4})
    report = BeautifulSoup(pages.render(opened).read_text(), "html.parser").main
    folded = report.find("details")
    assert (
        folded.summary.get_text() == "Costs · Settings" and "Long" in folded.get_text() and not folded.has_attr("open")
    )
    assert not {"First", "Seen", "Appendix"} & set(folded.stripped_strings) and "Seen" in report.get_text()
    assert report.find("a", string="base")["href"] == "#stage-base-b"
    alone = BeautifulSoup((tmp_path / "html" / "02_report-b.html").read_text(), "html.parser").main
    assert alone.find("a", string="base")["href"] == "01_stage-base-b.html"
