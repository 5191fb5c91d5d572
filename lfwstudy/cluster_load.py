"""How much does a cluster add? A simulated study: stand-in trainings on many workers of one machine.

`python -m lfwstudy.cluster_load --runs 1000 --workers 50 --json FILE` measures the hand-out of runs: how many a second,
processor time and memory of scheduler and client, and the time to go on after the client was killed half-way.
`python -m lfwstudy.cluster_load JOB.json` is the stand-in: it writes a run's files as a training does, and sleeps.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np

from .config import RunConfig
from .executors import end_with_parent
from .files import locked, read_json, replacing, write_csv, write_json
from .history import COLUMNS
from .runs import Store

RESUME_EPOCHS = 5


def stand_in(path):
    """Do what train.main does, but for the training: `pause` seconds an epoch, numbers that mean nothing.

    The job may name a `trace`, a file to which each trained epoch is added, and a file `hang` that makes the first attempt of all hang.
    """
    job = read_json(path)
    threading.Thread(target=end_with_parent, args=(job.get("lease"),), daemon=True).start()
    folder = Path(job["folder"])
    try:
        with locked(folder / ".lock", patience=job.get("patience", 30)):
            if not Store(folder.parent).is_finished(job["run"]):
                _pretend(job, folder)
    except BlockingIOError:
        print(f"error: another process trains run {job['run']}", file=sys.stderr)
        return 2
    return 0


def jobs(root, count, epochs=4, pause=0.05, **more):
    """Jobs of stand-in trainings, each a run in the folder `root`."""
    config = RunConfig().change({"model.width": 0.05, "data.side": 69, "training.epochs": epochs})
    return [{"task": "train", "run": f"{number:016x}", "config": config.to_dict(), "seed": number, "precision": "float32",
             "data_dir": "", "data_digest": "", "folder": str(Path(root) / f"{number:016x}"), "score_test": True,
             "keep_weights": False, "title": f"stand-in {number}", "epochs": epochs, "threads": 1, "memory": 0,
             "program": "lfwstudy.cluster_load", "pause": pause, **more} for number in range(count)]


def _pretend(job, folder):
    rows = []
    if (folder / "resume.npz").exists():
        with np.load(folder / "resume.npz") as content:
            rows = json.loads(content["rows"].tobytes())
    write_json(folder / "config.json", {"run": job["run"], "config": job["config"], "seed": job["seed"]})
    while len(rows) < job["epochs"]:
        if job.get("hang") and len(rows) == 2 and not Path(job["hang"]).exists():
            Path(job["hang"]).touch()
            time.sleep(3600)
        time.sleep(job["pause"])
        rows.append({name: 0.5 for name in COLUMNS} | {"epoch": len(rows) + 1})
        _trace(job, len(rows))
        write_csv(folder / "history.csv", COLUMNS, rows)
        if len(rows) % RESUME_EPOCHS == 0:
            with replacing(folder / "resume.npz") as temporary, open(temporary, "wb") as file:
                np.savez(file, rows=np.frombuffer(json.dumps(rows).encode(), np.uint8))
    scored = [{"set": name, "pair": 2, "left": "A_0001", "right": "A_0002", "label": 1, "score": 0.9, "score_at_best": 0.9}
              for name in ("train", "val", "test")]
    write_csv(folder / "predictions.csv", list(scored[0]), scored)
    write_json(folder / "result.json", {
        "run": job["run"], "seed": job["seed"], "status": "finished", "epochs_run": len(rows), "best_epoch": 1,
        "evaluated_epoch": 1, "val_accuracy_at_best": 0.6, "val_cross_entropy": 0.6, "seconds_total": 1.0,
        **{f"{name}_accuracy": 1.0 for name in ("train", "val", "test")}})
    (folder / "resume.npz").unlink(missing_ok=True)


def _trace(job, epoch):
    if job.get("trace"):
        with open(job["trace"], "a", encoding="utf-8") as file:
            file.write(f"{job['run']} {epoch} {os.getpid()}\n")


def main(arguments):
    """Entry point."""
    if len(arguments) == 1 and arguments[0].endswith(".json"):
        return stand_in(arguments[0])
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
