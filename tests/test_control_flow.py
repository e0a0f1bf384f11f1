"""What steers the host passes through every mode, wherever it is raised, and nothing else is called."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables.config import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel
from routed_models import BAD, GOOD, MODES, calls, routed, shown

from langroute import RoutedChatModel
from langroute.testing import ScriptedChatModel, capture_decisions

SIGNALS = [GraphInterrupt(()), GraphBubbleUp(), asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(3)]
"""GeneratorExit is not among them: the host's own streams take it for their being closed."""


class Date(BaseModel):
    """A date."""

    year: int


def lookup(ship: str) -> str:
    """Look up a ship."""
    return ship


def run_in(mode: str, model: Any) -> BaseException:
    """Call a model in a loop of its own and return what it raises: some signals end their loop."""
    try:
        asyncio.run(shown(model, mode))
    except BaseException as error:
        return error
    pytest.fail("nothing was raised")


def named(value: Any) -> str | None:
    return type(value).__name__ if isinstance(value, BaseException) else None


every_signal = pytest.mark.parametrize("signal", SIGNALS, ids=named)
every_mode = pytest.mark.parametrize("mode", MODES)


@every_mode
@every_signal
def test_signal_of_the_model_passes_through(signal: BaseException, mode: str) -> None:
    model = routed({"small-a": signal, "small-b": GOOD, "large-a": GOOD}, verify=["no_refusal"], repair=1)
    assert type(run_in(mode, model)) is type(signal)
    assert calls(model) == {"small-a": 1, "small-b": 0, "large-a": 0}


@every_mode
@every_signal
def test_signal_of_a_verifier_passes_through(signal: BaseException, mode: str) -> None:
    def steers(case: Any) -> bool:
        raise signal

    model = routed({"small-a": BAD, "large-a": GOOD}, verify=[steers], repair=1)
    assert type(run_in(mode, model)) is type(signal)
    assert calls(model) == {"small-a": 1, "large-a": 0}


@every_mode
@every_signal
def test_signal_of_a_judging_model_passes_through(signal: BaseException, mode: str) -> None:
    verify = [{"judge": {"tier": "large", "rubric": "Is it good?"}}]
    model = routed({"small-a": BAD, "large-a": signal}, verify=verify)
    assert type(run_in(mode, model)) is type(signal)
    assert calls(model) == {"small-a": 1, "large-a": 1}


@every_mode
@every_signal
def test_signal_of_a_classifier_passes_through(signal: BaseException, mode: str) -> None:
    tiers = {
        "small": [ScriptedChatModel(name="s", reply=signal)],
        "large": [ScriptedChatModel(name="l", reply=GOOD)],
    }
    policy = {"tiers": tiers, "steps": {"planning": {"cascade": ["large"]}}, "classify": {"model": "small"}}
    model = RoutedChatModel(policy)
    assert type(run_in(mode, model)) is type(signal)
    assert list(calls(model).values()) == [1, 0]


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
@every_signal
def test_signal_of_a_tool_bound_call_passes_through(signal: BaseException, mode: str) -> None:
    model = routed({"small-a": signal, "large-a": GOOD})
    assert type(run_in(mode, model.bind_tools([lookup]))) is type(signal)
    assert calls(model) == {"small-a": 1, "large-a": 0}


@pytest.mark.parametrize("way", ["sync", "async"])
@every_signal
def test_signal_of_a_structured_call_passes_through(signal: BaseException, way: str) -> None:
    model = routed({"small-a": signal, "large-a": {"year": 1}})
    structured = model.with_structured_output(Date)
    with pytest.raises(type(signal)):
        asyncio.run(structured.ainvoke("When?")) if way == "async" else structured.invoke("When?")
    assert calls(model) == {"small-a": 1, "large-a": 0}


@pytest.mark.parametrize("mode", ["invoke", "stream", "ainvoke", "astream"])
def test_generator_exit_of_the_model_calls_nothing_else(mode: str) -> None:
    model = routed({"small-a": GeneratorExit(), "large-a": GOOD})
    assert isinstance(run_in(mode, model), GeneratorExit | RuntimeError)
    assert calls(model) == {"small-a": 1, "large-a": 0}


@every_signal
def test_steered_call_is_recorded_as_cancelled(signal: BaseException) -> None:
    with capture_decisions() as decisions, pytest.raises(type(signal)):
        routed({"small-a": signal, "large-a": GOOD}).invoke("When?")
    assert [decision.outcome for decision in decisions] == ["cancelled"]
    assert [attempt.outcome for attempt in decisions[0].attempts] == ["cancelled"]


# Interrupts in a graph -----------------------------------------------------------------------------------


class Gated(ScriptedChatModel):
    """A model that asks a person before it answers: a cost gate."""

    def _next(self, *args: Any, **kwargs: Any) -> Any:
        if interrupt("May I?") != "yes":
            raise PermissionError("the person said no")
        return super()._next(*args, **kwargs)


def asks_a_person(case: Any) -> bool:
    return interrupt("Is it good?") == "yes"


def answering(model: RoutedChatModel, way: str) -> Any:
    """Return a one-node graph around a model, with a checkpointer."""

    def node(state: MessagesState, config: RunnableConfig) -> Any:
        return {"messages": [model.invoke(state["messages"], config)]}

    async def anode(state: MessagesState, config: RunnableConfig) -> Any:
        return {"messages": [await model.ainvoke(state["messages"], config)]}

    builder = StateGraph(MessagesState)
    builder.add_node("answering", anode if way == "async" else node)
    builder.add_edge(START, "answering")
    builder.add_edge("answering", END)
    return builder.compile(checkpointer=InMemorySaver())


async def step(graph: Any, way: str, given: Any) -> Any:
    config: Any = {"configurable": {"thread_id": "t"}}
    return await graph.ainvoke(given, config) if way == "async" else graph.invoke(given, config)


PLACES: dict[str, Callable[[], RoutedChatModel]] = {
    "model": lambda: routed({"small-a": Gated(name="small-a", reply=GOOD), "large-a": "from large"}),
    "verifier": lambda: routed({"small-a": GOOD, "large-a": "from large"}, verify=[asks_a_person]),
    "judge": lambda: routed(
        {"small-a": GOOD, "large-a": Gated(name="judge", reply={"reason": "fine", "score": 1})},
        verify=[{"judge": {"tier": "large", "rubric": "Is it good?"}}],
    ),
}


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("place", PLACES)
async def test_interrupt_asks_the_person_and_goes_on_with_the_answer(place: str, way: str) -> None:
    graph = answering(PLACES[place](), way)
    state = await step(graph, way, {"messages": [HumanMessage("When?")]})
    assert len(state["__interrupt__"]) == 1
    state = await step(graph, way, Command(resume="yes"))
    assert state["messages"][-1].text == GOOD


def test_cancelled_call_calls_nothing_else() -> None:
    class Hanging(ScriptedChatModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.Event().wait()

    model = routed({"small-a": Hanging(name="s", reply=GOOD), "large-a": GOOD})

    async def cancelled() -> None:
        task = asyncio.create_task(model.ainvoke("When?"))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        await task

    with capture_decisions() as decisions, pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert calls(model)["large-a"] == 0
    assert [decision.outcome for decision in decisions] == ["cancelled"]


def test_callers_own_deadline_is_no_failure_of_the_provider() -> None:
    class Hanging(ScriptedChatModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.Event().wait()

    model = routed({"small-a": Hanging(name="s", reply=GOOD), "large-a": GOOD})
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(model.ainvoke("When?"), 0.05))
    assert calls(model)["large-a"] == 0
