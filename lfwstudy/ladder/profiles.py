"""Profiles: scale every epoch-valued setting of a ladder, and change its base configuration."""

import math
from dataclasses import dataclass, field

from lfwstudy.config import RunConfig
from lfwstudy.ladder.stage import Changes, Ladder, Stage

_EPOCH_SETTINGS = ("epochs", "patience", "checkpoint_period", "lr_drop_epoch", "warmup")


@dataclass(frozen=True)
class Profile:
    """A factor on all epoch-valued settings, and changes to the base configuration.

    beyond_factor: the factor for ladders whose epochs are written for two cores.
    threads: per training process, 0 for all cores. Small networks gain more from parallel runs than from more threads.
    """

    name: str
    title: str
    factor: float
    changes: Changes = field(default_factory=dict)
    threads: int = 0
    beyond_factor: float = 1.0

    def factor_for(self, ladder: Ladder) -> float:
        """The factor on the epochs of a ladder."""
        return self.beyond_factor if ladder.own_epochs else self.factor

    def seeds_of(self, stage: Stage, seeds: int, protocol: str = "view1") -> int:
        """Number of seeds of a stage in a study of `seeds`; View 2's ten folds are ten networks already."""
        return max(seeds, stage.seeds if self.beyond_factor == 1 and protocol == "view1" else 1)

    def scale(self, config: RunConfig, ladder: Ladder) -> RunConfig:
        """`config` with every epoch-valued setting scaled, rounded half up, at least 1.

        Settings of None and a warm-up of 0 stay. A warm-up leaves at least one epoch at the full learning rate.
        """
        values = {name: getattr(config.training, name) for name in _EPOCH_SETTINGS}
        factor = self.factor_for(ladder)
        scaled = {name: max(1, math.floor(value * factor + 0.5)) for name, value in values.items() if value}
        if "warmup" in scaled:
            scaled["warmup"] = min(scaled["warmup"], scaled["epochs"] - 1)
        return config.change({f"training.{name}": value for name, value in scaled.items()})


PROFILES = {
    p.name: p
    for p in (
        Profile(
            "quick",
            "an eighth of the filters, small images, few pairs, 7.5 % of the epochs",
            0.075,
            # Batches of 16 give as many steps per epoch as the report's 64 on all pairs: batch-norm's moving averages need them.
            {"data.crop": 190, "data.side": 65, "data.pairs_per_class": 240}
            | {"model.width": 0.125, "training.batch_size": 16},
            threads=1,
            beyond_factor=0.075,
        ),
        Profile("cpu", "the full network, all pairs, 15 % of the epochs", 0.15),
        Profile("report", "the report's hyperparameters", 1.0),
    )
}
