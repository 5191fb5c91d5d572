"""A machine that fails for a moment (memory, open files, a disk) proves nothing about a file: what is finished stays."""

import csv
import errno
import io
import json
import os
import shutil
import types
import zipfile

import keras
import numpy as np
import pytest

from lfwstudy import cli, errors
from lfwstudy.config import DataConfig, TrainingConfig
from lfwstudy.data import images
from lfwstudy.data.bank import ImageBank, load_bank
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.errors import DamageError, DataError
from lfwstudy.report import pages
from lfwstudy.runs.damage import problem_of
from lfwstudy.runs.store import FILES, Store
from lfwstudy.study import study as study_module
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system.files import read_csv, read_json, write_json
from lfwstudy.training import checkpoints
from tests.support.failures import FAILURES, cannot_open, content, failures, no_more_files
from tests.support.runs import fill, run_files


@failures
@pytest.mark.parametrize("name", [*FILES, "model.keras"])
def test_a_finished_run_that_cannot_be_read_now_stays(tmp_path, monkeypatch, name, failure):
    (tmp_path / "runs").mkdir()
    run, store = run_files(tmp_path / "runs"), Store(tmp_path / "runs")
    with zipfile.ZipFile(run / "model.keras", "w") as archive:
        archive.writestr("a", "b")
    before = content(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(type(failure)):
        cannot_open(patch, name, failure)
        list(store.set_aside_damaged())
    assert content(tmp_path) == before and not list(store.set_aside_damaged())


def test_a_process_with_too_many_open_files_sets_no_run_aside(tmp_path):
    run = run_files(tmp_path)
    with no_more_files(), pytest.raises(OSError, match="Too many open files"):
        problem_of(Store(tmp_path), run.name)
    assert [path.name for path in tmp_path.iterdir()] == [run.name]


@pytest.mark.parametrize("name", FILES)
def test_a_run_is_not_trained_again_because_the_system_cannot_tell_whether_it_is_there(tmp_path, monkeypatch, name):
    run, asked = run_files(tmp_path), os.stat

    def fails(path, *more, **named):
        if str(path).endswith(name):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return asked(path, *more, **named)

    monkeypatch.setattr(os, "stat", fails)
    with pytest.raises(OSError, match="Input/output"):
        Store(tmp_path).is_finished(run.name)


@pytest.fixture
def weighed(tmp_path):
    """A small network and a run's folder with its weights, a resume state, results and a log."""
    network = keras.Sequential([keras.layers.Dense(3)])
    network.build((None, 2))
    folder = tmp_path / "runs" / "run"
    folder.mkdir(parents=True)
    checkpoints.save_weights(folder, network, 1)
    for name in ("resume.npz", "result.json", "history.csv", "config.json", "log.txt"):
        (folder / name).write_text(name)
    return network, folder


@pytest.mark.parametrize(
    "failure",
    [*FAILURES.values(), ValueError("A total of 2 objects could not be loaded"), RuntimeError("no thread")],
    ids=str,
)
def test_weights_that_cannot_be_loaded_now_stay_with_all_beside_them(weighed, monkeypatch, failure):
    """Keras turns any error into a ValueError."""
    network, folder = weighed
    before = content(folder.parent)

    def fails(path):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(network, "load_weights", fails)
        with pytest.raises((OSError, MemoryError)) as raised:
            checkpoints.load_weights(folder, network, 1)
    assert not isinstance(raised.value, DamageError) and content(folder.parent) == before
    with no_more_files(), pytest.raises(OSError, match="Too many open files"):
        checkpoints.load_weights(folder, network, 1)
    assert content(folder.parent) == before
    checkpoints.load_weights(folder, network, 1)


def test_weights_that_are_missing_damage_nothing(weighed):
    network, folder = weighed
    before = content(folder.parent)
    with pytest.raises(FileNotFoundError):
        checkpoints.load_weights(folder, network, 2)
    assert content(folder.parent) == before


def of_another_network(path):
    other = keras.Sequential([keras.layers.Dense(4)])
    other.build((None, 2))
    path.unlink()
    other.save_weights(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"x" * 3000),
        lambda path: path.write_bytes(path.read_bytes()[:512] + bytes(512) + path.read_bytes()[1024:]),
        of_another_network,
    ],
    ids=["cut short", "empty", "no HDF5", "a block of zeros", "of another network"],
)
def test_damaged_weights_are_set_aside_with_their_run_and_nothing_is_deleted(weighed, damage):
    network, folder = weighed
    damage(checkpoints.weights_path(folder, 1))
    before = content(folder)
    for number in (1, 2):
        with pytest.raises(DamageError, match=f"damaged weights.*set aside with the run as run.damaged-{number}"):
            checkpoints.load_weights(folder, network, 1)
        assert content(folder.with_name(f"run.damaged-{number}")) == {
            name: text for name, text in before.items() if name != "log.txt"
        }
        assert sorted(path.name for path in folder.iterdir()) == ["config.json", "log.txt"]
        for name, text in before.items():
            (folder / name).write_bytes(text)


def model_of(*shapes):
    """What a resume state is of: as much of a compiled model as that needs."""
    variables = [keras.Variable(np.ones(shape, np.float32), name="v") for shape in shapes]
    return types.SimpleNamespace(variables=variables, optimizer=types.SimpleNamespace(variables=[]))


ROWS = [{"epoch": 1, "val_accuracy": 0.5, "val_loss": 1.0, "val_cross_entropy": 1.0, "loss": 1.0}]


@failures
@pytest.mark.parametrize("where", ["opened", "read"])
def test_a_resume_state_that_cannot_be_read_now_stays(tmp_path, monkeypatch, failure, where):
    folder = tmp_path / "run"
    folder.mkdir()
    checkpoints.save_resume(folder, model_of((3, 2)), ROWS)
    checkpoints.weights_path(folder, 1).write_bytes(b"weights")
    before = content(tmp_path)

    def fails(*_, **__):
        raise failure

    with monkeypatch.context() as patch:
        if where == "opened":
            cannot_open(patch, "resume.npz", failure)
        else:
            patch.setattr(np, "load", fails)
        with pytest.raises(type(failure)):
            checkpoints.load_resume(folder, model_of((3, 2)), TrainingConfig())
    assert content(tmp_path) == before
    assert checkpoints.load_resume(folder, model_of((3, 2)), TrainingConfig()) == ROWS


def asks_for_a_terabyte(path):
    text = path.read_bytes()
    asked = b"(99999999999, 9), }"
    path.write_bytes(text.replace(b"(3, 2), }".ljust(len(asked)), asked, 1))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"epoch", b"epoxh")),
        lambda path: path.write_bytes(b""),
        asks_for_a_terabyte,
        lambda path: checkpoints.weights_path(path.parent, 1).unlink(),
        lambda path: checkpoints.save_resume(path.parent, model_of((5, 5)), ROWS),
    ],
    ids=[
        "cut short",
        "one letter",
        "empty",
        "a header that asks for terabytes",
        "its weights missing",
        "to another network",
    ],
)
def test_a_damaged_resume_state_is_set_aside_and_nothing_is_deleted(tmp_path, damage):
    folder = tmp_path / "run"
    folder.mkdir()
    checkpoints.save_resume(folder, model_of((3, 2)), ROWS)
    checkpoints.weights_path(folder, 1).write_bytes(b"weights")
    damage(folder / "resume.npz")
    before = content(folder)
    with pytest.raises(DamageError, match="unusable resume state.*set aside as run.damaged-1"):
        checkpoints.load_resume(folder, model_of((3, 2)), TrainingConfig())
    assert content(tmp_path / "run.damaged-1") == before and not content(folder)


@failures
def test_a_resume_state_stays_where_its_folder_s_config_cannot_be_read_now(tmp_path, monkeypatch, failure):
    write_json(tmp_path / "config.json", {"run": "a"})
    (tmp_path / "resume.npz").write_bytes(b"x")
    before = content(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(type(failure)):
        cannot_open(patch, "config.json", failure)
        checkpoints.forget_another_run(tmp_path, {"run": "a"})
    assert content(tmp_path) == before


def small_bank(path):
    ImageBank(
        np.zeros((2, 4, 4), np.uint8),
        np.array(["A_0001", "B_0001"]),
        np.zeros((2, 32), np.uint8),
        "demo",
        250,
        4,
        "box",
    ).save(path)
    return path


def test_a_bank_that_cannot_be_opened_now_is_not_called_damaged(tmp_path):
    path = small_bank(tmp_path / "bank.npz")
    with no_more_files(), pytest.raises(OSError, match="Too many open files"):
        load_bank(path)
    with pytest.raises(DataError, match="nowhere.npz"):
        load_bank(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("name", ["images", "names", "sha256"])
def test_a_bank_whose_header_asks_for_more_than_the_file_has_is_refused(tmp_path, name):
    path = small_bank(tmp_path / "bank.npz")
    arrays = dict(np.load(path))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": arrays[name].dtype.str, "fortran_order": False, "shape": (2**44, 2)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        for member, array in arrays.items():
            file = io.BytesIO()
            np.save(file, array)
            archive.writestr(f"{member}.npy", header.getvalue() if member == name else file.getvalue())
    with pytest.raises(DataError, match="bank.npz"):
        load_bank(path)


@pytest.fixture
def cached(faces, tmp_path, monkeypatch):
    """A small data set's bank in a separate cache: a function that prepares it again, and its file."""
    monkeypatch.setenv("LFWSTUDY_CACHE", str(tmp_path))
    config = DataConfig(dataset="lfw-a", side=20)
    prepare_bank(config, str(faces))
    return lambda: prepare_bank(config, str(faces)), *tmp_path.glob("banks/*.npz")


@failures
def test_a_cached_bank_that_cannot_be_read_now_stays(cached, monkeypatch, failure):
    prepare, path = cached
    before = path.stat().st_ino
    with monkeypatch.context() as patch, pytest.raises(type(failure)):
        cannot_open(patch, path.name, failure)
        prepare()
    assert path.stat().st_ino == before and len(prepare()) > 60


def test_a_damaged_cached_bank_is_made_again(cached):
    prepare, path = cached
    for damage in (lambda content: content[:-500], lambda content: b""):
        path.write_bytes(damage(path.read_bytes()))
        assert len(prepare()) > 60 and len(load_bank(path)) > 60


def test_an_image_is_not_called_unreadable_where_memory_is_short(monkeypatch):
    def fails(*_, **__):
        raise MemoryError

    monkeypatch.setattr(images.Image, "open", fails)
    with pytest.raises(MemoryError):
        images.decode(b"x", "A_0001", 250, 8, "box")


@pytest.fixture
def paged(tmp_path):
    """A study of one page, and that page with its notebook."""
    page = pages.Page("00_data", "data", "The data", "00_data.ipynb", {})
    path = tmp_path / "notebooks" / "00_data.ipynb"
    path.parent.mkdir()
    write_json(path, {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 4})
    return types.SimpleNamespace(out=tmp_path), page, path


@failures
def test_a_notebook_that_cannot_be_read_now_stays(paged, monkeypatch, failure):
    study, page, path = paged
    before = path.read_bytes()
    monkeypatch.setattr(pages, "all_pages", lambda study: [page])
    for call in (lambda: pages.mark_gap(study, page, "failed"), lambda: pages.render(study)):
        with monkeypatch.context() as patch, pytest.raises(type(failure)):
            cannot_open(patch, path.name, failure)
            call()
    assert path.read_bytes() == before
    pages.mark_gap(study, page, "failed")
    assert read_json(path)["metadata"] == {"lfwstudy_gap": "failed"}


def test_a_damaged_notebook_is_left_where_it_is(paged):
    study, page, path = paged
    for text in ("{", "[]", "{}", ""):
        path.write_text(text)
        pages.mark_gap(study, page, "failed")
        assert path.read_text() == text
    path.unlink()
    pages.mark_gap(study, page, "failed")
    assert not path.exists()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    fill(folder, 1, "base")
    return folder


@pytest.fixture
def out(filled, tmp_path):
    shutil.copytree(filled, tmp_path / "out")
    return tmp_path / "out"


@failures
def test_a_study_that_cannot_be_read_now_is_not_begun_again(out, monkeypatch, failure):
    with monkeypatch.context() as patch, pytest.raises(type(failure)):
        cannot_open(patch, "study.json", failure)
        Study(Settings(out=str(out), precision="bfloat16"))
    asked = os.stat

    def fails(path, *more, **named):
        if str(path).endswith("study.json"):
            raise OSError(errno.EIO, "Input/output error")
        return asked(path, *more, **named)

    monkeypatch.setattr(os, "stat", fails)
    assert Study(Settings(out=str(out), precision="float32")).stages() == ["base"]


def test_results_that_are_no_csv_are_written_again_from_the_runs(out):
    study = Study(Settings(out=str(out), precision="float32"))
    study.write_results()
    written = (out / "results.csv").read_text()
    (out / "results.csv").write_text('stage,run\n"' + "x" * 200_000 + '"\n')
    with pytest.raises(csv.Error):
        read_csv(out / "results.csv")
    study.write_results()
    assert (out / "results.csv").read_text() == written


@failures
@pytest.mark.parametrize("name", ["result.json", "predictions.csv", "study.json"])
def test_the_command_ends_with_one_line_and_everything_in_place(out, monkeypatch, capsys, name, failure):
    before = content(out)
    with monkeypatch.context() as patch:
        cannot_open(patch, name, failure)
        study_module.load_data.cache_clear()
        arguments = ["run", "--out", str(out), "--stages", "base", "--precision", "float32", "--no-report"]
        assert cli.main(arguments) == 1
    *begun, last = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in begun] == ["study"] * (name != "study.json")
    assert last.startswith("error: ") and (str(failure) or "out of memory") in last
    after = content(out)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    "error, is_damage",
    [
        (json.JSONDecodeError("no", "", 0), True),
        (zipfile.BadZipFile(), True),
        (csv.Error(), True),
        (EOFError(), True),
        (KeyError("a"), True),
        (OSError("truncated file"), True),
        (OSError(errno.EINVAL, "Invalid argument"), True),
        (errors.RunError("damaged"), True),
        (OSError(errno.ENFILE, ""), False),
        (TimeoutError(errno.ETIMEDOUT, ""), False),
        (RuntimeError("can't start new thread"), False),
        (ImportError("cannot open shared object file: Too many open files"), False),
        (np._core._exceptions._ArrayMemoryError((9,), np.dtype("f4")), False),
    ],
    ids=repr,
)
def test_what_proves_damage(error, is_damage):
    assert errors.proves_damage(error) is is_damage
