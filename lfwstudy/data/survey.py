"""What does a user's folder hold? The images of a data set, or what is there instead."""

import os
import re
import zipfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lfwstudy.data.archives import image_name_of, is_archive, is_image, members, why_no_archive
from lfwstudy.data.download import fetch
from lfwstudy.data.filetypes import HEAD, not_an_image
from lfwstudy.data.pairs import nfc
from lfwstudy.data.registry import DATASETS
from lfwstudy.errors import DataError, one_line, quoted

_ARCHIVE = re.compile(r"\.(tgz|tbz2?|txz|tar|zip|7z|rar|tar\.(gz|bz2|xz|zst))$", re.IGNORECASE)


# How far a data folder is searched: levels of folders, folders in all, and entries of one that may be a person.
_MAX_DEPTH, _MAX_FOLDERS, _MAX_TRIED = 3, 300, 200


def find_source(dataset, given, explicit):
    """The archive or folder to read. A folder that only $LFWSTUDY_DATA names need not hold every data set."""
    found = candidates(dataset, given) if given else []
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
        return f"{given}: no pictures of {dataset.name} found, but {first_few([*told.values()], 2)}"
    looked = ", ".join([*dataset.archives, *(f"{f}/" for f in dataset.folders)])
    return (
        f"{given}: no pictures of {dataset.name} found. Looked for {looked}, a bank file (*.npz), and folders "
        "NAME/NAME_0001.jpg"
    )


def first_few(things, most=3):
    """The first of several things, and how many there are more."""
    return "; ".join(things[:most]) + (f"; and {len(things) - most} more" if len(things) > most else "")


@dataclass(frozen=True)
class _Found:
    """Something in a data folder: pictures that can be read (`variant` is None where no name says of which data set), or
    what they seem to be instead (`problem`)."""

    path: Path
    variant: str | None
    problem: str = ""


def candidates(dataset, given):
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
        elif flat := next((entry.name for entry in files if is_image(entry.name)), None):
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
    if not is_archive(path):
        return [_Found(path, _variant(names), why_no_archive(path))]
    # A tar file has no list of its members. One that by its name may be anything is opened only where it is asked for.
    if not (look or _variant(names) or zipfile.is_zipfile(path)):
        return [_Found(path, None)]
    try:
        inner = next((member.parts[:-2] for member, _ in members(path) if image_name_of(member)), None)
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
            if any(image_name_of(PurePosixPath(entry.name, file.name)) for file in os.scandir(entry.path)):
                return True
        except OSError:
            continue
    return False


def _foreign_people(folders):
    """What the images in people's folders are where they are none that is read; "" elsewhere."""
    for entry in folders[:_MAX_TRIED]:
        try:
            named = re.compile(re.escape(nfc(entry.name)) + "_[0-9]{4,}")
            files = [
                file for file in os.scandir(entry.path) if file.is_file() and named.fullmatch(nfc(Path(file.name).stem))
            ]
            for file in files[:1]:
                with open(file.path, "rb") as opened:
                    if told := not_an_image(opened.read(HEAD)):
                        return f"a folder of people, but {quoted(file.name, 50)} is {told}"
        except OSError:
            continue
    return ""
