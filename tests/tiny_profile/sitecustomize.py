"""On PYTHONPATH while tests run: every process of a study then knows a profile that trains in seconds."""

from lfwstudy import stages

stages.PROFILES["tiny"] = stages.Profile(
    "tiny", "a sliver of the network, for tests", 0.04,
    {"model.width": 0.05, "data.side": 69, "data.pairs_per_class": 40, "training.learning_rate": 0.003}, threads=1)
