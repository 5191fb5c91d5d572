import json
import subprocess
import sys

import pytest

from lfwstudy.bench.measure import Contestant, bench, lines, summary
from lfwstudy.config import RunConfig
from lfwstudy.errors import RunError


@pytest.mark.long
def test_measurements_are_whole_and_hang_together():
    """Nothing is judged here but that the figures are there and follow from each other; speed is for `lfwstudy bench`."""
    said = []
    result = bench(said.append, RunConfig().change({"model.width": 0.05, "data.side": 69}))
    assert json.loads(json.dumps(result)) == result
    assert set(result["ceiling_gflops"]) == {"float32", "bfloat16"} and min(result["ceiling_gflops"].values()) > 0
    assert set(result["step_seconds"]) == {"ours", "bare Keras fit", "plain script"}
    shares = result["shares_of_ceiling"]
    assert len(shares) == result["rounds"] and 0 < min(shares) <= result["share_of_ceiling"] <= max(shares)
    assert 0 < result["checkpoint_seconds"] <= result["checkpoint_file_seconds"]
    assert said[-len(lines(result)) :] == lines(result)


def test_ratios_follow_from_the_seconds_of_the_same_round():
    told = {"first_step_seconds": 5.0, "peak_memory_mb": 900.0, "score_seconds_per_pair": 0.01}
    ours = told | {
        "device": "a machine",
        "backend": "tensorflow",
        "step_gflop": 100.0,
        "images_seconds": 0.02,
        "checkpoint_seconds": 0.3,
        "checkpoint_file_seconds": 0.5,
        "plain_write_seconds": 0.2,
    }
    plain = told | {"score_seconds_per_pair": 0.03}
    seconds = {"ours": [1.0, 2.0, 1.0], "bare Keras fit": [1.25, 2.5, 1.25], "plain script": [2.0, 4.0, 2.0]}
    result = summary(
        {"float32": 200.0, "bfloat16": 400.0},
        [200.0, 100.0, 250.0],
        seconds,
        {"ours": ours, "bare Keras fit": told, "plain script": plain},
        "float32",
    )
    assert result["ours_to_bare_keras"] == 0.8 and result["plain_script_to_ours"] == 2.0
    assert result["shares_of_ceiling"] == [0.5, 0.5, 0.4] and result["share_of_ceiling"] == 0.5
    assert result["plain_score_to_ours"] == 3.0
    assert result["pictures_share_of_step"] == 0.02
    assert all(len(line) < 120 for line in lines(result))


@pytest.mark.parametrize("program", ["import os; os.kill(os.getpid(), 9)", "import time; time.sleep(600)"])
def test_a_contestant_that_was_killed_or_hangs_is_told(program):
    contestant = Contestant("ours", "job.json", patience=1)
    contestant.process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with contestant, pytest.raises(RunError, match="ours failed .exit status -9"):
        contestant.go()
