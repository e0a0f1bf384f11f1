"""The example of the agent door runs offline and tells step, tier, model and why of each turn."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "agent_tools.py"


@pytest.fixture
def out(capsys):
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    return capsys.readouterr().out


def test_each_turn_tells_its_step_tier_and_model(out):
    assert re.findall(r"^\d\. (\w+) on (\w+) \((\S+)\)$", out, re.MULTILINE) == [
        ("planning", "large", "large-model"),
        ("tool_use", "small", "small-model"),
        ("tool_use", "large", "large-model"),
        ("tool_use", "large", "large-model"),
        ("tool_use", "large", "large-model"),
        ("tool_use", "small", "small-model"),
        ("synthesis", "large", "large-model"),
    ]


def test_each_turn_tells_why(out):
    assert "tools are bound and none has answered since the person spoke" in out
    assert "the call of run_sql failed: starts at large" in out
    assert "reads the result of run_sql: starts at large" in out
    assert "small rejected: the tool delete_file may only be called by tier large or above" in out
    assert "tool_use ended the loop on small, and final answers are for large or above" in out


def test_last_line_is_the_answer_of_the_synthesis_tier(out):
    last = out.rstrip().splitlines()[-1]
    assert last == "Three orders are overdue. I deleted orders-2024.csv, which was 14 months old."
