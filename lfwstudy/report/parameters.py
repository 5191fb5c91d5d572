"""A notebook's parameters, checked, and the study they describe."""

import ast
import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from lfwstudy.errors import ConfigError, choose_one
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study

# By annotation: the expected value, and the papermill option that passes it.
_KINDS = {
    "str": ("text", "-r {} TEXT"),
    "int": ("a whole number", "-p {} 1"),
    "float": ("a number", "-p {} 0.5"),
    "bool": ("true or false", "-p {} True"),
}


def open_for_notebook(namespace: Mapping[str, Any]) -> Study:
    """The study described by a notebook's parameters. namespace: the notebook's globals().

    Raises
    ------
    ConfigError
        As `check_parameters`, and for settings that do not exist.
    """
    check_parameters(namespace)
    names = [field.name for field in dataclasses.fields(Settings) if field.name in namespace]
    return Study(Settings(**{name: namespace[name] for name in names}))


def check_parameters(namespace: Mapping[str, Any]) -> None:
    """Check the names and types of a notebook's parameters, in its first cell after them.

    papermill puts the given values into a separate cell, under any names, and guesses which are numbers. Raises
    ConfigError. namespace: the notebook's globals().
    """
    declared: dict[str, str] = {}
    given: list[str] = []
    for cell in namespace.get("In", ()):
        with suppress(SyntaxError):  # a user's own cell, with magic
            lines = ast.parse(cell).body
            if not declared and lines and all(isinstance(line, ast.AnnAssign) for line in lines):
                declared = {
                    ast.unparse(n.target): ast.unparse(n.annotation) for n in lines if isinstance(n, ast.AnnAssign)
                }
            elif cell.startswith("# Parameters\n"):
                given = [ast.unparse(line.targets[0]) for line in lines if isinstance(line, ast.Assign)]
    for name in given:
        choose_one("parameter", name, declared)
    for name, kind in declared.items():
        value = namespace[name]
        if type(value).__name__ != kind and not (kind == "float" and type(value) is int):
            wanted, option = _KINDS[kind]
            raise ConfigError(
                f"{name} must be {wanted}, got {value!r:.80}; papermill passes it with {option.format(name)}"
            )
