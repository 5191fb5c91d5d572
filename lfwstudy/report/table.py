"""A table is a value: columns that say what they hold, rows of plain numbers and words, shown as HTML, Markdown or text."""

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lfwstudy.system.text import clock, p_value, percent, signed_points

Kind = Literal["text", "name", "stage", "percent", "points", "number", "seconds", "p"]

_SHOWN: dict[str, Callable[[Any, int], str]] = {
    "percent": percent,
    "points": signed_points,
    "number": lambda value, digits: f"{value:,.{digits}f}",
    "seconds": lambda value, _: clock(value),
    "p": lambda value, _: p_value(value),
}
# More single runs than this are shown by their range.
_FEW = 5


@dataclass(frozen=True)
class Interval:
    """A cell: a figure with its interval and, if there are several, the single runs behind it."""

    value: float
    low: float
    high: float
    singles: Sequence[float] = ()


@dataclass(frozen=True)
class Compared:
    """A cell: a published and a measured figure, either of which may be missing."""

    published: Any
    measured: Any


@dataclass(frozen=True)
class Column:
    """A column of a Table.

    kind: "text"; "name", a text with the mark of its row; "stage", a stage linked to its page, which the rendered report
    resolves; "percent", of shares from 0 to 1; "points", signed percent of differences of shares; "number"; "seconds", shown
    as a duration; "p", a p-value. digits: after the decimal point of percent, points and numbers.
    """

    name: str
    kind: Kind = "text"
    digits: int = 1

    @property
    def is_text(self) -> bool:
        """Whether the column holds words rather than figures."""
        return self.kind in ("text", "name", "stage")

    def show(self, value: Any) -> str:
        """A cell as text: words unchanged, nothing for None, figures in the format of the column's kind."""
        if isinstance(value, Compared):
            return f"{self.show(value.published) or '–'} | {self.show(value.measured) or '–'}"
        if isinstance(value, Interval):
            shown = f"{self.show(value.value)} [{self.show(value.low)}, {self.show(value.high)}]"
            return f"{shown} ({self._singles(value.singles)})" if len(value.singles) > 1 else shown
        if value is None or isinstance(value, str) or self.is_text:
            return "" if value is None else str(value)
        return _SHOWN[self.kind](value, self.digits)

    def _singles(self, values: Sequence[float]) -> str:
        if len(values) <= _FEW:
            return ", ".join(map(self.show, values))
        return f"{self.show(min(values))} to {self.show(max(values))}"


# The report's figures by heading: each is shown alike in every table.
_FORMATS: tuple[tuple[Kind, int, str], ...] = (
    ("name", 0, "variant"),
    ("stage", 0, "stage"),
    ("percent", 1, "accuracy; accuracy [95 %]; published accuracy; measured accuracy; all together; validation; test"),
    ("percent", 1, "at best epoch; validation at best; TPR; TNR; majority-class baseline"),
    ("points", 1, "difference [95 %]; contribution [95 %]; validation minus test [95 %]; published; here [95 %]"),
    ("p", 3, "p; corrected p"),
    ("seconds", 0, "training time; to the best epoch"),
    ("number", 0, "seeds; networks; epochs; best epoch; parameters; dropped; peak memory, MiB"),
    ("number", 0, "only A correct; only B correct"),
    ("number", 1, "multiply-adds, millions; activations, MiB; state, MiB"),
    ("number", 2, "loss; seconds per epoch; accuracy at the end"),
    ("number", 3, "AUC; correlation"),
)
HEADINGS = {name: Column(name, kind, digits) for kind, digits, names in _FORMATS for name in names.split("; ")}


@dataclass(frozen=True)
class Table:
    """Columns, rows and a caption; shown by a notebook as HTML.

    Parameters
    ----------
    columns : sequence of Column, optional
        Without them, the rows' keys in order, those without any cell left out, each in its format in `HEADINGS`.
    rows : sequence of dict
        Cells by column name: numbers, words (shown as they are in every kind of column), `Interval`, `Compared`, or None.
    caption : str
        What was measured, on what data; words between backticks are code, here and in cells.
    source : str
        The table's data, a sentence after the caption.
    empty : str
        Shown in place of a table without rows.
    marked : collection of int
        Rows that are carried forward, marked by ►.
    """

    columns: Sequence[Column] = ()
    rows: Sequence[Mapping[str, Any]] = ()
    caption: str = ""
    source: str = ""
    empty: str = ""
    marked: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if not self.columns:
            names = dict.fromkeys(name for row in self.rows for name in row)
            cells = {name: [row[name] for row in self.rows if row.get(name) is not None] for name in names}
            object.__setattr__(self, "columns", [_column(name, found[0]) for name, found in cells.items() if found])

    def texts(self) -> list[list[str]]:
        """The cells as shown, row by row."""
        return [
            [
                column.show(row.get(column.name)) + (" ►" if column.kind == "name" and number in self.marked else "")
                for column in self.columns
            ]
            for number, row in enumerate(self.rows)
        ]

    def to_html(self) -> str:
        """A figure with its caption, everything escaped; a paragraph if there are no rows."""
        if not self.rows:
            return f"<p>{_with_code(self.empty)}</p>" if self.empty else ""
        head = "".join(_heading(column) for column in self.columns)
        body = "".join(
            f"{'<tr class=carried>' if number in self.marked else '<tr>'}{''.join(map(_cell, self.columns, cells))}</tr>"
            for number, cells in enumerate(self.texts())
        )
        table = f'<table class="study"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        return framed(table, _with_code(self._foot()), "Table")

    _repr_html_ = to_html

    def to_text(self) -> str:
        """A table for a terminal, columns padded, the caption below; the sentence `empty` where there are no rows."""
        if not self.rows:
            return self.empty
        lines = [[column.name for column in self.columns], *self.texts()]
        widths = [max(map(len, cells)) for cells in zip(*lines)]
        sides = ["<" if column.is_text else ">" for column in self.columns]
        shown = ["  ".join(f"{c:{s}{w}}" for c, s, w in zip(cells, sides, widths)).rstrip() for cells in lines]
        return self._with_foot(shown)

    def to_markdown(self) -> str:
        """A Markdown table with its caption below; the sentence `empty` if there are no rows."""
        if not self.rows:
            return self.empty
        lines = [[column.name for column in self.columns], *self.texts()]
        head, *body = [f"| {' | '.join(map(_markdown, cells))} |" for cells in lines]
        rule = "".join("|---" if column.is_text else "|---:" for column in self.columns) + "|"
        return self._with_foot([head, rule, *body])

    def _with_foot(self, lines: list[str]) -> str:
        return "\n".join([*lines, *(["", self._foot()] if self._foot() else [])])

    def _foot(self) -> str:
        source = f"{self.source[0].upper()}{self.source[1:]}." if self.source else ""
        return f"{self.caption} {source}".strip()


def framed(content: str, caption: str, label: str = "Figure") -> str:
    """HTML above a caption of HTML, in a named region that scrolls if it is wider than the page."""
    return (
        f'<figure><div class="scroll" role="region" aria-label="{label}">{content}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _column(name: str, cell: Any) -> Column:
    """The column of a heading; one that HEADINGS lacks stands over words or, as `cell` tells, over numbers."""
    words = isinstance(cell.measured if isinstance(cell, Compared) else cell, str)
    return HEADINGS.get(name) or (Column(name) if words else Column(name, "number", digits=2))


def _heading(column: Column) -> str:
    kind = "" if column.is_text else ' class="number"'
    text = html.escape(column.name)
    return f'<th scope="col"{kind}>{text}</th>' if text else f"<td{kind}></td>"


def _cell(column: Column, text: str) -> str:
    if column.kind == "stage" and text:
        return f'<td><a href="#stage-{html.escape(text)}">{html.escape(text)}</a></td>'
    if column.is_text:
        shown = _with_code(text.replace(" ►", "\u00a0►"))  # the mark alone would begin a line
        return f"<td>{shown}</td>"
    # A figure and its interval stay on one line; the single runs behind it may wrap.
    figure, opened, singles = text.partition(" (")
    kind = "number" if singles else "number line"
    shown = figure.replace(" ", "\u00a0") + opened + singles
    return f'<td class="{kind}">{html.escape(shown)}</td>'


def _with_code(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _markdown(text: str) -> str:
    return re.sub(r"([|<\\])", r"\\\1", text).replace("\n", " ")
