"""The examples of the graph door run offline and show what they say."""

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def printed(name, capsys):
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_own_graph_branches_on_the_tier(capsys):
    out = printed("own_graph.py", capsys)
    assert "small: answer is bound to small, then large" in out
    assert "rule proofs (keyword prove): starts at large" in out
    assert out.index("A short answer.") < out.index("A careful answer, step by step.")


def test_approval_asks_with_the_estimate_and_goes_on_when_approved(capsys):
    out = printed("approval.py", capsys)
    assert "escalation to large" in out
    assert "would cost about 0.1" in out
    assert "the reply refuses" in out
    assert out.rstrip().endswith("approved: The cable was laid in 1866.")
