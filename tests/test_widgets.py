"""The explorers from Python: controls are set, and what is shown is read back."""

import base64
import csv
import html
import io
import re
import shutil
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lfwstudy import widgets
from lfwstudy.config import TrainingConfig
from lfwstudy.evaluation import metrics
from lfwstudy.ladder import LADDERS
from lfwstudy.report.figures import image_uri
from lfwstudy.runs.store import Store
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import open_study
from lfwstudy.system.files import read_csv, read_json, write_csv, write_json
from lfwstudy.system.text import percent
from lfwstudy.training.run import PREDICTION_COLUMNS
from lfwstudy.verify import kept
from lfwstudy.verify.network import KerasRuntime, Network
from lfwstudy.widgets import drawing, finished_runs, occlusion, one_second, pair_browser
from lfwstudy.widgets.augmentation import augmented
from lfwstudy.widgets.live_training import outcome

EXPLORERS = [
    widgets.browse_runs,
    widgets.browse_pairs,
    widgets.move_threshold,
    widgets.bench_augmentation,
    widgets.look_at_parts,
    widgets.try_your_own,
    widgets.one_second_test,
    widgets.train_live,
]


@pytest.fixture(scope="module")
def study(played):
    return open_study(played)[0]


@pytest.fixture
def copied(played, tmp_path):
    """A separate study, to damage."""
    return open_study(shutil.copytree(played, tmp_path / "study"))[0]


def open_first(widget):
    """Choose the first pair that is shown."""
    gallery = widget.parts.gallery
    gallery.chosen = gallery.cards[0]["key"]


def kept_run(study):
    """The run whose network is kept."""
    return next(run for run in study.store.ids() if study.store.has_weights(run))


def told(widget, name="message"):
    return html.unescape(re.sub("<[^>]+>", "", getattr(widget.parts, name).value))


def said(side):
    """The message about the left or right photo."""
    return html.unescape(re.sub("<[^>]+>", "", side.message.value))


def measured_elsewhere(study, folder):
    """Rewrite a study as it would be had it been run on images that are not here."""
    for run in study.store.ids():
        path = study.store.folder(run) / "config.json"
        record = read_json(path)
        record["config"]["data"]["dataset"] = "lfw-deepfunneled"
        write_json(path, record)
    record = read_json(study.out / "study.json")
    write_json(study.out / "study.json", {**record, "dataset": "lfw-deepfunneled"})
    return widgets.find_study(dataset="lfw-deepfunneled", data_dir=str(folder), out=str(study.out))


# -- what is missing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", EXPLORERS, ids=lambda f: f.__name__)
def test_study_without_a_run_shows_a_sentence(build, tmp_path):
    widget = build(widgets.find_study(out=str(tmp_path / "none")))
    assert widget.children
    if build not in (widgets.train_live, widgets.try_your_own, widgets.bench_augmentation):
        assert "No run is finished yet" in told(widget) and "lfwstudy run" in told(widget)


@pytest.mark.parametrize(
    "build",
    [
        widgets.browse_pairs,
        widgets.move_threshold,
        widgets.bench_augmentation,
        widgets.look_at_parts,
        widgets.one_second_test,
        widgets.train_live,
    ],
    ids=lambda f: f.__name__,
)
def test_missing_images_show_a_sentence(build, copied, tmp_path):
    shown = told(build(measured_elsewhere(copied, tmp_path)))
    assert "lfw-deepfunneled" in shown and "Traceback" not in shown


def test_threshold_still_moves_where_only_the_images_are_missing(copied, tmp_path):
    widget = widgets.move_threshold(measured_elsewhere(copied, tmp_path))
    widget.parts.threshold.value = 0.25
    assert "threshold 0.250" in widget.parts.figure.value and widget.parts.below.cards == []


def test_weights_that_are_not_kept_are_said_where_they_are_needed(study):
    without = next(run for run in study.store.ids() if not study.store.has_weights(run))
    for build in (widgets.browse_pairs, widgets.look_at_parts):
        widget = build(study)
        widget.parts.run.value = without
        open_first(widget)
        assert f"weights of run {without} are not kept" in told(widget, "note")


def test_damaged_or_missing_files_of_a_run_show_a_sentence(copied):
    run = kept_run(copied)
    (copied.store.folder(run) / "history.csv").write_text("epoch,loss\n1,much\n")
    assert "history.csv: missing or damaged" in told(widgets.browse_runs(copied))
    (copied.store.folder(run) / "predictions.csv").write_text("set,pair\ntest,1\n")
    assert "predictions.csv: damaged" in told(widgets.browse_pairs(copied))
    shutil.rmtree(copied.store.root)
    assert "No run is finished yet" in told(widgets.move_threshold(copied))


def test_unscored_test_pairs_are_said(copied):
    run = kept_run(copied)
    path = copied.store.folder(run) / "predictions.csv"
    write_csv(path, PREDICTION_COLUMNS, [row for row in read_csv(path) if row["set"] != "test"])
    widget = widgets.browse_pairs(copied)
    assert "test pairs of this run are not scored" in told(widget)
    widget.parts.part.value = "val"
    assert widget.parts.gallery.cards


def test_names_are_escaped_where_they_become_html(copied):
    run = kept_run(copied)
    found = finished_runs.scored_pairs(copied, run, "test")
    hostile = pair_browser._facts(found.assign(left="<img src=x onerror=alert(1)>_0001").iloc[0])
    assert "<img" not in hostile and "&lt;img" in hostile
    assert "<b>" not in drawing.svg(9, 9, "<b>", drawing.text(0, 0, "<b>"))


@pytest.mark.parametrize("build", EXPLORERS, ids=lambda f: f.__name__)
def test_explorers_are_stills_where_there_is_no_kernel(build, study):
    bundle = build(study)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    still = bundle["text/html"]
    assert "VBox" not in still and "<script" not in still
    if build not in (widgets.try_your_own, widgets.one_second_test):
        assert "<img" in still or "<svg" in still
    assert ("Run: augmentation: impatient" in still) == (
        build in (widgets.browse_pairs, widgets.look_at_parts, widgets.move_threshold)
    )


# -- run browser -------------------------------------------------------------------------------------------------------


def test_run_browser_follows_the_choice(study):
    widget = widgets.browse_runs(study)
    widget.parts.carried.value = False
    assert len(widget.parts.table.rows) == 2 and widget.parts.figure.value.count('stroke-width="2"') == 2
    assert re.search(r"batch-norm placement</td><td>none</td><td>before-activation<", widget.parts.differences.value)
    widget.parts.stage.value = ("base",)
    assert [row[0] for row in widget.parts.table.rows] == ["base"]
    widget.parts.measure.value = "cross_entropy"
    assert "cross-entropy over epochs" in widget.parts.figure.value
    widget.parts.stage.value = ()
    assert "No run is chosen" in told(widget)


def test_run_browser_opens_with_what_is_carried_forward(study, monkeypatch):
    rows = [{**row, "carried_forward": row["stage"] != "base"} for row in finished_runs.finished_rows(study)]
    monkeypatch.setattr("lfwstudy.widgets.run_browser.finished_rows", lambda study: rows)
    widget = widgets.browse_runs(study)
    assert [row[:2] for row in widget.parts.table.rows] == [
        ["augmentation", "impatient"]
    ] and widget.parts.carried.value
    assert "1 of 2 finished runs" in told(widget) and "two or more variants" in told(widget, "differences")


def test_more_runs_than_curves_are_told_and_all_their_settings_compared(study, monkeypatch):
    monkeypatch.setattr("lfwstudy.widgets.run_browser._MOST", 1)
    widget = widgets.browse_runs(study)
    widget.parts.carried.value = False
    assert "the curves are those of the first 1." in told(widget)
    assert "batch-norm placement</td><td>none</td><td>before-activation<" in widget.parts.differences.value
    rows = [widget.rows[0], {**widget.rows[0], "stage": "again"}]  # two rows may share a run
    monkeypatch.setattr("lfwstudy.widgets.run_browser.finished_rows", lambda study: rows)
    assert "2 of 2 finished runs are chosen." in told(widgets.browse_runs(study))


def test_a_pointer_reads_the_values_of_an_epoch(study):
    widget = widgets.browse_runs(study)
    widget.parts.carried.value = False
    readings = re.findall(r"<title>(.*?)</title>", widget.parts.figure.value, re.DOTALL)
    assert [reading.splitlines()[0] for reading in readings] == [f"Epoch {n}, accuracy on validation" for n in (1, 2)]
    for row in widget.rows:
        last = study.store.history(row["run"])[-1]
        values = f"{percent(last['val_accuracy'])} %, training {percent(last['accuracy'])} %"
        assert f"{finished_runs.run_title(row)}: {values}" in html.unescape(readings[-1])


def test_curves_survive_values_that_are_no_numbers():
    rows = [
        {"epoch": e, "accuracy": 0.5, "val_accuracy": 0.5, "cross_entropy": v, "val_cross_entropy": v}
        for e, v in ((1, 0.7), (2, float("inf")), (3, float("nan")))
    ]
    drawn = drawing.curves([drawing.Curve("run", rows, "#000000")], "cross_entropy", "title")
    assert "nan" not in drawn and "inf" not in drawn


# -- pair browser ------------------------------------------------------------------------------------------------------


def test_pairs_are_filtered_and_sorted(study):
    widget = widgets.browse_pairs(study)
    parts = widget.parts
    found = finished_runs.scored_pairs(study, parts.run.value, "test")
    worst = int(np.argmax(np.abs(found.label - found.score)))
    assert parts.gallery.cards[0]["key"] == str(worst)
    parts.outcome.value, parts.kind.value = "incorrect", "1"
    assert all(card["mark"] == "incorrect" and card["text"].startswith("matched") for card in parts.gallery.cards)
    wrong = int(((found.score <= 0.5) & (found.label == 1)).sum())
    assert f"of {wrong} pairs" in told(widget)
    parts.outcome.value = parts.kind.value = ""
    parts.low.value, parts.high.value = 0.6, 0.4  # crossed ends mean the same range
    assert f"of {int(((found.score >= 0.4) & (found.score <= 0.6)).sum()):,} pairs" in told(widget)
    parts.low.value, parts.high.value, parts.order.value = 0, 1, "line"
    person = finished_runs.spoken(found.left[0]).partition(",")[0]
    parts.person.value = person.upper()
    assert all(person in image["alt"] for image in parts.gallery.cards[0]["images"])
    parts.person.value = "nobody is called this"
    assert parts.gallery.cards == [] and told(widget).startswith("0 of")


def test_pages_of_pairs_turn(study):
    widget = widgets.browse_pairs(study)
    first = [card["key"] for card in widget.parts.gallery.cards]
    assert widget.parts.back.disabled and len(first) == 10
    widget.parts.forth.click()
    assert told(widget).startswith("11 to 20") and not set(first) & {c["key"] for c in widget.parts.gallery.cards}
    widget.parts.back.click()
    assert [card["key"] for card in widget.parts.gallery.cards] == first


def test_opened_pair_shows_its_people_and_their_neighbours(study):
    widget = widgets.browse_pairs(study)
    first = widget.parts.gallery.cards[0]["key"]
    assert [card["key"] for card in widget.parts.opened.cards] == [first] and widget.parts.gallery.chosen == first
    assert "which is <b>incorrect</b>" in widget.parts.facts.value
    assert len(widget.parts.left_near.cards) == len(widget.parts.right_near.cards) == 6
    widget.parts.outcome.value = "correct"
    assert widget.parts.opened.cards[0]["key"] == first != widget.parts.gallery.cards[0]["key"]
    widget.parts.part.value = "val"
    assert widget.parts.opened.cards[0]["key"] == widget.parts.gallery.cards[0]["key"]


def test_kept_network_gives_the_scores_that_are_stored(study):
    run = kept_run(study)
    network, images = kept.load_run(study.store, run), finished_runs.Images.of_run(study, run)
    found = finished_runs.scored_pairs(study, run, "test")
    left, right = (network.embed(images.pixels(side[:20])) for side in (found.left, found.right))
    assert network.score(left, right) == pytest.approx(found.score[:20], abs=1e-4)


def test_network_of_the_ladder_beyond_gives_its_own_scores(rng):
    from lfwstudy.config import ModelConfig, RunConfig
    from lfwstudy.network.siamese import build_siamese

    config = ModelConfig(architecture="compact", head="cosine", flip_average=True, width=0.25, l2=0.0)
    model = build_siamese(config, 69)
    model.get_layer("head").get_layer("calibration").set_weights([np.float32(0.5), np.float32(0.25)])
    images = rng.integers(0, 256, (4, 69, 69), dtype=np.uint8)
    scaled = images[..., None].astype(np.float32) / 255
    network = Network(KerasRuntime(model), RunConfig(model=config), "beyond")
    rows = network.embed(images)
    scores = np.asarray(model([scaled[:2], scaled[2:]], training=False))[:, 0]
    assert network.score(rows[:2], rows[2:]) == pytest.approx(scores, abs=1e-5)
    assert network.score_images(images[0], images[2]) == pytest.approx(scores[0], abs=1e-5)
    assert occlusion.occlusion_maps(network, images[:2], 0.3, steps=2)[0].shape == (2, 2, 2)


# -- threshold ---------------------------------------------------------------------------------------------------------


def test_threshold_moves_counts_and_examples_together(study):
    widget = widgets.move_threshold(study)
    found = finished_runs.scored_pairs(study, widget.parts.run.value, "test")
    at = float(np.median(found.score))
    widget.parts.threshold.value = at
    correct = int(((found.score > at) == (found.label > 0.5)).sum())
    assert f"{correct} of {len(found)} pairs correct" in widget.parts.table.value
    assert f"threshold {at:.3f}" in widget.parts.figure.value
    area, equal = metrics.auc(found.label, found.score), metrics.equal_error_rate(found.label, found.score)
    assert f"(AUC) {area:.3f}, equal error rate (EER) {percent(equal)} %" in widget.parts.figure.value
    below, above = ([int(c["key"]) for c in gallery.cards] for gallery in (widget.parts.below, widget.parts.above))
    assert len(below) == len(above) == 4
    assert max(found.score[below]) <= at < min(found.score[above])
    assert not ((found.score > max(found.score[below])) & (found.score <= at)).any()


def test_slider_moves_answer_within_a_tenth_of_a_second_with_a_thousand_pairs(copied):
    run = kept_run(copied)
    path = copied.store.folder(run) / "predictions.csv"
    rows = read_csv(path)
    tested = [row for row in rows if row["set"] == "test"]
    more = [{**row, "score_at_best": float(row["score_at_best"]) * 0.99} for row in (tested * 4)[:1000]]
    write_csv(path, PREDICTION_COLUMNS, [row for row in rows if row["set"] != "test"] + more)
    threshold, browser, bench = (
        build(copied) for build in (widgets.move_threshold, widgets.browse_pairs, widgets.bench_augmentation)
    )
    for slider in (threshold.parts.threshold, browser.parts.low, bench.parts.shear, bench.parts.zoom_low):
        slider.value = slider.value + 0.01  # what is loaded at the first move
        seconds = []
        for step in range(9):
            started = time.perf_counter()
            slider.value = slider.min + (slider.max - slider.min) * (0.3 + 0.02 * step)
            seconds.append(time.perf_counter() - started)
        print(slider.description, "moves in milliseconds:", [round(1000 * s) for s in seconds])
        assert np.median(seconds) < 0.1


# -- augmentation and occlusion ----------------------------------------------------------------------------------------


def test_bench_begins_with_the_stages_ranges_and_returns_to_them(study):
    widget = widgets.bench_augmentation(study)
    assert widget.parts.stage.label == "augmentation: impatient"
    assert (widget.parts.zoom_low.value, widget.parts.zoom_high.value) == (0.88, 1.02)
    before = widget.parts.copies.cards
    widget.parts.shear.value, widget.parts.zoom_low.value = 30, 1.4
    assert widget.parts.copies.cards != before and len(widget.parts.copies.cards) == 12
    widget.parts.back.click()
    assert widget.parts.copies.cards == before
    other = widget.parts.image.options[-1]
    widget.parts.image.value = other
    assert widget.parts.copies.cards != before and widget.parts.original.cards[0]["text"] == other


@pytest.mark.parametrize("name", ["zoom", "brightness"])
def test_bench_keeps_the_ends_of_a_range_in_order(study, name):
    widget = widgets.bench_augmentation(study)
    low, high = (getattr(widget.parts, f"{name}_{end}") for end in ("low", "high"))
    low.value = 1.4
    assert (low.value, high.value) == (1.4, 1.4)
    high.value = 0.7
    assert (low.value, high.value) == (0.7, 0.7)
    high.value = 1.1
    assert (low.value, high.value) == (0.7, 1.1)
    shown = [
        float(factor)
        for card in widget.parts.copies.cards
        for factor in re.findall(
            r"[\d.]+", re.search(r"zoom (.*)|$" if name == "zoom" else r"brightness (.*)|$", card["text"]).group()
        )
    ]
    assert len(shown) >= 12 and min(shown) >= 0.7 and max(shown) <= 1.1
    low.value = 1.5
    widget.parts.back.click()
    assert (low.value, high.value) == {"zoom": (0.88, 1.02), "brightness": (0.95, 1.05)}[name]


def test_ranges_of_nothing_leave_the_image_as_it_is(rng):
    image = rng.integers(0, 256, (21, 21), dtype=np.uint8)
    copied, _ = augmented(image, 0, TrainingConfig(zoom=(1, 1), brightness=(1, 1), shear=0), False, 2)
    online, _ = augmented(image, 0, TrainingConfig(), True, 2)
    for varied in (copied, online):
        assert np.abs(varied * 255 - image).max() < 0.01 and image_uri(image) == image_uri(varied[0])


def test_bench_stretches_the_grey_levels_of_copies_where_the_stage_does():
    image = np.linspace(50, 200, 441).reshape(21, 21).astype(np.uint8)
    stretching = TrainingConfig(zoom=(1, 1), brightness=(1, 1), shear=0, stretch_copies=True)
    (copied,), _ = augmented(image, 0, stretching, False, 1)
    assert (copied.min(), copied.max()) == pytest.approx((0, 1), abs=1e-3)


def test_bench_of_the_ladder_beyond_varies_as_that_ladder_does(copied):
    base = next(row["run"] for row in finished_runs.finished_rows(copied) if row["stage"] == "base")
    runs = [{"stage": "base", "variant": "compact", "seed": 0, "fold": None, "run": base}]
    record = read_json(copied.out / "study.json")
    record["combinations"] = [{**Settings(ladder="beyond").combination(), "seeds": 1, "stages": ["base"], "runs": runs}]
    write_json(copied.out / "study.json", record)
    widget = widgets.bench_augmentation(open_study(copied.out)[0])
    parts = widget.parts
    assert parts.stage.label == "online-augmentation: light"
    assert (parts.flip.value, parts.rotation.value, parts.erase.value) == (1, 8, 0)
    parts.stage.label = "leave-one-out: whole"
    assert parts.erase.value == 0.5 and any("erased" in card["text"] for card in parts.copies.cards)
    parts.flip.value = 0
    assert not any("mirrored" in card["text"] for card in parts.copies.cards)


class _Corner:
    """A network whose score is the brightness of the left image's top left quarter."""

    def embed(self, images):
        half = images.shape[1] // 2
        return images[:, :half, :half].mean(axis=(1, 2))[:, None].astype(float)

    def log_odds(self, left, right):
        return np.asarray(left - 0 * right)[:, 0]


def test_occlusion_points_at_the_part_that_the_score_rests_on():
    images = np.zeros((2, 40, 40), np.uint8)
    images[0, 5:15, 5:15] = 255
    maps, odds = occlusion.occlusion_maps(_Corner(), images, 0.25, steps=8)
    assert odds == pytest.approx(images[0, :20, :20].mean())
    i, j = np.unravel_index(np.abs(maps[0]).argmax(), maps[0].shape)
    assert maps[0, i, j] < 0 and i < 3 and j < 3
    assert np.abs(maps[0][5:, 5:]).max() == 0


def test_occlusion_map_is_drawn_for_an_opened_pair(study):
    widget = widgets.look_at_parts(study)
    assert widget.parts.figure.value.count("data:image") == 3  # both faces and the scale
    images = widget.runs.images(widget.parts.run.value)
    pair = widget.opened()[0].iloc[0]
    network = kept.load_run(study.store, widget.parts.run.value)
    maps, _ = occlusion.occlusion_maps(network, images.pixels([pair.left, pair.right]), widget.parts.patch.value)
    assert f"−{np.abs(maps).max():.2f}: hiding it makes them less alike" in widget.parts.figure.value
    assert "most sensitive" in widget.parts.words.value and told(widget, "note") == occlusion.LIMITS


# -- own photos --------------------------------------------------------------------------------------------------------


def upload(side, name, content):
    side.upload.value = (
        {
            "name": name,
            "type": "image/jpeg",
            "size": len(content),
            "content": memoryview(content),
            "last_modified": datetime.now(),
        },
    )


def test_own_photos_are_scored_as_the_command_scores_them(study, cache, tmp_path, monkeypatch):
    from lfwstudy.verify.verifier import load_verifier

    monkeypatch.setattr(kept, "SHIPPED", tmp_path)
    widget = widgets.try_your_own(study)
    photos = sorted((cache / "demo-1" / "demo").rglob("*.jpg"))[:2]
    for side, photo in zip(widget.sides, photos):
        upload(side, photo.name, photo.read_bytes())
        side.box.box = [70, 70, 180, 180]
    widget.parts.score.click()
    score = load_verifier(study.out).score(*photos, (70, 70, 180, 180), (70, 70, 180, 180))
    assert f"{score:.2f}" in widget.parts.answer.value and "demo" in widget.parts.answer.value
    assert len(widget.parts.seen.cards) == 2 and "unmeasured" in told(widget)


def test_what_is_no_photo_and_what_has_no_face_is_said(study):
    widget = widgets.try_your_own(study)
    widget.parts.score.click()
    assert "left and the right photo are not chosen" in told(widget)
    upload(widget.left, "notes.txt", b"no image")
    assert said(widget.left).startswith("notes.txt: not a readable image")
    upload(widget.right, "wall.png", photo_of("L", 90))
    assert "no face found" in said(widget.right) and "Draw a box" in said(widget.right)
    assert (widget.right.box.width, widget.right.box.height) == (60, 40)


def test_the_largest_of_several_faces_is_taken_and_another_can_be_chosen(study, monkeypatch):
    small, large = (2, 2, 12, 12), (20, 5, 50, 35)
    monkeypatch.setattr("lfwstudy.widgets.own_photos.find_faces", lambda photo: [small, large])
    side = widgets.try_your_own(study).left
    upload(side, "group.png", photo_of("L", 90))
    assert side.box.box == list(large) and "2 faces were found: the largest, most central one is taken" in said(side)
    assert side.face.layout.visibility == "visible"
    side.face.value = small
    assert side.box.box == list(small)
    monkeypatch.setattr("lfwstudy.widgets.own_photos.find_faces", lambda photo: [large])
    upload(side, "one.png", photo_of("L", 91))
    assert side.box.box == list(large) and side.face.layout.visibility == "hidden"


def photo_of(mode, color, size=(60, 40)):
    from PIL import Image

    file = io.BytesIO()
    Image.new(mode, size, color).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"<html></html>", photo_of("L", 9)[:50]],
    ids=["empty", "text", "heic", "web page", "half an image"],
)
def test_of_a_photo_that_is_followed_by_a_bad_file_nothing_stays(study, content):
    widget = widgets.try_your_own(study)
    parts, left, right = widget.parts, widget.left, widget.right
    upload(left, "wall.png", photo_of("L", 90))
    upload(right, "wall.png", photo_of("L", 90))
    left.box.box = right.box.box = [5, 5, 30, 30]
    assert left.box.image.startswith("data:image")
    upload(left, "holiday.jpg", content)
    assert (left.box.image, left.box.box) == ("", [])
    assert said(widget.left).startswith("holiday.jpg: ") and "object at" not in said(widget.left)
    parts.score.click()
    assert "The left photo is not chosen" in told(widget) and not parts.answer.value and right.box.image


def test_of_an_upload_that_is_taken_back_nothing_stays(study):
    widget = widgets.try_your_own(study)
    upload(widget.left, "wall.png", photo_of("L", 90))
    widget.left.upload.value = ()
    assert (widget.left.box.image, said(widget.left)) == ("", "")
    widget.parts.score.click()
    assert "left and the right photo are not chosen" in told(widget)


def test_what_is_hidden_in_an_explorer_is_not_shown():
    """`display` of an author's style wins over the attribute `hidden`, by which box.js and others hide."""
    assert (
        ".lfw-explorer [hidden] { display: none !important; }"
        in (Path(widgets.__file__).parent / "style.css").read_text()
    )


def test_network_that_scores_own_photos_is_named_and_chosen(study, monkeypatch):
    asked = []

    def load(out):
        asked.append(out)
        return SimpleNamespace(
            is_demo=bool(out), frame=lambda face: np.asarray(face), score_images=lambda *_: 0.9 if out else 0.1
        )

    monkeypatch.setattr(kept, "load_network", load)
    widget = widgets.try_your_own(study)
    for side in widget.sides:
        upload(side, "wall.png", photo_of("L", 90))
        side.box.box = [5, 5, 30, 30]
    widget.parts.score.click()
    assert asked == [str(study.out)] and "0.90" in told(widget, "answer")
    assert "Scored by this study's best network, which was trained on drawn demo faces alone." in told(widget, "answer")
    widget.parts.network.value = ""
    assert told(widget, "answer") == ""
    widget.parts.score.click()
    assert asked == [str(study.out), ""] and "0.10" in told(widget, "answer")
    assert told(widget, "answer").endswith("Scored by the network shipped with the package.")


def test_photo_decoded_smaller_takes_boxes_in_its_own_pixels(study, monkeypatch):
    monkeypatch.setattr("lfwstudy.verify.faces.WORKING_PIXELS", 600)
    widget = widgets.try_your_own(study)
    upload(widget.left, "wall.png", photo_of("L", 90))
    assert (widget.left.box.width, widget.left.box.height) == (60, 40)


# -- one-second test ---------------------------------------------------------------------------------------------------


def test_trials_are_balanced_in_random_order_and_repeat_with_their_number(study):
    found = finished_runs.scored_pairs(study, kept_run(study), "test")
    asked = one_second.choose_trials(found, 40, seed=1)
    assert len(set(asked.index)) == 40 and asked.label.sum() == 20
    assert 0 < asked.label[:20].sum() < 20
    assert asked.equals(one_second.choose_trials(found, 40, seed=1))
    assert not asked.equals(one_second.choose_trials(found, 40, seed=2))
    wrong = one_second.choose_trials(found, 100, only_wrong=True)
    assert not finished_runs.correct(wrong).any() and 2 * wrong.label.sum() == len(wrong)


def test_result_stands_beside_the_networks_on_the_same_pairs(study):
    widget = widgets.one_second_test(study)
    found = finished_runs.scored_pairs(study, widget.parts.run.value, "test")
    asked = one_second.choose_trials(found, 20)
    assert len(widget.parts.flasher.trials) == 20
    assert "label" not in widget.parts.flasher.trials[0]  # the browser is not told the answers
    answers = [
        {
            "trial": i,
            "same": bool(label) if i < 15 else not label,
            "shown_ms": 500.2,
            "response_ms": 700 + i,
            "undisturbed": i > 0,
        }
        for i, label in enumerate(asked.label)
    ]
    widget.parts.flasher.answers = answers[:19]
    assert widget.parts.result.value == ""
    widget.parts.flasher.answers = answers
    text = widget.parts.result.value
    assert [card["key"] for card in widget.parts.missed.cards] == list(map(str, asked.index[15:]))
    network = int(finished_runs.correct(asked).sum())
    assert "15 of 20" in text and f"<td>{network} of 20</td>" in text and "75\u00a0[53,\u00a089]" in text
    assert "median 710 ms" in text and "In 1 trials" in text and 'download="one-second-test.csv"' in text
    content = base64.b64decode(re.search(r"data:text/csv;base64,([^\"]+)", text).group(1)).decode()
    table = list(csv.DictReader(io.StringIO(content)))
    assert len(table) == 20 and sum(int(row["viewer_correct"]) for row in table) == 15
    assert sum(row["network_same"] == row["label"] for row in table) == network


def test_too_few_pairs_for_a_test_are_told_only_where_they_are_too_few(study):
    widget = widgets.one_second_test(study)
    widget.parts.count.value = 21  # half matched, half mismatched: 20
    assert told(widget).startswith("20 test pairs") and "too few" not in told(widget)
    widget.parts.only_wrong.value, widget.parts.count.value = True, 100
    assert "There are too few such pairs for 100." in told(widget)


def test_new_order_is_a_new_test(study):
    widget = widgets.one_second_test(study)
    before = widget.parts.flasher.trials
    given = {"same": True, "shown_ms": 500, "response_ms": 700, "undisturbed": True}
    widget.parts.flasher.answers = [{"trial": i, **given} for i in range(20)]
    assert "You were correct" in widget.parts.result.value
    widget.parts.seed.value = 5
    assert (
        widget.parts.flasher.trials != before and widget.parts.flasher.answers == [] and widget.parts.result.value == ""
    )
    widget.parts.count.value = 1000
    assert widget.parts.count.value == 100


# -- live training -----------------------------------------------------------------------------------------------------


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.long
def test_live_training_stops_goes_on_and_leaves_the_study_alone(copied):
    before = copied.store.ids()
    widget = widgets.train_live(copied)
    parts = widget.parts
    parts.pairs.value, parts.width.value, parts.epochs.value = 20, 0.05, 10
    parts.start.click()
    assert parts.start.disabled and not parts.stop.disabled
    live = Store(copied.out / "live")
    wait_for(lambda: list(live.root.glob("*/resume.npz")))
    parts.stop.click()
    widget.training.join(30)
    assert "Stopped" in told(widget) and not parts.start.disabled
    (run,) = live.ids()
    assert 5 <= len(live.history(run)) < 10 and "accuracy over" in parts.accuracy.value
    parts.start.click()
    widget.training.join(90)
    assert "Finished: 10 epochs" in told(widget) and live.result(run)["test_accuracy"] is None
    assert copied.store.ids() == before


def test_live_training_that_diverged_at_once_says_so():
    result = {"status": "diverged", "epochs_run": 1, "best_epoch": None, "val_accuracy_at_best": None}
    assert outcome(result).startswith("Diverged after 1 epoch: the loss is not a number.")


def test_variants_follow_the_stage(study):
    widget = widgets.train_live(study)
    widget.parts.stage.value = LADDERS["report"].stage("batchnorm")
    assert "before-activation" in [variant.id for _, variant in widget.parts.variant.options]


# -- the study that is opened ------------------------------------------------------------------------------------------


def test_study_is_found_as_its_folder_says(played, tmp_path):
    found = widgets.find_study(out=str(played), data_dir=str(tmp_path))
    assert found.settings.data_dir == str(tmp_path) and found.stages() == ["base", "augmentation"]
    assert widgets.find_study(out=str(tmp_path / "none")).stages() == []
