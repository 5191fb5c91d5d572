"""What exactly was run? Frozen, validated dataclasses, to and from JSON, with a stable hash that names the run."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache

from lfwstudy.errors import ConfigError, UnknownSettingError, choose_one

# Raised whenever the same configuration would give other numbers than before, by more than rounding in its precision
# and another order of sums do.
TRAINING_VERSION = 1

SPLITS = ("components", "folds", "sequential", "random")
PROTOCOLS = ("view1", "view2")
FILTERS = ("box", "bilinear", "bicubic", "lanczos", "nearest")
BATCHNORM = ("none", "before-activation", "after-activation", "activation-and-pooling")
INITIALIZERS = ("he-fan-out", "he-fan-in")
PRECISIONS = ("float32", "bfloat16")
# Everything in bfloat16, saturating layers and head, too: only to show what that costs (`python -m tools.precision`).
ALL_BFLOAT16 = "all-bfloat16"
EVALUATED = ("last", "best-checkpoint")
MONITORS = ("val_loss", "val_cross_entropy")
PICTURES = ("pairs", "all-people")
ARCHITECTURES = ("koch", "compact", "shallow")
HEADS = ("distance", "cosine")
POOLINGS = ("mean", "generalised-mean")
OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class DataConfig:
    """Which pictures and pairs, and how a picture is framed.

    crop: side in pixels of the central square that is kept of the 250x250 source picture.
    side: side in pixels of the square the crop is resized to.
    split_seed: of the splits that are drawn; a study has 0, so that its seeds share one validation side.
    pairs_per_class: how many matched, and how many mismatched, development pairs are used at most; None is all.
    fold: the held-out fold of View 2, 1 to 10; None under View 1.
    pictures: what may be trained on: the pictures that the training pairs name, or all pictures of all training
    people (LFW's unrestricted setting), validation's people excepted.
    """

    dataset: str = "demo"
    protocol: str = "view1"
    fold: int | None = None
    split: str = "components"
    split_seed: int = 0
    crop: int = 250
    side: int = 105
    filter: str = "bilinear"
    pairs_per_class: int | None = None
    pictures: str = "pairs"

    def __post_init__(self):
        choose_one("protocol", self.protocol, PROTOCOLS)
        choose_one("split", self.split, SPLITS)
        choose_one("filter", self.filter, FILTERS)
        choose_one("pictures", self.pictures, PICTURES)
        _require_int("split_seed", self.split_seed, 0)
        _require_int("crop", self.crop, 1, 250)
        _require_int("side", self.side, 8, 250)
        if self.fold is not None:
            _require_int("fold", self.fold, 1, 10)
        if (self.fold is None) != (self.protocol == "view1"):
            raise ConfigError(
                f"fold {self.fold} does not go with protocol {self.protocol}: "
                "view2 needs a fold from 1 to 10, view1 has none"
            )
        if self.pairs_per_class is not None:
            _require_int("pairs_per_class", self.pairs_per_class, 10)


@dataclass(frozen=True)
class ModelConfig:
    """The network of Koch et al. (2015) and what the stages change in it, or one of 3x3 convolutions.

    architecture: koch; compact, six 3x3 convolutions in four blocks; shallow, as many in three, whose last features see half of
    a picture's width behind a stem of stride 2. What is said of the compact network below goes for the shallow one, too.

    pool1_stride: stride of the first max-pooling layer, 2 (base) or 1; of Koch's network.
    batchnorm: where batch normalisation stands in each of its four convolutional blocks; the compact network always
    has it before the activation.
    width: factor on the number of filters and dense units; 1 is the published network.
    l2: factor of the squared kernels in the loss, on the convolutions and the dense layer; head_l2: on the last unit of the
    distance head.
    head: how two embeddings are compared: |a - b| and a weight for each component, or their cosine, calibrated on
    validation.
    stem_stride: 2 lets the compact network begin with a 5x5 convolution of stride 2, which sees pictures of twice the side
    at the same cost; 1 is a 3x3 convolution like the others.
    pooling: how the compact network sums up a picture: by the mean over it, or by a generalised mean with a learned power,
    between the mean and the largest value.
    dropout: share of the compact network's last features left out in a training step.
    flip_average: a picture's embedding is the mean of its own and its mirror image's, when it is scored.
    cohort: pictures of training people, drawn by the seed, that tell a cosine head how near strangers usually are to each
    face (model.LocalCosine), when it is scored; 0 for none.
    """

    pool1_stride: int = 2
    batchnorm: str = "none"
    width: float = 1.0
    l2: float = 0.01
    initializer: str = "he-fan-out"
    architecture: str = "koch"
    head: str = "distance"
    dropout: float = 0.0
    flip_average: bool = False
    stem_stride: int = 1
    cohort: int = 0
    pooling: str = "mean"
    head_l2: float = 0.0

    def __post_init__(self):
        choose_one("pool1_stride", self.pool1_stride, (1, 2))
        choose_one("stem_stride", self.stem_stride, (1, 2))
        choose_one("batch-norm placement", self.batchnorm, BATCHNORM)
        choose_one("initializer", self.initializer, INITIALIZERS)
        choose_one("architecture", self.architecture, ARCHITECTURES)
        choose_one("head", self.head, HEADS)
        choose_one("pooling", self.pooling, POOLINGS)
        _require_number("width", self.width, 0.01, 4)
        _require_number("dropout", self.dropout, 0, 0.9)
        _require_bool("flip_average", self.flip_average)
        _require_int("cohort", self.cohort, 0, 10_000)
        if self.cohort and self.head != "cosine":
            raise ConfigError("a cohort goes with the cosine head only")
        for name in ("l2", "head_l2"):
            _require_number(name, getattr(self, name), 0, 10)
        if self.head_l2 and self.head != "distance":
            raise ConfigError("head_l2 goes with the distance head only")


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is trained.

    monitor: what stopping and checkpoints watch: val_loss, the total with the weight penalty, or val_cross_entropy.
    patience: epochs without a lower value of it after which training stops; None is never.
    checkpoint_period: weights are kept every so many epochs, for `evaluated` = best-checkpoint.
    evaluated: which weights the final scores come from.
    augmented_copies: offline copies of each training pair beside the original, each picture varied.
    zoom, brightness: ranges of factors; shear: largest angle in degrees. stretch_copies: whether a copy's grey levels are
    stretched to the full range before its brightness is changed.
    separate_twins: whether a batch's left and right images go through the tower one after the other, so that batch-norm
    normalises each by itself and updates its moving averages twice a step.
    label_epsilon_copies, label_epsilon_originals: label 0 becomes eps/2 and label 1 becomes 1 - eps/2.
    lr_drop_epoch: after this epoch the learning rate is divided by 10, once; None is never.
    schedule: of the learning rate, constant or a half cosine that ends near 0 with the last epoch.
    warmup: epochs over which the learning rate rises linearly to its full value.
    weight_decay: of AdamW, as a share of the learning rate.
    flip, shift, online_zoom, rotation, online_brightness, erase: online augmentation, drawn anew for every picture and
    epoch: mirrored with probability 1/2; largest shift as a share of the side; largest change of scale and of
    brightness as a share; largest angle in degrees; probability that a rectangle is blanked.
    contrast: weight of the loss that tells each picture's person from the other people of the batch, by name;
    temperature: what cosines are divided by in it.
    drawn_people: how many people make an epoch, in batches of `batch_size` different ones, each with two pictures (where
    there is one, it comes twice), against itself and against another of the batch; None trains on the pairs.
    pairs_per_person: so many pairs of pictures of each drawn person are in a batch, which has `batch_size` pairs of fewer
    people then; least_pictures: who has fewer is not drawn.
    """

    epochs: int = 200
    batch_size: int = 64
    learning_rate: float = 0.001
    patience: int | None = None
    checkpoint_period: int | None = None
    evaluated: str = "last"
    augmented_copies: int = 0
    zoom: tuple[float, float] = (0.88, 1.02)
    brightness: tuple[float, float] = (0.95, 1.05)
    shear: float = 5.0
    label_epsilon_copies: float = 0.0
    label_epsilon_originals: float = 0.0
    lr_drop_epoch: int | None = None
    optimizer: str = "adam"
    schedule: str = "constant"
    warmup: int = 0
    weight_decay: float = 0.0
    flip: bool = False
    shift: float = 0.0
    online_zoom: float = 0.0
    rotation: float = 0.0
    online_brightness: float = 0.0
    erase: float = 0.0
    contrast: float = 0.0
    temperature: float = 0.1
    drawn_people: int | None = None
    pairs_per_person: int = 1
    least_pictures: int = 1
    monitor: str = "val_loss"
    stretch_copies: bool = False
    separate_twins: bool = False

    def __post_init__(self):
        choose_one("evaluated weights", self.evaluated, EVALUATED)
        _require_int("epochs", self.epochs, 1)
        _require_int("batch_size", self.batch_size, 1)
        _require_int("augmented_copies", self.augmented_copies, 0, 10)
        _require_number("learning_rate", self.learning_rate, 0, 10)
        _require_number("shear", self.shear, 0, 45)
        for name in ("label_epsilon_copies", "label_epsilon_originals"):
            _require_number(name, getattr(self, name), 0, 0.5)
        choose_one("optimizer", self.optimizer, OPTIMIZERS)
        choose_one("schedule", self.schedule, SCHEDULES)
        _require_int("warmup", self.warmup, 0)
        _require_int("pairs_per_person", self.pairs_per_person, 1, self.batch_size // 2 or 1)
        _require_int("least_pictures", self.least_pictures, 1)
        choose_one("monitored value", self.monitor, MONITORS)
        for name in ("flip", "stretch_copies", "separate_twins"):
            _require_bool(name, getattr(self, name))
        for name, high in (
            ("weight_decay", 1),
            ("shift", 0.5),
            ("online_zoom", 0.5),
            ("rotation", 90),
            ("online_brightness", 0.9),
            ("erase", 1),
            ("contrast", 100),
        ):
            _require_number(name, getattr(self, name), 0, high)
        _require_number("temperature", self.temperature, 0.001, 10)
        for name in ("patience", "checkpoint_period", "lr_drop_epoch", "drawn_people"):
            if getattr(self, name) is not None:
                _require_int(name, getattr(self, name), 1)
        for name in ("zoom", "brightness"):
            low, high = getattr(self, name)
            if not 0 < low <= high < 10:
                raise ConfigError(f"{name} must be a range of positive factors, got {low} to {high}")
            object.__setattr__(self, name, (float(low), float(high)))
        if self.augmented_copies and self.varies_online():
            raise ConfigError("offline copies and online augmentation do not go together")
        if self.evaluated == "best-checkpoint" and self.checkpoint_period is None:
            raise ConfigError("evaluated = best-checkpoint needs a checkpoint_period")

    def varies_online(self):
        """Whether pictures are varied anew in every epoch."""
        return self.flip or any(
            getattr(self, name) for name in ("shift", "online_zoom", "rotation", "online_brightness", "erase")
        )


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the numbers of a run, except the seed, the precision and the data's content."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def change(self, changes):
        """A copy with `changes`, a mapping from "section.field" to value. Raises ConfigError for unknown fields."""
        sections = {}
        for key, value in changes.items():
            section, _, name = key.partition(".")
            if name not in _SETTINGS.get(section, ()):
                raise UnknownSettingError(f"unknown setting {key!r}")
            sections.setdefault(section, {})[name] = value
        return dataclasses.replace(
            self,
            **{section: dataclasses.replace(getattr(self, section), **values) for section, values in sections.items()},
        )

    def to_dict(self):
        """Nested plain dict, every setting present; the inverse of `from_dict`."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, content):
        """Rebuild from `to_dict`'s result. Raises ConfigError for unknown sections, fields and values."""
        if not isinstance(content, dict) or set(content) - set(_SECTIONS):
            raise ConfigError(
                f"not a run configuration: sections {sorted(content) if isinstance(content, dict) else content!r}"
            )
        flat = {}
        try:
            for section, values in content.items():
                for name, value in values.items():
                    if value is not None or f"{section}.{name}" not in _GONE:
                        flat[f"{section}.{name}"] = tuple(value) if isinstance(value, list) else value
            return cls().change(flat)
        except ConfigError:
            raise
        except (TypeError, ValueError, AttributeError) as error:  # a value of another kind than the setting's
            raise ConfigError(f"not a run configuration: {error}") from error

    def differences(self, other):
        """Settings in which `self` departs from `other`: list of (section.field, other's value, own value)."""
        own, others = _flatten(self.to_dict()), _flatten(other.to_dict())
        return [(key, others[key], own[key]) for key in own if own[key] != others[key]]

    def identify(self, seed, precision, data_digest):
        """The run's id: 16 hex digits of the SHA-256 of all that decides its numbers.

        Only settings that differ from their defaults are hashed, so that a setting added later with a neutral
        default leaves the names of older runs alone.
        """
        choose_one("precision", precision, (*PRECISIONS, ALL_BFLOAT16))
        identity = {
            "config": _changes(self),
            "seed": seed,
            "precision": precision,
            "data": data_digest,
            "version": TRAINING_VERSION,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


# Settings that runs of earlier versions name; only None, which changed nothing, can still be read.
_GONE = {"training.drawn_pairs"}
_SECTIONS = {"data": DataConfig, "model": ModelConfig, "training": TrainingConfig}
_SETTINGS = {section: {f.name for f in dataclasses.fields(kind)} for section, kind in _SECTIONS.items()}


@lru_cache(maxsize=1024)
def _changes(config):
    return {key: value for key, _, value in config.differences(RunConfig())}


def _flatten(content):
    return {f"{section}.{name}": value for section, values in content.items() for name, value in values.items()}


def _require_int(name, value, low, high=None):
    if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{name} must be a whole number {span}, got {value!r}")


def _require_bool(name, value):
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false, got {value!r}")


def _require_number(name, value, low, high):
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigError(f"{name} must be a number from {low} to {high}, got {value!r}")
