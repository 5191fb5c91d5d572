"""What is tried, in what order, starting from what? The ladders as data, and the profiles that scale them.

To add a stage, add a `Stage` to a ladder: an id, a hypothesis, and variants as changes to the configuration that
the stages before it arrived at. Everything else (training, tables, notebook, report) follows.
"""

import dataclasses
import math
from dataclasses import dataclass, field

from lfwstudy.config import DataConfig, RunConfig
from lfwstudy.errors import choose_one


@dataclass(frozen=True)
class Published:
    """What the report prints on a variant; None where it prints nothing, or another row's figure. Seconds are its own machine's.

    loss: total, of the test pairs, with the evaluated weights.
    """

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
    seeds: at least so many of each variant, in any profile but `quick`: what is averaged or has a result of its own.
    """

    id: str
    title: str
    hypothesis: str
    variants: tuple
    carry: bool = True
    report_choice: str | None = None
    seeds: int = 1


@dataclass(frozen=True)
class Ladder:
    """Stages in order, and what holds for all of them.

    start: changes to the default configuration that every stage starts from. split, select: the study's, where a command
    names none. own_epochs: whether its epochs are written for two cores; else they are the report's, which a profile scales.
    calibrated: whether scores are compared after calibration on validation, whatever the head: it has heads that are calibrated
    in training, and at an uncalibrated 0.5 the others would be judged by their threshold.
    """

    id: str
    title: str
    stages: tuple
    start: dict = field(default_factory=dict)
    split: str = "components"
    select: str = "validation"
    own_epochs: bool = False
    calibrated: bool = False

    def has_path(self):
        """Whether the report says what it carried forward, so that a study can follow it."""
        return any(stage.report_choice for stage in self.stages)

    def path(self, start):
        """The configuration of each variant along the report's own choices: {(stage, variant): RunConfig}.

        start: RunConfig of the first stage's start.
        """
        found = {}
        for stage in self.stages if self.has_path() else ():
            found |= {(stage.id, v.id): start.change(v.changes) for v in stage.variants}
            start = found.get((stage.id, stage.report_choice), start)
        return found


@dataclass(frozen=True)
class Profile:
    """How much of the report's effort is spent: a factor on all epoch-valued settings, and changes to the base.

    beyond_factor: the same for the ladder beyond, whose epochs are written for two cores.
    threads: of a training process; small networks gain more from running side by side than from sharing the cores.
    0: a run takes the whole machine.
    """

    name: str
    title: str
    factor: float
    changes: dict = field(default_factory=dict)
    threads: int = 0
    beyond_factor: float = 1.0

    def factor_for(self, ladder):
        """The factor on the epochs of a ladder."""
        return self.beyond_factor if LADDERS[ladder].own_epochs else self.factor


PROFILES = {
    p.name: p
    for p in (
        # Batches of 16 make as many steps of an epoch as the report's 64 do of all pairs: batch-norm's moving averages need them.
        Profile(
            "quick",
            "an eighth of the filters, small pictures, few pairs, 7.5 % of the epochs",
            0.075,
            {
                "model.width": 0.125,
                "data.crop": 190,
                "data.side": 65,
                "data.pairs_per_class": 240,
                "training.batch_size": 16,
            },
            threads=1,
            beyond_factor=0.075,
        ),
        Profile("cpu", "the full network, all pairs, 15 % of the epochs", 0.15),
        Profile("report", "the report's own numbers", 1.0),
    )
}

_EPOCH_SETTINGS = ("epochs", "patience", "checkpoint_period", "lr_drop_epoch", "warmup")

# From the stage early-stopping on, what is evaluated is the checkpoint with the lowest total validation loss.
_CHECKPOINTS = {
    "training.evaluated": "best-checkpoint",
    "training.checkpoint_period": 5,
    "training.monitor": "val_loss",
}


def _norm(placement, patience=5, epochs=200):
    return {**_CHECKPOINTS, "model.batchnorm": placement, "training.patience": patience, "training.epochs": epochs}


def _augmented(placement, patience):
    return {**_norm(placement, patience), "training.augmented_copies": 2}


_AFTER_RAISING = {**_CHECKPOINTS, "training.patience": 30, "training.epochs": 200}
# What is clipped on the copies needs copies, whatever was carried forward.
_WITH_COPIES = {**_AFTER_RAISING, "training.augmented_copies": 2}

REPORT_LADDER = (
    Stage(
        "base",
        "Base network",
        "The network of Koch et al. (2015), trained for a fixed number of epochs, tells same from different better "
        "than chance on people it has never seen.",
        (
            Variant(
                "base", "200 epochs, the last epoch's weights", {}, Published(0.6770, 1.0066, 200, None, 1.8277, 365.5)
            ),
        ),
        report_choice="base",
    ),
    Stage(
        "stride",
        "Stride of the first pooling layer",
        "With stride 1 instead of 2 in the first max-pooling layer the later layers see more detail. The network "
        "becomes eight times larger and about four and a half times slower.",
        (
            Variant(
                "pool1-stride1",
                "first pooling with stride 1",
                {"model.pool1_stride": 1},
                Published(0.5730, 2.0834, 200, None, 6.9726, 1394.5),
            ),
        ),
        carry=False,
    ),
    Stage(
        "early-stopping",
        "Early stopping with checkpoints",
        "Training too long overfits. Stopping once the validation loss has not fallen for some epochs, and going "
        "back to the best checkpoint, gives a better network for less work.",
        (
            Variant(
                "patience5",
                "patience 5, checkpoint every 5 epochs",
                {**_CHECKPOINTS, "training.patience": 5},
                Published(
                    0.6940,
                    None,
                    184,
                    175,
                    2.0702,
                    380.9,
                    "the loss 2.0834 is also printed for stride: pool1-stride1, to which it belongs",
                ),
            ),
            Variant(
                "patience5-cross-entropy",
                "the same, both watching the cross-entropy alone",
                {**_CHECKPOINTS, "training.patience": 5, "training.monitor": "val_cross_entropy"},
            ),
        ),
        report_choice="patience5",
    ),
    Stage(
        "batchnorm",
        "Placement of batch normalisation",
        "Batch normalisation speeds up and steadies training; where it stands matters. It is tried before the "
        "activation, after it, and after both activation and pooling.",
        (
            Variant(
                "activation-and-pooling",
                "after activation and after pooling",
                _norm("activation-and-pooling"),
                Published(0.6740, 0.9671, 183, 175, 2.1923, 438.5),
            ),
            Variant(
                "after-activation",
                "after activation",
                _norm("after-activation"),
                Published(0.6820, 0.9811, 200, 200, 2.2615, 416.1),
            ),
            Variant(
                "after-activation-patient",
                "after activation, patience 10, at most 300 epochs",
                _norm("after-activation", 10, 300),
                Published(0.7030, 0.9642, 221, 215, 2.0542, 454.0),
            ),
            Variant(
                "before-activation",
                "before activation",
                _norm("before-activation"),
                Published(
                    0.7010,
                    None,
                    155,
                    150,
                    2.0203,
                    369.7,
                    "the loss 0.9642 is also printed for batchnorm: after-activation-patient, to which it belongs",
                ),
            ),
        ),
        report_choice="after-activation-patient",
    ),
    Stage(
        "augmentation",
        "Augmented copies",
        "Two varied copies of every training pair (zoom, shear, brightness) make the training set three times as "
        "large and the network less sensitive to how a picture was taken. It needs more patience to learn.",
        (
            Variant(
                "impatient",
                "batch-norm before activation, patience 5",
                _augmented("before-activation", 5),
                Published(0.6470, 1.2955, 71, 70, 2.8366, 439.7),
            ),
            Variant(
                "before-activation",
                "batch-norm before activation, patience 20",
                _augmented("before-activation", 20),
                Published(0.7120, 0.9142, 183, 130, 6.0996, 1116.2),
            ),
            Variant(
                "after-activation",
                "batch-norm after activation, patience 20",
                _augmented("after-activation", 20),
                Published(0.7120, 0.9142, 116, 105, 5.2656, 610.8),
            ),
        ),
        report_choice="after-activation",
    ),
    Stage(
        "label-clipping",
        "Clipped labels",
        "Labels a little away from 0 and 1 keep the network from becoming too sure of single pairs.",
        (
            Variant(
                "copies",
                "0.03 on augmented copies",
                {**_WITH_COPIES, "training.label_epsilon_copies": 0.03, "training.label_epsilon_originals": 0.0},
            ),
            Variant(
                "copies-and-originals",
                "0.03 on copies, 0.01 on originals",
                {**_WITH_COPIES, "training.label_epsilon_copies": 0.03, "training.label_epsilon_originals": 0.01},
                Published(0.6920, 0.8953, 140, 123, 5.7317, 802.4),
            ),
        ),
    ),
    Stage(
        "lr-schedule",
        "Learning-rate schedule",
        "Dividing the learning rate by 10 once training has slowed down lets the network settle.",
        tuple(
            Variant(
                f"drop{epoch}",
                f"learning rate / 10 after epoch {epoch}",
                {**_AFTER_RAISING, "training.lr_drop_epoch": epoch},
                Published(0.6940, 1.0535, 140, 132, 5.9724, 836.1) if epoch == 40 else None,
            )
            for epoch in (40, 50, 60)
        ),
    ),
)

# What the report's code did where that differs, by stage and variant: changes, in place of those above. Its option "after
# activation" is 0 and tested for truth, so that no batch-norm layer was inserted; its epochs count from 0.
_AS_CODED = {
    ("batchnorm", "after-activation"): _norm("none"),
    ("batchnorm", "after-activation-patient"): _norm("none", 10, 300),
    ("augmentation", "after-activation"): _augmented("none", 20),
    **{
        ("lr-schedule", f"drop{epoch}"): {**_AFTER_RAISING, "training.lr_drop_epoch": epoch + 1}
        for epoch in (40, 50, 60)
    },
}
# What it did not do, or what no figure is printed of.
_REMARKS = {
    **{
        key: f"from epoch {changes['training.lr_drop_epoch'] + 1} on in the published code"
        if "training.lr_drop_epoch" in changes
        else "no batch-norm layer in the published code"
        for key, changes in _AS_CODED.items()
    },
    (
        "batchnorm",
        "after-activation",
    ): "no batch-norm layer in the published code: the same run as early-stopping: patience5",
    ("early-stopping", "patience5-cross-entropy"): "not in the published code",
    ("label-clipping", "copies"): "not printed",
}


def _as_coded(stage):
    return dataclasses.replace(
        stage,
        variants=tuple(
            dataclasses.replace(
                v,
                changes=_AS_CODED.get((stage.id, v.id), v.changes),
                title=v.title + (f" ({_REMARKS[stage.id, v.id]})" if (stage.id, v.id) in _REMARKS else ""),
            )
            for v in stage.variants
        ),
    )


PUBLISHED_LADDER = tuple(map(_as_coded, REPORT_LADDER))

# What the ladder beyond arrives at if every stage is carried forward; the worth of each factor is what is lost without it.
# Small pictures and 20 epochs until the last but one: what a factor is worth shows in minutes.
_CROP = {"data.crop": 144}
_COMPACT = {
    **_CHECKPOINTS,
    "model.architecture": "compact",
    "model.l2": 0.0,
    "model.width": 0.75,
    "data.side": 48,
    "training.epochs": 20,
}
_ADAMW = {
    "training.optimizer": "adamw",
    "training.learning_rate": 0.002,
    "training.weight_decay": 0.05,
    "training.schedule": "cosine",
    "training.warmup": 2,
}
_ONLINE = {
    "training.flip": True,
    "training.shift": 0.04,
    "training.online_zoom": 0.08,
    "training.rotation": 8.0,
    "training.online_brightness": 0.15,
}
_COSINE = {"model.head": "cosine"}
_CONTRAST = {"training.contrast": 1.0, "training.temperature": 0.1}
_PEOPLE = {"training.drawn_people": 1792}
_ERASE = {"training.erase": 0.5}
_FLIP = {"model.flip_average": True}
_COHORT = {"model.head": "cosine", "model.cohort": 512}
_STRONGER = {
    "training.shift": 0.05,
    "training.online_zoom": 0.1,
    "training.rotation": 10.0,
    "training.online_brightness": 0.2,
}
_DETAIL = {"data.side": 96, "model.stem_stride": 2}
_WHOLE = {
    **_COMPACT,
    **_CROP,
    **_ONLINE,
    **_CONTRAST,
    **_PEOPLE,
    **_ADAMW,
    **_COSINE,
    **_ERASE,
    **_FLIP,
    "model.cohort": 0,
}  # it goes with the cosine only, which is left out in turn


def _without(*factors):
    """The recipe less some factors' settings, each back at its default."""
    default = RunConfig().to_dict()
    gone = {key: default[key.partition(".")[0]][key.partition(".")[2]] for factor in factors for key in factor}
    return {**_WHOLE, **gone}


# What the ladder arrived at on View 1, where erased patches were no better on validation, with all pictures of the training
# people. Written out in full: on View 2, where nothing is chosen, it is trained without the stages before it.
_ALL_PEOPLE = {
    **_without(_ERASE),
    **_DETAIL,
    "data.pictures": "all-people",
    "training.drawn_people": 4096,
    "training.epochs": 22,
    "training.temperature": 0.05,
}

_LONGER = {**_ALL_PEOPLE, **_STRONGER, **_COHORT, "training.epochs": 44}
_LARGER = {**_LONGER, "data.side": 128, "model.width": 1.25, "model.pooling": "generalised-mean"}

_STRONGEST = {
    "training.shift": 0.075,
    "training.online_zoom": 0.15,
    "training.rotation": 15.0,
    "training.online_brightness": 0.3,
}
_SHALLOW = {
    **_LARGER,
    **_STRONGEST,
    "model.architecture": "shallow",
    "model.width": 1.0,
    "training.pairs_per_person": 2,
    "training.weight_decay": 0.2,
}
_PAIRS_SHALLOW = {
    **_SHALLOW,
    "data.pictures": "pairs",
    "training.weight_decay": 0.05,
    "training.least_pictures": 2,
    "training.drawn_people": 3584,
    "training.epochs": 24,
}

BEYOND_LADDER = (
    Stage(
        "base",
        "Compact network of 3x3 convolutions",
        "Small kernels with batch-norm and the mean over the picture, in place of a dense layer that holds most of the "
        "weights, learn from pictures of 48x48 pixels in two minutes what the report's network learns in many more. By "
        "themselves they are no better: this is where the ladder starts.",
        (Variant("compact", "six 3x3 convolutions with batch-norm, whole pictures at 48x48 pixels", _COMPACT),),
    ),
    Stage(
        "crop",
        "Tight crop of the face",
        "A third of each picture's side shows hair, clothes and background, which say little about who it is. The "
        "central 144 of 250 pixels leave more of the input to the face.",
        (Variant("crop144", "central 144 of 250 pixels", _CROP),),
    ),
    Stage(
        "online-augmentation",
        "Augmentation drawn anew in every epoch",
        "Mirrored and slightly shifted, zoomed and turned pictures, new ones in every epoch, keep the network from "
        "learning the training pictures by heart.",
        (Variant("light", "mirror, 4 % shift, 8 % zoom, 8 degrees, 15 % brightness", _ONLINE),),
    ),
    Stage(
        "contrast",
        "Contrast with the other people of the batch",
        "The pairs name the people, so that every picture can be told from all other people of its batch, not from "
        "one. LFW calls the use of names its unrestricted setting.",
        (Variant("contrast", "weight 1, temperature 0.1", _CONTRAST),),
    ),
    Stage(
        "people",
        "People instead of pairs",
        "Of the pictures that the pairs name, a batch gets two of each of 64 people, one picture twice where there is one: "
        "every picture has another of its person to be near to, and 63 people to be far from.",
        (Variant("people", "two pictures of 64 people a batch", _PEOPLE),),
    ),
    Stage(
        "optimiser",
        "AdamW along a cosine",
        "A learning rate that rises, then falls along a half cosine, lets the network settle; decoupled weight decay "
        "takes the place of the L2 penalty.",
        (Variant("adamw-cosine", "AdamW, two epochs of warm-up, half a cosine", _ADAMW),),
    ),
    Stage(
        "cosine-head",
        "Cosine similarity",
        "The angle between two embeddings has nothing to learn by heart about single components; a line through it, "
        "calibrated on validation, makes a probability.",
        (Variant("cosine", "cosine instead of weighted |a - b|", _COSINE),),
    ),
    Stage(
        "erase",
        "Erased patches",
        "With a random rectangle of every other picture blanked the network cannot rest on one part of the face.",
        (Variant("erase", "half of the pictures", _ERASE),),
    ),
    Stage(
        "flip-average",
        "Mirror image averaged in",
        "A face and its mirror image are of one person: the mean of their embeddings has less noise in it.",
        (Variant("flip-average", "mean of both embeddings", _FLIP),),
    ),
    Stage(
        "larger",
        "Larger pictures, longer training",
        "Twice as many pixels show more of a face than the network can learn by heart: it can then be trained for longer.",
        (Variant("larger", "64x64 pixels, 36 epochs", {"data.side": 64, "training.epochs": 36}),),
        seeds=5,
    ),
    Stage(
        "temperature",
        "A sharper contrast",
        "Divided by a smaller temperature, the cosines that count are those of the people most alike: the ones that a "
        "threshold gets wrong.",
        (Variant("temperature", "temperature 0.05 instead of 0.1", {"training.temperature": 0.05}),),
        seeds=2,
    ),
    Stage(
        "detail",
        "More pixels behind a stride",
        "A first convolution of 5x5 with stride 2 lets the network see pictures of 96x96 pixels with the arithmetic of 48x48: "
        "finer detail in half of the time.",
        (Variant("detail", "96x96 pixels, first convolution 5x5 with stride 2", _DETAIL),),
        seeds=2,
    ),
    Stage(
        "minute",
        "One minute of training",
        "The whole recipe needs no quarter of an hour to pass the report's best figure.",
        (
            Variant(
                "minute",
                "4 epochs, 96x96 pixels behind the stride, temperature 0.05",
                {**_DETAIL, "training.temperature": 0.05, "training.epochs": 4, "training.warmup": 1},
            ),
        ),
        carry=False,
        seeds=5,
    ),
    Stage(
        "leave-one-out",
        "Each factor left out",
        "What a factor is worth depends on the others: the whole recipe on small pictures, and the recipe without each.",
        (
            Variant("whole", "the whole recipe, 48x48 pixels, 20 epochs", _WHOLE),
            Variant("without-crop", "whole picture", _without(_CROP)),
            Variant(
                "without-compact",
                "the report's network, a quarter of its filters",
                {**_without(_COMPACT), "model.width": 0.25, "training.epochs": 20},
            ),
            Variant("without-adamw", "Adam at a constant rate", _without(_ADAMW)),
            Variant("without-augmentation", "no online augmentation, nothing erased", _without(_ONLINE, _ERASE)),
            Variant("without-erase", "nothing erased", _without(_ERASE)),
            Variant("without-cosine", "weighted |a - b|", _without(_COSINE)),
            Variant("without-contrast", "no contrast with the rest of the batch", _without(_CONTRAST)),
            Variant("without-people", "the training pairs instead of drawn people", _without(_PEOPLE)),
            Variant("without-flip-average", "no mirror image at the end", _without(_FLIP)),
        ),
        carry=False,
        seeds=2,
    ),
    Stage(
        "cohort",
        "Less what is usual between strangers",
        "Some faces look like many others. With the mean cosine of both pictures to the ten nearest of 512 pictures of "
        "training people taken off their cosine, one threshold suits more pairs; the training stays as it is.",
        (Variant("cohort", "a cohort of 512 pictures", _COHORT),),
        carry=False,
        seeds=2,
    ),
    Stage(
        "shallow",
        "Parts of a face",
        "In three blocks in place of four, the last features see half of a face's width, not all of it: parts, of which there are "
        "more to learn from than faces. With half as much augmentation again and two pairs of pictures of each person in a batch, "
        "of nobody who has one picture only, they go on getting better for longer.",
        (
            Variant(
                "shallow",
                "three blocks, 128x128 pixels, generalised mean, 2,688 batches of two pairs of 32 people, cohort",
                _PAIRS_SHALLOW,
            ),
        ),
        carry=False,
        seeds=5,
    ),
    Stage(
        "all-people",
        "All pictures of the training people",
        "The pairs name a third of the pictures of View 1's training people. People drawn from all of them (validation's "
        "excepted) show each person in more ways, and there are more people.",
        (
            Variant(
                "all-people",
                "all training people, 4,096 drawn an epoch, 22 epochs; 96x96 pixels behind the stride, "
                "temperature 0.05",
                _ALL_PEOPLE,
            ),
        ),
        seeds=5,
    ),
    Stage(
        "all-people-longer",
        "More people, longer training",
        "So many people cannot be learned by heart soon: twice as many epochs, with stronger augmentation, go on paying.",
        (Variant("longer", "44 epochs, a quarter more augmentation, the cohort", _LONGER),),
        seeds=5,
    ),
    Stage(
        "all-people-larger",
        "A wider network on larger pictures",
        "With so many people the network no longer learns by heart what it is shown: it can have three times as many weights and "
        "see nearly all pixels of the crop. A generalised mean lets it look at where a face is most telling.",
        (Variant("larger", "128x128 pixels, two thirds more filters, generalised mean", _LARGER),),
        seeds=5,
    ),
    Stage(
        "all-people-shallow",
        "Parts of a face, all training people",
        "What holds of the pictures that the pairs name holds of all: a network half as deep in what it sees of a face, varied "
        "more, with four times the weight decay and twice as many batches, gets further with a fifth of the weights.",
        (
            Variant(
                "shallow",
                "three blocks, 5,632 batches of two pairs of 32 people, half as much augmentation again, weight decay "
                "0.2",
                _SHALLOW,
            ),
        ),
        seeds=5,
    ),
)

_PENALISED = {"model.head_l2": 0.01}

LADDERS = {
    ladder.id: ladder
    for ladder in (
        Ladder("report", "the report as it describes itself", REPORT_LADDER, _PENALISED),
        Ladder(
            "published",
            "what the report's code did",
            PUBLISHED_LADDER,
            {
                **_PENALISED,
                "data.filter": "nearest",
                "training.shear": 0.0,
                "training.stretch_copies": True,
                "training.separate_twins": True,
            },
            split="sequential",
            select="report",
        ),
        Ladder("beyond", "other networks, trained in other ways", BEYOND_LADDER, own_epochs=True, calibrated=True),
    )
}


def get_ladder(name):
    """The stages of a ladder. Raises ConfigError for an unknown name."""
    return LADDERS[choose_one("ladder", name, LADDERS)].stages


def get_stage(ladder, stage):
    """A stage of a ladder. Raises ConfigError for an unknown one."""
    stages = {s.id: s for s in get_ladder(ladder)}
    return stages[choose_one("stage", stage, stages)]


def get_profile(name):
    """A profile by name. Raises ConfigError for an unknown one."""
    return PROFILES[choose_one("profile", name, PROFILES)]


def seeds_of(stage, profile, seeds, protocol="view1"):
    """Number of seeds of a stage in a study of `seeds`; View 2's ten folds are ten networks already."""
    return max(seeds, stage.seeds if get_profile(profile).beyond_factor == 1 and protocol == "view1" else 1)


def base_config(profile, ladder="report", **data):
    """The configuration that a ladder starts from, in unscaled epochs. data: fields of DataConfig."""
    return RunConfig(data=DataConfig(**data)).change({**LADDERS[ladder].start, **get_profile(profile).changes})


def scale(config, profile, ladder="report"):
    """`config` with every epoch-valued setting scaled by the profile's factor, rounded half up, at least 1.

    What is not set, None or a warm-up of 0, stays so. A warm-up leaves at least one epoch at the full learning rate.
    """
    factor, training = get_profile(profile).factor_for(ladder), config.training
    scaled = {
        name: max(1, math.floor(getattr(training, name) * factor + 0.5))
        for name in _EPOCH_SETTINGS
        if getattr(training, name)
    }
    if "warmup" in scaled:
        scaled["warmup"] = min(scaled["warmup"], scaled["epochs"] - 1)
    return config.change({f"training.{name}": value for name, value in scaled.items()})


def in_order(ladder, stages):
    """The named stages in the ladder's order, `base` always first. Raises ConfigError for unknown ones."""
    known = [stage.id for stage in get_ladder(ladder)]
    for stage in stages:
        choose_one("stage", stage, known)
    return [name for name in known if name in stages or name == known[0]]
