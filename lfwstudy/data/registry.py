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
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from stat import S_ISLNK
from urllib.parse import urljoin, urlsplit

import numpy as np

from lfwstudy.data import demo
from lfwstudy.data.bank import build_bank, load_bank, suffixes
from lfwstudy.data.filetypes import HEAD, name_foreign
from lfwstudy.data.pairs import (
    Pairs,
    composed,
    from_csv,
    is_name,
    person_of,
    picture_name,
    read_people,
    read_view1,
    read_view2,
)
from lfwstudy.data.splits import audit, make_split, subsample
from lfwstudy.errors import DataError, choose_one, is_the_machines, mistaken, one_line, quoted
from lfwstudy.system.files import locked, replacing, write_text

PICTURES, PEOPLE = 13_233, 5_749
_FIGSHARE = "https://ndownloader.figshare.com/files/"
# What an archive of faces may hold at most; LFW has 13,233 pictures of about 10 KB.
_MAX_MEMBERS, _MAX_MEMBER_BYTES, _MAX_TOTAL_BYTES = 100_000, 8 << 20, 4 << 30
# Pictures hardly compress; what unpacks to so many times the archive's size (beyond some bytes) is a bomb.
_MAX_RATIO, _FREE_BYTES = 50, 64 << 20
_ARCHIVE = re.compile(r"\.(tgz|tbz2?|txz|tar|zip|7z|rar|tar\.(gz|bz2|xz|zst))$", re.IGNORECASE)
# How far a data folder is searched: levels of folders, folders in all, and entries of one that may be a person.
_MAX_DEPTH, _MAX_FOLDERS, _MAX_TRIED = 3, 300, 200
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


DATASETS = {
    d.name: d
    for d in (
        Dataset("demo", "demo faces (drawn, of made-up people)", (), ()),
        Dataset(
            "lfw",
            "LFW, original pictures",
            ("lfw.tgz", "lfw.tar.gz", "lfw.zip"),
            ("lfw",),
            Download(
                _FIGSHARE + "5976018",
                "sha256:055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0",
                "173 MiB",
            ),
        ),
        Dataset(
            "lfw-funneled",
            "LFW, funneled",
            ("lfw-funneled.tgz", "lfw-funneled.tar.gz", "lfw-funneled.zip"),
            ("lfw_funneled", "lfw-funneled"),
            Download(
                _FIGSHARE + "5976015",
                "sha256:b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
                "233 MiB",
            ),
        ),
        Dataset(
            "lfw-deepfunneled",
            "LFW, deep-funneled",
            ("lfw-deepfunneled.tgz", "lfw-deepfunneled.tar.gz", "lfw-deepfunneled.zip"),
            ("lfw-deepfunneled", "lfw_deepfunneled"),
            None,
            "No download with a known digest is left. The published archive has MD5 68331da3eb755a505a502b5aacb3c201; "
            "an unverified copy is https://archive.org/download/lfw-dataset/lfw-deepfunneled.zip.",
        ),
        Dataset(
            "lfw-a",
            "LFW-a (aligned, grey)",
            ("lfwa.tar.gz", "lfwa.tgz", "lfwa.zip", "lfw2.tgz", "lfw2.zip"),
            ("lfw2", "lfwa", "lfw-a"),
            Download(
                "https://www.openu.ac.il/home/hassner/data/lfwa/lfwa.tar.gz",
                "sha1:38ecda590870e7dc91fb1040759caccddbe25375",
            ),
        ),
    )
}

PAIR_FILES = {
    "pairsDevTrain.txt": Download(
        _FIGSHARE + "5976012", "sha256:1d454dada7dfeca0e7eab6f65dc4e97a6312d44cf142207be28d688be92aabfa"
    ),
    "pairsDevTest.txt": Download(
        _FIGSHARE + "5976009", "sha256:7cb06600ea8b2814ac26e946201cdb304296262aad67d046a16a7ec85d0ff87c"
    ),
    "pairs.txt": Download(
        _FIGSHARE + "5976006", "sha256:ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592"
    ),
    # No download with a verified digest is known for these three.
    "people.txt": None,
    "peopleDevTrain.txt": None,
    "peopleDevTest.txt": None,
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
                "so that View 2 trains anew for each fold; use --protocol view2"
            )

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
    """The user's folder, archive or bank file: `data_dir`, else $LFWSTUDY_DATA, else None. Made absolute; must exist."""
    choose_one("data set", dataset, DATASETS)
    if data_dir and not Path(data_dir).expanduser().exists():
        raise DataError(f"{data_dir}: no such folder or archive (given as --data-dir)")
    if dataset == "demo":
        return demo.ensure_demo(cache_folder())
    given = data_dir or os.environ.get("LFWSTUDY_DATA", "")
    if not given:
        return None
    path = Path(given).expanduser().absolute()
    if path.is_dir() or (path.suffix == ".npz" and path.is_file()) or (path.is_file() and _is_archive(path)):
        return path
    if not path.exists():
        raise DataError(f"{path}: no such folder or archive (given as --data-dir or $LFWSTUDY_DATA)")
    what = _no_archive(path) if path.is_file() else "neither a folder nor a file"
    raise DataError(
        f"{path}: {what}; --data-dir is a folder that holds the pictures and pair files, or an "
        "archive or bank file beside the pair files"
    )


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
    source = _find_source(DATASETS[config.dataset], folder, explicit=bool(data_dir))
    key = hashlib.sha256("|".join(map(str, (config.dataset, *wanted, *_fingerprint(source)))).encode()).hexdigest()
    path = cache_folder() / "banks" / f"{config.dataset}-{config.crop}-{config.side}-{config.filter}-{key[:12]}.npz"
    if (bank := _cached(path)) is not None:
        return bank
    with _alone(path):
        if (bank := _cached(path)) is not None:  # made by another process meanwhile
            return bank
        for left_over in path.parent.glob(f".{path.name}.*.tmp"):  # of a process that was killed
            left_over.unlink()
        notes = () if config.dataset == "demo" else _judge_archive(DATASETS[config.dataset], source)
        bank = build_bank(_pictures(source), config.dataset, *wanted, origin=source, notes=notes, progress=progress)
        bank.save(path)
    return load_bank(path)


def _cached(path):
    """The bank of the cache, None where there is none or a damaged one: what is made then takes its place."""
    with suppress(DataError):
        return load_bank(path)


def pair_file(name, dataset, data_dir=""):
    """Path of a pair or people file: in the data folder, beside it, or downloaded. Raises DataError."""
    folder = resolve_data_dir(dataset, data_dir)
    here = _local_pair_file(name, dataset, folder)
    if here:
        return here
    source = PAIR_FILES[name]
    if source is None:
        raise DataError(
            f"{name} is needed and not in {folder or 'a --data-dir'}: put LFW's {name} beside the pair "
            "files and give that folder with --data-dir (no download with a known digest is left)"
        )
    return fetch(name, source)


def has_pair_file(name, dataset, data_dir=""):
    """Whether a pair or people file is at hand without a download."""
    return _local_pair_file(name, dataset, resolve_data_dir(dataset, data_dir)) is not None


def _local_pair_file(name, dataset, given):
    """Path of a pair or people file in the user's folder, the pictures' folder in it, or the one above; None. What stands
    there as CSV or in a zip archive is written to the cache as LFW's own text."""
    if given is None:
        return None
    base = given if given.is_dir() else given.parent
    places = [base, base / DATASETS[dataset].name, base.parent]
    if base.name == base.parent.name:  # Kaggle's folder in a folder of the same name
        places.append(base.parent.parent)
    for place in places:
        if found := _pair_file_at(name, place):
            return found
    for source in _candidates(DATASETS[dataset], given):
        between = [place for place in source.parents if place.is_relative_to(base)]
        for place in [source, *between]:
            if found := _pair_file_at(name, place):
                return found
    return None


def _pair_file_at(name, place):
    """Path of a pair or people file in one folder or zip archive; None."""
    if place.is_dir():
        if (place / name).is_file():
            return place / name
        try:
            files = {entry.name.lower(): place / entry.name for entry in os.scandir(place) if entry.is_file()}
        except PermissionError:
            return None
        if name.lower() in files:
            return files[name.lower()]
        read = Path.read_bytes
    elif place.is_file() and zipfile.is_zipfile(place):
        try:
            with zipfile.ZipFile(place) as archive:
                files = {
                    PurePosixPath(member.filename).name.lower(): member.filename
                    for member in archive.infolist()
                    if 0 < member.file_size <= _MAX_MEMBER_BYTES
                }
        except Exception as error:  # what is wrong with it is said when its pictures are read
            if is_the_machines(error):
                raise
            return None

        def read(member):
            try:
                with zipfile.ZipFile(place) as archive:
                    return archive.read(member)
            except Exception as error:
                if is_the_machines(error):
                    raise
                raise DataError(f"{place}: {quoted(member)} cannot be read ({one_line(error)[:100]})") from error

        if name.lower() in files:
            return _in_cache(name, read(files[name.lower()]))
    else:
        return None
    title = name.removesuffix(".txt")
    for parts in ((f"match{title}.csv", f"mismatch{title}.csv"), (f"{title}.csv",)):
        there = [files[part.lower()] for part in parts if part.lower() in files]
        if len(there) == len(parts):
            return _in_cache(name, from_csv(name, [(str(place / path), read(path)) for path in there]).encode())
        if there:
            raise DataError(f"{place / there[0]}: needs {' and '.join(parts)}, one of which is missing")
    return None


def _in_cache(name, content):
    path = cache_folder() / "pairs" / hashlib.sha256(content).hexdigest()[:12] / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            Path(temporary).write_bytes(content)
    return path


def load_pairs(config, data_dir=""):
    """The training, validation and test pairs that `config` (DataConfig) names, as StudyPairs.

    View 1: pairsDevTrain.txt split by `config.split`, pairsDevTest.txt. View 2: the test fold is `config.fold`,
    validation the next (1 after 10), training the other eight. Raises DataError, ConfigError.
    """
    if config.protocol == "view2":
        pairs = read_view2(pair_file("pairs.txt", config.dataset, data_dir))
        held = config.fold % pairs.fold.max() + 1
        found = StudyPairs(
            pairs.take((pairs.fold != config.fold) & (pairs.fold != held)),
            pairs.take(pairs.fold == held),
            pairs.take(pairs.fold == config.fold),
        )
    else:
        development, split = development_split(config, data_dir)
        found = StudyPairs(
            development.take(split.train),
            development.take(split.validation),
            read_view1(pair_file("pairsDevTest.txt", config.dataset, data_dir)),
        )
    return found if config.pictures == "pairs" else replace(found, extra=_training_people(config, found, data_dir))


def _training_people(config, pairs, data_dir):
    """Names of all pictures of the training people, validation's and the test pairs' excepted.

    View 1: of peopleDevTrain.txt; View 2: of the sets of people.txt that are neither tested nor validation.
    """
    sets = read_people(pair_file(people_files(config)[-1], config.dataset, data_dir))
    if config.protocol == "view2":
        sets = [
            people
            for fold, people in enumerate(sets, start=1)
            if fold not in (config.fold, config.fold % len(sets) + 1)
        ]
    held = set(person_of(np.concatenate([pairs.validation.names(), pairs.test.names()])))
    return np.array(
        [
            picture_name(person, number)
            for people in sets
            for person, count in people.items()
            if person not in held
            for number in range(1, count + 1)
        ],
        np.str_,
    )


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
    bank.rows(
        [
            picture_name(person, number)
            for file in people
            for some in read_people(file)
            for person, count in some.items()
            for number in range(1, count + 1)
        ]
    )
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
            raise DataError(
                f"{path}, line {pairs.line[at]}: picture {names[at]} is not among the {len(bank):,} "
                f"pictures of {bank.dataset} in {bank.origin}"
            )


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
    keeper = pooch.create(
        folder, base_url="", registry={f"{name}.part": None}, urls={f"{name}.part": source.url}, retry_if_failed=2
    )
    help_ = (
        f"If you have the file (digest {source.digest}), put it in a folder and give that folder with --data-dir or "
        "$LFWSTUDY_DATA."
    )
    part = folder / f"{name}.part"
    part.unlink(missing_ok=True)
    try:
        keeper.fetch(
            part.name,
            downloader=pooch.HTTPDownloader(
                progressbar=sys.stderr.isatty(), timeout=30, hooks={"response": _follow_https_only}
            ),
        )
    except Exception as error:  # requests, urllib3 and pooch raise many kinds
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise DataError(f"{name} could not be downloaded from {source.url} ({reason}). {help_}") from error
    found = pooch.file_hash(part, alg=algorithm)
    if found != digest:
        os.replace(part, folder / f"{name}.refused")
        raise DataError(
            f"{name} from {source.url} has the digest {algorithm}:{found}, not {source.digest}: it has changed "
            f"or was cut short. It is kept aside as {folder / f'{name}.refused'} and not used. {help_}"
        )
    os.replace(part, target)


def _require_https(url):
    host = urlsplit(url)
    if host.scheme != "https" and host.hostname != "127.0.0.1":
        raise DataError(f"{url}: only https is used for downloads")


def _follow_https_only(response, **_):
    if response.is_redirect:
        _require_https(urljoin(response.url, response.headers["location"]))


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
    if found and not _candidates(DATASETS[config.dataset], given):
        raise DataError(
            f"{given}: {_some(found)}; wanted are {wanted[0]} with crop {wanted[1]}, side {wanted[2]}, {wanted[3]}"
        )
    return None


def _some(things, most=3):
    """The first of several things, and how many there are more."""
    return "; ".join(things[:most]) + (f"; and {len(things) - most} more" if len(things) > most else "")


@dataclass(frozen=True)
class _Found:
    """Something in a data folder: pictures that can be read (`variant` is None where no name says of which data set), or
    what they seem to be instead (`problem`)."""

    path: Path
    variant: str | None
    problem: str = ""


def _candidates(dataset, given):
    """Archives and folders of `dataset` in what the user gave, best first."""
    if dataset.name == "demo":
        return [given / "demo"]
    return [found.path for found in _survey(given) if _is_of(found, dataset, given)]


def _is_of(found, dataset, given):
    if found.problem or found.variant not in (None, dataset.name):
        return False
    if found.path == given:
        return True
    # A folder within, say of half the people, is not taken for the whole that the folder above it is called.
    return found.variant is not None and (found.path.is_file() or _variant(_names(found.path)) is not None)


def _survey(given):
    """What the user's folder holds that may be a data set. Archives come first: beside one, a folder may be half unpacked."""
    if given.is_file():
        return _survey_archive(given, look=True) if given.suffix != ".npz" else []
    found, waiting = [], deque([(given, (), 0)])
    looked = 0
    while waiting and looked < _MAX_FOLDERS:
        here, names, depth = waiting.popleft()
        looked += 1
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError:
            continue
        files = [entry for entry in entries if entry.is_file()]
        folders = [entry for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__"))]
        found += [one for entry in files if _ARCHIVE.search(entry.name) for one in _survey_archive(Path(entry.path))]
        people = _holds_people(folders)
        if people:
            found.append(_Found(here, _variant(names or _names(here)) or _variant_of_parent(here)))
        elif flat := next((entry.name for entry in files if _is_picture(entry.name)), None):
            found.append(_Found(here, None, f"a folder of pictures such as {quoted(flat, 50)}, not NAME/NAME_0001.jpg"))
        elif foreign := _foreign_people(folders):
            found.append(_Found(here, None, foreign))
        if depth < _MAX_DEPTH:
            waiting += [
                (Path(entry.path), (*names, *_names(Path(entry.path))), depth + 1)
                for entry in folders
                if not people or _variant(_names(Path(entry.path)))
            ]
    # Kept in their order otherwise: the nearer first. The folder itself is last, as what it holds says more of its name.
    return sorted(found, key=lambda one: (not one.path.is_file(), one.path == given))


def _survey_archive(path, look=False):
    """An archive as a list of one _Found, or of none where there are no faces in it."""
    names = _names(path)
    if not _is_archive(path):
        return [_Found(path, _variant(names), _no_archive(path))]
    # A tar file has no list of its members. One that by its name may be anything is opened only where it is asked for.
    if not (look or _variant(names) or zipfile.is_zipfile(path)):
        return [_Found(path, None)]
    try:
        inner = next((member.parts[:-2] for member, _ in _archive_files(path) if _picture_of(member)), None)
    except Exception:  # what is wrong with it is said when it is read
        inner = ()
    if inner is None and not (look or _variant(names)):
        return []
    return [_Found(path, _variant((*names, *(inner or ()))))]


def _names(path):
    """The names that a folder or archive goes by: its own, and where it is a link, that of what it leads to."""
    return tuple(_ARCHIVE.sub("", one.name) for one in dict.fromkeys((path, path.resolve())))


def _variant(names):
    """The data set that the last telling one of some folders' names is of; None."""
    known = {_letters(name): dataset.name for dataset in DATASETS.values() for name in dataset.folders}
    for name in map(_letters, reversed(names)):
        for part, variant in (("deepfunnel", "lfw-deepfunneled"), ("funnel", "lfw-funneled")):
            if part in name:
                return variant
        if name in known:
            return known[name]
    return None


def _variant_of_parent(folder):
    """The data set that the folder above is of, where its name is no general one: many keep everything in ~/lfw."""
    variant = _variant(_names(folder.parent))
    return variant if variant != "lfw" else None


def _letters(name):
    return re.sub("[^a-z0-9]", "", name.lower())


def _holds_people(folders):
    """Whether some of a folder's folders are people's: NAME with NAME_0001.jpg in it."""
    for entry in folders[:_MAX_TRIED]:
        try:
            if any(_picture_of(PurePosixPath(entry.name, file.name)) for file in os.scandir(entry.path)):
                return True
        except OSError:
            continue
    return False


def _foreign_people(folders):
    """What the images in people's folders are where they are none that is read; "" elsewhere."""
    for entry in folders[:_MAX_TRIED]:
        try:
            named = re.compile(re.escape(composed(entry.name)) + "_[0-9]{4,}")
            files = [
                file
                for file in os.scandir(entry.path)
                if file.is_file() and named.fullmatch(composed(Path(file.name).stem))
            ]
            for file in files[:1]:
                with open(file.path, "rb") as opened:
                    if told := name_foreign(opened.read(HEAD)):
                        return f"a folder of people, but {quoted(file.name, 50)} is {told}"
        except OSError:
            continue
    return ""


def _is_archive(path):
    if zipfile.is_zipfile(path):
        return True
    with open(path, "rb") as file:
        start = file.read(tarfile.BLOCKSIZE)
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
        return True
    try:
        return bool(tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape"))
    except tarfile.HeaderError:
        return False


def _no_archive(path):
    with open(path, "rb") as file:
        start = file.read(4096)
    return mistaken(start) or (
        "an empty file"
        if not start
        else "a picture"
        if _is_picture(path.name)
        else "not an archive, damaged or cut short"
    )


def _find_source(dataset, given, explicit):
    """The archive or folder to read. A folder that only $LFWSTUDY_DATA names need not hold every data set."""
    found = _candidates(dataset, given) if given else []
    if found:
        return found[0]
    if given and (explicit or dataset.download is None):
        raise DataError(_what_is_there(dataset, given))
    if dataset.download is None:
        raise DataError(
            f"{dataset.name} cannot be downloaded by this program. {dataset.how} Put "
            f"{dataset.archives[0]} (or the unpacked folder {dataset.folders[0]}/) with the pair files "
            "into a folder and give that folder with --data-dir or $LFWSTUDY_DATA."
        )
    return fetch(dataset.archives[0], dataset.download)


def _what_is_there(dataset, given):
    """The message where no pictures of a data set were found: what was found instead, and what to do with it."""
    told = {}  # a hint once for each other data set
    # First what was meant to be this data set, then other data sets, then what may be one.
    for one in sorted(_survey(given), key=lambda one: (one.variant != dataset.name, not one.variant)):
        name = "it" if one.path == given else one.path.relative_to(given).as_posix() + "/" * one.path.is_dir()
        name = one_line(name) if len(name) <= 60 else f"...{one_line(name[-57:])}"
        if one.problem:
            told.setdefault(name, f"{name} is {one.problem}")
        elif one.variant not in (None, dataset.name):
            told.setdefault(
                one.variant, f"{name} holds {one.variant}, as its folder is called: use --dataset {one.variant}"
            )
        else:
            told.setdefault(name, f"{name} may hold {dataset.name}: if so, give it as --data-dir")
    if told:
        return f"{given}: no pictures of {dataset.name} found, but {_some([*told.values()], 2)}"
    looked = ", ".join([*dataset.archives, *(f"{f}/" for f in dataset.folders)])
    return (
        f"{given}: no pictures of {dataset.name} found. Looked for {looked}, a bank file (*.npz), and folders "
        "NAME/NAME_0001.jpg"
    )


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
        for path, read in _archive_files(source):
            if name := _name_of(path, source):
                yield name, read()
    except DataError:
        raise
    except Exception as error:
        if is_the_machines(error):
            raise
        raise DataError(
            f"{source}: not a readable archive, damaged or cut short ({one_line(error)[:100]}); get it again, or "
            "remove it where an unpacked folder beside it is whole"
        ) from error


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


def _archive_files(source):
    """(path, function that reads it) of every file in an archive."""
    return (_zip_files if zipfile.is_zipfile(source) else _tar_files)(source)


def _tar_files(source):
    with open(source, "rb") as file:
        magic = file.read(2)
    unpack = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}.get(magic, open)
    with unpack(source, "rb") as stream:
        measured, total = _Measured(stream, source), 0
        with tarfile.open(fileobj=measured, mode="r|") as archive:
            for count, member in enumerate(archive):
                total = _check_member(source, count, member.name, member.size, total)
                if not (member.isfile() or member.isdir()):
                    raise DataError(
                        f"{source}: member {quoted(member.name)} is a link or a device; no data set has such"
                    )
                if member.isfile():
                    yield PurePosixPath(member.name), archive.extractfile(member).read
                measured.given = 0


def _zip_files(source):
    def read(member):
        with archive.open(member) as file:
            content = file.read(_MAX_MEMBER_BYTES + 1)
        if len(content) != member.file_size:
            raise DataError(f"{source}: member {quoted(member.filename)} is larger than it says")
        return content

    with zipfile.ZipFile(source) as archive:
        total = 0
        for count, member in enumerate(archive.infolist()):
            total = _check_member(source, count, member.filename, member.file_size, total)
            if S_ISLNK(member.external_attr >> 16):
                raise DataError(
                    f"{source}: member {quoted(member.filename)} is a link or a device; no data set has such"
                )
            if not member.is_dir():
                yield PurePosixPath(member.filename), partial(read, member)


def _check_member(source, count, name, size, total):
    """Refuse what no archive of faces has: paths out of the tree, far too many or far too large members."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise DataError(f"{source}: member {quoted(name)} points out of the archive; refused")
    total += size
    most = min(_MAX_TOTAL_BYTES, _FREE_BYTES + _MAX_RATIO * source.stat().st_size)
    if count >= _MAX_MEMBERS or not 0 <= size <= _MAX_MEMBER_BYTES or total > most:
        raise DataError(
            f"{source}: member {quoted(name)} ({size:,} bytes, {total:,} in all) is more than an archive of "
            "faces holds; refused"
        )
    return total


def _name_of(path, source):
    """Picture name of a path .../NAME/NAME_0001.jpg, None for anything else. Raises DataError where NAME is none."""
    name = _picture_of(path)
    if name and not is_name(composed(path.parts[-2])):
        raise DataError(
            f"{source}: {quoted(str(path))}: {quoted(path.parts[-2])} is no person's name; rename or remove it"
        )
    return name


def _picture_of(path):
    """Picture name of a path .../NAME/NAME_0001.jpg, None for anything else."""
    if not _is_picture(path.name) or len(path.parts) < 2:
        return None
    person, stem = composed(path.parts[-2]), composed(path.stem)
    return stem if re.fullmatch(re.escape(person) + "_[0-9]{4,}", stem) else None


def _is_picture(name):
    return PurePosixPath(name).suffix.lower() in suffixes()
