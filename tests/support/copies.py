"""Copies of a data set as users have them."""

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from lfwstudy.config import DataConfig
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from tests.support.archives import member, write_tar, write_zip
from tests.support.images import saved


def copy_pair_files(faces: Path, folder: Path) -> None:
    for file in faces.glob("*.txt"):
        shutil.copy(file, folder)


def csv_files(faces: Path) -> dict[str, str]:
    """The pair and people files as Kaggle has them: {name: text}."""
    texts = {}
    for file in faces.glob("*.txt"):
        rows = [line.replace("\t", ",") for line in file.read_text().splitlines()[1:]]
        if file.name.startswith("pairsDev"):
            half, part = len(rows) // 2, file.stem.removeprefix("pairs")
            texts[f"matchpairs{part}.csv"] = "\n".join(["name,imagenum1,imagenum2", *rows[:half]])
            texts[f"mismatchpairs{part}.csv"] = "\n".join(["name,imagenum1,name,imagenum2", *rows[half:]])
        elif file.name == "pairs.txt":
            texts["pairs.csv"] = "\n".join(
                ["name,imagenum1,imagenum2,", *(row + "," * (row.count(",") < 3) for row in rows)]
            )
        else:
            texts[f"{file.stem}.csv"] = "\n".join(["name,images", *(row for row in rows if "," in row)])
    return texts


def copy_of(kind: str, faces: Path, folder: Path) -> None:
    """The drawn faces and their pair files in `folder`, as a user may have them: one of COPIES."""
    COPIES[kind](faces / "lfw2", folder)
    if not kind.startswith(("kaggle", "upper")):
        copy_pair_files(faces, folder)


def _zip(source: Path, path: Path, **texts: str) -> None:
    images = [(file.relative_to(source.parent).as_posix(), file.read_bytes()) for file in sorted(source.rglob("*.jpg"))]
    write_zip(path, *images, *texts.items())


def _tgz(source: Path, folder: Path) -> None:
    with tarfile.open(folder / "lfwa.tar.gz", "w:gz") as archive:
        archive.add(source, "lfw2")


def _kaggle_folder(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder / "archive" / "lfw2" / "lfw2")
    for name, text in csv_files(source.parent).items():
        (folder / "archive" / name).write_text(text)


def _upper_case(source: Path, folder: Path) -> None:
    for file in source.rglob("*.jpg"):
        person = folder / "LFW2" / file.parent.name
        person.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, person / f"{file.stem}.JPG")
        (person / f"{file.stem}.txt").write_text("notes next to an image")
    for file in source.parent.glob("*.txt"):
        shutil.copy(file, folder / file.name.upper())


def _half_unpacked(source: Path, folder: Path) -> None:
    _tgz(source, folder)
    shutil.copytree(source, folder / "lfw2")
    for person in sorted((folder / "lfw2").iterdir())[::2]:
        shutil.rmtree(person)


def _next_to_a_web_page(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder / "lfw2")
    (folder / "lfwa.tar.gz").write_text("<!DOCTYPE html>")


def _bank(source: Path, folder: Path) -> None:
    config = DataConfig(dataset="lfw-a", side=40)
    bank = prepare_bank(config, str(source.parent))
    bank.subset(load_pairs(config, str(source.parent)).names()).save(folder / "my-bank.npz")


COPIES = {
    "folder": lambda source, folder: shutil.copytree(source, folder / "lfw2"),
    "nested folder": lambda source, folder: shutil.copytree(source, folder / "lfw2" / "lfw2"),
    "flat folder": lambda source, folder: shutil.copytree(source, folder, dirs_exist_ok=True),
    "tgz": _tgz,
    "zip": lambda source, folder: _zip(source, folder / "lfwa.zip"),
    "bank": _bank,
    "kaggle folder": _kaggle_folder,
    "kaggle zip": lambda source, folder: _zip(source, folder / "archive.zip", **csv_files(source.parent)),
    "upper case": _upper_case,
    "half-unpacked next to archive": _half_unpacked,
    "archive under another name": lambda source, folder: _zip(source, folder / "Download (1).ZIP"),
    "folder next to a web page": _next_to_a_web_page,
}


def write_people(where: Path, root: str, names: Sequence[str] = ("Ada", "Bo"), suffix: str = ".jpg") -> None:
    """A few images below `root`, in a folder or in an archive by the name of `where`."""
    files = [(f"{root}/{name}/{name}_0001{suffix}", saved()) for name in names]
    where.parent.mkdir(parents=True, exist_ok=True)
    if where.suffix == ".zip":
        write_zip(where, *files)
    elif where.suffix == ".tgz":
        write_tar(where, *(member(*file) for file in files))
    else:
        for path, content in files:
            (where / path).parent.mkdir(parents=True, exist_ok=True)
            (where / path).write_bytes(content)
