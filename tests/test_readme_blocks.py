"""Figures in README.md and docs/ are of the runs that they name, and of no others."""

import re
import shutil

import numpy as np
import pytest

from lfwstudy.config import RunConfig
from lfwstudy.ladder.published_figures import replicates
from lfwstudy.ladder.published_histories import published_histories
from lfwstudy.report.table import Interval
from lfwstudy.runs.store import Store
from lfwstudy.system.files import read_json, write_json
from tools import kept_studies, ladder_blocks, readme_blocks, study_blocks
from tools.kept_studies import BEYOND, RESULTS, VIEW2, view2
from tools.two_cores import OnTwoCores, two_cores_table


def test_measured_figures_in_readme_and_docs_are_those_of_the_results(capsys):
    assert readme_blocks.main(["--check"]) == 0, f"run `python -m tools.readme_blocks`:\n{capsys.readouterr().out}"


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """A README and a page of docs/ with separate blocks."""
    monkeypatch.setattr(readme_blocks, "ROOT", tmp_path)
    monkeypatch.setattr(readme_blocks, "BLOCKS", {"one": lambda: "![a](results/a.png)", "other": lambda: "text"})
    paths = tmp_path / "README.md", tmp_path / "docs" / "a.md"
    paths[1].parent.mkdir()
    for path in paths:
        path.write_text("before\n<!-- one -->\nold\n<!-- /one -->\nbetween `<!-- other -->`\n")
    monkeypatch.setattr(readme_blocks, "PAGES", paths)
    monkeypatch.setattr(readme_blocks, "draw", lambda: None)
    return paths


def test_blocks_are_filled_with_links_that_hold_on_their_page(pages, capsys):
    before = [page.read_text() for page in pages]
    assert readme_blocks.main(["--check"]) == 1 and [page.read_text() for page in pages] == before
    assert capsys.readouterr().out == "README.md\ndocs/a.md\n"
    assert readme_blocks.main([]) == 0 == readme_blocks.main(["--check"])
    for page, link in zip(pages, ("results/a.png", "../results/a.png"), strict=True):
        assert page.read_text() == f"before\n<!-- one -->\n![a]({link})\n<!-- /one -->\nbetween `<!-- other -->`\n"


def test_the_figures_of_the_pages_can_be_drawn(tmp_path, monkeypatch):
    (tmp_path / BEYOND).mkdir()
    (tmp_path / "growth.json").symlink_to(RESULTS / "growth.json")
    monkeypatch.setattr(readme_blocks, "RESULTS", tmp_path)
    readme_blocks.draw()
    assert (tmp_path / "growth.png").stat().st_size > 5_000 < (tmp_path / BEYOND / "seconds.png").stat().st_size


def test_an_unknown_block_is_an_error(pages):
    pages[0].write_text("<!-- three -->\n<!-- /three -->\n")
    with pytest.raises(KeyError, match="three"):
        readme_blocks.filled(pages[0])


@pytest.mark.parametrize("stage", VIEW2)
def test_mean_of_view_2_is_of_the_ten_recorded_folds(stage):
    (study, candidate), *found = view2(stage)
    assert [spec.fold for spec in candidate.specs] == list(range(1, 11))
    store = Store(RESULTS / VIEW2[stage] / "runs")
    for spec in candidate.specs:
        assert RunConfig.from_dict(store.record(spec.run)[0]["config"]) == spec.config
    accuracies = [store.result(spec.run)["test_accuracy"] for spec in candidate.specs]
    assert found == pytest.approx([np.mean(accuracies), np.std(accuracies, ddof=1) / np.sqrt(10)])
    assert np.mean(study.correct(candidate, "score")) == pytest.approx(found[0])


def test_view_2_has_no_mean_before_its_ten_folds_are_there(tmp_path, monkeypatch):
    stage, name = "all-people-shallow", VIEW2["all-people-shallow"]
    shutil.copytree(RESULTS / name, tmp_path / name)
    record = read_json(tmp_path / name / "study.json")
    record["combinations"][0]["runs"].pop()
    write_json(tmp_path / name / "study.json", record)
    (tmp_path / name / "results.csv").unlink()
    monkeypatch.setattr(kept_studies, "opened", lambda name: kept_studies.Results.open(tmp_path / name))
    assert view2(stage) is None


def test_a_kept_study_of_the_reports_ladder_is_told(played, monkeypatch):
    """None with all epochs is kept yet: that of the tests stands in for it."""
    stand_in = {kept_studies.REPORT: kept_studies.Results.open(played).combinations(), kept_studies.REPORT_CPU: []}
    for blocks in (ladder_blocks, study_blocks):
        monkeypatch.setattr(blocks, "ladders", stand_in.__getitem__)
    assert "`demo`, the base network of `--ladder report` reaches" in study_blocks.headline()
    told = ladder_blocks.report_ladders().splitlines()
    assert told[0] == "`--profile quick --ladder report --select validation`:"
    assert told[4].startswith("| base | base ") and told[5].startswith("| augmentation | impatient ")
    header = told[2].strip("| ").split(" | ")
    base = dict(zip(header, told[4].strip("| ").split(" | ")))
    assert base["epochs at most"] == "2" and base["seeds"] == "1" and float(base["median seconds per epoch"]) >= 0
    assert any(re.search("Trained with tensorflow on .+\\.", line) for line in told)
    assert told[-1].startswith("Not finished yet: augmentation: ") and "impatient" not in told[-1]
    assert ladder_blocks.reproduced() == "The ladder `published` is not trained with the profile `report` yet."


def test_first_epochs_of_the_base_network_stand_next_to_the_published_ones():
    study = next(one for one in kept_studies.ladders(kept_studies.REPORT_CPU) if one.settings.ladder == "published")
    spec = study.climb()[0].candidates[0].specs[0]
    lines = ladder_blocks.first_epochs().splitlines()
    header, row = (line.strip("| ").split(" | ") for line in (lines[0], lines[10]))
    told, last = dict(zip(header, row)), study.store.history(spec.run)[29]
    assert told["epoch"] == "30" and told["validation loss: ladder `published`, seed 0"] == f"{last['val_loss']:.1f}"
    assert told["training accuracy: ladder `published`, seed 0"] == f"{100 * last['accuracy']:.1f}"
    runs = [published_histories()[run][29]["accuracy"] for run, _ in replicates().runs]
    expected = f"{100 * runs[0]:.1f} [{100 * min(runs):.1f}, {100 * max(runs):.1f}]"
    assert told["training accuracy: published"] == expected and len(runs) == 4


def test_networks_on_two_cores_are_means_over_their_seeds():
    labels, wrong = np.arange(100) < 50, (66, 65, 64)  # the pairs from 50 on that are called matched end there
    runs = [
        OnTwoCores(
            *("s", seed, 2, [60.0, 60.0 * seed]),
            scores=np.where(np.arange(100) < wrong[seed], 0.9, 0.1),
            labels=labels,
            components=np.arange(100),
            elsewhere=0.9,
            machine="m",
        )
        for seed in (0, 1, 2)
    ]
    begun = OnTwoCores("t", 3, 2, [30.0])
    each, together, other = two_cores_table({"s": runs, "t": [begun]}).rows
    accuracy = "test accuracy [95 %]"
    assert isinstance(each.pop(accuracy), Interval) and together[accuracy].value == pytest.approx(0.85)
    assert each == {
        "on two cores": "s",
        "seeds": "0, 1, 2",
        "epochs": "2 of 2",
        "minutes of training": "2.0 (at most 3.0)",
        "same seeds on the GPU": pytest.approx(0.9),
    }
    assert other["epochs"] == "1 of 2" and other["minutes of training"] == "1.0 for all, estimated"
    assert accuracy not in other
