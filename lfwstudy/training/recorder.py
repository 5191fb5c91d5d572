"""What happens during training? Timing, validation, checkpoints, the resume state and progress."""

import io
import json
import sys
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import keras
import numpy as np

from lfwstudy.errors import DamageError, one_line, proves_damage
from lfwstudy.system.files import check_zip, replacing, set_aside_content, write_csv
from lfwstudy.training import decisions

# The resume state is written at the first epoch end after so many epochs or seconds. Where epochs are short (an accelerator
# trains five of the full network while its 470 MB are written), writing takes one part of so many of the time; what is
# written in less than RESUME_QUICK seconds is not held back.
RESUME_EPOCHS, RESUME_SECONDS, RESUME_PARTS, RESUME_QUICK = 5, 600, 10, 0.2
# The disk takes longer than writing: what is waited for here does not stop training.
_disk = ThreadPoolExecutor(1, thread_name_prefix="disk")


class Recorder(keras.callbacks.Callback):
    """Validates after every epoch, keeps the history, saves weights that will be evaluated, decides when to stop.

    The history's rows are the only state: what is best and when to stop are functions of them (decisions.py), so
    that a resumed run decides as an uninterrupted one does.

    folder: the run's folder; training: TrainingConfig; validate: function of no argument giving val_loss,
    val_cross_entropy, val_accuracy, penalty and head_penalty of the current weights; batches: of an epoch, a partial one as its part.
    """

    async_safe = True  # the batch hook only takes the time

    def __init__(self, folder, training, siamese, validate, batches):
        super().__init__()
        self.folder, self.training, self.siamese, self.validate, self.batches = (
            folder,
            training,
            siamese,
            validate,
            batches,
        )
        self.rows = []
        self.compiled = False
        self.saved_resume = (0, time.monotonic())
        self.resume_seconds = 0.0  # what the last writing took
        self._steps = []
        self._settling = None

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate = decisions.learning_rate(self.training, epoch + 1)
        self._began = time.perf_counter()
        self._steps = []

    def on_train_batch_end(self, batch, logs=None):
        if not self.compiled:
            float(logs["loss"])  # waits for the device
            self._steps.append(time.perf_counter())

    def on_epoch_end(self, epoch, logs=None):
        trained = time.perf_counter() - self._began
        if not self.compiled:
            trained = self._without_compilation(trained)
            self.compiled = True
        began = time.perf_counter()
        row = {
            "epoch": epoch + 1,
            **{name: logs[name] for name in ("loss", "cross_entropy", "accuracy")},
            **self.validate(),
            "learning_rate": decisions.learning_rate(self.training, epoch + 1),
        }
        # Rounded as the file has them, so that a decision from the file is the decision taken here.
        self.rows.append({name: _rounded(row[name]) for name in decisions.COLUMNS if name != "seconds"})
        self._save_weights()
        self.rows[-1]["seconds"] = round(trained + time.perf_counter() - began, 4)
        write_csv(self.folder / "history.csv", decisions.COLUMNS, self.rows)
        stop = decisions.should_stop(self.rows, self.training) or decisions.diverged(self.rows)
        last = stop or epoch + 1 == self.training.epochs
        self._save_resume(force=last)
        print(progress_line(self.rows[-1], self.training.epochs), file=sys.stderr, flush=True)
        if stop:
            self.model.stop_training = True

    def _without_compilation(self, wall):
        """Seconds of the first epoch's training, as if its first and its shorter last step had needed no compiling."""
        steps, full = self._steps, self.batches
        if len(steps) >= 4:
            return (steps[-2] - steps[0]) / (len(steps) - 2) * full
        if len(steps) >= 2:
            return (steps[-1] - steps[0]) / (len(steps) - 1) * full
        return wall

    def _save_weights(self):
        epoch = self.rows[-1]["epoch"]
        if epoch in needed_epochs(self.rows, self.training):
            self._settle()
            self._settling = begin_weights(self.folder, self.siamese, epoch)

    def _settle(self):
        """Wait until the last weights are on the disk. Raises OSError where they could not be kept."""
        if self._settling:
            self._settling.result()
            self._settling = None

    def _save_resume(self, force):
        (epochs, since), began = self.saved_resume, time.monotonic()
        held_back = self.resume_seconds > RESUME_QUICK and began - since < RESUME_PARTS * self.resume_seconds
        due = len(self.rows) - epochs >= RESUME_EPOCHS and not held_back
        if force or due or began - since >= RESUME_SECONDS:
            self._settle()  # it is of no use without the weights that it names
            save_resume(self.folder, self.model, self.rows)
            self.resume_seconds = time.monotonic() - began
            # Older weights go only now: until here the previous resume state may still have needed them.
            drop_weights(self.folder, keep=needed_epochs(self.rows, self.training))
            self.saved_resume = (len(self.rows), time.monotonic())


def needed_epochs(rows, training):
    """Epochs whose weights may be evaluated at the end, seen from the history so far."""
    epochs = {decisions.best_epoch(rows)}
    if training.evaluated == "best-checkpoint":
        epochs.add(decisions.best_checkpoint(rows, training))
    return epochs - {None}


def weights_path(folder, epoch):
    """File of the siamese network's weights after an epoch."""
    return folder / f"epoch-{epoch:04d}.weights.h5"


def save_weights(folder, siamese, epoch):
    """Write the siamese network's weights, atomically."""
    begin_weights(folder, siamese, epoch).result()


def begin_weights(folder, siamese, epoch):
    """Write the siamese network's weights, as they are now; returns a Future that is done when they are on the disk and the
    file has its name."""
    with ExitStack() as stack:
        siamese.save_weights(stack.enter_context(replacing(weights_path(folder, epoch))))
        return _disk.submit(stack.pop_all().close)


def load_weights(folder, siamese, epoch):
    """Load what `save_weights` wrote.

    Raises DamageError where the file is damaged, what the folder holds set aside for a fresh start; OSError or
    MemoryError, with everything in place, where it cannot be read now.
    """
    path = weights_path(folder, epoch)
    try:
        siamese.load_weights(path)
    except Exception as error:
        # Keras makes the same errors of a damaged file and of a machine that fails: the file itself has to tell.
        if problem := _weights_problem(path, siamese):
            aside = set_aside_content(folder)
            raise DamageError(f"{path}: damaged weights ({problem}), set aside with the run as {aside.name}") from error
        if isinstance(error, (OSError, MemoryError)):
            raise
        raise OSError(f"{path}: the file is whole but cannot be loaded ({one_line(error)[:200]})") from error


def _weights_problem(path, siamese):
    """What is wrong with a file of weights, None where nothing is. Raises OSError, MemoryError where it cannot be read."""
    import h5py

    content = path.read_bytes()
    shapes = Counter()

    def read(_, item):
        if isinstance(item, h5py.Dataset):
            if item.nbytes > len(content):
                raise ValueError(f"an array of {item.nbytes:,} bytes")
            shapes[item[()].shape] += 1

    try:
        with h5py.File(io.BytesIO(content), "r") as file:  # from memory: whatever it raises is about the content
            file.visititems(read)
    except MemoryError:
        raise
    except Exception as error:
        return f"{type(error).__name__}: {one_line(error)[:100]}"
    missing = Counter(tuple(weight.shape) for weight in siamese.weights) - shapes
    return f"no array of shape {next(iter(missing))}" if missing else None


def drop_weights(folder, keep=()):
    """Delete the weights of all epochs but those of `keep`."""
    kept = {weights_path(folder, epoch) for epoch in keep}
    for path in folder.glob("epoch-*.weights.h5"):
        if path not in kept:
            path.unlink(missing_ok=True)


def save_resume(folder, model, rows):
    """Write all that training needs to go on after this epoch: variables, optimiser and history, in one file.

    One array after the other into the format of numpy's savez, which wants them all at once: their copies would be the
    peak of memory.
    """

    def arrays():
        yield "rows", np.frombuffer(json.dumps(rows).encode(), np.uint8)
        for number, variable in enumerate(_state(model)):
            yield f"variable_{number}", np.asarray(variable)

    with replacing(folder / "resume.npz") as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def load_resume(folder, model, training):
    """Restore what `save_resume` wrote into a compiled model; returns the history's rows, [] where there is none.

    Raises DamageError, with the model left as it was and what the folder holds set aside, where the file is damaged or
    weights that it needs are missing; OSError or MemoryError, with everything in place, where it cannot be read now.
    """
    path = folder / "resume.npz"
    if not path.exists():
        return []
    try:
        check_zip(path)  # else a damaged header may ask for any amount of memory
        with np.load(path, allow_pickle=False) as content:
            rows = json.loads(content["rows"].tobytes())
            variables = _state(model)
            values = [content[f"variable_{i}"] for i in range(len(variables))]
        if any(value.shape != tuple(v.shape) for v, value in zip(variables, values)):
            raise ValueError("it is of another network")
        for epoch in needed_epochs(rows, training):
            if not weights_path(folder, epoch).exists():
                raise ValueError(f"{weights_path(folder, epoch).name} is missing")
    except Exception as error:
        if not proves_damage(error):
            raise
        aside = set_aside_content(folder)
        raise DamageError(f"{path}: unusable resume state ({one_line(error)}), set aside as {aside.name}") from error
    for variable, value in zip(variables, values):
        variable.assign(value)
    return rows


def progress_line(row, epochs):
    """One line on an epoch for a log."""
    return (
        f"epoch {row['epoch']:3d}/{epochs}  loss {row['loss']:.4g}  accuracy {row['accuracy']:.3f}  "
        f"val_loss {row['val_loss']:.4g}  val_accuracy {row['val_accuracy']:.3f}  {row['seconds']:.1f} s"
    )


def _state(model):
    """Variables that training changes: all but the pictures, and the optimiser's."""
    return [v for v in model.variables if v.name != "bank"] + [
        v for v in model.optimizer.variables if all(v is not w for w in model.variables)
    ]


def _rounded(value):
    return value if isinstance(value, int) else float(f"{float(value):.9g}")
