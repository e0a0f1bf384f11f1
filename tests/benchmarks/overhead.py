"""What routing costs beside the bare model, `with_fallbacks` and a nested chat model, measured in one run.

    make bench

Every row is timed in turn, round after round, so that a slow moment of the machine hits all of them; the
figures are medians over the rounds and, what counts, ratios of medians.
"""

import asyncio
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import END, START, MessagesState, StateGraph
from rich.console import Console
from rich.table import Table

from langroute import RoutedChatModel, add_routed_step
from langroute.effects import run
from langroute.middleware import StepRoutingMiddleware
from langroute.request import Request

ROUNDS = 60
CALLS = 20
"""Calls a row makes in one round."""


BUDGET = {"per_run_usd": 1, "per_day_usd": 1_000_000, "keys": {"tenant": {"per_day_usd": 1_000_000}}}


class Bare(BaseChatModel):
    """The cheapest possible model: one message, no work."""

    @property
    def _llm_type(self) -> str:
        return "bare"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        message = AIMessage("good", usage_metadata={"input_tokens": 5, "output_tokens": 1, "total_tokens": 6})
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return self._generate(messages)


class Nested(Bare):
    """A chat model inside a chat model, as wrappers are usually written."""

    inner: Any

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.inner.invoke(messages))])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=await self.inner.ainvoke(messages))])


class Noop(AgentMiddleware):
    """The cheapest possible middleware: it hands every model call on."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request)


def tiers() -> dict[str, Any]:
    """Return two bare tiers."""
    price = {"input": 1, "output": 2}
    return {
        tier: {"models": [{"model": Bare(), "name": tier, "price": price}]} for tier in ("small", "large")
    }


def routed(budget: dict[str, Any] | None = None, **step: Any) -> RoutedChatModel:
    """Return a routed model of two bare tiers, whose every call is the given step."""
    policy = {"tiers": tiers(), "steps": {"answer": step}, "budget": budget or {}}
    return RoutedChatModel(policy).for_step("answer")


def rows() -> dict[str, Any]:
    """Return the models to compare by the name of their row; the first is the yardstick."""
    return {
        "bare model": Bare(),
        "routed, plain": routed(cascade=["small"]),
        "routed, plain, budget": routed(BUDGET, cascade=["small"]),
        "routed, plain, deadline": routed(cascade=["small"], deadline_s=60),
        "with_fallbacks": Bare().with_fallbacks([Bare()]),
        "routed, verified two-rung plan": routed(cascade=["small", "large"], verify=["no_refusal"]),
        "nested chat model": Nested(inner=Bare()),
    }


def medians(
    calls: dict[str, Callable[[], None]], clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the median microseconds of one call by row, the rows taking turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = clock()
            call()
            taken[name].append((clock() - started) / CALLS * 1e6)
    return {name: statistics.median(times) for name, times in taken.items()}


def many(call: Callable[[], Any]) -> Callable[[], None]:
    """Return a function that makes CALLS calls."""

    def calls() -> None:
        for _ in range(CALLS):
            call()

    return calls


def amany(loop: asyncio.AbstractEventLoop, call: Callable[[], Awaitable[Any]]) -> Callable[[], None]:
    """Return a function that makes CALLS async calls, one after the other."""

    async def calls() -> None:
        for _ in range(CALLS):
            await call()

    return lambda: loop.run_until_complete(calls())


def call_times() -> tuple[dict[str, float], dict[str, float]]:
    """Return the medians of every row, sync and async."""
    models, loop = rows(), asyncio.new_event_loop()
    try:
        sync = medians({name: many(lambda m=model: m.invoke("hello")) for name, model in models.items()})
        asynchronous = medians(
            {name: amany(loop, lambda m=model: m.ainvoke("hello")) for name, model in models.items()}
        )
    finally:
        loop.close()
    return sync, asynchronous


def graph_times() -> dict[str, float]:
    """Return the medians of a one-node graph around the bare model and of steps drawn as nodes."""
    question = {"messages": [HumanMessage("hello")]}
    graphs = {"one node": one_node_graph()}
    for name, step in (
        ("plain step", {"cascade": ["small"]}),
        ("verified step", {"cascade": ["small", "large"], "verify": ["no_refusal"]}),
    ):
        builder = StateGraph(MessagesState)
        add_routed_step(builder, "answer", routed(**step))
        builder.add_edge(START, "answer")
        builder.add_edge("answer", END)
        graphs[name] = builder.compile()
    return medians({name: many(lambda g=graph: g.invoke(question)) for name, graph in graphs.items()})


def one_node_graph() -> Any:
    """Return a graph whose only node calls the bare model."""
    model = Bare()
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile()


def middleware_us() -> tuple[float, float]:
    """Return the microseconds of CPU time that the middleware adds to one that does nothing.

    For one model call of an agent's loop: plain, and verified and accepted at the first of two tiers.
    """
    question = {"messages": [HumanMessage("hello")]}
    steps = {
        "plain": {"cascade": ["small"]},
        "verified": {"cascade": ["small", "large"], "verify": ["no_refusal"]},
    }
    each: dict[str, AgentMiddleware[Any, Any, Any]] = {"no-op": Noop()}
    each |= {name: StepRoutingMiddleware({"tiers": tiers(), "default": step}) for name, step in steps.items()}
    agents = {name: create_agent(Bare(), [], middleware=[middleware]) for name, middleware in each.items()}
    # CPU time: an agent's loop runs its nodes in threads of its own, whose waiting is nobody's work.
    taken = medians(
        {name: many(lambda a=agent: a.invoke(question)) for name, agent in agents.items()}, time.process_time
    )
    return taken["plain"] - taken["no-op"], taken["verified"] - taken["no-op"]


def deciding_ms(characters: int) -> float:
    """Return the median milliseconds of finding a step and planning it, everything switched on."""
    router = RoutedChatModel(
        {
            "tiers": {
                "small": {"models": [Bare()]},
                "large": {"models": [{"model": Bare(), "name": "large"}]},
            },
            "steps": {
                "answer": {"cascade": ["small", "large"], "route": {"difficulty": {"threshold": 0.9}}},
                "synthesis": {"cascade": ["small", "large"]},
            },
            "rules": [
                {"when": {"keywords": ["refund", "chargeback", "lawsuit"]}, "start": "large"},
                {"when": {"patterns": [r"\b[A-Z]{2}\d{6}\b", r"(?i)select .* from"]}, "start": "large"},
                {"when": {"min_documents": 40}, "start": "large"},
            ],
            "classify": {"keywords": {"answer": ["cable", "laid"]}},
        }
    ).router
    prompt = ("The cable was laid in 1866 by a ship. " * (characters // 38 + 1))[:characters]
    times = []
    for _ in range(50):
        request = Request((HumanMessage(prompt),))
        started = time.perf_counter()
        run(router.decide(request))
        times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def import_ms(statement: str) -> float:
    """Return the median milliseconds of a fresh interpreter that runs `statement`."""
    times = []
    for _ in range(15):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def report() -> dict[str, float]:
    """Print the tables and return the figures the README quotes."""
    gc.collect()
    sync, asynchronous = call_times()
    bare, fallbacks, plain, verified = (
        "bare model",
        "with_fallbacks",
        "routed, plain",
        "routed, verified two-rung plan",
    )
    table = Table("row", "sync us", "x bare", "async us", "x bare", title="One call, medians")
    for name in sync:
        table.add_row(
            name,
            f"{sync[name]:.0f}",
            f"{sync[name] / sync[bare]:.2f}",
            f"{asynchronous[name]:.0f}",
            f"{asynchronous[name] / asynchronous[bare]:.2f}",
        )
    graphs = graph_times()
    middleware_plain, middleware_verified = middleware_us()
    figures = {
        "plain / bare, sync (at most 1.15)": sync[plain] / sync[bare],
        "plain / bare, async (at most 1.15)": asynchronous[plain] / asynchronous[bare],
        "verified / with_fallbacks, sync (at most 1.3)": sync[verified] / sync[fallbacks],
        "verified / with_fallbacks, async (below 1)": asynchronous[verified] / asynchronous[fallbacks],
        "plain step as nodes / one-node graph (at most 3)": graphs["plain step"] / graphs["one node"],
        "verified step as nodes / one-node graph": graphs["verified step"] / graphs["one node"],
        "budget, us added, sync": sync["routed, plain, budget"] - sync[plain],
        "budget, us added, async": asynchronous["routed, plain, budget"] - asynchronous[plain],
        "deadline, us added, sync": sync["routed, plain, deadline"] - sync[plain],
        "deadline, us added, async": asynchronous["routed, plain, deadline"] - asynchronous[plain],
        "middleware, us added (at most 150)": middleware_plain,
        "middleware, verified, us added": middleware_verified,
        "deciding on 50,000 characters, ms (below 1)": deciding_ms(50_000),
        "deciding on 1,000,000 characters, ms (below 5)": deciding_ms(1_000_000),
        "import langroute, ms added (below 50)": import_ms("import langroute") - import_ms("pass"),
    }
    console = Console(width=100)
    console.print(table)
    for claim, figure in figures.items():
        console.print(f"{claim}: {figure:.2f}", highlight=False)
    return figures


if __name__ == "__main__":
    report()
