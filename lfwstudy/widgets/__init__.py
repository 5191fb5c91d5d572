"""The explorers: each makes a widget for JupyterLab from a finished study.

A widget holds its state, and its controls by name in `widget.parts`. If a run, images or kept weights are missing, it says
so in a sentence.
"""

from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

from IPython.display import display

from lfwstudy.report.parameters import check_parameters
from lfwstudy.report.wording import heading
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study, open_study
from lfwstudy.widgets.augmentation import AugmentationBench
from lfwstudy.widgets.live_training import LiveTraining
from lfwstudy.widgets.occlusion import PartsExplorer
from lfwstudy.widgets.one_second import OneSecondTest
from lfwstudy.widgets.own_photos import OwnPhotos
from lfwstudy.widgets.pair_browser import PairBrowser
from lfwstudy.widgets.run_browser import RunBrowser
from lfwstudy.widgets.threshold import ThresholdMover

browse_runs = RunBrowser
browse_pairs = PairBrowser
move_threshold = ThresholdMover
bench_augmentation = AugmentationBench
look_at_parts = PartsExplorer
try_your_own = OwnPhotos
one_second_test = OneSecondTest
train_live = LiveTraining


def open_for_notebook(parameters: dict[str, Any]) -> Study:
    """The study described by a notebook's parameters, its globals(); checks them and shows a heading."""
    check_parameters(parameters)
    study = find_study(**{name: parameters[name] for name in signature(find_study).parameters})
    display(heading(study, "The study", level=2))
    return study


def find_study(
    dataset: str = "demo", profile: str = "quick", data_dir: str = "", out: str = "", number: int = 1
) -> Study:
    """The study in a folder, described by its study.json; an empty one if there is none yet.

    Parameters
    ----------
    out : the folder; empty for runs/<dataset>-<profile>.
    number : which of the folder's ladders, counted from 1.

    Raises
    ------
    ConfigError
        For settings that do not exist.
    StudyError
        If study.json cannot be read.
    """
    wanted = Settings(dataset=dataset, profile=profile, data_dir=data_dir, out=out)
    if not (wanted.folder() / "study.json").is_file():
        return Study(wanted)
    found = open_study(wanted.folder())
    study = found[min(max(number, 1), len(found)) - 1]
    if not data_dir:
        return study
    return Study(replace(study.settings, data_dir=str(Path(data_dir).expanduser())))
