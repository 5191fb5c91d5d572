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
from lfwstudy.widgets.augmentation import AugmentationBench as bench_augmentation
from lfwstudy.widgets.live_training import LiveTraining as train_live
from lfwstudy.widgets.occlusion import PartsExplorer as look_at_parts
from lfwstudy.widgets.one_second import OneSecondTest as one_second_test
from lfwstudy.widgets.own_photos import OwnPhotos as try_your_own
from lfwstudy.widgets.pair_browser import PairBrowser as browse_pairs
from lfwstudy.widgets.run_browser import RunBrowser as browse_runs
from lfwstudy.widgets.threshold import ThresholdMover as move_threshold

__all__ = ["bench_augmentation", "browse_pairs", "browse_runs", "find_study", "look_at_parts", "move_threshold"]
__all__ += ["one_second_test", "open_for_notebook", "train_live", "try_your_own"]


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
