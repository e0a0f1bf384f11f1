"""A pipeline in which every secret is a word of its own, and every place where it might show."""

import contextlib
import io
import json
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypedDict

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tracers.base import BaseTracer
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from sqlalchemy import create_engine, inspect, text
from telemetering import Kept, kept_telemetry

from langroute import Policy, RoutedChatModel, add_routed_step
from langroute.cascade import Call
from langroute.cli import main
from langroute.decision import Decision
from langroute.drive import Cascade
from langroute.errors import AllAttemptsFailed, ApprovalRequired, PartialStream
from langroute.ledger import open_store
from langroute.request import Request
from langroute.testing import LoopbackProvider, capture_decisions
from langroute.testing.faults import Fault
from langroute.wire import Private

KEY = "sk-proj-SENTINELkey0123456789abcdef"
HEADER = "sentinel-header-of-team-blue"
URL_PASSWORD = "sentinelurlpass"  # noqa: S105 - what is searched for
PROXY_PASSWORD = "sentinelproxypass"  # noqa: S105 - likewise
PROMPT = "SENTINELPROMPT the patient in room nine was born on the third of May"
REPLY = "I cannot help with that: SENTINELREPLY."
ARGUMENT = "SENTINELARGUMENT account forty-two of the northern branch office"

SECRETS = {"key": KEY, "header": HEADER, "url password": URL_PASSWORD, "proxy password": PROXY_PASSWORD}
TEXTS = {"prompt": "SENTINELPROMPT", "reply": "SENTINELREPLY", "argument": "SENTINELARGUMENT"}

CONVERSATION = [
    HumanMessage(PROMPT),
    AIMessage("", tool_calls=[{"name": "look_up", "args": {"account": ARGUMENT}, "id": "1"}]),
    ToolMessage(f"{ARGUMENT}: open", tool_call_id="1"),
    HumanMessage(PROMPT),
]


def written(**more: Any) -> dict[str, Any]:
    """Return a policy whose models carry a secret header; where they are the environment says."""
    settings = {"default_headers": {"X-Team": HEADER}, "temperature": 0}
    models = {
        name: [{"model": f"openai:{name}", "settings": settings, "price": {"input": 1, "output": 4}}]
        for name in ("small", "large", "broken")
    }
    return {
        "tiers": models,
        "steps": {
            "answer": {"cascade": ["small", "large"], "verify": ["no_refusal"]},
            "failing": {"cascade": "broken"},
        },
        **more,
    }


class Heard(BaseCallbackHandler):
    """Notes what langroute and the host say of a run, beside what goes in and comes out."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.said.append(repr((serialized, kwargs)))

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.said.append(repr((serialized, kwargs)))

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.said.append(repr(kwargs))


class Traced(BaseTracer):
    """Keeps what LangSmith would be sent of each run, but for inputs and outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def _persist_run(self, run: Any) -> None:
        waiting = [run]
        while waiting:
            one = waiting.pop()
            waiting += one.child_runs
            self.said.append(repr((one.name, one.serialized, one.extra, one.tags, one.error)))


class Logged(logging.Handler):
    """Keeps every record of every logger, DEBUG included, as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.by_logger: dict[str, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        family = record.name.partition(".")[0]
        self.by_logger.setdefault(family, []).append(self.format(record))


@dataclass
class Scene:
    """Everything that was made while the pipeline ran."""

    provider: LoopbackProvider
    model: RoutedChatModel
    reply: Any
    decisions: list[Decision]
    heard: Heard
    traced: Traced
    logged: Logged
    echoed: AllAttemptsFailed
    """Of a provider whose own error holds key, prompt and argument."""
    failed: AllAttemptsFailed
    partial: PartialStream
    approval: ApprovalRequired
    warned: list[str]
    graph: Any
    thread: dict[str, Any]
    store: str
    asked: Any
    telemetry: Kept
    rows: list[str] = field(default_factory=list)

    @property
    def policy(self) -> Policy:
        return self.model.policy

    @property
    def models(self) -> list[Any]:
        return [endpoint.model for endpoint in self.model.router.endpoints.by_name.values()]

    @property
    def request(self) -> Request:
        return Request(tuple(CONVERSATION), step="answer")

    @property
    def decision(self) -> Decision:
        return next(d for d in self.decisions if d.outcome == "accepted")

    @property
    def kept(self) -> Any:
        """What the step has kept in the graph's state."""
        saved = self.graph.checkpointer.get_tuple(self.thread).checkpoint["channel_values"]
        return {name: value for name, value in saved.items() if name != "question"}


@contextlib.contextmanager
def played(store: str) -> Iterator[Scene]:
    """Run the pipeline once through the chat model and the graph; the environment names the server."""
    root, logged = logging.getLogger(), Logged()
    before = root.level
    root.addHandler(logged)
    root.setLevel(logging.DEBUG)
    models = {"small": REPLY, "large": "It was laid in 1866.", "broken": "never said, as it is told to fail"}
    try:
        with LoopbackProvider(models) as provider, warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            where = provider.base_url.replace("://", f"://svc:{URL_PASSWORD}@")
            with _environment(OPENAI_API_KEY=KEY, OPENAI_BASE_URL=where), kept_telemetry() as telemetry:
                yield _performed(provider, store, logged, warned, telemetry)
    finally:
        root.removeHandler(logged)
        root.setLevel(before)


def _performed(
    provider: LoopbackProvider, store: str, logged: Logged, warned: list[Any], telemetry: Kept
) -> Scene:
    model = RoutedChatModel(written())
    heard, traced = Heard(), Traced()
    told = f"rejected {KEY}: cannot serve the prompt '{PROMPT}' with {json.dumps(ARGUMENT)}"
    provider.fail("broken", Fault("status", status=500, message=told), times=1)
    provider.fail("broken", Fault("drop"), times=1)
    with capture_decisions() as decisions:
        reply = model.for_step("answer").invoke(CONVERSATION, {"callbacks": [heard, traced]})
        echoed = _raised(lambda: model.for_step("failing").invoke(CONVERSATION), AllAttemptsFailed)
        failed = _raised(lambda: model.for_step("failing").invoke(CONVERSATION), AllAttemptsFailed)
        provider.fail("broken", Fault("reset", after_chunks=3), times=1)
        partial = _raised(lambda: list(model.for_step("failing").stream(CONVERSATION)), PartialStream)
        dear = RoutedChatModel(written(budget={"approve_above_usd": 0.0}))
        approval = _raised(lambda: dear.for_step("answer").invoke(CONVERSATION), ApprovalRequired)
    graph, thread = _drawn(dear, store), {"configurable": {"thread_id": "t"}}
    asked = graph.invoke({"question": PROMPT}, thread)["__interrupt__"]
    said = [str(warning.message) for warning in warned]
    return Scene(
        provider,
        model,
        reply,
        decisions,
        heard,
        traced,
        logged,
        echoed,
        failed,
        partial,
        approval,
        said,
        graph,
        thread,
        store,
        asked,
        telemetry,
    )


class State(TypedDict):
    """The graph's state."""

    question: str
    answer: str


def _drawn(model: RoutedChatModel, store: str) -> Any:
    builder = StateGraph(State)
    add_routed_step(builder, "answer", model, prompt="{question}", output="answer", answer_store=store)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=InMemorySaver())


def _raised(act: Callable[[], Any], kind: type[Any]) -> Any:
    try:
        act()
    except kind as error:
        return error
    raise AssertionError(f"nothing raised {kind.__name__}")


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    import pytest

    with pytest.MonkeyPatch.context() as patched:
        for name, value in values.items():
            patched.setenv(name, value)
        yield


def rows(url: str) -> str:
    """Return every column of every table of a store but the replies, which are kept to be given again."""
    engine = create_engine(url)
    with engine.connect() as connection:
        tables = inspect(engine).get_table_names()
        found = [repr(connection.execute(text(f"SELECT * FROM {name}")).mappings().all()) for name in tables]  # noqa: S608 - names it just read
    engine.dispose()
    return "\n".join(found)


def told(error: BaseException) -> str:
    """Return everything an error holds: text, attributes, causes, and the traceback."""
    parts, waiting = [], [error]
    while waiting:
        one = waiting.pop()
        parts += [str(one), repr(one), repr(one.args), repr(vars(one))]
        waiting += [e for e in (one.__cause__, one.__context__) if e is not None]
        waiting += getattr(one, "exceptions", ())
        parts += traceback.format_exception(one)
    return "\n".join(parts)


def locals_of(error: BaseException) -> str:
    """Return the locals of langroute's own frames in an error's traceback, as some logs show them."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in shown.stack if "/langroute/" in frame.filename.replace("\\\\", "/")]
    return "\n".join(repr(frame.locals) for frame in frames)


def printed(*args: str, policy: dict[str, Any], folder: Any) -> str:
    """Return what the command line prints for a policy."""
    path = folder / "policy.json"
    path.write_text(json.dumps(policy))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.suppress(SystemExit):
        main([str(path) if arg == "POLICY" else arg for arg in args])
    return out.getvalue() + err.getvalue()


def cascade_parts(scene: Scene) -> str:
    """Return the reprs of what a call is made of."""
    cascade = Cascade(scene.model.router, scene.request, {})
    plan = scene.model.router.plan(scene.request)
    call = cascade._open(cascade.judged_by(plan), plan, Call("small", "openai:small", "start"))
    return repr((cascade, plan, call, scene.request, scene.request.documents, call.target))


SINKS: dict[str, Callable[[Scene], Any]] = {
    "repr of the policy": lambda s: repr(s.policy),
    "str of the policy": lambda s: str(s.policy),
    "dump of the policy": lambda s: repr(s.policy.model_dump()),
    "JSON of the policy": lambda s: s.policy.model_dump_json(),
    "digest of the policy": lambda s: s.policy.digest,
    "a tier and its models": lambda s: repr([(t, t.models) for t in s.policy.tiers.values()]),
    "endpoints": lambda s: repr([(e, vars(e)) for e in s.model.router.endpoints.by_name.values()]),
    "router": lambda s: repr((s.model.router, vars(s.model.router), s.model.router.health())),
    "repr of the routed model": lambda s: repr((s.model, s.model.for_step("answer"))),
    "dump of the routed model": lambda s: repr((s.model.model_dump(), s.model._identifying_params)),
    "LangChain dump of the routed model": lambda s: dumps(s.model),
    "repr of the endpoints' models": lambda s: repr(s.models),
    "dump of the endpoints' models": lambda s: repr([m.model_dump() for m in s.models]),
    "LangChain dump of the endpoints' models": lambda s: "".join(dumps(m) for m in s.models),
    "a call and its parts": cascade_parts,
    "decision": lambda s: repr(s.decision) + json.dumps(s.decision.as_dict()),
    "record in the reply": lambda s: repr(s.reply.response_metadata),
    "decisions that observers hear": lambda s: repr(s.decisions),
    "callbacks": lambda s: "\n".join(s.heard.said),
    "tracer": lambda s: "\n".join(s.traced.said),
    "spans": lambda s: "\n".join(span.to_json() for span in s.telemetry.spans),
    "metrics": lambda s: s.telemetry.metrics().to_json(),
    "log of langroute": lambda s: "\n".join(s.logged.by_logger.get("langroute", ())),
    "logs of everybody, DEBUG": lambda s: repr(s.logged.by_logger),
    "warnings": lambda s: "\n".join(s.warned),
    "text of AllAttemptsFailed": lambda s: str(s.failed) + str(s.echoed),
    "decision of AllAttemptsFailed": lambda s: repr(s.echoed.decision) + repr(s.failed.decision),
    "AllAttemptsFailed, whole": lambda s: told(s.failed),
    "locals of AllAttemptsFailed": lambda s: locals_of(s.failed),
    "text of PartialStream": lambda s: str(s.partial),
    "PartialStream, whole": lambda s: told(s.partial),
    "locals of PartialStream": lambda s: locals_of(s.partial),
    "text of ApprovalRequired": lambda s: str(s.approval),
    "ApprovalRequired, whole": lambda s: told(s.approval),
    "locals of ApprovalRequired": lambda s: locals_of(s.approval),
    "checkpoint": lambda s: repr(s.kept),
    "state of the graph": lambda s: repr(s.graph.get_state(s.thread)),
    "question to a person": lambda s: repr(s.asked),
    "drawing": lambda s: s.graph.get_graph().draw_mermaid(),
    "answer store": lambda s: rows(s.store),
    "store object": lambda s: repr((open_store(s.store), vars(open_store(s.store)))),
    "HTTP clients": lambda s: repr([(m.http_client, m.http_async_client, Private()) for m in s.models]),
}
"""Where a secret might show: at each place, what stands there."""

HOLDS_TEXT: dict[str, set[str]] = {
    "locals of AllAttemptsFailed": {"prompt", "argument"},  # the caller's own arguments, on their way through
    "locals of PartialStream": {"prompt", "argument"},
    "locals of ApprovalRequired": {"prompt", "argument", "reply"},
    "state of the graph": {"prompt", "reply"},  # the graph's input
    "decision": {"reply"},  # what a verifier found quotes the beginning of a rejected reply
    "record in the reply": {"reply"},
    "decisions that observers hear": {"reply"},
    "ApprovalRequired, whole": {"reply"},
    "checkpoint": {"reply"},
    "question to a person": {"reply"},
    "answer store": {"reply"},
}
"""Sinks that are meant to hold some text, or cannot but hold it: the README says which."""
