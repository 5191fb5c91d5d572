"""The command in a process of its own."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMAND = (sys.executable, "-m", "lfwstudy")

needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")


def lfwstudy(*arguments: Any, before: tuple[str, ...] = (), **options: Any) -> "subprocess.CompletedProcess[str]":
    """The command and what it said. before: a program that starts it; options: of subprocess.run."""
    return _run([*before, *COMMAND, *map(str, arguments)], options)


def python(code: str, *arguments: Any, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Code in a process of its own, and what it said. options: of subprocess.run."""
    return _run([sys.executable, "-c", code, *map(str, arguments)], options)


def study_in(data: Path, out: Path, *more: str) -> tuple[str, ...]:
    """Arguments of the command: a study of a folder laid out as LFW-a."""
    return ("run", "--dataset", "lfw-a", "--data-dir", str(data), "--precision", "float32", "--out", str(out), *more)


def _run(command: list[str], options: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, **{"capture_output": True, "text": True, "timeout": 600} | options)
