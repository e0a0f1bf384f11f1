"""`StepRoutingMiddleware`: each model call of an agent's loop is its own step, and no risky call slips by."""

import asyncio
import json
import subprocess
import sys
from typing import Any
from unittest.mock import create_autospec

import pytest
from agents import FINAL, STEPS, agent, calls, delete_file, search, used
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest, wrap_model_call, wrap_tool_call
from langchain_core.exceptions import ModelConnectionError
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_core.tracers.langchain import LangChainTracer
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt, ParentCommand
from langgraph.types import Command, interrupt
from langsmith import Client
from langsmith.run_helpers import get_current_run_tree

from langroute import PolicyError, RoutedChatModel
from langroute.errors import AllAttemptsFailed, ApprovalRequired
from langroute.middleware import StepRoutingMiddleware
from langroute.testing import Answer, ScriptedChatModel, capture_decisions

ASKED = {"messages": "How many orders are open?"}
TO_LARGE = {
    "planning": {"cascade": "small"},
    "tool_use": {"cascade": "small"},
    "synthesis": {"cascade": "large"},
}


@wrap_tool_call
def errors_as_messages(request: Any, handler: Any) -> Any:
    try:
        return handler(request)
    except ValueError as error:
        return ToolMessage(str(error), tool_call_id=request.tool_call["id"], status="error")


def down() -> ModelConnectionError:
    return ModelConnectionError("connection refused")


async def ask(routed: Any, mode: str, given: Any = ASKED, **config: Any) -> dict[str, Any]:
    return await routed.ainvoke(given, config) if mode == "ainvoke" else routed.invoke(given, config)


both = pytest.mark.parametrize("mode", ["invoke", "ainvoke"])

# The host's request ----------------------------------------------------------------------------------------


@both
async def test_what_a_model_traces_stands_under_the_run_of_its_step(mode):
    runs = []

    class Traced(ScriptedChatModel):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            runs.append(get_current_run_tree().name)
            return super()._generate(*args, **kwargs)

    policy = {
        "tiers": {
            name: {"models": [{"model": Traced(reply="two"), "name": name}]} for name in ("small", "large")
        },
        "default": {"cascade": ["small", "large"], "verify": ["no_refusal"]},
    }
    routed = create_agent(ScriptedChatModel(reply="-"), middleware=[StepRoutingMiddleware(policy)])
    await ask(routed, mode, callbacks=[LangChainTracer(client=create_autospec(Client, instance=True))])
    assert runs == ["langroute"]


def test_request_for_the_chosen_model_is_what_the_installed_override_makes():
    given, made = [], []

    @wrap_model_call
    def outside(request: Any, handler: Any) -> Any:
        given.append(request)
        return handler(request.override(model_settings={"seed": 3}, tool_choice="any"))

    @wrap_model_call
    def inside(request: Any, handler: Any) -> Any:
        made.append(request)
        return handler(request)

    small = ScriptedChatModel(name="small", reply=FINAL)
    routing = StepRoutingMiddleware({"tiers": {"small": {"models": [small]}}})
    unused = ScriptedChatModel(name="unused", reply="")
    agent_of_both = create_agent(
        unused, [search], system_prompt="Be brief.", middleware=[outside, routing, inside]
    )
    agent_of_both.invoke(ASKED)
    named = {"model": small, "messages": given[0].messages, "model_settings": {"seed": 3}}
    wanted = given[0].override(tool_choice="any", **named)
    assert made[0] == wanted
    assert type(made[0]) is type(wanted)
    assert vars(made[0]) == vars(wanted)
    assert all(vars(made[0])[name] is vars(wanted)[name] for name in ("model", "state", "runtime", "tools"))


# Steps ---------------------------------------------------------------------------------------------------


@both
async def test_each_turn_is_its_own_step(mode):
    routed = agent({"small": [calls("run_sql", query="q"), FINAL], "large": [calls("search", query="o")]})
    state = await ask(routed, mode)
    assert used(state) == [("planning", "large"), ("tool_use", "small"), ("tool_use", "small")]
    assert [record["step_source"] for record in state["langroute"]] == ["seen"] * 3
    assert state["messages"][-1].text == FINAL


def test_tier_named_for_a_tool_reads_its_result():
    steps = STEPS | {"tool_use": {"cascade": ["small", "large"], "after_tool": {"run_sql": "large"}}}
    script = {"small": [calls("run_sql", query="q")], "large": [calls("search", query="o"), FINAL]}
    state = agent(script, steps).invoke(ASKED)
    assert used(state) == [("planning", "large"), ("tool_use", "small"), ("tool_use", "large")]
    assert "reads the result of run_sql: starts at large" in state["langroute"][-1]["reason"]


def test_failed_tool_call_starts_at_the_tier_for_errors():
    steps = STEPS | {"tool_use": {"cascade": ["small", "large"], "on_tool_error": "large"}}
    script = {"small": ["unused"], "large": [calls("search", query="broken"), FINAL]}
    state = agent(script, steps, middleware=[errors_as_messages]).invoke(ASKED)
    assert used(state) == [("planning", "large"), ("tool_use", "large")]


@pytest.mark.parametrize(
    ("queries", "reason"),
    [
        (["broken"], "the call of search failed"),
        (["o", "o"], "search was called once more with the same arguments"),
    ],
)
def test_turn_after_a_failed_or_repeated_call_is_recovery(queries, reason):
    steps = {
        "planning": {"cascade": "small"},
        "tool_use": {"cascade": "small"},
        "recovery": {"cascade": "large"},
    }
    script = {"small": [calls("search", query=query) for query in queries], "large": [FINAL]}
    state = agent(script, steps, middleware=[errors_as_messages]).invoke(ASKED)
    assert used(state)[-1] == ("recovery", "large")
    assert state["langroute"][-1]["step_reason"] == reason


def test_call_that_just_failed_is_not_made_again_by_the_same_tier():
    steps = STEPS | {"tool_use": {"cascade": ["small", "large"], "verify": ["tool_calls"]}}
    again = calls("search", query="broken")
    script = {"small": [again], "large": [again, FINAL]}
    state = agent(script, steps, middleware=[errors_as_messages]).invoke(ASKED)
    attempts = state["langroute"][-1]["attempts"]
    assert [(a["endpoint"], a["outcome"]) for a in attempts] == [("small", "rejected"), ("large", "accepted")]


def test_step_said_for_a_run_is_that_of_every_turn():
    routed = agent({"small": [calls("search", query="o"), FINAL], "large": ["unused"]}, TO_LARGE)
    state = routed.invoke(ASKED, {"metadata": {"langroute_step": "tool_use"}})
    assert used(state) == [("tool_use", "small"), ("tool_use", "small")]


def test_step_declared_for_the_model_node_is_that_of_every_turn():
    steps = TO_LARGE | {"loop": {"cascade": "small", "nodes": ["model"]}}
    state = agent({"small": [calls("search", query="o"), FINAL], "large": ["unused"]}, steps).invoke(ASKED)
    assert used(state) == [("loop", "small"), ("loop", "small")]
    assert state["langroute"][0]["mismatch"] == "planning"


def test_next_question_of_a_thread_is_planned_anew_and_the_list_goes_on():
    routed = agent(
        {"small": [FINAL], "large": [calls("search", query="o"), FINAL]}, checkpointer=InMemorySaver()
    )
    thread = {"configurable": {"thread_id": "1"}}
    routed.invoke(ASKED, thread)
    assert [step for step, _ in used(routed.invoke(ASKED, thread))] == ["planning", "tool_use", "planning"]


# The final answer ----------------------------------------------------------------------------------------


@both
async def test_final_answer_from_too_low_a_tier_is_asked_for_again(mode):
    routed = agent({"small": [calls("search", query="o"), "a draft"], "large": [FINAL]}, TO_LARGE)
    state = await ask(routed, mode)
    assert used(state) == [("planning", "small"), ("tool_use", "small"), ("synthesis", "large")]
    assert [message.text for message in state["messages"]][-1] == FINAL
    assert "a draft" not in str(state["messages"])
    reason = "tool_use ended the loop on small, and final answers are for large or above"
    assert state["langroute"][-1]["step_reason"] == reason


def test_answer_of_a_turn_that_escalated_high_enough_is_final():
    steps = TO_LARGE | {"planning": {"cascade": ["small", "large"], "verify": ["no_refusal"]}}
    state = agent({"small": ["I cannot help with that."], "large": [FINAL]}, steps).invoke(ASKED)
    assert used(state) == [("planning", "large")]


def test_final_answers_stay_where_they_are_unless_the_policy_names_synthesis():
    state = agent({"small": [FINAL], "large": ["unused"]}, {"planning": {"cascade": "small"}}).invoke(ASKED)
    assert used(state) == [("planning", "small")]


def test_turn_that_may_call_no_tool_is_the_final_answer():
    @wrap_model_call
    def no_more_tools(request: Any, handler: Any) -> Any:
        over = any(isinstance(message, ToolMessage) for message in request.messages)
        return handler(request.override(tool_choice="none") if over else request)

    tiers = {
        "small": ScriptedChatModel(name="small", replies=[calls("search", query="o")]),
        "large": ScriptedChatModel(name="large", replies=[FINAL]),
    }
    routing = StepRoutingMiddleware({"tiers": tiers, "steps": TO_LARGE})
    routed = create_agent(ScriptedChatModel(reply="x"), [search], middleware=[no_more_tools, routing])
    state = routed.invoke(ASKED)
    assert [record["step"] for record in state["langroute"]] == ["planning", "synthesis"]
    assert tiers["large"].calls[0].kwargs["tool_choice"] == "none"


# Risky tools ---------------------------------------------------------------------------------------------

RISKY = {"stakes": {"high": {"tier": "large"}, "tools": {"delete_file": "high"}}}


@both
async def test_risky_tool_is_only_called_by_the_tier_its_stakes_demand(mode):
    script = {
        "small": [calls("delete_file", path="wrong"), "done"],
        "large": [calls("search", query="o"), calls("delete_file", path="right")],
    }
    state = await ask(agent(script, policy=RISKY), mode)
    assert [m.text for m in state["messages"] if m.type == "tool"] == ["found o", "deleted right"]
    assert used(state) == [("planning", "large"), ("tool_use", "large"), ("tool_use", "small")]


class AddsTool(AgentMiddleware):
    """Binds a tool that the routing, which stands before it, does not see."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(tools=[*request.tools, delete_file]))

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(request.override(tools=[*request.tools, delete_file]))

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(tool=tool(delete_file)))

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        return await handler(request.override(tool=tool(delete_file)))


@both
@pytest.mark.parametrize("tools", [(), (search,)], ids=["no tools", "tools"])
async def test_risky_tool_that_another_middleware_adds_is_not_called_by_a_lower_tier(mode, tools):
    script = {
        "small": [calls("delete_file", path="wrong")],
        "large": [calls("delete_file", path="right"), FINAL],
    }
    steps = {"planning": {"cascade": ["small", "large"]}, "tool_use": {"cascade": "large"}}
    default = {"default": {"cascade": ["small", "large"]}}
    routed = agent(script, steps, policy=RISKY | default, tools=tools, middleware=[AddsTool()])
    state = await ask(routed, mode)
    assert [m.text for m in state["messages"] if m.type == "tool"] == ["deleted right"]


def test_approval_that_an_agent_cannot_ask_for_is_told_with_the_way_out():
    price = {"price": {"input": 1_000.0, "output": 1_000.0}}
    steps = {"planning": {"cascade": ["small", "large"], "verify": ["no_refusal"]}}
    small, large = (
        ScriptedChatModel(name=name, reply="I cannot help with that.") for name in ("small", "large")
    )
    routed = agent(
        {"small": small, "large": large},
        steps,
        policy={"budget": {"approve_above_usd": 0.001}},
        models={"small": price, "large": price},
        checkpointer=InMemorySaver(),
    )
    with pytest.raises(ApprovalRequired, match="add_routed_step") as caught:
        routed.invoke(ASKED, {"configurable": {"thread_id": "1"}})
    assert caught.value.decision.outcome == "ask"
    assert (len(small.calls), len(large.calls)) == (1, 0)


def test_risky_tool_is_not_called_at_all_where_no_tier_may():
    ran: list[str] = []

    def delete_file(path: str) -> None:
        """Delete a file."""
        ran.append(path)

    steps = {"planning": {"cascade": "small"}}
    routed = agent(
        {"small": [calls("delete_file", path="x")], "large": ["unused"]},
        steps,
        policy=RISKY,
        tools=[delete_file],
    )
    with pytest.raises(AllAttemptsFailed):
        routed.invoke(ASKED)
    assert not ran


@pytest.mark.parametrize("finish_reason", ["length", "content_filter"])
def test_tool_call_that_was_cut_is_not_run(finish_reason):
    cut = Answer(tool_calls=(("search", {"query": "o"}),), finish_reason=finish_reason)
    state = agent({"large-a": [cut, FINAL], "large-b": [calls("search", query="orders"), FINAL]}).invoke(
        ASKED
    )
    assert [m.text for m in state["messages"] if m.type == "tool"] == ["found orders"]
    assert state["langroute"][0]["attempts"][0]["failure"]["kind"] == "cut_stream"


# The request ---------------------------------------------------------------------------------------------


def test_other_middleware_sees_the_real_model_and_its_changes_reach_it():
    seen: list[Any] = []

    @wrap_model_call
    def inner(request: Any, handler: Any) -> Any:
        seen.append(request.model.name)
        changed = request.override(
            system_message=SystemMessage("Be brief."), model_settings={"temperature": 0}
        )
        return handler(changed)

    large = ScriptedChatModel(name="large", replies=[FINAL])
    agent({"large": large}, middleware=[inner]).invoke(ASKED)
    assert seen == ["large"]
    assert large.calls[0].messages[0].text == "Be brief."
    assert large.calls[0].kwargs["temperature"] == 0
    assert len(large.calls[0].kwargs["tools"]) == 3


def test_what_was_bound_to_a_model_in_the_policy_reaches_it():
    large = ScriptedChatModel(name="large", replies=[FINAL])
    tiers = {"large": {"models": [large.bind(seed=7).with_config(tags=["mine"])]}}
    create_agent(
        ScriptedChatModel(reply="x"), [search], middleware=[StepRoutingMiddleware({"tiers": tiers})]
    ).invoke(ASKED)
    assert large.calls[0].kwargs["seed"] == 7


def test_repair_tells_the_model_what_was_found_and_keeps_the_system_message_first():
    large = ScriptedChatModel(name="large", replies=["I cannot help with that.", FINAL])
    steps = {"planning": {"cascade": "large", "verify": ["no_refusal"], "repair": 1}}
    state = agent({"large": large}, steps, system_prompt="Be brief.").invoke(ASKED)
    told = large.calls[1].messages
    assert [message.type for message in told] == ["system", "human", "ai", "human"]
    assert "Your reply was not accepted" in told[-1].text
    assert [message.type for message in state["messages"]] == ["human", "ai"]


@both
async def test_failed_call_falls_back_and_tools_are_bound_to_the_next_model(mode):
    backup = ScriptedChatModel(name="large-b", replies=[FINAL])
    state = await ask(agent({"large-a": [down()], "large-b": backup}), mode)
    assert used(state) == [("planning", "large-b")]
    assert len(backup.calls[0].kwargs["tools"]) == 3


def test_agent_without_the_middleware_is_routed_node_by_node():
    tiers = {
        "small": ScriptedChatModel(name="small", replies=[FINAL]),
        "large": ScriptedChatModel(name="large", replies=[calls("search", query="o")]),
    }
    with capture_decisions() as decisions:
        create_agent(RoutedChatModel({"tiers": tiers, "steps": STEPS}), [search]).invoke(ASKED)
    assert [decision.step.step for decision in decisions] == ["planning", "tool_use"]


# Records -------------------------------------------------------------------------------------------------


@both
async def test_decision_stands_in_the_reply_in_the_state_and_with_the_observers(mode):
    routed = agent({"small": [calls("search", query="o"), "a draft"], "large": [FINAL]}, TO_LARGE)
    with capture_decisions() as decisions:
        state = await ask(routed, mode)
    assert state["langroute"] == [decision.as_dict() for decision in decisions]
    assert state["messages"][-1].response_metadata["langroute"] == state["langroute"][-1]
    assert json.loads(json.dumps(state["langroute"])) == state["langroute"]


def test_decisions_are_given_out_and_not_asked_for():
    routed = agent({"large": [FINAL]})
    assert "langroute" in routed.get_output_jsonschema()["properties"]
    assert "langroute" not in routed.get_input_jsonschema()["properties"]


# Control flow --------------------------------------------------------------------------------------------


@both
async def test_interrupt_inside_a_call_asks_the_person_and_the_run_resumes(mode):
    class Approval(AgentMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            interrupt("may I?")
            return handler(request)

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            interrupt("may I?")
            return await handler(request)

    large = ScriptedChatModel(name="large", replies=[FINAL])
    backup = ScriptedChatModel(name="large-b", replies=["unused"])
    routed = agent({"large": large, "large-b": backup}, middleware=[Approval()], checkpointer=InMemorySaver())
    stopped = await ask(routed, mode, configurable={"thread_id": "1"})
    assert [asked.value for asked in stopped["__interrupt__"]] == ["may I?"]
    assert not large.calls
    resumed = await ask(routed, mode, Command(resume="yes"), configurable={"thread_id": "1"})
    assert resumed["messages"][-1].text == FINAL
    assert (len(large.calls), len(backup.calls)) == (1, 0)


CONTROL = [
    GraphInterrupt(),
    ParentCommand(Command(goto="x")),
    KeyboardInterrupt(),
    GeneratorExit(),
    SystemExit(),
]


def turn() -> tuple[StepRoutingMiddleware, ModelRequest[Any]]:
    models = [ScriptedChatModel(name=name, reply=FINAL) for name in ("a", "b")]
    routing = StepRoutingMiddleware({"tiers": {"large": {"models": models}}})
    return routing, ModelRequest(model=models[0], messages=[HumanMessage("When?")])


@pytest.mark.parametrize(
    "signal", [*CONTROL, asyncio.CancelledError()], ids=lambda signal: type(signal).__name__
)
def test_what_steers_the_host_passes_untouched_and_nothing_more_is_called(signal):
    routing, request = turn()
    asked: list[Any] = []

    def handler(request: Any) -> Any:
        asked.append(request)
        raise signal

    with pytest.raises(type(signal)) as raised:
        routing.wrap_model_call(request, handler)
    assert raised.value is signal
    assert len(asked) == 1


async def test_cancelled_turn_cancels_its_call_and_makes_no_other():
    routing, request = turn()
    events: list[str] = []
    begun = asyncio.Event()

    async def handler(request: Any) -> Any:
        begun.set()
        events.append("called")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    task = asyncio.create_task(routing.awrap_model_call(request, handler))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["called", "cancelled"]


# The door itself -----------------------------------------------------------------------------------------


def test_policy_that_cannot_work_is_told_when_the_middleware_is_made():
    with pytest.raises(PolicyError, match="no_such_tier"):
        StepRoutingMiddleware(
            {"tiers": {"large": ScriptedChatModel(reply="x")}, "default": {"cascade": "no_such_tier"}}
        )


def test_without_langchain_the_message_has_the_line_to_install_it():
    code = "import sys; sys.modules['langchain'] = None; import langroute.middleware"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'langroute[agents]'" in ran.stderr.splitlines()[-1]
