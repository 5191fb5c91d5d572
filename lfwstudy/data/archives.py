"""What is in an archive or a folder of images? Members read one by one, checked; nothing is unpacked to disk."""

import bz2
import gzip
import lzma
import os
import re
import tarfile
import zipfile
from functools import partial
from pathlib import PurePosixPath
from stat import S_ISLNK

from lfwstudy.data.filetypes import not_a_data_file
from lfwstudy.data.images import suffixes
from lfwstudy.data.pairs import is_name, nfc
from lfwstudy.errors import DataError, is_the_machines, one_line, quoted

# What an archive of faces may hold at most; LFW has 13,233 pictures of about 10 KB.
_MAX_MEMBERS, _MAX_MEMBER_BYTES, _MAX_TOTAL_BYTES = 100_000, 8 << 20, 4 << 30


# Pictures hardly compress; what unpacks to so many times the archive's size (beyond some bytes) is a bomb.
_MAX_RATIO, _FREE_BYTES = 50, 64 << 20


def read_images(source):
    """Yield (name, content) of every picture in an archive or folder; nothing is written to disk."""
    if source.is_dir():
        for path, name in image_files(source):
            if path.stat().st_size > _MAX_MEMBER_BYTES:
                raise DataError(f"{path}: {path.stat().st_size:,} bytes, too large for a picture of this data set")
            yield name, path.read_bytes()
        return
    try:
        for path, read in members(source):
            if name := _name_of(path, source):
                yield name, read()
    except DataError:
        raise
    except Exception as error:
        if is_the_machines(error):
            raise
        raise DataError(
            f"{source}: not a readable archive, damaged or cut short ({one_line(error)[:100]}); get it again, or "
            "remove it where an unpacked folder beside it is whole"
        ) from error


def image_files(folder):
    for person in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
        for path in sorted((folder / person).iterdir()):
            name = _name_of(PurePosixPath(person) / path.name, folder)
            if name and path.is_file():
                yield path, name


def is_archive(path):
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


def why_no_archive(path):
    with open(path, "rb") as file:
        start = file.read(4096)
    return not_a_data_file(start) or (
        "an empty file" if not start else "a picture" if is_image(path.name) else "not an archive, damaged or cut short"
    )


def members(source):
    """(path, function that reads it) of every file in an archive."""
    return (_zip_files if zipfile.is_zipfile(source) else _tar_files)(source)


def _tar_files(source):
    with open(source, "rb") as file:
        magic = file.read(2)
    unpack = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}.get(magic, open)
    with unpack(source, "rb") as stream:
        measured, total = _Measured(stream, source), 0
        with tarfile.open(fileobj=measured, mode="r|") as archive:
            for count, member in enumerate(archive):
                total = _check_member(source, count, member.name, member.size, total)
                if not (member.isfile() or member.isdir()):
                    raise DataError(
                        f"{source}: member {quoted(member.name)} is a link or a device; no data set has such"
                    )
                if member.isfile():
                    yield PurePosixPath(member.name), archive.extractfile(member).read
                measured.given = 0


def _zip_files(source):
    def read(member):
        with archive.open(member) as file:
            content = file.read(_MAX_MEMBER_BYTES + 1)
        if len(content) != member.file_size:
            raise DataError(f"{source}: member {quoted(member.filename)} is larger than it says")
        return content

    with zipfile.ZipFile(source) as archive:
        total = 0
        for count, member in enumerate(archive.infolist()):
            total = _check_member(source, count, member.filename, member.file_size, total)
            if S_ISLNK(member.external_attr >> 16):
                raise DataError(
                    f"{source}: member {quoted(member.filename)} is a link or a device; no data set has such"
                )
            if not member.is_dir():
                yield PurePosixPath(member.filename), partial(read, member)


class _Measured:
    """A stream that refuses to give more between two members than one can have: headers may be bombs, too."""

    def __init__(self, file, source):
        self.file, self.source, self.given = file, source, 0

    def read(self, size):
        self.given += size
        if self.given > 2 * _MAX_MEMBER_BYTES:
            raise DataError(f"{self.source}: a header of more than {self.given:,} bytes; no data set has such, refused")
        return self.file.read(size)


def _check_member(source, count, name, size, total):
    """Refuse what no archive of faces has: paths out of the tree, far too many or far too large members."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise DataError(f"{source}: member {quoted(name)} points out of the archive; refused")
    total += size
    most = min(_MAX_TOTAL_BYTES, _FREE_BYTES + _MAX_RATIO * source.stat().st_size)
    if count >= _MAX_MEMBERS or not 0 <= size <= _MAX_MEMBER_BYTES or total > most:
        raise DataError(
            f"{source}: member {quoted(name)} ({size:,} bytes, {total:,} in all) is more than an archive of "
            "faces holds; refused"
        )
    return total


def _name_of(path, source):
    """Picture name of a path .../NAME/NAME_0001.jpg, None for anything else. Raises DataError where NAME is none."""
    name = image_name_of(path)
    if name and not is_name(nfc(path.parts[-2])):
        raise DataError(
            f"{source}: {quoted(str(path))}: {quoted(path.parts[-2])} is no person's name; rename or remove it"
        )
    return name


def image_name_of(path):
    """Picture name of a path .../NAME/NAME_0001.jpg, None for anything else."""
    if not is_image(path.name) or len(path.parts) < 2:
        return None
    person, stem = nfc(path.parts[-2]), nfc(path.stem)
    return stem if re.fullmatch(re.escape(person) + "_[0-9]{4,}", stem) else None


def is_image(name):
    return PurePosixPath(name).suffix.lower() in suffixes()
