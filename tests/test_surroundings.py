"""The user's surroundings decide nothing: current folder, configuration files, shell, terminal, names of folders."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pandas as pd
import pytest

from lfwstudy import widgets, workflow
from lfwstudy.cli import main
from lfwstudy.errors import ConfigError
from lfwstudy.report import figures, notebooks, pages, parameters
from lfwstudy.report.parameters import check_parameters
from lfwstudy.runs.failure import Failure
from lfwstudy.study.settings import Settings, default_root
from lfwstudy.study.study import Study
from lfwstudy.system import processes
from lfwstudy.system.backend import keras_backend
from lfwstudy.system.files import given_path, read_json, write_json
from tests.support.commands import lfwstudy, python
from tests.support.notebooks import write_notebook

ROOT = Path(__file__).resolve().parents[1]


def poison(folder, *names):
    """Modules that must not be imported."""
    for name in names:
        (folder / f"{name}.py").write_text(f"raise SystemExit('{name}.py of the current folder was imported')")


# -- the current folder -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", ":", "{}:", ".:{}"])
def test_our_processes_import_nothing_from_the_current_folder(tmp_path, monkeypatch, path):
    poison(tmp_path, "random", "json", "lfwstudy", "sitecustomize", "usercustomize")
    monkeypatch.setenv("PYTHONPATH", path.format(os.environ["PYTHONPATH"]))
    code = "import json, random, lfwstudy.system.machine; print('fine')"
    done = python(code, cwd=tmp_path, env=processes.environment())
    assert done.stdout == "fine\n", done.stderr


def test_every_process_of_ours_has_that_environment():
    """Whoever adds a process finds this: it starts with processes.environment()."""
    for source in (ROOT / "lfwstudy").rglob("*.py"):
        for call in ast.walk(ast.parse(source.read_text())):
            starts = isinstance(call, ast.Call) and ast.unparse(call.func) in ("subprocess.Popen", "subprocess.run")
            if starts and not ast.unparse(call.args[0]).startswith("[browser,"):
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}.get("env", "")
                assert given.startswith("environment(") or given == "variables", f"{source.name}:{call.lineno}"


@pytest.mark.parametrize(
    "origin, found",
    [
        ({"url": ROOT.as_uri(), "dir_info": {"editable": True}}, True),
        ({"url": ROOT.as_uri(), "dir_info": {}}, False),
        ({"url": "file:///elsewhere", "dir_info": {"editable": True}}, False),
        (None, False),
    ],
)
def test_a_checkout_is_on_the_path_only_where_it_is_not_installed(tmp_path, monkeypatch, origin, found):
    if origin:
        (tmp_path / "lfwstudy-0.1.0.dist-info").mkdir()
        (tmp_path / "lfwstudy-0.1.0.dist-info" / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: lfwstudy\nVersion: 0.1.0\n"
        )
        (tmp_path / "lfwstudy-0.1.0.dist-info" / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.setattr(processes.site, "getsitepackages", lambda: [str(tmp_path)])
    monkeypatch.setattr(processes.site, "getusersitepackages", lambda: str(tmp_path / "none"))
    assert processes._is_installed.__wrapped__() is found


def test_python_m_takes_nothing_from_the_current_folder(tmp_path):
    poison(tmp_path, "argparse", "random", "numpy", "csv")
    done = lfwstudy("run", "--stages", "bsae", cwd=tmp_path)
    assert done.returncode == 2 and "did you mean 'base'" in done.stderr, done.stderr


def test_workers_on_this_machine_take_nothing_from_the_current_folder(tmp_path, monkeypatch):
    cluster = pytest.importorskip("lfwstudy.runs.cluster.scheduler")
    poison(tmp_path, "tempfile", "random", "multiprocessing", "distributed")
    monkeypatch.chdir(tmp_path)
    for name in ("PYTHONSAFEPATH", "PYTHONPATH"):  # the tests' own path imports much before the current folder is on it
        monkeypatch.delenv(name, raising=False)
    with cluster.started("local:1") as address:
        assert "1 worker " in cluster.describe(address)
    assert "PYTHONSAFEPATH" not in os.environ


# -- pages ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """Executes notebooks of the given cells as pages of a study in a folder below tmp_path; returns failures and the report."""

    def execute(*cells, folder="study", books="books"):
        study = Study(Settings(out=str(tmp_path / folder), precision="float32"))
        page = pages.Page("page", "page", "A page", "page.ipynb", {})
        write_notebook(tmp_path / books / "page.ipynb", *cells)
        monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / books)
        monkeypatch.setattr(pages, "all_pages", lambda study: [page])
        failures = workflow._render_pages(study, [page])
        return failures, pages.render(study).read_text()

    return execute


@pytest.mark.notebook
def test_pages_come_out_the_same_whatever_the_surroundings(executed, tmp_path, monkeypatch):
    books = "books {0} %s"
    (tmp_path / books).mkdir()
    poison(tmp_path / books, "colorsys", "numpy")
    poison(tmp_path, "random", "papermill", "ipykernel_launcher", "nbformat")
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "jupyter" / "kernels" / "python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text(
        json.dumps({"argv": ["false"], "display_name": "Python 3", "language": "python"})
    )
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("raised = 1\nimport builtins; builtins.started = 1")
    (tmp_path / "startup.py").write_text("import builtins; builtins.started = 1")
    (tmp_path / "matplotlibrc").write_text("axes.facecolor: black\n")
    for name, value in {
        "JUPYTER_PATH": tmp_path / "jupyter",
        "IPYTHONDIR": tmp_path / "ipython",
        "MPLBACKEND": "nonsense",
        "PYTHONSTARTUP": tmp_path / "startup.py",
        "MATPLOTLIBRC": tmp_path / "matplotlibrc",
        "PYTHONINSPECT": "1",
        "JUPYTER_RUNTIME_DIR": "/dev/null/runtime",
        "PYTHONWARNINGS": "error",
    }.items():
        monkeypatch.setenv(name, str(value))
    failures, page = executed(
        "import colorsys, random, sys, numpy, matplotlib\nprint(sys.executable, '' in sys.path, '.' in sys.path)",
        "print('started', 'started' in dir(__builtins__))\nprint(matplotlib.rcParams['axes.facecolor'])",
        folder="run{1} {out} %d 'q' \"Łódź\"",
        books=books,
    )
    assert failures == []
    assert f"{sys.executable} False False" in page and "started False" in page and "white" in page


@pytest.mark.notebook
def test_templates_of_the_user_or_the_current_folder_do_not_make_the_report(executed, tmp_path, monkeypatch):
    for folder in (tmp_path / "here" / "basic", tmp_path / "jupyter" / "nbconvert" / "templates" / "basic"):
        folder.mkdir(parents=True)
        (folder / "conf.json").write_text('{"mimetypes": {"text/html": true}}')
        (folder / "index.html.j2").write_text("{{ 'taken' }} from elsewhere")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    page = executed("print('as it is')")[1]
    assert "as it is" in page and "from elsewhere" not in page


@pytest.mark.notebook
def test_no_home_folder_stands_in_the_report(executed, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    failures, page = executed(
        f"print({str(tmp_path / 'printed.txt')!r})", f"raise OSError(2, 'gone', {str(tmp_path / 'lost.txt')!r})"
    )
    assert "lost.txt" in failures[0]
    assert page.count("~/lost.txt") >= 2 and "~/printed.txt" in page and str(tmp_path) not in page


def test_an_older_notebook_does_not_stand_for_one_that_was_not_written(tmp_path):
    (tmp_path / "page.ipynb").write_text('{"older": 1}')
    (tmp_path / "job.json").write_text(
        json.dumps({"source": "x/y.ipynb", "target": str(tmp_path / "page.ipynb"), "parameters": {}})
    )
    silent = (
        "import sys, papermill; papermill.execute_notebook = lambda *_, **__: None\n"
        "from lfwstudy.report import notebooks; from lfwstudy.system import processes; processes.end_with_parent = lambda: None; sys.exit(notebooks.main(sys.argv[1]))"
    )
    done = python(silent, tmp_path / "job.json")
    assert done.returncode == 1 and "papermill ended without writing it" in Failure.read(tmp_path).message, done.stderr


@pytest.mark.parametrize(
    "status, text, told",
    [
        (
            1,
            "Traceback\nModuleNotFoundError: No module named 'papermill'\n\n",
            "its process failed with status 1: ModuleNotFoundError: No module named 'papermill'",
        ),
        (-9, "", "its process was ended by signal 9 (out of memory?)"),
        (1, "noise\nerror: not this\n", "told"),
    ],
)
def test_a_page_whose_process_fails_says_why(tmp_path, status, text, told):
    page, folder = pages.Page("page", "page", "A page", "page.ipynb", {}), tempfile.TemporaryDirectory()
    Path(folder.name, "log.txt").write_text(text)
    if told == "told":
        Failure("crash", told).write(Path(folder.name))
    desk = workflow._Desk(Study(Settings(out=str(tmp_path), precision="float32")), [])
    (tmp_path / "notebooks").mkdir()
    write_json(tmp_path / "notebooks" / "page.ipynb", {"metadata": {}})
    desk._record(notebooks.Execution(page, SimpleNamespace(wait=lambda: status), folder))
    assert desk.failures == [f"page: {told}"]
    assert read_json(tmp_path / "notebooks" / "page.ipynb")["metadata"] == {"lfwstudy_gap": f"page: {told}"}


# -- parameters of notebooks ------------------------------------------------------------------------------------------

DECLARED = 'stage: str = "base"  # which\nnumber: int = 1  # whole\nrate: float = 0.5  # a part\ntest: bool = True  # yes or no\n'


@pytest.mark.parametrize(
    "given, told",
    [
        ("out = 20240101", "did you mean|Known: stage, number, rate, test"),
        ('stag = "batchnorm"', "did you mean 'stage'"),
        ("stage = 20240101", r"stage must be text, got 20240101; .* -r stage TEXT"),
        ('stage = ["base"]', "must be text, got ..base"),
        ("stage = None", "must be text, got None"),
        ('number = "one"', "number must be a whole number, got 'one'; .* -p number 1"),
        ("number = True", "whole number, got True"),
        ("number = 2.0", "whole number, got 2.0"),
        ('rate = "half"', "rate must be a number"),
        ("test = 1", "test must be true or false, got 1"),
        (f'number = "{"x" * 999}"', r"got 'x{79}; "),
    ],
)
def test_a_parameter_that_cannot_be_meant_is_refused(given, told):
    namespace = {"In": ["", DECLARED, f"# Parameters\n{given}\n", "%matplotlib inline", "check_parameters(globals())"]}
    exec(DECLARED + given, namespace)
    with pytest.raises(ConfigError, match=told):
        check_parameters(namespace)


@pytest.mark.parametrize("given", ['stage = "stride"\nrate = 1', "", "number = -3"])
def test_parameters_of_their_kinds_are_taken(given):
    namespace = {
        "In": [
            "",
            "import os",
            DECLARED,
            *([f"# Parameters\n{given}\n"] if given else []),
            "x: int = 1; y = 2",
            "mine: list[int] = []",
            "# Parameters of mine\nimport sys",
        ]
    }
    exec(DECLARED + given, namespace)
    check_parameters(namespace)
    check_parameters({})


@pytest.mark.parametrize("open_for_notebook", [parameters.open_for_notebook, widgets.open_for_notebook])
def test_no_study_is_opened_for_parameters_that_cannot_be_meant(open_for_notebook):
    namespace = {"In": ["", DECLARED, '# Parameters\nnumber = "one"\n']}
    exec(namespace["In"][1] + namespace["In"][2], namespace)
    with pytest.raises(ConfigError, match="number must be a whole number"):
        open_for_notebook(namespace)


@pytest.mark.parametrize("path", sorted(notebooks.NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_notebook_opens_its_study_in_the_first_cell_after_its_parameters(path):
    code = [cell for cell in read_json(path)["cells"] if cell["cell_type"] == "code"]
    assert "parameters" in code[0]["metadata"]["tags"] and "open_for_notebook(globals())" in "".join(code[1]["source"])


@pytest.mark.long
@pytest.mark.notebook
@pytest.mark.parametrize(
    "name, options, told",
    [
        ("01_stage", ["-p", "stag", "batchnorm"], "ConfigError: unknown parameter 'stag'; did you mean 'stage'?"),
        ("03_explore", ["-p", "number", "one"], "ConfigError: number must be a whole number, got 'one'"),
    ],
)
def test_a_bare_papermill_is_told_at_the_first_cell(tmp_path, name, options, told):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "papermill",
            "--no-progress-bar",
            notebooks.NOTEBOOKS / f"{name}.ipynb",
            "out.ipynb",
            *options,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "JUPYTER_PREFER_ENV_PATH": "1"},
    )
    assert done.returncode and told in done.stderr
    executed = [c for c in json.loads((tmp_path / "out.ipynb").read_text())["cells"] if c.get("execution_count")]
    assert len(executed) <= 3  # parameters, those given, and the first that uses them


# -- Keras ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["theano", "torch", "numpy", "openvino", "cntk", "x" * 200, "TensorFlow"])
@pytest.mark.parametrize("place", ["file", "variable"])
def test_a_backend_that_cannot_train_is_named_with_where_it_is_set(tmp_path, monkeypatch, name, place):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    if place == "file":
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
        (tmp_path / "keras.json").write_text(json.dumps({"backend": name}))
    else:
        monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(ConfigError, match=f"{name[:70]}.*KERAS_BACKEND=tensorflow.*{tmp_path}/keras.json") as caught:
        keras_backend()
    assert len(str(caught.value)) < 300 + len(str(tmp_path)) * 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--stages", "base"),
        ("run", "--dry-run"),
        ("report", "--out", "{study}"),
        ("bench",),
    ],
)
def test_every_command_that_uses_keras_names_a_backend_that_cannot_train(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    study = tmp_path / "study"
    study.mkdir()
    (study / "study.json").write_text(
        json.dumps(
            {
                "dataset": "demo",
                "profile": "quick",
                "precision": "float32",
                "combinations": [{**Settings().combination(), "seeds": 1, "stages": ["base"]}],
            }
        )
    )
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    assert main([argument.format(study=study) for argument in arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: $KERAS_BACKEND") and "keras.json" in told and told.count("\n") == 1
    assert [path.name for path in study.iterdir()] == ["study.json"] and not (tmp_path / "runs").exists()


@pytest.mark.long
@pytest.mark.parametrize("ours", [True, False])
def test_keras_computes_alike_whatever_keras_json_says(tmp_path, monkeypatch, ours):
    """In processes of ours and in a user's own, a notebook by hand."""
    (tmp_path / "keras.json").write_text(
        json.dumps({"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"})
    )
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    asked = "import lfwstudy.network.siamese, keras; c = keras.config; print(c.floatx(), c.epsilon(), c.image_data_format())"
    done = python(asked, env=processes.environment() if ours else None)
    assert done.stdout == "float32 1e-07 channels_last\n", done.stderr


@pytest.mark.long
def test_processes_of_ours_start_whatever_keras_cannot_read(tmp_path, monkeypatch):
    (tmp_path / "keras.json").write_text(json.dumps({"floatx": "float8", "epsilon": 1, "backend": "tensorflow"}))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_MAX_EPOCHS", "1")
    code = "from lfwstudy.system.backend import import_keras; print(import_keras().config.max_epochs())"
    done = python(code, env=processes.environment())
    assert done.stdout == "None\n", done.stderr
    done = python(code)
    assert f"ConfigError: {tmp_path}/keras.json: Keras cannot start with it" in done.stderr.splitlines()[-1]


def test_a_broken_installation_is_not_blamed_on_keras_json(tmp_path, monkeypatch):
    (tmp_path / "keras.py").write_text("raise ValueError('numpy.dtype size changed')")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    code = "from lfwstudy.system.backend import import_keras; import_keras()"
    done = python(code, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.stderr.splitlines()[-1] == "ValueError: numpy.dtype size changed"


# -- figures ----------------------------------------------------------------------------------------------------------


def test_figures_are_the_same_whatever_the_user_s_matplotlibrc_says():
    def drawn():
        row = {"epoch": 1, "accuracy": 0.5, "val_accuracy": 0.5, "cross_entropy": 0.7, "val_cross_entropy": 0.7}
        row |= {"variant": "base", "run": "0"}
        return figures.captioned(
            figures.learning_curves(pd.DataFrame([row, {**row, "epoch": 2}]), "source"), "caption"
        ).data

    plain = drawn()
    with matplotlib.rc_context(
        {
            "text.usetex": True,
            "axes.facecolor": "black",
            "text.color": "yellow",
            "font.family": "serif",
            "font.size": 20,
            "lines.linewidth": 9,
            "savefig.facecolor": "red",
            "svg.fonttype": "none",
        }
    ):
        assert drawn() == plain
        assert matplotlib.rcParams["font.size"] == 20


# -- terminal, folders, installation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=pytest.mark.long)])
def test_a_terminal_without_a_letter_gets_another(tmp_path, encoding):
    given = ("--data-dir", tmp_path / "Łódź", "--dataset", "lfw")
    done = lfwstudy("data", *given, encoding=encoding, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert done.returncode == 2 and "no such folder" in done.stderr and done.stderr.count("\n") == 1
    code = (
        "from lfwstudy import cli; from lfwstudy.data import summary\n"
        "summary.describe_data = lambda *_: ['report: Łódź']; raise SystemExit(cli.main(['data']))"
    )
    done = python(code, encoding=encoding, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert done.returncode == 0 and done.stdout.startswith("report: ") and done.stdout.count("\n") == 1, done.stderr


@pytest.mark.parametrize(
    "text, ours",
    [
        ("[project]\n", False),
        ('[project]\nname = "thesis"\n', False),
        ("[[[", False),
        ("", False),
        ('[tool.poetry]\nname = "lfwstudy"\n', False),
        ('project = "lfwstudy"', False),
        ('[project]\nname = "lfwstudy"\n', True),
    ],
)
def test_a_checkout_is_known_by_its_name(tmp_path, monkeypatch, text, ours):
    (tmp_path / "pyproject.toml").write_text(text)
    (tmp_path / "notes").mkdir()
    monkeypatch.chdir(tmp_path / "notes")
    assert default_root() == (tmp_path if ours else tmp_path / "notes")


@pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME", "LFWSTUDY_CACHE"])
def test_a_cache_that_cannot_be_written_is_named_with_what_to_set(variable, tmp_path):
    (tmp_path / "file").write_text("")
    without = {name: value for name, value in os.environ.items() if name not in ("LFWSTUDY_CACHE", "XDG_CACHE_HOME")}
    done = lfwstudy("data", "--side", "31", env={**without, variable: str(tmp_path / "file")})
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "LFWSTUDY_CACHE" in done.stderr, done.stderr


def test_an_installed_package_has_the_notebooks_and_the_ladders(tmp_path):
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    source = tmp_path / "source"
    for name in ("lfwstudy", "notebooks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    # The installed setuptools may be older than the licence's notation.
    settings = re.sub("^license.*\n", "", (ROOT / "pyproject.toml").read_text(), flags=re.M)
    (source / "pyproject.toml").write_text(settings)
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    done = python(build, cwd=source)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    asked = "import lfwstudy.ladder; from lfwstudy.report.notebooks import NOTEBOOKS; print(NOTEBOOKS, *sorted(path.name for path in NOTEBOOKS.iterdir()))"
    found = {**os.environ, "PYTHONPATH": str(tmp_path / "installed"), "PYTHONSAFEPATH": "1"}
    done = python(asked, cwd=tmp_path, env=found)
    names = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert done.stdout.split() == [str(tmp_path / "installed" / "lfwstudy" / "notebooks"), *names], done.stderr


@pytest.mark.parametrize(
    "version, right", [((3, 10, 9), False), ((3, 11, 0), True), ((3, 13, 5), True), ((3, 14, 0), False)]
)
def test_make_asks_for_a_python_that_tensorflow_has_and_begins_again_while_it_is_not_ready(tmp_path, version, right):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / "pyproject.toml").write_text("")
    python = tmp_path / "python"  # of that version, or so it says; what it is asked for is noted
    python.write_text(f"""#!{sys.executable}
import pathlib, sys
if sys.argv[1] == "-c":
    sys.version_info = {version}
    exec(sys.argv[2])
else:
    print("asked", *sys.argv[1:], flush=True)
    for name in ("python", "lab"):
        path = pathlib.Path(sys.argv[-1], "bin", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\\nexit 0")
        path.chmod(0o755)
""")
    python.chmod(0o755)
    first = subprocess.run(["make", "setup", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True)
    if not right:
        assert first.returncode == 2 and "3.11 to 3.13" in first.stdout and "asked" not in first.stdout
        return
    assert first.returncode == 0 and "asked -m venv --clear .venv" in first.stdout, first.stdout + first.stderr
    os.utime(tmp_path / "pyproject.toml", (2e9, 2e9))  # other packages are wanted: into the same environment
    second = subprocess.run(["make", "setup", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True)
    assert second.returncode == 0 and "asked -m venv .venv" in second.stdout


def test_a_home_that_does_not_exist_is_a_plain_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert given_path("~/lfw") == Path("/home/somebody/lfw")
    assert given_path("~no-such-user/lfw") == tmp_path / "~no-such-user" / "lfw"
