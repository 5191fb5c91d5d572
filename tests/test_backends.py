"""The training path on JAX, on a machine that has neither TensorFlow nor anything for notebooks."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from lfwstudy.cli import main
from lfwstudy.data.bank import load_bank
from lfwstudy.data.prepare import prepare_bank
from lfwstudy.data.protocols import load_pairs
from lfwstudy.runs.damage import problem_of
from lfwstudy.runs.job import Job
from lfwstudy.runs.store import Store
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system.files import read_csv, read_json
from tests.support.commands import needs_jax
from tests.support.one_batch import compute

# Packages that such a machine does not have: importing them fails as it would there.
_ABSENT = (
    "tensorflow",
    "pandas",
    "matplotlib",
    "seaborn",
    "IPython",
    "papermill",
    "nbconvert",
    "nbformat",
    "statsmodels",
    "cv2",
    "jinja2",
    "ipywidgets",
    "tqdm",
)
_RUN = """
import sys

class Absent:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from lfwstudy.{module} import main
sys.exit(main({arguments}))
"""


def on_such_a_machine(module, arguments, *argv):
    """Run a module's main on JAX where the packages are absent."""
    code = _RUN.format(absent=_ABSENT, module=module, arguments=arguments)
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, argv)],
        text=True,
        stdin=subprocess.PIPE,  # stays open: a training ends with its parent
        stderr=subprocess.PIPE,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
    ) as process:
        told = process.stderr.read()
    assert process.returncode == 0, told


@pytest.mark.long
@needs_jax
def test_jax_computes_what_tensorflow_does(tmp_path):
    compute(tmp_path / "w.weights.h5", tmp_path / "tensorflow.npz")
    subprocess.run(
        [sys.executable, "-m", "tests.support.one_batch", str(tmp_path / "w.weights.h5"), str(tmp_path / "jax.npz")],
        check=True,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
    )
    ours, theirs = (np.load(tmp_path / f"{name}.npz") for name in ("tensorflow", "jax"))
    assert ours.files == theirs.files and len(ours.files) == 3 + 2 * 7
    for name in ours.files:
        np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.long
@needs_jax
@pytest.mark.parametrize(
    "changes",
    [
        {
            "training.augmented_copies": 1,
            "model.batchnorm": "before-activation",
            "model.head_l2": 0.01,
            "training.separate_twins": True,
            "training.stretch_copies": True,
        },
        {
            "model.architecture": "compact",
            "model.head": "cosine",
            "training.contrast": 1.0,
            "training.flip": True,
            "training.drawn_people": 16,
            "training.batch_size": 8,
            "training.optimizer": "adamw",
            "model.cohort": "all",
            "model.whitening": 0.5,
            "training.average": 0.9,
            "training.cover": 0.5,
            "model.flip_average": True,
            "model.pooling": "generalised-mean",
        },
        {
            "model.architecture": "shallow",
            "model.head": "cosine",
            "training.contrast": 1.0,
            "training.drawn_people": 16,
            "training.batch_size": 8,
            "training.pairs_per_person": 2,
            "training.least_pictures": 2,
        },
    ],
)
def test_jax_trains_without_tensorflow_and_its_run_counts(tiny, tmp_path, changes):
    config = tiny.change(changes)
    bank, pairs = prepare_bank(config.data), load_pairs(config.data)
    run = config.identify(0, "float32", pairs.digest(bank))
    folder = tmp_path / "runs" / run
    Job(run, config, folder).write(tmp_path / "job.json")
    on_such_a_machine("runs.training_process", "sys.argv[1]", tmp_path / "job.json")
    assert read_json(folder / "result.json")["backend"] == "jax"
    # The id does not name the backend: a finished run brought from elsewhere counts.
    assert Store(tmp_path / "runs").is_finished(run) and problem_of(Store(tmp_path / "runs"), run) is None
    rows = read_csv(folder / "history.csv")
    assert len(rows) == 3 and np.isfinite([float(row["val_loss"]) for row in rows]).all()


_POOLING = """
import jax, numpy as np
from keras import layers
from lfwstudy.network.layers import Pooling

rng = np.random.default_rng(0)
for stride in (1, 2):
    for side in (9, 10):
        # Rounded and cut off at 0, as after a ReLU: many values of a window are equal.
        images = np.maximum(rng.standard_normal((2, side, side, 3)), 0).round(1).astype("float32")
        ours, keras = Pooling(stride), layers.MaxPooling2D(2, stride)
        weights = rng.standard_normal(keras(images).shape).astype("float32")
        values, slopes = zip(*(jax.value_and_grad(lambda x: (layer(x) * weights).sum())(jax.numpy.asarray(images))
                               for layer in (ours, keras)))
        assert (np.asarray(ours(images)) == np.asarray(keras(images))).all()
        assert (np.asarray(slopes[0]) == np.asarray(slopes[1])).all() and np.abs(slopes[0]).max() > 0
        found = jax.jit(jax.grad(lambda x: ours(x).sum())).lower(images).as_text()
        assert "scatter" not in found, "its gradient depends on the order of sums"
assert Pooling.from_config(Pooling(1, name="p").get_config()).strides == (1, 1)
"""


@pytest.mark.long
@needs_jax
def test_pooling_on_jax_is_that_of_keras_without_a_scatter():
    subprocess.run(
        [sys.executable, "-c", _POOLING], check=True, env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    )


_CACHE = """
import jax, sys
from pathlib import Path
from lfwstudy.system import backend
backend.import_keras()
backend.keep_compiled(Path(sys.argv[1]))
assert jax.config.jax_compilation_cache_dir is None  # a processor compiles quickly
backend.device_name = lambda: "an accelerator"
backend.keep_compiled(Path(sys.argv[1]))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.jit(lambda x: (x @ x).sum())(jax.numpy.ones((64, 64)))
"""


@pytest.mark.long
@needs_jax
def test_an_accelerator_keeps_its_programs(tmp_path):
    subprocess.run(
        [sys.executable, "-c", _CACHE, str(tmp_path)],
        check=True,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
    )
    assert list(tmp_path.iterdir())


@pytest.mark.long
@needs_jax
def test_the_bench_measures_our_step_on_jax(tiny, tmp_path):
    (tmp_path / "job.json").write_text(json.dumps({"config": tiny.to_dict(), "precision": "float32"}))
    done = subprocess.run(
        [sys.executable, "-m", "lfwstudy.bench.contestant", "ours", str(tmp_path / "job.json"), "0"],
        input="go\n",
        text=True,
        capture_output=True,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    told = {key: value for line in done.stdout.splitlines() for key, value in json.loads(line).items()}
    assert told["backend"] == "jax" and told["step_seconds"] > 0 and told["images_seconds"] > 0


def test_all_pictures_are_packed_where_wanted(faces, tmp_path, capsys):
    packed, command = (
        tmp_path / "packed",
        ["data", "--dataset", "lfw-a", "--data-dir", str(faces), "--crop", "144", "--side", "32"],
    )
    assert main([*command, "--pack", str(packed), "--all-images"]) == 0
    assert len(load_bank(packed / "lfw-a-144-32-bilinear.npz")) == len(list(faces.glob("lfw2/*/*.jpg")))
    assert {path.name for path in packed.glob("*.txt")} == {
        "pairsDevTrain.txt",
        "pairsDevTest.txt",
        "people.txt",
        "peopleDevTrain.txt",
        "pairs.txt",
    }
    assert main([*command, "--all-images"]) == 2 and "--pack" in capsys.readouterr().err


def test_what_is_not_all_pictures_is_not_packed_as_such(faces, tmp_path, capsys):
    some, all_of_them, command = (
        tmp_path / "some",
        tmp_path / "all",
        ["data", "--dataset", "lfw-a", "--crop", "144", "--side", "32"],
    )
    assert main([*command, "--data-dir", str(faces), "--pack", str(some)]) == 0
    packing = [*command, "--data-dir", str(some), "--pack", str(all_of_them), "--all-images"]
    for name in ("pairs.txt", "peopleDevTrain.txt"):
        shutil.copy(faces / name, some / name)
    assert main(packing) == 2 and "missing)" in capsys.readouterr().err
    assert main(packing[:-1]) == 0 and (all_of_them / "people.txt").is_file()
    shutil.rmtree(all_of_them)
    (some / "peopleDevTrain.txt").unlink()
    assert main(packing) == 2 and "peopleDevTrain.txt is needed" in capsys.readouterr().err
    assert not all_of_them.exists()


@pytest.mark.long
@needs_jax
def test_a_ladder_trained_elsewhere_from_packed_pictures_is_only_rendered_here(faces, tmp_path):
    packed, out = tmp_path / "packed", tmp_path / "study"
    assert main(["data", "--dataset", "lfw-a", "--data-dir", str(faces), "--side", "69", "--pack", str(packed)]) == 0
    named = load_bank(packed / "lfw-a-250-69-bilinear.npz")
    assert 0 < len(named) < len(list(faces.glob("lfw2/*/*.jpg")))
    on_such_a_machine(
        "cli",
        "sys.argv[1:]",
        "run",
        "--dataset",
        "lfw-a",
        "--data-dir",
        packed,
        "--profile",
        "tiny",
        "--stages",
        "base",
        "--no-report",
        "--out",
        out,
    )
    # The same runs as from all images, finished; nothing is left to train.
    study = Study(Settings(dataset="lfw-a", data_dir=str(faces), profile="tiny", stages="base", out=str(out)))
    [rung] = study.climb()
    assert study.missing(rung.candidates[0].specs) == [] and study.rows([rung])[0]["backend"] == "jax"
    assert not (out / "report.html").exists() and (out / "results.csv").is_file()
