"""Killed in the middle of a step, a resumed run makes the move it would have made, and pays nothing twice."""

import subprocess
import sys
from pathlib import Path

import pytest

PROCESS = Path(__file__).parent / "processes" / "resumed.py"


def run(folder, durability, doing, die_at):
    arguments = [sys.executable, str(PROCESS), str(folder), durability, doing, die_at]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("die_at", ["verify", "large"])
def test_run_killed_between_two_calls_is_resumed_without_paying_again(tmp_path, die_at):
    killed = run(tmp_path, "sync", "start", die_at)
    assert (killed.returncode, (tmp_path / "calls").read_text().split()) == (9, ["small"])
    resumed = run(tmp_path, "sync", "resume", "never")
    assert (resumed.returncode, resumed.stdout.strip()) == (0, "good"), resumed.stderr
    assert (tmp_path / "calls").read_text().split() == ["small", "large"]
