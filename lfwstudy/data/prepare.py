"""How does a data set become a bank? From the cache, a bank file, or the images wherever they are."""

import hashlib
import re
from contextlib import suppress
from pathlib import Path

import numpy as np

from lfwstudy.data.archives import image_files, read_images
from lfwstudy.data.bank import build_bank, load_bank
from lfwstudy.data.cache import cache_folder, making
from lfwstudy.data.pair_files import has_pair_file, pair_file
from lfwstudy.data.pairs import image_name, read_people, read_view1
from lfwstudy.data.protocols import check_images
from lfwstudy.data.registry import DATASETS, resolve_data_dir
from lfwstudy.data.survey import candidates, find_source, first_few
from lfwstudy.errors import DataError
from lfwstudy.system.files import write_text


def prepare_bank(config, data_dir="", progress=None):
    """The bank of a data set as `config` (DataConfig) wants it, from the cache where it is there already.

    Looks in `data_dir` for a bank file, an archive or an unpacked folder (or takes it as one of them); without a `data_dir` the archive is
    downloaded where a source with a digest is known. Raises DataError saying what was looked for.
    """
    folder = resolve_data_dir(config.dataset, data_dir)
    wanted = (config.crop, config.side, config.filter)
    bank = _bank_file_in(folder, config) if folder else None
    if bank is not None:
        return bank
    source = find_source(DATASETS[config.dataset], folder, explicit=bool(data_dir))
    key = hashlib.sha256("|".join(map(str, (config.dataset, *wanted, *_fingerprint(source)))).encode()).hexdigest()
    path = cache_folder() / "banks" / f"{config.dataset}-{config.crop}-{config.side}-{config.filter}-{key[:12]}.npz"
    if (bank := _cached(path)) is not None:
        return bank
    with making(path):
        if (bank := _cached(path)) is not None:  # made by another process meanwhile
            return bank
        for left_over in path.parent.glob(f".{path.name}.*.tmp"):  # of a process that was killed
            left_over.unlink()
        notes = () if config.dataset == "demo" else _judge_archive(DATASETS[config.dataset], source)
        bank = build_bank(read_images(source), config.dataset, *wanted, origin=source, notes=notes, progress=progress)
        bank.save(path)
    return load_bank(path)


def _cached(path):
    """The bank of the cache, None where there is none or a damaged one: what is made then takes its place."""
    with suppress(DataError):
        return load_bank(path)


def _bank_file_in(given, config):
    wanted = (config.dataset, config.crop, config.side, config.filter)
    found = []
    for path in sorted(given.glob("*.npz")) if given.is_dir() else [given] if given.suffix == ".npz" else []:
        try:
            bank = load_bank(path)
        except (
            DataError
        ) as error:  # some other .npz of the user's, or a damaged bank: named where nothing else is found
            found.append(str(error))
            continue
        if (bank.dataset, bank.crop, bank.side, bank.filter) == wanted:
            return bank
        found.append(f"{path.name} holds {bank.dataset} with crop {bank.crop}, side {bank.side}, {bank.filter}")
    if found and not candidates(DATASETS[config.dataset], given):
        raise DataError(
            f"{given}: {first_few(found)}; wanted are {wanted[0]} with crop {wanted[1]}, side {wanted[2]}, {wanted[3]}"
        )
    return None


def _fingerprint(source):
    """What a cached bank depends on: the path, and sizes and times of the files in it."""
    if source.is_file():
        stat = source.stat()
        return str(source), stat.st_size, stat.st_mtime_ns
    total = hashlib.sha256()
    for path, name in image_files(source):
        stat = path.stat()
        total.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return str(source), total.hexdigest()


def _judge_archive(dataset, source):
    """Notes on an archive whose digest is known or not. A user's own is judged by its content, not refused."""
    if source.is_dir():
        return ("unpacked folder, judged by its content",)
    digests = {name: hashlib.new(name) for name in ("sha256", "sha1", "md5")}
    with open(source, "rb") as file:
        while block := file.read(1 << 20):
            for digest in digests.values():
                digest.update(block)
    known = {dataset.download.digest} if dataset.download else set()
    known |= {f"md5:{m}" for m in re.findall(r"MD5 ([0-9a-f]{32})", dataset.how)}
    if known & {f"{name}:{digest.hexdigest()}" for name, digest in digests.items()}:
        return ("archive with the published digest",)
    return (f"archive of unknown digest (sha256 {digests['sha256'].hexdigest()}), judged by its content",)


def pack(config, data_dir, folder, all_images=False):
    """Write a bank of only the pictures that the View 1 pairs name, and the pair files, into `folder`; returns the bank's
    path. `folder` is then a data folder for the same settings: runs made from it have the same ids.

    all_images: the bank holds all of them, for what learns from all training people and for View 2; the files that these
    need go with it. Raises DataError where one of them, or a picture that they name, is missing.
    """
    needed, people = ["pairsDevTrain.txt", "pairsDevTest.txt"], []
    if all_images:
        needed, people = [*needed, "pairs.txt"], ["people.txt", "peopleDevTrain.txt"]
    elif has_pair_file("people.txt", config.dataset, data_dir):
        needed.append("people.txt")
    files, people = ([pair_file(name, config.dataset, data_dir) for name in names] for names in (needed, people))
    bank = prepare_bank(config, data_dir)
    names = []
    for path in files[:2]:
        pairs = read_view1(path)
        check_images(bank, path, pairs)
        names.append(pairs.names())
    bank.rows(
        [
            image_name(person, number)
            for file in people
            for some in read_people(file)
            for person, count in some.items()
            for number in range(1, count + 1)
        ]
    )
    folder = Path(folder).expanduser().absolute()
    path = folder / f"{config.dataset}-{config.crop}-{config.side}-{config.filter}.npz"
    (bank if all_images else bank.subset(np.concatenate(names))).save(path)
    for file in (*files, *people):
        write_text(folder / file.name, file.read_text(encoding="utf-8"))
    return path
