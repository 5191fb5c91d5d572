"""The explorers: the study in a person's hands. Each is one function from a Study to a widget for JupyterLab.

The widget that comes back holds its state; its named controls are in `widget.parts`. What is missing (a run, a picture,
kept weights) is said in a sentence within the widget.
"""

import dataclasses
from pathlib import Path

from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study, open_study
from lfwstudy.widgets.augmentation import bench_augmentation
from lfwstudy.widgets.live_training import train_live
from lfwstudy.widgets.occlusion import look_at_parts
from lfwstudy.widgets.one_second import one_second_test
from lfwstudy.widgets.own_photos import try_your_own
from lfwstudy.widgets.pair_browser import browse_pairs
from lfwstudy.widgets.run_browser import browse_runs
from lfwstudy.widgets.threshold import move_threshold

__all__ = [
    "bench_augmentation",
    "browse_pairs",
    "browse_runs",
    "find_study",
    "look_at_parts",
    "move_threshold",
    "one_second_test",
    "train_live",
    "try_your_own",
]


def find_study(dataset="demo", profile="quick", data_dir="", out="", number=1):
    """The study of a folder, as the folder itself says; an empty one where there is none yet.

    out: empty for runs/<dataset>-<profile>. number: which of the folder's ladders, counted from 1. Raises ConfigError
    for settings that do not exist, StudyError where study.json cannot be read.
    """
    wanted = Settings(dataset=dataset, profile=profile, data_dir=data_dir, out=out)
    if not (wanted.folder() / "study.json").is_file():
        return Study(wanted)
    found = open_study(wanted.folder())
    study = found[min(max(number, 1), len(found)) - 1]
    if not data_dir:
        return study
    return Study(dataclasses.replace(study.settings, data_dir=str(Path(data_dir).expanduser())))
