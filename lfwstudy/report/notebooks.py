"""Execute notebooks: papermill runs each in a separate process, `python -m lfwstudy.report.notebooks JOB`."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lfwstudy.errors import one_line
from lfwstudy.runs.failure import Failure
from lfwstudy.system.backend import left_out
from lfwstudy.system.files import read_json, temporary_next_to, write_json
from lfwstudy.system.processes import environment

if TYPE_CHECKING:
    from lfwstudy.report.pages import Page

# An installed package contains the notebooks; in a checkout they are next to it.
_PACKED = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = _PACKED if _PACKED.is_dir() else _PACKED.parents[1] / "notebooks"


@dataclass
class Execution:
    """A notebook being executed by a process; `since`: its start. The folder has its job, its log and, if it fails, why."""

    page: "Page"
    process: "subprocess.Popen[bytes]"
    folder: tempfile.TemporaryDirectory
    since: float = field(default_factory=time.monotonic)

    def failure(self) -> Failure | None:
        """Why it failed, once it has ended; None on success."""
        status = self.process.wait()
        return Failure.of_status(status, Path(self.folder.name)) if status else None


def execute(page: "Page", target: Path) -> Execution:
    """Start executing a page's notebook into `target` through papermill in a separate process.

    A parameter that the notebook does not have fails it (`parameters.check_parameters`).
    """
    source = NOTEBOOKS / page.notebook
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = tempfile.TemporaryDirectory(prefix="lfwstudy-", ignore_cleanup_errors=True)
    job = Path(folder.name, f"{target.stem}.json")
    write_json(job, {"source": str(source), "target": str(target), "parameters": page.parameters})
    # A writable folder without the user's settings for Jupyter and IPython: some homes are read-only.
    own = dict.fromkeys(("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"), folder.name)
    with open(job.with_name("log.txt"), "xb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lfwstudy.report.notebooks", str(job)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment(**own, JUPYTER_PATH="", JUPYTER_CONFIG_PATH="", PYDEVD_DISABLE_FILE_VALIDATION="1"),
        )
    return Execution(page, process, folder)


def nbformat() -> ModuleType:
    """nbformat, without the URI grammar that its validator takes three seconds to compile and that is not needed here."""
    with left_out("rfc3987_syntax"):
        import nbformat
    return nbformat


def main(path: str) -> int:
    """Execute the notebook described by a JSON file through papermill; exit status 1 and a record next to it if it fails.

    The executed part is kept in any case, with the error in place.
    """
    from lfwstudy.system.processes import end_with_parent

    threading.Thread(target=end_with_parent, daemon=True).start()
    job = read_json(path)
    target = Path(job["target"])
    temporary = temporary_next_to(target)
    try:
        failure = _papermill(job, temporary)
    finally:
        written = _is_whole(temporary)
        if written:
            os.replace(temporary, target)
        temporary.unlink(missing_ok=True)
    if not failure and not written:
        failure = Failure("crash", f"{target}: papermill ended without writing it")
    if failure:
        failure.write(Path(path).parent)
    return int(bool(failure))


def _papermill(job: dict[str, Any], target: Path) -> Failure | None:
    """Execute a notebook into a file; returns why that failed, None on success."""
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
        return Failure("crash", f"{error.ename}: {_first_line(error.evalue)}")
    except Exception as error:  # a kernel that died, a full disk
        died = " (out of memory?)" if type(error).__name__ == "DeadKernelError" else ""
        return Failure(Failure.of(error).kind, f"{type(error).__name__}: {_first_line(str(error))}{died}")
    return None


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
