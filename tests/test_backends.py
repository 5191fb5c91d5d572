"""The training path on JAX, on a machine that has neither TensorFlow nor anything for notebooks."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from lfwstudy.datasets import load_pairs, prepare_bank
from lfwstudy.files import read_csv, read_json
from lfwstudy.runs import Store

# Packages that such a machine does not have: importing them fails as it would there.
_ABSENT = ("tensorflow", "pandas", "matplotlib", "seaborn", "IPython", "papermill", "nbconvert", "nbformat", "statsmodels",
           "cv2", "jinja2", "ipywidgets")
_RUN = """
import sys

class Absent:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from lfwstudy.train import main
sys.exit(main(sys.argv[1]))
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.parametrize("changes", [
    {"training.augmented_copies": 1, "model.batchnorm": "before-activation"},
    {"model.architecture": "compact", "model.head": "cosine", "training.contrast": 1.0, "training.flip": True}])
def test_jax_trains_without_tensorflow_and_its_run_counts(tiny, tmp_path, changes):
    config = tiny.change(changes)
    bank, pairs = prepare_bank(config.data), load_pairs(config.data)
    run = config.identify(0, "float32", pairs.digest(bank))
    folder = tmp_path / "runs" / run
    job = {"task": "train", "config": config.to_dict(), "seed": 0, "precision": "float32", "run": run, "data_dir": "",
           "folder": str(folder), "score_test": True, "keep_weights": False}
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = subprocess.run([sys.executable, "-c", _RUN.format(absent=_ABSENT), str(tmp_path / "job.json")], text=True,
                          capture_output=True, env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"})
    assert done.returncode == 0, done.stderr
    assert read_json(folder / "result.json")["backend"] == "jax"
    # The id does not name the backend: a finished run brought from elsewhere counts.
    assert Store(tmp_path / "runs").is_finished(run) and Store(tmp_path / "runs").set_aside_if_damaged(run) is None
    rows = read_csv(folder / "history.csv")
    assert len(rows) == 3 and np.isfinite([float(row["val_loss"]) for row in rows]).all()
