"""Figures in README.md and docs/ are of the runs that they name, and of no others."""

import numpy as np
import pytest

from lfwstudy.errors import StudyError
from lfwstudy.ladder import base_config, get_stage
from lfwstudy.runs.store import FILES
from lfwstudy.system.files import write_json
from tools import readme_blocks

STAGE = "all-people-shallow"


def keep(root, stage, fold, accuracy, seed=0, protocol="view2", **changes):
    """A finished run of a stage, as a folder below results/ keeps it; None for an accuracy: not scored."""
    config = base_config("cpu", "beyond", dataset="lfw-deepfunneled", protocol=protocol, fold=fold).change(
        {**get_stage("beyond", stage).variants[0].changes, **changes}
    )
    folder = root / "runs" / config.identify(seed, "bfloat16", "")
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text("")
    write_json(folder / "config.json", {"config": config.to_dict(), "seed": seed})
    write_json(folder / "result.json", {"test_accuracy": accuracy})
    return folder


@pytest.fixture
def ten(tmp_path):
    """A folder with the ten folds of a stage, and their mean and standard error."""
    accuracies = [0.9 + fold / 1000 for fold in range(1, 11)]
    for fold, accuracy in enumerate(accuracies, 1):
        keep(tmp_path, STAGE, fold, accuracy)
    return tmp_path, (pytest.approx(np.mean(accuracies)), pytest.approx(np.std(accuracies, ddof=1) / np.sqrt(10)))


@pytest.mark.parametrize(
    "others",
    [
        lambda root: [keep(root, "base", fold, 0.6) for fold in range(1, 11)],
        lambda root: [keep(root, "all-people-larger", fold, 0.8) for fold in range(1, 11)],
        lambda root: keep(root, STAGE, None, 0.5, protocol="view1"),
        lambda root: keep(root, STAGE, 3, 0.5, **{"training.weight_decay": 0.1}),
        lambda root: keep(root, STAGE, 3, None, seed=1),
        lambda root: (keep(root, "base", 4, 0.5) / "result.json").unlink(),
    ],
    ids=["the base network", "another stage", "view 1", "another configuration", "not scored", "not finished"],
)
def test_mean_of_view_2_is_of_the_stages_own_folds(ten, others):
    folder, expected = ten
    others(folder)
    runs, *found = readme_blocks.view2(folder, STAGE)
    assert len(runs) == 10 and tuple(found) == expected


@pytest.mark.parametrize("fold", [1, 10])
def test_a_fold_with_two_runs_is_an_error_that_names_them(ten, fold):
    keep(ten[0], STAGE, fold, 0.9, seed=1)
    with pytest.raises(StudyError, match=f"runs: fold {fold} of {STAGE} has 2 runs"):
        readme_blocks.view2(ten[0], STAGE)


def test_view_2_has_no_mean_before_its_ten_folds_are_there(tmp_path):
    for fold in range(1, 10):
        keep(tmp_path, STAGE, fold, 0.9)
        keep(tmp_path, "base", fold, 0.9)
    keep(tmp_path, "base", 10, 0.9)
    assert readme_blocks.view2(tmp_path, STAGE) is None and readme_blocks.view2(tmp_path / "nothing", STAGE) is None
    assert len(readme_blocks.view2(tmp_path, "base")[0]) == 10


@pytest.mark.parametrize("page, link", [("README.md", "results/a.png"), ("docs/a.md", "../results/a.png")])
def test_a_block_is_filled_with_links_that_hold_on_its_page(tmp_path, monkeypatch, page, link):
    monkeypatch.setattr(readme_blocks, "ROOT", tmp_path)
    monkeypatch.setattr(readme_blocks, "BLOCKS", {"one": lambda: "![a](results/a.png)", "other": lambda: "text"})
    (tmp_path / "docs").mkdir()
    path = tmp_path / page
    path.write_text("before\n<!-- one -->\nold\n<!-- /one -->\nbetween `<!-- other -->`\n")
    filled = f"before\n<!-- one -->\n![a]({link})\n<!-- /one -->\nbetween `<!-- other -->`\n"
    assert readme_blocks.filled(path) == filled
    path.write_text("<!-- three -->\n<!-- /three -->\n")
    with pytest.raises(KeyError, match="three"):
        readme_blocks.filled(path)


@pytest.mark.parametrize("stage", readme_blocks.VIEW2)
def test_kept_folds_are_found(stage):
    assert len(readme_blocks.view2(readme_blocks.VIEW2[stage], stage)[0]) == 10
