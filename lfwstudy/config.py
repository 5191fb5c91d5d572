"""The configuration of a run: frozen, validated dataclasses, to and from JSON, with a stable hash that names the run."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from lfwstudy.errors import ConfigError, UnknownSettingError, choose_one

# Increase when a configuration's numbers change by more than rounding and the order of sums.
TRAINING_VERSION = 1

SPLITS = ("components", "folds", "sequential", "random")
PROTOCOLS = ("view1", "view2")
FILTERS = ("box", "bilinear", "bicubic", "lanczos", "nearest")
BATCHNORM = ("none", "before-activation", "after-activation", "activation-and-pooling")
INITIALIZERS = ("he-fan-out", "he-fan-in")
PRECISIONS = ("float32", "bfloat16")
# Everything in bfloat16, also saturating layers and head: only to measure its cost (`python -m tools.precision`).
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
    """The images and pairs, and the framing of an image.

    crop: side in pixels of the central square cut from the 250x250 source image.
    side: side in pixels of the square the crop is resized to.
    split_seed: of random splits; 0 in a study, so that its seeds share one validation set.
    pairs_per_class: maximum number of matched, and of mismatched, development pairs; None is all.
    fold: the held-out fold of View 2, 1 to 10; None under View 1.
    pictures: images to train on: `pairs`, those listed in the training pairs, or `all-people`, all images of all training
    people except those in validation (LFW's unrestricted setting).
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

    def __post_init__(self) -> None:
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
    """The network of Koch et al. (2015) with the changes of the stages, or one of 3x3 convolutions.

    architecture: koch; compact, six 3x3 convolutions in four blocks; shallow, as many in three blocks, with a receptive field
    of half an image's width behind a stem of stride 2. Notes on the compact network below hold for the shallow one, too.

    pool1_stride: stride of the first max-pooling layer, 2 (base) or 1; of Koch's network.
    batchnorm: place of batch normalisation in each of its four convolutional blocks; the compact network always has it
    before the activation.
    width: factor on the number of filters and dense units; 1 is the published network.
    l2: factor of the squared kernels of convolutions and dense layer in the loss; head_l2: that of the distance head's last
    unit.
    head: comparison of two embeddings: a weighted |a - b|, or their cosine, calibrated on validation.
    stem_stride: 2 begins the compact network with a 5x5 convolution of stride 2, for images of twice the side at the same
    cost; 1 is a 3x3 convolution like the others.
    pooling: of the compact network's last features: the mean over the image, or a generalised mean with a learned power,
    between mean and maximum.
    dropout: rate on the compact network's last features.
    flip_average: for scoring, an image's embedding is averaged with its mirror image's.
    cohort: number of images of training people, drawn by the seed, that tell a cosine head how close strangers usually are
    to each face (LocalCosine).
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

    def __post_init__(self) -> None:
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
    """The training of the network.

    monitor: watched by early stopping and checkpoints: val_loss (with the weight penalty) or val_cross_entropy.
    patience: epochs without a lower monitored value after which training stops; None is never.
    checkpoint_period: epochs between checkpoints, for `evaluated` = best-checkpoint.
    evaluated: which weights give the final scores.
    augmented_copies: offline copies of each training pair in addition to the original, each image augmented.
    zoom, brightness: ranges of factors; shear: largest angle in degrees. stretch_copies: whether a copy's grey levels are
    stretched to the full range before its brightness is changed.
    separate_twins: whether a batch's left and right images pass through the tower one after the other, so that batch-norm
    normalises each by itself and updates its moving averages twice per step.
    label_epsilon_copies, label_epsilon_originals: label 0 becomes eps/2 and label 1 becomes 1 - eps/2.
    lr_drop_epoch: after this epoch the learning rate is divided by 10, once; None is never.
    schedule: of the learning rate, constant or a half cosine that ends near 0 with the last epoch.
    warmup: epochs over which the learning rate rises linearly to its full value.
    weight_decay: of AdamW, as a share of the learning rate.
    flip, shift, online_zoom, rotation, online_brightness, erase: online augmentation, drawn for every image and epoch:
    mirrored with probability 1/2; largest shift as a share of the side; largest change of scale and of
    brightness as a share; largest angle in degrees; probability that a rectangle is blanked.
    contrast: weight of the supervised contrastive loss between the people of a batch; temperature: its cosines' divisor.
    drawn_people: people in an epoch, in batches of `batch_size` different ones, each with two images (the same one twice
    where there is one), matched with itself and mismatched with another of the batch; None trains on the pairs.
    pairs_per_person: pairs of images of each drawn person in a batch, which then has `batch_size` pairs of fewer people;
    least_pictures: people with fewer images are not drawn.
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

    def __post_init__(self) -> None:
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

    def varies_online(self) -> bool:
        """Whether images are augmented differently in every epoch."""
        return self.flip or any(
            getattr(self, name) for name in ("shift", "online_zoom", "rotation", "online_brightness", "erase")
        )


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the numbers of a run, except the seed, the precision and the data's content."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def change(self, changes: Mapping[str, Any]) -> "RunConfig":
        """A copy with `changes`, a mapping from "section.field" to value. Raises ConfigError for unknown fields."""
        sections: dict[str, dict[str, Any]] = {}
        for key, value in changes.items():
            section, _, name = key.partition(".")
            if name not in _SETTINGS.get(section, ()):
                raise UnknownSettingError(f"unknown setting {key!r}")
            sections.setdefault(section, {})[name] = value
        return dataclasses.replace(
            self,
            **{section: dataclasses.replace(getattr(self, section), **values) for section, values in sections.items()},
        )

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Nested plain dict with every setting; the inverse of `from_dict`."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, content: Any) -> "RunConfig":
        """Rebuild from `to_dict`'s result. Raises ConfigError for unknown sections, fields and values."""
        if not isinstance(content, dict) or set(content) - set(_SECTIONS):
            raise ConfigError(
                f"not a run configuration: sections {sorted(content) if isinstance(content, dict) else content!r}"
            )
        flat: dict[str, Any] = {}
        try:
            for section, values in content.items():
                for name, value in values.items():
                    if value is not None or f"{section}.{name}" not in _GONE:
                        flat[f"{section}.{name}"] = tuple(value) if isinstance(value, list) else value
            return cls().change(flat)
        except ConfigError:
            raise
        except (TypeError, ValueError, AttributeError) as error:  # a value of the wrong type
            raise ConfigError(f"not a run configuration: {error}") from error

    def differences(self, other: "RunConfig") -> list[tuple[str, Any, Any]]:
        """Settings in which `self` departs from `other`: list of (section.field, other's value, own value)."""
        own, others = _flatten(self.to_dict()), _flatten(other.to_dict())
        return [(key, others[key], own[key]) for key in own if own[key] != others[key]]

    def identify(self, seed: int, precision: str, data_digest: str) -> str:
        """The run's id: 16 hex digits of the SHA-256 of everything that decides its numbers.

        Only settings that differ from their defaults are hashed, so a setting added later with a neutral default keeps
        the ids of older runs.
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


# Settings of earlier versions; only None, which had no effect, is still accepted.
_GONE = {"training.drawn_pairs"}
_SECTIONS = {"data": DataConfig, "model": ModelConfig, "training": TrainingConfig}
_SETTINGS = {section: {f.name for f in dataclasses.fields(kind)} for section, kind in _SECTIONS.items()}


@lru_cache(maxsize=1024)
def _changes(config: RunConfig) -> dict[str, Any]:
    return {key: value for key, _, value in config.differences(RunConfig())}


def _flatten(content: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {f"{section}.{name}": value for section, values in content.items() for name, value in values.items()}


def _require_int(name: str, value: Any, low: int, high: int | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{name} must be a whole number {span}, got {value!r}")


def _require_bool(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false, got {value!r}")


def _require_number(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ConfigError(f"{name} must be a number from {low} to {high}, got {value!r}")
