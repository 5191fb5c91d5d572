"""The grey middle of LFW's images in one small file, for machines that are hard to reach: `python -m tools.light FOLDER`.

Every image is stored as a grey JPEG file of its central 200 pixels with the source's own quantisation, plus the few
differences that remain: a quarter of the size of a bank with 128 pixels a side, and every crop of up to 184 pixels comes
out exactly as from the source. `python -m tools.ruler` takes a folder with the file and the pair files as --data-dir.
"""

import argparse
import hashlib
import io
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lfwstudy.config import DataConfig
from lfwstudy.data.archives import read_images
from lfwstudy.data.bank import ImageBank
from lfwstudy.data.images import SOURCE_SIDE, frame, to_grey
from lfwstudy.data.pair_files import pair_file
from lfwstudy.data.pairs import image_names, nfc, read_people
from lfwstudy.data.registry import DATASETS, resolve_data_dir
from lfwstudy.data.survey import find_source
from lfwstudy.errors import DataError, StudyError, one_line
from lfwstudy.system.files import replacing, write_text
from lfwstudy.system.machine import cores

NAME = "images.light"
SIDE = 200
LARGEST = 184  # crop: resizing also looks at pixels next to it
_CORNER = (SOURCE_SIDE - SIDE) // 2 // 8 * 8  # on the source's grid of 8x8 blocks, or these would be quantised anew
_BOX = (_CORNER, _CORNER, _CORNER + SIDE, _CORNER + SIDE)


def pack(dataset: str, data_dir: str, folder: Path) -> Path:
    """Write the images of View 1's training people, and the files that list them and their pairs, to a folder."""
    files = [pair_file(name, dataset, data_dir) for name in ("peopleDevTrain.txt", "pairsDevTrain.txt")]
    wanted = set(image_names(read_people(files[0])))
    source = find_source(DATASETS[dataset], resolve_data_dir(dataset, data_dir), explicit=bool(data_dir))
    images = ((nfc(name), content) for name, content in read_images(source))
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / NAME, ((name, content) for name, content in images if name in wanted))
    for path in files:
        write_text(folder / path.name, path.read_text(encoding="utf-8"))
    return folder / NAME


def write(path: Path, images: Iterable[tuple[str, bytes]]) -> None:
    """Write images, given as names and JPEG files, atomically."""
    names, digests, files, changes = [], [], [], []
    for name, content in sorted(images):
        packed, change = _reduced(content, name)
        names.append(name)
        digests.append(np.frombuffer(hashlib.sha256(content).digest(), np.uint8))
        files.append(packed)
        changes.append(change)
    arrays: dict[str, Any] = {
        "names": np.char.encode(np.array(names, np.str_), "utf-8"),
        "sha256": np.array(digests),
        "files": np.frombuffer(b"".join(files), np.uint8),
        "sizes": np.array([len(packed) for packed in files], np.uint32),
        "changes": np.concatenate(changes),
        "counts": np.array([len(change) for change in changes], np.uint32),
    }
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def bank(folder: str | Path, config: DataConfig) -> ImageBank:
    """The bank of a folder's packed images, the same as from the source's. Raises DataError for a crop that is too large."""
    path = Path(folder, NAME)
    if config.crop > LARGEST:
        raise DataError(f"{path}: enough for crops of {LARGEST} pixels of the images, {config.crop} are wanted")
    with np.load(path) as content:
        names, sha256 = np.char.decode(content["names"], "utf-8"), content["sha256"]
        with ThreadPoolExecutor(cores()) as pool:
            images = np.stack(list(pool.map(partial(_framed, config), *_packed(content))))
    return ImageBank(images, names, sha256, config.dataset, config.crop, config.side, config.filter, str(path))


def _reduced(content: bytes, name: str) -> tuple[bytes, np.ndarray]:
    """A JPEG file of an image's grey middle, and the pixels in which it differs: rows (place, value), uint16."""
    with Image.open(io.BytesIO(content)) as image:
        if image.size != (SOURCE_SIDE, SOURCE_SIDE) or image.format != "JPEG":
            raise DataError(f"image {name}: not a JPEG image of {SOURCE_SIDE}x{SOURCE_SIDE} pixels")
        tables = {0: image.quantization[0]}  # type: ignore[attr-defined]  # of JPEG images only
        image.draft("L", image.size)
        middle = to_grey(image).crop(_BOX)
    file = io.BytesIO()
    middle.save(file, "JPEG", qtables=tables, optimize=True)
    exact, found = (np.asarray(one).ravel() for one in (middle, Image.open(file)))
    places = np.flatnonzero(exact != found)
    return file.getvalue(), np.stack([places, exact[places]], axis=1).astype(np.uint16)


def _packed(content: np.lib.npyio.NpzFile) -> tuple[list[bytes], list[np.ndarray]]:
    """What `_reduced` made of each image."""
    files, ends = content["files"].tobytes(), np.cumsum(content["sizes"])
    changes = np.split(content["changes"], np.cumsum(content["counts"])[:-1])
    return [files[end - size : end] for end, size in zip(ends, content["sizes"])], changes


def _framed(config: DataConfig, file: bytes, changes: np.ndarray) -> np.ndarray:
    """A framed image from what `_reduced` made of it: uint8 (side, side)."""
    pixels = np.array(Image.open(io.BytesIO(file)))
    pixels.reshape(-1)[changes[:, 0]] = changes[:, 1]
    whole = Image.new("L", (SOURCE_SIDE, SOURCE_SIDE))
    whole.paste(Image.fromarray(pixels), _BOX)
    return frame(whole, config.crop, config.side, config.filter)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help=f"gets {NAME} and the pair files")
    parser.add_argument("--dataset", default="lfw-deepfunneled")
    parser.add_argument("--data-dir", default="", help="folder with your copy of the images")
    options = parser.parse_args(arguments)
    try:
        path = pack(options.dataset, options.data_dir, options.folder)
    except StudyError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
