"""A training in a process of its own: `python -m lfwstudy.runs.training_process JOB.json`. The study's executors start it so."""

import logging
import os
import sys
import threading
from pathlib import Path

from lfwstudy.training.run import score_test_pairs, train  # isort: skip  (sets TensorFlow's environment before Keras is imported)
from lfwstudy.config import RunConfig
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.errors import DamageError, RunError, StudyError, one_line
from lfwstudy.network.cost import least_memory, tower_cost
from lfwstudy.runs.store import Store
from lfwstudy.system.backend import device_name
from lfwstudy.system.files import locked, read_json, sweep
from lfwstudy.system.machine import cpu_name, free_memory
from lfwstudy.system.processes import end_with_parent


def main(path):
    """Train the job described by a JSON file; one line where it fails. Exit status 0, 1 where the machine is at fault
    (disk, memory), 2 where the input cannot be used."""
    job = read_json(path)
    log_progress()
    if job.get("ends_with_parent"):
        threading.Thread(target=end_with_parent, args=(job.get("lease"),), daemon=True).start()
    try:
        run_job(job)
    except BlockingIOError:
        print(f"error: another process trains run {job['run']}", file=sys.stderr)
        return 2
    except StudyError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except Exception as error:
        # The backend's own kind of error, which must not be imported here, has a name only.
        memory = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
        if not memory and not isinstance(error, OSError):
            raise
        # HDF5's message of several lines hides what the system said.
        what = "out of memory" if memory else os.strerror(error.errno) if error.errno else type(error).__name__
        print(f"error: run {job['run']}: {what}: {one_line(str(error))[:300]}", file=sys.stderr)
        return 1
    return 0


def log_progress():
    """Let this package's log, a line each, go to standard error."""
    logger = logging.getLogger("lfwstudy")
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)


def run_job(job):
    """Train or score what a job says. Raises StudyError, BlockingIOError where another process is at it."""
    config = RunConfig.from_dict(job["config"])
    bank = prepare_bank(config.data, job["data_dir"])
    pairs = load_pairs(config.data, job["data_dir"])
    run_id = config.identify(job["seed"], job["precision"], pairs.digest(bank))
    if run_id != job["run"]:
        raise RunError(f"run {job['run']} was asked for, but its data have changed meanwhile")
    folder, keep = Path(job["folder"]), job["keep_weights"]
    # A process whose study was killed needs a moment to notice; two must not write one run.
    with locked(folder / ".lock", patience=job.get("patience", 30)):
        if job["task"] == "train" and Store(folder.parent).is_finished(run_id):
            return  # by the process that held the lock until now
        sweep(folder)
        require_memory(config)
        try:
            if job["task"] == "score-test":
                score_test_pairs(config, bank, pairs, folder, keep)
            else:
                train(config, job["seed"], job["precision"], bank, pairs, folder, run_id, job["score_test"], keep)
            return
        except DamageError as error:  # set aside by now
            print(f"{error}; this run starts anew", file=sys.stderr)
        train(config, job["seed"], job["precision"], bank, pairs, folder, run_id, job["score_test"], keep)


def require_memory(config):
    """Raise MemoryError where a RunConfig cannot be trained in what is free of this machine's memory: better at once than
    after minutes. An accelerator has its own."""
    need, free = least_memory(config.model, config.data.side, config.training.batch_size), free_memory()
    if free is not None and free < need and device_name() == cpu_name():
        raise MemoryError(
            f"a network of {tower_cost(config.model, config.data.side)[1]:,} parameters needs at least "
            f"{need / 2**30:.1f} GiB to be trained, {free / 2**30:.1f} GiB are free on this machine"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
