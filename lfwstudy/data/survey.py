"""What does a user's folder hold? The images of a data set, or what is there instead."""

import os
import re
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lfwstudy.data.archives import image_name_of, is_archive, is_image, members, why_no_archive
from lfwstudy.data.download import fetch
from lfwstudy.data.filetypes import HEAD, not_an_image
from lfwstudy.data.pairs import nfc
from lfwstudy.data.registry import DATASETS, Dataset
from lfwstudy.errors import DataError, one_line, quoted

_ARCHIVE = re.compile(r"\.(tgz|tbz2?|txz|tar|zip|7z|rar|tar\.(gz|bz2|xz|zst))$", re.IGNORECASE)

# How far a data folder is searched: levels of folders, folders in all, and entries of one that may be a person.
_MAX_DEPTH, _MAX_FOLDERS, _MAX_TRIED = 3, 300, 200


def find_source(dataset: Dataset, given: Path | None, explicit: bool) -> Path:
    """The archive or folder to read; downloaded where nothing is given and it can be.

    explicit: the folder was given for this data set. One that only $LFWSTUDY_DATA names need not hold every data set.

    Raises
    ------
    DataError
        Saying what was found instead, or how to supply the data set.
    """
    if given and (found := candidates(dataset, given)):
        return found[0]
    if given and (explicit or not dataset.published.url):
        raise DataError(_what_is_there(dataset, given))
    if not dataset.published.url:
        raise DataError(
            f"{dataset.name} cannot be downloaded by this program. {dataset.how} Put {dataset.archive} (or the unpacked "
            f"folder {dataset.folders[0]}/) with the pair files into a folder and give that folder with --data-dir or "
            "$LFWSTUDY_DATA."
        )
    return fetch(dataset.archive, dataset.published)


def candidates(dataset: Dataset, given: Path) -> list[Path]:
    """Archives and folders of a data set in what the user gave, best first."""
    if dataset.name == "demo":
        return [given / "demo"]
    return [found.path for found in _survey(given) if _is_of(found, dataset, given)]


def first_few(texts: Sequence[str], most: int = 3) -> str:
    """The first of several texts, and how many there are more."""
    return "; ".join(texts[:most]) + (f"; and {len(texts) - most} more" if len(texts) > most else "")


@dataclass(frozen=True)
class _Found:
    """Something in a data folder: images that can be read, or what they seem to be instead (`problem`).

    variant: the data set that the names of its folders say; None where they say none.
    """

    path: Path
    variant: str | None
    problem: str = ""


def _what_is_there(dataset: Dataset, given: Path) -> str:
    """The message where no images of a data set were found: what was found instead, and what to do with it."""
    told: dict[str, str] = {}  # a hint once for each other data set
    # First what was meant to be this data set, then other data sets, then what may be one.
    for one in sorted(_survey(given), key=lambda one: (one.variant != dataset.name, not one.variant)):
        name = "it" if one.path == given else one.path.relative_to(given).as_posix() + "/" * one.path.is_dir()
        name = one_line(name) if len(name) <= 60 else f"...{one_line(name[-57:])}"
        if one.problem:
            told.setdefault(name, f"{name} is {one.problem}")
        elif one.variant in (None, dataset.name):
            told.setdefault(name, f"{name} may hold {dataset.name}: if so, give it as --data-dir")
        else:
            hint = f"{name} holds {one.variant}, as its folder is called: use --dataset {one.variant}"
            told.setdefault(str(one.variant), hint)
    if told:
        return f"{given}: no images of {dataset.name} found, but {first_few([*told.values()], 2)}"
    looked = ", ".join([dataset.archive, *(f"{folder}/" for folder in dataset.folders)])
    return (
        f"{given}: no images of {dataset.name} found. Looked for {looked}, a bank file (*.npz), and folders "
        "NAME/NAME_0001.jpg"
    )


def _is_of(found: _Found, dataset: Dataset, given: Path) -> bool:
    if found.problem or found.variant not in (None, dataset.name):
        return False
    if found.path == given:
        return True
    # A folder within, say of half the people, is not taken for the whole that the folder above it is called.
    return found.variant is not None and (found.path.is_file() or _variant(_names(found.path)) is not None)


def _survey(given: Path) -> list[_Found]:
    """What the user's folder holds that may be a data set.

    Archives come first, as a folder next to one may be half unpacked; then the nearer first. The folder itself is last: what
    it holds says more of its name.
    """
    if given.is_file():
        return _survey_archive(given, look=True) if given.suffix != ".npz" else []
    found = list(_survey_folders(given))
    return sorted(found, key=lambda one: (not one.path.is_file(), one.path == given))


def _survey_folders(given: Path) -> Iterator[_Found]:
    # Folders, with the names on the way to them and their depth.
    waiting: deque[tuple[Path, tuple[str, ...], int]] = deque([(given, (), 0)])
    for _ in range(_MAX_FOLDERS):
        if not waiting:
            return
        here, names, depth = waiting.popleft()
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError:
            continue
        files = [entry.name for entry in entries if entry.is_file()]
        folders = [here / e.name for e in entries if e.is_dir() and not e.name.startswith((".", "__"))]
        for name in filter(_ARCHIVE.search, files):
            yield from _survey_archive(here / name)
        holds_people, problem = _people_in(folders[:_MAX_TRIED])
        if holds_people:
            yield _Found(here, _variant(names or _names(here)) or _variant_of_parent(here))
        elif flat := next(filter(is_image, files), None):
            yield _Found(here, None, f"a folder of images such as {quoted(flat, 50)}, not NAME/NAME_0001.jpg")
        elif problem:
            yield _Found(here, None, problem)
        if depth < _MAX_DEPTH:
            within = [(folder, _names(folder)) for folder in folders]
            waiting += [(f, (*names, *own), depth + 1) for f, own in within if not holds_people or _variant(own)]


def _survey_archive(path: Path, look: bool = False) -> list[_Found]:
    """An archive as a list of one _Found, or of none where there are no faces in it."""
    names = _names(path)
    if not is_archive(path):
        return [_Found(path, _variant(names), why_no_archive(path))]
    look = look or _variant(names) is not None
    # A tar file has no list of its members. One that by its name may be anything is opened only where it is asked for.
    if not (look or zipfile.is_zipfile(path)):
        return [_Found(path, None)]
    try:
        inner = next((member.parts[:-2] for member, _ in members(path) if image_name_of(member)), None)
    except Exception:  # what is wrong with it is said when it is read
        inner = ()
    return [_Found(path, _variant((*names, *(inner or ()))))] if look or inner is not None else []


def _people_in(folders: Sequence[Path]) -> tuple[bool, str]:
    """Whether some of the folders are people's: NAME with NAME_0001.jpg in it. Else what an image in one is instead, if its
    first bytes tell."""
    problem = ""
    for folder in folders:
        try:
            files = [PurePosixPath(folder.name, entry.name) for entry in os.scandir(folder) if entry.is_file()]
            if any(map(image_name_of, files)):
                return True, ""
            named = re.compile(re.escape(nfc(folder.name)) + "_[0-9]{4,}")
            file = next((file for file in files if named.fullmatch(nfc(file.stem))), None)
            if file and not problem:
                with open(folder / file.name, "rb") as opened:
                    told = not_an_image(opened.read(HEAD))
                problem = f"a folder of people, but {quoted(file.name, 50)} is {told}" if told else ""
        except OSError:
            continue
    return False, problem


def _names(path: Path) -> tuple[str, ...]:
    """The names that a folder or archive goes by: its own, and where it is a link, that of what it leads to."""
    return tuple(_ARCHIVE.sub("", one.name) for one in dict.fromkeys((path, path.resolve())))


def _variant(names: Sequence[str]) -> str | None:
    """The data set that the last telling one of some folders' names is of; None."""
    known = {_letters(name): dataset.name for dataset in DATASETS.values() for name in dataset.folders}
    for name in map(_letters, reversed(names)):
        for part, variant in (("deepfunnel", "lfw-deepfunneled"), ("funnel", "lfw-funneled")):
            if part in name:
                return variant
        if name in known:
            return known[name]
    return None


def _variant_of_parent(folder: Path) -> str | None:
    """The data set that the folder above is of, where its name is no general one: many keep everything in ~/lfw."""
    variant = _variant(_names(folder.parent))
    return variant if variant != "lfw" else None


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
