"""The ladders as data, and the profiles that scale them.

To add a stage, add a `Stage` to a ladder: an id, a hypothesis, and variants as changes to the configuration carried
forward by the stages before it. Training, tables, notebooks and report follow.
"""

from collections.abc import Iterable
from typing import Any

from lfwstudy.config import DataConfig, RunConfig
from lfwstudy.errors import choose_one
from lfwstudy.ladder.beyond_ladder import BEYOND
from lfwstudy.ladder.profiles import PROFILES, get_profile
from lfwstudy.ladder.published_ladder import PUBLISHED
from lfwstudy.ladder.report_ladder import REPORT
from lfwstudy.ladder.stage import Stage

__all__ = [
    "LADDERS",
    "PROFILES",
    "base_config",
    "get_ladder",
    "get_profile",
    "get_stage",
    "in_order",
    "scale",
    "seeds_of",
]

LADDERS = {ladder.id: ladder for ladder in (REPORT, PUBLISHED, BEYOND)}


def get_ladder(name: str) -> tuple[Stage, ...]:
    """The stages of a ladder. Raises ConfigError for an unknown name."""
    return LADDERS[choose_one("ladder", name, LADDERS)].stages


def get_stage(ladder: str, stage: str) -> Stage:
    """A stage of a ladder. Raises ConfigError for an unknown one."""
    stages = {s.id: s for s in get_ladder(ladder)}
    return stages[choose_one("stage", stage, stages)]


def in_order(ladder: str, stages: Iterable[str]) -> list[str]:
    """The named stages in the ladder's order, always including the first. Raises ConfigError for unknown ones."""
    known = [stage.id for stage in get_ladder(ladder)]
    asked = {choose_one("stage", stage, known) for stage in stages} | {known[0]}
    return [name for name in known if name in asked]


def seeds_of(stage: Stage, profile: str, seeds: int, protocol: str = "view1") -> int:
    """Number of seeds of a stage in a study of `seeds`."""
    return get_profile(profile).seeds_of(stage, seeds, protocol)


def base_config(profile: str, ladder: str = "report", **data: Any) -> RunConfig:
    """The configuration that a ladder starts from, in unscaled epochs; `data` are fields of DataConfig."""
    return RunConfig(data=DataConfig(**data)).change({**LADDERS[ladder].start, **get_profile(profile).changes})


def scale(config: RunConfig, profile: str, ladder: str = "report") -> RunConfig:
    """`config` with its epochs scaled by a profile, as `Profile.scale` does."""
    return get_profile(profile).scale(config, LADDERS[ladder])
