"""Notebooks in, pages out: papermill runs them, nbconvert renders them, one self-contained report.html joins them."""

import ast
import html
import json
import os
import re
import shutil
import site
import subprocess
import sys
import tempfile
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lfwstudy.errors import ConfigError, choose_one, one_line
from lfwstudy.report.sanitise import sanitised
from lfwstudy.system.backend import left_out
from lfwstudy.system.files import temporary_beside, write_json, write_text
from lfwstudy.system.processes import environment

# Installed, the notebooks lie within the package; in a checkout beside it.
_PACKED = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = _PACKED if _PACKED.is_dir() else _PACKED.parents[1] / "notebooks"
# What the annotation of a notebook's parameter asks for, and with which option papermill passes such a value.
_KINDS = {
    "str": ("text", "-r {} TEXT"),
    "int": ("a whole number", "-p {} 1"),
    "float": ("a number", "-p {} 0.5"),
    "bool": ("true or false", "-p {} True"),
}


@dataclass(frozen=True)
class Page:
    """An executed notebook as a part of the report. anchor: unique within the report; stem: its file name."""

    stem: str
    anchor: str
    title: str
    notebook: str
    parameters: dict


def pages(study, suffix="", stages=None):
    """The notebooks of a study's combination in reading order: summary, data, stages."""
    s = study.settings
    shared = {
        name: getattr(s, name)
        for name in (
            "dataset",
            "data_dir",
            "profile",
            "ladder",
            "split",
            "protocol",
            "select",
            "precision",
            "keep",
            "test",
            "cluster",
        )
    } | {"seeds": study.seeds(), "out": str(study.out)}
    label = "" if not suffix else f" ({s.ladder} ladder, {s.protocol}, split {s.split}, by {s.select})"
    found = [
        Page(f"02_report{suffix}", f"summary{suffix}", f"Summary{label}", "02_report.ipynb", shared),
        Page(f"00_data{suffix}", f"data{suffix}", f"The data{label}", "00_data.ipynb", shared),
    ]
    for name in stages or study.stages():
        # Whoever executes the pages has trained what there is to show.
        found.append(
            Page(
                f"01_stage-{name}{suffix}",
                f"{name}{suffix}",
                f"Stage {name}{label}",
                "01_stage.ipynb",
                {"stage": name, "train": False, **shared},
            )
        )
    return found


def all_pages(study):
    """Pages of every combination of a study; the first one's file names carry no suffix."""
    found, first = [], None
    for other in study.combinations():
        values = other.settings.combination()
        first = first or values
        different = [str(values[key]) for key in values if values[key] != first[key]]
        found += pages(other, "".join(f"-{value}" for value in different))
    return found


def notebook_path(study, page):
    """Where a page's executed notebook lies."""
    return study.out / "notebooks" / f"{page.stem}.ipynb"


def execute(study, page, log):
    """Start executing a page's notebook through papermill in a process of its own; returns the process.

    log: an open file for what the process prints.

    Parameters that the notebook does not have are refused (ConfigError) before anything starts; papermill itself
    only warns.
    """
    source = NOTEBOOKS / page.notebook
    if not source.is_file():
        raise ConfigError(f"{source}: the notebook is missing; install the project again")
    known = notebook_parameters(source)
    unknown = sorted(set(page.parameters) - set(known))
    if unknown:
        raise ConfigError(f"{source.name} has no parameter {unknown[0]!r}. It has: {', '.join(known)}.")
    target = notebook_path(study, page)
    target.parent.mkdir(parents=True, exist_ok=True)
    job = target.with_name(f".{page.stem}.json")
    write_json(job, {"source": str(source), "target": str(target), "parameters": page.parameters})
    # Jupyter and IPython find nothing of the user's own there, and can write: not every home lets them.
    own = tempfile.mkdtemp(prefix="lfwstudy-")
    folders = dict.fromkeys(("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"), own)
    process = subprocess.Popen(
        [sys.executable, "-m", "lfwstudy.report.pages", str(job)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env=environment(**folders, JUPYTER_PATH="", JUPYTER_CONFIG_PATH="", PYDEVD_DISABLE_FILE_VALIDATION="1"),
    )
    weakref.finalize(process, shutil.rmtree, own, ignore_errors=True)
    return process


def check_parameters(namespace: dict) -> None:
    """Check, in a notebook's first cell after its parameters, what it was given for them: names it has, values of their kinds.

    namespace: the notebook's globals(). papermill puts the values that it was given into a cell of their own, whatever their
    names, and guesses what is a number. Raises ConfigError.
    """
    declared, given = {}, []
    for cell in namespace.get("In", ()):
        with suppress(SyntaxError):  # a cell of somebody's own, with magic
            lines = ast.parse(cell).body
            if not declared and lines and all(isinstance(line, ast.AnnAssign) for line in lines):
                declared = {line.target.id: line.annotation.id for line in lines}
            elif cell.startswith("# Parameters\n"):
                given = [ast.unparse(line.targets[0]) for line in lines if isinstance(line, ast.Assign)]
    for name in given:
        choose_one("parameter", name, declared)
    for name, kind in declared.items():
        value = namespace[name]
        if type(value).__name__ != kind and not (kind == "float" and type(value) is int):
            wanted, option = _KINDS[kind]
            raise ConfigError(
                f"{name} must be {wanted}, got {value!r:.80}; papermill passes it with {option.format(name)}"
            )


def notebook_parameters(source):
    """Names of a notebook's parameters, read without executing it."""
    nbformat = _nbformat()
    from papermill.inspection import inspect_notebook

    if not any("parameters" in c.metadata.get("tags", []) for c in nbformat.read(source, 4).cells):
        return []
    return list(inspect_notebook(_unformatted(source)))


def _nbformat():
    """nbformat, without the grammar of addresses that its validator would compile for three seconds and use for nothing here."""
    with left_out("rfc3987_syntax"):
        import nbformat
    return nbformat


def mark_gap(study, page, message):
    """Note in a page's executed notebook, where there is a readable one, that executing it failed; the report says so."""
    path = notebook_path(study, page)
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        notebook["metadata"]["lfwstudy_gap"] = message
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # the report says that it cannot be read
        return
    write_json(path, notebook)


def render(study):
    """Render html/*.html and report.html from the executed notebooks; returns the path of report.html."""
    sections = []
    for page in all_pages(study):
        source = notebook_path(study, page)
        try:
            body, headings = _body(source, page)
        except FileNotFoundError:
            body, headings = _gap(f"This part of the study is missing: {page.stem} was not executed."), []
        except (OSError, MemoryError):
            raise
        except Exception as error:  # whatever a damaged notebook makes the readers raise
            body, headings = _gap(f"{page.stem}.ipynb cannot be read: {type(error).__name__}: {error}"), []
        sections.append((page, body, headings))
        single = study.out / "html" / f"{page.stem}.html"
        single.parent.mkdir(parents=True, exist_ok=True)
        write_text(single, _page(study, page.title, [(page, body, headings)]))
    _render_play(study)
    target = study.out / "report.html"
    write_text(target, _page(study, "How far does a siamese network get at telling faces apart?", sections))
    return target


def _render_play(study):
    """html/03_explore.html, where somebody has executed that notebook into the study's folder: the explorers as stills."""
    page = Page("03_explore", "play", "Play", "03_explore.ipynb", {})
    source = notebook_path(study, page)
    if source.is_file():
        try:
            body, headings = _body(source, page)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # whatever a damaged notebook makes the readers raise
            body, headings = _gap(f"{source.name} cannot be read: {type(error).__name__}: {error}"), []
        note = (
            "<blockquote><p>There is no kernel behind this page: these are stills. To move things, open "
            "notebooks/03_explore.ipynb in JupyterLab.</p></blockquote>"
        )
        write_text(study.out / "html" / f"{page.stem}.html", _page(study, page.title, [(page, note + body, headings)]))


def _body(source, page):
    """HTML fragment of an executed notebook without code, ids made unique, and its second-level headings."""
    nbformat = _nbformat()
    from bs4 import BeautifulSoup
    from jupyter_core.paths import ENV_JUPYTER_PATH, SYSTEM_JUPYTER_PATH
    from nbconvert import HTMLExporter

    class Exporter(HTMLExporter):
        """With the templates that came with it: neither the user's own nor those of the current folder, which are programs."""

        def get_prefix_root_dirs(self):
            return [*ENV_JUPYTER_PATH, *SYSTEM_JUPYTER_PATH, os.path.join(site.getuserbase(), "share", "jupyter")]

    exporter = Exporter(
        template_name="basic",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        extra_template_basedirs=[],
        template_data_paths=[],
    )
    notebook = nbformat.read(source, 4)
    # The notebook's own title gives way to the one computed from the run, which names the data.
    if any("text/markdown" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", [])):
        del notebook.cells[0]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            # Warnings of libraries are for the executed notebook, not for the reader; errors stay.
            cell.outputs = [o for o in cell.outputs if not (o.output_type == "stream" and o.name == "stderr")]
            for output in cell.outputs:
                # A page has no kernel: where a widget says what it shows in HTML, that stands.
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    fragment, _ = exporter.from_notebook_node(notebook)
    soup = BeautifulSoup(sanitised(fragment), "html.parser")
    headings = []
    for text in soup.find_all(string=True):
        if _homeless(text) != text:
            text.replace_with(_homeless(text))
    for number, tag in enumerate(soup.find_all(["h1", "h2", "h3"])):
        tag["id"] = f"{page.anchor}-{number}"
        if tag.name == "h2":
            headings.append((tag["id"], tag.get_text().strip("¶ ")))
    for table in soup.find_all("table"):
        _align(table)
    for image in soup.find_all("img"):
        if not image.get("src", "").startswith("data:"):
            image.decompose()  # nothing is loaded from elsewhere
        elif not image.find_parent("figure"):
            image["alt"] = f"Figure: {_heading(image)}"
            image.wrap(soup.new_tag("div", attrs={"class": "scroll", "tabindex": "0"}))
    for number, region in enumerate(soup.select("figure > .scroll"), 1):
        # Each by a name of its own, so that a list of the regions tells them apart.
        region["aria-label"] = f"{region.get('aria-label', 'Figure')} {number} of {page.title}: {_heading(region)}"
    for drawn in soup.select("figure > .scroll > svg"):
        drawn["aria-label"] = f"{_heading(drawn)}: {drawn.get('aria-label', '')}"
    message = notebook.metadata.get("lfwstudy_gap")
    return (_gap(f"This part failed, what follows may be cut short or older: {message}") if message else "") + re.sub(
        r"(\d) %", "\\1\u00a0%", str(soup)
    ), headings


def _heading(tag):
    found = tag.find_previous(["h1", "h2", "h3"])
    return found.get_text().strip("¶ ") if found else ""


def _align(table):
    """Columns of numbers to the right, under headings that say which column they are of; what is carried forward marked."""
    headers = table.select("thead th")
    lines = [line.find_all("td") for line in table.select("tbody tr")]
    for at, header in enumerate(headers):
        if header.get_text().strip():
            header["scope"] = "col"
        else:
            header.name = "td"
        cells = [line[at] for line in lines if at < len(line)]
        texts = [cell.get_text().strip() for cell in cells]
        if any(texts) and all(_NUMBER.fullmatch(text) for text in texts):
            for cell in (header, *cells):
                cell["class"] = "number"
            for cell in cells:
                # A figure and its interval stay in one line; the single runs behind it may go to the next.
                figure, opened, singles = cell.get_text().strip().partition(" (")
                cell.string = figure.replace(" ", "\u00a0") + opened + singles
                cell["class"] = "number" if singles else "number line"
    for line in lines:
        if any("►" in cell.get_text() for cell in line):
            line[0].parent["class"] = "carried"


# Empty, or a figure with its unit, its interval, or published | measured.
_NUMBER = re.compile(
    r"|not finished|not scored|diverged|[–+\-<]?\s*\d*[\d.,:]*\s*(%|s|min|h|MiB|M|x)?"
    r"(\s*\[[^\]]*\]|\s*\|\s*[–\d][\d.,]*)?(\s*\([^)]*\))?"
)


def _gap(text):
    return f'<p class="gap">{html.escape(_homeless(text))}</p>'


def _homeless(text):
    """A text without the user's home folder in its paths: reports are handed around."""
    home = os.path.expanduser("~").rstrip("/")
    return re.sub(rf"(?<![\w/.-]){re.escape(home)}(?![\w.-])", "~", text) if home else text


def _page(study, title, sections):
    from jinja2 import Environment

    template = Environment(autoescape=True).from_string(_TEMPLATE)
    from lfwstudy.report.tables import source_line

    return template.render(
        title=title, source=source_line(study), sections=sections, style=_CSS, demo=study.settings.dataset == "demo"
    )


_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ title }}{{ " (demo)" if demo else "" }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<header id="top">
<p class="kicker">lfwstudy{{ " · demo faces" if demo else "" }}</p>
<h1>{{ title }}</h1>
<p class="source">{{ source }}</p>
</header>
<div class="columns">
<nav aria-label="Contents">
<h2>Contents</h2>
<ol>
{%- for page, body, headings in sections %}
<li><a href="#{{ page.anchor }}">{{ page.title }}</a>
{%- if sections | length == 1 %}<ol>{% for id, text in headings %}<li><a href="#{{ id }}">{{ text }}</a></li>{% endfor %}</ol>{% endif %}</li>
{%- endfor %}
</ol>
</nav>
<main>
{%- for page, body, headings in sections %}
<section id="{{ page.anchor }}">
{{ body | safe }}
<p class="up"><a href="#top">Up to the contents</a></p>
</section>
{%- endfor %}
</main>
</div>
</body>
</html>
"""

_CSS = """
:root { color-scheme: light dark; --ink: #1c1c1e; --soft: #5b5b60; --line: #dcdce0; --paper: #ffffff; --link: #0b5cad;
  --note: #fff6dd; --gap: #fde8e8; --carried: #eef7f2; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e9; --soft: #a8a9b0; --line: #3a3c42; --paper: #17181b; --link: #82b8f2; --note: #2f2a18;
    --gap: #47211f; --carried: #1c2b24; }
}
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: var(--ink); background: var(--paper); }
header { padding: 2rem 1.5rem 1rem; max-width: 80rem; margin: 0 auto; border-bottom: 1px solid var(--line); }
header h1 { margin: .2rem 0; font-size: 1.9rem; line-height: 1.2; }
.kicker { margin: 0; color: var(--soft); letter-spacing: .06em; text-transform: uppercase; font-size: .8rem; }
.source { margin: .3rem 0 0; color: var(--soft); }
.columns { display: grid; grid-template-columns: 12rem minmax(0, 1fr); gap: 2rem; max-width: 80rem; margin: 0 auto;
  padding: 0 1.5rem 4rem; }
nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow: auto; padding: 1.2rem 0; font-size: .9rem; }
nav h2 { font-size: .8rem; text-transform: uppercase; letter-spacing: .06em; color: var(--soft); margin: 0 0 .4rem; }
nav ol { list-style: none; padding: 0; margin: 0; } nav li { margin: .3rem 0; } nav ol ol { padding-left: .8rem; }
a { color: var(--link); } nav a { text-decoration: none; } nav a:hover { text-decoration: underline; }
section { border-bottom: 1px solid var(--line); padding: 1rem 0 2rem; }
section h1 { font-size: 1.5rem; line-height: 1.25; margin: 1rem 0 .5rem; }
section h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; } section h3 { font-size: .9rem; margin: .9rem 0 .3rem; }
section p, section li, blockquote { max-width: 44rem; }
.up { display: none; }
blockquote { margin: 1rem 0; padding: .5rem 1rem; background: var(--note); border-left: 4px solid #d9a400; }
blockquote p { margin: .3rem 0; }
svg, img { max-width: 100%; height: auto; }
figure { margin: .6rem 0 1.2rem; }
figcaption { color: var(--soft); padding: .4rem 0; font-size: .8rem; line-height: 1.45; max-width: 52rem; }
.scroll { overflow-x: auto; }
/* Figures take part in light and dark: what matplotlib draws in black, white and greys follows the page. */
figure > .scroll > svg { display: block; fill: var(--ink); }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure svg [style*="fill: #ffffff"] { fill: var(--paper) !important; }
figure svg [style*="stroke: #000000"] { stroke: var(--ink) !important; }
figure svg [style*="fill: #666666"] { fill: var(--soft) !important; }
figure svg :is([style*="stroke: #e6e6e6"], [style*="stroke: #d9d9d9"], [style*="stroke: #bfbfbf"]) { stroke: var(--line) !important; }
@media screen and (prefers-color-scheme: dark) {
  figure svg [style*="stroke: #0173b2"] { stroke: #3b9be0 !important; }
  figure svg [style*="fill: #0173b2"] { fill: #3b9be0 !important; }
}
table.lfw-plain th, table.lfw-plain td { text-align: left; padding: .2rem .8rem .2rem 0; font-size: .85rem; }
table.lfw-plain caption { text-align: left; white-space: nowrap; }
section svg text { fill: currentColor; font: 12px sans-serif; }
.scroll > img { background: #fff; }
/* A row has six pairs: none stands alone in a line. */
.cards { display: grid !important; grid-template-columns: repeat(6, 154px); }
@media (max-width: 1300px) { .cards { grid-template-columns: repeat(3, 154px); column-gap: 24px !important; } }
@media (max-width: 600px) { .cards { grid-template-columns: repeat(2, 154px); column-gap: 14px !important; } }
@media (max-width: 360px) { .cards { grid-template-columns: 154px; } }
table.study { border-collapse: collapse; font-size: .8rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
table.study th, table.study td { padding: .28rem .8rem .28rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
table.study thead :is(th, td) { border-bottom: 2px solid var(--ink); font-weight: 600; vertical-align: bottom; }
table.study .number { text-align: right; } table.study :is(.line, td:first-child:not(:last-child)) { white-space: nowrap; }
table.study .carried td { background: var(--carried); font-weight: 600; }
.gap, .jp-RenderedText[data-mime-type="application/vnd.jupyter.error"] { background: var(--gap); padding: .6rem 1rem; }
pre { overflow-x: auto; font-size: .8rem; }
@media (max-width: 800px) {
  .columns { grid-template-columns: minmax(0, 1fr); gap: 0; padding: 0 1rem 3rem; }
  nav { position: static; max-height: none; border-bottom: 1px solid var(--line); }
  .up { display: block; font-size: .9rem; } table.study td:first-child:not(.number) { white-space: normal; }
  header { padding: 1.2rem 1rem .8rem; } header h1 { font-size: 1.45rem; }
  /* Wider figures and tables are moved sideways rather than made too small to read. */
  .scroll > img, .scroll > svg { max-width: 620px; }
}
@media print {
  @page { margin: 14mm 12mm; }
  body { font-size: 10.5pt; } header, .columns { padding: 0; max-width: none; }
  nav, .up { display: none; } .columns { display: block; }
  section { border: 0; padding: 0; } section + section { break-before: page; }
  .scroll { overflow: visible; } table.study { font-size: 7pt; } table.study th, table.study td { padding-right: .5rem; }
  svg, img, tr, .card { break-inside: avoid; } h1, h2, h3 { break-after: avoid; } thead { display: table-header-group; }
  figure:has(> .scroll > svg) { break-inside: avoid; } figcaption { break-before: avoid; }
  .cards { grid-template-columns: repeat(6, 1fr); gap: 4px 8px !important; }
  .card { width: auto !important; } .card img { width: 54px; height: 54px; } .card svg { width: 110px; }
}
"""


def main(path):
    """Execute the notebook described by a JSON file through papermill; exit status 1 with one line where it fails.

    What was executed is kept in any case, with the error in its place.
    """
    import threading

    from lfwstudy.system.processes import end_with_parent

    threading.Thread(target=end_with_parent, daemon=True).start()
    _nbformat()
    import papermill
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from papermill.exceptions import PapermillExecutionError

    class ThisPython(AsyncKernelManager):
        """The kernel is this Python, whatever else is called python3; the folder it works in is not on its import path."""

        kernel_spec = KernelSpec(
            language="python",
            argv=[
                sys.executable,
                "-P",
                "-m",
                "ipykernel_launcher",
                "-f",
                "{connection_file}",
                "--IPKernelApp.ignore_cwd=True",
            ],
        )

    job = json.loads(Path(path).read_text(encoding="utf-8"))
    Path(path).unlink()
    target = Path(job["target"])
    temporary = temporary_beside(target)
    try:
        papermill.execute_notebook(
            _unformatted(job["source"]),
            _unformatted(temporary),
            job["parameters"],
            progress_bar=False,
            coalesce_streams=True,
            cwd=str(Path(job["source"]).parent),
            kernel_manager_class=ThisPython,
        )
    except PapermillExecutionError as error:
        print(f"error: {error.ename}: {_first_line(error.evalue)}", file=sys.stderr)
        return 1
    except Exception as error:  # a kernel that died, a full disk
        died = " (out of memory?)" if type(error).__name__ == "DeadKernelError" else ""
        print(f"error: {type(error).__name__}: {_first_line(str(error))}{died}", file=sys.stderr)
        return 1
    finally:
        written = _is_whole(temporary)
        if written:
            os.replace(temporary, target)
        temporary.unlink(missing_ok=True)
    if not written:
        print(f"error: {target}: papermill ended without writing it", file=sys.stderr)
    return int(not written)


def _unformatted(path):
    """A path as papermill takes it, which fills parameters into braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _first_line(text):
    return one_line((str(text).strip().splitlines() or [""])[0])


def _is_whole(path):
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
