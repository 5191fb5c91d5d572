"""The data sets: their names and where to get them."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from lfwstudy.data import demo
from lfwstudy.data.archives import is_archive, why_no_archive
from lfwstudy.data.cache import Download
from lfwstudy.data.own import INDEX, prepare_own
from lfwstudy.errors import DataError, choose_one
from lfwstudy.system.files import given_path

# The size of a complete LFW.
IMAGES, PEOPLE = 13_233, 5_749


@dataclass(frozen=True)
class Dataset:
    """A variant of the images.

    archive, folders: usual names of its archive and its unpacked folder.
    published: the published archive.
    how: how to supply it if there is no verified download.
    """

    name: str
    title: str
    archive: str = ""
    folders: tuple[str, ...] = ()
    published: Download = field(default=Download("", ""))
    how: str = ""


def _figshare(number: int, sha256: str) -> Download:
    return Download(f"https://ndownloader.figshare.com/files/{number}", f"sha256:{sha256}")


_LFW = _figshare(5976018, "055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0")
_FUNNELED = _figshare(5976015, "b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a")
_DEEP, _DEEPFUNNELED = "lfw-deepfunneled", Download("", "md5:68331da3eb755a505a502b5aacb3c201")
_HOW = (
    f"no verified download is available. The published archive has {_DEEPFUNNELED.digest}; an unverified copy is "
    "https://archive.org/download/lfw-dataset/lfw-deepfunneled.zip."
)
_ALIGNED = Download(
    "https://www.openu.ac.il/home/hassner/data/lfwa/lfwa.tar.gz", "sha1:38ecda590870e7dc91fb1040759caccddbe25375"
)
_ALL = (
    Dataset("demo", "demo faces (drawn, of made-up people)"),
    Dataset("lfw", "LFW, original images", "lfw.tgz", ("lfw",), _LFW),
    Dataset("lfw-funneled", "LFW, funneled", "lfw-funneled.tgz", ("lfw_funneled",), _FUNNELED),
    Dataset(_DEEP, "LFW, deep-funneled", f"{_DEEP}.tgz", (_DEEP,), _DEEPFUNNELED, _HOW),
    Dataset("folder", "own people"),
    Dataset("lfw-a", "LFW-a (aligned, grey)", "lfwa.tar.gz", ("lfw2", "lfwa", "lfw-a"), _ALIGNED),
)
DATASETS = {dataset.name: dataset for dataset in _ALL}
_OWN = "a folder with a folder of images for each person"
PAIR_FILES = {
    "pairsDevTrain.txt": _figshare(5976012, "1d454dada7dfeca0e7eab6f65dc4e97a6312d44cf142207be28d688be92aabfa"),
    "pairsDevTest.txt": _figshare(5976009, "7cb06600ea8b2814ac26e946201cdb304296262aad67d046a16a7ec85d0ff87c"),
    "pairs.txt": _figshare(5976006, "ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592"),
}


def resolve_data_dir(dataset: str, data_dir: str = "") -> Path | None:
    """The folder, archive or bank file to read: the user's or, made in the cache, that of the demo or of own people.

    Raises
    ------
    DataError
        If it does not exist, is not a folder, archive or bank file, is given for the demo, or holds too few people.
    """
    given = given_data(dataset, data_dir)
    if dataset == "demo":
        return demo.ensure_demo()
    if dataset != "folder" or (given and _is_prepared(given)):
        return given
    if given is None or not given.is_dir():
        raise DataError(f"{given or '--dataset folder'}: --data-dir must be {_OWN}")
    return prepare_own(given)


def given_data(dataset: str, data_dir: str = "") -> Path | None:
    """The user's folder, archive or bank file, absolute: `data_dir`, else $LFWSTUDY_DATA, else None. Raises DataError."""
    choose_one("data set", dataset, DATASETS)
    if dataset == "demo" and data_dir:
        raise DataError(f"{data_dir}: the demo needs no --data-dir; say with --dataset what this one holds")
    given = data_dir or ("" if dataset == "demo" else os.environ.get("LFWSTUDY_DATA", ""))
    if not given:
        return None
    path = given_path(given)
    if not path.exists():
        raise DataError(
            f"{given}: no such folder or archive (given as {'--data-dir' if data_dir else '$LFWSTUDY_DATA'})"
        )
    if path.is_dir() or (path.is_file() and (path.suffix == ".npz" or is_archive(path))):
        return path
    what = why_no_archive(path) if path.is_file() else "neither a folder nor a file"
    lfw = "a folder that holds the images and pair files, or an archive or bank file next to the pair files"
    raise DataError(f"{path}: {what}; --data-dir is {_OWN if dataset == 'folder' else lfw}")


def _is_prepared(given: Path) -> bool:
    """Whether a folder of people comes with its pairs: as a bank file, from `lfwstudy data --pack`, or from `prepare_own`."""
    return given.suffix == ".npz" or (
        (given / "pairsDevTrain.txt").is_file() and ((given / INDEX).is_file() or any(given.glob("[!.]*.npz")))
    )
