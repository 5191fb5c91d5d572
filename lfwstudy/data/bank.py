"""How are pictures held? Every picture decoded once, cropped and resized, as one uint8 array with its cache file."""

import hashlib
import io
import json
import math
import mmap
import os
import zipfile
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lfwstudy.data.images import decode
from lfwstudy.data.pairs import nfc
from lfwstudy.errors import DataError, one_line, proves_damage
from lfwstudy.system.machine import cores

BANK_FORMAT = 1


@dataclass(frozen=True)
class ImageBank:
    """All pictures of a data set (or those that some pairs name), decoded.

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
    notes: tuple = field(default=())

    def __len__(self):
        return len(self.names)

    def rows(self, names):
        """Row numbers of the pictures called `names`: int array. Raises DataError naming the first missing one."""
        names = np.array([nfc(name) for name in np.ravel(names).tolist()], np.str_)
        at = np.searchsorted(self.names, names)
        at[at == len(self.names)] = 0
        missing = self.names[at] != names
        if missing.any():
            raise DataError(
                f"picture {names[missing][0]} is not among the {len(self):,} pictures of "
                f"{self.dataset} in {self.origin} ({int(missing.sum())} missing)"
            )
        return at

    def digest(self, names):
        """SHA-256 (hex) over the source digests of the pictures, sorted by name, with crop, side and filter."""
        total = hashlib.sha256(f"{self.crop} {self.side} {self.filter}".encode())
        for row in np.unique(self.rows(names)):
            total.update(self.names[row].encode() + b"\0" + self.sha256[row].tobytes())
        return total.hexdigest()

    def subset(self, names):
        """A bank of only the pictures called `names`."""
        rows = np.unique(self.rows(names))
        images = np.ascontiguousarray(self.images[rows])
        _hand_back(self.images)
        return ImageBank(
            images,
            self.names[rows],
            self.sha256[rows],
            self.dataset,
            self.crop,
            self.side,
            self.filter,
            self.origin,
            self.notes,
        )

    def save(self, path):
        """Write the bank as an uncompressed .npz, atomically."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        meta = {
            "format": BANK_FORMAT,
            "dataset": self.dataset,
            "crop": self.crop,
            "side": self.side,
            "filter": self.filter,
            "origin": self.origin,
            "notes": list(self.notes),
        }
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as file:
                np.savez(
                    file,
                    images=self.images,
                    names=np.char.encode(self.names, "utf-8"),
                    sha256=self.sha256,
                    meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
                )
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def load_bank(path):
    """Open a bank file; its pictures are memory-mapped, not read. Raises DataError where it is none, OSError or MemoryError
    where it cannot be read now."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in archive.infolist()):
                raise ValueError("its arrays are compressed")  # so that none is larger than the file
            meta, names, sha256 = (_read_member(archive, name) for name in ("meta", "names", "sha256"))
        meta, names = json.loads(meta.tobytes()), np.char.decode(names, "utf-8")
        if meta["format"] != BANK_FORMAT:
            raise DataError(f"{path}: bank format {meta['format']}, this program reads {BANK_FORMAT}; make it anew")
        images = _map_member(path, "images.npy")
        bank = ImageBank(
            images,
            names,
            sha256,
            str(meta["dataset"]),
            int(meta["crop"]),
            int(meta["side"]),
            str(meta["filter"]),
            str(meta["origin"]),
            tuple(meta["notes"]),
        )
        shape = (len(names), bank.side, bank.side)
        if (
            images.dtype != np.uint8
            or images.shape != shape
            or sha256.shape != (len(names), 32)
            or sha256.dtype != np.uint8
            or (names[1:] <= names[:-1]).any()
        ):
            raise ValueError(f"arrays do not fit together: images {images.dtype} {images.shape}")
        return _with_nfc_names(bank)
    except DataError:
        raise
    except Exception as error:
        if not proves_damage(error) and not isinstance(error, (FileNotFoundError, IsADirectoryError)):
            raise
        raise DataError(f"{path}: not a readable bank of pictures ({one_line(error)[:200]})") from error


def _with_nfc_names(bank):
    """The same bank where its names are nfc (all that this program writes are), else one in their order, in memory."""
    names = np.array([nfc(name) for name in bank.names.tolist()], bank.names.dtype)
    if (names == bank.names).all():
        return bank
    names, order = np.unique(names, return_index=True)
    if len(names) < len(bank):
        raise ValueError("a name is there twice, with its accents nfc and not")
    return replace(bank, images=bank.images[order], names=names, sha256=bank.sha256[order])


def build_bank(pictures, dataset, crop, side, filter, origin, notes=(), progress=None, total=None):
    """Decode pictures into a bank, on all cores.

    pictures: iterable of (name, file content as bytes), names unique.
    progress: called with the number of pictures done so far, now and then.
    Raises DataError naming the picture that cannot be decoded, or where there is none at all.
    """
    names, images, digests, pending = [], [], [], deque()

    def collect():
        name, future = pending.popleft()
        try:
            image, digest = future.result()
        except DataError as error:
            raise DataError(f"{origin}: {error}") from error
        names.append(name)
        images.append(image)
        digests.append(digest)
        if progress and len(names) % 200 == 0:
            progress(len(names))

    workers = cores()
    with ThreadPoolExecutor(workers) as pool:
        for name, content in pictures:
            pending.append((name, pool.submit(_decode_and_hash, content, name, crop, side, filter)))
            # Bounded, so that a fast archive reader does not fill the memory with undecoded files.
            while len(pending) > 32 * workers:
                collect()
        while pending:
            collect()
    if not names:
        raise DataError(f"{origin}: no picture NAME/NAME_0001.jpg found")
    order = np.argsort(np.array(names, np.str_), kind="stable")
    names = np.array(names, np.str_)[order]
    twice = names[1:][names[1:] == names[:-1]]
    if len(twice):
        raise DataError(f"{origin}: picture {twice[0]} is there twice; remove one of the files")
    stacked = np.empty((len(names), side, side), np.uint8)
    for to, at in enumerate(order):
        stacked[to] = images[at]
        images[at] = None
    return ImageBank(
        stacked, names, np.array(digests, np.uint8)[order], dataset, crop, side, filter, str(origin), tuple(notes)
    )


def _decode_and_hash(content, name, crop, side, filter):
    digest = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
    return decode(content, name, crop, side, filter), digest


def _map_member(path, member):
    """Memory-map an uncompressed .npy inside a zip file, which numpy itself does not offer."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
        file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), os.SEEK_CUR)
        shape, dtype = _read_header(file, member)
        return np.memmap(path, dtype, "r", file.tell(), shape)


def _read_member(archive, name):
    """An array of a zip file, its checksum verified before its header is believed: that may ask for any amount of memory."""
    file = io.BytesIO(archive.read(f"{name}.npy"))
    shape, dtype = _read_header(file, name)
    return np.frombuffer(file.read(), dtype, math.prod(shape)).reshape(shape)


def _read_header(file, name):
    """Shape and dtype of the .npy that begins where a file stands."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if fortran or dtype.hasobject:
        raise ValueError(f"{name} has an unexpected layout")
    return shape, dtype


def _hand_back(images):
    """Let the system take the pages of a mapped file that were read: they count as this process's memory until then."""
    mapped = getattr(images, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
