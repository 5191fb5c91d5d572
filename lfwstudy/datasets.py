"""Where do the pictures come from? The registry of data sets: find, download, verify, unpack."""

import bz2
import gzip
import hashlib
import lzma
import os
import re
import sys
import tarfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from stat import S_ISLNK
from urllib.parse import urljoin, urlsplit

import numpy as np

from . import demo
from .bank import build_bank, load_bank
from .errors import DataError, choose_one, one_line
from .files import locked, write_text
from .pairs import Pairs, is_name, person_of, picture_name, read_people, read_view1, read_view2
from .splits import audit, make_split, subsample

PICTURES, PEOPLE = 13_233, 5_749
_FIGSHARE = "https://ndownloader.figshare.com/files/"
_SUFFIXES = (".jpg", ".jpeg", ".png", ".pgm")
# What an archive of faces may hold at most; LFW has 13,233 pictures of about 10 KB.
_MAX_MEMBERS, _MAX_MEMBER_BYTES, _MAX_TOTAL_BYTES = 100_000, 8 << 20, 4 << 30
# Pictures hardly compress; what unpacks to so many times the archive's size (beyond some bytes) is a bomb.
_MAX_RATIO, _FREE_BYTES = 50, 64 << 20
# How long one process waits for another that fills the same part of the cache.
_PATIENCE_SECONDS = 3600


@dataclass(frozen=True)
class Download:
    """A file on the network with its digest ("sha256:..." or "sha1:...")."""

    url: str
    digest: str
    size: str = ""


@dataclass(frozen=True)
class Dataset:
    """A variant of the pictures: names its archive and unpacked folder go by, and where it can be had."""

    name: str
    title: str
    archives: tuple
    folders: tuple
    download: Download | None = None
    how: str = ""


DATASETS = {d.name: d for d in (
    Dataset("demo", "demo faces (drawn, of made-up people)", (), ()),
    Dataset("lfw", "LFW, original pictures", ("lfw.tgz", "lfw.tar.gz", "lfw.zip"), ("lfw",),
            Download(_FIGSHARE + "5976018", "sha256:055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0",
                     "173 MiB")),
    Dataset("lfw-funneled", "LFW, funneled", ("lfw-funneled.tgz", "lfw-funneled.tar.gz", "lfw-funneled.zip"),
            ("lfw_funneled", "lfw-funneled"),
            Download(_FIGSHARE + "5976015", "sha256:b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
                     "233 MiB")),
    Dataset("lfw-deepfunneled", "LFW, deep-funneled",
            ("lfw-deepfunneled.tgz", "lfw-deepfunneled.tar.gz", "lfw-deepfunneled.zip"),
            ("lfw-deepfunneled", "lfw_deepfunneled"), None,
            "No download with a known digest is left. The published archive has MD5 68331da3eb755a505a502b5aacb3c201; "
            "an unverified copy is https://archive.org/download/lfw-dataset/lfw-deepfunneled.zip."),
    Dataset("lfw-a", "LFW-a (aligned, grey)", ("lfwa.tar.gz", "lfwa.tgz", "lfwa.zip", "lfw2.tgz", "lfw2.zip"),
            ("lfw2", "lfwa", "lfw-a"),
            Download("https://www.openu.ac.il/home/hassner/data/lfwa/lfwa.tar.gz",
                     "sha1:38ecda590870e7dc91fb1040759caccddbe25375")),
)}

PAIR_FILES = {
    "pairsDevTrain.txt": Download(_FIGSHARE + "5976012",
                                  "sha256:1d454dada7dfeca0e7eab6f65dc4e97a6312d44cf142207be28d688be92aabfa"),
    "pairsDevTest.txt": Download(_FIGSHARE + "5976009",
                                 "sha256:7cb06600ea8b2814ac26e946201cdb304296262aad67d046a16a7ec85d0ff87c"),
    "pairs.txt": Download(_FIGSHARE + "5976006",
                          "sha256:ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592"),
    # No download with a verified digest is known for these three.
    "people.txt": None, "peopleDevTrain.txt": None, "peopleDevTest.txt": None,
}


@dataclass(frozen=True)
class StudyPairs:
    """The pairs of one run: training, validation and test; and `extra`, names of pictures that may be trained on beside
    those of the training pairs (a str array, empty where there are none)."""

    train: Pairs
    validation: Pairs
    test: Pairs
    extra: np.ndarray = field(default_factory=lambda: np.empty(0, np.str_))

    def parts(self):
        """(set name, pairs) of the three sets, under the names that predictions.csv has."""
        return (("train", self.train), ("val", self.validation), ("test", self.test))

    def names(self):
        """The different pictures that any of the pairs names, and the extra ones, sorted."""
        return np.unique(np.concatenate([*(part.names() for _, part in self.parts()), self.extra]))

    def require_protocol(self, protocol):
        """Raise DataError where the pairs are of another protocol than a network was configured for."""
        if {"view1": 0, "view2": 1}[protocol] != int(self.test.fold.min() > 0):
            raise DataError(
                f"a network of {protocol} cannot be trained or scored on pairs of the other view: the people of View 1's "
                "training pairs are among View 2's test pairs (525 of the 2,200 pairs stand in pairs.txt word for word), "
                "so that View 2 trains anew for each fold; use --protocol view2")

    def digest(self, bank):
        """SHA-256 (hex) of the pairs and of the source files of all pictures they name."""
        total = hashlib.sha256(bank.digest(self.names()).encode())
        for name, part in self.parts():
            total.update("\n".join([name, *part.content()]).encode())
        return total.hexdigest()


def cache_folder():
    """The folder for banks, downloads and demo faces: $LFWSTUDY_CACHE, else the user's cache folder."""
    import pooch
    given = os.environ.get("LFWSTUDY_CACHE")
    return Path(given).expanduser().absolute() if given else Path(pooch.os_cache("lfwstudy"))


def resolve_data_dir(dataset, data_dir=""):
    """The folder of the user's files: `data_dir`, else $LFWSTUDY_DATA, else None. Made absolute; must exist."""
    choose_one("data set", dataset, DATASETS)
    if data_dir and not Path(data_dir).expanduser().is_dir():
        raise DataError(f"{data_dir}: no such folder (given as --data-dir)")
    if dataset == "demo":
        return demo.ensure_demo(cache_folder())
    given = data_dir or os.environ.get("LFWSTUDY_DATA", "")
    if not given:
        return None
    folder = Path(given).expanduser().absolute()
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (given as --data-dir or $LFWSTUDY_DATA)")
    return folder


def prepare_bank(config, data_dir="", progress=None):
    """The bank of a data set as `config` (DataConfig) wants it, from the cache where it is there already.

    Looks in `data_dir` for a bank file, an archive or an unpacked folder; without a `data_dir` the archive is
    downloaded where a source with a digest is known. Raises DataError saying what was looked for.
    """
    folder = resolve_data_dir(config.dataset, data_dir)
    wanted = (config.crop, config.side, config.filter)
    bank = _bank_file_in(folder, config) if folder else None
    if bank is not None:
        return bank
    source = _find_source(DATASETS[config.dataset], folder, explicit=bool(data_dir))
    key = hashlib.sha256("|".join(map(str, (config.dataset, *wanted, *_fingerprint(source)))).encode()).hexdigest()
    path = cache_folder() / "banks" / f"{config.dataset}-{config.crop}-{config.side}-{config.filter}-{key[:12]}.npz"
    if path.exists():
        try:
            return load_bank(path)
        except DataError:
            path.unlink(missing_ok=True)  # our own cache: a damaged file is made anew
    with _alone(path):
        if path.exists():  # made by another process meanwhile
            return load_bank(path)
        for left_over in path.parent.glob(f".{path.name}.*.tmp"):  # of a process that was killed
            left_over.unlink()
        notes = () if config.dataset == "demo" else _judge_archive(DATASETS[config.dataset], source)
        bank = build_bank(_pictures(source), config.dataset, *wanted, origin=source, notes=notes, progress=progress)
        bank.save(path)
    return load_bank(path)


def pair_file(name, dataset, data_dir=""):
    """Path of a pair or people file: in the data folder, beside it, or downloaded. Raises DataError."""
    folder = resolve_data_dir(dataset, data_dir)
    here = _local_pair_file(name, dataset, folder)
    if here:
        return here
    source = PAIR_FILES[name]
    if source is None:
        raise DataError(f"{name} is needed and not in {folder or 'a --data-dir'}: put LFW's {name} beside the pair "
                        "files and give that folder with --data-dir (no download with a known digest is left)")
    return fetch(name, source)


def has_pair_file(name, dataset, data_dir=""):
    """Whether a pair or people file is at hand without a download."""
    return _local_pair_file(name, dataset, resolve_data_dir(dataset, data_dir)) is not None


def _local_pair_file(name, dataset, folder):
    """Path of a pair file in the user's folder, the pictures' folder in it, or the one above it; None."""
    places = (folder, folder / DATASETS[dataset].name, folder.parent) if folder else ()
    return next((place / name for place in places if (place / name).is_file()), None)


def load_pairs(config, data_dir=""):
    """The training, validation and test pairs that `config` (DataConfig) names, as StudyPairs.

    View 1: pairsDevTrain.txt split by `config.split`, pairsDevTest.txt. View 2: the test fold is `config.fold`,
    validation the next (1 after 10), training the other eight. Raises DataError, ConfigError.
    """
    if config.protocol == "view2":
        pairs = read_view2(pair_file("pairs.txt", config.dataset, data_dir))
        held = config.fold % pairs.fold.max() + 1
        found = StudyPairs(pairs.take((pairs.fold != config.fold) & (pairs.fold != held)),
                           pairs.take(pairs.fold == held), pairs.take(pairs.fold == config.fold))
    else:
        development, split = development_split(config, data_dir)
        found = StudyPairs(development.take(split.train), development.take(split.validation),
                           read_view1(pair_file("pairsDevTest.txt", config.dataset, data_dir)))
    return found if config.pictures == "pairs" else replace(found, extra=_training_people(config, found, data_dir))


def _training_people(config, pairs, data_dir):
    """Names of all pictures of the training people, validation's and the test pairs' excepted.

    View 1: of peopleDevTrain.txt; View 2: of the sets of people.txt that are neither tested nor validation.
    """
    sets = read_people(pair_file(people_files(config)[-1], config.dataset, data_dir))
    if config.protocol == "view2":
        sets = [people for fold, people in enumerate(sets, start=1) if fold not in (config.fold, config.fold % len(sets) + 1)]
    held = set(person_of(np.concatenate([pairs.validation.names(), pairs.test.names()])))
    return np.array([picture_name(person, number) for people in sets for person, count in people.items()
                     if person not in held for number in range(1, count + 1)], np.str_)


def people_files(config):
    """Names of the people files that `config` needs beside the pair files; of the training people's last."""
    names = ["people.txt"] if config.protocol == "view1" and config.split == "folds" else []
    if config.pictures != "pairs":
        names.append("people.txt" if config.protocol == "view2" else "peopleDevTrain.txt")
    return names


def development_split(config, data_dir=""):
    """The development pairs of View 1 that `config` uses, and their Split."""
    development = read_view1(pair_file("pairsDevTrain.txt", config.dataset, data_dir))
    if config.pairs_per_class is not None:
        development = development.take(subsample(development, config.pairs_per_class))
    people = read_people(pair_file("people.txt", config.dataset, data_dir)) if config.split == "folds" else None
    return development, make_split(config.split, development, people, config.split_seed)


def audit_split(config, data_dir=""):
    """splits.audit of the development pairs under `config`."""
    return audit(*development_split(config, data_dir))


def audit_random(config, data_dir="", count=50):
    """splits.audit of `count` random splits of the development pairs, whatever split `config` names."""
    development, _ = development_split(replace(config, split="components"), data_dir)
    return [audit(development, make_split("random", development, seed=seed)) for seed in range(count)]


def pack(config, data_dir, folder, all_pictures=False):
    """Write a bank of only the pictures that the View 1 pairs name, and the pair files, into `folder`; returns the bank's
    path. `folder` is then a data folder for the same settings: runs made from it have the same ids.

    all_pictures: the bank holds all of them, for what learns from all training people and for View 2; the files that these
    need go with it. Raises DataError where one of them, or a picture that they name, is missing.
    """
    needed, people = ["pairsDevTrain.txt", "pairsDevTest.txt"], []
    if all_pictures:
        needed, people = [*needed, "pairs.txt"], ["people.txt", "peopleDevTrain.txt"]
    elif has_pair_file("people.txt", config.dataset, data_dir):
        needed.append("people.txt")
    files, people = ([pair_file(name, config.dataset, data_dir) for name in names] for names in (needed, people))
    bank = prepare_bank(config, data_dir)
    names = []
    for path in files[:2]:
        pairs = read_view1(path)
        check_pictures(bank, path, pairs)
        names.append(pairs.names())
    bank.rows([picture_name(person, number) for file in people for some in read_people(file)
               for person, count in some.items() for number in range(1, count + 1)])
    folder = Path(folder).expanduser().absolute()
    path = folder / f"{config.dataset}-{config.crop}-{config.side}-{config.filter}.npz"
    (bank if all_pictures else bank.subset(np.concatenate(names))).save(path)
    for file in (*files, *people):
        write_text(folder / file.name, file.read_text(encoding="utf-8"))
    return path


def check_pictures(bank, path, pairs):
    """Raise DataError naming file, line and picture where a pair's picture is not in the bank."""
    for names in (pairs.left, pairs.right):
        missing = ~np.isin(names, bank.names)
        if missing.any():
            at = int(np.flatnonzero(missing)[0])
            raise DataError(f"{path}, line {pairs.line[at]}: picture {names[at]} is not among the {len(bank):,} "
                            f"pictures of {bank.dataset} in {bank.origin}")


def fetch(name, source):
    """Download a file into the cache, verified by its digest; from the cache where it is there.

    A file with another digest is refused and kept aside as NAME.refused. Raises DataError.
    """
    target = cache_folder() / "downloads" / name
    if not _has_digest(target, source.digest):
        with _alone(target):
            if not _has_digest(target, source.digest):  # another process may have fetched it meanwhile
                _download(name, source, target)
    return target


def _has_digest(path, digest):
    import pooch
    algorithm, _, wanted = digest.partition(":")
    return path.is_file() and pooch.file_hash(path, alg=algorithm) == wanted


@contextmanager
def _alone(path):
    """Keep other processes from filling the same file of the cache meanwhile."""
    try:
        with locked(path.with_name(f".{path.name}.lock"), _PATIENCE_SECONDS):
            yield
    except BlockingIOError:
        raise DataError(f"{path}: another process has been making this file for an hour; end it first") from None


def _download(name, source, target):
    import pooch
    folder = target.parent
    algorithm, _, digest = source.digest.partition(":")
    _require_https(source.url)
    # Checked here, not by pooch, which throws a file with another digest away.
    keeper = pooch.create(folder, base_url="", registry={f"{name}.part": None}, urls={f"{name}.part": source.url},
                          retry_if_failed=2)
    help_ = (f"If you have the file (digest {source.digest}), put it in a folder and give that folder with --data-dir or "
             "$LFWSTUDY_DATA.")
    part = folder / f"{name}.part"
    part.unlink(missing_ok=True)
    try:
        keeper.fetch(part.name, downloader=pooch.HTTPDownloader(
            progressbar=sys.stderr.isatty(), timeout=30, hooks={"response": _follow_https_only}))
    except Exception as error:  # requests, urllib3 and pooch raise many kinds
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise DataError(f"{name} could not be downloaded from {source.url} ({reason}). {help_}") from error
    found = pooch.file_hash(part, alg=algorithm)
    if found != digest:
        os.replace(part, folder / f"{name}.refused")
        raise DataError(f"{name} from {source.url} has the digest {algorithm}:{found}, not {source.digest}: it has changed "
                        f"or was cut short. It is kept aside as {folder / f'{name}.refused'} and not used. {help_}")
    os.replace(part, target)


def _require_https(url):
    host = urlsplit(url)
    if host.scheme != "https" and host.hostname != "127.0.0.1":
        raise DataError(f"{url}: only https is used for downloads")


def _follow_https_only(response, **_):
    if response.is_redirect:
        _require_https(urljoin(response.url, response.headers["location"]))


def _bank_file_in(folder, config):
    wanted = (config.dataset, config.crop, config.side, config.filter)
    found = []
    for path in sorted(folder.glob("*.npz")):
        try:
            bank = load_bank(path)
        except DataError as error:  # some other .npz of the user's, or a damaged bank: named where nothing else is found
            found.append(str(error))
            continue
        if (bank.dataset, bank.crop, bank.side, bank.filter) == wanted:
            return bank
        found.append(f"{path.name} holds {bank.dataset} with crop {bank.crop}, side {bank.side}, {bank.filter}")
    if found and not _candidates(DATASETS[config.dataset], folder):
        raise DataError(f"{folder}: {'; '.join(found)}; wanted are {wanted[0]} with crop {wanted[1]}, "
                        f"side {wanted[2]}, {wanted[3]}")
    return None


def _candidates(dataset, folder):
    """Archives and folders of `dataset` in `folder`, best first."""
    if dataset.name == "demo":
        return [folder / "demo"]
    found = []
    for name in dataset.folders:
        for place in (folder / name / name, folder / name):
            if place.is_dir() and _looks_like_pictures(place):
                found.append(place)
    found += [folder / name for name in dataset.archives if (folder / name).is_file()]
    if _looks_like_pictures(folder):
        found.append(folder)
    return found


def _looks_like_pictures(folder):
    """Whether a folder holds NAME/NAME_0001.jpg."""
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if entry.is_dir() and any((Path(entry.path) / f"{entry.name}_{n:04d}{s}").exists()
                                      for n in (1, 2) for s in _SUFFIXES):
                return True
            if count > 200:
                return False
    return False


def _find_source(dataset, folder, explicit):
    """The archive or folder to read. A folder that only $LFWSTUDY_DATA names need not hold every data set."""
    found = _candidates(dataset, folder) if folder else []
    if found:
        return found[0]
    if folder and (explicit or dataset.download is None):
        looked = ", ".join([*dataset.archives, *(f"{f}/" for f in dataset.folders)])
        raise DataError(f"{folder}: no pictures of {dataset.name} found. Looked for {looked}, a bank file (*.npz), "
                        "and folders NAME/NAME_0001.jpg")
    if dataset.download is None:
        raise DataError(f"{dataset.name} cannot be downloaded by this program. {dataset.how} Put "
                        f"{dataset.archives[0]} (or the unpacked folder {dataset.folders[0]}/) with the pair files "
                        "into a folder and give that folder with --data-dir or $LFWSTUDY_DATA.")
    return fetch(dataset.archives[0], dataset.download)


def _fingerprint(source):
    """What a cached bank depends on: the path, and sizes and times of the files in it."""
    if source.is_file():
        stat = source.stat()
        return str(source), stat.st_size, stat.st_mtime_ns
    total = hashlib.sha256()
    for path, name in _picture_files(source):
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


def _pictures(source):
    """Yield (name, content) of every picture in an archive or folder; nothing is written to disk."""
    if source.is_dir():
        for path, name in _picture_files(source):
            if path.stat().st_size > _MAX_MEMBER_BYTES:
                raise DataError(f"{path}: {path.stat().st_size:,} bytes, too large for a picture of this data set")
            yield name, path.read_bytes()
        return
    try:
        yield from (_zip_pictures if zipfile.is_zipfile(source) else _tar_pictures)(source)
    except DataError:
        raise
    except Exception as error:  # the readers of damaged archives raise many kinds
        raise DataError(f"{source}: not a readable archive, damaged or cut short ({one_line(error)})") from error


def _picture_files(folder):
    for person in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
        for path in sorted((folder / person).iterdir()):
            name = _name_of(PurePosixPath(person) / path.name, folder)
            if name and path.is_file():
                yield path, name


class _Measured:
    """A stream that refuses to give more between two members than one can have: headers may be bombs, too."""

    def __init__(self, file, source):
        self.file, self.source, self.given = file, source, 0

    def read(self, size):
        self.given += size
        if self.given > 2 * _MAX_MEMBER_BYTES:
            raise DataError(f"{self.source}: a header of more than {self.given:,} bytes; no data set has such, refused")
        return self.file.read(size)


def _tar_pictures(source):
    with open(source, "rb") as file:
        magic = file.read(2)
    unpack = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}.get(magic, open)
    with unpack(source, "rb") as stream:
        measured, total = _Measured(stream, source), 0
        with tarfile.open(fileobj=measured, mode="r|") as archive:
            for count, member in enumerate(archive):
                total = _check_member(source, count, member.name, member.size, total)
                if not (member.isfile() or member.isdir()):
                    raise DataError(f"{source}: member {member.name!r} is a link or a device; no data set has such")
                name = _name_of(PurePosixPath(member.name), source)
                if name and member.isfile():
                    yield name, archive.extractfile(member).read()
                measured.given = 0


def _zip_pictures(source):
    with zipfile.ZipFile(source) as archive:
        total = 0
        for count, member in enumerate(archive.infolist()):
            total = _check_member(source, count, member.filename, member.file_size, total)
            if S_ISLNK(member.external_attr >> 16):
                raise DataError(f"{source}: member {member.filename!r} is a link or a device; no data set has such")
            name = _name_of(PurePosixPath(member.filename), source)
            if name and not member.is_dir():
                with archive.open(member) as file:
                    content = file.read(_MAX_MEMBER_BYTES + 1)
                if len(content) != member.file_size:
                    raise DataError(f"{source}: member {member.filename!r} is larger than it says")
                yield name, content


def _check_member(source, count, name, size, total):
    """Refuse what no archive of faces has: paths out of the tree, far too many or far too large members."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise DataError(f"{source}: member {name!r} points out of the archive; refused")
    total += size
    most = min(_MAX_TOTAL_BYTES, _FREE_BYTES + _MAX_RATIO * source.stat().st_size)
    if count >= _MAX_MEMBERS or not 0 <= size <= _MAX_MEMBER_BYTES or total > most:
        raise DataError(f"{source}: member {name!r} ({size:,} bytes, {total:,} in all) is more than an archive of "
                        "faces holds; refused")
    return total


def _name_of(path, source):
    """Picture name of a path .../NAME/NAME_0001.jpg, None for anything else. Raises DataError where NAME is none."""
    if path.suffix.lower() not in _SUFFIXES or len(path.parts) < 2:
        return None
    person, stem = path.parts[-2], path.stem
    if not re.fullmatch(re.escape(person) + r"_[0-9]{4,}", stem):
        return None
    if not is_name(person):
        raise DataError(f"{source}: {str(path)!r}: {person!r} is no person's name; rename or remove it")
    return stem
