"""The training process: `python -m lfwstudy.runs.training_process JOB.json`, started by the executors."""

import logging
import sys
import threading
from functools import partial

from lfwstudy.config import RunConfig
from lfwstudy.data.prepare import load_data
from lfwstudy.errors import DamageError, RunError
from lfwstudy.network.cost import least_memory, tower_cost
from lfwstudy.runs.failure import BUSY, Failure
from lfwstudy.runs.job import Job
from lfwstudy.runs.store import Store
from lfwstudy.system.backend import device_name
from lfwstudy.system.files import locked, sweep
from lfwstudy.system.machine import cpu_name, free_memory
from lfwstudy.system.processes import end_with_parent

logger = logging.getLogger(__name__)


def main(path: str) -> int:
    """Train the job in a JSON file, as long as the parent holds this process's standard input."""
    job = Job.read(path)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("lfwstudy").setLevel(logging.INFO)
    threading.Thread(target=end_with_parent, args=(job.lease,), daemon=True).start()
    return run_job(job)


def run_job(job: Job) -> int:
    """Train a job; a failure is recorded in its folder and printed as one line.

    Returns
    -------
    Exit status: 0 done, 1 the machine is at fault, 2 the input is unusable, BUSY another process trains the run. A bug is
    raised.
    """
    try:
        _run(job)
    except Exception as error:
        failure = Failure.of(error)
        if failure.kind != "busy":
            failure.write(job.folder)
        if failure.kind == "crash":
            raise
        print(f"error: run {job.run}: {failure.message}", file=sys.stderr)
        return {"busy": BUSY, "data": 2, "input": 2}.get(failure.kind, 1)
    return 0


def _run(job: Job) -> None:
    """Train or score. Raises StudyError, OSError and, if another process trains the run, BlockingIOError."""
    config, folder = job.config, job.folder
    bank, pairs, digest = load_data(config.data, job.data_dir)
    if config.identify(job.seed, job.precision, digest) != job.run:
        raise RunError("its data have changed since it was requested")
    # Imported here, so that a missing library is reported like other failures.
    from lfwstudy.training.run import score_test_pairs, train

    identity = config, job.seed, job.precision, bank, pairs, folder, job.run
    begin = partial(train, *identity, job.score_test, job.keep_weights, job.threads)
    # A process whose study was killed needs a moment to notice; two must not write the same run.
    with locked(folder / ".lock", patience=job.patience):
        if Store(folder.parent).has_done(job):
            return  # by the process that held the lock until now
        sweep(folder)
        require_memory(config)
        try:
            if job.task == "score-test":
                score_test_pairs(config, bank, pairs, folder, job.keep_weights)
            else:
                begin()
        except DamageError as error:  # already set aside
            logger.warning("%s; this run starts again", error)
            begin()


def require_memory(config: RunConfig) -> None:
    """Raise MemoryError if a network cannot be trained in this machine's free memory: better at once than after minutes.
    GPU memory is not checked."""
    need, free = least_memory(config.model, config.data.side, config.training.batch_size), free_memory()
    if free is not None and free < need and device_name() == cpu_name():
        raise MemoryError(
            f"a network of {tower_cost(config.model, config.data.side)[1]:,} parameters needs at least "
            f"{need / 2**30:.1f} GiB for training, {free / 2**30:.1f} GiB are free on this machine"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
