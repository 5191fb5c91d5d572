"""The whole way: command, notebooks, report. One short study of two stages serves most tests."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from conftest import serious_findings
from papermill.inspection import inspect_notebook

from lfwstudy.errors import StudyError
from lfwstudy.report import notebooks, pages
from lfwstudy.study.study import open_study
from lfwstudy.system.files import read_csv, read_json
from lfwstudy.verify import kept
from lfwstudy.verify.verifier import load_verifier
from tests.support.commands import lfwstudy
from tools import model_card

pytestmark = pytest.mark.notebook
NOTEBOOKS = notebooks.NOTEBOOKS
VERDICT = r"(same person|different people): P\(same\) [01]\.\d\d, threshold 0\.50 \(network: [a-z0-9-]+: [a-z0-9-]+, seed 0\)\n"
STUDY = ("run", "--profile", "tiny", "--stages", "early-stopping")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A finished demo study of two stages."""
    folder = tmp_path_factory.mktemp("study")
    done = lfwstudy(*STUDY, "--out", folder, env={**os.environ, "LFWSTUDY_TEST_CONNECTIONS": f"{folder}.connections"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"report: {folder}/report.html"
    return folder


def test_study_leaves_the_agreed_files(out):
    names = ["00_data", "01_stage-base", "01_stage-early-stopping", "02_report"]
    assert sorted(p.name for p in (out / "notebooks").iterdir()) == [f"{n}.ipynb" for n in names]
    assert sorted(p.name for p in (out / "html").iterdir()) == [f"{n}.html" for n in names]
    rows = read_csv(out / "results.csv")
    assert [(r["stage"], r["variant"], r["dataset"], r["profile"]) for r in rows] == [
        ("base", "base", "demo", "tiny"),
        ("early-stopping", "patience5", "demo", "tiny"),
        ("early-stopping", "patience5-cross-entropy", "demo", "tiny"),
    ]
    for row in rows:
        assert {p.name for p in (out / "runs" / row["run"]).iterdir()} - {"model.keras", "log.txt", ".lock"} == {
            "config.json",
            "history.csv",
            "predictions.csv",
            "result.json",
        }


def test_report_is_one_file_without_network_or_paths(out):
    page = (out / "report.html").read_text()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page) and "<script" not in page and "@import" not in page
    soup = BeautifulSoup(page, "html.parser")
    commands = [code.extract().get_text() for code in soup("code") if code.get_text().startswith("lfwstudy run ")]
    assert commands and all(f"--out {out}" in command for command in commands)
    assert str(out) not in str(soup) and "site-packages" not in page and "Traceback" not in page
    for section in ("summary", "data", "stage-base", "stage-early-stopping"):
        assert f'<section id="{section}">' in page and f'href="#{section}"' in page
    figures = re.findall(r'<figure><div aria-label="([^"]+)"[^>]*><p[^>]*>[^<]*</p><svg aria-label="([^"]+)"', page)
    assert len(figures) >= 10 and len({name for name, _ in figures}) == len(figures) and len(page) < 20e6
    assert all("demo faces" in told for _, told in figures)
    assert all(text.strip() for text in re.findall(r"<figcaption>(.*?)</figcaption>", page, re.S))
    assert all("alt=" in tag for tag in re.findall(r"<img [^>]*?>", page))
    ids = re.findall(r'<h[123][^>]* id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "import " not in re.sub(r"base64,[^\"]*", "", page)


def test_a_study_speaks_to_no_other_machine(out):
    """Each of its processes notes whom Python speaks to there (tiny_profile/sitecustomize.py); kernels are on this machine."""
    lines = Path(f"{out}.connections").read_text().splitlines()
    # The command, two trainings, four notebooks and their kernels; on Linux also the server of the trainings.
    assert lines.count("began ") >= 11 + (sys.platform == "linux")
    spoken = {line for line in lines if line != "began "}
    assert all(re.fullmatch(r"socket\.\w+ (127\.0\.0\.1|::1|localhost|None|/.*)", line) for line in spoken), spoken


@pytest.mark.browser
@pytest.mark.parametrize(
    "width, scheme",
    [
        (1400, "light"),
        pytest.param(1400, "dark", marks=pytest.mark.long),
        pytest.param(390, "light", marks=pytest.mark.long),
        pytest.param(390, "dark", marks=pytest.mark.long),
    ],
)
def test_report_reads_on_every_screen_without_a_serious_accessibility_finding(out, chromium, width, scheme):
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((out / "report.html").as_uri())
    assert serious_findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert all(url.startswith(("file:", "data:")) for url in asked)
    page.close()


def test_everything_made_from_demo_faces_says_so(out):
    for path in [*(out / "html").glob("*.html"), out / "report.html"]:
        page = path.read_text()
        assert all("demo" in heading for heading in re.findall(r"<h1[^>]*>(.*?)</h1>", page, re.S)[1:])
        # A drawn figure says it within itself.
        captions = re.findall(
            r"<figcaption>(.*?)</figcaption>", re.sub(r"</svg>\s*</div><figcaption>.*?</figcaption>", "", page), re.S
        )
        assert captions and all("emo faces" in c for c in captions)
    assert "claims is drawn from images other than LFW" in page and "LFW-a" not in page


@pytest.mark.long
def test_finished_study_only_renders(out):
    before = {p: p.stat().st_mtime_ns for p in (out / "runs").rglob("*")}
    done = lfwstudy(*STUDY, "--out", out)
    assert done.returncode == 0, done.stderr
    assert {p: p.stat().st_mtime_ns for p in (out / "runs").rglob("*")} == before
    assert "trained" not in done.stderr


@pytest.mark.long
def test_weights_of_the_best_variant_stay_and_verify_uses_them(out, cache):
    study = open_study(out)[0]
    best = study.climb()[-1].after.specs[0].run
    assert [run for run in study.store.ids() if study.store.has_weights(run)] == [best]
    images = sorted((cache / "demo-1" / "demo").rglob("*.jpg"))[:2]
    box = ("--left-box", "70,70,180,180", "--right-box", "70,70,180,180")
    done = lfwstudy("verify", *images, *box, "--out", out)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(VERDICT, done.stdout) and "drawn faces" in done.stderr
    same = lfwstudy("verify", images[0], images[0], *box, "--out", out)
    assert re.search(VERDICT, same.stdout)


def test_network_of_a_study_can_be_handed_out_with_its_card(out, cache, tmp_path, monkeypatch):
    with pytest.raises(StudyError, match="drawn faces"):
        model_card.ship(out, tmp_path / "shipped")
    monkeypatch.setattr(model_card.wording, "is_demo", lambda study: False)
    run = model_card.ship(out, tmp_path / "shipped")
    names = ["CARD.md", "head.onnx", "model.keras", "roc.png", "run.json", "tower.onnx"]
    assert sorted(p.name for p in (tmp_path / "shipped").iterdir()) == names
    result = read_json(out / "runs" / run / "result.json")
    told = (tmp_path / "shipped" / "CARD.md").read_text(encoding="utf-8")
    assert run in told and f"| accuracy | {100 * result['test_accuracy_at_best']:.1f} % [" in told and "{" not in told
    monkeypatch.setattr(kept, "SHIPPED", tmp_path / "shipped")
    images = sorted((cache / "demo-1" / "demo").rglob("*.jpg"))[:2]
    boxes = [(70, 70, 180, 180)] * 2
    own, shipped = load_verifier(out), load_verifier()
    assert own.score(*images, *boxes) == pytest.approx(shipped.score(*images, *boxes), abs=1e-4)
    assert own.network.is_demo and shipped.network.name == "shipped with lfwstudy"
    monkeypatch.setattr(model_card, "LARGEST", 1000)
    with pytest.raises(StudyError, match="at most 0 are shipped"):
        model_card.ship(out, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.long
def test_bare_papermill_runs_one_stage(tmp_path):
    target = tmp_path / "executed.ipynb"
    parameters = ["-p", "stage", "base", "-p", "dataset", "demo", "-p", "profile", "tiny", "-p", "out", "here"]
    subprocess.run(
        [sys.executable, "-m", "papermill", NOTEBOOKS / "01_stage.ipynb", target, *parameters],
        check=True,
        timeout=400,
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, "JUPYTER_PREFER_ENV_PATH": "1"},
    )
    cells = json.loads(target.read_text())["cells"]
    outputs = [o for cell in cells for o in cell.get("outputs", [])]
    assert any("<svg" in "".join(o.get("data", {}).get("text/html", "")) for o in outputs)
    assert len(read_csv(tmp_path / "here" / "results.csv")) == 1


@pytest.mark.parametrize(
    "notebook",
    ["01_stage", *(pytest.param(name, marks=pytest.mark.long) for name in ("00_data", "02_report", "03_explore"))],
)
def test_papermill_explains_every_parameter(notebook):
    done = subprocess.run(
        [sys.executable, "-m", "papermill", "--help-notebook", str(NOTEBOOKS / f"{notebook}.ipynb")],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in inspect_notebook(str(NOTEBOOKS / f"{notebook}.ipynb")):
        assert re.search(rf"{name}: (str|int|bool) \(default .*\)\s+\S.{{5,}}", done.stdout), name


@pytest.mark.long
def test_missing_notebook_shows_as_a_gap(out):
    study = open_study(out)[0]
    (out / "notebooks" / "01_stage-base.ipynb").rename(out / "hidden.ipynb")
    try:
        assert "was not executed" in pages.render(study).read_text()
    finally:
        (out / "hidden.ipynb").rename(out / "notebooks" / "01_stage-base.ipynb")
        pages.render(study)
