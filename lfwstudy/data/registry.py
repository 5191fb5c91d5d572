"""Where do the pictures come from? The registry of data sets: find, download, verify, unpack."""

import os
from dataclasses import dataclass
from pathlib import Path

from lfwstudy.data import demo
from lfwstudy.data.archives import is_archive, why_no_archive
from lfwstudy.data.cache import cache_folder
from lfwstudy.errors import DataError, choose_one

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
    """A variant of the pictures: names its archive and unpacked folder go by, and where it can be had."""

    name: str
    title: str
    archives: tuple
    folders: tuple
    download: Download | None = None
    how: str = ""


DATASETS = {
    d.name: d
    for d in (
        Dataset("demo", "demo faces (drawn, of made-up people)", (), ()),
        Dataset(
            "lfw",
            "LFW, original pictures",
            ("lfw.tgz", "lfw.tar.gz", "lfw.zip"),
            ("lfw",),
            Download(
                _FIGSHARE + "5976018",
                "sha256:055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0",
                "173 MiB",
            ),
        ),
        Dataset(
            "lfw-funneled",
            "LFW, funneled",
            ("lfw-funneled.tgz", "lfw-funneled.tar.gz", "lfw-funneled.zip"),
            ("lfw_funneled", "lfw-funneled"),
            Download(
                _FIGSHARE + "5976015",
                "sha256:b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
                "233 MiB",
            ),
        ),
        Dataset(
            "lfw-deepfunneled",
            "LFW, deep-funneled",
            ("lfw-deepfunneled.tgz", "lfw-deepfunneled.tar.gz", "lfw-deepfunneled.zip"),
            ("lfw-deepfunneled", "lfw_deepfunneled"),
            None,
            "No download with a known digest is left. The published archive has MD5 68331da3eb755a505a502b5aacb3c201; "
            "an unverified copy is https://archive.org/download/lfw-dataset/lfw-deepfunneled.zip.",
        ),
        Dataset(
            "lfw-a",
            "LFW-a (aligned, grey)",
            ("lfwa.tar.gz", "lfwa.tgz", "lfwa.zip", "lfw2.tgz", "lfw2.zip"),
            ("lfw2", "lfwa", "lfw-a"),
            Download(
                "https://www.openu.ac.il/home/hassner/data/lfwa/lfwa.tar.gz",
                "sha1:38ecda590870e7dc91fb1040759caccddbe25375",
            ),
        ),
    )
}

PAIR_FILES = {
    "pairsDevTrain.txt": Download(
        _FIGSHARE + "5976012", "sha256:1d454dada7dfeca0e7eab6f65dc4e97a6312d44cf142207be28d688be92aabfa"
    ),
    "pairsDevTest.txt": Download(
        _FIGSHARE + "5976009", "sha256:7cb06600ea8b2814ac26e946201cdb304296262aad67d046a16a7ec85d0ff87c"
    ),
    "pairs.txt": Download(
        _FIGSHARE + "5976006", "sha256:ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592"
    ),
    # No download with a verified digest is known for these three.
    "people.txt": None,
    "peopleDevTrain.txt": None,
    "peopleDevTest.txt": None,
}


def resolve_data_dir(dataset, data_dir=""):
    """The user's folder, archive or bank file: `data_dir`, else $LFWSTUDY_DATA, else None. Made absolute; must exist."""
    choose_one("data set", dataset, DATASETS)
    if data_dir and not Path(data_dir).expanduser().exists():
        raise DataError(f"{data_dir}: no such folder or archive (given as --data-dir)")
    if dataset == "demo":
        return demo.ensure_demo(cache_folder())
    given = data_dir or os.environ.get("LFWSTUDY_DATA", "")
    if not given:
        return None
    path = Path(given).expanduser().absolute()
    if path.is_dir() or (path.suffix == ".npz" and path.is_file()) or (path.is_file() and is_archive(path)):
        return path
    if not path.exists():
        raise DataError(f"{path}: no such folder or archive (given as --data-dir or $LFWSTUDY_DATA)")
    what = why_no_archive(path) if path.is_file() else "neither a folder nor a file"
    raise DataError(
        f"{path}: {what}; --data-dir is a folder that holds the pictures and pair files, or an "
        "archive or bank file beside the pair files"
    )
