"""The explorers: each makes a widget for JupyterLab from a finished study.

A widget holds its state, and its controls by name in `widget.parts`. If a run, images or kept weights are missing, it says
so in a sentence.
"""

from dataclasses import replace
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
    study = find_study(**{name: parameters[name] for name in ("number", "dataset", "profile", "data_dir", "out")})
    display(heading(study, "The study", level=2))
    return study


def find_study(number: int = 1, **settings: Any) -> Study:
    """The study in a folder, described by its study.json; an empty one if there is none yet.

    Parameters
    ----------
    number : which of the folder's ladders, counted from 1.
    settings : of `Settings`: the data set and profile, its folder `out`, and `data_dir`, if the images are elsewhere now.

    Raises
    ------
    ConfigError
        For an unknown data set or profile.
    StudyError
        If study.json cannot be read.
    """
    wanted = Settings(**settings)
    if not (wanted.folder() / "study.json").is_file():
        return Study(wanted)
    found = open_study(wanted.folder())
    study = found[min(max(number, 1), len(found)) - 1]
    return Study(replace(study.settings, data_dir=wanted.data_dir)) if wanted.data_dir else study
