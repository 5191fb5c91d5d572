"""The report printed by a browser: numbered contents, bookmarks, captions next to their figures."""

import shutil

import pytest

from lfwstudy import cli
from lfwstudy.errors import ConfigError, RunError
from lfwstudy.report import pages, pdf


def report(folder, *parts):
    """A report with a section of headings and text for each part."""
    sections = []
    for name, body, headings in parts:
        sections.append(pages.Section(pages.Page(name, name, f"Part {name}"), body, headings))
    return pages.write_page(folder / "report.html", "A title", sections, "the source", True)


@pytest.fixture
def browser():
    try:
        return pdf.find_browser()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.mark.long
@pytest.mark.browser
def test_the_pdf_has_bookmarks_and_its_contents_have_the_pages_of_their_parts(tmp_path, browser, monkeypatch):
    texts = [f'<h2 id="h-{n}">Heading {n}</h2>' + "<p>Some words of a paragraph.</p>" * 45 for n in range(4)]
    parts = [(f"part.{n}", text, [(f"h-{n}", f"Heading {n}")]) for n, text in enumerate(texts)]
    given, real = [], pdf._print
    monkeypatch.setattr(pdf, "_print", lambda b, page, rules, to: (given.append(rules), real(b, page, rules, to)))
    printed = pdf.write_pdf(report(tmp_path, *parts), browser)
    content = printed.read_bytes()
    assert printed == tmp_path / "report.pdf" and sorted(p.name for p in tmp_path.iterdir()) == [
        "report.html",
        "report.pdf",
    ]
    found = pdf.page_numbers(content)
    begins = [found[f"part.{n}"] for n in range(4)]
    assert begins == sorted(set(begins)) and begins == [found[f"h-{n}"] for n in range(4)]
    assert all(
        f'nav a[href="#{anchor}"]::after {{ content: "{number}" }}' in given[-1] for anchor, number in found.items()
    )
    assert b"/Outlines" in content and b"(Heading 3)" in content


@pytest.mark.long
@pytest.mark.browser
def test_no_caption_is_torn_from_its_figure(tmp_path, browser):
    """On each of many pages a figure ends a little lower, down to where only its caption would go over."""
    parts, drawn = [], '<svg width="600" height="300"><rect width="600" height="300" fill="#999999"/></svg>'
    for n, above in enumerate(range(600, 700, 6)):
        figure = f'<figure id="f-{n}"><div>{drawn}</div><figcaption><span id="c-{n}">Seen.</span></figcaption></figure>'
        anchors = [(f"f-{n}", "figure"), (f"c-{n}", "caption")]
        parts.append((f"part-{n}", f'<div style="height: {above}px"></div>{figure}', anchors))
    found = pdf.page_numbers(pdf.write_pdf(report(tmp_path, *parts), browser).read_bytes())
    numbers = range(1, len(parts))  # the first shares its page with the contents
    assert [found[f"c-{n}"] for n in numbers] == [found[f"f-{n}"] for n in numbers]
    on_the_next = [found[f"f-{n}"] - found[f"part-{n}"] for n in numbers]
    assert on_the_next == sorted(on_the_next) and set(on_the_next) == {0, 1}


def test_without_a_browser_nothing_is_done(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert cli.main(["report", "--pdf", "--out", str(tmp_path / "nowhere")]) == 2
    told = capsys.readouterr().err
    assert "needs a browser on the PATH" in told and "chromium" in told and told.count("\n") == 1


@pytest.mark.parametrize(
    "script, told", [("echo boom >&2; exit 3", "status 3: boom"), ("exit 0", "status 0: no message")]
)
def test_a_browser_that_fails_leaves_the_earlier_pdf(tmp_path, script, told):
    stub = tmp_path / "browser"
    stub.write_text(f"#!/bin/sh\n{script}\n")
    stub.chmod(0o755)
    (tmp_path / "report.pdf").write_text("earlier")
    with pytest.raises(RunError, match=told):
        pdf.write_pdf(report(tmp_path, ("one", "x", [])), str(stub))
    assert (tmp_path / "report.pdf").read_text() == "earlier" and not list(tmp_path.glob(".*"))
