import re
import subprocess
import sys

import pytest

from lfwstudy.cli import main
from lfwstudy.data.drawn_faces import draw_face


def run(capsys, *arguments):
    try:
        status = main([str(a) for a in arguments])
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    "command", [(), ("data",), ("run",), ("report",), ("compare",), ("export",), ("verify",), ("bench",)]
)
def test_help_teaches(capsys, command):
    status, out, _ = run(capsys, *command, "--help")
    assert status == 0 and "usage: lfwstudy" in out
    assert command in ((), ("bench",)) or "example" in out


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
        (("run", "--stages", "bsae"), "did you mean 'base'"),
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
        (("frobnicate",), "invalid choice"),
    ],
)
def test_wrong_use_exits_with_2_and_says_what_to_do(capsys, arguments, word):
    status, out, err = run(capsys, *arguments)
    assert status == 2 and word in err and "Traceback" not in err and out == ""


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


def test_a_folder_that_cannot_be_made_is_one_line(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = run(capsys, "run", "--out", tmp_path / "file" / "out")
    assert status == 1 and err.count("\n") == 1 and "Not a directory" in err


def test_dry_run_trains_nothing(capsys, tmp_path):
    status, out, _ = run(capsys, "run", "--dry-run", "--out", tmp_path / "x", "--seeds", 2)
    assert status == 0 and not (tmp_path / "x").exists()
    assert "batchnorm" in out and "32 runs to train" in out and "MiB" in out
    assert re.search(r"pool1-stride1 .* at most +\d\.\d GiB of memory\n", out)


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
    for name in ("config.json", "history.csv", "predictions.csv", "result.json"):
        (folder / name).write_text("{")
    status, _, err = run(capsys, "run", "--dry-run", "--out", tmp_path)
    assert status == 2 and "result.json: damaged" in err and err.count("\n") == 1


def test_faces_are_asked_for_where_none_is_found(capsys, tmp_path):
    from PIL import Image

    for name in "ab":
        Image.new("L", (300, 300), 90).save(tmp_path / f"{name}.png")
    status, _, err = run(capsys, "verify", tmp_path / "a.png", tmp_path / "b.png")
    assert status == 2 and "no face found" in err and "--left-box" in err


def test_box_is_enlarged_about_its_centre():
    import numpy as np
    from PIL import Image

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
