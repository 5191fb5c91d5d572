"""Files of a run during training: weights that may be evaluated, and the state to resume from."""

import io
import json
import logging
import zipfile
from collections import Counter
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from lfwstudy.config import RunConfig, TrainingConfig
from lfwstudy.errors import DamageError, one_line, proves_damage
from lfwstudy.system.files import check_zip, read_json, replacing, set_aside_content
from lfwstudy.training.decisions import Rows, needed_epochs

logger = logging.getLogger(__name__)
# Syncing to disk takes longer than writing: training does not wait for it.
_disk = ThreadPoolExecutor(1, thread_name_prefix="disk")


def weights_path(folder: Path, epoch: int) -> Path:
    """File of the siamese network's weights after an epoch."""
    return folder / f"epoch-{epoch:04d}.weights.h5"


def resume_path(folder: Path) -> Path:
    """File of a run's resume state."""
    return folder / "resume.npz"


def save_weights(folder: Path, siamese: Any, epoch: int) -> None:
    """Write the siamese network's weights, atomically."""
    begin_weights(folder, siamese, epoch).result()


def begin_weights(folder: Path, siamese: Any, epoch: int) -> Future[bool | None]:
    """Start writing the siamese network's current weights.

    Returns a future that is done when they are on disk and the file has its final name.
    """
    with ExitStack() as stack:
        siamese.save_weights(stack.enter_context(replacing(weights_path(folder, epoch))))
        return _disk.submit(stack.pop_all().close)


def load_weights(folder: Path, siamese: Any, epoch: int) -> None:
    """Load what `save_weights` wrote.

    Raises
    ------
    DamageError
        If the file is damaged; the folder's content is set aside for a fresh start.
    OSError, MemoryError
        If it cannot be read now; everything stays in place.
    """
    path = weights_path(folder, epoch)
    try:
        siamese.load_weights(path)
    except Exception as error:
        # Keras raises the same errors for a damaged file and a failing machine: examine the file itself.
        if problem := _weights_problem(path, siamese):
            aside = set_aside_content(folder)
            raise DamageError(f"{path}: damaged weights ({problem}), set aside with the run as {aside.name}") from error
        if isinstance(error, (OSError, MemoryError)):
            raise
        raise OSError(f"{path}: the file is intact but cannot be loaded ({one_line(error)[:200]})") from error


def drop_weights(folder: Path, keep: Collection[int] = ()) -> None:
    """Delete the weights of all epochs except those in `keep`."""
    kept = {weights_path(folder, epoch) for epoch in keep}
    for path in folder.glob("epoch-*.weights.h5"):
        if path not in kept:
            path.unlink(missing_ok=True)


def save_resume(folder: Path, model: Any, rows: Rows) -> None:
    """Write everything needed to resume after this epoch into one file: variables, optimizer and history.

    Arrays are written one by one in the format of NumPy's savez, which needs them all at once: their copies would be the
    memory peak.
    """
    arrays = {"rows": np.frombuffer(json.dumps(rows).encode(), np.uint8)}
    arrays |= {f"variable_{number}": variable for number, variable in enumerate(_state(model))}
    with replacing(resume_path(folder)) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def load_resume(folder: Path, model: Any, training: TrainingConfig) -> Rows:
    """Restore what `save_resume` wrote into a compiled model; returns the history's rows, [] if there is none.

    Raises
    ------
    DamageError
        If the file is damaged or weights that it needs are missing; the model is unchanged and the folder's content is set
        aside.
    OSError, MemoryError
        If it cannot be read now; everything stays in place.
    """
    path = resume_path(folder)
    if not path.exists():
        return []
    try:
        rows, values = _read_resume(path, model)
        for epoch in needed_epochs(rows, training):
            if not weights_path(folder, epoch).exists():
                raise ValueError(f"{weights_path(folder, epoch).name} is missing")
    except Exception as error:
        if not proves_damage(error):
            raise
        aside = set_aside_content(folder)
        raise DamageError(f"{path}: unusable resume state ({one_line(error)}), set aside as {aside.name}") from error
    for variable, value in zip(_state(model), values):
        variable.assign(value)
    return rows


def forget_another_run(folder: Path, identity: dict[str, Any]) -> None:
    """Set aside the training in a folder whose config.json belongs to another run: it was copied or renamed by hand."""
    resume = resume_path(folder)
    if not resume.exists():
        return
    try:
        known = read_json(folder / "config.json")
        known["config"] = RunConfig.from_dict(known["config"]).to_dict()  # with the settings of later versions
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        known = None
    if known != identity:
        aside = set_aside_content(folder)
        logger.warning(
            "%s: the folder's config.json belongs to another run; set aside as %s, this run starts over",
            resume,
            aside.name,
        )


def _read_resume(path: Path, model: Any) -> tuple[Rows, list[np.ndarray]]:
    check_zip(path)  # else a damaged header may request any amount of memory
    with np.load(path, allow_pickle=False) as content:
        rows = json.loads(content["rows"].tobytes())
        variables = _state(model)
        values = [content[f"variable_{number}"] for number in range(len(variables))]
    if any(value.shape != tuple(variable.shape) for variable, value in zip(variables, values)):
        raise ValueError("it belongs to another network")
    return rows, values


def _state(model: Any) -> list[Any]:
    """Variables that training changes: the model's, except the images, and the optimizer's."""
    known = {id(variable) for variable in model.variables}
    of_optimizer = [variable for variable in model.optimizer.variables if id(variable) not in known]
    return [variable for variable in model.variables if variable.name != "bank"] + of_optimizer


def _weights_problem(path: Path, siamese: Any) -> str | None:
    """The fault in a file of weights, or None. Raises OSError, MemoryError if it cannot be read."""
    import h5py

    content = path.read_bytes()
    shapes: Counter[tuple[int, ...]] = Counter()

    def read(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if item.nbytes > len(content):
                raise ValueError(f"an array of {item.nbytes:,} bytes")
            shapes[item[()].shape] += 1

    try:
        with h5py.File(io.BytesIO(content), "r") as file:  # read from memory, so any error is about the content
            file.visititems(read)
    except MemoryError:
        raise
    except Exception as error:
        return f"{type(error).__name__}: {one_line(error)[:100]}"
    missing = Counter(tuple(weight.shape) for weight in siamese.weights) - shapes
    return f"no array of shape {next(iter(missing))}" if missing else None
