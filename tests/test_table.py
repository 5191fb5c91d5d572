"""A table says the same as HTML, as Markdown and as text."""

import numpy as np
import pytest

from lfwstudy.report.table import Column, Compared, Interval, Table

TABLE = Table(
    [
        Column("variant", "name"),
        Column("accuracy", "percent"),
        Column("gain", "points"),
        Column("epochs", "number", digits=0),
        Column("memory, MiB", "number"),
        Column("time", "seconds"),
        Column("p", "p"),
    ],
    [
        {
            "variant": "a|b",
            "accuracy": Interval(0.8125, 0.8, np.float64(0.83), (0.81, 0.815)),
            "gain": -0.0125,
            "epochs": Compared(1200, None),
            "memory, MiB": 1234.56,
            "time": 185,
            "p": 0.0004,
        },
        {"variant": "`c` <b>", "accuracy": "not finished", "gain": Interval(0.01, -0.01, 0.03), "p": 0.25},
    ],
    "Test accuracy of `c`.",
    "demo faces",
    marked=frozenset({1}),
)


def test_figures_are_shown_by_their_kind():
    assert TABLE.texts() == [
        ["a|b", "81.3 [80.0, 83.0] (81.0, 81.5)", "-1.3", "1,200 | –", "1,234.6", "3:05 min", "< .001"],
        ["`c` <b> ►", "not finished", "+1.0 [-1.0, +3.0]", "", "", "", "0.250"],
    ]


def test_markdown_keeps_its_cells_apart():
    lines = TABLE.to_markdown().splitlines()
    assert lines[1] == "|---|---:|---:|---:|---:|---:|---:|" and "memory, MiB" in lines[0]
    assert lines[2].startswith(r"| a\|b | 81.3 [80.0, 83.0] (81.0, 81.5) | -1.3 | 1,200 \| – |")
    assert r"`c` \<b> ►" in lines[3] and lines[4:] == ["", "Test accuracy of `c`. Demo faces."]


def test_text_is_padded_for_a_terminal():
    table = Table([Column(""), Column("accuracy", "percent")], [{"": "first", "accuracy": 0.5}, {"": "b"}], "Of pairs.")
    assert table.to_text() == "       accuracy\nfirst      50.0\nb\n\nOf pairs."
    assert Table(empty="None.").to_text() == "None."


def test_html_escapes_aligns_and_marks():
    page = TABLE.to_html()
    assert "<code>c</code> &lt;b&gt;\u00a0►" in page and page.count("<tr class=carried>") == 1
    assert '<td class="number">81.3\u00a0[80.0,\u00a083.0] (81.0, 81.5)</td>' in page
    assert '<th scope="col" class="number">memory, MiB</th>' in page and "<td>a|b</td>" in page
    assert "<figcaption>Test accuracy of <code>c</code>. Demo faces.</figcaption>" in page


def test_columns_are_those_of_the_rows_each_in_its_usual_format():
    rows = [
        {"variant": "a", "trained on": None, "AUC": None, "epochs": Compared(None, 7)},
        {"AUC": 0.98765, "loss": 0.5},
    ]
    table = Table(rows=rows)
    assert [column.name for column in table.columns] == ["variant", "AUC", "epochs", "loss"]
    assert table.texts() == [["a", "", "– | 7", ""], ["", "0.988", "", "0.50"]]
    assert Table(rows=[{"why": "so", "penalty": 1 / 3}]).texts() == [["so", "0.33"]]


def test_a_stage_is_linked_to_its_page_in_html_alone():
    table = Table(rows=[{"stage": "early-stopping", "variant": "patience5"}])
    assert '<td><a href="#stage-early-stopping">early-stopping</a></td><td>patience5</td>' in table.to_html()
    assert table.to_markdown().endswith("| early-stopping | patience5 |")


@pytest.mark.parametrize("count, told", [(1, "70.0 [60.0, 80.0]"), (6, "70.0 [60.0, 80.0] (70.0 to 70.5)")])
def test_many_single_runs_are_shown_by_their_range(count, told):
    cell = Interval(0.7, 0.6, 0.8, [0.7 + n / 1000 for n in range(count)])
    assert Column("", "percent").show(cell) == told


def test_a_table_without_rows_says_why():
    empty = Table(empty="Nothing yet: `make study`.")
    assert empty.to_html() == "<p>Nothing yet: <code>make study</code>.</p>"
    assert empty.to_markdown() == "Nothing yet: `make study`."
    assert Table().to_html() == Table().to_markdown() == ""
