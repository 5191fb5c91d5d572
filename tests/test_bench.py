import json

from lfwstudy.bench import bench, table
from lfwstudy.config import RunConfig


def test_measurements_are_whole_and_hang_together():
    """Nothing is judged here but that the figures are there and follow from each other; speed is for `lfwstudy bench`."""
    said = []
    result = bench(said.append, RunConfig().change({"model.width": 0.05, "data.side": 69}))
    assert json.loads(json.dumps(result)) == result
    assert set(result["ceiling_gflops"]) == {"float32", "bfloat16"} and min(result["ceiling_gflops"].values()) > 0
    assert set(result["step_seconds"]) == {"ours", "bare Keras fit", "plain script"}
    share = result["step_gflop"] / result["step_seconds"]["ours"] / result["ceiling_gflops"][result["precision"]]
    assert abs(result["share_of_ceiling"] - share) < 0.05 * share + 0.001
    assert said[-len(table(result)):] == table(result)
