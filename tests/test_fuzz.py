"""For any bytes, readers of outside files raise only the library's own errors.

fuzz.py fuzzes them guided by coverage (`make fuzz`).
"""

import importlib.util
import io
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lfwstudy.config import DataConfig, RunConfig
from lfwstudy.data import archives
from lfwstudy.data.bank import build_bank, load_bank
from lfwstudy.data.images import decode, square
from lfwstudy.data.pair_files import from_csv
from lfwstudy.data.pairs import read_people, read_view1, read_view2
from lfwstudy.errors import StudyError
from lfwstudy.runs.damage import problem_of
from lfwstudy.runs.store import FILES, Store
from lfwstudy.study.study import open_study
from lfwstudy.verify.faces import open_photo
from tests.support.archives import member, write_tar, write_zip
from tests.support.images import saved
from tests.support.runs import run_files

DIAGONAL = Image.fromarray(np.add.outer(np.arange(250), np.arange(250)).astype(np.uint8))


def bank():
    with tempfile.TemporaryDirectory() as folder:
        build_bank(
            [("A_0001", saved(DIAGONAL, "PNG"))], DataConfig(dataset="lfw-a", side=8, filter="box"), "here"
        ).save(Path(folder) / "b.npz")
        return (Path(folder) / "b.npz").read_bytes()


def archive(kind):
    jpeg = saved(DIAGONAL)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "archive"
        if kind == "zip":
            write_zip(path, ("lfw2/A/A_0001.jpg", jpeg))
        else:
            write_tar(path, member("lfw2/A/A_0001.jpg", jpeg), mode=kind)
        return path.read_bytes()


def seed_of_run_file(name):
    with tempfile.TemporaryDirectory() as folder:
        return (run_files(folder) / name).read_bytes()


def read_from_file(read, name):
    def call(content):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            read(path)

    return call


def read_run(name):
    """A damaged run is told from a whole one, whatever the damage: nothing at all is raised."""

    def call(content):
        with tempfile.TemporaryDirectory() as folder:
            run = run_files(folder)
            (run / name).write_bytes(content)
            store = Store(folder)
            if problem_of(store, run.name) is None:
                store.result(run.name), store.history(run.name), store.scores(run.name, "val"), store.record(run.name)

    return call


VIEW1 = b"2\nAda\t1\t2\nBo\t1\t3\nAda\t1\tBo\t2\nBo\t1\tCy_D\t1\n"
READERS = {
    "jpeg": (saved(DIAGONAL, "JPEG"), lambda content: decode(content, "A_0001", 250, 8, "box")),
    "png": (saved(DIAGONAL, "PNG"), lambda content: decode(content, "A_0001", 250, 8, "box")),
    **{
        f"own {kind.lower()}": (saved(DIAGONAL, kind), lambda content: square(io.BytesIO(content), "own/image"))
        for kind in ("TGA", "ICO")
    },
    "photo": (saved(DIAGONAL, "TIFF"), read_from_file(open_photo, "photo")),
    "view1": (VIEW1, read_from_file(read_view1, "pairs.txt")),
    "view2": (b"2\t1\nA\t1\t2\nA\t1\tB\t1\nC\t1\t2\nC\t1\tD\t1\n", read_from_file(read_view2, "pairs.txt")),
    "people": (b"2\n1\nA\t1\n2\nB\t4\nC\t1\n", read_from_file(read_people, "people.txt")),
    "csv pairs": (
        b"name,imagenum1,imagenum2,\nA,1,2,\nA,1,B,1\nC,1,2,\nC,1,D,1\n",
        lambda content: from_csv("pairs.txt", [("pairs.csv", content)]),
    ),
    "csv people": (b"name,images\nA,1\nC,2\nB,4\n", lambda content: from_csv("people.txt", [("people.csv", content)])),
    "bank": (bank(), read_from_file(load_bank, "bank.npz")),
    **{
        kind: (archive(kind), read_from_file(lambda path: list(archives.read_images(path)), "lfwa"))
        for kind in ("zip", "w", "w:gz", "w:bz2", "w:xz")
    },
    "configuration": (
        json.dumps(RunConfig().to_dict()).encode(),
        read_from_file(lambda path: RunConfig.from_dict(json.loads(path.read_bytes())), "config.json"),
    ),
    "study": (
        json.dumps(
            {
                "dataset": "demo",
                "profile": "quick",
                "precision": "float32",
                "combinations": [
                    {
                        "ladder": "report",
                        "protocol": "view1",
                        "split": "components",
                        "select": "validation",
                        "seeds": 1,
                        "stages": ["base"],
                    }
                ],
            }
        ).encode(),
        read_from_file(lambda path: open_study(path.parent), "study.json"),
    ),
    **{name: (seed_of_run_file(name), read_run(name)) for name in FILES},
}


def read(name, content):
    """Give a reader some bytes; anything but the library's own errors, with one line, comes out."""
    try:
        READERS[name][1](content)
    except StudyError as error:
        assert "\n" not in str(error), repr(str(error))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        if name != "configuration":  # there the test itself decodes
            raise


def mutated(content, rng):
    """Valid content with some of what bit rot, editors and attackers do to it."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        at, length = rng.randrange(len(content) + 1), rng.choice((1, 2, 4, 16, 200))
        kind = rng.randrange(6)
        if kind == 0:
            content[at : at + length] = rng.randbytes(length)
        elif kind == 1:
            del content[at : at + length]
        elif kind == 2:
            content[at:at] = rng.choice(
                (
                    b"\0",
                    b"\t",
                    b"\n",
                    b"\r\n",
                    b",",
                    b'"',
                    b"-1",
                    b"1e999",
                    b"nan",
                    b"{",
                    b"[",
                    b"null",
                    b"\xff\xff\xff\xff",
                    b"9" * 30,
                    b"\xe2\x80\xae",
                )
            )
        elif kind == 3:
            content[at:at] = content[at : at + length]
        elif kind == 4:
            content = content[:at]
        elif content[at : at + 1]:
            content[at] ^= 1 << rng.randrange(8)
    return bytes(content)


@pytest.mark.parametrize("name", READERS)
def test_valid_content_is_read(name):
    READERS[name][1](READERS[name][0])


@pytest.mark.parametrize("name", READERS)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_mutated_content_raises_only_the_librarys_errors(name, seed):
    read(name, mutated(READERS[name][0], random.Random(seed)))


@pytest.mark.parametrize("name", READERS)
@given(content=st.binary(max_size=300))
@settings(max_examples=25, deadline=None)
def test_any_bytes_raise_only_the_librarys_errors(name, content):
    read(name, content)


@pytest.mark.long
@pytest.mark.parametrize("name", READERS)
def test_many_mutations_raise_only_the_librarys_errors(name):
    """Twenty seconds a reader, with a new start each time, which a failure prints."""
    start, until, count = time.time_ns(), time.monotonic() + 20, 0
    while time.monotonic() < until:
        count += 1
        content = mutated(READERS[name][0], random.Random(start + count))
        try:
            read(name, content)
        except Exception as error:
            raise AssertionError(f"{name}, seed {start + count}: {content[:2000]!r}") from error
    print(f"{name}: {count} mutations", flush=True)


@pytest.mark.long
@pytest.mark.parametrize("name", READERS)
def test_coverage_guided_fuzzing_raises_only_the_librarys_errors(name, tmp_path):
    if not importlib.util.find_spec("atheris"):
        pytest.skip("atheris is not installed: make fuzz")
    done = subprocess.run(
        [
            sys.executable,
            str(Path(__file__).with_name("fuzz.py")),
            name,
            "-max_total_time=20",
            "-timeout=60",
            f"-artifact_prefix={tmp_path}/",
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
