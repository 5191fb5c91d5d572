import os
import subprocess
import sys
from pathlib import Path

import pytest

from lfwstudy.system.files import read_json

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_OVERHEAD = """
import sys
from tools import cluster_load
cluster_load.overhead = dict
sys.exit(cluster_load.main(sys.argv[1:]))
"""


@pytest.mark.long
def test_a_killed_client_resumes_a_simulated_study_from_a_plain_checkout(tmp_path):
    """The processes that the command starts, and those that they start, find `tools` without help from the environment."""
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [
        sys.executable,
        "-c",
        WITHOUT_OVERHEAD,
        "--runs",
        "8",
        "--workers",
        "2",
        "--json",
        tmp_path / "load.json",
    ]
    done = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = read_json(tmp_path / "load.json")
    assert found["finished"] == 8 and 4 <= found["finished_at_kill"] <= 8 and found["seconds_to_resume"] > 0
