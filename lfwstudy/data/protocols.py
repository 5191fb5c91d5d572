"""Training, validation and test pairs: View 1 with a split of its development pairs, or a fold of View 2."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lfwstudy.config import SPLITS, DataConfig
from lfwstudy.data.bank import ImageBank
from lfwstudy.data.pair_files import local_pair_file, pair_file
from lfwstudy.data.pairs import (
    Pairs,
    calibration_pairs,
    image_names,
    person_of,
    read_people,
    read_view1,
    read_view2,
    text_lines,
)
from lfwstudy.data.registry import DATASETS, IMAGES, PAIR_FILES, PEOPLE
from lfwstudy.data.splits import Split, audit, make_split, subsample
from lfwstudy.errors import ConfigError, DataError

_SETS = 10  # of View 2


@dataclass(frozen=True)
class StudyPairs:
    """The pairs of one run.

    extra: str array, names of images outside the training pairs that may be trained on too.
    calibration: further pairs of the validation people, for calibration; None for none.
    """

    train: Pairs
    validation: Pairs
    test: Pairs
    extra: np.ndarray = field(default_factory=lambda: np.empty(0, np.str_))
    calibration: Pairs | None = None

    def sets(self) -> dict[str, Pairs]:
        """The three sets by their names in predictions.csv: train, val, test."""
        return {"train": self.train, "val": self.validation, "test": self.test}

    def names(self) -> np.ndarray:
        """The distinct images of all pairs, and the extra ones, sorted: str array."""
        sets = [*self.sets().values(), *([self.calibration] if self.calibration else [])]
        return np.unique(np.concatenate([*(pairs.names() for pairs in sets), self.extra]))

    def require_protocol(self, protocol: str) -> None:
        """Raise DataError if the pairs are of another protocol than the network's configuration."""
        if (protocol == "view2") != (self.test.fold.min() > 0):
            raise DataError(
                f"a network of {protocol} cannot be trained or scored on pairs of the other view: the people of View 1's "
                "training pairs are among View 2's test pairs (525 of the 2,200 pairs are also in pairs.txt), "
                "so View 2 needs new networks for each fold; use --protocol view2"
            )

    def digest(self, bank: ImageBank) -> str:
        """SHA-256 (hex) of the pairs and of the source files of all their images."""
        total = hashlib.sha256(bank.digest(self.names()).encode())
        for name, part in self.sets().items():
            total.update("\n".join([name, *part.content()]).encode())
        return total.hexdigest()


def load_pairs(config: DataConfig, data_dir: str = "") -> StudyPairs:
    """The training, validation and test pairs of a configuration.

    View 1: pairsDevTrain.txt split by `config.split`, pairsDevTest.txt. View 2: the test fold is `config.fold`,
    validation is `validation_set`, training the other eight. Raises DataError, ConfigError.
    """
    if config.protocol == "view2":
        pairs = read_view2(path := pair_file("pairs.txt", config.dataset, data_dir))
        if (sets := pairs.fold.max()) != _SETS:
            raise DataError(f"{path}: {sets} sets of pairs, and View 2 has {_SETS}; use View 1, or LFW's pairs.txt")
        test, validation = pairs.fold == config.fold, pairs.fold == validation_set(config)
        found = StudyPairs(pairs.take(~test & ~validation), pairs.take(validation), pairs.take(test))
    else:
        development, split = development_split(config, data_dir)
        test_pairs = read_view1(pair_file("pairsDevTest.txt", config.dataset, data_dir))
        found = StudyPairs(development.take(split.train), development.take(split.validation), test_pairs)
    if config.calibration == "all-pairs":
        found = replace(found, calibration=_validation_people(config, found.validation, data_dir))
    return found if config.pictures == "pairs" else replace(found, extra=_training_people(config, found, data_dir))


def validation_set(config: DataConfig) -> int:
    """The set of View 2 that is a configuration's validation, counted from 1: never the held-out fold."""
    assert config.fold is not None
    return (config.fold - 1 + config.validation_offset) % _SETS + 1


def people_files(config: DataConfig) -> list[str]:
    """Names of the people files that `config` needs besides the pair files; that of the training people last."""
    names = ["people.txt"] if config.protocol == "view1" and config.split == "folds" else []
    if config.pictures != "pairs" or config.calibration != "pairs":
        names.append("people.txt" if config.protocol == "view2" else "peopleDevTrain.txt")
    return names


def development_split(config: DataConfig, data_dir: str = "") -> tuple[Pairs, Split]:
    """The development pairs of View 1 that `config` uses, and their Split."""
    development = read_view1(pair_file("pairsDevTrain.txt", config.dataset, data_dir))
    if config.pairs_per_class is not None:
        development = development.take(subsample(development, config.pairs_per_class))
    people = read_people(pair_file("people.txt", config.dataset, data_dir)) if config.split == "folds" else None
    return development, make_split(config.split, development, people, config.split_seed)


def audit_split(config: DataConfig, data_dir: str = "") -> dict[str, float]:
    """`splits.audit` of the development pairs under `config`."""
    return audit(*development_split(config, data_dir))


def audit_splits(config: DataConfig, data_dir: str = "") -> dict[str, dict[str, float]]:
    """`splits.audit` of every possible split of the development pairs, by name."""
    found = {}
    for name in SPLITS:
        if name != "folds" or local_pair_file("people.txt", config.dataset, data_dir):
            with suppress(ConfigError):  # with few pairs, a split may leave a set empty
                found[name] = audit_split(replace(config, split=name), data_dir)
    return found


def audit_random(config: DataConfig, data_dir: str = "", count: int = 50) -> list[dict[str, float]]:
    """`splits.audit` of `count` random splits of the development pairs, ignoring the split in `config`."""
    development, _ = development_split(replace(config, split="components"), data_dir)
    return [audit(development, make_split("random", development, seed=seed)) for seed in range(count)]


def check_images(bank: ImageBank, path: Path, pairs: Pairs) -> None:
    """Raise DataError, with file, line and image, if an image listed in a pair file is not in the bank."""
    for names in (pairs.left, pairs.right):
        for at in np.flatnonzero(~np.isin(names, bank.names)):
            raise DataError(
                f"{path}, line {pairs.line[at]}: image {names[at]} is not among the {len(bank):,} images of "
                f"{bank.dataset} in {bank.origin}"
            )


def checked_views(bank: ImageBank, config: DataConfig, data_dir: str = "") -> tuple[Pairs, Pairs]:
    """The development and the test pairs of View 1, all of whose images are in the bank. Raises DataError."""
    views = []
    for name in ("pairsDevTrain.txt", "pairsDevTest.txt"):
        path = pair_file(name, config.dataset, data_dir)
        views.append(read_view1(path))
        check_images(bank, path, views[-1])
    return views[0], views[1]


def title_of(bank: ImageBank, config: DataConfig, data_dir: str = "") -> str:
    """What the images are, for headings: the data set's title, unless images given as LFW's are of other people.

    They are LFW's if there are as many images and people as in LFW, or if the test pairs are the published ones.
    """
    dataset, people = DATASETS[config.dataset], len(np.unique(person_of(bank.names)))
    if dataset.name in ("demo", "folder") or (len(bank), people) == (IMAGES, PEOPLE):
        return dataset.title
    name = "pairsDevTest.txt" if config.protocol == "view1" else "pairs.txt"
    path = pair_file(name, config.dataset, data_dir)
    text = "\n".join([*text_lines(path, path.read_bytes()), ""])
    if PAIR_FILES[name].digest == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}":
        return dataset.title
    return f"images given as {dataset.name}, with other pairs than LFW's"


def _validation_people(config: DataConfig, validation: Pairs, data_dir: str) -> Pairs:
    """Pairs of the images of the people in validation pairs, for calibration."""
    sets = read_people(pair_file(people_files(config)[-1], config.dataset, data_dir))
    people = set(person_of(validation.names()))
    names = np.array(image_names({p: n for p, n in members.items() if p in people} for members in sets), np.str_)
    return calibration_pairs(np.unique(np.concatenate([names, validation.names()])))


def _training_people(config: DataConfig, pairs: StudyPairs, data_dir: str) -> np.ndarray:
    """Names of all images of the training people, a str array, without people in validation or test pairs.

    View 1: of peopleDevTrain.txt; View 2: of the sets of people.txt that are neither tested nor validation.
    """
    sets = read_people(pair_file(people_files(config)[-1], config.dataset, data_dir))
    if config.fold is not None:  # View 2
        held_out = config.fold, validation_set(config)
        sets = [people for number, people in enumerate(sets, 1) if number not in held_out]
    held = set(person_of(np.concatenate([pairs.validation.names(), pairs.test.names()])))
    training = {person: count for people in sets for person, count in people.items() if person not in held}
    return np.array(image_names([training]), np.str_)
