"""What a provider asks of those who call it too often: a short wait is waited, a long one is not."""

import pytest
from langgraph.graph import END, START, MessagesState, StateGraph
from routed_models import GOOD, STREAMS, routed, shown

from langroute import RoutedChatModel, add_routed_step
from langroute.testing import Fault, LoopbackProvider, capture_decisions

MODES = ["invoke", "ainvoke", *STREAMS]


def over(provider: LoopbackProvider, **step: object) -> RoutedChatModel:
    return routed({name: provider.chat_model(name) for name in ("small-a", "small-b")}, **step)


def too_many(**headers: str) -> Fault:
    return Fault(
        "status", status=429, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


@pytest.mark.parametrize("mode", MODES)
async def test_short_wait_is_waited_and_the_same_endpoint_called_again(mode: str) -> None:
    with LoopbackProvider({"small-a": GOOD, "small-b": "backup"}) as provider:
        provider.fail("small-a", too_many(retry_after_ms="40"), times=1)
        with capture_decisions() as decisions:
            assert await shown(over(provider), mode) == GOOD
        assert (provider.calls("small-a"), provider.calls("small-b")) == (2, 0)
    first, second = decisions[0].attempts
    assert (first.outcome, second.why, second.outcome) == ("failed", "retry", "accepted")
    assert second.latency_s >= 0.04


@pytest.mark.parametrize("mode", MODES)
async def test_it_is_waited_once(mode: str) -> None:
    with LoopbackProvider({"small-a": GOOD, "small-b": "backup"}) as provider:
        provider.fail("small-a", too_many(retry_after_ms="10"))
        assert await shown(over(provider), mode) == "backup"
        assert provider.calls("small-a") == 2


@pytest.mark.parametrize("mode", MODES)
async def test_long_wait_is_not_waited_and_the_endpoint_is_left_alone_until_then(mode: str) -> None:
    with LoopbackProvider({"small-a": GOOD, "small-b": "backup"}) as provider:
        provider.fail("small-a", too_many(retry_after="30"), times=1)
        model = over(provider)
        assert [await shown(model, mode) for _ in range(2)] == ["backup", "backup"]
        assert (provider.calls("small-a"), provider.calls("small-b")) == (1, 2)
        told = model.router.health()["small-a"]
    assert told["state"] == "held"


async def test_wait_beyond_the_deadline_is_not_waited() -> None:
    with LoopbackProvider({"small-a": GOOD, "small-b": "backup"}) as provider:
        provider.fail("small-a", too_many(retry_after="2"), times=1)
        assert await shown(over(provider, deadline_s=1.9), "invoke") == "backup"


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_step_drawn_as_nodes_waits_too(way: str) -> None:
    with LoopbackProvider({"small-a": GOOD, "small-b": "backup"}) as provider:
        provider.fail("small-a", too_many(retry_after_ms="40"), times=1)
        builder = StateGraph(MessagesState)
        add_routed_step(builder, "answer", over(provider))
        builder.add_edge(START, "answer")
        builder.add_edge("answer", END)
        graph, asked = builder.compile(), {"messages": [("user", "When?")]}
        done = await graph.ainvoke(asked) if way == "async" else graph.invoke(asked)
        assert done["messages"][-1].text == GOOD
        assert provider.calls("small-a") == 2
