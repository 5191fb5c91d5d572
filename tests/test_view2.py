from lfwstudy.runs.store import Store
from lfwstudy.study.settings import Settings
from lfwstudy.study.study import Study
from tools.ruler import config_of
from tools.view2 import jobs, main


def test_runs_are_those_of_a_study(tmp_path, faces):
    options = {"dataset": "lfw-a", "data_dir": str(faces), "ladder": "beyond", "protocol": "view2", "profile": "cpu"}
    study = Study(Settings(**options, out=str(tmp_path / "study"), stages="base", precision="float32"))
    study.ask(["base"])
    planned = {spec.fold: spec.run for rung in study.climb() for spec in rung.specs()}
    store = Store(tmp_path / "runs")
    found = jobs({"base/compact": config_of("base/compact", "lfw-a")}, str(faces), store, "float32")
    assert {job.config.data.fold: job.run for job in found} == planned and len(planned) == 10
    assert [job.title for job in found][:2] == ["base/compact, fold 1", "base/compact, fold 2"]


def test_a_mistake_is_told(tmp_path, faces, capsys):
    given = ["--start", "base/small", "--dataset", "lfw-a", "--data-dir", str(faces), "--out", str(tmp_path)]
    assert main(given) == 2
    assert "unknown variant 'small'" in capsys.readouterr().err
