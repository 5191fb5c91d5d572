"""Readers of LFW's View 1, View 2 and people files."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path

import numpy as np

from lfwstudy.data.filetypes import not_a_data_file
from lfwstudy.errors import DataError, quoted
from lfwstudy.system.files import FORMULA


@dataclass(frozen=True)
class Pairs:
    """Pairs of images in the order of their file; arrays of shape (n,).

    left, right: image names (`NAME_0001`), str.
    label: uint8; 1 is the same person.
    line: int64, the line number in the file, its header being line 1.
    fold: int64, 1 to 10 under View 2, 0 under View 1.
    """

    left: np.ndarray
    right: np.ndarray
    label: np.ndarray
    line: np.ndarray
    fold: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: np.ndarray) -> "Pairs":
        """The pairs at the given row numbers (or boolean mask), in that order."""
        return Pairs(self.left[rows], self.right[rows], self.label[rows], self.line[rows], self.fold[rows])

    def names(self) -> np.ndarray:
        """The distinct images of the pairs, sorted: str array."""
        return np.unique(np.concatenate([self.left, self.right]))

    def people(self) -> np.ndarray:
        """Names of the two people of each pair: str array of shape (n, 2)."""
        return np.stack([person_of(self.left), person_of(self.right)], axis=1)

    def content(self) -> list[str]:
        """The pairs as lines of text, for digests."""
        return [f"{a}\t{b}\t{y}\t{f}" for a, b, y, f in zip(self.left, self.right, self.label, self.fold)]


def person_of(images: Iterable[str]) -> np.ndarray:
    """The person's name of each image name, a str array: `Ada_Lovelace_0001` is of `Ada_Lovelace`."""
    return np.array([image.rpartition("_")[0] for image in images], dtype=np.str_)


def is_name(person: str) -> bool:
    """Whether a text can be a person's name: harmless in paths, logs, terminals and spreadsheets."""
    return (
        0 < len(person) <= 200
        and person == person.strip()
        and person.isprintable()
        and person not in (".", "..")
        and not re.search(r"[/\\]", person)
        and not FORMULA.search(person)
    )


def nfc(name: str) -> str:
    """A name in Unicode's composed form (NFC), used for storing and comparing: file systems spell accents in two ways."""
    return unicodedata.normalize("NFC", name)


def image_name(person: str, number: int) -> str:
    """LFW's name of a person's image, without suffix."""
    return f"{person}_{number:04d}"


def image_names(people: Iterable[dict[str, int]]) -> list[str]:
    """Names of all images of sets of people, given as `read_people` returns them."""
    return [
        image_name(person, number)
        for members in people
        for person, count in members.items()
        for number in range(1, count + 1)
    ]


def people_lines(members: Iterable[str], counts: Mapping[str, int]) -> list[str]:
    """The lines of a set of people, sorted, with their numbers of images, as `read_people` reads them."""
    lines = [f"{name}\t{counts[name]}" for name in sorted(members)]
    return [str(len(lines)), *lines]


def calibration_pairs(images: np.ndarray, matched: int = 3, mismatched: int = 20_000) -> Pairs:
    """Pairs of images, given by name: up to `matched` of each person, and up to `mismatched` of different people.

    Which ones depends on the names alone. Line and fold are 0.
    """
    people, person = np.unique(person_of(images), return_inverse=True)  # the names of all pairs would take too much
    rows = (np.flatnonzero(person == one) for one in range(len(people)))
    same = [pair for of_one in rows for pair in islice(combinations(of_one, 2), matched)]
    pairs = np.stack(np.triu_indices(len(images), 1), axis=1)
    others = pairs[person[pairs[:, 0]] != person[pairs[:, 1]]]
    if len(others) > mismatched:
        others = others[np.sort(np.random.default_rng(83).choice(len(others), mismatched, replace=False))]
    left, right = np.concatenate([np.array(same, int).reshape(-1, 2), others]).T
    label = np.repeat(np.array([1, 0], np.uint8), [len(same), len(others)])
    return Pairs(images[left], images[right], label, *np.zeros((2, len(label)), int))


def read_view1(path: str | Path) -> Pairs:
    """Pairs of a View 1 file (pairsDevTrain.txt, pairsDevTest.txt). Raises DataError with file, line and value."""
    lines = _lines(path)
    return _read_pairs(path, lines, as_count(lines[0], f"{path}, line 1"))


def read_view2(path: str | Path) -> Pairs:
    """Pairs of the View 2 file (pairs.txt), `fold` 1 to the number of sets. Raises DataError with file, line and value."""
    lines, at = _lines(path), f"{path}, line 1"
    if lines[0].count("\t") != 1:
        raise DataError(f"{at}: 'folds<TAB>pairs' expected, got {quoted(lines[0])}")
    folds, count = (as_count(value, at) for value in lines[0].split("\t"))
    return _read_pairs(path, lines, count, folds)


def read_people(path: str | Path) -> list[dict[str, int]]:
    """Sets of people, each a dict from name to number of images. Raises DataError with file, line and value.

    people.txt holds ten sets; peopleDevTrain.txt and peopleDevTest.txt hold one.
    """
    lines = _lines(path)
    announced = as_count(lines[0], f"{path}, line 1")
    one_set = len(lines) > 1 and "\t" in lines[1]
    sets: list[dict[str, int]] = [{}] if one_set else []
    left, seen = announced if one_set else 0, dict[str, int]()
    for number, line in enumerate(lines[1:], start=2):
        at, fields = f"{path}, line {number}", line.split("\t")
        if not left:
            if one_set or len(sets) == announced:
                raise DataError(f"{at}: the file is longer than its header says: {quoted(line)}")
            left = as_count(line, at)
            sets.append({})
            continue
        if len(fields) != 2:
            raise DataError(f"{at}: 'NAME<TAB>number' expected, got {quoted(line)}")
        if (name := as_name(fields[0], at)) in seen:
            raise DataError(f"{at}: {quoted(name)} is already on line {seen[name]}")
        seen[name], sets[-1][name] = number, as_count(fields[1], at)
        left -= 1
    if left or len(sets) < (1 if one_set else announced):
        raise DataError(f"{path}, line {len(lines) + 1}: {left or 'a set of'} more people expected, the file ends")
    return sets


def text_lines(path: str | Path, content: bytes) -> list[str]:
    """The lines of a text file, without the padding of spreadsheets. Raises DataError if it is not UTF-8 text."""
    if told := not_a_data_file(content):
        raise DataError(f"{path}: {told}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} is {error.object[error.start]:#04x}"
        raise DataError(f"{path}: not UTF-8 text ({byte}); save the file as UTF-8") from None
    # Line ends of Unix, Windows (also doubled) and old Macs; str.splitlines would break names at rarer separators.
    lines = [line.rstrip("\t ") for line in re.split("\r*\n|\r", text)]
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError(f"{path}: empty file")
    return lines


def as_pair(line: str, matched: bool, at: str) -> tuple[str, str]:
    """The two images of a line. Raises DataError, with the place `at` in its message, if it is not a pair."""
    fields = line.split("\t")
    if len(fields) != (3 if matched else 4):
        form = "matched pair 'NAME<TAB>i<TAB>j'" if matched else "mismatched pair 'NAME<TAB>i<TAB>NAME<TAB>j'"
        hint = " (fields are separated by tabs)" if "\t" not in line and " " in line else ""
        raise DataError(f"{at}: a {form} expected, got {quoted(line)}{hint}")
    if matched:
        fields.insert(2, fields[0])
    one, other = (as_name(fields[i], at) for i in (0, 2))
    if not matched and one == other:
        raise DataError(f"{at}: a mismatched pair of one person, {quoted(one)}")
    left, right = image_name(one, as_count(fields[1], at)), image_name(other, as_count(fields[3], at))
    if left == right:
        raise DataError(f"{at}: a matched pair of one image with itself, {quoted(left)}")
    return left, right


def as_name(text: str, at: str) -> str:
    """A text as a person's name. Raises DataError, with the place `at` in its message, if it is not one."""
    if not is_name(nfc(text)):
        raise DataError(f"{at}: {quoted(text)} is not a person's name")
    return nfc(text)


def as_count(text: str, at: str) -> int:
    """A text as a number of at least 1. Raises DataError, with the place `at` in its message, if it is not one."""
    # Only blanks: str.strip would also remove separators that int() rejects.
    if not re.fullmatch(r" *[0-9]{1,7} *", text) or int(text) < 1:
        raise DataError(f"{at}: a whole number of at least 1 expected, got {quoted(text)}")
    return int(text)


def _lines(path: str | Path) -> list[str]:
    try:
        return text_lines(path, Path(path).read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder; a pair or people file is expected") from None


def _read_pairs(path: str | Path, lines: list[str], count: int, folds: int = 0) -> Pairs:
    """The pairs of View 2's `folds`, or of View 1: in each, `count` matched, then as many mismatched ones."""
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        fold, place = divmod(number - 2, 2 * count)
        at, matched = f"{path}, line {number}", place < count
        if fold >= (folds or 1):
            raise DataError(f"{at}: the file is longer than its header says: {quoted(line)}")
        rows.append((*as_pair(line, matched, at), matched, number, fold + 1 if folds else 0))
    if len(rows) < 2 * count * (folds or 1):
        where = f" in fold {len(rows) // (2 * count) + 1}" if folds else ""
        raise DataError(
            f"{path}, line {len(lines) + 1}: {count} matched and {count} mismatched pairs{where} expected, the file ends"
        )
    return Pairs(*map(np.array, zip(*rows), (np.str_, np.str_, np.uint8, np.int64, np.int64)))
