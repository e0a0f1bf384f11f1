"""How attempts stand in the run tree, and what a graph's stream handler is given of them."""

from typing import Any
from uuid import uuid4

import pytest
from langchain_core.callbacks import BaseCallbackHandler, CallbackManager
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables.config import set_config_context
from langgraph.pregel._messages import StreamMessagesHandler
from routed_models import Runs

from langroute.runs import attempt_config, record, start_group, unheard

CONFIG: Any = {"metadata": {"tenant": "t"}, "run_id": "id", "run_name": "mine", "tags": ["x"]}


def graph_handler(shown: list[Any]) -> StreamMessagesHandler:
    return StreamMessagesHandler(shown.append, subgraphs=False)


def sent(text: str, **kwargs: Any) -> Any:
    """Return what a graph's handler puts into its stream: namespace, mode, message with metadata."""
    return ((), "messages", (AIMessageChunk(content=text, id="m1", **kwargs), {"k": "v"}))


# Groups --------------------------------------------------------------------------------------------------


def test_group_opens_only_where_somebody_listens() -> None:
    assert start_group({}, []).perform() is None


async def test_group_opens_only_where_somebody_listens_async() -> None:
    assert await start_group({}, []).aperform() is None


@pytest.mark.parametrize("given", ["handlers", "manager"])
def test_group_is_the_parent_of_its_attempts(given: str) -> None:
    runs = Runs()
    callbacks: Any = [runs] if given == "handlers" else CallbackManager([runs], inheritable_handlers=[runs])
    group = start_group({"callbacks": callbacks}, []).perform()
    child = attempt_config({"callbacks": callbacks}, group, 0, {})["callbacks"]
    assert child.parent_run_id == runs.chains[0]["run_id"]
    group.end(AIMessage("done")).perform()
    assert runs.ended == [runs.chains[0]["run_id"]]


async def test_group_that_fails_says_so_async() -> None:
    runs = Runs()
    group = await start_group({"callbacks": [runs]}, []).aperform()
    await group.fail(RuntimeError("down")).aperform()
    assert runs.failed == [runs.chains[0]["run_id"]]


# Configs -------------------------------------------------------------------------------------------------


def test_attempts_config_is_the_callers_with_other_metadata() -> None:
    own = attempt_config(CONFIG, None, 0, {"langroute_tier": "small"})
    assert own == {**CONFIG, "metadata": {"langroute_tier": "small"}}
    assert CONFIG["metadata"] == {"tenant": "t"}


def test_attempts_tags_come_after_the_callers_or_those_around_it() -> None:
    assert attempt_config(CONFIG, None, 0, {}, ["more"])["tags"] == ["x", "more"]
    assert CONFIG["tags"] == ["x"]
    with set_config_context({"tags": ["around"]}) as context:
        inside = context.run(attempt_config, {}, None, 0, {}, ["more"])
    assert inside["tags"] == ["around", "more"]


def test_run_id_is_used_once() -> None:
    assert "run_id" not in attempt_config(CONFIG, None, 1, {})
    group = start_group({"callbacks": [Runs()]}, []).perform()
    grouped = attempt_config({**CONFIG, "callbacks": [Runs()]}, group, 0, {})
    assert "run_id" not in grouped
    assert "run_name" not in grouped


# Graph streams -------------------------------------------------------------------------------------------


def test_config_without_a_graph_handler_is_left_alone() -> None:
    config: Any = {"callbacks": [Runs()]}
    same, recordings = record(config, "end", lambda text: True)
    assert same is config
    assert recordings == ()


@pytest.mark.parametrize("given", ["handlers", "manager"])
def test_graph_handler_is_replaced_and_every_other_kept(given: str) -> None:
    shown, other = [], Runs()
    handlers: list[BaseCallbackHandler] = [graph_handler(shown), other]
    callbacks: Any = (
        handlers if given == "handlers" else CallbackManager(handlers, inheritable_handlers=handlers)
    )
    recorded, (recording,) = record({"callbacks": callbacks}, "end", lambda text: True)
    kept = recorded["callbacks"] if given == "handlers" else recorded["callbacks"].handlers
    assert kept == [recording.proxy, other]
    assert isinstance(recording.proxy, StreamMessagesHandler), "so that the model still streams"
    assert handlers[0] in (callbacks if given == "handlers" else callbacks.handlers), (
        "the caller's own is untouched"
    )


def test_rejected_drafts_chunks_reach_nobody() -> None:
    shown: list[Any] = []
    _, (recording,) = record({"callbacks": [graph_handler(shown)]}, "end", lambda text: True)
    recording.proxy.stream(sent("draft"))
    recording.gate.close()
    recording.proxy.stream(sent("late"))
    assert shown == []


def test_accepted_replys_chunks_are_replayed_in_order_under_the_returned_id() -> None:
    shown: list[Any] = []
    handler = graph_handler(shown)
    _, (recording,) = record({"callbacks": [handler]}, "end", lambda text: True)
    for text in ("The ", "cable"):
        recording.proxy.stream(sent(text))
    recording.replay("m1", "m2")
    assert [(payload.text, payload.id) for _, _, (payload, _) in shown] == [("The ", "m2"), ("cable", "m2")]
    assert "m2" in handler.seen, "so that the graph does not emit the returned message once more"


def test_two_recordings_share_nothing() -> None:
    handler = graph_handler([])
    _, (one,) = record({"callbacks": [handler]}, "end", lambda text: True)
    _, (two,) = record({"callbacks": [handler]}, "end", lambda text: True)
    one.proxy.seen.add("m1")
    one.proxy.metadata[uuid4()] = ((), {})
    assert not two.proxy.seen
    assert not two.proxy.metadata
    assert not handler.seen


def test_unheard_config_keeps_tracers_and_drops_the_graphs_handler() -> None:
    other = Runs()
    quiet = unheard({"callbacks": [graph_handler([]), other]})
    assert quiet["callbacks"] == [other]
    assert unheard({}) == {}
