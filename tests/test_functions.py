"""A plain function before a step's models: how it is named, called, judged, passed over, and told of."""

import json
import runpy
import threading
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from typer.testing import CliRunner

from langroute import Ledger, Policy, PolicyError, RoutedChatModel, add_routed_step
from langroute.cascade import Choice, Plan, Rung
from langroute.cli import app
from langroute.decision import Decision
from langroute.explain import explain
from langroute.policy import StepPolicy
from langroute.report.figures import Figures
from langroute.testing import ScriptedChatModel, capture_decisions
from langroute.tuning.recorded import Reading
from langroute.tuning.replay import Logged, plan_under
from langroute.tuning.replaying import replay_policy

FUNCTION = {"function": "rule"}


def policy(*cascade: Any, **step: Any) -> dict[str, Any]:
    """Return a policy whose step `answer` begins with the function `rule`, over two scripted tiers."""
    tiers = {name: {"models": [model(name)]} for name in ("small", "large")}
    binding = {"cascade": list(cascade or (FUNCTION, "small", "large")), **step}
    return {"tiers": tiers, "steps": {"answer": binding}}


def model(name: str, **spec: Any) -> dict[str, Any]:
    scripted = ScriptedChatModel(name=name, reply=f"from {name}")
    return {"model": scripted, "name": name, "price": {"input": 1.0, "output": 4.0}, **spec}


def decided(written: dict[str, Any], function: Any, asked: Any = "What is 6 x 7?", **config: Any) -> Decision:
    with capture_decisions() as decisions:
        RoutedChatModel(written, functions={"rule": function}).for_step("answer").invoke(asked, config)
    return decisions[-1]


def called(decision: Decision) -> list[tuple[str, str]]:
    return [(attempt.endpoint, attempt.outcome) for attempt in decision.attempts]


def problems(**written: Any) -> dict[str, str]:
    with pytest.raises(PolicyError) as raised:
        Policy.load({"tiers": {"small": "openai:a", "large": "openai:b"}, **written})
    return {problem.path: problem.message for problem in raised.value.problems}


# How a policy names it -----------------------------------------------------------------------------------


def test_function_that_nobody_registered_is_refused_where_the_policy_is_bound():
    with pytest.raises(PolicyError, match=r"cascade\[0\].function = 'rule': no function") as raised:
        RoutedChatModel(policy(), functions={"rules": len})
    assert "Did you mean `rules`?" in str(raised.value)


def test_check_that_nobody_registered_is_refused_likewise():
    written = policy("small", "large", verify=[{"all_of": [{"function": "in_euros"}]}])
    with pytest.raises(PolicyError, match=r"verify\[0\].all_of.function = 'in_euros'.*functions="):
        RoutedChatModel(written)


@pytest.mark.parametrize(
    ("cascade", "verify", "place"),
    [
        (("small", "large"), [{"function": "rule"}], "verify[0].function"),
        ((FUNCTION, "small"), [], "cascade[0]"),
    ],
)
def test_what_cannot_be_called_is_refused_likewise(cascade: Any, verify: Any, place: str) -> None:
    with pytest.raises(PolicyError) as raised:
        RoutedChatModel(policy(*cascade, verify=verify), functions={"rule": "multiply"})
    [found] = raised.value.problems
    assert place in found.path
    assert found.message == "what is registered by this name is a str, and cannot be called"
    assert found.remedy == "Give the function where the policy is bound: `functions={'rule': …}`."


def test_function_stands_first_before_a_tier_and_under_a_name_of_its_own():
    def found(*cascade: Any, **step: Any) -> dict[str, str]:
        return problems(steps={"answer": {"cascade": list(cascade), **step}})

    assert "is not the first rung" in found("small", FUNCTION)["steps.answer.cascade"]
    assert "no tier follows" in found(FUNCTION)["steps.answer.cascade"]
    named = found({"function": "small"}, "large")
    assert named["steps.answer.cascade[0].function"] == "a tier has this name"
    blind = found(FUNCTION, "small", "large", verify={"confidence": 0.7})
    assert "can only judge what a model wrote" in blind["steps.answer.cascade[0].function"]
    assert "unknown tier" in found(FUNCTION, "smal")["steps.answer.cascade[1]"]


def test_policy_with_a_function_is_written_back_as_it_was():
    written = {
        "tiers": {"small": "openai:a"},
        "default": {"cascade": [FUNCTION | {"verify": ["schema"]}, "small"]},
    }
    loaded = Policy.load(written)
    dumped = json.loads(loaded.model_dump_json())
    assert dumped["default"] | written["default"] == dumped["default"]
    assert Policy.load(dumped).digest == loaded.digest
    assert Policy.load({"tiers": {"small": "openai:a"}}).digest != loaded.digest
    assert StepPolicy(cascade=loaded.default.cascade) == loaded.default


# How it is called ----------------------------------------------------------------------------------------


def test_function_reads_the_request_and_costs_nothing():
    def rule(request: Any) -> str:
        return f"{request.question} {request.metadata['tenant']} {request.step}"

    written = policy() | {"budget": {"per_call_usd": 0.05, "per_day_usd": 1.0}}
    with capture_decisions() as decisions:
        chat = RoutedChatModel(written, functions={"rule": rule}).for_step("answer")
        reply = chat.invoke("6 x 7?", {"metadata": {"tenant": "acme"}})
    assert reply.text == "6 x 7? acme answer"
    told = reply.response_metadata["langroute"]
    assert (told["tier"], told["endpoint"], told["model"]) == ("rule", "function:rule", "rule")
    assert (decisions[-1].cost_usd, decisions[-1].attempts[0].cost_basis) == (0.0, "priced")


def test_answer_kept_from_an_earlier_call_is_a_message_of_its_own():
    kept = AIMessage(
        "42", id="run-1", usage_metadata={"input_tokens": 9, "output_tokens": 9, "total_tokens": 18}
    )
    chat = RoutedChatModel(policy(), functions={"rule": lambda _: kept}).for_step("answer")
    replies = [chat.invoke("6 x 7?") for _ in range(2)]
    assert len({kept.id, *(reply.id for reply in replies)}) == 3
    assert [reply.usage_metadata for reply in replies] == [None, None]
    assert kept.response_metadata == {}


def test_hosts_cache_never_answers_for_a_function():
    tenants = []
    set_llm_cache(InMemoryCache())
    try:
        for tenant in ("a", "b"):
            decided(
                policy(), lambda r: tenants.append(r.metadata["tenant"]) or "x", metadata={"tenant": tenant}
            )
    finally:
        set_llm_cache(None)
    assert tenants == ["a", "b"]


def test_function_that_is_late_is_given_up_within_the_deadline():
    done = threading.Event()
    written = policy({"function": "rule"}, "small", deadline_s=3.0)
    written["tiers"]["small"]["models"] = [model("small", expected_s=2.0)]
    try:
        decision = decided(written, lambda _: done.wait(60) and None)
    finally:
        done.set()
    assert called(decision) == [("function:rule", "failed"), ("small", "accepted")]
    assert decision.attempts[0].failure.kind == "timeout"


def raising(error: BaseException) -> Any:
    def rule(_: Any) -> None:
        raise error

    return rule


@pytest.mark.parametrize("error", [ValueError("6"), RuntimeError("Event loop is closed"), StopIteration()])
def test_error_of_a_function_never_ends_the_run(error: Exception):
    decision = decided(policy(), raising(error))
    assert called(decision) == [("function:rule", "failed"), ("small", "accepted")]
    assert type(error).__name__ in decision.attempts[0].failure.message


def test_what_steers_the_program_passes_through():
    with pytest.raises(KeyboardInterrupt):
        decided(policy(), raising(KeyboardInterrupt()))


def test_what_is_no_answer_is_a_failed_attempt():
    decision = decided(policy(), lambda _: 42)
    assert called(decision) == [("function:rule", "failed"), ("small", "accepted")]
    assert "returned int: return a text, an AIMessage or None" in decision.attempts[0].failure.message


def test_function_may_ask_a_person_in_a_graph():
    graph = StateGraph(MessagesState)
    add_routed_step(graph, "answer", policy(), functions={"rule": lambda _: interrupt("6 x 7?")})
    compiled = graph.add_edge(START, "answer").compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    assert compiled.invoke({"messages": "6 x 7?"}, config)["__interrupt__"][0].value == "6 x 7?"
    assert compiled.invoke(Command(resume="42"), config)["messages"][-1].text == "42"


def test_failures_of_a_function_open_no_circuit():
    chat = RoutedChatModel(policy(), functions={"rule": len}).for_step("answer")  # a request has no length
    for _ in range(12):
        assert chat.invoke("6 x 7?").text == "from small"
    assert chat.router.health()["function:rule"]["state"] == "closed"


# When it is passed over, and when not --------------------------------------------------------------------


def test_demands_for_a_higher_tier_pass_the_function_over():
    rule = {"when": {"keywords": "contract"}, "start": "large"}
    written = policy() | {"rules": [rule], "stakes": {"low": {"tier": "small"}}}
    assert called(decided(written, lambda _: "42")) == [("function:rule", "accepted")]
    assert called(decided(written, lambda _: "42", "a contract")) == [("large", "accepted")]
    staked = decided(written, lambda _: "42", metadata={"langroute_stakes": "low"})
    assert called(staked) == [("small", "accepted")]


def test_scores_choose_among_the_models_behind_the_function():
    written = policy(route={"difficulty": {"threshold": 0.0}})
    assert called(decided(written, lambda _: "42")) == [("function:rule", "accepted")]
    assert called(decided(written, lambda _: None)) == [("function:rule", "rejected"), ("large", "accepted")]


def test_function_runs_in_every_boundary():
    written = policy(boundary="eu")
    for tier in written["tiers"].values():
        tier["models"][0]["boundary"] = "eu"
    assert called(decided(written, lambda _: "42")) == [("function:rule", "accepted")]


def test_model_after_a_function_is_the_first_reply_that_anybody_waits_or_pays_for():
    written = policy(latency_budget_s=1.0) | {"budget": {"approve_above_usd": 0.0}}
    written["tiers"]["small"]["models"] = [model("small", expected_s=1.0)]
    assert called(decided(written, lambda _: None))[1:] == [("small", "accepted")]


def test_request_at_fault_is_so_after_a_function_too():
    written = policy()
    refusing = ScriptedChatModel(name="small", reply=ModelInvalidRequestError("a plain 400"))
    written["tiers"]["small"]["models"] = [model("small", model=refusing)]
    with pytest.raises(ModelInvalidRequestError, match="a plain 400"):
        decided(written, lambda _: None)


# Where it shows ------------------------------------------------------------------------------------------


def test_function_is_a_drawn_node_with_labelled_edges():
    graph = StateGraph(MessagesState)
    add_routed_step(graph, "answer", policy(), functions={"rule": lambda _: None})
    drawn = graph.add_edge(START, "answer").compile().get_graph()
    edges = {(edge.source, edge.target): edge.data for edge in drawn.edges}
    assert edges["answer", "answer.rule.function/rule"] == "planned"
    assert edges["answer.rule.function/rule", "answer.small.small"] == "failed"
    assert edges["answer.verify.rule", "answer.small.small"] == "rejected"
    assert edges["answer.small.small", "answer.accept"] == "accepted"


def test_graph_streams_what_a_function_says_as_one_chunk():
    graph = StateGraph(MessagesState)
    add_routed_step(graph, "answer", policy(), functions={"rule": lambda _: "6 x 7 is 42"})
    compiled = graph.add_edge(START, "answer").compile()
    streamed = compiled.stream({"messages": "6 x 7?"}, stream_mode="messages")
    assert [chunk.content for chunk, _ in streamed] == ["6 x 7 is 42"]


FILE = """
tiers: {small: "openai:gpt-5-nano", large: "openai:gpt-5"}
default: {cascade: [{function: rule, verify: [not_empty]}, small, large]}
"""


def test_commands_know_functions_that_only_python_registers(tmp_path: Path):
    written = tmp_path / "langroute.yaml"
    written.write_text(FILE)
    spec = CliRunner().invoke(app, ["check", str(written), "--spec", "--json"])
    cascade = json.loads(spec.stdout)["spec"]["steps"][0]["cascade"]
    assert cascade.splitlines()[0] == "function rule (verify: not_empty)"
    rungs = explain(Policy.load(written), "6 x 7?").as_dict()["rungs"]
    assert [rung["endpoint"] for rung in rungs][:1] == ["function:rule"]
    assert rungs[0]["expected_usd"] == 0.0


def test_ledger_and_report_hold_what_functions_answered(tmp_path: Path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        chat = RoutedChatModel(policy(), functions={"rule": lambda r: r.question or None}, ledger=ledger)
        chat.for_step("answer").invoke("6 x 7?")
    shown = CliRunner().invoke(app, ["report", "--ledger", str(tmp_path / "ledger.db"), "--json"])
    assert shown.exit_code == 0, shown.output
    assert "function:rule" in shown.stdout


def test_example_answers_by_rule_first(capsys: pytest.CaptureFixture[str]):
    runpy.run_path(str(Path(__file__).parents[1] / "examples" / "rule_first.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert "What is 6 times 7?  42\n  function:multiply: accepted\n" in shown
    assert shown.count("(small answers)") == 2


def test_replay_plans_the_function_as_the_router_would():
    replanned = plan_under(Policy.load(policy()))
    logged = Logged(Plan("answer", (Rung("small", (Choice("small"),)),)), ())
    plan = replanned(logged)
    assert [rung.tier for rung in plan.rungs] == ["rule", "small", "large"]
    assert plan.rungs[0].choices[0].endpoint == "function:rule"
    assert Logged(plan, ()).start == "small"


def test_function_without_an_answer_escalates_nothing_and_one_that_is_rejected_does(tmp_path: Path):
    def rule(request: Any) -> str | None:
        return None if "6 x 7" in request.question else "wrong"

    checked = {**FUNCTION, "verify": [{"patterns": {"required": ["right"]}}]}
    written = policy(checked, "small", "large", verify=["not_empty"])
    ledger = Ledger(tmp_path / "a.db")
    model = RoutedChatModel(written, ledger=ledger, functions={"rule": rule}).for_step("answer")
    for asked in ("What is 6 x 7?", "What is 6 x 7, then?", "And 7 x 8?", "And 8 x 9?", "And 6 x 7 again?"):
        model.invoke(asked)
    ledger.flush()
    logs = [logged for _, logged in Reading(ledger).logged()]
    (found,) = replay_policy(Policy.load(written), {"answer": logs})
    assert found.whatif is not None
    assert found.basis == "measured"
    assert found.whatif.escalated is not None
    assert found.whatif.escalated.value == found.whatif.logged_escalated == pytest.approx(0.4)
    figures = Figures("a.db")
    for record in ledger.decisions():
        figures.add(record, None)
    assert figures.data().totals.escalated.count == 2
