"""What comes from outside executes nothing and breaks out of nothing: names, parameters, models, banks, runs."""

import ast
import itertools
import json
import os
import pickle
import re
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lfwstudy.config import RunConfig
from lfwstudy.data.bank import load_bank
from lfwstudy.data.pairs import is_name
from lfwstudy.errors import DataError, StudyError, one_line
from lfwstudy.report import pages
from lfwstudy.report.table import Column, Table
from lfwstudy.runs.job import Job
from lfwstudy.runs.process import train_in_process
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from lfwstudy.system.files import cell, locked, write_csv, write_json
from tests.support.commands import lfwstudy, study_in

ROOT = Path(__file__).resolve().parents[1]

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; import os; os.abort() #",
    '"""',
    "\\",
    "{{7*7}}",
    "a\nimport os",
    "`id`",
    "$(id)",
    "&amp;",
    "%(x)s",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_escaped_in_tables(name):
    page = Table([Column(name)], [{name: name}], name, name).to_html()
    assert "<script" not in page and "<img" not in page
    assert page.count("<table") == 1


@pytest.mark.parametrize("value", HOSTILE)
def test_papermill_parameters_stay_in_their_cell(value):
    from papermill.translators import PythonTranslator

    code = PythonTranslator.codify({"out": value})
    statements = list(ast.parse(code).body)
    assert len(statements) == 1 and ast.literal_eval(statements[0].value) == value


@pytest.mark.parametrize("value", HOSTILE)
def test_csv_fields_come_back_as_they_were(tmp_path, value):
    from lfwstudy.system.files import read_csv

    write_csv(tmp_path / "x.csv", ["a", "b"], [{"a": value, "b": 1}])
    assert read_csv(tmp_path / "x.csv") == [{"a": value, "b": "1"}]
    assert cell(True) == "true" and cell(None) == "" and cell(float("nan")) == "nan"


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_bank_is_never_unpickled(tmp_path):
    bomb = np.empty(1, object)
    bomb[0] = Bomb(tmp_path / "exploded")
    np.savez(tmp_path / "bank.npz", images=bomb, names=bomb, sha256=bomb, meta=np.frombuffer(b"{}", np.uint8))
    with pytest.raises(DataError, match="bank.npz"):
        load_bank(tmp_path / "bank.npz")
    assert not (tmp_path / "exploded").exists()


def test_a_resume_state_is_never_unpickled(tmp_path):
    from lfwstudy.config import TrainingConfig
    from lfwstudy.errors import RunError
    from lfwstudy.training.checkpoints import load_resume

    (tmp_path / "resume.npz").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(RunError, match="unusable resume state"):
        load_resume(tmp_path, None, TrainingConfig())
    assert not (tmp_path / "exploded").exists()


def test_a_network_with_code_in_it_is_refused(tmp_path):
    import keras

    from lfwstudy.verify.network import load_model

    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(StudyError, match="not a loadable network"):
        load_model(tmp_path / "model.keras")
    (tmp_path / "zip.keras").write_bytes(b"PK\x05\x06" + bytes(18))
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("config.json", '{"module": "os", "class_name": "system", "config": "true"}')
        archive.writestr("metadata.json", "{}")
    (tmp_path / "secret").write_text("a\nb\n")
    keras.Sequential([keras.Input((1,), dtype="string"), keras.layers.StringLookup(vocabulary=["a"])]).save(
        tmp_path / "reader.keras"
    )
    _replace_in_member(
        tmp_path / "reader.keras",
        "config.json",
        b'"vocabulary": ["a"]',
        f'"vocabulary": "{tmp_path / "secret"}"'.encode(),
    )
    for name in ("zip.keras", "other.keras", "reader.keras"):
        with pytest.raises(StudyError, match=name):
            load_model(tmp_path / name)


def _replace_in_member(path, member, old, new):
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert old in contents[member]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content.replace(old, new) if name == member else content)


@pytest.mark.parametrize(
    "value", ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", " =1", "\uff1d1", '"=1', ";=1", "=cmd|' /C calc'!A0"]
)
def test_no_cell_becomes_a_formula(tmp_path, value):
    write_csv(tmp_path / "x.csv", ["a", "b"], [{"a": value, "b": -1.5}])
    text = (tmp_path / "x.csv").read_text()
    assert re.match(r"""a,b\n"?'""", text) and text.endswith(",-1.5\n")


@pytest.mark.parametrize(
    "text", ["two\nlines", "colour \x1b[31m", "bell\x07", "back\rwards", "\u202eturned", "c1 \x9b31m"]
)
def test_what_is_printed_is_one_line_of_printable_characters(text):
    assert one_line(text).isprintable() and len(one_line(text)) > len(text)


def test_names_do_not_reach_the_terminal_as_commands(tmp_path):
    folder = tmp_path / "a\x1b[31m\nerror: all is well"
    done = lfwstudy("report", "--out", folder)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "\x1b" not in done.stderr


@pytest.mark.long
def test_hostile_names_go_through_a_whole_study_and_do_nothing(tmp_path):
    """Half of the people have names that inject code elsewhere; their images are on disk under these names."""
    from lfwstudy.data import demo
    from tests.support.names import NAMES

    demo.make_demo(tmp_path, people=60, train_people=40, train_pairs=20, test_pairs=10, fold_pairs=2, seed=5)
    (tmp_path / "demo").rename(tmp_path / "lfw2")
    hostile = [
        *(name for name in NAMES.values() if len(name) < 90),
        *(name for name in HOSTILE if is_name(name)),
        "$^$x",
        "<b>",
    ]
    new = dict(zip(sorted(os.listdir(tmp_path / "lfw2"))[::2], dict.fromkeys(hostile)))
    for old, name in new.items():
        folder = (tmp_path / "lfw2" / old).rename(tmp_path / "lfw2" / name)
        for file in folder.iterdir():
            file.rename(folder / file.name.replace(old, name))
    for file in tmp_path.glob("*.txt"):
        lines = [line.split("\t") for line in file.read_text().split("\n")]
        file.write_text("\n".join("\t".join(new.get(field, field) for field in line) for line in lines))
    done = lfwstudy(*study_in(tmp_path, tmp_path / "out", "--profile", "tiny", "--stages", "base"))
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    scored = "".join(path.read_text() for path in (tmp_path / "out" / "runs").rglob("predictions.csv"))
    assert sum(name.replace('"', '""') in scored for name in new.values()) > 5
    for page in (tmp_path / "out" / "report.html", *(tmp_path / "out" / "html").iterdir()):
        body = page.read_text()
        assert not re.search(r"<script\b|<[^>]+\sonerror=|<img[^>]+src=(?!\"data:)", body), page


HOSTILE_CELLS = [
    "<script>alert(1)</script>",
    "<img src='data:image/png;base64,AA' onerror='alert(1)'>",
    "<svg onload=alert(1)></svg>",
    "<a href=' javascript:alert(1)'>x</a>",
    "<iframe src='https://x'></iframe>",
    "<meta http-equiv=refresh content=0>",
    "<form action='https://x'><input></form>",
    "<p style='background:url(https://x)'>x</p>",
    "<base href='https://x'>",
    "<a href='java\nscript:alert(1)'>x</a>",
    "<p style='background:\nurl(https://x)'>x</p>",
    "<style>.demo { display: none }</style>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<p style='position:fixed;inset:0'>x</p>",
    "<svg><a><set attributeName='href' to='javascript:alert(1)'/></a></svg>",
    "<video src='https://x'></video>",
    "<svg><image href='https://x/y.png'/></svg>",
    "<p style='background:u\\72l(https://x)'>x</p>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
]


@pytest.mark.parametrize("hostile", HOSTILE_CELLS)
@pytest.mark.parametrize("kind", ["text/html", "text/markdown", "markdown cell", "error"])
def test_notebooks_of_somebody_else_act_in_no_report(tmp_path, monkeypatch, hostile, kind):
    study = Study(Settings(out=str(tmp_path), precision="float32"))
    output = (
        {"output_type": "error", "ename": hostile, "evalue": hostile, "traceback": [hostile]}
        if kind == "error"
        else {"output_type": "display_data", "metadata": {}, "data": {kind: hostile}}
    )
    code = {
        "cell_type": "code",
        "metadata": {},
        "source": "",
        "execution_count": 1,
        "outputs": [] if kind == "markdown cell" else [output],
    }
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": hostile if kind == "markdown cell" else "x"},
        code,
        code,
    ]
    page = pages.Page("x", "x", hostile, "x.ipynb", {})
    monkeypatch.setattr(pages, "all_pages", lambda study: [page])
    pages.notebook_path(study, page).parent.mkdir()
    write_json(
        pages.notebook_path(study, page),
        {"cells": cells, "metadata": {"lfwstudy_gap": hostile}, "nbformat": 4, "nbformat_minor": 4},
    )
    html = pages.render(study).read_text()
    body = html[html.index("<body") :]
    assert not re.search(
        r"<(script|iframe|meta|form|base|object|embed|link|style|video|set)\b|<[^>]+\son\w+=|<[^>]+(java\s*script:|url\()"
        r"|<[^>]+(position:|\\72|(src|xlink:href)=.https://)|<image[^>]+https://|<a [^>]*href=.data:",
        body,
    )
    assert "Content-Security-Policy" in html and "default-src 'none'" in html


def test_links_in_a_folder_of_somebody_else_are_not_written_through(tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    mine.write_text("precious")
    (tmp_path / "run").mkdir()
    for name in (".lock", "log.txt", "job.json", "result.json"):
        (tmp_path / "run" / name).symlink_to(mine)
    with pytest.raises(OSError), locked(tmp_path / "run" / ".lock"):
        pass
    with pytest.raises(OSError, match="symbolic links"):
        train_in_process(Job("0" * 16, RunConfig(), tmp_path / "run"))
    assert mine.read_text() == "precious"


def test_the_code_unpickles_and_evaluates_nothing():
    for path in (ROOT / "lfwstudy").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name.split(".")[0] for alias in node.names} | {
                    (getattr(node, "module", "") or "").split(".")[0]
                }
                assert not names & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml"}, path
            if isinstance(node, ast.Call):
                name, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert name not in ("eval", "exec", "os.system", "os.popen") and given.get("shell") != "True", path
                assert not name.endswith("np.load") or given.get("allow_pickle") == "False", path
                assert not name.endswith("saving.load_model") or given.get("safe_mode") == "True", path


def test_every_dependency_has_bounds():
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = content["project"]
    assert set(content["dependency-groups"]["core"]) < set(project["dependencies"])
    extras = itertools.chain.from_iterable(project["optional-dependencies"].values())
    packages = [*project["dependencies"], *(package for package in extras if not package.startswith("lfwstudy["))]
    assert len(packages) > 30
    for package in packages:
        assert re.fullmatch(r"[a-z0-9-]+>=[0-9.]+,<[0-9]+", package), package


def test_the_developers_commands_include_a_check_for_known_vulnerabilities():
    assert (
        "tests/audit.py"
        in subprocess.run(["make", "-n", "audit"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    )


SOUND, PASSED_OVER = {"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found on PyPI"}
WEAK = {"name": "c", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    "packages, status, words",
    [
        (
            [SOUND, {"name": "d", "skip_reason": "distribution marked as editable"}],
            0,
            "no known vulnerabilities in 1 packages",
        ),
        ([SOUND, WEAK], 1, "c 2: CVE-1, mended in 3"),
        ([SOUND, PASSED_OVER], 2, "1 of 2 packages were not checked: b"),
        ([PASSED_OVER], 2, "nothing was checked: .* none of 1 packages"),
        (None, 2, "nothing was checked, .*: no such host"),
    ],
)
def test_an_audit_that_checked_nothing_is_no_clean_one(tmp_path, packages, status, words):
    """A stand-in for pip-audit, which itself ends well where its service answers for no package."""
    said = (
        "import sys; sys.exit('no such host')"
        if packages is None
        else f"print({json.dumps(json.dumps({'dependencies': packages}))})"
    )
    (tmp_path / "pip_audit.py").write_text(said)
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "audit.py"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == status and re.search(words, done.stdout), done.stdout + done.stderr
    assert all(line.startswith("audit: ") for line in done.stdout.splitlines())


def test_jupyterlab_keeps_token_and_origin_checks(tmp_path):
    """As `make lab` starts it: without the token nothing is answered, and the page of another site is refused."""
    line = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "jupyter lab" in line)
    assert line.split() == ["$(BIN)/jupyter", "lab", "notebooks"]
    assert not [p for p in ROOT.rglob("jupyter*config*") if ".venv" not in p.parts]
    port, home = 18000 + os.getpid() % 1000, {**os.environ, "HOME": str(tmp_path), "JUPYTER_TOKEN": "secret"}
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", str(ROOT / "notebooks")],
        env=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert _answer(port, "/api/contents") == 403
        assert _answer(port, "/api/contents", Authorization="token secret") == 200
        assert _answer(
            port, "/api/contents", Authorization="token secret", Origin="https://evil.example", Host="evil.example"
        ) in (403, 404)
    finally:
        server.terminate()
        server.wait(30)


def _answer(port, path, **headers):
    for _ in range(300):
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
            return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20).status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server did not start")
