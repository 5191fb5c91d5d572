import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lfwstudy.cli import main
from lfwstudy.data.drawn_faces import draw_face
from tests.support.commands import python


def run(capsys, *arguments):
    try:
        status = main([str(a) for a in arguments])
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    "command", [(), ("data",), ("run",), ("report",), ("compare",), ("export",), ("verify",), ("embed",), ("bench",)]
)
def test_help_teaches_within_80_columns(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = run(capsys, *command, "--help")
    assert status == 0 and "usage: lfwstudy" in out
    assert command in ((), ("bench",)) or "example" in out
    assert max(map(len, out.splitlines())) <= 80 and not re.search(r"\w-$", out, re.MULTILINE)


def test_data_counts_what_is_there(capsys):
    status, out, _ = run(capsys, "data", "--side", 69, "--audit")
    assert status == 0
    assert "600 people" in out and "no person shared" in out and "made-up people" in out
    assert "components: 240 + 240 training, 60 + 60 validation" in out and "bilinear" in out


@pytest.mark.parametrize(
    "arguments, word",
    [
        (("data", "--dataset", "dmeo"), "did you mean 'demo'"),
        (("data", "--data-dir", "/nowhere", "--dataset", "lfw"), "/nowhere"),
        (("data", "--crop", "0"), "crop"),
        (("data", "--dataset", "LFW"), "did you mean 'lfw'"),
        (("data", "--dataset", "lfw", "--data-dir", __file__), "--data-dir is a folder"),
        (("run", "--dataset", "LFW"), "did you mean 'lfw'"),
        (("run", "--dataset", "lfw", "--data-dir", __file__), "--data-dir is a folder"),
        (("run", "--stages", "bsae"), "did you mean 'base'"),
        (("run", "--stages", "base", "stride"), "separated by commas: --stages base,stride"),
        (("run", "--stages", "base,shallow"), "the ladder report has no stage shallow: it is one of --ladder beyond"),
        (("run", "--out", __file__), "test_cli.py is not a folder; give --out a folder"),
        (("run", "--out", f"{__file__}/out"), "test_cli.py is not a folder; give --out a folder"),
        (("run", "--out", "/nowhere/at/all"), "/nowhere/at does not exist, nor the folder above it"),
        (("run", "--sage", "base"), "unrecognized arguments: --sage base; see lfwstudy --help"),
        (("run", "--profile", "x"), "quick"),
        (("run", "--ladder", "x"), "report"),
        (("run", "--protocol", "view2", "--split", "folds"), "--split"),
        (("run", "--seeds", "0"), "seeds"),
        (("run", "--split", "x"), "components"),
        (("report", "--out", "/nowhere"), "study.json"),
        (("compare", "/nowhere/a", "/nowhere/b"), "study.json"),
        (("compare", "a", "b", "--to", "/nowhere/a.html"), "its folder does not exist"),
        (("export", "--out", "/nowhere", "--to", "/nowhere/to"), "study.json"),
        (("verify", "/nowhere/a.jpg", "b.jpg"), "no such file"),
        (("verify", "a", "b", "--left-box", "1,2,3"), "L,T,R,B"),
        (("verify",), "--pairs PAIRS.csv"),
        (("verify", "a.jpg"), "two photos"),
        (("verify", "a.jpg", "b.jpg", "--pairs", "x.csv"), "two photos"),
        (("verify", "a.jpg", "b.jpg", "--out-csv", "x.csv"), "need --pairs"),
        (("verify", "a.jpg", "b.jpg", "--fit-threshold"), "need --pairs"),
        (("verify", "--pairs", "x.csv", "--json", "--fit-threshold"), "cannot be combined"),
        (("verify", "--pairs", "/nowhere/x.csv"), "/nowhere/x.csv"),
        (("verify", "a.jpg", "b.jpg", "--threshold", "nan"), "from 0 to 1"),
        (("verify", "a.jpg", "b.jpg", "--face", "x"), "largest"),
        (("embed", "/nowhere", "--to", "x.npz"), "no such folder"),
        (("embed", ".", "--to", "x.txt"), ".npz or .parquet"),
        (("embed", ".", "--to", "/nowhere/x.npz"), "folder does not exist"),
        (("frobnicate",), "invalid choice"),
    ],
)
def test_wrong_use_exits_with_2_and_says_what_to_do(capsys, arguments, word):
    status, out, err = run(capsys, *arguments)
    assert status == 2 and word in err and err.startswith("error: ") and err.count("\n") == 1 and out == ""


def test_a_refused_command_waits_for_no_library_that_it_does_not_need():
    heavy = {"keras", "tensorflow", "jax", "scipy", "sklearn", "pandas", "matplotlib", "dask", "distributed"}
    code = (
        "import sys; from lfwstudy.cli import main; main(['run', '--stages', 'bsae']); import lfwstudy.workflow; "
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = python(code, check=True)
    assert "did you mean 'base'" in done.stderr and done.stdout == "[]\n"


def test_bad_data_leave_no_study_behind(capsys, tmp_path, faces):
    (tmp_path / "data").mkdir()
    status, _, err = run(
        capsys, "run", "--dataset", "lfw-a", "--data-dir", tmp_path / "data", "--out", tmp_path / "out"
    )
    assert status == 2 and "lfw2/" in err and not (tmp_path / "out").exists()
    for file in faces.glob("*.txt"):
        (tmp_path / "data" / file.name).write_text(file.read_text().replace("\t1\t", "\tone\t"))
    (tmp_path / "data" / "lfw2").symlink_to(faces / "lfw2")
    status, _, err = run(
        capsys, "run", "--dataset", "lfw-a", "--data-dir", tmp_path / "data", "--out", tmp_path / "out"
    )
    assert status == 2 and "pairsDevTrain.txt, line 2" in err and "'one'" in err and not (tmp_path / "out").exists()


def test_an_interrupted_command_ends_with_130_and_says_how_to_go_on(capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lfwstudy.workflow.run", interrupt)
    monkeypatch.setattr("lfwstudy.data.summary.describe_data", interrupt)
    assert run(capsys, "run") == (130, "", "\ninterrupted; the same command resumes\n")
    assert run(capsys, "data") == (130, "", "\ninterrupted\n")


@pytest.mark.parametrize(
    "missing, command, told",
    [
        (
            "papermill",
            ("run",),
            "papermill is not installed: pip install 'lfwstudy', or train only, with --no-report",
        ),
        ("nbconvert", ("report",), "the package nbconvert is not installed: pip install 'lfwstudy'"),
        ("tensorflow", ("run", "--no-report"), "pip install 'lfwstudy', or set KERAS_BACKEND=jax"),
        ("tensorflow", ("bench",), "pip install 'lfwstudy'"),
        ("bs4", ("compare", "a", "b"), "the package bs4 is not installed: pip install 'lfwstudy'"),
    ],
)
def test_a_missing_package_is_one_line_with_what_to_install(tmp_path, missing, command, told):
    """In a process of its own, where what is loaded cannot stand for what is missing."""
    code = f"import sys; sys.modules[{missing!r}] = None; from lfwstudy.cli import main; sys.exit(main(sys.argv[1:]))"
    done = python(code, *command, cwd=tmp_path)
    assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.iterdir())


def test_the_home_of_nobody_is_a_folder_like_any_other(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, "export", "--out", "~nobody-here/x", "--to", "~nobody-here/y")
    assert status == 2 and f"error: {tmp_path}/~nobody-here/x: no study here" in err


def test_dry_run_trains_nothing(capsys, tmp_path):
    status, out, _ = run(capsys, "run", "--dry-run", "--out", tmp_path / "x", "--seeds", 2)
    assert status == 0 and not (tmp_path / "x").exists()
    table, rest = out.split("\n\n")
    assert re.search(r"\nstride +pool1-stride1 +2 +15 +(\d+ s|\d+:\d\d \w+) +\d\.\d GiB\n", table)
    assert table.endswith("\nEpochs and memory are upper bounds, times estimates.")
    assert max(map(len, out.splitlines())) <= 80
    # Nine pages: the data, seven stages, the summary.
    assert "32 runs to train" in rest and "to start them and 2:15 min for the report" in rest and "MiB" in rest


def test_dry_run_of_a_finished_study_says_that_nothing_is_left(capsys, tmp_path, finished):
    from lfwstudy.study.settings import Settings
    from lfwstudy.study.study import Study

    study = Study(Settings(out=str(tmp_path), precision="float32"))
    study.ask(["base"])
    shutil.copytree(finished, study.store.folder(study.climb()[0].candidates[0].specs[0].run))
    status, out, _ = run(capsys, "run", "--dry-run", "--out", tmp_path, "--stages", "base")
    assert status == 0 and "0 runs: finished, or the same as those of a variant above." in out
    assert "\ntime: nothing to train, about" in out and "Unfinished" not in out


def test_the_disk_that_a_dry_run_names_is_what_a_finished_run_takes(tmp_path, finished, tiny):
    from lfwstudy.study.estimate import finished_bytes
    from lfwstudy.study.settings import Settings
    from lfwstudy.study.study import Study

    study = Study(Settings(out=str(tmp_path), precision="float32"))
    taken = sum(path.stat().st_size for path in finished.iterdir() if path.name != "model.keras")
    assert finished_bytes(study, tiny) == pytest.approx(taken, rel=0.2)


def test_estimated_time_counts_every_pair_of_a_person_and_every_mirrored_picture(tmp_path):
    from lfwstudy.study.estimate import operations
    from lfwstudy.study.settings import Settings
    from lfwstudy.study.study import Study

    study = Study(Settings(out=str(tmp_path), ladder="beyond", precision="float32"))
    once = study.first().change({"training.drawn_people": 1000})
    twice, mirrored = once.change({"training.pairs_per_person": 2}), once.change({"model.flip_average": True})
    validation = len(study.data(once.data)[1].validation)
    assert operations(study, twice) / operations(study, once) == pytest.approx(
        (12000 + 2 * validation) / (6000 + 2 * validation)
    )
    assert operations(study, mirrored) / operations(study, once) == pytest.approx(
        (6000 + 4 * validation) / (6000 + 2 * validation)
    )


def test_a_damaged_run_is_one_line_for_commands_that_only_read(capsys, tmp_path):
    from lfwstudy.study.settings import Settings
    from lfwstudy.study.study import Study

    study = Study(Settings(out=str(tmp_path), precision="float32"))
    study.ask(["base"])
    folder = study.store.folder(study.climb()[0].candidates[0].specs[0].run)
    folder.mkdir(parents=True)
    for content, why in ("{", "Expecting property name"), ("{}", "no run"):
        for name in ("config.json", "history.csv", "predictions.csv", "result.json"):
            (folder / name).write_text(content)
        status, _, err = run(capsys, "run", "--dry-run", "--out", tmp_path)
        assert status == 2 and f"result.json: damaged ({why}" in err and err.count("\n") == 1


def test_faces_are_asked_for_where_none_is_found(capsys, tmp_path):
    for name in "ab":
        Image.new("L", (300, 300), 90).save(tmp_path / f"{name}.png")
    status, _, err = run(capsys, "verify", tmp_path / "a.png", tmp_path / "b.png")
    assert status == 2 and "no face found" in err and "give the left box" in err


@pytest.fixture
def photos(tmp_path):
    """A folder with two faces in photos/ and photos/more/, and a blank wall."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(draw_face([1], [0])).save(folder / "a.png")
    Image.fromarray(draw_face([1], [2])).save(folder / "more" / "b.png")
    Image.new("L", (300, 300), 90).save(folder / "wall.png")
    return folder


def test_the_answer_as_json_with_options_between_the_photos(capsys, photos):
    pair = photos / "a.png", photos / "more" / "b.png"
    status, out, err = run(capsys, "verify", pair[0], "--json", pair[1], "--threshold", 0)
    answer = json.loads(out)
    assert status == 0 and err == "" and list(answer) == ["same", "score", "threshold", "network", "demo", "notes"]
    assert (answer["same"], answer["threshold"], answer["demo"], answer["notes"]) == (True, 0, False, [])
    status, out, _ = run(capsys, "verify", *pair, "--threshold", 1)
    assert status == 0 and out.startswith("different people: ") and "threshold 1.00" in out


def test_pairs_are_scored_to_a_file_or_printed_with_reasons_for_those_that_failed(
    capsys, photos, tmp_path, monkeypatch
):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(
        "id,left,right\n1,photos/a.png,photos/more/b.png\n2,photos/a.png,photos/wall.png\n3,photos/a.png,gone.png\n"
    )
    monkeypatch.chdir(photos)  # the paths are relative to the file's folder
    status, out, err = run(capsys, "verify", "--pairs", pairs)
    lines = out.splitlines()
    assert status == 1 and "2 of 3 pairs could not be scored" in err
    assert lines[0] == "left,right,score,same,error"
    assert re.fullmatch(r"photos/a\.png,photos/more/b\.png,[01]\.\d+,(true|false),", lines[1])
    assert re.fullmatch(r"photos/a\.png,photos/wall\.png,,,.*wall\.png: no face found", lines[2])
    assert re.fullmatch(r"photos/a\.png,gone\.png,,,.*gone\.png: no such file", lines[3])
    assert run(capsys, "verify", "--pairs", pairs, "--out-csv", "scores.csv") == (1, "", err)
    assert (photos / "scores.csv").read_text() == out
    status, out, _ = run(capsys, "verify", "--pairs", pairs, "--json")
    scored, *failed = map(json.loads, out.splitlines())
    assert scored["left"] == "photos/a.png" and scored["same"] == (scored["score"] > 0.5) and status == 1
    assert ["wall.png: no face found" in one["error"] for one in failed] == [True, False]
    pairs.write_text("\ufeffleft, right\nphotos/a.png, photos/a.png\n")
    status, out, err = run(capsys, "verify", "--pairs", pairs)
    assert status == 0 and err == "" and re.search(r"\nphotos/a\.png,photos/a\.png,[01][.\d]*,true,\n$", out)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "line 1: the columns left,right expected"),
        (b"a.jpg,b.jpg\n", "got 'a.jpg,b.jpg'"),
        (b"left;right\na.jpg;b.jpg\n", "got 'left;right'"),
        (b"left,right\n", "no pairs"),
        (b"left,right\na.jpg,b.jpg\na.jpg\n", "line 3: the paths of two photos expected, got 'a.jpg,'"),
        (b"left,right\na\0.jpg,b.jpg\n", "pairs.csv"),
        (b"left,right\na\xff.jpg,b.jpg\n", "not a readable CSV file"),
    ],
)
def test_a_bad_file_of_pairs_is_named_with_line_and_value(capsys, tmp_path, content, words):
    (tmp_path / "pairs.csv").write_bytes(content)
    status, out, err = run(capsys, "verify", "--pairs", tmp_path / "pairs.csv")
    assert status == 2 and out == "" and words in err and "pairs.csv" in err and err.count("\n") == 1


def test_scores_that_could_not_be_written_are_not_computed(capsys, photos, tmp_path):
    (tmp_path / "pairs.csv").write_text("left,right\nphotos/a.png,photos/a.png\n")
    status, _, err = run(capsys, "verify", "--pairs", tmp_path / "pairs.csv", "--out-csv", tmp_path / "no" / "x.csv")
    assert status == 2 and "folder does not exist" in err
    status, _, err = run(capsys, "verify", "--pairs", tmp_path / "pairs.csv", "--out-csv", photos)
    assert status == 2 and "photos: a folder; give the name of a file" in err


def test_scores_do_not_overwrite_the_pairs(capsys, photos, tmp_path, monkeypatch):
    content = "left,right,label\nphotos/a.png,photos/a.png,1\n"
    (tmp_path / "pairs.csv").write_text(content)
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, "verify", "--pairs", tmp_path / "pairs.csv", "--out-csv", "pairs.csv")
    assert status == 2 and "pairs.csv would overwrite the file of pairs" in err
    assert (tmp_path / "pairs.csv").read_text() == content


def test_a_folder_is_embedded_with_names_and_what_failed_is_named(capsys, photos):
    (photos / ".hidden").write_text("")
    for _ in range(2):  # the second time the file that is written is there
        status, out, err = run(capsys, "embed", photos, "--to", photos / "faces.npz")
        assert (
            status == 1 and "2 of 3 photos embedded" in out and err == f"error: {photos / 'wall.png'}: no face found\n"
        )
    content = np.load(photos / "faces.npz")
    assert content["names"].tolist() == ["a.png", "more/b.png"]
    assert content["embeddings"].shape[0] == 2 and content["embeddings"].dtype == np.float32
    (photos / "wall.png").unlink()
    assert run(capsys, "embed", photos, "--to", photos / "faces.npz")[::2] == (0, "")


def test_where_no_photo_can_be_embedded_nothing_is_written(capsys, tmp_path):
    (tmp_path / "notes.txt").write_text("no photo")
    status, _, err = run(capsys, "embed", tmp_path, "--to", tmp_path / "faces.npz")
    assert status == 2 and "notes.txt: " in err and "nothing written" in err and not (tmp_path / "faces.npz").exists()


def test_parquet_is_written_where_pyarrow_is_installed(capsys, photos):
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    run(capsys, "embed", photos, "--to", photos / "faces.parquet")
    frame = pandas.read_parquet(photos / "faces.parquet")
    assert frame["name"].tolist() == ["a.png", "more/b.png"] and frame["embedding"][0].dtype == np.float32
    os.rename(photos / "a.png", os.fsencode(photos) + b"/\xff.png")
    run(capsys, "embed", photos, "--to", photos / "faces.parquet")
    assert pandas.read_parquet(photos / "faces.parquet")["name"].tolist() == ["more/b.png", "\\udcff.png"]


def test_parquet_without_pyarrow_is_refused_by_name(capsys, photos, monkeypatch):
    monkeypatch.setattr("lfwstudy.verify.many.find_spec", lambda _: None)
    status, _, err = run(capsys, "embed", photos, "--to", photos / "faces.parquet")
    assert status == 2 and "pip install 'lfwstudy[parquet]'" in err


def test_box_is_enlarged_about_its_centre():
    from lfwstudy.verify.faces import frame_face

    face = Image.fromarray(draw_face([1], [2]))
    large = Image.new("L", (1000, 800), 77)
    large.paste(face.resize((500, 500)), (300, 100))
    side = 500 / 2.2
    box = tuple(round(v) for v in (550 - side / 2, 350 - side / 2, 550 + side / 2, 350 + side / 2))
    difference = np.asarray(frame_face(large, box), float) - np.asarray(face, float)
    assert np.abs(difference).mean() < 4


def test_command_is_installed():
    done = subprocess.run([sys.executable, "-m", "lfwstudy", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("lfwstudy 0.")
