"""Shared fixtures: a data cache of the test session's own, small drawn data sets, the real images where they are."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from lfwstudy import demo
from lfwstudy.config import RunConfig

# The profile `tiny`, in this process and in those that tests start.
_TINY = str(Path(__file__).parent / "tiny_profile")
sys.path.insert(0, _TINY)
sys.modules.pop("sitecustomize", None)
assert sys.modules.get("sitecustomize") is None and __import__("sitecustomize")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_TINY, os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Every test of the session, and the processes they start, share one fresh data cache."""
    folder = tmp_path_factory.mktemp("cache")
    given = {name: os.environ.pop(name, None) for name in ("LFWSTUDY_CACHE", "LFWSTUDY_DATA")}
    os.environ["LFWSTUDY_CACHE"] = str(folder)
    yield folder
    for name, value in given.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


# Read before the fixture above hides it from the code under test.
_REAL = os.environ.get("LFWSTUDY_DATA", "")


@pytest.fixture(scope="session")
def lfw_dir():
    """Folder with the real images and pair files."""
    if not _REAL or not list(Path(_REAL).glob("lfw-deepfunneled*")):
        pytest.skip("the real images are not here: $LFWSTUDY_DATA names no folder with lfw-deepfunneled")
    return str(Path(_REAL).absolute())


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    """A small drawn data set laid out as a user's LFW folder: <folder>/lfw2/NAME/NAME_0001.jpg and pair files."""
    folder = tmp_path_factory.mktemp("faces") / "data"
    demo.make_demo(folder, people=60, train_people=40, train_pairs=20, test_pairs=10, fold_pairs=2, seed=5)
    (folder / "demo").rename(folder / "lfw2")
    return folder


@pytest.fixture(scope="session")
def tiny():
    """A configuration that trains in seconds: 40 demo pairs per class, a sliver of the network."""
    return RunConfig().change({
        "data.side": 69, "data.pairs_per_class": 40, "model.width": 0.05, "training.epochs": 3,
        "training.batch_size": 24, "training.learning_rate": 0.003})


@pytest.fixture
def rng():
    return np.random.default_rng(0)
