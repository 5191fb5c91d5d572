"""Find the pair and people files: in the user's folder or archive, as text or CSV, or by download."""

import csv
import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from lfwstudy.data.archives import MAX_MEMBER_BYTES
from lfwstudy.data.cache import cache_folder, fetch
from lfwstudy.data.pairs import as_count, as_name, as_pair, text_lines
from lfwstudy.data.registry import DATASETS, PAIR_FILES, resolve_data_dir
from lfwstudy.data.survey import candidates
from lfwstudy.errors import DataError, one_line, quoted, reading
from lfwstudy.system.files import replacing

# (path, place for messages, fields) of a row of a CSV file.
_Row = tuple[str, str, list[str]]
OWN_VIEW2 = "View 2 and the split folds need 20 people, 10 with two images"


def pair_file(name: str, dataset: str, data_dir: str = "") -> Path:
    """Path of a pair or people file: in the data folder, next to it, or downloaded. Raises DataError."""
    if here := local_pair_file(name, dataset, data_dir):
        return here
    if dataset == "folder":
        raise DataError(f"{name} is not made for this folder: {OWN_VIEW2}")
    if name not in PAIR_FILES:
        raise DataError(
            f"{name} is needed and not in {resolve_data_dir(dataset, data_dir) or 'a --data-dir'}: put LFW's {name} next to the pair files and give "
            "that folder with --data-dir (no verified download is available)"
        )
    return fetch(name, PAIR_FILES[name])


def local_pair_file(name: str, dataset: str, data_dir: str = "") -> Path | None:
    """Path of a pair or people file that is available without a download, or None.

    CSV files and members of a zip archive are written to the cache as LFW's own text.
    """
    given = resolve_data_dir(dataset, data_dir)
    return (
        next(filter(None, (_pair_file_at(name, place) for place in _places(dataset, given))), None) if given else None
    )


def from_csv(name: str, tables: list[tuple[str, bytes]]) -> str:
    """The original LFW text of a file that was republished as CSV, as Kaggle does.

    Parameters
    ----------
    name : the file's name in LFW: pairsDevTrain.txt, pairsDevTest.txt, pairs.txt, or a people file.
    tables : (path for messages, content) of the CSV files that make it up: the matched pairs before the mismatched.

    Raises
    ------
    DataError
        Names file, line and value.
    """
    rows = [row for path, content in tables for row in _csv_rows(path, content)]
    if not rows:
        raise DataError(f"{tables[0][0]}: no rows")
    return "\n".join((_people_lines if name.startswith("people") else _pair_lines)(name, rows)) + "\n"


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


def _csv_rows(path: str, content: bytes) -> Iterator[_Row]:
    """The rows without header, blank rows, and empty fields at the end of a row."""
    lines = text_lines(path, content)
    reader = csv.reader(lines, delimiter=max(",;\t", key=lines[0].count))
    try:
        for fields in reader:
            while fields and not fields[-1].strip():
                fields.pop()
            is_header = reader.line_num == 1 and not any(field.strip().isdigit() for field in fields)
            if fields and not is_header:
                yield path, f"{path}, line {reader.line_num}", fields
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not CSV ({one_line(error)})") from None


def _pair_lines(name: str, rows: list[_Row]) -> list[str]:
    blocks: list[list[str]] = []  # of matched and of mismatched pairs, in turn
    for _, at, fields in rows:
        matched, line = len(fields) == 3, "\t".join(fields)
        as_pair(line, matched, at)
        if len(blocks) % 2 != matched:
            blocks.append([])
        if not blocks:
            raise DataError(f"{at}: matched pairs come first, got {quoted(line)}")
        blocks[-1].append(line)
    folds, sizes = len(blocks) // 2, sorted({len(block) for block in blocks})
    several = name == "pairs.txt"
    if len(blocks) % 2 or len(sizes) > 1 or (folds > 1) != several:
        raise DataError(
            f"{rows[-1][0]}: {'several sets, each of' if several else 'one set of'} as many matched as mismatched pairs "
            f"expected, got {len(blocks)} blocks of {sizes[0]} to {sizes[-1]} pairs, matched and mismatched in turn"
        )
    return [f"{folds}\t{sizes[0]}" if several else str(sizes[0]), *(line for block in blocks for line in block)]


def _people_lines(name: str, rows: list[_Row]) -> list[str]:
    """Sets begin at a lone number or, if such lines were left out, where the alphabet starts over."""
    numbered = any(len(fields) == 1 for _, _, fields in rows)
    sets: list[list[str]] = [] if numbered else [[]]
    before = ""
    for _, at, fields in rows:
        if len(fields) == 1:
            as_count(fields[0], at)
            sets.append([])
            continue
        if len(fields) != 2 or not sets:
            raise DataError(f"{at}: 'NAME,number' expected, got {quoted(','.join(fields))}")
        if name == "people.txt" and not numbered and fields[0] < before:
            sets.append([])
        before = fields[0]
        sets[-1].append(f"{as_name(before, at)}\t{as_count(fields[1], at)}")
    sets = [people for people in sets if people]
    if name != "people.txt":
        return [str(sum(map(len, sets))), *(line for people in sets for line in people)]
    if len(sets) < 2:
        raise DataError(f"{rows[-1][0]}: several sets of people expected, one found; put LFW's people.txt next to it")
    return [str(len(sets)), *(line for people in sets for line in (str(len(people)), *people))]
