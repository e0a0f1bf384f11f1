"""Canaries: a share of threads goes through another policy and stays; the log says how likely that was."""

from pathlib import Path
from typing import Any

import pytest
from canaries import NEW, OLD, SHARE, arm_of, canary_of, policy, threads_of
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command
from routed_models import BAD, MODES, down, shown
from typer.testing import CliRunner

from langroute import Ledger, Policy, RoutedChatModel, add_routed_step
from langroute.cli import app
from langroute.errors import NoEndpointAvailable, PolicyError
from langroute.middleware import StepRoutingMiddleware
from langroute.report.making import read
from langroute.testing import ScriptedChatModel, capture_decisions

GIVEN: dict[str, Any] = {"messages": [HumanMessage("When?")]}


def routed(ledger: Any = None, **of_canary: Any) -> RoutedChatModel:
    new = policy(**{"small": NEW, "name": "new", **of_canary})
    return RoutedChatModel(canary_of(policy(), new), ledger=ledger).for_step("answer")


def in_thread(thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}}


def told(reply: AIMessage) -> dict[str, Any]:
    record: dict[str, Any] = reply.response_metadata["langroute"]
    return record


# Which arm -----------------------------------------------------------------------------------------------


def test_arm_of_every_thread_is_what_the_digest_says_and_the_share_is_met() -> None:
    model = routed()
    digest = model.arms.canary.policy.digest
    drawn = []
    for number in range(2_000):
        router = model.arms.draw({"configurable": {"thread_id": f"t{number}"}}, {}).router
        drawn.append("canary" if router is model.arms.canary else "main")
    assert drawn == [arm_of(f"thread t{number}", digest) for number in range(2_000)]
    assert abs(drawn.count("canary") - 600) < 5 * (2_000 * SHARE * (1 - SHARE)) ** 0.5


@pytest.mark.parametrize("mode", MODES)
async def test_thread_stays_in_its_arm_in_every_mode(mode: str, tmp_path: Path) -> None:
    model = routed(Ledger(tmp_path / "ledger.sqlite"))
    for arm, text in (("main", OLD), ("canary", NEW)):
        [thread] = threads_of(model, arm, 1)
        for _ in range(2):
            assert await shown(model, mode, config=in_thread(thread)) == text
    assert model.router.ledger.flush(60)
    kept = [(r.plan["arm"], r.plan["arm_propensity"], r.policy) for r in model.router.ledger.decisions()]
    main, canary = model.arms.all
    assert kept == [("main", 0.7, main.policy.digest)] * 2 + [("canary", 0.3, canary.policy.digest)] * 2


def test_run_without_a_thread_stays_in_its_arm_and_a_call_without_either_is_drawn_by_its_id() -> None:
    model = routed()
    digest = model.arms.canary.policy.digest
    for number in range(20):
        run = model.invoke("When?", {"metadata": {"langroute_run": f"r{number}"}})
        assert told(run)["arm"] == arm_of(f"run r{number}", digest)
        alone = told(model.invoke("When?"))
        assert alone["arm"] == arm_of(f"call {alone['call_id']}", digest)


def test_policy_without_a_canary_has_no_arms() -> None:
    model = RoutedChatModel(policy()).for_step("answer")
    assert told(model.invoke("When?"))["arm"] is None
    assert model.arms.draw({}, {}) is model.arms.draw({}, {}), "nothing is made for a call"


def test_decision_that_nothing_could_be_called_for_counts_in_its_arm() -> None:
    new = policy(small=NEW, name="new")
    for tier in new["tiers"].values():
        tier["models"][0]["context_tokens"] = 10
    model = RoutedChatModel(canary_of(policy(), new)).for_step("answer")
    with capture_decisions() as seen, pytest.raises(NoEndpointAvailable):
        model.invoke("When?", in_thread(threads_of(model, "canary", 1)[0]))
    assert [(decision.plan.arm, decision.plan.arm_propensity) for decision in seen] == [("canary", SHARE)]


# Graphs and agents ---------------------------------------------------------------------------------------


def graph_of(model: RoutedChatModel, saver: Any = None) -> Any:
    builder = StateGraph(MessagesState)
    add_routed_step(builder, "answer", model)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=saver or InMemorySaver())


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
async def test_drawn_step_shows_the_ways_of_both_arms_and_goes_those_of_one(mode: str) -> None:
    model = routed(step={"repair": 1}, small=[BAD, NEW])
    graph = graph_of(model)
    nodes = set(graph.get_graph().nodes)
    assert {"answer.small.old", "answer.small.new", "answer.repair.small"} <= nodes
    for arm, text in (("main", OLD), ("canary", NEW)):
        config = in_thread(threads_of(model, arm, 1)[0])
        out = await graph.ainvoke(GIVEN, config) if mode == "ainvoke" else graph.invoke(GIVEN, config)
        assert out["messages"][-1].text == text
        assert told(out["messages"][-1])["arm"] == arm


def test_edges_drawn_are_those_of_both_policies() -> None:
    model = routed(step={"repair": 1})
    drawn = {(edge.source, edge.target) for edge in graph_of(model).get_graph().edges}
    alone = {(e.source, e.target) for e in graph_of(RoutedChatModel(policy())).get_graph().edges}
    assert alone < drawn
    assert ("answer.verify.small", "answer.repair.small") in drawn - alone


def test_resumed_run_stays_in_the_arm_it_began_in_whatever_the_share_is_by_then() -> None:
    asking = {"approve_above_usd": 0.0}
    saver, main = InMemorySaver(), policy(budget=asking)
    new = policy(small=[BAD], large=NEW, name="new", budget=asking)
    model = RoutedChatModel(canary_of(main, new))
    config = in_thread(threads_of(model, "canary", 1)[0])
    graph_of(model, saver).invoke(GIVEN, config)
    fewer = RoutedChatModel(canary_of(main, new, share=1e-9))
    assert fewer.arms.draw(config, {}).router is fewer.arms.main
    out = graph_of(fewer, saver).invoke(Command(resume="approve"), config)
    assert (out["messages"][-1].text, told(out["messages"][-1])["arm"]) == (NEW, "canary")


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
async def test_calls_of_an_agent_are_all_in_one_arm(mode: str) -> None:
    def look_up(word: str) -> str:
        """Look a word up."""
        return word

    call = AIMessage("", tool_calls=[{"name": "look_up", "args": {"word": "cable"}, "id": "1"}])
    main, new = policy(small=[call, OLD] * 9), policy(small=[call, NEW] * 9, name="new")
    for written in (main, new):
        written["default"] = {"cascade": ["small"]}
    routing = StepRoutingMiddleware(canary_of(main, new))
    unused = ScriptedChatModel(name="unused", reply="never")
    agent = create_agent(unused, [look_up], middleware=[routing])
    for thread in [*threads_of(routing, "main", 2), *threads_of(routing, "canary", 2)]:
        config = in_thread(thread)
        out = await agent.ainvoke(GIVEN, config) if mode == "ainvoke" else agent.invoke(GIVEN, config)
        arms = {record["arm"] for record in out["langroute"]}
        assert arms == {"canary" if out["messages"][-1].text == NEW else "main"}
        assert arms == {arm_of(f"thread {thread}", routing.arms.canary.policy.digest)}
    for _ in range(5):
        out = await agent.ainvoke(GIVEN) if mode == "ainvoke" else agent.invoke(GIVEN)
        assert len({record["arm"] for record in out["langroute"]}) == 1, "a run without a thread"


# What the arms share -------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_ledger", [False, True])
def test_both_arms_spend_from_the_same_accounts(with_ledger: object, tmp_path: Path) -> None:
    limits = {"budget": {"per_day_usd": 0.0125}}
    main, new = policy(**limits), policy(small=NEW, name="new", **limits)
    ledger = Ledger(tmp_path / "ledger.sqlite") if with_ledger else None
    model = RoutedChatModel(canary_of(main, new), ledger=ledger).for_step("answer")
    [old_thread], [new_thread] = threads_of(model, "main", 1), threads_of(model, "canary", 1)
    for thread in (old_thread, new_thread):
        model.invoke("When?", in_thread(thread))
    spent = [
        router.budget.store.balances(router.purse({}, {}).places[0][1])[0].spent for router in model.arms.all
    ]
    assert spent == [2_400_000_000, 2_400_000_000]


def test_arms_share_the_circuit_of_the_same_model_and_of_no_other() -> None:
    shared = ScriptedChatModel(name="shared", replies=[down()] * 9)
    main, new = policy(large=shared), policy(large=shared, name="new")
    other = policy(large=OLD, name="new")
    model = RoutedChatModel(canary_of(main, new))
    apart = RoutedChatModel(canary_of(main, other))
    for each in (model, apart):
        for _ in range(5):
            each.router.breakers.failed("large", each.router.breakers.admit("large"), "server_error")
    assert [router.health()["large"]["state"] for router in model.arms.all] == ["open", "open"]
    assert [router.health()["large"]["state"] for router in apart.arms.all] == ["open", "closed"]


# Policies ------------------------------------------------------------------------------------------------

FILE = "tiers: {small: 'openai:a', large: 'openai:b'}\n"


def files(tmp_path: Path, new: str) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "new.yaml").write_text(new)
    main = tmp_path / "main.yaml"
    main.write_text(FILE + "canary: {policy: sub/new.yaml, share: 0.05}\n")
    return main


def test_path_of_a_canary_starts_at_the_policy_that_names_it(tmp_path: Path) -> None:
    found = Policy.load(files(tmp_path, FILE + "cache_margin: 0.2\n"))
    assert found.canary is not None
    assert found.canary.policy.policy.cache_margin == 0.2
    plain = Policy.load(found.model_dump(mode="json"))
    assert plain.canary is not None
    assert plain.canary.policy.policy.digest == found.canary.policy.policy.digest


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        (FILE + "steps: {a: {cascade: huge}}", "steps.a.cascade[0] = 'huge': unknown tier"),
        (FILE + "canary: {policy: ../main.yaml, share: 0.5}", "a canary cannot have a canary of its own"),
        ("tiers: [", "not YAML"),
    ],
)
def test_canary_that_cannot_work_is_refused_by_the_name_of_its_file(
    tmp_path: Path, new: str, problem: str
) -> None:
    with pytest.raises(PolicyError) as refused:
        Policy.load(files(tmp_path, new))
    assert "canary.policy = 'sub/new.yaml'" in str(refused.value)
    assert "new.yaml cannot be used" in str(refused.value)
    assert problem in str(refused.value)


def test_canary_given_from_python_may_have_none_of_its_own_and_no_nonsense_is_one() -> None:
    nested = Policy.load(canary_of(policy(), policy(name="new")))
    for canary, problem in ((nested, "canary of its own"), (7, "not the path of a policy")):
        with pytest.raises(PolicyError, match=problem):
            Policy.load(policy() | {"canary": {"policy": canary, "share": 0.1}})
    with pytest.raises(PolicyError, match=r"canary.share = 1.0: must be less than 1"):
        Policy.load(policy() | {"canary": {"policy": policy(), "share": 1.0}})


def test_canary_whose_budget_cannot_work_is_named_when_a_door_opens() -> None:
    new = policy(name="new", budget={"per_day_usd": 1e-9})
    with pytest.raises(PolicyError, match=r"canary policy cannot be used:\n  budget\.per_day_usd"):
        RoutedChatModel(canary_of(policy(), new))


def test_check_looks_into_the_budget_of_the_canary_too(tmp_path: Path) -> None:
    dear = "tiers: {small: {models: {model: 'openai:a', price: {input: 1, output: 2}}}}\n"
    main = files(tmp_path, dear + "budget: {per_day_usd: 1.0e-9}\n")
    found = CliRunner().invoke(app, ["check", str(main)])
    assert isinstance(found.exception, PolicyError)
    assert "main.yaml: canary sub/new.yaml cannot be used:\n  budget.per_day_usd" in str(found.exception)


def test_digest_of_a_policy_tells_of_its_canary() -> None:
    digests = {
        Policy.load(written).digest
        for written in (
            policy(),
            canary_of(policy(), policy(name="new")),
            canary_of(policy(), policy(name="newer")),
            canary_of(policy(), policy(name="new"), share=0.4),
        )
    }
    assert len(digests) == 4


# The report ----------------------------------------------------------------------------------------------


def test_report_shows_the_arms_side_by_side(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    main = policy(small=[OLD] * 6)
    new = policy(small=[BAD] * 4, large=NEW, name="new")
    model = RoutedChatModel(canary_of(main, new), ledger=ledger).for_step("answer")
    for thread in [*threads_of(model, "main", 6), *threads_of(model, "canary", 4)]:
        model.invoke("When?", in_thread(thread))
    assert ledger.flush(60)
    data, _ = read(ledger.store)
    rows = {row.arm: row for row in data.arms}
    assert [(row.decisions, row.escalated.count) for row in data.arms] == [(6, 0), (4, 4)]
    assert rows["main"].cost_per_request_usd == pytest.approx(0.0012)
    assert rows["canary"].cost_low_usd == pytest.approx(rows["canary"].cost_per_request_usd)
    assert rows["canary"].policies == (model.arms.canary.policy.digest,)
