"""From a data set to a bank: from the cache, a bank file, or the images."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np

from lfwstudy.config import DataConfig
from lfwstudy.data.archives import image_files, read_images
from lfwstudy.data.bank import ImageBank, build_bank, framing, load_bank
from lfwstudy.data.cache import cache_folder, digest_of, making
from lfwstudy.data.own import NOTES
from lfwstudy.data.pair_files import local_pair_file, pair_file
from lfwstudy.data.pairs import image_names, read_people, read_view2
from lfwstudy.data.protocols import StudyPairs, check_images, checked_views, load_pairs
from lfwstudy.data.registry import DATASETS, Dataset, resolve_data_dir
from lfwstudy.data.survey import candidates, find_source
from lfwstudy.errors import DataError, first_few
from lfwstudy.system.files import given_path, sweep, write_text

_WORDS = "{} with crop {}, side {}, {}"


def prepare_bank(config: DataConfig, data_dir: str = "", progress: Callable[[int], object] | None = None) -> ImageBank:
    """The bank of a data set framed as `config` says, from the cache if possible.

    `data_dir` is a bank file, an archive or an unpacked folder, or contains one; without it, the archive is downloaded if
    a verified download is known.

    Parameters
    ----------
    progress : called now and then with the number of images decoded.

    Raises
    ------
    DataError
        Says what was looked for, or which image or archive is at fault.
    """
    folder, dataset = resolve_data_dir(config.dataset, data_dir), DATASETS[config.dataset]
    if folder and (bank := _bank_file_in(folder, config)):
        return bank
    source = find_source(dataset, folder, explicit=bool(data_dir))
    key = hashlib.sha256("|".join(map(str, (*framing(config), *_fingerprint(source)))).encode()).hexdigest()
    path = cache_folder() / "banks" / f"{_title(config)}-{key[:12]}.npz"
    if bank := _cached(path):
        return bank
    with making(path):
        if not _cached(path):  # another process may have been faster
            sweep(path.parent, path.name)
            build_bank(read_images(source), config, source, _notes(dataset, source), progress).save(path)
    return load_bank(path)


@lru_cache(maxsize=64)
def load_data(config: DataConfig, data_dir: str = "") -> tuple[ImageBank, StudyPairs, str]:
    """Bank, pairs and data digest of a configuration. Raises DataError if an image of a pair is missing."""
    bank, pairs = prepare_bank(config, data_dir), load_pairs(config, data_dir)
    learned, tested = ("pairsDevTrain.txt", "pairsDevTest.txt") if config.protocol == "view1" else ("pairs.txt",) * 2
    for file, part in ((learned, pairs.train), (learned, pairs.validation), (tested, pairs.test)):
        check_images(bank, pair_file(file, config.dataset, data_dir), part)
    return bank, pairs, pairs.digest(bank)


def pack(config: DataConfig, data_dir: str, folder: str | Path, all_images: bool = False) -> Path:
    """Write the View 1 pair files, and a bank of only the images listed in them, into `folder`.

    `folder` is then a data folder for the same settings: runs trained from it have the same ids.

    Parameters
    ----------
    all_images : put all images into the bank, for stages that train on all people and for View 2, and add the files that
        these need.

    Returns
    -------
    The bank's path.

    Raises
    ------
    DataError
        If a file, or an image listed in it, is missing.
    """
    names = ["pairsDevTrain.txt", "pairsDevTest.txt"]
    if all_images:
        names += ["people.txt", "peopleDevTrain.txt", "pairs.txt"]
    elif local_pair_file("people.txt", config.dataset, data_dir):
        names.append("people.txt")
    paths = [pair_file(name, config.dataset, data_dir) for name in names]
    bank, folder = prepare_bank(config, data_dir), given_path(folder)
    views = checked_views(bank, config, data_dir)
    listed = image_names(chain(*map(read_people, paths[2:4])))
    if all_images:
        bank.rows(listed)
        check_images(bank, paths[4], read_view2(paths[4]))
    packed = folder / f"{_title(config)}.npz"
    (bank if all_images else bank.subset(np.concatenate([pairs.names() for pairs in views]))).save(packed)
    for path in paths:
        write_text(folder / path.name, path.read_text(encoding="utf-8"))
    return packed


def _title(config: DataConfig) -> str:
    return "-".join(map(str, framing(config)))


def _cached(path: Path) -> ImageBank | None:
    """The cached bank, None if there is none or it is damaged: a new one will replace it."""
    with suppress(DataError):
        return load_bank(path)
    return None


def _bank_file_in(given: Path, config: DataConfig) -> ImageBank | None:
    """The bank file that the user gave or has in their folder, or None. Raises DataError if only others are there."""
    found = []
    for path in sorted(given.glob("[!.]*.npz")) if given.is_dir() else [given] * (given.suffix == ".npz"):
        try:
            bank = load_bank(path)
        except DataError as error:
            found.append(str(error))
            continue
        held = bank.dataset, bank.crop, bank.side, bank.filter
        if held == framing(config):
            return bank
        found.append(f"{path.name} holds {_WORDS.format(*held)}")
    if found and not candidates(DATASETS[config.dataset], given):
        raise DataError(f"{given}: {first_few(found)}; needed: {_WORDS.format(*framing(config))}")
    return None


def _fingerprint(source: Path) -> tuple[object, ...]:
    """A cached bank's dependencies: the source's path, and sizes and times of its files."""
    if source.is_file():
        stat = source.stat()
        return str(source), stat.st_size, stat.st_mtime_ns
    total = hashlib.sha256()
    for path, name in image_files(source):
        stat = path.stat()
        total.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return str(source), total.hexdigest()


def _notes(dataset: Dataset, source: Path) -> tuple[str, ...]:
    """Notes on the images: those of `prepare_own`, or whether an archive is the published one.

    A user's own copy is checked by its content, not refused.
    """
    if dataset.name == "demo":
        return ()
    if dataset.name == "folder":
        return tuple((source.parent / NOTES).read_text(encoding="utf-8").splitlines())
    if source.is_dir():
        return ("unpacked folder, checked by its content",)
    if digest_of(source, dataset.published.digest) == dataset.published.digest:
        return ("archive with the published digest",)
    return (f"archive of unknown digest ({digest_of(source, 'sha256')}), checked by its content",)
