"""What is tried, in what order, starting from what? The ladders as data, and the profiles that scale them.

To add a stage, add a `Stage` to a ladder: an id, a hypothesis, and variants as changes to the configuration that
the stages before it arrived at. Everything else (training, tables, notebook, report) follows.
"""

import math
from dataclasses import dataclass, field

from .config import DataConfig, RunConfig
from .errors import choose_one


@dataclass(frozen=True)
class Published:
    """What the report prints on a variant; None where it prints nothing. Seconds are its own machine's."""

    accuracy: float
    loss: float | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    seconds_per_epoch: float | None = None
    seconds_total: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Variant:
    """One configuration of a stage: changes ("section.field" to value) to the incumbent's, in unscaled epochs."""

    id: str
    title: str
    changes: dict
    published: Published | None = None


@dataclass(frozen=True)
class Stage:
    """One rung of a ladder: what is expected of one factor, and the variants that try it.

    carry: whether a variant of it may become the configuration that later stages start from.
    report_choice: the variant that the report went on with, None where it went on with what it had.
    """

    id: str
    title: str
    hypothesis: str
    variants: tuple
    carry: bool = True
    report_choice: str | None = None


@dataclass(frozen=True)
class Profile:
    """How much of the report's effort is spent: a factor on all epoch-valued settings, and changes to the base.

    threads: of a training process; small networks gain more from running side by side than from sharing the cores.
    0: a run takes the whole machine.
    """

    name: str
    title: str
    factor: float
    changes: dict = field(default_factory=dict)
    threads: int = 0


PROFILES = {p.name: p for p in (
    Profile("quick", "an eighth of the filters, small pictures, few pairs, 8 % of the epochs", 0.08,
            {"model.width": 0.125, "data.side": 73, "data.pairs_per_class": 300}, threads=1),
    Profile("cpu", "the full network, all pairs, 15 % of the epochs", 0.15),
    Profile("report", "the report's own numbers", 1.0),
)}

_EPOCH_SETTINGS = ("epochs", "patience", "checkpoint_period", "lr_drop_epoch")

# From the stage early-stopping on, what is evaluated is the checkpoint with the lowest total validation loss.
_CHECKPOINTS = {"training.evaluated": "best-checkpoint", "training.checkpoint_period": 5}


def _norm(placement, patience=5, epochs=200):
    return {**_CHECKPOINTS, "model.batchnorm": placement, "training.patience": patience, "training.epochs": epochs}


def _augmented(placement, patience):
    return {**_norm(placement, patience), "training.augmented_copies": 2}


_AFTER_RAISING = {**_CHECKPOINTS, "training.patience": 30, "training.epochs": 200}
# What is clipped on the copies needs copies, whatever was carried forward.
_WITH_COPIES = {**_AFTER_RAISING, "training.augmented_copies": 2}
_CLIPPING = Published(.6920, .8953, 140, 123, 5.7317, 802.4,
                      "one figure for clipping; the report does not say for which variant")

REPORT_LADDER = (
    Stage("base", "Base network",
          "The network of Koch et al. (2015), trained for a fixed number of epochs, tells same from different better "
          "than chance on people it has never seen.",
          (Variant("base", "200 epochs, the last epoch's weights", {},
                   Published(.6770, 1.0066, 200, None, 1.8277, 365.5)),),
          report_choice="base"),
    Stage("stride", "Stride of the first pooling layer",
          "With stride 1 instead of 2 in the first max-pooling layer the later layers see more detail. The network "
          "becomes eight times larger and about four and a half times slower.",
          (Variant("pool1-stride1", "first pooling with stride 1", {"model.pool1_stride": 1},
                   Published(.5730, 2.0834, 200, None, 6.9726, 1394.5)),),
          carry=False),
    Stage("early-stopping", "Early stopping with checkpoints",
          "Training too long overfits. Stopping once the validation loss has not fallen for some epochs, and going "
          "back to the best checkpoint, gives a better network for less work.",
          (Variant("patience5", "patience 5, checkpoint every 5 epochs",
                   {**_CHECKPOINTS, "training.patience": 5},
                   Published(.6940, 2.0834, 184, 175, 2.0702, 380.9, "loss printed twice")),),
          report_choice="patience5"),
    Stage("batchnorm", "Placement of batch normalisation",
          "Batch normalisation speeds up and steadies training; where it stands matters. It is tried before the "
          "activation, after it, and after both activation and pooling.",
          (Variant("activation-and-pooling", "after activation and after pooling", _norm("activation-and-pooling"),
                   Published(.6740, .9671, 183, 175, 2.1923, 438.5)),
           Variant("after-activation", "after activation", _norm("after-activation"),
                   Published(.6820, .9811, 200, 200, 2.2615, 416.1)),
           Variant("after-activation-patient", "after activation, patience 10, at most 300 epochs",
                   _norm("after-activation", 10, 300), Published(.7030, .9642, 221, 215, 2.0542, 454.0)),
           Variant("before-activation", "before activation", _norm("before-activation"),
                   Published(.7010, .9642, 155, 150, 2.0203, 369.7, "loss printed twice"))),
          report_choice="after-activation-patient"),
    Stage("augmentation", "Augmented copies",
          "Two varied copies of every training pair (zoom, shear, brightness) make the training set three times as "
          "large and the network less sensitive to how a picture was taken. It needs more patience to learn.",
          (Variant("impatient", "batch-norm before activation, patience 5", _augmented("before-activation", 5),
                   Published(.6470, 1.2955, 71, 70, 2.8366, 439.7)),
           Variant("before-activation", "batch-norm before activation, patience 20",
                   _augmented("before-activation", 20), Published(.7120, .9142, 183, 130, 6.0996, 1116.2)),
           Variant("after-activation", "batch-norm after activation, patience 20",
                   _augmented("after-activation", 20),
                   Published(.7120, .9142, 116, 105, 5.2656, 610.8, "accuracy and loss printed twice"))),
          report_choice="after-activation"),
    Stage("label-clipping", "Clipped labels",
          "Labels a little away from 0 and 1 keep the network from becoming too sure of single pairs.",
          (Variant("copies", "0.03 on augmented copies",
                   {**_WITH_COPIES, "training.label_epsilon_copies": 0.03,
                    "training.label_epsilon_originals": 0.0}, _CLIPPING),
           Variant("copies-and-originals", "0.03 on copies, 0.01 on originals",
                   {**_WITH_COPIES, "training.label_epsilon_copies": 0.03,
                    "training.label_epsilon_originals": 0.01}, _CLIPPING))),
    Stage("lr-schedule", "Learning-rate schedule",
          "Dividing the learning rate by 10 once training has slowed down lets the network settle.",
          tuple(Variant(f"drop{epoch}", f"learning rate / 10 after epoch {epoch}",
                        {**_AFTER_RAISING, "training.lr_drop_epoch": epoch},
                        Published(.6940, 1.0535, 140, 132, 5.9724, 836.1) if epoch == 40 else None)
                for epoch in (40, 50, 60))),
)

LADDERS = {"report": REPORT_LADDER}


def get_ladder(name):
    """The stages of a ladder. Raises ConfigError for an unknown name."""
    return LADDERS[choose_one("ladder", name, LADDERS)]


def get_stage(ladder, stage):
    """A stage of a ladder. Raises ConfigError for an unknown one."""
    stages = {s.id: s for s in get_ladder(ladder)}
    return stages[choose_one("stage", stage, stages)]


def get_profile(name):
    """A profile by name. Raises ConfigError for an unknown one."""
    return PROFILES[choose_one("profile", name, PROFILES)]


def base_config(profile, **data):
    """The configuration that a ladder starts from, in unscaled epochs. data: fields of DataConfig."""
    return RunConfig(data=DataConfig(**data)).change(get_profile(profile).changes)


def scale(config, profile):
    """`config` with every epoch-valued setting scaled by the profile's factor, rounded half up, at least 1."""
    factor = get_profile(profile).factor
    return config.change({f"training.{name}": max(1, math.floor(getattr(config.training, name) * factor + 0.5))
                          for name in _EPOCH_SETTINGS if getattr(config.training, name) is not None})


def in_order(ladder, stages):
    """The named stages in the ladder's order, `base` always first. Raises ConfigError for unknown ones."""
    known = [stage.id for stage in get_ladder(ladder)]
    for stage in stages:
        choose_one("stage", stage, known)
    return [name for name in known if name in stages or name == known[0]]
