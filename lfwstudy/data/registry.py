"""Which data sets are there, by which names do they go, and where are they to be had?"""

import os
from dataclasses import dataclass
from pathlib import Path

from lfwstudy.data import demo
from lfwstudy.data.archives import is_archive, why_no_archive
from lfwstudy.data.cache import cache_folder
from lfwstudy.errors import DataError, choose_one

# What a complete LFW holds.
IMAGES, PEOPLE = 13_233, 5_749
_FIGSHARE = "https://ndownloader.figshare.com/files/"


@dataclass(frozen=True)
class Download:
    """A file on the network with its digest ("sha256:..." or "sha1:...")."""

    url: str
    digest: str
    size: str = ""


@dataclass(frozen=True)
class Dataset:
    """A variant of the images.

    archive, folders: the names that its archive and its unpacked folder go by.
    download: where it can be had with a known digest; else `how` says how to supply it.
    """

    name: str
    title: str
    archive: str = ""
    folders: tuple[str, ...] = ()
    download: Download | None = None
    how: str = ""


_LFW = Download(
    f"{_FIGSHARE}5976018", "sha256:055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0", "173 MiB"
)
_FUNNELED = Download(
    f"{_FIGSHARE}5976015", "sha256:b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a", "233 MiB"
)
_ALIGNED = Download(
    "https://www.openu.ac.il/home/hassner/data/lfwa/lfwa.tar.gz", "sha1:38ecda590870e7dc91fb1040759caccddbe25375"
)
_NO_DOWNLOAD = (
    "No verified download is available. The published archive has MD5 68331da3eb755a505a502b5aacb3c201; an unverified "
    "copy is https://archive.org/download/lfw-dataset/lfw-deepfunneled.zip."
)
_DATASETS = (
    Dataset("demo", "demo faces (drawn, of made-up people)"),
    Dataset("lfw", "LFW, original images", "lfw.tgz", ("lfw",), _LFW),
    Dataset("lfw-funneled", "LFW, funneled", "lfw-funneled.tgz", ("lfw_funneled",), _FUNNELED),
    Dataset(
        "lfw-deepfunneled", "LFW, deep-funneled", "lfw-deepfunneled.tgz", ("lfw-deepfunneled",), None, _NO_DOWNLOAD
    ),
    Dataset("lfw-a", "LFW-a (aligned, grey)", "lfwa.tar.gz", ("lfw2", "lfwa", "lfw-a"), _ALIGNED),
)
DATASETS = {dataset.name: dataset for dataset in _DATASETS}

PAIR_FILES = {
    name: Download(f"{_FIGSHARE}{number}", f"sha256:{digest}")
    for name, number, digest in (
        ("pairsDevTrain.txt", 5976012, "1d454dada7dfeca0e7eab6f65dc4e97a6312d44cf142207be28d688be92aabfa"),
        ("pairsDevTest.txt", 5976009, "7cb06600ea8b2814ac26e946201cdb304296262aad67d046a16a7ec85d0ff87c"),
        ("pairs.txt", 5976006, "ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592"),
    )
}


def resolve_data_dir(dataset: str, data_dir: str = "") -> Path | None:
    """The user's folder, archive or bank file, absolute: `data_dir`, else $LFWSTUDY_DATA, else None.

    Raises
    ------
    DataError
        Where it does not exist or is neither a folder nor an archive or bank file.
    """
    choose_one("data set", dataset, DATASETS)
    if data_dir and not Path(data_dir).expanduser().exists():
        raise DataError(f"{data_dir}: no such folder or archive (given as --data-dir)")
    if dataset == "demo":
        return demo.ensure_demo(cache_folder())
    given = data_dir or os.environ.get("LFWSTUDY_DATA", "")
    if not given:
        return None
    path = Path(given).expanduser().absolute()
    if path.is_dir() or (path.is_file() and (path.suffix == ".npz" or is_archive(path))):
        return path
    if not path.exists():
        raise DataError(f"{path}: no such folder or archive (given as $LFWSTUDY_DATA)")
    what = why_no_archive(path) if path.is_file() else "neither a folder nor a file"
    raise DataError(
        f"{path}: {what}; --data-dir is a folder that holds the images and pair files, or an archive or bank file next "
        "to the pair files"
    )
