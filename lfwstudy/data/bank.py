"""A bank of images: each decoded once, cropped and resized, in one uint8 array with its cache file."""

import hashlib
import io
import json
import math
import mmap
import os
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from lfwstudy.config import DataConfig
from lfwstudy.data.images import decode
from lfwstudy.data.pairs import nfc
from lfwstudy.errors import DataError, reading
from lfwstudy.system.files import replacing
from lfwstudy.system.machine import cores

# Increase when the same files would decode to different images: 2 scales deep pixels by their range.
BANK_FORMAT = 2

_Decoded = tuple[str, np.ndarray, np.ndarray]
# The fields of a bank file besides its arrays.
_META: dict[str, Callable] = {"dataset": str, "crop": int, "side": int, "filter": str, "origin": str, "notes": tuple}


@dataclass(frozen=True)
class ImageBank:
    """The decoded images of a data set, or of some of its pairs.

    images: uint8 array of shape (n, side, side), grey levels 0..255, possibly memory-mapped and read-only.
    names: str array of shape (n,), sorted, `NAME_0001`.
    sha256: uint8 array of shape (n, 32), digests of the source files.
    """

    images: np.ndarray
    names: np.ndarray
    sha256: np.ndarray
    dataset: str
    crop: int
    side: int
    filter: str
    origin: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, names: Sequence[str] | np.ndarray) -> np.ndarray:
        """Row numbers of the images called `names`: int array. Raises DataError naming the first missing one."""
        names = np.array([nfc(name) for name in np.asarray(names).tolist()], np.str_)
        at = np.searchsorted(self.names, names)
        at[at == len(self.names)] = 0
        missing = self.names[at] != names
        if missing.any():
            raise DataError(
                f"image {names[missing][0]} is not among the {len(self):,} images of {self.dataset} in {self.origin} "
                f"({int(missing.sum())} missing)"
            )
        return at

    def digest(self, names: Sequence[str] | np.ndarray) -> str:
        """SHA-256 (hex) over the source digests of the images, sorted by name, with crop, side and filter."""
        total = hashlib.sha256(f"{self.crop} {self.side} {self.filter}".encode())
        for row in np.unique(self.rows(names)):
            total.update(self.names[row].encode() + b"\0" + self.sha256[row].tobytes())
        return total.hexdigest()

    def subset(self, names: Sequence[str] | np.ndarray) -> "ImageBank":
        """A bank, in memory, of only the images called `names`."""
        rows = np.unique(self.rows(names))
        subset = replace(self, images=self.images[rows], names=self.names[rows], sha256=self.sha256[rows])
        # The pages of a mapped file that were read count as this process's memory until they are handed back.
        mapped = getattr(self.images, "_mmap", None)
        if mapped is not None:
            mapped.madvise(mmap.MADV_DONTNEED)
        return subset

    def save(self, path: str | Path) -> None:
        """Write the bank as an uncompressed .npz, atomically."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        meta = {"format": BANK_FORMAT, **{name: getattr(self, name) for name in _META}}
        names, packed = np.char.encode(self.names, "utf-8"), np.frombuffer(json.dumps(meta).encode(), np.uint8)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, images=self.images, names=names, sha256=self.sha256, meta=packed)


def load_bank(path: str | Path) -> ImageBank:
    """Open a bank file; its images are memory-mapped, not read.

    Raises
    ------
    DataError
        If it is not a bank, damaged, or of another format.
    OSError, MemoryError
        If it cannot be read now.
    """
    with reading(f"{path}: not a readable bank of images"):
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in archive.infolist()):
                raise ValueError("its arrays are compressed")  # so that none is larger than the file
            packed, names, sha256 = (_read_member(archive, name) for name in ("meta", "names", "sha256"))
            images = _map_member(path, archive.getinfo("images.npy"))
        meta, names = json.loads(packed.tobytes()), np.char.decode(names, "utf-8")
        if meta["format"] != BANK_FORMAT:
            raise DataError(
                f"{path}: bank format {meta['format']}, this program reads {BANK_FORMAT}; pack it again from the images"
            )
        fields = {name: kind(meta[name]) for name, kind in _META.items()}
        bank = ImageBank(images, names, sha256, **fields)
        shapes = (len(names), bank.side, bank.side), (len(names), 32)
        if (images.shape, sha256.shape) != shapes or not images.dtype == sha256.dtype == np.uint8:
            raise ValueError(f"arrays do not fit together: images {images.dtype} {images.shape}")
        if (names[1:] <= names[:-1]).any():
            raise ValueError("its names are not sorted, or one appears twice")
        return bank


def build_bank(
    files: Iterable[tuple[str, bytes]],
    config: DataConfig,
    origin: str | Path,
    notes: tuple[str, ...] = (),
    progress: Callable[[int], object] | None = None,
) -> ImageBank:
    """Decode images into a bank, on all cores.

    Parameters
    ----------
    files : (image name, file content), names unique.
    origin : where the images come from, for messages.
    progress : called now and then with the number of images done.

    Raises
    ------
    DataError
        Names the image that cannot be decoded or appears twice; or if there are no images.
    """
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, image, digest in _decoded(files, config, origin):
        if found.setdefault(name, (image, digest))[0] is not image:
            raise DataError(f"{origin}: image {name} appears twice; remove one of the files")
        if progress and len(found) % 200 == 0:
            progress(len(found))
    if not found:
        raise DataError(f"{origin}: no image NAME/NAME_0001.jpg found")
    names = np.array(sorted(found), np.str_)
    images, sha256 = (np.empty((len(names), *shape), np.uint8) for shape in ((config.side, config.side), (32,)))
    for row, name in enumerate(names.tolist()):
        images[row], sha256[row] = found.pop(name)  # freed one by one, so that memory never holds them twice
    return ImageBank(images, names, sha256, *framing(config), str(origin), notes)


def framing(config: DataConfig) -> tuple[str, int, int, str]:
    """Data set, crop, side and filter, which a bank must have for this configuration."""
    return config.dataset, config.crop, config.side, config.filter


def _decoded(files: Iterable[tuple[str, bytes]], config: DataConfig, origin: str | Path) -> Iterator[_Decoded]:
    """(name, image, SHA-256 of its file) of each file, in order."""

    def decode_and_hash(name: str, content: bytes) -> _Decoded:
        try:
            image = decode(content, name, config.crop, config.side, config.filter)
        except DataError as error:
            raise DataError(f"{origin}: {error}") from error
        return nfc(name), image, np.frombuffer(hashlib.sha256(content).digest(), np.uint8)

    workers, pending = cores(), deque[Future]()
    with ThreadPoolExecutor(workers) as pool:
        for name, content in files:
            pending.append(pool.submit(decode_and_hash, name, content))
            # Bounded, so that a fast archive reader does not fill the memory with undecoded files.
            if len(pending) > 32 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _map_member(path: str | Path, member: zipfile.ZipInfo) -> np.ndarray:
    """Memory-map an uncompressed .npy inside a zip file, which NumPy does not support."""
    with open(path, "rb") as file:
        file.seek(member.header_offset)
        header = file.read(30)
        file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), os.SEEK_CUR)
        shape, dtype = _read_header(file, member.filename)
        return np.memmap(path, dtype, "r", file.tell(), shape)


def _read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array in a zip file. The checksum is verified first: a damaged header may request any amount of memory."""
    file = io.BytesIO(archive.read(f"{name}.npy"))
    shape, dtype = _read_header(file, name)
    return np.frombuffer(file.read(), dtype, math.prod(shape)).reshape(shape)


def _read_header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of the .npy at a file's current position."""
    version = np.lib.format.read_magic(file)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if version != (1, 0) or fortran or dtype.hasobject:
        raise ValueError(f"{name} has an unexpected layout")
    return shape, dtype
