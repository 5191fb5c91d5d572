"""Pair and people files republished as CSV, such as Kaggle's copy."""

import csv
from collections.abc import Iterator

from lfwstudy.data.pairs import as_count, as_name, as_pair, text_lines
from lfwstudy.errors import DataError, one_line, quoted

# (path, place for messages, fields) of a row.
_Row = tuple[str, str, list[str]]


def from_csv(name: str, tables: list[tuple[str, bytes]]) -> str:
    """The original LFW text of a file that was republished as CSV.

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
