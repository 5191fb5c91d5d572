"""A folder of anybody's people as a data set."""

import io
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lfwstudy.cli import main
from lfwstudy.config import DataConfig
from lfwstudy.data.images import decode, square
from lfwstudy.data.own import _File, draw_files
from lfwstudy.data.pairs import is_name, person_of, read_people, read_view1, read_view2
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.data.registry import resolve_data_dir
from lfwstudy.data.splits import audit, make_split, subsample
from lfwstudy.errors import DataError, one_line
from lfwstudy.evaluation import intervals, metrics
from lfwstudy.report import measured, robustness, summary, verdicts, wording
from lfwstudy.study.results import Results
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system.files import read_csv
from tests.support.images import FACE, saved
from tests.support.names import NAMES
from tests.support.own import FORMATS, write_own_people
from tests.support.runs import made_up_base

CONFIG = DataConfig(dataset="folder", side=40)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_own_people(tmp_path_factory.mktemp("own") / "people")


def test_a_folder_of_people_has_pairs_in_lfws_protocol(people):
    bank, pairs, made = (
        prepare_bank(CONFIG, str(people)),
        load_pairs(CONFIG, str(people)),
        resolve_data_dir("folder", str(people)),
    )
    assert len(bank) == sum(path.is_file() for path in people.rglob("*"))
    development, test = (read_view1(made / f"pairsDev{part}.txt") for part in ("Train", "Test"))
    assert not set(development.people().ravel()) & set(test.people().ravel())
    for part in (development, test):
        assert part.label.mean() == 0.5 and len(set(part.content())) == len(part) and bank.rows(part.names()).size
    assert (
        len(pairs.train) + len(pairs.validation) == len(development) and len(pairs.validation) == len(development) / 5
    )
    counts = dict(zip(*np.unique(person_of(bank.names), return_counts=True)))
    view1 = [read_people(made / f"peopleDev{part}.txt")[0] for part in ("Train", "Test")]
    assert view1[0] | view1[1] == counts and len(view1[0]) + len(view1[1]) == 30
    sets, view2 = read_people(made / "people.txt"), read_view2(made / "pairs.txt")
    assert len(sets) == 10 and {name: n for one in sets for name, n in one.items()} == counts
    assert all(a in sets[fold - 1] and b in sets[fold - 1] for fold, (a, b) in zip(view2.fold, view2.people()))


def test_the_same_folder_gives_the_same_pairs_and_digest_wherever_it_lies(people, tmp_path):
    shutil.copytree(people, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    digests = [
        load_pairs(CONFIG, str(f)).digest(prepare_bank(CONFIG, str(f))) for f in (people, tmp_path / "elsewhere")
    ]
    assert digests[0] == digests[1]
    (tmp_path / "elsewhere" / "Ada Abendrot" / "new.png").write_bytes(saved(format="PNG"))
    assert len(prepare_bank(CONFIG, str(tmp_path / "elsewhere"))) == len(prepare_bank(CONFIG, str(people))) + 1


def test_what_was_made_and_what_is_packed_give_the_same_data(people, tmp_path, capsys):
    expected = load_pairs(CONFIG, str(people)).digest(prepare_bank(CONFIG, str(people)))
    options = ["data", "--dataset", "folder", "--side", "40", "--data-dir"]
    assert main([*options, str(people), "--audit", "--pack", str(tmp_path / "packed"), "--all-images"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"own people from {people}\n") and "LFW, " not in told and "components: " in told
    made = resolve_data_dir("folder", str(people))
    assert f"{made}\n" in told and "± " in told
    for folder in (made, tmp_path / "packed"):
        assert load_pairs(CONFIG, str(folder)).digest(prepare_bank(CONFIG, str(folder))) == expected


@pytest.mark.parametrize("seed", range(12))
def test_pairs_are_balanced_disjoint_and_split_whatever_the_numbers_of_images(seed, tmp_path):
    rng = np.random.default_rng(seed)
    counts = {f"P{n}": int(rng.geometric(0.3)) for n in range(14 + seed * seed * 3)} | {f"Q{n}": 2 for n in range(7)}
    counts["P0"] = 1 + 60 * seed
    files = draw_files(counts)
    for name, lines in files.items():
        (tmp_path / name).write_text("\n".join(lines))
    development, test = (read_view1(tmp_path / f"pairsDev{part}.txt") for part in ("Train", "Test"))
    assert not set(development.people().ravel()) & set(test.people().ravel())
    for pairs in (development, test, *([read_view2(tmp_path / "pairs.txt")] if "pairs.txt" in files else [])):
        unordered = {(*sorted(ends), fold) for *ends, fold in zip(pairs.left, pairs.right, pairs.fold)}
        assert len(unordered) == len(pairs) > 0
        assert all(int(image.rpartition("_")[2]) <= counts[image.rpartition("_")[0]] for image in pairs.names())
    for size in (10, 37, 240, 2000):
        part = development.take(subsample(development, size))
        found = audit(part, make_split("components", part))
        sizes = found["validation_matched"], found["validation_mismatched"]
        assert (
            found["shared_people"] == 0
            and min(sizes) > 0
            and max(sizes) <= round(0.2 * min(size, len(development) // 2))
        )
        assert max(sizes) - min(sizes) <= 4


def test_many_people_give_as_many_pairs_as_lfw_with_many_of_them_in_it():
    files = draw_files({f"P{n}": 1 + n % 3 for n in range(3000)})
    assert [files[name][0] for name in ("pairsDevTrain.txt", "pairsDevTest.txt", "pairs.txt")] == [
        "1100",
        "500",
        "10\t300",
    ]
    matched = Counter(line.split("\t")[0] for line in files["pairsDevTrain.txt"][1:1101])
    assert max(matched.values()) == 1


def test_names_of_folders_become_names_in_lfws_files(tmp_path):
    folders = [name for name in NAMES.values() if "/" not in name]
    folders += [
        "Ada\tTab",
        "Ada_Tab",
        "=1+1",
        "-rf",
        "A, =1",
        "Z\x1b[31m",
        "A\u202eB",
        b"\xff\xfe".decode(errors="surrogateescape"),
        "\u738b" * 80,
    ]
    for number, folder in enumerate(folders):
        (tmp_path / folder / "album").mkdir(parents=True)
        for image in range(2):
            face = Image.fromarray(np.full((60, 60), 2 * number + image + 1, np.uint8))
            face.save(tmp_path / folder / "album" / f"{image}.png")
    bank = prepare_bank(CONFIG, str(tmp_path))
    found = set(person_of(bank.names).tolist())
    assert len(bank) == 2 * len(folders) and len(found) == len(folders) and all(map(is_name, found))
    assert {"Ada_Lovelace", "Ada_Tab", "Ada_Tab_2", "Smith,_John", "Andr\u00e9", "\u738b\u82b3", "_1+1", "_rf"} <= found
    index = {row["image"]: row["file"] for row in read_csv(resolve_data_dir("folder", str(tmp_path)) / "images.csv")}
    assert index["Ada_Lovelace_0002"] == "Ada Lovelace/album/1.png" and len(index) == len(bank)


def test_what_is_wrong_with_images_is_told_and_named(people, tmp_path):
    shutil.copytree(people, tmp_path / "p")
    ada, bela = tmp_path / "p" / "Ada Greywater", tmp_path / "p" / "Ada Hollow"
    images = sorted(ada.iterdir())
    shutil.copy(images[0], bela / "same.jpg")
    shutil.copy(images[1], ada / "once more.jpg")
    (ada / "notes.txt").write_text("hello")
    (ada / "cut.jpg").write_bytes(saved()[:900])
    (ada / ".DS_Store").write_bytes(b"x")
    Image.new("L", (50, 50), 7).save(bela / "small.png")
    Image.new("L", (5, 50), 7).save(bela / "thin.png")
    (tmp_path / "p" / "pairsDevTrain.txt").write_text("1\n")
    (tmp_path / "p" / "Empty").mkdir()
    assert len(prepare_bank(CONFIG, str(tmp_path / "p")).notes) == 6
    (tmp_path / "p" / "loose.jpg").write_bytes(saved())  # no image of a person's, but it is told
    left, shared, copies, cut, small, pairs = prepare_bank(CONFIG, str(tmp_path / "p")).notes
    assert left.startswith(
        "files not readable as images, left out (3): image Ada Greywater/cut.jpg: not a readable image"
    )
    assert (
        "notes.txt: not a readable image (damaged, or none of JPEG" in left
        and "thin.png: 5x50 pixels, too small" in left
    )
    both = f"{images[0].relative_to(tmp_path / 'p')} = Ada Hollow/same.jpg"
    assert shared == f"images under several people, left out (1): {both}"
    assert copies == "further copies of a person's image, left out (1): Ada Greywater/once more.jpg"
    assert cut.startswith("images not square, cut to their central square (7")
    assert small == "images smaller than 100 pixels, enlarged (1): Ada Hollow/small.png"
    assert pairs == "not folders with files, left out (3): Empty; loose.jpg; pairsDevTrain.txt"
    names = prepare_bank(CONFIG, str(tmp_path / "p")).names.tolist()
    assert sum(name.startswith("Ada_Greywater_") for name in names) == len(images) - 1


def test_a_video_among_the_images_is_not_read_whole(tmp_path):
    with open(tmp_path / "clip.mov", "wb") as content:
        content.write(b"\0\0\0\x14ftypqt  ")
        content.truncate(1 << 40)
    video = _File("Ada", tmp_path / "clip.mov", "Ada/clip.mov", tmp_path / "0.pgm")
    video.convert()
    assert "a video" in video.wrong


def test_too_few_people_and_what_is_no_folder_of_people_are_one_line(tmp_path):
    few = write_own_people(tmp_path / "few", people=13, images=2)
    cases = [
        (few, "too few people: 13 with images, 6 with two or more; .* need 14"),
        (tmp_path / "none", "no such folder"),
    ]
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.jpg").write_bytes(saved())
    cases += [
        (tmp_path / "flat", "0 with images.*PERSON/any-name.jpg"),
        (tmp_path / "flat" / "a.jpg", "an image.*--data-dir is a folder with a folder of images for each person"),
    ]
    text = tmp_path / "text"
    for number in range(14):
        (text / str(number)).mkdir(parents=True)
        for file in "ab":
            (text / str(number) / file).write_text(f"{number}{file}")
    cases += [(text, r"0 with images.*left out \(28\): image 0/a: not a readable image \(damaged")]
    for folder, words in cases:
        with pytest.raises(DataError, match=f"^{folder}: .*{words}") as error:
            prepare_bank(CONFIG, str(folder))
        assert one_line(error.value) == str(error.value) and "LFW" not in str(error.value)
    with pytest.raises(DataError, match="--dataset folder: --data-dir must be a folder"):
        prepare_bank(CONFIG, "")


def test_view2_of_too_few_people_is_refused_and_never_downloaded(tmp_path):
    few = write_own_people(tmp_path, people=16, images=2)
    with pytest.raises(DataError, match="pairs.txt is not made for this folder: View 2 .* 20 people"):
        load_pairs(DataConfig(dataset="folder", protocol="view2", fold=1), str(few))


@pytest.mark.parametrize("suffix", FORMATS)
def test_images_of_any_format_and_shape_are_cut_to_an_upright_square(tmp_path, suffix):
    face = FACE.convert("RGB").resize((500, 500))
    wide = Image.new("RGB", (800, 500), (255, 0, 0))
    wide.paste(face, (150, 0))
    wide.save(tmp_path / f"x.{suffix}")
    with open(tmp_path / f"x.{suffix}", "rb") as file:
        image, size = square(file, "x")
    assert (image.mode, image.size, size) == ("L", (250, 250), (800, 500))
    assert np.abs(np.asarray(image, int) - np.asarray(FACE, int)).mean() < 5


def test_a_photo_is_turned_upright_and_an_image_of_lfws_size_stays_as_it_is():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = np.asarray(square(io.BytesIO(saved(exif=exif)), "x")[0], int)
    assert np.abs(turned - np.asarray(FACE.rotate(-90), int)).mean() < 3
    content = saved(FACE.convert("RGB"))
    assert (np.asarray(square(io.BytesIO(content), "x")[0]) == decode(content, "x", 250, 250, "bilinear")).all()


def test_a_study_of_own_people_is_headed_so_and_compared_with_nothing_published(people, tmp_path):
    opened = Study(Settings(dataset="folder", data_dir=str(people), out=str(tmp_path), precision="float32"))
    opened.ask(["base"])
    for study in (opened, Results.open(tmp_path)):
        heading = wording.heading(study, "Summary")
        assert heading.startswith("# Summary (own people, profile quick") and "no figure here is comparable" in heading
        assert wording.source_line(study).startswith("own people, View 1")
        assert not wording.shows_published(study) and "other than LFW's" in verdicts.claim_verdicts(study).empty
        assert all(study.published(c) is None for rung in study.climb() for c in rung.candidates)
    # The report is made from the copy, whatever becomes of the folder, but its commands name the folder.
    again = Results.open(tmp_path)
    assert again.settings.data_dir == str(resolve_data_dir("folder", str(people)))
    assert f"--data-dir {people} " in wording.command(again) == wording.command(opened)
    shutil.rmtree(again.settings.data_dir)
    assert Results.open(tmp_path).settings.data_dir == str(people)


def test_the_interval_of_own_people_allows_for_pairs_that_share_people(people, tmp_path):
    settings = {"dataset": "folder", "data_dir": str(people)}
    study = made_up_base(tmp_path, "components", {"train": 0.9, "val": 0.7, "test": 0.7}, seeds=1, **settings)
    best = study.best()
    found, components = measured.accuracy_with_interval(study, best), study.test_components()
    expected = intervals.mean_interval(study.correct(best, "score"), components, draws=4000)
    assert (
        (found.low, found.high) == expected != metrics.wilson(int(study.correct(best, "score").sum()), len(components))
    )
    assert measured.interval_words(study).startswith("95 % of one run, bootstrapped over connected components")
    images = summary.caveats(study, best).split("\n")[0]
    assert f"{len(components)} test pairs in {len(set(components))} groups that share nobody: so few" in images
    told = summary.reservations(study)  # nothing on stages that the study does not have
    assert "penalty" in told and "early-stopping" not in told and "stride" not in told
    assert "View 2 and the split folds need 20 people" in robustness.view2(study).empty


def test_other_people_given_as_lfw_are_headed_truly(faces, tmp_path, capsys):
    opened = Study(Settings(dataset="lfw-a", data_dir=str(faces), out=str(tmp_path), precision="float32"))
    opened.ask(["base"])
    for study in (opened, Results.open(tmp_path)):
        assert "LFW-a" not in wording.source_line(study) and "images given as lfw-a, with other pairs" in study.title
        assert "no figure here is comparable" in wording.heading(study, "Summary")
    assert main(["data", "--dataset", "lfw-a", "--data-dir", str(faces), "--side", "40"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("images given as lfw-a, with other pairs than LFW's") and "use --dataset folder" in told


@pytest.mark.long
@pytest.mark.lfw
def test_lfw_is_headed_as_lfw_also_where_only_the_images_of_its_pairs_are_left(lfw_dir, tmp_path, capsys):
    options = ["--dataset", "lfw-deepfunneled", "--side", "40"]
    assert main(["data", *options, "--data-dir", lfw_dir, "--pack", str(tmp_path)]) == 0
    assert main(["data", *options, "--data-dir", str(tmp_path)]) == 0
    first, second = capsys.readouterr().out.split("packed: ")
    assert first.startswith("LFW, deep-funneled from") and "\nLFW, deep-funneled from" in second


@pytest.mark.long
def test_a_study_of_own_people_runs_from_photos_to_predictions(people, tmp_path):
    command = [
        "run",
        "--dataset",
        "folder",
        "--data-dir",
        str(people),
        "--profile",
        "tiny",
        "--stages",
        "base",
        "--no-report",
    ]
    assert main([*command, "--out", str(tmp_path)]) == 0
    predictions = Results.open(tmp_path).predictions()
    test = read_view1(Path(Results.open(tmp_path).settings.data_dir) / "pairsDevTest.txt")
    assert predictions["left"].tolist() == test.left.tolist() and predictions["score"].notna().all()
