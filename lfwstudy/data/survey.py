"""Search a user's folder for the images of a data set, and say what is there instead."""

import os
import re
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from lfwstudy.data.archives import image_name_of, is_archive, is_image, members, why_no_archive
from lfwstudy.data.cache import fetch
from lfwstudy.data.registry import DATASETS, Dataset
from lfwstudy.errors import DataError, first_few, one_line, quoted

_ARCHIVE = re.compile(r"\.(tgz|tbz2?|txz|tar|zip|7z|rar|tar\.(gz|bz2|xz|zst))$", re.IGNORECASE)

# How far a data folder is searched: levels of folders, folders in all, and entries of one that may be a person.
_MAX_DEPTH, _MAX_FOLDERS, _MAX_TRIED = 3, 300, 200


def find_source(dataset: Dataset, given: Path | None, explicit: bool) -> Path:
    """The archive or folder to read; downloaded if nothing is given and a download is known.

    explicit: the folder was given for this data set. One from $LFWSTUDY_DATA need not hold every data set.

    Raises
    ------
    DataError
        Says what was found instead, or how to supply the data set.
    """
    if given and (found := candidates(dataset, given)):
        return found[0]
    if given and (explicit or not dataset.published.url):
        raise DataError(_what_is_there(dataset, given))
    if not dataset.published.url:
        raise DataError(
            f"{dataset.name}: {dataset.how} Put {dataset.archive} or the unpacked folder {dataset.folders[0]}/ into a folder, "
            "with the pair files, and give that folder with --data-dir or $LFWSTUDY_DATA."
        )
    return fetch(dataset.archive, dataset.published)


def candidates(dataset: Dataset, given: Path) -> list[Path]:
    """Archives and folders of a data set in the user's folder, best first."""
    if dataset.name in ("demo", "folder"):
        return [made] if (made := given / dataset.name).is_dir() else []
    return [found.path for found in _survey(given) if _is_of(found, dataset, given)]


@dataclass(frozen=True)
class _Found:
    """Something in a data folder: readable images, or what it seems to be instead (`problem`).

    variant: the data set according to the names of its folders; None if they do not tell.
    """

    path: Path
    variant: str | None
    problem: str = ""


def _what_is_there(dataset: Dataset, given: Path) -> str:
    """The message if no images of a data set were found: what was found instead, and what to do."""
    told: dict[str, str] = {}  # a hint once for each other data set
    # First attempts at this data set, then other data sets, then candidates.
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
    # A subfolder, say with half the people, does not count as the whole that its parent's name promises.
    return found.variant is not None and (found.path.is_file() or _variant(_names(found.path)) is not None)


def _survey(given: Path) -> list[_Found]:
    """Everything in the user's folder that may be a data set.

    Archives come first, since a folder next to one may be half unpacked; then nearer before deeper. The folder itself is
    last: its contents are named more precisely.
    """
    if given.is_file():
        return _survey_archive(given, look=True) if given.suffix != ".npz" else []
    found = list(_survey_folders(given))
    return sorted(found, key=lambda one: (not one.path.is_file(), one.path == given))


def _survey_folders(given: Path) -> Iterator[_Found]:
    # Folders with the names on the path to them and their depth.
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
        holds_people = _hold_people(folders[:_MAX_TRIED])
        if holds_people:
            yield _Found(here, _variant(names or _names(here)) or _variant_of_parent(here))
        elif flat := next(filter(is_image, files), None):
            told = f"a folder of images such as {quoted(flat, 50)}, not NAME/NAME_0001.jpg; any name: --dataset folder"
            yield _Found(here, None, told)
        if depth < _MAX_DEPTH:
            within = [(folder, _names(folder)) for folder in folders]
            waiting += [(f, (*names, *own), depth + 1) for f, own in within if not holds_people or _variant(own)]


def _survey_archive(path: Path, look: bool = False) -> list[_Found]:
    """An archive as a list of one _Found; empty if it holds no faces."""
    names = _names(path)
    if not is_archive(path):
        return [_Found(path, _variant(names), why_no_archive(path))]
    look = look or _variant(names) is not None
    # A tar file has no index. One with a general name is opened only if the user asked for it.
    if not (look or zipfile.is_zipfile(path)):
        return [_Found(path, None)]
    try:
        inner = next((member.parts[:-2] for member, _ in members(path) if image_name_of(member)), None)
    except Exception:  # reported when it is read
        inner = ()
    return [_Found(path, _variant((*names, *(inner or ()))))] if look or inner is not None else []


def _hold_people(folders: Sequence[Path]) -> bool:
    """Whether some folders are a person's: NAME with NAME_0001.jpg in it."""
    for folder in folders:
        with suppress(OSError):
            if any(image_name_of(PurePath(folder.name, file.name)) for file in os.scandir(folder) if file.is_file()):
                return True
    return False


def _names(path: Path) -> tuple[str, ...]:
    """The names of a folder or archive: its own and, for a link, that of its target."""
    return tuple(_ARCHIVE.sub("", one.name) for one in dict.fromkeys((path, path.resolve())))


def _variant(names: Sequence[str]) -> str | None:
    """The data set named by the last telling one of some folders' names, or None."""
    known = {_letters(name): dataset.name for dataset in DATASETS.values() for name in dataset.folders}
    for name in map(_letters, reversed(names)):
        for part, variant in (("deepfunnel", "lfw-deepfunneled"), ("funnel", "lfw-funneled")):
            if part in name:
                return variant
        if name in known:
            return known[name]
    return None


def _variant_of_parent(folder: Path) -> str | None:
    """The data set that the parent folder's name tells, unless it is general: many keep everything in ~/lfw."""
    variant = _variant(_names(folder.parent))
    return variant if variant != "lfw" else None


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
