"""How are pair and people files read that were published again as CSV, as Kaggle's copy is?"""

import csv

from lfwstudy.data.pairs import _lines, _name, _positive, _read_pair
from lfwstudy.errors import DataError, one_line, quoted


def from_csv(name: str, tables: list[tuple[str, bytes]]) -> str:
    """LFW's own text of one of its files that was published again as CSV, as Kaggle's copy is.

    Parameters
    ----------
    name : the file's name in LFW: pairsDevTrain.txt, pairsDevTest.txt, pairs.txt, or a people file.
    tables : (path for messages, content) of the CSV files that make it up: the matched pairs before the mismatched.

    Raises
    ------
    DataError
        Naming file, line and value.
    """
    rows = [row for path, content in tables for row in _csv_rows(path, content)]
    if not rows:
        raise DataError(f"{tables[0][0]}: no rows")
    return "\n".join((_people_lines if name.startswith("people") else _pair_lines)(name, rows)) + "\n"


def _csv_rows(path, content):
    """(path, line, fields) of each row; the header, blank rows and empty fields at a row's end are passed by."""
    lines = _lines(path, content)
    reader = csv.reader(lines, delimiter=max(",;\t", key=lines[0].count))
    try:
        for fields in reader:
            while fields and not fields[-1].strip():
                fields.pop()
            if fields and not (reader.line_num == 1 and not any(field.strip().isdigit() for field in fields)):
                yield path, reader.line_num, fields
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: no CSV ({one_line(error)})") from None


def _pair_lines(name, rows):
    blocks = []  # of matched and of mismatched pairs, in turn
    for path, number, fields in rows:
        matched = len(fields) == 3
        line = "\t".join(fields)
        _read_pair(path, number, line, matched)
        if len(blocks) % 2 != matched:
            blocks.append([])
        if not blocks:
            raise DataError(f"{path}, line {number}: matched pairs come first, got {quoted(line)}")
        blocks[-1].append(line)
    folds, sizes = len(blocks) // 2, sorted({len(block) for block in blocks})
    if len(blocks) % 2 or len(sizes) > 1 or (folds > 1) != (name == "pairs.txt"):
        wanted = "several sets, each of" if name == "pairs.txt" else "one set of"
        raise DataError(
            f"{rows[-1][0]}: {wanted} as many matched as mismatched pairs expected, got {len(blocks)} blocks of "
            f"{sizes[0]} to {sizes[-1]} pairs, matched and mismatched in turn"
        )
    return [
        f"{folds}\t{sizes[0]}" if name == "pairs.txt" else str(sizes[0]),
        *(line for block in blocks for line in block),
    ]


def _people_lines(name, rows):
    """Sets begin at a number by itself, or, where such lines were left out, where the alphabet begins anew."""
    numbered = any(len(fields) == 1 for _, _, fields in rows)
    sets, before = [] if numbered else [[]], ""
    for path, number, fields in rows:
        if len(fields) == 1:
            _positive(path, number, fields[0])
            sets.append([])
            continue
        if len(fields) != 2 or not sets:
            raise DataError(f"{path}, line {number}: 'NAME,number' expected, got {quoted(','.join(fields))}")
        if name == "people.txt" and not numbered and fields[0] < before:
            sets.append([])
        before = fields[0]
        sets[-1].append(f"{_name(path, number, fields[0])}\t{_positive(path, number, fields[1])}")
    sets = [people for people in sets if people]
    if name != "people.txt":
        return [str(sum(map(len, sets))), *(line for people in sets for line in people)]
    if len(sets) < 2:
        raise DataError(f"{rows[-1][0]}: several sets of people expected, one found; put LFW's people.txt beside it")
    return [str(len(sets)), *(line for people in sets for line in (str(len(people)), *people))]
