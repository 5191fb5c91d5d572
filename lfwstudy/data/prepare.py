"""How does a data set become a bank? From the cache, a bank file, or the images wherever they are."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from lfwstudy.config import DataConfig
from lfwstudy.data.archives import image_files, read_images
from lfwstudy.data.bank import ImageBank, build_bank, load_bank
from lfwstudy.data.cache import cache_folder, making
from lfwstudy.data.download import digest_of
from lfwstudy.data.pair_files import has_pair_file, pair_file
from lfwstudy.data.pairs import image_names, read_people, read_view1
from lfwstudy.data.protocols import check_images
from lfwstudy.data.registry import DATASETS, Dataset, resolve_data_dir
from lfwstudy.data.survey import candidates, find_source, first_few
from lfwstudy.errors import DataError
from lfwstudy.system.files import sweep, write_text


def prepare_bank(config: DataConfig, data_dir: str = "", progress: Callable[[int], object] | None = None) -> ImageBank:
    """The bank of a data set as `config` wants it, from the cache where it is there already.

    Looks in `data_dir` for a bank file, an archive or an unpacked folder, or takes it as one of them; without a
    `data_dir` the archive is downloaded where a verified download is known.

    Parameters
    ----------
    progress : called with the number of images decoded so far, now and then.

    Raises
    ------
    DataError
        Saying what was looked for, or what is wrong with an image or archive.
    """
    folder, dataset = resolve_data_dir(config.dataset, data_dir), DATASETS[config.dataset]
    if folder and (bank := _bank_file_in(folder, config)):
        return bank
    source = find_source(dataset, folder, explicit=bool(data_dir))
    key = hashlib.sha256("|".join(map(str, (*_framing(config), *_fingerprint(source)))).encode()).hexdigest()
    path = cache_folder() / "banks" / f"{_title(config)}-{key[:12]}.npz"
    if bank := _cached(path):
        return bank
    with making(path):
        if bank := _cached(path):  # made by another process meanwhile
            return bank
        sweep(path.parent, path.name)
        notes = () if config.dataset == "demo" else (_judgement(dataset, source),)
        build_bank(read_images(source), *_framing(config), source, notes, progress).save(path)
    return load_bank(path)


def pack(config: DataConfig, data_dir: str, folder: str | Path, all_images: bool = False) -> Path:
    """Write a bank of only the images listed in the View 1 pair files, and these files, into `folder`.

    `folder` is then a data folder for the same settings: runs made from it have the same ids.

    Parameters
    ----------
    all_images : the bank holds all of them, for what learns from all training people and for View 2; the files that
        these need go with it.

    Returns
    -------
    The bank's path.

    Raises
    ------
    DataError
        Where a file, or an image listed in it, is missing.
    """
    pair_names, people_names = ["pairsDevTrain.txt", "pairsDevTest.txt"], ["people.txt"]
    if all_images:
        pair_names, people_names = [*pair_names, "pairs.txt"], ["people.txt", "peopleDevTrain.txt"]
    elif not has_pair_file("people.txt", config.dataset, data_dir):
        people_names = []
    pair_paths, people_paths = (
        [pair_file(name, config.dataset, data_dir) for name in names] for names in (pair_names, people_names)
    )
    bank, folder = prepare_bank(config, data_dir), Path(folder).expanduser().absolute()
    views = [read_view1(path) for path in pair_paths[:2]]
    for path, pairs in zip(pair_paths, views):
        check_images(bank, path, pairs)
    for path in people_paths:
        bank.rows(image_names(read_people(path)))
    packed = folder / f"{_title(config)}.npz"
    (bank if all_images else bank.subset(np.concatenate([pairs.names() for pairs in views]))).save(packed)
    for path in (*pair_paths, *people_paths):
        write_text(folder / path.name, path.read_text(encoding="utf-8"))
    return packed


def _framing(config: DataConfig) -> tuple[str, int, int, str]:
    return config.dataset, config.crop, config.side, config.filter


def _title(config: DataConfig) -> str:
    return "-".join(map(str, _framing(config)))


def _cached(path: Path) -> ImageBank | None:
    """The bank of the cache, None where there is none or a damaged one: what is made then takes its place."""
    with suppress(DataError):
        return load_bank(path)
    return None


def _bank_file_in(given: Path, config: DataConfig) -> ImageBank | None:
    """The bank file that the user gave or that is in their folder; None. What does not fit is named if nothing else does."""
    found = []
    for path in sorted(given.glob("[!.]*.npz")) if given.is_dir() else [given] * (given.suffix == ".npz"):
        try:
            bank = load_bank(path)
        except DataError as error:
            found.append(str(error))
            continue
        held = bank.dataset, bank.crop, bank.side, bank.filter
        if held == _framing(config):
            return bank
        found.append(f"{path.name} holds {_told(*held)}")
    if found and not candidates(DATASETS[config.dataset], given):
        raise DataError(f"{given}: {first_few(found)}; wanted are {_told(*_framing(config))}")
    return None


def _told(dataset: str, crop: int, side: int, filter: str) -> str:
    return f"{dataset} with crop {crop}, side {side}, {filter}"


def _fingerprint(source: Path) -> tuple[object, ...]:
    """What a cached bank depends on: the path, and sizes and times of the files in it."""
    if source.is_file():
        stat = source.stat()
        return str(source), stat.st_size, stat.st_mtime_ns
    total = hashlib.sha256()
    for path, name in image_files(source):
        stat = path.stat()
        total.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return str(source), total.hexdigest()


def _judgement(dataset: Dataset, source: Path) -> str:
    """A note on whether an archive is the published one. A user's own is judged by its content, not refused."""
    if source.is_dir():
        return "unpacked folder, judged by its content"
    if digest_of(source, dataset.published.digest) == dataset.published.digest:
        return "archive with the published digest"
    return f"archive of unknown digest ({digest_of(source, 'sha256')}), judged by its content"
