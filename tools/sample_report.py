"""The sample report on drawn demo faces, and the README's image of it: `python -m tools.sample_report`.

Needs Chromium or Chrome on the path.
"""

import argparse
import io
import re
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from lfwstudy import cli
from lfwstudy.report.pdf import find_browser

ROOT = Path(__file__).resolve().parents[1]
OUT, REPORT, IMAGE = ROOT / "runs/sample", ROOT / "docs/sample-report.html", ROOT / "docs/images/report.png"
# The whole ladder's report is too large to keep in a repository.
STAGES = "base,stride,early-stopping,batchnorm,augmentation"
# Pixels of the image, and few enough colours for a file below 200 kB.
WIDTH, HEIGHT, COLOURS = 1200, 1050, 96
# A link to the study's other pages, which do not lie next to the sample.
ELSEWHERE = r' <a href="html/[^"]*">[^<]*</a>'


def main() -> int:
    """Run the demo study, or resume it, and copy its report and an image of it to docs/. Returns the exit status."""
    if status := cli.main(["run", "--dataset", "demo", "--stages", STAGES, "--out", str(OUT)]):
        return status
    report = (OUT / "report.html").read_text(encoding="utf-8")
    REPORT.write_text(re.sub(ELSEWHERE, "", report), encoding="utf-8")
    photograph(REPORT, IMAGE)
    return 0


def photograph(report: Path, to: Path) -> None:
    """Write an image of the beginning of a report to a PNG file."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(report.as_uri())
        shot = page.screenshot(timeout=120_000)
        browser.close()
    to.parent.mkdir(exist_ok=True)
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS).save(to, optimize=True)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    sys.exit(main())
