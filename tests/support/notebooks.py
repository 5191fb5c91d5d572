"""Notebooks without a kernel: of any code, and what the study's show."""

import ast
import json
from pathlib import Path
from typing import Any

from lfwstudy.report import notebooks
from lfwstudy.report.table import Table
from lfwstudy.study.results import Results


def write_notebook(path: Path, *cells: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {"cells": [{**empty, "source": cell} for cell in cells], "metadata": {"kernelspec": kernel}}
    path.write_text(json.dumps({**content, "nbformat": 4, "nbformat_minor": 4}))


def page_of(stage: str, opened: Results, notebook: str = "01_stage") -> str:
    """What a notebook shows, that of a stage or another, as one text, without a kernel."""
    shown = []
    cells = json.loads((notebooks.NOTEBOOKS / f"{notebook}.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names: dict[str, Any] = {}
    exec(sources[0], names)
    names |= {
        "stage": stage,
        "train": False,
        "out": str(opened.out),
        "precision": "float32",
        "ladder": opened.settings.ladder,
    }
    for source in sources[1:]:
        *body, last = ast.parse(source).body
        exec(compile(ast.Module(body, []), "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
        else:
            exec(compile(ast.Module([last], []), "cell", "exec"), names)
    return "\n".join(shown_as(item) for item in shown)


def shown_as(item: Any) -> str:
    """What a notebook makes of a cell's last value."""
    return item.to_html() if isinstance(item, Table) else str(getattr(item, "data", item))
