"""Archives of any content."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, io.BytesIO]:
    """A member for `write_tar`, with fields of its TarInfo."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, io.BytesIO(content)


def write_tar(path: Path, *members: tuple[tarfile.TarInfo, io.BytesIO], mode: str = "w:gz", **options: Any) -> None:
    with tarfile.open(path, mode, **options) as archive:
        for info, content in members:
            content.seek(0)
            archive.addfile(info, content)


def write_zip(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes | str], **options: Any) -> None:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members:
            archive.writestr(name, content)
