"""Read images from an archive or a folder, member by member and checked; nothing is unpacked to disk."""

import bz2
import gzip
import lzma
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from stat import S_ISLNK
from typing import IO, Any, cast

from lfwstudy.data.filetypes import not_a_data_file
from lfwstudy.data.images import suffixes
from lfwstudy.data.pairs import is_name, nfc
from lfwstudy.errors import DataError, quoted, reading

# What an archive of faces may hold at most; LFW has 13,233 images of about 10 KB.
_MAX_MEMBERS, MAX_MEMBER_BYTES, _MAX_TOTAL_BYTES = 100_000, 8 << 20, 4 << 30

# Images hardly compress; an archive that unpacks to this many times its size (beyond some bytes) is a bomb.
_MAX_RATIO, _FREE_BYTES = 50, 64 << 20

# How to open a tar archive, by its first bytes.
_UNPACK: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}


def read_images(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every image in an archive or folder. Raises DataError, which names the source and the fault."""
    if source.is_dir():
        for path, name in image_files(source):
            if (size := path.stat().st_size) > MAX_MEMBER_BYTES:
                raise DataError(f"{path}: {size:,} bytes, too large for an image of this data set")
            yield name, path.read_bytes()
        return
    advice = "get it again, or remove it if the unpacked folder next to it is complete"
    with reading(f"{source}: not a readable archive, damaged or cut short; {advice}"):
        for member, read in members(source):
            if member_name := _checked_name(member, source):
                yield member_name, read()


def image_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """(path, image name) of every image NAME/NAME_0001.jpg in a folder, sorted."""
    for person in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
        for path in sorted((folder / person).iterdir()):
            if (name := _checked_name(path, folder)) and path.is_file():
                yield path, name


def is_archive(path: Path) -> bool:
    """Whether a file is a zip archive, a tar archive, or compressed as one."""
    if zipfile.is_zipfile(path):
        return True
    with open(path, "rb") as file:
        start = file.read(tarfile.BLOCKSIZE)
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
        return True
    try:
        return bool(tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape"))
    except tarfile.HeaderError:
        return False


def why_no_archive(path: Path) -> str:
    """Why a file is not an archive, in words."""
    with open(path, "rb") as file:
        start = file.read(4096)
    if not start:
        return "an empty file"
    return not_a_data_file(start) or ("an image" if is_image(path.name) else "not an archive, damaged or cut short")


def members(source: Path) -> Iterator[tuple[PurePosixPath, Callable[[], bytes]]]:
    """(path, function that reads it) of every file in an archive, to be read in this order."""
    return (_zip_members if zipfile.is_zipfile(source) else _tar_members)(source)


def image_name_of(path: PurePath) -> str | None:
    """Image name of a path .../NAME/NAME_0001.jpg, None for anything else."""
    if not is_image(path.name) or len(path.parts) < 2:
        return None
    stem = nfc(path.stem)
    person, _, number = stem.rpartition("_")
    return stem if person == nfc(path.parts[-2]) and re.fullmatch("[0-9]{4,}", number) else None


def is_image(name: str) -> bool:
    """Whether a file's name has the suffix of a supported image format."""
    return PurePosixPath(name).suffix.lower() in suffixes()


def _checked_name(path: PurePath, source: Path) -> str | None:
    name = image_name_of(path)
    if name and not is_name(nfc(person := path.parts[-2])):
        where = "/".join(path.parts[-2:])
        raise DataError(f"{source}: {quoted(where)}: {quoted(person)} is not a person's name; rename or remove it")
    return name


def _tar_members(source: Path) -> Iterator[tuple[PurePosixPath, Callable[[], bytes]]]:
    with open(source, "rb") as file:
        unpack = _UNPACK.get(file.read(2), open)
    limits = _Limits(source)
    with unpack(source, "rb") as stream:
        measured = _Measured(stream, source)
        with tarfile.open(fileobj=cast(IO[bytes], measured), mode="r|") as archive:
            for member in archive:
                limits.check(member.name, member.size, member.isfile() or member.isdir())
                if content := archive.extractfile(member):
                    yield PurePosixPath(member.name), content.read
                measured.given = 0


def _zip_members(source: Path) -> Iterator[tuple[PurePosixPath, Callable[[], bytes]]]:
    def read(member: zipfile.ZipInfo) -> bytes:
        with archive.open(member) as file:
            content = file.read(MAX_MEMBER_BYTES + 1)
        if len(content) != member.file_size:
            raise DataError(f"{source}: member {quoted(member.filename)} is larger than it says")
        return content

    limits = _Limits(source)
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            limits.check(member.filename, member.file_size, not S_ISLNK(member.external_attr >> 16))
            if not member.is_dir():
                yield PurePosixPath(member.filename), partial(read, member)


class _Measured:
    """A stream that limits the bytes between two members: headers may be bombs, too."""

    def __init__(self, file: IO[bytes], source: Path) -> None:
        self.file, self.source, self.given = file, source, 0

    def read(self, size: int) -> bytes:
        self.given += size
        if self.given > 2 * MAX_MEMBER_BYTES:
            raise DataError(f"{self.source}: a header of over {self.given:,} bytes, which no data set has; refused")
        return self.file.read(size)


class _Limits:
    """Refuses links, paths that leave the tree, and far too many or far too large members: no archive of faces has them."""

    def __init__(self, source: Path) -> None:
        self.source, self.count, self.total = source, 0, 0
        self.most = min(_MAX_TOTAL_BYTES, _FREE_BYTES + _MAX_RATIO * source.stat().st_size)

    def check(self, name: str, size: int, is_plain: bool) -> None:
        path = PurePosixPath(name)
        self.count, self.total = self.count + 1, self.total + size
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            fault = "points out of the archive"
        elif self.count > _MAX_MEMBERS or not 0 <= size <= MAX_MEMBER_BYTES or self.total > self.most:
            fault = f"({size:,} bytes, {self.total:,} in all) is too large for an archive of faces"
        elif not is_plain:
            fault = "is a link or a device, which no data set has"
        else:
            return
        raise DataError(f"{self.source}: member {quoted(name)} {fault}; refused")
