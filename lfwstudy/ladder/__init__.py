"""The ladders as data, and the profiles that scale them.

To add a stage, add it to a ladder's TOML file: an id, a hypothesis, and variants as changes to the configuration carried
forward by the stages before it. Training, tables, notebooks and report follow.
"""

from typing import Any

from lfwstudy.config import DataConfig, RunConfig
from lfwstudy.ladder.built_in import BEYOND, CLAIMS, FIGURES, PUBLISHED, REPORT
from lfwstudy.ladder.profiles import PROFILES

__all__ = ["CLAIMS", "FIGURES", "LADDERS", "PROFILES", "base_config"]

LADDERS = {ladder.id: ladder for ladder in (REPORT, PUBLISHED, BEYOND)}


def base_config(profile: str, ladder: str = "report", **data: Any) -> RunConfig:
    """The configuration that a ladder starts from, in unscaled epochs; `data` are fields of DataConfig."""
    return RunConfig(data=DataConfig(**data)).change(LADDERS[ladder].start | PROFILES[profile].changes)
