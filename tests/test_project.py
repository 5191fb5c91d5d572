"""The repository keeps its promises: one environment, notebooks without outputs, no images."""

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_notebooks_have_the_same_parameters_in_the_same_order():
    """A stage's has two more, before the others: which stage, and whether it trains."""
    blocks = {
        path.stem: json.loads(path.read_text())["cells"][1]["source"] for path in NOTEBOOKS if path.stem != "03_explore"
    }
    stage, train, *shared = blocks["01_stage"]
    assert stage.startswith("stage: str") and train.startswith("train: bool = True")
    assert shared == blocks["00_data"] == blocks["02_report"]


def test_environment_yml_installs_the_project_with_what_pyproject_asks_for():
    lines = (ROOT / "environment.yml").read_text().splitlines()
    assert [line.strip() for line in lines if line.startswith("      - ")] == ["- -e .[dev]"]
    bounds = next(line for line in lines if "python" in line)
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"] in bounds


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_are_committed_clean_and_small(path):
    cells = json.loads(path.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert len(cells) <= 30
    for cell in cells:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            assert len(source.splitlines()) <= 15
            assert not any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.walk(ast.parse(source)))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_parameters_stand_after_the_title_as_typed_commented_literals(path):
    cell = json.loads(path.read_text())["cells"][1]
    assert cell["metadata"]["tags"] == ["parameters"]
    source = "".join(cell["source"])
    for line, node in zip(source.splitlines(), ast.parse(source).body, strict=True):
        assert isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant)
        assert (
            node.annotation.id in ("str", "int", "float", "bool")
            and type(node.value.value).__name__ == node.annotation.id
        )
        assert "  # " in line


def test_rooms_import_from_lower_floors_only():
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "1 kept, 0 broken" in done.stdout, done.stdout + done.stderr


def test_every_room_is_in_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    rooms = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "lfwstudy").rglob("__init__.py")}
    assert len(rooms) > 12
    assert set(project["tool"]["setuptools"]["packages"]) == rooms | {"lfwstudy.notebooks"}


def test_no_images_arrays_or_models_are_tracked_but_the_known():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    kinds = (".jpg", ".jpeg", ".pgm", ".npz", ".npy", ".h5", ".html")
    # The sample report shows drawn faces only: see test_docs.py. The page is the report's template.
    known = ["docs/sample-report.html", "lfwstudy/report/page.html"]
    assert [name for name in tracked if name.endswith(kinds)] == known


def test_training_path_names_no_backend():
    # What only one backend can do stands in files named so, which are not needed on the other: see test_backends.py.
    rooms = [path for room in ("training", "network", "data") for path in (ROOT / "lfwstudy" / room).glob("*.py")]
    assert len(rooms) > 10
    for path in rooms:
        if path.name.startswith(("tensorflow_", "jax_")):
            continue
        for node in ast.parse(path.read_text()).body:  # at its top: what a function imports, it needs only when called
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found = {name.partition(".")[0] for name in names} & {"tensorflow", "jax", "torch", "matplotlib", "IPython"}
            assert not found, path


@pytest.mark.parametrize("folder", sorted((ROOT / "results").glob("*-*/")), ids=lambda path: path.name)
def test_committed_runs_are_whole_and_those_that_their_ladder_asks_for(folder):
    """Each run stands in results.csv, and has the configuration of its place in the ladder."""
    from lfwstudy.config import RunConfig
    from lfwstudy.runs.damage import problem_of
    from lfwstudy.study.results import Results
    from lfwstudy.system.files import read_csv

    study = Results.open(folder)
    runs = {row["run"] for row in read_csv(folder / "results.csv")}
    assert runs == set(study.store.ids()) == {row["run"] for row in study.all_rows()}
    for run in runs:
        assert problem_of(study.store, run) is None
        record = study.store.record(run)[0]
        config = RunConfig.from_dict(record["config"])
        assert config.identify(record["seed"], record["precision"], record["data_digest"]) == run
    for spec in (spec for rung in study.climb() for spec in rung.specs() if spec.run):
        assert RunConfig.from_dict(study.store.record(spec.run)[0]["config"]) == spec.config, spec.place
