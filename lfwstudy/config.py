"""The configuration of a run: frozen, validated dataclasses, to and from JSON, with a stable hash that names the run."""

import dataclasses
import difflib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, get_args

from lfwstudy.errors import ConfigError, UnknownSettingError, choose_one, quoted

# Increase when a configuration's numbers change by more than rounding and the order of sums.
TRAINING_VERSION = 1

SPLITS = ("components", "folds", "sequential", "random")
PROTOCOLS = ("view1", "view2")
FILTERS = ("bilinear", "box", "bicubic", "lanczos", "nearest")
BATCHNORM = ("none", "before-activation", "after-activation", "activation-and-pooling")
PRECISIONS = ("float32", "bfloat16")
# Everything in bfloat16, also saturating layers and head: only to measure its cost (`python -m tools.precision`).
ALL_BFLOAT16 = "all-bfloat16"


def one_of(*known: object, default: object = None) -> Any:
    """A setting with one of the known values, by default the first."""
    return field(default=known[0] if default is None else default, metadata={"known": known})


def within(default: object, low: float, high: float | None = None, *words: str) -> Any:
    """A setting with a number in a range, or one of some words, or None if its annotation has it."""
    return field(default=default, metadata={"low": low, "high": high, "words": words})


class Checked:
    """A dataclass whose fields are checked by their annotations, known values and ranges.

    A whole number given for a float becomes one: equal settings have one run id.
    """

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            _check(setting, value := getattr(self, setting.name))
            if setting.type is float:
                object.__setattr__(self, setting.name, float(value))


@dataclass(frozen=True)
class DataConfig(Checked):
    """The images and pairs, and the framing of an image.

    crop: side in pixels of the central square cut from the 250x250 source image.
    side: side in pixels of the square the crop is resized to.
    split_seed: of random splits; 0 in a study, so that its seeds share one validation set.
    pairs_per_class: maximum number of matched, and of mismatched, development pairs; None is all.
    fold: the held-out fold of View 2, 1 to 10; None under View 1.
    calibration: pairs that calibrate a cosine head for the final scores: validation's, or `all-pairs` of the validation
    people (`calibration_pairs`).
    validation_offset: under View 2, validation is this many sets after the held-out fold; set 1 follows set 10.
    pictures: images to train on: `pairs`, those listed in the training pairs, or `all-people`, all images of all training
    people except those in validation (LFW's unrestricted setting).
    """

    dataset: str = "demo"
    protocol: str = one_of(*PROTOCOLS)
    fold: int | None = within(None, 1, 10)
    split: str = one_of(*SPLITS)
    split_seed: int = within(0, 0)
    crop: int = within(250, 1, 250)
    side: int = within(105, 8, 250)
    filter: str = one_of(*FILTERS)
    pairs_per_class: int | None = within(None, 10)
    pictures: str = one_of("pairs", "all-people")
    calibration: str = one_of("pairs", "all-pairs")
    validation_offset: int = within(1, 1, 9)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.fold is None) != (self.protocol == "view1"):
            raise ConfigError(
                f"fold {self.fold} and protocol {self.protocol} cannot be combined: "
                "view2 needs a fold from 1 to 10, view1 has none"
            )


@dataclass(frozen=True)
class ModelConfig(Checked):
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
    to each face (LocalCosine); `all` is all images that are trained on, for the final scores only.
    neighbours: how many of the nearest images in the cohort count.
    whitening: for the final scores, embeddings are whitened by the training people's within-person covariance; this is its
    share, the identity has the rest (`within_class_whitening`). 0 leaves them as they are.
    """

    pool1_stride: int = one_of(2, 1)
    batchnorm: str = one_of(*BATCHNORM)
    width: float = within(1.0, 0.01, 4)
    l2: float = within(0.01, 0, 10)
    initializer: str = one_of("he-fan-out", "he-fan-in")
    architecture: str = one_of("koch", "compact", "shallow")
    head: str = one_of("distance", "cosine")
    dropout: float = within(0.0, 0, 0.9)
    flip_average: bool = False
    stem_stride: int = one_of(1, 2)
    cohort: int | str = within(0, 0, 20_000, "all")
    neighbours: int = within(10, 1, 1000)
    pooling: str = one_of("mean", "generalised-mean")
    head_l2: float = within(0.0, 0, 10)
    whitening: float = within(0.0, 0, 0.99)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, head in (("cohort", "cosine"), ("whitening", "cosine"), ("head_l2", "distance")):
            if getattr(self, name) and self.head != head:
                raise ConfigError(f"{name} needs the {head} head")
        if self.whitening and self.architecture == "koch":
            raise ConfigError("whitening needs a linear last layer: the compact or shallow network")


@dataclass(frozen=True)
class TrainingConfig(Checked):
    """The training of the network.

    monitor: watched by early stopping and checkpoints: val_loss (with the weight penalty) or val_cross_entropy.
    patience: epochs without a lower monitored value after which training stops; None is never.
    checkpoint_period: epochs between checkpoints, for `evaluated` = best-checkpoint.
    evaluated: which weights give the final scores.
    average: decay of an exponential moving average of the weights as they are before each batch: 0.998 averages over about
    500 batches. The average is validated and kept in place of the weights; 0 is off.
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
    flip, shift, online_zoom, rotation, online_brightness, erase, cover: online augmentation, drawn for every image and epoch:
    mirrored with probability 1/2; largest shift as a share of the side; largest change of scale and of
    brightness as a share; largest angle in degrees; probability that a rectangle is blanked, and that a bar, a band or glasses
    cover eyes or brow where LFW's aligned images have them.
    contrast: weight of the supervised contrastive loss between the people of a batch; temperature: its cosines' divisor.
    drawn_people: people in an epoch, in batches of `batch_size` different ones, each with two images (the same one twice
    where there is one), matched with itself and mismatched with another of the batch; None trains on the pairs.
    pairs_per_person: pairs of images of each drawn person in a batch, which then has `batch_size` pairs of fewer people;
    least_pictures: people with fewer images are not drawn.
    """

    epochs: int = within(200, 1)
    batch_size: int = within(64, 1)
    learning_rate: float = within(0.001, 0, 10)
    patience: int | None = within(None, 1)
    checkpoint_period: int | None = within(None, 1)
    evaluated: str = one_of("last", "best-checkpoint")
    augmented_copies: int = within(0, 0, 10)
    zoom: tuple[float, float] = (0.88, 1.02)
    brightness: tuple[float, float] = (0.95, 1.05)
    shear: float = within(5.0, 0, 45)
    label_epsilon_copies: float = within(0.0, 0, 0.5)
    label_epsilon_originals: float = within(0.0, 0, 0.5)
    lr_drop_epoch: int | None = within(None, 1)
    optimizer: str = one_of("adam", "adamw")
    schedule: str = one_of("constant", "cosine")
    warmup: int = within(0, 0)
    weight_decay: float = within(0.0, 0, 1)
    flip: bool = False
    shift: float = within(0.0, 0, 0.5)
    online_zoom: float = within(0.0, 0, 0.5)
    rotation: float = within(0.0, 0, 90)
    online_brightness: float = within(0.0, 0, 0.9)
    erase: float = within(0.0, 0, 1)
    contrast: float = within(0.0, 0, 100)
    temperature: float = within(0.1, 0.001, 10)
    drawn_people: int | None = within(None, 1)
    pairs_per_person: int = within(1, 1)
    least_pictures: int = within(1, 1)
    monitor: str = one_of("val_loss", "val_cross_entropy")
    stretch_copies: bool = False
    separate_twins: bool = False
    average: float = within(0.0, 0, 0.9999)
    cover: float = within(0.0, 0, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("zoom", "brightness"):
            object.__setattr__(self, name, _factors(name, getattr(self, name)))
        if self.pairs_per_person > max(1, self.batch_size // 2):
            raise ConfigError(
                f"pairs_per_person must be at most half of batch_size {self.batch_size}, got {self.pairs_per_person}"
            )
        if self.augmented_copies and self.varies_online():
            raise ConfigError("offline copies and online augmentation cannot be combined")
        if self.evaluated == "best-checkpoint" and self.checkpoint_period is None:
            raise ConfigError("evaluated = best-checkpoint needs a checkpoint_period")

    def varies_online(self) -> bool:
        """Whether images are augmented differently in every epoch."""
        return self.flip or any(
            getattr(self, name) for name in ("shift", "online_zoom", "rotation", "online_brightness", "erase", "cover")
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
            if key not in DEFAULTS:
                near = difflib.get_close_matches(key, DEFAULTS, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise UnknownSettingError(f"unknown setting {quoted(key)}{hint}")
            section, _, name = key.partition(".")
            sections.setdefault(section, {})[name] = value
        changed = {name: dataclasses.replace(getattr(self, name), **values) for name, values in sections.items()}
        return dataclasses.replace(self, **changed)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Nested plain dict with every setting; the inverse of `from_dict`."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, content: Any) -> "RunConfig":
        """Rebuild from `to_dict`'s result. Raises ConfigError for unknown sections, fields and values."""
        if not isinstance(content, dict) or not all(isinstance(values, dict) for values in content.values()):
            raise ConfigError(f"not a run configuration: {quoted(content)}")
        if unknown := set(content) - set(RunConfig().to_dict()):
            raise ConfigError(f"not a run configuration: unknown section {quoted(min(unknown, key=str))}")
        flat = flatten(content)
        return cls().change({key: value for key, value in flat.items() if value is not None or key not in _GONE})

    def differences(self, other: "RunConfig") -> list[tuple[str, Any, Any]]:
        """Settings in which `self` departs from `other`: list of (section.field, other's value, own value)."""
        own, others = flatten(self.to_dict()), flatten(other.to_dict())
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


def flatten(content: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Nested settings as a mapping from "section.field" to value."""
    return {f"{section}.{name}": value for section, values in content.items() for name, value in values.items()}


@lru_cache(maxsize=1024)
def _changes(config: RunConfig) -> dict[str, Any]:
    return {key: value for key, _, value in config.differences(RunConfig())}


def _check(setting: "dataclasses.Field[Any]", value: Any) -> None:
    """Raise ConfigError unless a value fits a setting's annotation, known values and range."""
    name, given, kinds = setting.name, setting.metadata, get_args(setting.type) or (setting.type,)
    if "known" in given:
        choose_one(name, value, given["known"])
    elif setting.type in (bool, str) and not isinstance(value, setting.type):
        raise ConfigError(f"{name} must be {'text' if setting.type is str else 'true or false'}, got {quoted(value)}")
    elif "low" in given and not (value is None and type(None) in kinds) and value not in given["words"]:
        low, high = given["low"], given["high"]
        fits = isinstance(value, int if int in kinds else (int, float)) and not isinstance(value, bool)
        if not fits or not low <= value <= (math.inf if high is None else high):
            span = f"of at least {low}" if high is None else f"from {low} to {high}"
            span += "".join(f", or {word}" for word in given["words"])
            raise ConfigError(f"{name} must be a {'whole ' * (int in kinds)}number {span}, got {quoted(value)}")


def _factors(name: str, value: Any) -> tuple[float, float]:
    """A range of factors, from two numbers."""
    if not (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and all(isinstance(v, (int, float)) for v in value)
        and 0 < value[0] <= value[1] < 10
    ):
        raise ConfigError(f"{name} must be a range of positive factors below 10, two numbers, got {quoted(value)}")
    return float(value[0]), float(value[1])


# Every setting's default, by "section.field".
DEFAULTS = flatten(RunConfig().to_dict())
