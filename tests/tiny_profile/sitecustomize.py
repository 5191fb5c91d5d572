"""On PYTHONPATH while tests run: every process of a study then knows profiles that train in seconds."""

from lfwstudy import stages

stages.PROFILES["tiny"] = stages.Profile(
    "tiny", "a sliver of the network, for tests", 0.04,
    {"model.width": 0.05, "data.side": 69, "data.pairs_per_class": 40, "training.learning_rate": 0.003}, threads=1)
stages.PROFILES["speck"] = stages.Profile(
    "speck", "one epoch of a few pairs, where only the number of runs counts", 0.005,
    {**stages.PROFILES["tiny"].changes, "data.pairs_per_class": 10}, threads=1)
