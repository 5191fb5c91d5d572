"""Find the pair and people files: in the user's folder or archive, as text or CSV, or by download."""

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from lfwstudy.data.archives import MAX_MEMBER_BYTES
from lfwstudy.data.cache import cache_folder
from lfwstudy.data.download import fetch
from lfwstudy.data.pair_csv import from_csv
from lfwstudy.data.registry import DATASETS, PAIR_FILES, resolve_data_dir
from lfwstudy.data.survey import candidates
from lfwstudy.errors import DataError, one_line, reading
from lfwstudy.system.files import replacing

OWN_VIEW2 = "View 2 and the split folds need 20 people, 10 with two images"


def pair_file(name: str, dataset: str, data_dir: str = "") -> Path:
    """Path of a pair or people file: in the data folder, next to it, or downloaded. Raises DataError."""
    folder = resolve_data_dir(dataset, data_dir)
    if here := _local_pair_file(name, dataset, folder):
        return here
    if dataset == "folder":
        raise DataError(f"{name} is not made for this folder: {OWN_VIEW2}")
    if name not in PAIR_FILES:
        raise DataError(
            f"{name} is needed and not in {folder or 'a --data-dir'}: put LFW's {name} next to the pair files and give "
            "that folder with --data-dir (no verified download is available)"
        )
    return fetch(name, PAIR_FILES[name])


def has_pair_file(name: str, dataset: str, data_dir: str = "") -> bool:
    """Whether a pair or people file is available without a download."""
    return _local_pair_file(name, dataset, resolve_data_dir(dataset, data_dir)) is not None


def _local_pair_file(name: str, dataset: str, given: Path | None) -> Path | None:
    """Path of a pair or people file in the user's folder or archive, or None. CSV files and members of a zip archive are
    written to the cache as LFW's own text."""
    return (
        next(filter(None, (_pair_file_at(name, place) for place in _places(dataset, given))), None) if given else None
    )


def _places(dataset: str, given: Path) -> Iterator[Path]:
    """Folders and archives that may hold the pair files: the user's folder, its folder of images, its parent."""
    base = given if given.is_dir() else given.parent
    if dataset == "folder":
        yield base
        return
    yield from (base, base / dataset, base.parent)
    if base.name == base.parent.name:  # Kaggle nests a folder in one of the same name
        yield base.parent.parent
    for source in candidates(DATASETS[dataset], given):
        yield from (source, *(parent for parent in source.parents if parent.is_relative_to(base)))


def _pair_file_at(name: str, place: Path) -> Path | None:
    """Path of a pair or people file in one folder or zip archive, or None."""
    files, title = _files_at(place), name.removesuffix(".txt")
    if found := files.get(name.lower()):
        return found if isinstance(found, Path) else _in_cache(name, _read(found))
    for parts in ((f"match{title}.csv", f"mismatch{title}.csv"), (f"{title}.csv",)):
        there = [files[part.lower()] for part in parts if part.lower() in files]
        if len(there) == len(parts):
            return _in_cache(name, from_csv(name, [(str(file), _read(file)) for file in there]).encode())
        if there:
            raise DataError(f"{there[0]}: needs {' and '.join(parts)}, one of which is missing")
    return None


def _files_at(place: Path) -> dict[str, Path | zipfile.Path]:
    """The files of a folder or zip archive by lower-case name; empty if they cannot be listed."""
    # A faulty archive is reported when its images are read.
    with suppress(PermissionError, DataError), reading(str(place)):
        if place.is_dir():
            return {entry.name.lower(): place / entry.name for entry in os.scandir(place) if entry.is_file()}
        if place.is_file() and zipfile.is_zipfile(place):
            archive = zipfile.Path(place)
            members = [m.filename for m in archive.root.infolist() if 0 < m.file_size <= MAX_MEMBER_BYTES]
            texts = [name for name in members if name.lower().endswith((".txt", ".csv"))]
            return {PurePosixPath(name).name.lower(): archive / name for name in texts}
    return {}


def _read(file: Path | zipfile.Path) -> bytes:
    with reading(f"{one_line(file)}: cannot be read"):
        return file.read_bytes()


def _in_cache(name: str, content: bytes) -> Path:
    path = cache_folder() / "pairs" / hashlib.sha256(content).hexdigest()[:12] / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    return path
