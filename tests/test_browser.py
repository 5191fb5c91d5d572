"""The explorers in JupyterLab, in a headless Chromium: a slider moved, a pair opened, a one-second test taken.

Screenshots lie in $LFWSTUDY_SCREENSHOTS where that is set, to be looked at.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import serious_findings

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "a-token-for-this-test"
PATIENCE = 60_000  # milliseconds
HEADINGS = (
    "Run browser",
    "Pair browser",
    "Threshold and ROC",
    "Augmentation bench",
    "What the network looks at",
    "Try your own",
    "The one-second test",
    "Live training",
)

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def lab(chromium, played, tmp_path_factory):
    """URL of a JupyterLab with its token, serving the play notebook set to a finished study."""
    home = tmp_path_factory.mktemp("lab")
    work = home / "work"
    work.mkdir()
    notebook = json.loads((ROOT / "notebooks" / "03_explore.ipynb").read_text())
    notebook["cells"][1]["source"] = [
        line if not line.startswith("out:") else f"out: str = {str(played)!r}\n"
        for line in notebook["cells"][1]["source"]
    ]
    (work / "03_explore.ipynb").write_text(json.dumps(notebook))
    config = home / "config" / "labconfig"
    config.mkdir(parents=True)
    # The question about news would lie over the notebook.
    (config / "page_config.json").write_text(
        json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}})
    )
    environment = {
        **os.environ,
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    with open(home / "log.txt", "w") as log:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterlab",
                "--no-browser",
                "--allow-root",
                "--expose-app-in-browser",
                "--port=0",
                f"--IdentityProvider.token={TOKEN}",
                f"--ServerApp.root_dir={work}",
            ],
            stdout=log,
            stderr=log,
            env=environment,
        )
    try:
        until = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:\d+/", (home / "log.txt").read_text())):
            assert server.poll() is None and time.monotonic() < until, (home / "log.txt").read_text()[-2000:]
            time.sleep(0.2)
        yield found.group()
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def page(lab, chromium):
    """The play notebook, every cell run."""
    page = chromium.new_page(viewport={"width": 1400, "height": 1700})
    page.set_default_timeout(PATIENCE)
    # As on a busy machine: anywidget gives up waiting for a control's script at once, which is an error of its own.
    page.add_init_script("const wait = AbortSignal.timeout; AbortSignal.timeout = () => wait.call(AbortSignal, 0);")
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(f"{lab}lab/tree/03_explore.ipynb?token={TOKEN}")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    # Cells that run before the kernel is there make JupyterLab ask for one.
    page.wait_for_function("window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    page.evaluate("{ window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    return page


def explorer(page, heading):
    """The explorer below a heading of the notebook, scrolled to and drawn."""
    at = page.evaluate(
        """heading => window.jupyterapp.shell.currentWidget.content.widgets.findIndex(
        cell => cell.model.sharedModel.getSource().startsWith('## ' + heading))""",
        heading,
    )
    assert at > 0, heading
    page.evaluate(
        """async at => { const notebook = window.jupyterapp.shell.currentWidget.content;
        notebook.activeCellIndex = at + 1; await notebook.scrollToItem(at + 1, 'start'); }""",
        at,
    )
    found = page.locator(f".jp-Cell[data-windowed-list-index='{at + 1}'] .lfw-explorer").first
    found.wait_for()
    return found


def keep(found, name):
    """A screenshot for a person to look at, where one is wanted."""
    folder = os.environ.get("LFWSTUDY_SCREENSHOTS")
    if folder:
        found.page.wait_for_timeout(400)
        found.screenshot(path=Path(folder) / f"{name}.png")


@pytest.mark.long
def test_runs_are_compared_sorted_and_filtered(page):
    found = explorer(page, "Run browser")
    keep(found, "runs")
    assert found.locator(".lfw-table tbody tr").count() == 2
    assert found.get_by_role("row", name="batch-norm placement none before-activation").count() == 1
    band = found.locator(".lfw-band").first
    band.hover()
    assert float(band.evaluate("band => getComputedStyle(band).fillOpacity")) > 0
    assert band.locator("title").text_content().startswith("Epoch 1, accuracy on validation\n")
    found.get_by_role("button", name="test, %", exact=True).click()
    values = [float(text) for text in found.locator(".lfw-table tbody tr td:nth-child(5)").all_inner_texts()]
    assert values == sorted(values) and found.locator("th[aria-sort=ascending]").count() == 1
    found.get_by_role("searchbox").fill("impatient")
    assert found.locator(".lfw-table tbody tr").count() == 1 and "1 of 2 rows" in found.inner_text()


def test_pair_is_found_by_keyboard_and_opened_with_its_neighbours(page):
    found = explorer(page, "Pair browser")
    found.get_by_text("Neighbours are the nearest of").wait_for()
    assert found.locator(".lfw-gallery button[aria-pressed=true]").count() == 1
    found.get_by_label("Classified").select_option("incorrectly")
    found.locator(".lfw-gallery button .lfw-incorrect").first.wait_for()
    assert found.locator(".lfw-gallery button .lfw-correct").count() == 0
    found.locator(".lfw-gallery button").nth(1).focus()
    height = found.bounding_box()["height"]
    page.keyboard.press("Enter")
    found.locator(".lfw-gallery button[aria-pressed=true]").nth(0).wait_for()
    found.get_by_text("which is incorrect").wait_for()
    found.get_by_text("Neighbours are the nearest of").wait_for()
    assert found.bounding_box()["height"] == pytest.approx(height, abs=2)
    assert found.locator(".lfw-gallery").nth(4).locator("li:not(.lfw-room) img").count() == 6
    assert all(alt for alt in found.locator("img:not(.lfw-room img)").evaluate_all("images => images.map(i => i.alt)"))
    keep(found, "pairs")


def test_choices_and_numbers_hear_the_arrow_keys(page):
    found = explorer(page, "Pair browser")
    part = found.get_by_label("Set")
    part.focus()
    page.keyboard.press("ArrowDown")
    assert part.input_value() == "validation"
    found.get_by_text(re.compile(r"of \d\d? pairs")).wait_for()
    page.keyboard.press("ArrowUp")
    assert part.input_value() == "test"
    found.get_by_text(re.compile(r"of \d\d\d pairs")).wait_for()
    found.get_by_role("button", name="next pairs").focus()
    page.keyboard.press("Enter")
    found.get_by_text("11 to 20 of").wait_for()
    stages = explorer(page, "Run browser").get_by_label("Stages")
    stages.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    assert stages.evaluate("choice => [...choice.selectedOptions].map(o => o.text)") == ["augmentation"]
    page.keyboard.press("Shift+ArrowUp")
    pairs = explorer(page, "The one-second test").get_by_label("Number of pairs")
    pairs.focus()
    page.keyboard.press("ArrowUp")
    assert pairs.input_value() == "21"
    page.keyboard.press("ArrowDown")


def test_slider_moves_the_threshold_at_once_and_nothing_jumps(page):
    found = explorer(page, "Threshold and ROC")
    slider = found.get_by_role("slider", name="Threshold")
    before, height = found.locator("svg").first.get_attribute("aria-label"), found.bounding_box()["height"]
    waits = []
    slider.focus()
    for _ in range(12):
        waits.append(  # noqa: PERF401
            slider.evaluate("""slider => new Promise(done => {
            const place = slider.closest('.lfw-explorer'), from = performance.now();
            const watcher = new MutationObserver(() => {
                const words = place.querySelector('svg').getAttribute('aria-label');
                if (words.includes('threshold ' + Number(slider.value).toFixed(3))) {
                    watcher.disconnect(); done(performance.now() - from); }});
            watcher.observe(place, {subtree: true, childList: true});
            slider.stepUp(5); slider.dispatchEvent(new Event('input'));
        })""")
        )
    print("threshold moves, milliseconds:", [round(w) for w in waits])
    assert found.locator("svg").first.get_attribute("aria-label") != before
    assert found.bounding_box()["height"] == pytest.approx(height, abs=2)
    # 100 ms on two free cores; other work on the machine is allowed for.
    assert sorted(waits)[len(waits) // 2] < 300
    before = slider.input_value()
    slider.press("ArrowRight")
    print("arrow key:", before, "to", slider.input_value())
    assert float(slider.input_value()) > float(before)
    found.locator(f"svg[aria-label*='threshold {float(slider.input_value()):.3f}']").wait_for()
    keep(found, "threshold")


@pytest.mark.long
def test_augmentation_follows_its_sliders(page):
    found = explorer(page, "Augmentation bench")
    stage = found.get_by_label("Ranges of").evaluate("choice => choice.selectedOptions[0].text")
    assert stage.replace("\u00a0", " ") == "augmentation: impatient"
    before = found.locator("img").nth(3).get_attribute("src")
    found.get_by_role("slider", name="Shear, degrees").fill("30")
    page.wait_for_function(
        "([image, before]) => !image.isConnected || image.src !== before",
        arg=[found.locator("img").nth(3).element_handle(), before],
    )
    keep(found, "augmentation")


@pytest.mark.long
def test_occlusion_map_of_a_pair(page):
    found = explorer(page, "What the network looks at")
    found.locator(".lfw-gallery button").first.click()
    found.locator("img[alt*='with its occlusion map']").nth(1).wait_for()
    told = found.text_content()
    assert "another map" in told and "most sensitive" in told and re.search(r"−\d+\.\d\d: hiding it", told)
    keep(found, "occlusion")


@pytest.mark.long
def test_two_own_photos_with_boxes_drawn_by_hand(page, cache):
    found = explorer(page, "Try your own")
    photos = sorted((cache / "demo-1" / "demo").rglob("*.jpg"))[:2]
    for at, photo in enumerate(photos):
        with page.expect_file_chooser() as chooser:
            found.get_by_role("button", name=f"Choose {('left', 'right')[at]} photo").click()
        chooser.value.set_files(photo)
        found.locator(".lfw-box-area img[src^=data]").nth(at).wait_for()
        area = found.locator(".lfw-box-area").nth(at)
        area.focus()
        for key in ("ArrowLeft", "Shift+ArrowDown"):
            page.keyboard.press(key)
        found.locator(".lfw-box-frame:visible").nth(at).wait_for()
    box = found.locator(".lfw-box-area").nth(1).bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 220, box["y"] + 230, steps=4)
    page.mouse.up()
    found.get_by_text("Face: 50, 50, 183, 192").wait_for()
    for _ in range(12):  # against the edge, where it keeps its size
        page.keyboard.press("ArrowLeft")
    found.get_by_text("Face: 0, 50, 133, 192").wait_for()
    found.get_by_role("button", name="Same person?").click()
    found.get_by_text(re.compile(r"(Same person|Different people): P\(same\)")).wait_for()
    assert "unmeasured" in found.inner_text()
    keep(found, "own")
    with page.expect_file_chooser() as chooser:
        found.get_by_role("button", name="Choose left photo").click()
    chooser.value.set_files(
        {"name": "holiday.heic", "mimeType": "image/heic", "buffer": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"}
    )
    found.get_by_text("holiday.heic: a HEIC image").wait_for()
    assert (
        not found.locator(".lfw-box-area img").first.is_visible()
        and not found.locator(".lfw-box-frame").first.is_visible()
    )


@pytest.mark.long
def test_one_second_test_taken_to_its_end(page):
    found = explorer(page, "The one-second test")
    cells = page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets.length")
    shown = found.get_by_label("Shown for, ms")
    shown.fill("100")
    shown.press("Tab")
    found.get_by_text("each shown for 100 ms").wait_for()
    found.get_by_text("20 pairs are ready").wait_for()
    found.get_by_role("button", name="Start").click()
    for trial in range(20):
        found.get_by_text(f"Pair {trial + 1} of 20").wait_for()
        found.locator(".lfw-stage canvas").first.wait_for(state="visible")
        if trial == 0:
            keep(found, "one-second-mask")
        # Twice d would delete the cell if the notebook heard it.
        page.keyboard.press("d" if trial % 2 else "s")
    found.get_by_role("link", name="Save the answers as CSV").wait_for()
    correct = int(re.search(r"You were correct\s+(\d+) of 20", found.inner_text()).group(1))
    assert found.locator(".lfw-gallery li:not(.lfw-room) .lfw-card").count() == 20 - correct
    assert page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets.length") == cells
    with page.expect_download() as download:
        found.get_by_role("link", name="Save the answers as CSV").click()
    rows = [line.split(",") for line in Path(download.value.path()).read_text().splitlines()]
    assert len(rows) == 21 and rows[0][0] == "trial"
    measured = [float(row[rows[0].index("shown_ms")]) for row in rows[1:]]
    print("asked for 100 ms, shown for", sorted(measured))
    assert sorted(measured)[10] == pytest.approx(100, abs=60)
    keep(found, "one-second-result")


@pytest.mark.long
def test_live_training_grows_and_stops(page):
    found = explorer(page, "Live training")
    for name, value in (("Pairs per class", "20"), ("Network width", "0.05"), ("Epochs at most", "60")):
        found.get_by_role("slider", name=name).fill(value)
    found.get_by_role("button", name="Start or resume").click()
    found.locator("svg[aria-label^='accuracy over']:not([aria-label*=' 0 epochs'])").wait_for()
    found.get_by_role("button", name="Stop").click()
    found.get_by_text("Stopped.").wait_for()
    keep(found, "live")


def test_no_explorer_is_wider_than_its_place(page):
    for heading in HEADINGS:
        wider = explorer(page, heading).evaluate(
            """explorer => [explorer, ...explorer.querySelectorAll('.widget-box')]
            .filter(box => box.scrollWidth > box.clientWidth).map(box => [box.scrollWidth, box.clientWidth])"""
        )
        assert wider == [], heading


def test_no_serious_accessibility_finding(page):
    # Every cell in the page at once, not only those in sight.
    page.evaluate("""{ const notebook = window.jupyterapp.shell.currentWidget.content;
        notebook.notebookConfig = {...notebook.notebookConfig, windowingMode: 'none'}; }""")
    page.wait_for_function("count => document.querySelectorAll('.lfw-explorer').length >= count", arg=len(HEADINGS))
    assert serious_findings(page, ".lfw-explorer") == []


def test_every_control_has_a_name_and_nothing_failed(page):
    unnamed = page.evaluate("""() => [...document.querySelectorAll('.lfw-explorer :is(input, select, button, textarea, svg, img)')]
        .filter(e => e.type !== 'file' && !e.hidden && !e.closest('[aria-hidden=true]') && e.offsetParent !== null)
        .filter(e => !(e.labels?.length && [...e.labels].some(l => l.textContent.trim())) && !e.getAttribute('aria-label')
                && !e.alt && !e.textContent.trim() && !e.title).map(e => e.outerHTML.slice(0, 200))""")
    assert unnamed == []
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert set(page.errors) <= {"[anywidget] Failed to initialize model."}
