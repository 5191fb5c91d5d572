"""The scripts for a GPU that is lent for minutes, with a stand-in for Python."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Runs one of the scripts in an empty folder, its `python3` a shell script."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def run(name, *arguments, python="exit 0"):
        (tmp_path / "python3").write_text(f'#!/bin/sh\nruns="$TMPDIR/side-by-side/runs"\n{python}\n')
        (tmp_path / "python3").chmod(0o755)
        return subprocess.run([TOOLS / name, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("side_by_side.sh", "ruler data out"),
        ("side_by_side.sh", "bench data out 60"),
        ("side_by_side.sh", "view2 data out --members"),
        ("on_accelerator.sh", "data"),
        ("on_accelerator.sh", "data out --seeds 3"),
    ],
)
def test_wrong_use_shows_the_usage_and_begins_nothing(script, tmp_path, name, arguments):
    done = script(name, *arguments.split())
    assert done.returncode == 2 and f"tools/{name} " in done.stderr and not (tmp_path / "out").exists()


def test_numbers_of_earlier_commands_are_kept_and_their_runs_are_there(script, tmp_path):
    first = script(
        "side_by_side.sh", "view2", "d", "out", "60", python='mkdir "$runs/a" && echo 1 > "$runs/a/result.json"'
    )
    assert first.returncode == 0, first.stderr
    (tmp_path / "elsewhere").rename(tmp_path / "another machine")
    second = 'test -f "$runs/a/result.json" && mkdir "$runs/b" && echo 2 > "$runs/b/log.txt"; exit 3'
    assert script("side_by_side.sh", "view2", "d", "out", "60", python=second).returncode == 3
    with tarfile.open(tmp_path / "out" / "runs.tgz") as packed:
        assert sorted(packed.getnames()) == ["./a/result.json", "./b/log.txt"]


def test_a_study_out_of_time_is_ended_and_its_seconds_are_added_up(script, tmp_path):
    for count in (1, 2):
        done = script(
            "on_accelerator.sh", "data", "out", "1", "--seeds", "3", python='echo "$*" > asked; exec sleep 50'
        )
        assert done.returncode == 0 and f"over {count} command(s)\nnot finished" in done.stdout
    assert (tmp_path / "asked").read_text().endswith("--out out --seeds 3\n")
    assert script("on_accelerator.sh", "data", "out", python="exit 2").returncode == 2
