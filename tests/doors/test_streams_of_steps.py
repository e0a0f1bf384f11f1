"""What a person sees of a rejected draft and of the reply that follows, in each form and each stream."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from forms import FORMS, STATES, Typed
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from scenarios import Scenario

GOOD = "The cable was laid in 1866, says the log of the Great Eastern."
BAD = "I cannot help with that, sorry. " + "I have no such log here. " * 20 + "Ask at the harbour."
UNSEEN = "harbour"
"""The end of the rejected draft: a decision's record may quote its beginning."""

SCENARIO = Scenario(
    "a rejected draft escalates",
    {"small-a": [BAD], "large-a": [GOOD]},
    {"cascade": ["small", "large"], "verify": ["no_refusal"]},
    GOOD,
    [],
)
ASKED = {"messages": SCENARIO.messages()}
SEEN = ("messages", "updates", "values", "custom", "checkpoints")
NAMED = ("a node", "inline")
"""Forms whose tokens stand at the top level."""

each_form = pytest.mark.parametrize("form", FORMS)
each_output = pytest.mark.parametrize("output", ["messages", "answer"])
sync_and_async = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def graph(form: str, output: str, state: Any = Typed) -> Any:
    compiled = FORMS[form](SCENARIO, state, output)
    compiled.checkpointer = InMemorySaver()
    return compiled


async def events(graph: Any, modes: Any, *, asynchronous: bool, subgraphs: bool) -> AsyncIterator[Any]:
    """Yield mode and payload of every event of a stream."""
    how: Any = {"config": {"configurable": {"thread_id": "1"}}, "stream_mode": modes, "subgraphs": subgraphs}
    if asynchronous:
        found = [event async for event in graph.astream(ASKED, **how)]
    else:
        found = list(graph.stream(ASKED, **how))
    for event in found:
        if isinstance(modes, str):
            yield modes, event[1] if subgraphs else event
        else:
            yield event[-2:]


def said(payloads: list[Any]) -> str:
    return "".join(message.text for message, _ in payloads if isinstance(message, AIMessage))


@each_form
@each_output
@sync_and_async
@pytest.mark.parametrize("subgraphs", [False, True], ids=["top", "subgraphs"])
@pytest.mark.parametrize(
    "modes", [list(SEEN), *SEEN], ids=lambda modes: modes if isinstance(modes, str) else "all"
)
async def test_accepted_text_is_seen_once_and_rejected_text_never(
    form, output, asynchronous, subgraphs, modes
):
    found = [
        event
        async for event in events(graph(form, output), modes, asynchronous=asynchronous, subgraphs=subgraphs)
    ]
    assert UNSEEN not in repr(found)
    if "messages" in modes:
        # Tokens of a graph in a graph are shown on demand: else a message that it gives is, whole.
        shown = subgraphs or form in NAMED or output == "messages"
        assert said([payload for mode, payload in found if mode == "messages"]) == (GOOD if shown else "")
    if "custom" in modes:
        assert "custom" not in [mode for mode, _ in found]


@each_form
@each_output
@sync_and_async
async def test_v3_events_hold_the_accepted_text_once_and_rejected_text_never(form, output, asynchronous):
    compiled = graph(form, output)
    config = {"configurable": {"thread_id": "1"}}
    if asynchronous:
        found = [event async for event in await compiled.astream_events(ASKED, config, version="v3")]
    else:
        found = list(compiled.stream_events(ASKED, config, version="v3"))
    deltas = [event["params"]["data"][0] for event in found if event["method"] == "messages"]
    pieces = [d["delta"].get("text", "") for d in deltas if d.get("event") == "content-block-delta"]
    assert "".join(pieces) == GOOD
    assert UNSEEN not in repr(found)


@pytest.mark.parametrize("state", STATES)
def test_v3_gives_the_state_as_the_persons_own_class(state):
    values = graph("inline", "answer", state).stream_events(
        ASKED, {"configurable": {"thread_id": "1"}}, version="v3"
    )
    given = values.output
    assert (given if isinstance(given, dict) else vars(given))["answer"] == GOOD


@pytest.mark.parametrize("mode", ["tasks", "debug"])
async def test_modes_for_debugging_show_the_draft_where_a_node_is_given_it(mode):
    found = [
        event async for event in events(graph("inline", "answer"), mode, asynchronous=False, subgraphs=False)
    ]
    tasks = [event.get("payload", event) for _, event in found]
    shown = [task for task in tasks if UNSEEN in repr(task)]
    assert shown
    assert not any(UNSEEN in repr({**task, "input": None}) for task in shown)


def test_snapshots_of_the_state_hold_what_is_the_persons_alone():
    compiled, config = graph("inline", "answer"), {"configurable": {"thread_id": "1"}}
    compiled.invoke(ASKED, config)
    assert {key for shot in compiled.get_state_history(config) for key in shot.values} == {
        "messages",
        "answer",
    }
