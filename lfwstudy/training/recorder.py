"""After each epoch: timing, validation, history, checkpoints and stopping."""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from lfwstudy.config import TrainingConfig
from lfwstudy.network.operations import keras
from lfwstudy.system.files import write_csv
from lfwstudy.training import decisions
from lfwstudy.training.checkpoints import begin_weights, drop_weights, save_resume

logger = logging.getLogger(__name__)
# The resume state is written at the first epoch end after this many epochs or seconds. If epochs are short (a GPU trains
# five of the full network while its 470 MB are written), writing is limited to a share of the time; a state written in
# less than RESUME_QUICK seconds is never delayed.
RESUME_EPOCHS, RESUME_SECONDS, RESUME_PARTS, RESUME_QUICK = 5, 600, 10, 0.2


class Recorder(keras.callbacks.Callback):
    """Validates after every epoch, keeps the history, saves weights that may be evaluated, decides when to stop.

    The history's rows are the only state: the best epoch and when to stop are functions of them (`decisions`), so a resumed
    run decides like an uninterrupted one.

    Parameters
    ----------
    validate : function
        Without arguments; returns val_loss, val_cross_entropy, val_accuracy, penalty and head_penalty of the current weights.
    batches : float
        Number per epoch; a partial one counts as its fraction.
    """

    async_safe = True  # the batch hook only notes the time

    def __init__(
        self,
        folder: Path,
        training: TrainingConfig,
        siamese: keras.Model,
        validate: Callable[[], Mapping[str, float]],
        batches: float,
    ) -> None:
        super().__init__()
        self.folder, self.training, self.siamese = folder, training, siamese
        self.validate, self.batches = validate, batches
        self.rows: decisions.Rows = []
        self.compiled = False
        self.saved_resume = (0, time.monotonic())  # after how many epochs, and when
        self.resume_seconds = 0.0  # that the last writing took
        self._began = 0.0
        self._steps: list[float] = []
        self._settling: Future[bool | None] | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate = decisions.learning_rate(self.training, epoch + 1)
        self._began = time.perf_counter()
        self._steps = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self.compiled:
            float(logs["loss"])  # waits for the device
            self._steps.append(time.perf_counter())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        trained = time.perf_counter() - self._began
        if not self.compiled:
            trained = self._without_compilation(trained)
            self.compiled = True
        began = time.perf_counter()
        with self.model.averaged():
            row = {
                "epoch": epoch + 1,
                **{name: logs[name] for name in ("loss", "cross_entropy", "accuracy")},
                **self.validate(),
                "learning_rate": decisions.learning_rate(self.training, epoch + 1),
            }
            # Rounded as in the file, so that decisions from the file are the same.
            self.rows.append({name: _rounded(row[name]) for name in decisions.COLUMNS if name != "seconds"})
            self._save_weights()
        self.rows[-1]["seconds"] = round(trained + time.perf_counter() - began, 4)
        write_csv(self.folder / "history.csv", decisions.COLUMNS, self.rows)
        stop = decisions.should_stop(self.rows, self.training) or decisions.diverged(self.rows)
        self._save_resume(force=stop or epoch + 1 == self.training.epochs)
        logger.info(progress_line(self.rows[-1], self.training.epochs))
        if stop:
            self.model.stop_training = True

    def _without_compilation(self, wall: float) -> float:
        """Seconds of the first epoch's training, without compiling its first and its shorter last step."""
        steps, full = self._steps, self.batches
        if len(steps) >= 4:
            return (steps[-2] - steps[0]) / (len(steps) - 2) * full
        if len(steps) >= 2:
            return (steps[-1] - steps[0]) / (len(steps) - 1) * full
        return wall

    def _save_weights(self) -> None:
        epoch = self.rows[-1]["epoch"]
        if epoch in decisions.needed_epochs(self.rows, self.training):
            self._settle()
            self._settling = begin_weights(self.folder, self.siamese, epoch)

    def _settle(self) -> None:
        """Wait until the last weights are on disk. Raises OSError if they could not be saved."""
        if self._settling:
            self._settling.result()
            self._settling = None

    def _save_resume(self, force: bool) -> None:
        (epochs, since), began = self.saved_resume, time.monotonic()
        held_back = self.resume_seconds > RESUME_QUICK and began - since < RESUME_PARTS * self.resume_seconds
        due = len(self.rows) - epochs >= RESUME_EPOCHS and not held_back
        if force or due or began - since >= RESUME_SECONDS:
            self._settle()  # it is useless without the weights that it names
            save_resume(self.folder, self.model, self.rows)
            self.resume_seconds = time.monotonic() - began
            # Delete older weights only now: the previous resume state may have needed them.
            drop_weights(self.folder, keep=decisions.needed_epochs(self.rows, self.training))
            self.saved_resume = (len(self.rows), time.monotonic())


def progress_line(row: Mapping[str, Any], epochs: int) -> str:
    """One line on an epoch for a log."""
    return (
        f"epoch {row['epoch']:3d}/{epochs}  loss {row['loss']:.4g}  accuracy {row['accuracy']:.3f}  "
        f"val_loss {row['val_loss']:.4g}  val_accuracy {row['val_accuracy']:.3f}  {row['seconds']:.1f} s"
    )


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{float(value):.9g}")
