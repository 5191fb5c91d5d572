"""Shared fixtures: a data cache of the test session's own, small drawn data sets, the real images where they are."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from lfwstudy.config import RunConfig
from lfwstudy.data import demo
from lfwstudy.data.cache import made_once
from lfwstudy.system.files import read_json, write_csv, write_json

# The profile `tiny`, in this process and in those that tests start.
_ROOT = str(Path(__file__).resolve().parents[1])
_TINY = str(Path(__file__).parent / "tiny_profile")
sys.path.insert(0, _TINY)
sys.modules.pop("sitecustomize", None)
assert sys.modules.get("sitecustomize") is None and __import__("sitecustomize")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_TINY, _ROOT, os.environ.get("PYTHONPATH")]))


def pytest_collection_modifyitems(items):
    """Files that take long come first: begun last, one would keep a single process busy while the others wait."""
    long = "whole", "browser", "run", "surroundings", "widgets", "cluster", "checkpoints", "recorder", "study"
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in long)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Fills a folder once for all processes of the session: `once(name, fill)`, in whichever of them asks first."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    return lambda name, fill: made_once(root / name, fill)


@pytest.fixture(scope="session", autouse=True)
def cache(once):
    """Every test of the session, and the processes they start, share one fresh data cache."""
    folder = once("cache", lambda folder: None)
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
def faces(once):
    """A small drawn data set laid out as a user's LFW folder: <folder>/lfw2/NAME/NAME_0001.jpg and pair files."""

    def draw(folder):
        demo.make_demo(folder, people=60, train_people=40, train_pairs=20, test_pairs=10, fold_pairs=2, seed=5)
        (folder / "demo").rename(folder / "lfw2")

    return once("faces", draw)


@pytest.fixture(scope="session")
def tiny():
    """A configuration that trains in seconds: 40 demo pairs per class, a sliver of the network."""
    return RunConfig().change(
        {
            "data.side": 69,
            "data.pairs_per_class": 40,
            "model.width": 0.05,
            "training.epochs": 3,
            "training.batch_size": 24,
            "training.learning_rate": 0.003,
        }
    )


@pytest.fixture(scope="session")
def data(tiny):
    """The bank and the pairs of `tiny`."""
    from lfwstudy.data.prepare import prepare_bank
    from lfwstudy.data.protocols import load_pairs

    return prepare_bank(tiny.data), load_pairs(tiny.data)


@pytest.fixture(scope="session")
def finished(tiny, data, once):
    """A finished run of `tiny`: its folder."""
    from lfwstudy.training.run import train

    return once("runs", lambda runs: train(tiny, 0, "float32", *data, runs / "run", "run")) / "run"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def played(tiny, once):
    """A small finished study to play with: two trained runs, the second one augmented, carried forward and kept."""
    return once("played", lambda folder: _play(tiny, folder / "study")) / "study"


def _play(tiny, out):
    from lfwstudy.data.prepare import prepare_bank
    from lfwstudy.data.protocols import load_pairs
    from lfwstudy.study.results import RESULT_COLUMNS
    from lfwstudy.study.settings import Settings
    from lfwstudy.training.run import train

    combination = Settings().combination()
    rows = []
    for stage, variant, changes in (
        ("base", "base", {}),
        ("augmentation", "impatient", {"training.augmented_copies": 1, "model.batchnorm": "before-activation"}),
    ):
        config = tiny.change({"data.side": 73, "training.epochs": 2, **changes})
        bank, pairs = prepare_bank(config.data), load_pairs(config.data)
        run = config.identify(0, "float32", pairs.digest(bank))
        best = stage == "augmentation"
        train(config, 0, "float32", bank, pairs, out / "runs" / run, run, keep_weights=best)
        result = read_json(out / "runs" / run / "result.json")
        if not best:  # so little training decides nothing: the second run is to be the better one
            result["val_accuracy_at_best"] = 0.25
            write_json(out / "runs" / run / "result.json", result)
        rows.append(
            {
                **result,
                **combination,
                "stage": stage,
                "variant": variant,
                "seed": 0,
                "run": run,
                "carried_forward": best,
                "dataset": "demo",
                "profile": "quick",
            }
        )
    write_csv(out / "results.csv", RESULT_COLUMNS, rows)
    write_json(
        out / "study.json",
        {
            "dataset": "demo",
            "profile": "quick",
            "precision": "float32",
            "combinations": [{**combination, "seeds": 1, "stages": ["base", "augmentation"]}],
        },
    )


@pytest.fixture
def trained(monkeypatch):
    """Stands in for training: writes finished runs with validation scores by variant; returns the list of jobs."""
    from lfwstudy.runs import dispatch
    from tests.support.runs import finish_run

    done, scores = [], {}

    def run(jobs, cluster="", show=None):
        for job in jobs:
            done.append(job)
            score, entropy = scores.get(job.title.split(",")[0], (0.6, 0.65))
            finish_run(job, score, entropy)
        return {}

    monkeypatch.setattr(dispatch, "run", run)
    return done, scores


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium. Of one module: while it lives no other asyncio loop can run in this thread."""
    path = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if not path:
        pytest.skip("no chromium or google-chrome on PATH")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def serious_findings(page, context=None):
    """What axe finds in a page (or the part of it that a selector names) that is serious or critical."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    ).Axe()
    found = axe.run(page, context=context).response["violations"]
    return [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")]
