"""Every way of calling a chat model, a graph and an agent; each notes what its caller sees."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fault_answers import Invoice, add, final, ran
from fault_outcomes import Seen
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

__all__ = ["AGENT", "GRAPH", "MODEL", "Mode"]

THREE = ("Q1", "Q2", "Q3")


@dataclass(frozen=True)
class Mode:
    """One way of calling."""

    name: str
    call: Callable[[Any, Seen], Any]
    kind: str = "text"
    streamed: bool = False
    questions: tuple[str, ...] = ("Q1",)
    rounds: int = 1

    def seen(self) -> Seen:
        return Seen(self.kind, self.questions, self.streamed, self.rounds)


def note(seen: Seen, message: Any) -> None:
    """Note one whole answer."""
    refused = message.additional_kwargs.get("refusal")
    seen.finish = "refusal" if refused else message.response_metadata.get("finish_reason")
    if seen.kind == "tools":
        seen.answers.append([call["args"] for call in message.tool_calls])
    else:
        seen.answers.append(message.text)


def piece(seen: Seen, chunk: Any) -> Any:
    """Note one piece of a stream."""
    seen.shown += chunk.text + "".join(
        str(c["args"] or c["name"] or "") for c in getattr(chunk, "tool_call_chunks", ())
    )
    return chunk


def joined(seen: Seen, chunks: list[Any]) -> None:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    note(seen, whole)


def invoke(model, seen):
    note(seen, model.invoke("Q1"))


async def ainvoke(model, seen):
    note(seen, await model.ainvoke("Q1"))


def stream(model, seen):
    joined(seen, [piece(seen, chunk) for chunk in model.stream("Q1")])


async def astream(model, seen):
    joined(seen, [piece(seen, chunk) async for chunk in model.astream("Q1")])


def batch(model, seen):
    for message in model.batch(list(THREE)):
        note(seen, message)


async def abatch(model, seen):
    for message in await model.abatch(list(THREE)):
        note(seen, message)


def delta(seen: Seen, event: Any) -> None:
    """Note one event of a v3 stream."""
    part = event.get("delta") or {}
    seen.shown += str(part.get("text") or part.get("args") or "")
    if event["event"] == "content-block-start":
        seen.shown += str(event.get("content_block", event.get("content", {})).get("name") or "")


def v3(model, seen):
    events = model.stream_events("Q1", version="v3")
    for event in events:
        delta(seen, event)
    note(seen, events.output)


async def av3(model, seen):
    events = await model.astream_events("Q1", version="v3")
    async for event in events:
        delta(seen, event)
    note(seen, await events.output)


async def v2(model, seen):
    run = None
    async for event in model.astream_events("Q1", version="v2"):
        if event["event"] == "on_chat_model_stream":
            if event["run_id"] != run and seen.shown.isspace():
                seen.shown = ""  # every attempt is a run of its own here; blank ones show nothing
            run = event["run_id"]
            chunk = piece(seen, event["data"]["chunk"])
            seen.finish = chunk.response_metadata.get("finish_reason") or seen.finish
    seen.answers.append(seen.shown)


def generate(model, seen):
    note(seen, model.generate([[HumanMessage("Q1")]]).generations[0][0].message)


def tools(call):
    return lambda model, seen: call(model.bind_tools([add]), seen)


def atools(call):
    async def bound(model, seen):
        await call(model.bind_tools([add]), seen)

    return bound


def structured(method):
    return lambda model, seen: seen.answers.append(
        model.with_structured_output(Invoice, method=method).invoke("Q1")
    )


def astructured(method):
    async def call(model, seen):
        seen.answers.append(await model.with_structured_output(Invoice, method=method).ainvoke("Q1"))

    return call


MODEL = (
    Mode("invoke", invoke),
    Mode("ainvoke", ainvoke),
    Mode("stream", stream, streamed=True),
    Mode("astream", astream, streamed=True),
    Mode("batch", batch, questions=THREE),
    Mode("abatch", abatch, questions=THREE),
    Mode("v3", v3, streamed=True),
    Mode("av3", av3, streamed=True),
    Mode("v2 events", v2, streamed=True),
    Mode("tools", tools(invoke), "tools"),
    Mode("atools", atools(ainvoke), "tools"),
    Mode("tools stream", tools(stream), "tools", streamed=True),
    Mode("tools astream", atools(astream), "tools", streamed=True),
    Mode("tools v3", tools(v3), "tools", streamed=True),
    Mode("function calling", structured("function_calling"), "object"),
    Mode("json schema", structured("json_schema"), "object"),
    Mode("afunction calling", astructured("function_calling"), "object"),
    Mode("ajson schema", astructured("json_schema"), "object"),
)


# Graphs: the state's last message, or what the messages stream shows ------------------------------------

ASKED = {"messages": [HumanMessage("Q1")]}


def last(seen: Seen, state: Any) -> None:
    note(seen, state["messages"][-1])


def graph_invoke(graphs, seen):
    last(seen, graphs[seen.kind].invoke(ASKED))


async def graph_ainvoke(graphs, seen):
    last(seen, await graphs[seen.kind].ainvoke(ASKED))


def told(seen: Seen, message: Any) -> None:
    if isinstance(message, AIMessageChunk):
        piece(seen, message)
        seen.finish = message.response_metadata.get("finish_reason") or seen.finish
    elif isinstance(message, AIMessage):
        seen.shown += message.text


def graph_stream(graphs, seen):
    for _, (message, _) in graphs[seen.kind].stream(ASKED, stream_mode="messages", subgraphs=True):
        told(seen, message)
    seen.answers.append(seen.shown)


async def graph_astream(graphs, seen):
    async for _, (message, _) in graphs[seen.kind].astream(ASKED, stream_mode="messages", subgraphs=True):
        told(seen, message)
    seen.answers.append(seen.shown)


def graph_object(graphs, seen):
    seen.answers.append(graphs["object"].invoke(ASKED)["found"])


async def graph_aobject(graphs, seen):
    seen.answers.append((await graphs["object"].ainvoke(ASKED))["found"])


def graph_values(graphs, seen):
    """Read a graph's state while its messages stream: then its models stream too, whoever calls them."""
    state = {}
    for _, mode, given in graphs[seen.kind].stream(ASKED, stream_mode=["messages", "values"], subgraphs=True):
        if mode == "messages":
            told(seen, given[0])
        else:
            state = given
    if seen.kind == "object":
        seen.answers.append(state["found"])
    else:
        last(seen, state)


GRAPH = (
    Mode("invoke", graph_invoke),
    Mode("ainvoke", graph_ainvoke),
    Mode("stream", graph_stream, streamed=True),
    Mode("astream", graph_astream, streamed=True),
    Mode("tools", graph_invoke, "tools"),
    Mode("atools", graph_ainvoke, "tools"),
    Mode("function calling", graph_object, "object"),
    Mode("afunction calling", graph_aobject, "object"),
    Mode("tools, streamed", graph_values, "tools", streamed=True),
    Mode("function calling, streamed", graph_values, "object", streamed=True),
)


# Agents: the tools that ran, and the last message -------------------------------------------------------


def starting() -> list[Any]:
    """Return what the tools of this cell will note their calls in."""
    executed: list[Any] = []
    ran.set(executed)
    return executed


def agreed(seen: Seen, state: Any, executed: list[Any]) -> None:
    """Note which calls the agent's tools ran, if its last word is whole."""
    said = state["messages"][-1].text
    if said not in (final("primary"), final("backup")):
        seen.answers.append(said)
        return
    args = [c["args"] for m in state["messages"] for c in getattr(m, "tool_calls", ())]
    seen.answers.append(args)
    if sorted(executed) != sorted((call["a"], call["b"]) for call in args):
        seen.answers[-1] = f"ran {executed}"


def agent_invoke(agents, seen):
    executed = starting()
    agreed(seen, agents["tools"].invoke(ASKED), executed)


async def agent_ainvoke(agents, seen):
    executed = starting()
    agreed(seen, await agents["tools"].ainvoke(ASKED), executed)


def agent_stream(agents, seen):
    executed, state = starting(), {}
    for mode, given in agents["tools"].stream(ASKED, stream_mode=["messages", "values"]):
        if mode == "values":
            state = given
        else:
            told(seen, given[0])
    agreed(seen, state, executed)


async def agent_astream(agents, seen):
    executed, state = starting(), {}
    async for mode, given in agents["tools"].astream(ASKED, stream_mode=["messages", "values"]):
        if mode == "values":
            state = given
        else:
            told(seen, given[0])
    agreed(seen, state, executed)


def agent_object(agents, seen):
    seen.answers.append(agents["object"].invoke(ASKED)["structured_response"])


async def agent_aobject(agents, seen):
    seen.answers.append((await agents["object"].ainvoke(ASKED))["structured_response"])


AGENT = (
    Mode("invoke", agent_invoke, "tools", rounds=2),
    Mode("ainvoke", agent_ainvoke, "tools", rounds=2),
    Mode("stream", agent_stream, "tools", streamed=True, rounds=2),
    Mode("astream", agent_astream, "tools", streamed=True, rounds=2),
    Mode("structured", agent_object, "object"),
    Mode("astructured", agent_aobject, "object"),
)
