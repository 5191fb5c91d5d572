"""From executed notebooks to pages: nbconvert renders each, and one self-contained report.html joins them."""

import html
import json
import os
import re
import site
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bs4 import BeautifulSoup

from lfwstudy.report.markup import finish, homeless, sanitised, with_each_image_once
from lfwstudy.report.notebooks import nbformat
from lfwstudy.report.wording import is_demo, source_line
from lfwstudy.system.files import write_json, write_text

if TYPE_CHECKING:
    from lfwstudy.study.results import Results

_TITLE = "How well does a siamese network tell faces apart?"
_STILLS = (
    "<blockquote><p>These are stills, because a page has no kernel. To interact, open notebooks/03_explore.ipynb in "
    "JupyterLab.</p></blockquote>"
)


@dataclass(frozen=True)
class Page:
    """An executed notebook as a part of the report.

    stem: its file name; anchor: unique within the report; suffix: of its ladder, in both.
    """

    stem: str
    anchor: str
    title: str
    notebook: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True)
class Section:
    """A rendered page: HTML, the ids and texts of its second-level headings, and the same page elsewhere: URL and name."""

    page: Page
    body: str
    headings: Sequence[tuple[str, str]] = ()
    elsewhere: tuple[str, str] | None = None


def pages(study: "Results", suffix: str = "") -> list[Page]:
    """The notebooks of one ladder in reading order: summary, data, stages."""
    s = study.settings
    shared = {**asdict(s), "seeds": study.seeds(), "out": str(study.out)}
    for recorded in ("stages", "stages_file", "set_options"):
        del shared[recorded]
    label = f" ({s.ladder} ladder, {s.protocol}, split {s.split}, by {s.select})" if suffix else ""

    def page(notebook: str, anchor: str, title: str, of_stage: str = "", **more: Any) -> Page:
        names = f"{notebook}{of_stage}{suffix}", f"{anchor}{of_stage}{suffix}", f"{title}{label}"
        return Page(*names, f"{notebook}.ipynb", {**more, **shared}, suffix)

    # Pages are executed after training, so they train nothing.
    stages = [page("01_stage", "stage", f"Stage {n}", f"-{n}", stage=n, train=False) for n in study.stages()]
    return [page("02_report", "summary", "Summary"), page("00_data", "data", "The data"), *stages]


def all_pages(study: "Results") -> list[Page]:
    """Pages of every ladder of a study; file names of the first have no suffix."""
    ladders = study.combinations()
    first = ladders[0].settings.combination() if ladders else {}
    found = []
    for ladder in ladders:
        different = [str(value) for key, value in ladder.settings.combination().items() if value != first[key]]
        found += pages(ladder, "".join(f"-{value}" for value in different))
    return found


def notebook_path(study: "Results", page: Page) -> Path:
    """Path of a page's executed notebook."""
    return study.out / "notebooks" / f"{page.stem}.ipynb"


def mark_gap(study: "Results", page: Page, message: str) -> None:
    """Record in a page's executed notebook, if readable, that its execution failed; the report says so."""
    path = notebook_path(study, page)
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        notebook["metadata"]["lfwstudy_gap"] = message
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # the report says that it cannot be read
        return
    write_json(path, notebook)


def render(study: "Results") -> Path:
    """Render html/*.html and report.html from the executed notebooks; returns the path of report.html."""
    sections = [_section(study, page) for page in all_pages(study)]
    whole = [
        _linked(part, "#stage-{}", f"html/{part.page.stem}.html", "This section on its own page") for part in sections
    ]
    alone = [
        _linked(part, "01_stage-{}.html", f"../report.html#{part.page.anchor}", "This section in the full report")
        for part in sections
    ]
    explore = Page("03_explore", "explore", "Explore")
    if notebook_path(study, explore).is_file():  # executed by hand into the study's folder
        found = _section(study, explore)
        alone.append(replace(found, body=_STILLS + found.body))
    (study.out / "html").mkdir(parents=True, exist_ok=True)
    for part in alone:
        _write(study, study.out / "html" / f"{part.page.stem}.html", part.page.title, [part])
    return _write(study, study.out / "report.html", _TITLE, whole)


def _linked(part: Section, target: str, url: str, name: str) -> Section:
    """A section with its URL elsewhere, whose links to stages lead to `target`: a stage and its suffix for the braces."""
    to = target.format(rf"\1{part.page.suffix}")
    body = re.sub(r'href="#stage-([\w.-]+)"', f'href="{to}"', part.body)
    return replace(part, body=body, elsewhere=(url, name))


def section(page: Page, body: str) -> Section:
    """HTML, which may come from anybody, as a section: sanitised, with ids and names that are unique in the report."""
    soup = BeautifulSoup(sanitised(body), "html.parser")
    headings = finish(soup, page.anchor, page.title)
    return Section(page, re.sub(r"(\d) %", "\\1\u00a0%", str(soup)), headings)


def _notes_once(sections: Sequence[Section]) -> list[Section]:
    """Sections without the notes (block quotes) that an earlier one shows; on its own page, each section has them."""
    seen: set[str] = set()

    def shown(note: re.Match[str]) -> str:
        again = note[0] in seen
        seen.add(note[0])
        return "" if again else note[0]

    return [replace(s, body=re.sub("<blockquote>.*?</blockquote>", shown, s.body, flags=re.DOTALL)) for s in sections]


def write_page(target: Path, title: str, sections: Sequence[Section], source: str, is_demo: bool) -> Path:
    """Write sections as one self-contained page. source: the line below the title; is_demo: whether faces are drawn."""
    from jinja2 import Environment, FileSystemLoader

    here = Path(__file__).parent
    template = Environment(autoescape=True, loader=FileSystemLoader(here)).get_template("page.html")
    style = (here / "page.css").read_text(encoding="utf-8")
    page = template.render(title=title, sections=_notes_once(sections), source=source, demo=is_demo, style=style)
    write_text(target, with_each_image_once(page))
    return target


def _write(study: "Results", target: Path, title: str, sections: Sequence[Section]) -> Path:
    return write_page(target, title, sections, source_line(study), is_demo(study))


def _section(study: "Results", page: Page) -> Section:
    """A page's executed notebook as HTML without code, with unique ids; a gap if it is missing or damaged."""
    path = notebook_path(study, page)
    try:
        notebook = nbformat().read(path, 4)
        return _rendered(notebook, page)
    except FileNotFoundError:
        return Section(page, _gap(f"This part of the study is missing: {page.stem} was not executed."))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged notebook makes the readers raise many types
        return Section(page, _gap(f"{path.name} cannot be read: {type(error).__name__}: {error}"))


def _rendered(notebook: Any, page: Page) -> Section:
    # The notebook's title is replaced by the one computed from the run, which names the data.
    if any("text/markdown" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", [])):
        del notebook.cells[0]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            # Library warnings stay in the executed notebook; errors are shown.
            cell.outputs = [o for o in cell.outputs if not (o.output_type == "stream" and o.name == "stderr")]
            for output in cell.outputs:
                # A page has no kernel: show a widget's HTML if it has any.
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    found = section(page, _exporter().from_notebook_node(notebook)[0])
    message = notebook.metadata.get("lfwstudy_gap")
    gap = _gap(f"This part failed; the rest may be incomplete or out of date: {message}") if message else ""
    return replace(found, body=gap + found.body)


@lru_cache(maxsize=1)
def _exporter() -> Any:
    from jupyter_core.paths import ENV_JUPYTER_PATH, SYSTEM_JUPYTER_PATH
    from nbconvert import HTMLExporter

    class Exporter(HTMLExporter):
        """With its own templates: not the user's or the current folder's, which are programs."""

        def get_prefix_root_dirs(self) -> list[str]:
            return [*ENV_JUPYTER_PATH, *SYSTEM_JUPYTER_PATH, os.path.join(site.getuserbase(), "share", "jupyter")]

    return Exporter(
        template_name="basic",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        extra_template_basedirs=[],
        template_data_paths=[],
    )


def _gap(text: str) -> str:
    return f'<p class="gap">{html.escape(homeless(text))}</p>'
