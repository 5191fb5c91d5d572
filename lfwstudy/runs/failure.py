"""Why a training failed, as a record in the run's folder; nobody has to read it out of messages or logs."""

import errno
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from lfwstudy.errors import ConfigError, RunError, StudyError, one_line
from lfwstudy.system.files import read_json, write_json

# crash: a bug; signal: ended from outside; stalled: ended because it did nothing; busy: another process trains the run;
# cluster: lost between machines; machine: no run succeeds there; system: it refused this once, say a file's permission.
Kind = Literal["memory", "disk", "machine", "system", "data", "input", "busy", "signal", "stalled", "cluster", "crash"]
NAME = "failure.json"
# Exit status of a training whose run another process is training: it must not write to the run's folder.
BUSY = os.EX_TEMPFAIL
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
# With less free space than this the disk is full: not even this record fits.
_FULL_BYTES = 64 << 10


@dataclass(frozen=True)
class Failure:
    """Why a training ended; the message is one line."""

    kind: Kind
    message: str

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """The failure for an error."""
        text = one_line(error)
        if isinstance(error, TrainingError):
            return error.failure
        if isinstance(error, BlockingIOError):
            return cls("busy", "another process trains it")
        if isinstance(error, StudyError):
            return cls("input" if isinstance(error, ConfigError) else "data", text)
        # The backend's own error class must not be imported here: recognise it by name.
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            return cls("memory", f"out of memory: {text[:300]}")
        if isinstance(error, OSError):
            # HDF5's long message hides the system's.
            what = os.strerror(error.errno) if error.errno else type(error).__name__
            return cls("disk" if error.errno in _DISK else "system", f"{what}: {text[:300]}")
        kinds: dict[type, Kind] = {ModuleNotFoundError: "machine", ImportError: "system"}
        return cls(kinds.get(type(error), "crash"), f"{type(error).__name__}: {text[:300]}")

    @classmethod
    def of_status(cls, status: int, folder: Path) -> "Failure":
        """The failure of a process that ended with `status`: from its record or, if it left none, from the status."""
        if status == BUSY:
            return cls("busy", "another process trains it")
        if found := cls.read(folder):
            return found
        if status < 0:
            memory = " (out of memory?)" if -status == signal.SIGKILL else ""
            return cls("signal", f"its process was ended by signal {-status}{memory}")
        if shutil.disk_usage(folder).free < _FULL_BYTES:
            return cls("disk", os.strerror(errno.ENOSPC))
        return cls("crash", f"its process failed with status {status}{_last_words(folder)}")

    @classmethod
    def read(cls, folder: Path) -> "Failure | None":
        """The record in a run's folder; None if there is none or it is unreadable."""
        try:
            content = read_json(folder / NAME)
            known = content["kind"] in get_args(Kind) and isinstance(content["message"], str)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return cls(content["kind"], one_line(content["message"])) if known else None

    def write(self, folder: Path) -> None:
        """Write the record to a run's folder, if the disk has room."""
        with suppress(OSError):
            write_json(folder / NAME, asdict(self))


class TrainingError(RunError):
    """A training process failed."""

    def __init__(self, failure: Failure, told: str = "") -> None:
        super().__init__(told or failure.message)
        self.failure = failure


def _last_words(folder: Path) -> str:
    """The last line of a run's log, to be shown."""
    try:
        text = (folder / "log.txt").read_bytes()[-4096:].decode(errors="replace")
    except OSError:
        return ""
    last = next((line for line in reversed(text.splitlines()) if line.strip()), "")
    return f": {one_line(last)[:300]}" if last else ""
