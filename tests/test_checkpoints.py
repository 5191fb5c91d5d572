import pytest

from lfwstudy.errors import RunError
from lfwstudy.training import recorder, run
from lfwstudy.training.run import train
from tests.support.trained import numbers


@pytest.mark.parametrize(
    "damage", [lambda f: (f / "resume.npz").write_bytes(b"PK"), lambda f: [p.unlink() for p in f.glob("epoch-*")]]
)
def test_unusable_resume_state_starts_the_run_over(finished, tiny, data, tmp_path, monkeypatch, caplog, damage):
    monkeypatch.setattr(recorder, "RESUME_EPOCHS", 1)
    monkeypatch.setattr(run, "finish", lambda *args: None)
    train(tiny, 0, "float32", *data, tmp_path, "run")
    monkeypatch.undo()
    damage(tmp_path)
    train(tiny, 0, "float32", *data, tmp_path, "run")
    assert "starts over" in caplog.text
    assert numbers(tmp_path) == numbers(finished)


def test_damaged_weights_are_set_aside_and_the_run_starts_over(finished, tiny, data, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "finish", lambda *args: None)
    train(tiny, 0, "float32", *data, tmp_path, "run")
    monkeypatch.undo()
    for path in tmp_path.glob("epoch-*"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match="damaged weights.*set aside"):
        train(tiny, 0, "float32", *data, tmp_path, "run")
    train(tiny, 0, "float32", *data, tmp_path, "run")
    assert numbers(tmp_path) == numbers(finished)
