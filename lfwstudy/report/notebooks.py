"""Execute notebooks: papermill runs each in a separate process, `python -m lfwstudy.report.notebooks JOB`."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any

from lfwstudy.errors import ConfigError, one_line
from lfwstudy.system.backend import left_out
from lfwstudy.system.files import temporary_next_to, write_json
from lfwstudy.system.processes import environment

if TYPE_CHECKING:
    from lfwstudy.report.pages import Page

# An installed package contains the notebooks; in a checkout they are next to it.
_PACKED = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = _PACKED if _PACKED.is_dir() else _PACKED.parents[1] / "notebooks"


def execute(page: "Page", target: Path, log: IO[Any] | None) -> "subprocess.Popen[bytes]":
    """Start executing a page's notebook through papermill in a separate process; returns the process.

    Parameters
    ----------
    target : Path
        Path of the executed notebook.
    log : file, optional
        For the process's output.

    Raises
    ------
    ConfigError
        Before anything starts, for a parameter that the notebook does not have; papermill itself only warns.
    """
    source = NOTEBOOKS / page.notebook
    known = notebook_parameters(source)
    unknown = sorted(set(page.parameters) - set(known))
    if unknown:
        raise ConfigError(f"{source.name} has no parameter {unknown[0]!r}. It has: {', '.join(known)}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    job = target.with_name(f".{target.stem}.json")
    write_json(job, {"source": str(source), "target": str(target), "parameters": page.parameters})
    # A writable folder without the user's settings for Jupyter and IPython: some homes are read-only.
    own = tempfile.mkdtemp(prefix="lfwstudy-")
    folders = dict.fromkeys(("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"), own)
    process = subprocess.Popen(
        [sys.executable, "-m", "lfwstudy.report.notebooks", str(job)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env=environment(**folders, JUPYTER_PATH="", JUPYTER_CONFIG_PATH="", PYDEVD_DISABLE_FILE_VALIDATION="1"),
    )
    weakref.finalize(process, shutil.rmtree, own, ignore_errors=True)
    return process


def notebook_parameters(source: Path) -> list[str]:
    """Names of a notebook's parameters, read without executing it."""
    cells = nbformat().read(source, 4).cells
    from papermill.inspection import inspect_notebook

    if not any("parameters" in cell.metadata.get("tags", []) for cell in cells):
        return []
    return list(inspect_notebook(_unformatted(source)))


def nbformat() -> ModuleType:
    """nbformat, without the URI grammar that its validator takes three seconds to compile and that is not needed here."""
    with left_out("rfc3987_syntax"):
        import nbformat
    return nbformat


def main(path: str) -> int:
    """Execute the notebook described by a JSON file through papermill; exit status 1 with one line if it fails.

    The executed part is kept in any case, with the error in place.
    """
    from lfwstudy.system.processes import end_with_parent

    threading.Thread(target=end_with_parent, daemon=True).start()
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    Path(path).unlink()
    target = Path(job["target"])
    temporary = temporary_next_to(target)
    try:
        error = _papermill(job, temporary)
    finally:
        written = _is_whole(temporary)
        if written:
            os.replace(temporary, target)
        temporary.unlink(missing_ok=True)
    if not error and not written:
        error = f"{target}: papermill ended without writing it"
    if error:
        print(f"error: {error}", file=sys.stderr)
    return int(bool(error))


def _papermill(job: dict[str, Any], target: Path) -> str:
    """Execute a notebook into a file; returns an error line, empty on success."""
    nbformat()
    import papermill
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from papermill.exceptions import PapermillExecutionError

    # The kernel is this Python, not another python3; its working folder is not on its import path.
    launcher = [sys.executable, "-P", "-m", "ipykernel_launcher", "-f", "{connection_file}"]

    class ThisPython(AsyncKernelManager):
        kernel_spec = KernelSpec(language="python", argv=[*launcher, "--IPKernelApp.ignore_cwd=True"])

    try:
        papermill.execute_notebook(
            _unformatted(job["source"]),
            _unformatted(target),
            job["parameters"],
            progress_bar=False,
            coalesce_streams=True,
            cwd=str(Path(job["source"]).parent),
            kernel_manager_class=ThisPython,
        )
    except PapermillExecutionError as error:
        return f"{error.ename}: {_first_line(error.evalue)}"
    except Exception as error:  # a kernel that died, a full disk
        died = " (out of memory?)" if type(error).__name__ == "DeadKernelError" else ""
        return f"{type(error).__name__}: {_first_line(str(error))}{died}"
    return ""


def _unformatted(path: str | Path) -> str:
    """A path with braces escaped, because papermill fills parameters into them."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _first_line(text: str) -> str:
    return one_line((str(text).strip().splitlines() or [""])[0])


def _is_whole(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
