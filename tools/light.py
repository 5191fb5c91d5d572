"""The grey middle of LFW's images in one small file, for machines that are hard to reach.

Every image is stored as a grey JPEG file of its central pixels with the source's own quantisation, plus the few differences
that remain: less than a third of a bank with 128 pixels a side. Smaller crops come out exactly as from the source.

`python -m tools.light pack FOLDER --data-dir ~/lfw` writes the file and the pair files, which `python -m tools.ruler` takes
as --data-dir. For `lfwstudy run`, `python -m tools.light unpack FOLDER --crop 144 --side 128` adds a bank.
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
from lfwstudy.errors import DataError, StudyError, one_line, reading
from lfwstudy.system.files import replacing, write_text
from lfwstudy.system.machine import cores

NAME = "images.light"
MIDDLE = 200  # pixels a side
MARGIN = 16  # between it and the largest crop: resizing also looks at pixels next to that


def pack(dataset: str, data_dir: str, folder: Path, middle: int = MIDDLE, all_images: bool = False) -> Path:
    """Write the images of View 1's training people, and the files that list them and their pairs, to a folder.

    all_images : all images and all files, for View 2.
    """
    names = ["peopleDevTrain.txt", "pairsDevTrain.txt"]
    names += ["people.txt", "pairs.txt", "pairsDevTest.txt"] if all_images else []
    files = [pair_file(name, dataset, data_dir) for name in names]
    wanted = set(image_names(read_people(files[2 if all_images else 0])))
    source = find_source(DATASETS[dataset], resolve_data_dir(dataset, data_dir), explicit=bool(data_dir))
    images = {name: content for of, content in read_images(source) if (name := nfc(of)) in wanted}
    if missing := sorted(wanted - set(images)):
        raise DataError(f"{source}: image {missing[0]} is missing ({len(missing)} of {len(wanted):,} are)")
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / NAME, images.items(), middle)
    for path in files:
        write_text(folder / path.name, path.read_text(encoding="utf-8"))
    return folder / NAME


def write(path: Path, images: Iterable[tuple[str, bytes]], middle: int = MIDDLE) -> None:
    """Write the central `middle` pixels of images, given as names and JPEG files, atomically."""
    names, digests, files, changes = [], [], [], []
    for name, content in sorted(images):
        packed, change = _reduced(content, name, middle)
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
        "middle": middle,
        "counts": np.array([len(change) for change in changes], np.uint32),
    }
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def bank(folder: str | Path, config: DataConfig) -> ImageBank:
    """The bank of a folder's packed images, the same as from the source's. Raises DataError for a crop that is too large."""
    path = Path(folder, NAME)
    with reading(f"{path}: not readable; pack it again"), np.load(path) as content:
        if config.crop > (largest := int(content["middle"]) - MARGIN):
            raise DataError(f"{path}: enough for crops of {largest} pixels of the images, {config.crop} are wanted")
        names, sha256 = np.char.decode(content["names"], "utf-8"), content["sha256"]
        with ThreadPoolExecutor(cores()) as pool:
            images = np.stack(list(pool.map(partial(_framed, config), *_packed(content))))
    return ImageBank(images, names, sha256, config.dataset, config.crop, config.side, config.filter, str(path))


def unpack(folder: Path, config: DataConfig) -> Path:
    """Add the bank of a framing to a folder, unless it is there or the folder has no packed images; returns its path."""
    path = folder / f"{config.dataset}-{config.crop}-{config.side}-{config.filter}.npz"
    if (folder / NAME).is_file() and not path.is_file():
        bank(folder, config).save(path)
    return path


def _box(middle: int) -> tuple[int, int, int, int]:
    """The middle of an image, on the source's grid of 8x8 blocks: others would be quantised in another way."""
    corner = (SOURCE_SIDE - middle) // 2 // 8 * 8
    return corner, corner, corner + middle, corner + middle


def _reduced(content: bytes, name: str, middle: int) -> tuple[bytes, np.ndarray]:
    """A JPEG file of an image's grey middle, and the pixels in which it differs: rows (place, value), uint16."""
    with Image.open(io.BytesIO(content)) as image:
        if image.size != (SOURCE_SIDE, SOURCE_SIDE) or image.format != "JPEG":
            raise DataError(f"image {name}: not a JPEG image of {SOURCE_SIDE}x{SOURCE_SIDE} pixels")
        tables = {0: image.quantization[0]}  # type: ignore[attr-defined]  # of JPEG images only
        image.draft("L", image.size)
        shown = to_grey(image).crop(_box(middle))
    file = io.BytesIO()
    shown.save(file, "JPEG", qtables=tables, optimize=True)
    exact, found = (np.asarray(one).ravel() for one in (shown, Image.open(file)))
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
    whole.paste(Image.fromarray(pixels), _box(len(pixels)))
    return frame(whole, config.crop, config.side, config.filter)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pack", "unpack"))
    parser.add_argument("folder", type=Path, help=f"of {NAME}, the pair files and the bank")
    parser.add_argument("--dataset", default="lfw-deepfunneled", choices=DATASETS)
    parser.add_argument("--data-dir", default="", help="pack: folder with your copy of the images")
    parser.add_argument("--all-images", action="store_true", help="pack: not only those of View 1's training people")
    parser.add_argument("--middle", type=int, default=MIDDLE, help=f"pack: pixels a side, {MARGIN} more than a crop's")
    parser.add_argument("--crop", type=int, default=144, help="unpack: the bank's framing")
    parser.add_argument("--side", type=int, default=128, help="unpack: the bank's framing")
    options = parser.parse_args(arguments)
    try:
        if options.what == "pack":
            path = pack(options.dataset, options.data_dir, options.folder, options.middle, options.all_images)
        else:
            framing = DataConfig(dataset=options.dataset, crop=options.crop, side=options.side)
            path = unpack(options.folder, framing)
            if not path.is_file():
                raise DataError(f"{options.folder}: no {NAME} here; pack it first")
    except StudyError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
