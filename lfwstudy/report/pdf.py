"""The report as a PDF, printed by a headless Chromium, Chrome or Edge."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from lfwstudy.errors import ConfigError, RunError
from lfwstudy.system.files import replacing

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge")
_PATIENCE = 300  # seconds
# Paper unfolds nothing.
_RULES = """
@page { size: A4 }
section summary { display: none }
section details::details-content { content-visibility: visible; display: block }
"""


def find_browser() -> str:
    """Path of a browser that prints PDF files.

    Raises
    ------
    ConfigError
        If there is none.
    """
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    raise ConfigError(
        f"a PDF needs a browser on the PATH, and there is none ({', '.join(_NAMES)}); install one, or print "
        "report.html from any browser"
    )


def write_pdf(report: Path, browser: str) -> Path:
    """Print a report, appendices included, to a PDF file next to it; returns its path.

    The PDF has bookmarks, and its contents have page numbers. Browsers do not number contents themselves, so the
    report is printed twice: the first printing tells on which page each part begins.

    Raises
    ------
    RunError
        If the browser fails.
    """
    target, page = report.with_suffix(".pdf"), report.read_text(encoding="utf-8")
    with replacing(target) as printed:
        rules = _RULES
        _print(browser, page, rules, printed)
        for anchor, number in page_numbers(printed.read_bytes()).items():
            rules += f'nav a[href="#{anchor}"]::after {{ content: "{number}" }}'
        _print(browser, page, rules, printed)
    return target


def page_numbers(pdf: bytes) -> dict[str, int]:
    """The page, from 1, on which each target of a link stands, in a PDF as Chromium writes it: objects in plain text."""
    pages = re.findall(rb"^(\d+) 0 obj\s*<</Type /Page\b", pdf, re.MULTILINE)
    targets = re.findall(rb"/([\w.-]+) \[(\d+) 0 R /XYZ", pdf)
    return {name.decode(): pages.index(page) + 1 for name, page in targets if page in pages}


def _print(browser: str, page: str, rules: str, target: Path) -> None:
    """Print a page with more CSS rules to a PDF file."""
    source = target.with_suffix(".html")  # next to it: some browsers read no other folder than the user's own
    options = ["--headless", "--disable-gpu", "--no-pdf-header-footer", "--generate-pdf-document-outline"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # as root, in containers, the sandbox does not start
    try:
        source.write_text(page.replace("</style>", f"{rules}</style>", 1), encoding="utf-8")
        with tempfile.TemporaryDirectory(prefix="lfwstudy-") as own:  # not the user's profile, which may be in use
            places = f"--user-data-dir={own}", f"--print-to-pdf={target.absolute()}", source.absolute().as_uri()
            done = subprocess.run([browser, *options, *places], capture_output=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        raise RunError(f"{browser} did not print the report within {_PATIENCE} seconds") from None
    finally:
        source.unlink(missing_ok=True)
    if done.returncode or not target.is_file():
        told = done.stderr.decode(errors="replace").strip().rpartition("\n")[-1]
        raise RunError(f"{browser} could not print the report, status {done.returncode}: {told or 'no message'}")
