"""The ladders as data, and the profiles that scale them.

To add a stage, add a `Stage` to a ladder: an id, a hypothesis, and variants as changes to the configuration carried
forward by the stages before it. Training, tables, notebooks and report follow.
"""

from typing import Any

from lfwstudy.config import DataConfig, RunConfig
from lfwstudy.ladder.beyond_ladder import BEYOND
from lfwstudy.ladder.profiles import PROFILES
from lfwstudy.ladder.published_ladder import PUBLISHED
from lfwstudy.ladder.report_ladder import FIGURES, REPORT

__all__ = ["FIGURES", "LADDERS", "PROFILES", "base_config"]

LADDERS = {ladder.id: ladder for ladder in (REPORT, PUBLISHED, BEYOND)}


def base_config(profile: str, ladder: str = "report", **data: Any) -> RunConfig:
    """The configuration that a ladder starts from, in unscaled epochs; `data` are fields of DataConfig."""
    return RunConfig(data=DataConfig(**data)).change(LADDERS[ladder].start | PROFILES[profile].changes)
