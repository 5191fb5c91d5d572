"""What comes from outside executes nothing and breaks out of nothing: names, parameters, models, banks, runs."""

import ast
import pickle
import zipfile

import numpy as np
import pytest

from lfwstudy import tables
from lfwstudy.bank import load_bank
from lfwstudy.errors import DataError, StudyError
from lfwstudy.files import cell, write_csv

HOSTILE = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "'; import os; os.abort() #", '"""', "\\", "{{7*7}}",
           "a\nimport os", "`id`", "$(id)", "&amp;", "%(x)s"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_escaped_in_tables(name):
    page = tables.table([{name: name}], name).data
    assert "<script" not in page and "<img" not in page
    assert page.count("<table") == 1


@pytest.mark.parametrize("value", HOSTILE)
def test_papermill_parameters_stay_in_their_cell(value):
    from papermill.translators import PythonTranslator
    code = PythonTranslator.codify({"out": value})
    statements = [node for node in ast.parse(code).body]
    assert len(statements) == 1 and ast.literal_eval(statements[0].value) == value


@pytest.mark.parametrize("value", HOSTILE)
def test_csv_fields_come_back_as_they_were(tmp_path, value):
    from lfwstudy.files import read_csv
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
    from lfwstudy.callbacks import load_resume
    from lfwstudy.config import TrainingConfig
    from lfwstudy.errors import RunError
    (tmp_path / "resume.npz").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(RunError, match="unusable resume state"):
        load_resume(tmp_path, None, TrainingConfig())
    assert not (tmp_path / "exploded").exists()


def test_a_network_with_code_in_it_is_refused(tmp_path):
    import keras

    from lfwstudy.verify import load_model
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(StudyError, match="not a loadable network"):
        load_model(tmp_path / "model.keras")
    (tmp_path / "zip.keras").write_bytes(b"PK\x05\x06" + bytes(18))
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("config.json", '{"module": "os", "class_name": "system", "config": "true"}')
        archive.writestr("metadata.json", "{}")
    for name in ("zip.keras", "other.keras"):
        with pytest.raises(StudyError, match=name):
            load_model(tmp_path / name)
