"""The data of a study's runs: images and pairs of a configuration, checked."""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from lfwstudy.config import DataConfig
from lfwstudy.data import duplicates
from lfwstudy.data.bank import ImageBank
from lfwstudy.data.pair_files import has_pair_file, pair_file
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import StudyPairs, check_images, load_pairs, people_files


@lru_cache(maxsize=64)
def load_data(config: DataConfig, data_dir: str) -> tuple[ImageBank, StudyPairs, str]:
    """Bank, pairs and data digest of a configuration. Raises DataError if an image of a pair is missing."""
    bank = prepare_bank(config, data_dir)
    files = ("pairsDevTrain.txt", "pairsDevTest.txt") if config.protocol == "view1" else ("pairs.txt",) * 2
    pairs = load_pairs(config, data_dir)
    for file, parts in zip(files, ((pairs.train, pairs.validation), (pairs.test,))):
        for part in parts:
            check_images(bank, pair_file(file, config.dataset, data_dir), part)
    return bank, pairs, pairs.digest(bank)


def check_people_files(configs: Iterable[DataConfig], data_dir: str) -> None:
    """Raise DataError if one of the configurations needs a people file that is missing."""
    for config in configs:
        for name in people_files(config):
            pair_file(name, config.dataset, data_dir)


def widest(config: DataConfig, data_dir: str) -> DataConfig:
    """The configuration with all images that a stage may train on, if the people files for it are available."""
    wider = replace(config, pictures="all-people")
    return wider if all(has_pair_file(name, config.dataset, data_dir) for name in people_files(wider)) else config


@lru_cache(maxsize=4)
def near_duplicates(config: DataConfig, data_dir: str) -> tuple[Any, ...]:
    """`duplicates.near_duplicates` of the whole bank."""
    return tuple(duplicates.near_duplicates(prepare_bank(config, data_dir)))
