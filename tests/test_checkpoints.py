import shutil

import pytest

from lfwstudy.errors import RunError
from lfwstudy.training import recorder, run
from lfwstudy.training.run import train
from tests.support.trained import numbers


@pytest.fixture(scope="module")
def ended(tiny, data, tmp_path_factory):
    """A run of `tiny` that ended between its last epoch and its results."""
    folder = tmp_path_factory.mktemp("ended") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "RESUME_EPOCHS", 1)
        patch.setattr(run, "finish", lambda *args: None)
        train(tiny, 0, "float32", *data, folder, "run")
    return folder


@pytest.mark.parametrize(
    "damage", [lambda f: (f / "resume.npz").write_bytes(b"PK"), lambda f: [p.unlink() for p in f.glob("epoch-*")]]
)
def test_unusable_resume_state_starts_the_run_over(ended, finished, tiny, data, tmp_path, caplog, damage):
    folder = shutil.copytree(ended, tmp_path / "run")
    damage(folder)
    train(tiny, 0, "float32", *data, folder, "run")
    assert "starts over" in caplog.text
    assert numbers(folder) == numbers(finished)


def test_damaged_weights_are_set_aside_and_the_run_starts_over(ended, finished, tiny, data, tmp_path):
    folder = shutil.copytree(ended, tmp_path / "run")
    for path in folder.glob("epoch-*"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match="damaged weights.*set aside"):
        train(tiny, 0, "float32", *data, folder, "run")
    train(tiny, 0, "float32", *data, folder, "run")
    assert numbers(folder) == numbers(finished)
