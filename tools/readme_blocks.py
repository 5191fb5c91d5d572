"""Measured figures in README.md and docs/: written from results/ by `python -m tools.readme_blocks`, never typed.

Text between `<!-- NAME -->` and `<!-- /NAME -->` on a page is replaced by the block of that name. With --check nothing is
written; the exit status is 1 if a page is out of date.
"""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from lfwstudy.system.files import read_json, write_text
from tools import ladder_blocks, measurement_blocks, study_blocks
from tools.growth_figure import growth_figure
from tools.kept_studies import BEYOND, RESULTS

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(RESULTS.glob("*/README.md")),
    ROOT / "lfwstudy" / "verify" / "shipped" / "CARD.md",
)
BLOCKS: dict[str, Callable[[], str]] = {
    "summary": study_blocks.summary,
    "headline": study_blocks.headline,
    "results": ladder_blocks.report_ladders,
    "reproduction": ladder_blocks.reproduced,
    "first_epochs": ladder_blocks.first_epochs,
    "beyond": study_blocks.beyond,
    "larger": study_blocks.larger,
    "contamination": measurement_blocks.contamination,
    "precision": measurement_blocks.precision,
    "bench": measurement_blocks.benches,
    "accelerator": measurement_blocks.accelerator,
    "growth": measurement_blocks.growth,
    "cluster": measurement_blocks.cluster,
    "verify": measurement_blocks.verify,
}


def filled(page: Path) -> str:
    """A page's text with its blocks made again, links relative to the page. Raises KeyError for an unknown block."""
    up = "../" * (len(page.relative_to(ROOT).parts) - 1)

    def block_of(match: re.Match) -> str:
        content = BLOCKS[match[1]]().replace("](results/", f"]({up}results/")
        return f"<!-- {match[1]} -->\n{content}\n<!-- /{match[1]} -->"

    return re.sub(r"^<!-- (\w+) -->\n.*?^<!-- /\1 -->", block_of, page.read_text(encoding="utf-8"), flags=re.S | re.M)


def draw() -> None:
    """Draw the figures that the blocks show."""
    study_blocks.seconds_figure().savefig(RESULTS / BEYOND / "seconds.png", dpi=120)
    growth_figure(read_json(RESULTS / "growth.json")).savefig(RESULTS / "growth.png", dpi=120)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.readme_blocks", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only name the pages that are out of date")
    check = parser.parse_args(arguments).check
    if not check:
        draw()
    stale = {page: text for page in PAGES if (text := filled(page)) != page.read_text(encoding="utf-8")}
    for page, text in stale.items():
        print(page.relative_to(ROOT))
        if not check:
            write_text(page, text)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
