"""Where are the pair and people files? In the user's folder or archive, as text or CSV, or downloaded."""

import hashlib
import os
import zipfile
from pathlib import Path, PurePosixPath

from lfwstudy.data.archives import _MAX_MEMBER_BYTES
from lfwstudy.data.cache import cache_folder
from lfwstudy.data.download import fetch
from lfwstudy.data.pair_csv import from_csv
from lfwstudy.data.registry import DATASETS, PAIR_FILES, resolve_data_dir
from lfwstudy.data.survey import candidates
from lfwstudy.errors import DataError, is_the_machines, one_line, quoted
from lfwstudy.system.files import replacing


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
    for source in candidates(DATASETS[dataset], given):
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
