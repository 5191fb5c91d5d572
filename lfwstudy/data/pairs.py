"""Which pairs? Readers of LFW's View 1, View 2 and people files."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lfwstudy.data.filetypes import not_a_data_file
from lfwstudy.errors import DataError, quoted
from lfwstudy.system.files import FORMULA


@dataclass(frozen=True)
class Pairs:
    """Pairs of pictures in the order of their file.

    left, right: picture names (`NAME_0001`), str arrays of shape (n,).
    label: uint8 array of shape (n,); 1 is the same person.
    line: int array of shape (n,), the line number in the file, its header being line 1.
    fold: int array of shape (n,), 1 to 10 under View 2, 0 under View 1.
    """

    left: np.ndarray
    right: np.ndarray
    label: np.ndarray
    line: np.ndarray
    fold: np.ndarray

    def __len__(self):
        return len(self.label)

    def take(self, rows):
        """The pairs of the given row numbers (or boolean mask), in that order."""
        return Pairs(self.left[rows], self.right[rows], self.label[rows], self.line[rows], self.fold[rows])

    def names(self):
        """The different pictures that the pairs name, sorted: str array."""
        return np.unique(np.concatenate([self.left, self.right]))

    def people(self):
        """Names of the two people of each pair: str array of shape (n, 2)."""
        return np.stack([person_of(self.left), person_of(self.right)], axis=1)

    def content(self):
        """Lines that say what the pairs are, for digests."""
        return [f"{a}\t{b}\t{y}\t{f}" for a, b, y, f in zip(self.left, self.right, self.label, self.fold)]


def person_of(pictures):
    """The person's name of each picture name: `Ada_Lovelace_0001` is of `Ada_Lovelace`."""
    return np.array([picture.rpartition("_")[0] for picture in pictures], dtype=np.str_)


def is_name(person):
    """Whether a text can be a person's name: nothing in it acts in a path, a log, a terminal or a spreadsheet."""
    return (
        bool(person)
        and person == person.strip()
        and person.isprintable()
        and person not in (".", "..")
        and not re.search(r"[/\\]", person)
        and not FORMULA.search(person)
        and len(person) <= 200
    )


def nfc(name: str) -> str:
    """A name in Unicode's composed form (NFC), in which names are kept and compared: file systems spell accents in two ways."""
    return unicodedata.normalize("NFC", name)


def image_name(person, number):
    """LFW's name of a person's picture, without suffix."""
    return f"{person}_{number:04d}"


def concatenate(parts):
    """One `Pairs` from several."""
    return Pairs(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("left", "right", "label", "line", "fold"))
    )


def read_view1(path):
    """Pairs of a View 1 file (pairsDevTrain.txt, pairsDevTest.txt). Raises DataError with file, line and value."""
    lines = _read_lines(path)
    (count,) = _read_header(path, lines, 1)
    return _build(_read_block(path, lines, 1, count, fold=0, last=True))


def read_view2(path):
    """Pairs of the View 2 file (pairs.txt), `fold` 1 to the number of sets. Raises DataError."""
    lines = _read_lines(path)
    folds, count = _read_header(path, lines, 2)
    rows, start = [], 1
    for fold in range(1, folds + 1):
        rows += _read_block(path, lines, start, count, fold, last=fold == folds)
        start += 2 * count
    return _build(rows)


def read_people(path):
    """Sets of people: a list with one dict from name to number of pictures per set.

    people.txt holds ten sets; peopleDevTrain.txt and peopleDevTest.txt hold one. Raises DataError.
    """
    lines = _read_lines(path)
    header = _read_header(path, lines, 1)[0]
    if len(lines) > 1 and "\t" in lines[1]:
        sizes, start = [header], 1
    else:
        sizes, start = [None] * header, 1
    sets, seen = [], {}
    for size in sizes:
        if size is None:
            if start >= len(lines):
                raise DataError(f"{path}, line {start + 1}: a set's number of people expected, the file ends")
            size = _positive(path, start + 1, lines[start])
            start += 1
        members = {}
        for at in range(start, start + size):
            if at >= len(lines):
                raise DataError(f"{path}, line {at + 1}: {size} people announced, the file ends after {at - start}")
            fields = lines[at].split("\t")
            if len(fields) != 2:
                raise DataError(f"{path}, line {at + 1}: 'NAME<TAB>number' expected, got {quoted(lines[at])}")
            name = _name(path, at + 1, fields[0])
            if name in seen:
                raise DataError(f"{path}, line {at + 1}: {quoted(name)} stands on line {seen[name]} already")
            seen[name] = at + 1
            members[name] = _positive(path, at + 1, fields[1])
        sets.append(members)
        start += size
    _expect_end(path, lines, start)
    return sets


def _read_lines(path):
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder, where a pair or people file is expected") from None
    return _lines(path, content)


def _lines(path, content):
    """The lines of a text file, without what spreadsheets pad them with."""
    if told := not_a_data_file(content):
        raise DataError(f"{path}: {told}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x}); save the file as UTF-8"
        ) from None
    # Of Unix, Windows (also doubled) and old Macs; str.splitlines would also break names at rarer separators.
    lines = [line.rstrip("\t ") for line in re.split("\r*\n|\r", text)]
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError(f"{path}: empty file")
    return lines


def _read_header(path, lines, numbers):
    fields = lines[0].split("\t")
    if len(fields) != numbers:
        what = "a number" if numbers == 1 else "'folds<TAB>pairs'"
        raise DataError(f"{path}, line 1: {what} expected, got {quoted(lines[0])}")
    return [_positive(path, 1, value) for value in fields]


def _read_block(path, lines, start, count, fold, last):
    rows = []
    for at in range(start, start + 2 * count):
        matched = at < start + count
        if at >= len(lines):
            raise DataError(
                f"{path}, line {at + 1}: {count} matched and {count} mismatched pairs expected"
                f"{f' in fold {fold}' if fold else ''}, the file ends after {at - start} pairs"
            )
        rows.append((*_read_pair(path, at + 1, lines[at], matched), int(matched), at + 1, fold))
    if last:
        _expect_end(path, lines, start + 2 * count)
    return rows


def _read_pair(path, number, line, matched):
    fields = line.split("\t")
    if len(fields) != (3 if matched else 4):
        form = "NAME<TAB>i<TAB>j" if matched else "NAME<TAB>i<TAB>NAME<TAB>j"
        hint = " (fields are separated by tabs)" if "\t" not in line and " " in line else ""
        raise DataError(
            f"{path}, line {number}: a {'matched' if matched else 'mismatched'} pair "
            f"'{form}' expected, got {quoted(line)}{hint}"
        )
    if matched:
        fields = [fields[0], fields[1], fields[0], fields[2]]
    people = [_name(path, number, fields[i]) for i in (0, 2)]
    if not matched and people[0] == people[1]:
        raise DataError(f"{path}, line {number}: a mismatched pair of one person, {quoted(people[0])}")
    left, right = (image_name(p, _positive(path, number, fields[i])) for p, i in zip(people, (1, 3)))
    if left == right:
        raise DataError(f"{path}, line {number}: a matched pair of one picture with itself, {quoted(left)}")
    return left, right


def _name(path, number, name):
    if not is_name(nfc(name)):
        raise DataError(f"{path}, line {number}: {quoted(name)} is no person's name")
    return nfc(name)


def _positive(path, number, value):
    # Blanks alone: str.strip takes off separators that int() then refuses.
    if not re.fullmatch(r" *[0-9]{1,7} *", value) or int(value) < 1:
        raise DataError(f"{path}, line {number}: a whole number of at least 1 expected, got {quoted(value)}")
    return int(value)


def _expect_end(path, lines, at):
    if len(lines) > at:
        raise DataError(f"{path}, line {at + 1}: the file goes on after what its header announces: {quoted(lines[at])}")


def _build(rows):
    left, right, label, line, fold = zip(*rows)
    return Pairs(
        np.array(left, np.str_),
        np.array(right, np.str_),
        np.array(label, np.uint8),
        np.array(line, np.int64),
        np.array(fold, np.int64),
    )
