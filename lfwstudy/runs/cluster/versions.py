"""Whether a machine can train a study's runs: asked of each worker before it gets one. Imports nothing of Dask, so the
answer does not depend on Dask's version."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.resources
import os
import platform
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lfwstudy import __version__
from lfwstudy.system.backend import keras_backend
from lfwstudy.system.files import locked
from lfwstudy.system.machine import versions

# A network file system may show another machine's file a moment late.
TOKEN_SECONDS = 5.0

Token = tuple[str, str]


@contextmanager
def token_file(folder: Path) -> Iterator[Token]:
    """Path and content of a file in a study's folder of runs; a worker that can read it sees the folder."""
    content = uuid.uuid4().hex
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".cluster-*"):  # of studies that were killed: one that lives holds its own
        with suppress(OSError), locked(left):
            left.unlink()
    path = folder / f".cluster-{content}"
    with locked(path):
        path.write_text(content, encoding="utf-8")
        try:
            yield str(path), content
        finally:
            path.unlink(missing_ok=True)


async def answer(expected: dict[str, str], token: Token) -> tuple[str, str]:
    """This machine's name, and why it cannot train the study's runs; empty if it can."""
    return os.uname().nodename, difference(expected) or await unseen(token)


def versions_here() -> dict[str, str]:
    """Versions that the numbers of a run depend on: this package's code, Python, Keras, its backend, NumPy."""
    installed, backend = versions(), keras_backend()
    code = hashlib.sha256()
    package = Path(str(importlib.resources.files(__package__.partition(".")[0])))
    for path in sorted(package.rglob("*.py")):  # the files, which trainings read, not this process's modules
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        code.update(f"{path.relative_to(package).as_posix()} {digest}\n".encode())
    return {
        "lfwstudy": f"{__version__} (code {code.hexdigest()[:8]})",
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "Keras": installed.get("keras", "none"),
        "backend": f"{backend} {installed.get(backend, 'none')}",
        "NumPy": installed.get("numpy", "none"),
    }


def difference(expected: dict[str, str]) -> str:
    """How this process differs from `expected`, another one's `versions_here`; empty if it does not."""
    here = versions_here()
    told = [
        f"{name} is {here.get(name, 'none')} instead of {wanted}"
        for name, wanted in expected.items()
        if here.get(name) != wanted
    ]
    return f"{', '.join(told)}; install the same versions there" if told else ""


async def unseen(token: Token) -> str:
    """Why this machine cannot work in the study's folder of runs; empty if it can."""
    path, content = Path(token[0]), token[1]
    study, until = path.parents[1], time.monotonic() + TOKEN_SECONDS
    while not _holds(path, content):
        if not os.path.isdir(path.parent) or time.monotonic() > until:
            return f"it does not see the study's folder {study}; give --out a folder that all workers share at the same path"
        try:
            os.listdir(path.parent)  # makes a network file system look again
        except OSError as error:
            return f"it cannot read the study's folder {study} ({error.strerror})"
        await asyncio.sleep(0.2)  # the worker's other tasks continue
    return "" if os.access(path.parent, os.W_OK) else f"it cannot write to the study's folder {study}"


def _holds(path: Path, content: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == content
    except OSError:
        return False
