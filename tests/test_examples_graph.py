"""The examples of the graph door run offline and show what they say."""

import io
import os
import re
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest

from langroute.testing import LoopbackProvider, capture_decisions
from langroute.testing.standins import large, small

EXAMPLES = Path(__file__).parent.parent / "examples"
NOT_OURS = ("OPENAI_", "LANGSMITH_", "LANGCHAIN_")


def printed(name, capsys):
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_own_graph_branches_on_the_tier(capsys):
    out = printed("own_graph.py", capsys)
    assert "routed to tier small, because answer is bound to small, then large" in out
    assert "rule proofs (keyword prove): starts at large" in out
    assert out.index("A short answer.") < out.index("A careful answer, step by step.")


def test_approval_asks_with_the_estimate_and_goes_on_when_approved(capsys):
    out = printed("approval.py", capsys)
    assert "escalation to large" in out
    assert "would cost about 0.1" in out
    assert "the reply refuses" in out
    assert out.rstrip().endswith("Resumed with approve: The cable was laid in 1866.")


def run_rag_graph(*arguments, **variables):
    """What the example prints for a question, with the decisions behind it; the environment is put back."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(NOT_OURS)]:
        del os.environ[name]
    os.environ.update({"COLUMNS": "1000", **variables})
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    try:
        import rag_graph

        with redirect_stdout(io.StringIO()) as out, capture_decisions() as decisions:
            code = rag_graph.main(arguments)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return SimpleNamespace(code=code, out=out.getvalue(), decisions=decisions)


def way(decision):
    """The way of a step through its nodes, as its record tells it."""
    nodes = ["planned"]
    for attempt in decision.attempts:
        called = "repair" if attempt.why == "repair" else attempt.tier
        named = attempt.tier if attempt.why == "repair" else attempt.endpoint
        failed = attempt.outcome == "failed"
        judged = "failed" if failed else f"answered → verify.{attempt.tier} {attempt.outcome}"
        nodes.append(f"{called}.{named} {judged}")
    ending = re.sub("rejected$", "best", nodes.pop()) if decision.outcome == "best" else nodes.pop()
    return " → ".join([*nodes, ending, "fail" if decision.chosen is None else "accept"])


@pytest.fixture(scope="module")
def rag():
    return run_rag_graph()


def test_rag_graph_answers_with_citations(rag):
    assert rag.code == 0
    assert re.search(r"^Answer: .+\[[\w-]+:\d+\]", rag.out, re.MULTILINE)


def test_rag_graph_takes_the_edges_of_fallback_and_escalation(rag):
    attempts = [attempt for decision in rag.decisions for attempt in decision.attempts]
    assert {"escalation", "fallback"} <= {attempt.why for attempt in attempts}
    assert re.search(r"verify\.small rejected → large\.large-primary failed → large\.large-backup", rag.out)


def test_rag_graph_shows_the_way_that_each_record_tells(rag):
    parts = ("rewrite", "extract", "plan", "synthesize")
    shown = re.findall(r"^  (\w+) (planned .+)$", rag.out, re.MULTILINE)
    assert shown == [(part, way(decision)) for part, decision in zip(parts, rag.decisions, strict=True)]
    steps = [decision.step.step for decision in rag.decisions]
    assert steps == ["query_rewrite", "extraction", "planning", "synthesis"]


def test_rag_graph_tells_why_replies_were_rejected_and_what_it_cost(rag):
    attempts = [attempt for decision in rag.decisions for attempt in decision.attempts]
    rejected = [attempt.account for attempt in attempts if attempt.outcome == "rejected"]
    assert rejected
    assert all(f"      {account}\n" in rag.out for account in rejected)
    cost_usd = sum(decision.cost_usd for decision in rag.decisions)
    assert f"Cost of this run, rejected drafts included: ${cost_usd:.6f}" in rag.out
    assert f"{len(attempts)} calls" in rag.out


def test_rag_graph_ends_cleanly_where_the_documents_have_nothing():
    done = run_rag_graph("zzzqqq xylophonist?")
    assert done.code == 0
    assert "Answer: The documents have nothing on this question." in done.out
    assert done.out.count("planned") == 1


def test_rag_graph_runs_on_the_models_of_the_policy_when_there_is_a_key():
    with LoopbackProvider({"gpt-5-nano": small, "gpt-5-mini": large}, api_key="sk-test") as server:
        key = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.base_url}
        done = run_rag_graph("What does pass do?", **key)
        assert (done.code, "STAND-INS" in done.out) == (0, False)
        assert server.calls("gpt-5-mini") > 0


def test_rag_graph_shows_where_a_step_failed():
    with LoopbackProvider({"gpt-5-mini": large}) as server:
        done = run_rag_graph("Why?", OPENAI_API_KEY="any", OPENAI_BASE_URL=server.base_url)
    assert done.code == 1
    assert "Answer: none, because AllAttemptsFailed: step query_rewrite" in done.out
    assert "  rewrite planned → small.small failed → fail\n" in done.out
