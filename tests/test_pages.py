"""A page of the report in a browser: on a phone, by keyboard, in the dark, on paper; and what it is made of."""

import re

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from papermill.inspection import inspect_notebook

from lfwstudy.report import figures, notebooks, pages
from lfwstudy.report.table import Column, Table
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system.files import write_json

FACES = np.random.default_rng(0).integers(0, 256, (3, 20, 20), np.uint8)
SCORES = (0.5, 0.25, 1.0)
COMMAND = (
    "lfwstudy run --data-dir ~/lfw --stages base --split random --precision float32 --stages-file a.toml --out runs"
)
POINTS = pd.DataFrame(
    {
        "stage": ["base", "stride", "stride"],
        "label": ["base: base", "stride: a-very-long-name-of-a-variant", "stride: b"],
        "accuracy": [0.6, 0.7, 0.65],
        "low": [0.55, 0.65, 0.6],
        "high": [0.65, 0.75, 0.7],
        "singles": [[0.6], [0.7], [0.65]],
        "published": [0.61, np.nan, 0.66],
        "carried": [True, True, False],
    }
)


def wide_table():
    names = [f"a column with a name {number}" for number in range(12)]
    return Table([Column(name) for name in names], [dict.fromkeys(names, "unbreakable")] * 3, "Wide.")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A page of two sections: a drawn figure, a wide and a narrow table, and pairs with their scores."""
    cards = [(FACES[0], FACES[1], score, f"line {score}") for score in SCORES]
    parts = [
        f"<h1>First</h1><p>Words: <code>{COMMAND}</code>.</p><h2>Ladder</h2>{figures.captioned(figures.ladder(POINTS, 'source'), 'Seen.').data}",
        f"<h2>Tables</h2>{wide_table().to_html()}{Table([Column('a')], [{'a': '1'}], 'Narrow.').to_html()}",
        f"<h2>Pairs</h2>{figures.gallery([('Same person', cards)], 'Pairs.', 'source').data}",
        f"<h2>Appendix</h2><p>Long.</p><h3>More</h3>{figures.montage(FACES[1:], 'Faces.', 'source').data}",
    ]
    sections = [
        pages.section(pages.Page(f"x-{name}", name, f"Part {name}"), "".join(f"<div>{part}</div>" for part in parts))
        for name in ("one", "two")
    ]
    return pages.write_page(tmp_path_factory.mktemp("page") / "report.html", "A title", sections, "the source", True)


@pytest.fixture
def opened(written, chromium):
    """Opens the page at a width, in light or dark."""
    shown = []

    def open_page(width, **options):
        page = chromium.new_page(viewport={"width": width, "height": 900}, **options)
        page.goto(written.as_uri())
        shown.append(page)
        return page

    yield open_page
    for page in shown:
        page.close()


def test_an_image_shown_several_times_is_embedded_once(written):
    page = written.read_text()
    images = re.findall(r"data:image/jpeg;base64,[^\"]+", page)
    assert len(images) == len(set(images)) == 3
    soup = BeautifulSoup(page, "html.parser")
    kept = {image["id"] for image in soup.select("defs > image")}
    assert {use["href"][1:] for use in soup.select("svg.image > use")} == kept
    assert len(soup.select('.card svg.image[aria-label="left image"]')) == 2 * len(SCORES)


def test_contents_name_the_parts_of_every_section_and_headings_link_to_themselves(written):
    soup = BeautifulSoup(written.read_text(), "html.parser")
    texts = [link.get_text() for link in soup.select("nav a")]
    assert texts == [
        text for name in ("one", "two") for text in (f"Part {name}", "Ladder", "Tables", "Pairs", "Appendix")
    ]
    assert all(soup.find(id=link["href"][1:]) for link in soup.select("nav a"))
    headings = soup.select("section :is(h1, h2, h3):not(figure *)")
    assert len(headings) == 12 and all(h.find("a", class_="anchor")["href"] == f"#{h['id']}" for h in headings)


def test_report_and_single_pages_link_to_each_other(tmp_path, monkeypatch):
    study = Study(Settings(out=str(tmp_path), precision="float32"))
    page = pages.Page("01_stage-base", "stage-base", "Stage base")
    monkeypatch.setattr(pages, "all_pages", lambda study: [page])
    pages.notebook_path(study, page).parent.mkdir()
    cells = [{"cell_type": "markdown", "metadata": {}, "source": "# Title\n\n[base](#stage-base)"}]
    write_json(pages.notebook_path(study, page), {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4})
    report = pages.render(study)
    alone = tmp_path / "html" / "01_stage-base.html"
    for here, there in ((report, alone), (alone, report)):
        link = BeautifulSoup(here.read_text(), "html.parser").select_one(".foot a:not(.up)")
        path, _, anchor = link["href"].partition("#")
        assert (here.parent / path).resolve() == there
        assert not anchor or BeautifulSoup(there.read_text(), "html.parser").find(id=anchor)


def test_every_page_of_a_further_ladder_links_to_the_stages_of_its_own(tmp_path):
    study = Study(Settings(out=str(tmp_path), precision="float32"))
    study.ask(["base", "stride"])
    found = pages.pages(study, "-view2")
    assert [page.anchor for page in found] == ["summary-view2", "data-view2", "stage-base-view2", "stage-stride-view2"]
    assert {page.suffix for page in found} == {"-view2"}


def test_no_two_parts_of_a_report_have_one_id_whatever_a_users_stages_are_called(tmp_path):
    study = Study(Settings(out=str(tmp_path), precision="float32"))
    study.stages = lambda: ["data", "summary", "top", "wider", "wider-2"]
    found = pages.pages(study)
    bodies = [pages.section(page, '<div id="cell-id=1"><h1>A</h1><h2>B</h2><h3>C</h3></div>').body for page in found]
    ids = [page.anchor for page in found] + re.findall(r' id="([^"]+)"', "".join(bodies))
    assert len(ids) == 4 * 7 and len(set(ids) - {"top", "content"}) == len(ids)


def test_notebooks_have_every_parameter_that_their_pages_pass(tmp_path):
    study = Study(Settings(out=str(tmp_path), precision="float32", stages="base"))
    study.ask(["base"])
    for page in pages.pages(study):
        assert set(page.parameters) <= set(inspect_notebook(str(notebooks.NOTEBOOKS / page.notebook)))


def test_coordinates_of_figures_are_rounded_and_their_words_stay_text():
    figure = figures.roc([(np.array([1, 0, 1, 0, 1, 1, 0]), np.array([0.91, 0.2, 0.7, 0.8, 0.3, 0.6, 0.1]))], "source")
    drawn = figures.captioned(figure, "caption").data
    assert not any(re.search(r"\d\.\d{3}", tag) for tag in re.findall(r"<[^>]+>", drawn))
    assert re.search(r">ROC \(dotted: chance\), area 0\.\d{3}</text>", drawn)


def test_the_time_figure_explains_its_line_and_no_leader_crosses_another():
    rng = np.random.default_rng(1)
    points = pd.DataFrame({"seconds": rng.uniform(10, 3000, 12), "accuracy": rng.uniform(0.5, 0.7, 12)})
    points = points.assign(label=[f"variant {n}" for n in range(12)], published=False, carried=points.index < 4)
    figure = figures.accuracy_against_time(points, "source")
    (axis,), (legend,) = figure.axes, figure.legends
    assert "carried forward, from stage to stage" in [text.get_text() for text in legend.get_texts()]
    names = sorted(axis.texts, key=lambda text: text.get_position()[1])
    heights = [text.xy[1] for text in names]
    assert len(names) == 12 and heights == sorted(heights)  # where a line leaves the axes, and its name, in one order
    level = {tuple(line[:, 1]) for line in axis.collections[0].get_segments()}
    assert level == {(accuracy, accuracy) for accuracy in points["accuracy"]}
    alone = figures.accuracy_against_time(points.assign(carried=False), "source")
    assert len(alone.legends[0].get_texts()) == 1


@pytest.mark.browser
@pytest.mark.parametrize("width, scrolling", [(1400, 2), (390, 4)])
def test_only_regions_that_scroll_are_stops_of_the_keyboard_and_they_say_so(opened, width, scrolling):
    page = opened(width)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    scrolls = page.evaluate("[...document.querySelectorAll('.scroll')].map(e => e.scrollWidth > e.clientWidth)")
    hints = [hint.is_visible() for hint in page.locator(".hint").all()]
    assert hints == scrolls and sum(scrolls) == scrolling
    stops = []
    page.keyboard.press("Tab")
    while stop := page.evaluate("(e => e === document.body ? '' : e.className || e.tagName)(document.activeElement)"):
        stops.append(stop)
        page.keyboard.press("Tab")
    assert (
        stops[0] == "skip" and stops.count("hint") == scrolling and set(stops) <= {"skip", "hint", "up", "A", "SUMMARY"}
    )


@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 390])
def test_a_command_breaks_between_its_words_only(opened, width):
    page = opened(width)
    command = page.locator("code").first
    assert command.inner_text() == COMMAND
    heights = {round(word.bounding_box()["height"]) for word in command.locator(".word").all()}
    assert len(heights) == 1 and command.bounding_box()["height"] > 1.5 * heights.pop()


@pytest.mark.browser
def test_the_skip_link_leads_to_the_text(opened):
    page = opened(1400)
    page.keyboard.press("Tab")
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


@pytest.mark.browser
def test_a_table_keeps_its_first_column_on_a_phone(opened):
    page = opened(390)
    region = page.locator(".scroll", has=page.locator("table")).first
    first, second = (
        region.locator("tbody tr").first.locator("td").nth(0),
        region.locator("tbody tr").first.locator("td").nth(1),
    )
    before = first.bounding_box()["x"], second.bounding_box()["x"]
    region.evaluate("region => region.scrollLeft = 120")
    assert (first.bounding_box()["x"], second.bounding_box()["x"]) == (before[0], before[1] - 120)


@pytest.mark.browser
def test_targets_of_a_finger_are_large_enough(opened):
    page = opened(390)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    for selector, least in (("nav a", 44), ("summary", 44), (".foot a", 44), (".anchor", 24)):
        boxes = [target.bounding_box() for target in page.locator(selector).all()]
        assert boxes and all(box["height"] >= least and box["width"] >= 24 for box in boxes), (selector, boxes)


@pytest.mark.browser
def test_a_legend_is_whole_on_a_phone_before_anything_is_moved(opened):
    page = opened(390)
    texts = page.locator("g[id*=legend] text").all()
    assert {text.text_content() for text in texts} >= {"chance", "published (LFW-a, one run)"}
    assert all(box["x"] + box["width"] <= 390 - 16 for box in (text.bounding_box() for text in texts))


@pytest.mark.browser
def test_figures_are_dark_on_a_dark_page(opened):
    colours = """() => { const style = e => getComputedStyle(e), figure = document.querySelector('figure svg');
        return [style(document.body).backgroundColor, style(figure.querySelector('[id*=patch_1] path')).fill,
                style(document.body).color, style(figure.querySelector('text')).fill]; }"""
    paper, ground, ink, text = opened(1400, color_scheme="dark").evaluate(colours)
    assert paper == ground == "rgb(23, 24, 27)" and ink == text
    assert opened(1400).evaluate(colours)[1] == "rgb(255, 255, 255)"


@pytest.mark.browser
def test_printed_score_bars_are_as_long_as_the_score_and_images_keep_their_size(opened):
    page = opened(760)
    page.emulate_media(media="print")
    for card, score in zip(page.locator(".card").all(), 2 * SCORES, strict=True):
        bar, (whole, filled) = card.locator("svg:not(.image)").bounding_box(), card.locator("rect").all()
        whole, filled = whole.bounding_box(), filled.bounding_box()
        assert whole["width"] == pytest.approx(bar["width"], abs=0.5)
        assert filled["width"] == pytest.approx(score * bar["width"], abs=0.6)
        assert bar["width"] == pytest.approx(
            sum(i.bounding_box()["width"] + 1 for i in card.locator(".image").all()), abs=1
        )
