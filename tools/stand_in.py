"""A stand-in for a training: `python -m tools.stand_in JOB.json` writes a run's files like a training, and sleeps."""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from lfwstudy.config import RunConfig
from lfwstudy.runs.job import Job
from lfwstudy.system.files import locked, replacing, write_csv, write_json
from lfwstudy.system.processes import end_with_parent
from lfwstudy.training.decisions import COLUMNS

RESUME_EPOCHS = 5


def jobs(
    root: str | Path, count: int, epochs: int = 4, pause: float = 0.05, trace: str = "", hang: str = "", **more: Any
) -> list[Job]:
    """Jobs of stand-ins, each a run in the folder `root`.

    Parameters
    ----------
    pause : seconds an epoch takes.
    trace : a file to which each trained epoch is added with its process and its GPU.
    hang : a file; if it does not exist, the stand-in creates it and hangs.
    more : other fields of the jobs.
    """
    config = RunConfig().change({"model.width": 0.05, "data.side": 69, "training.epochs": epochs})
    given: dict[str, Any] = {"config": config, "memory": 0, "program": "tools.stand_in"} | more
    options = {"pause": pause, "trace": trace, "hang": hang}
    return [
        Job(run, folder=Path(root) / run, seed=number, title=f"stand-in {number}", options=options, **given)
        for number, run in enumerate(f"{number:016x}" for number in range(count))
    ]


def main(path: str) -> int:
    """Do what a training process does, except train; the numbers mean nothing. Returns the exit status."""
    job = Job.read(path)
    threading.Thread(target=end_with_parent, args=(job.lease,), daemon=True).start()
    try:
        with locked(job.folder / ".lock", patience=job.patience):
            if not (job.folder / "result.json").exists():
                _pretend(job)
    except BlockingIOError:
        print(f"error: another process trains run {job.run}", file=sys.stderr)
        return 2
    return 0


def _pretend(job: Job) -> None:
    rows = _resumed(job.folder / "resume.npz")
    write_json(job.folder / "config.json", {"run": job.run, "config": job.config.to_dict(), "seed": job.seed})
    while len(rows) < job.epochs:
        if (hang := job.options["hang"]) and len(rows) == 2 and not Path(hang).exists():
            Path(hang).touch()
            time.sleep(3600)
        time.sleep(job.options["pause"])
        rows.append(dict.fromkeys(COLUMNS, 0.5) | {"epoch": len(rows) + 1})
        _trace(job, len(rows))
        write_csv(job.folder / "history.csv", COLUMNS, rows)
        if len(rows) % RESUME_EPOCHS == 0:
            _save(job.folder / "resume.npz", rows)
    _finish(job, len(rows))
    (job.folder / "resume.npz").unlink(missing_ok=True)


def _finish(job: Job, epochs: int) -> None:
    scored = {"pair": 2, "left": "A_0001", "right": "A_0002", "label": 1, "score": 0.9, "score_at_best": 0.9}
    rows = [{"set": name, **scored} for name in ("train", "val", "test")]
    write_csv(job.folder / "predictions.csv", list(rows[0]), rows)
    result = {"run": job.run, "seed": job.seed, "status": "finished", "epochs_run": epochs, "seconds_total": 1.0}
    best = {"best_epoch": 1, "evaluated_epoch": 1, "val_accuracy_at_best": 0.6, "val_cross_entropy": 0.6}
    accuracies = {f"{row['set']}_accuracy": 1.0 for row in rows}
    write_json(job.folder / "result.json", {**result, **best, **accuracies})


def _resumed(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    import numpy as np  # only where needed: a thousand stand-ins should start fast

    with np.load(path, allow_pickle=False) as content:
        return json.loads(content["rows"].tobytes())


def _save(path: Path, rows: list[dict[str, Any]]) -> None:
    import numpy as np

    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, rows=np.frombuffer(json.dumps(rows).encode(), np.uint8))


def _trace(job: Job, epoch: int) -> None:
    if trace := job.options["trace"]:
        with open(trace, "a", encoding="utf-8") as file:
            file.write(f"{job.run} {epoch} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
