"""The documentation is true of the repository: links, files, commands and options exist, and the README stays short."""

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from lfwstudy import cli
from tools import readme_blocks

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("results/*/README.md"))]
SAMPLE = ROOT / "docs/sample-report.html"
# Folders whose files the pages name by path; those of the package are also named without its name.
TOP = {"docs", "lfwstudy", "notebooks", "results", "tests", "tools"}
# Options of other programs.
FOREIGN = {"--help-notebook", "--name", "--no-deps", "--nthreads", "--protocol tls", "--resources"}


def every(pages):
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page):
    """A page's text without fenced code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def code(page):
    """The code spans of a page, and the lines of its fenced code that a shell would run."""
    text = page.read_text(encoding="utf-8")
    fenced = "\n".join(re.findall(r"^```\n(.*?)^```", text, re.S | re.M)).replace("\\\n", " ")
    return [*re.findall(r"`([^`\n]+)`", prose(page)), *fenced.splitlines()]


def anchors(page):
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page):
    """The links of a page to files and headings that are not there."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        link = urlsplit(target)
        path = page if not link.path else (page.parent / unquote(link.path)).resolve()
        if not link.scheme and (
            not path.exists() or (link.fragment and not (path.suffix == ".md" and link.fragment in anchors(path)))
        ):
            found.append(target)
    return found


@every([*PAGES, *OTHERS])
def test_links_lead_to_files_and_headings_that_exist(page):
    assert broken_links(page) == []


@pytest.mark.parametrize("target", ["gone.md", "docs/README.md#gone", "#gone", "docs/images/gone.png", "LICENSE#gone"])
def test_broken_links_are_found(target, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/README.md").write_text("# Documentation\n")
    (tmp_path / "LICENSE").write_text("")
    page = tmp_path / "README.md"
    page.write_text(
        f"# The first\n[a](#the-first) ![b](docs/README.md#documentation) [c](https://example.org/x) [d]({target})"
    )
    assert broken_links(page) == [target]


def test_every_page_of_the_documentation_is_in_its_index():
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if page.name != "README.md" and f"({page.name})" not in index] == []


def test_the_readme_is_a_screen_and_a_half():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150 and len(text.split()) <= 1000
    summary = text.partition("<!-- summary -->")[2].partition("<!-- /summary -->")[0]
    assert 1 <= len(re.findall(r"^\|", summary, re.M)) - 2 <= 6


@every([*PAGES, ROOT / "CONTRIBUTING.md"])
def test_files_that_the_pages_name_exist(page):
    rooms = {path.name for path in (ROOT / "lfwstudy").iterdir()} - {"notebooks", "runs"}
    missing = []
    for name in re.findall(r"(?<![\w/.<>~-])((?:\w[\w.-]*/)+(?:\w[\w.-]*)?)", "\n".join(code(page))):
        first = name.partition("/")[0]
        places = [ROOT / name] * (first in TOP) + [ROOT / "lfwstudy" / name, ROOT / "lfwstudy" / f"{name}.py"] * (
            first in rooms
        )
        if places and not any(place.exists() for place in places):
            missing.append(name)
    assert missing == []


def subparsers():
    """The parser of each of the command's subcommands."""
    (action,) = (action for action in cli._parser()._actions if isinstance(action.choices, dict))
    return action.choices


@every([*PAGES, *OTHERS])
def test_commands_that_the_pages_name_are_understood(page, capsys):
    for line in code(page):
        if found := re.match(r"(?:[A-Z_]+=\S+ )*lfwstudy (\w+)(.*)", line):
            assert found[1] in subparsers(), line
            arguments = shlex.split(found[2], comments=True)
            if arguments:
                assert understood(found[1], arguments), f"{line}: {capsys.readouterr().err}"


def understood(command, arguments):
    """Whether the command takes these arguments; N stands for any number."""
    try:
        cli._parser().parse_args([command, *("2" if word == "N" else word for word in arguments)])
    except SystemExit as ended:
        return ended.code == 0  # as after --help
    return True


@every(PAGES)
def test_options_that_the_pages_name_exist(page):
    known = {option for parser in subparsers().values() for option in parser._option_string_actions} | FOREIGN
    named = {option for span in code(page) if span.startswith("--") for option in re.findall(r"--[a-z][a-z-]*", span)}
    assert named - known == set()


@every([*PAGES, ROOT / "CONTRIBUTING.md"])
def test_modules_and_make_targets_that_the_pages_name_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for line in code(page):
        for module in re.findall(r"python -m ([\w.]+)", line):
            assert importlib.util.find_spec(module), line
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", line):
            assert target in targets, line


@every(PAGES)
def test_marked_blocks_are_closed_and_known(page):
    marks = re.findall(r"^<!-- (/?)(\w+) -->$", page.read_text(encoding="utf-8"), re.M)
    assert marks[1::2] == [("/", name) for _, name in marks[::2]]
    assert {name for _, name in marks} <= set(readme_blocks.BLOCKS)


def test_every_block_stands_on_one_page():
    marks = [
        name
        for page in (*PAGES, *OTHERS)
        for name in re.findall(r"^<!-- (\w+) -->$", page.read_text(encoding="utf-8"), re.M)
    ]
    assert sorted(marks) == sorted(readme_blocks.BLOCKS)


def test_the_citation_file_names_the_software_and_what_it_builds_on():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= set(citation)
    assert [(reference["authors"][0]["family-names"], reference["year"]) for reference in citation["references"]] == [
        ("Koch", 2015),
        ("Huang", 2007),
    ]


def test_the_sample_report_is_of_drawn_faces_small_and_self_contained():
    page = SAMPLE.read_text(encoding="utf-8")
    assert len(page.encode()) < 3_000_000
    assert "demo faces (drawn, of made-up people)" in page and "deep-funneled" not in page
    assert not re.search(r"<script|<iframe|(?:src|href)=[\"'](?!data:|#|https://)", page)


def test_extras_named_to_a_reader_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"))]
    named = {
        extra
        for text in texts
        for found in re.findall(r"(?:'\.|lfwstudy)\[([a-z,]+)\]", text)
        for extra in found.split(",")
    }
    assert named and named <= set(project["optional-dependencies"])
