"""`StepRoutingMiddleware`: every model call of an agent's loop is a step of its own, routed by the policy.

The handler that `create_agent` hands to a middleware stands where a chat model stands elsewhere: the one
cascade calls it with the endpoint's own model in the request, and judges what it gives back. The agent
binds tools and response format to that model itself.
"""

import asyncio
import operator
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context, copy_context
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, cast

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import _set_config_context, var_child_runnable_config
from langgraph.types import Command

from langroute import drive
from langroute.admission import called
from langroute.arms import Arms
from langroute.budget import Purse
from langroute.decision import StepAnswer
from langroute.effects import Flow
from langroute.endpoints import Endpoint
from langroute.following import Routed
from langroute.loop import FINAL_STEP, seen_in_loop
from langroute.pieces import cut
from langroute.policy import Policy
from langroute.request import EMPTY, Request, made_request
from langroute.runs import record
from langroute.steps import metadata_of
from langroute.targets import Target, made_target

try:
    from langchain.agents import AgentState
    from langchain.agents.middleware import (
        AgentMiddleware,
        ExtendedModelResponse,
        ModelRequest,
        ModelResponse,
    )
    from langchain.agents.middleware.types import OmitFromSchema
    from langchain.agents.structured_output import (
        AutoStrategy,
        ProviderStrategy,
        StructuredOutputError,
        ToolStrategy,
    )
except ImportError as error:
    raise ImportError(
        "langroute.middleware needs the langchain package: pip install 'langroute[agents]'"
    ) from error

__all__ = ["StepRoutingMiddleware", "StepRoutingState"]

_STRATEGIES = (AutoStrategy, ToolStrategy, ProviderStrategy)
"""Ways to ask for an object; else a response format is its schema."""


class StepRoutingState(AgentState[Any], total=False):
    """The agent's state with what was decided."""

    # The reducer must stand last: LangGraph takes no other for one.
    langroute: Annotated[list[dict[str, Any]], OmitFromSchema(input=True, output=False), operator.add]
    """Record of every decision of the run, in order: see `langroute.decision.Decision.as_dict`."""


class StepRoutingMiddleware(AgentMiddleware[StepRoutingState, Any, Any]):
    """Routes each model call of `create_agent`'s loop as a step of its own; put it first in the list.

    A call is `planning` before any tool has answered, `tool_use` after one, `recovery` after one that
    failed or was called twice alike, and `synthesis` where no tool may be called any more; a step counts
    only where the policy names it, and a step said or declared (the node is `model`) wins. Where the
    policy names `synthesis`, a reply that ends the loop from a tier below that step's first is asked for
    again as `synthesis`, and never shown. A reply without the object that `response_format` asks for is
    rejected like any other, so a step without `repair` or a next tier ends there with an error.

    Each reply says in `response_metadata["langroute"]` what was decided; the state's `langroute` lists all.

    Args:
        policy: A `Policy`, a path to a YAML, TOML or JSON file, or a mapping.
        embeddings: LangChain `Embeddings`, for intents and example-based classification.
        embeddings_boundary: Where those run, as the policy's boundaries are named.
        classifier: As in `RoutedChatModel`, and so are the other two.
        difficulty_classifier: As there.
        classifiers_boundary: As there.
        ledger: As there.
        functions: As there.

    Raises:
        PolicyError: The policy cannot work; every problem is listed.
        EndpointError: A client cannot be built: the message names the missing variable or package.

    Example:
        ```python
        agent = create_agent("openai:gpt-5", tools, middleware=[StepRoutingMiddleware("langroute.yaml")])
        agent.invoke({"messages": "How many orders are open?"})["langroute"][0]["tier"]
        ```
    """

    state_schema = StepRoutingState

    def __init__(
        self,
        policy: Policy | str | Path | Mapping[str, Any],
        *,
        embeddings: Embeddings | None = None,
        embeddings_boundary: str = "hosted",
        classifier: Any = None,
        difficulty_classifier: Any = None,
        classifiers_boundary: str = "hosted",
        ledger: Any = None,
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.arms = Arms.of(
            Policy.load(policy),
            embeddings=embeddings,
            embeddings_boundary=embeddings_boundary,
            classifier=classifier,
            difficulty_classifier=difficulty_classifier,
            classifiers_boundary=classifiers_boundary,
            ledger=ledger,
            functions=functions,
        )
        self.router = self.arms.main
        self.arms.connect()

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ExtendedModelResponse[Any]:
        """Route one model call of the loop.

        Raises:
            AllAttemptsFailed: Every attempt failed, or gave nothing that may be returned.
            ApprovalRequired: The policy wants a person's word before the next call.
        """
        return drive.run(self._routed(_Calls(request, handler)))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ExtendedModelResponse[Any]:
        """Route one model call of the loop in the running event loop; otherwise as `wrap_model_call`."""
        return await drive.arun(self._routed(_Calls(request, handler)))

    def _routed(self, calls: "_Calls") -> Flow[ExtendedModelResponse[Any]]:
        """Route the call by the router of its arm."""
        if self.arms.canary is None:
            return self._turn(calls)
        config, mine = _config_of_node(), copy(self)
        mine.router = self.arms.draw(config, metadata_of(config)).router
        return mine._turn(calls)  # noqa: SLF001 - its own kind

    def _turn(self, calls: "_Calls") -> Flow[ExtendedModelResponse[Any]]:
        """Route the call, and ask `synthesis` where a tier below it gave the final answer."""
        config = _config_of_node()
        metadata = metadata_of(config)
        asked = calls.asked(metadata, self.router.purse(config, metadata))
        answer = yield from self._step(asked)
        first = asked.marked(answer=answer)
        if not self._may_be_superseded(first):
            return calls.response((yield from drive.Cascade(self.router, first, config).flow()))
        held, recordings = record(config, "end", lambda _: False)
        routed = yield from drive.Cascade(self.router, first.marked(held=True), held).flow()
        tier = routed.decision.attempts[cast("int", routed.decision.chosen)].tier
        if not _ends_the_loop(routed) or not self._is_below(tier):
            shown = routed.reply.message.id
            for recording in recordings:
                recording.replay(shown, shown)
            return calls.response(routed)
        for recording in recordings:
            recording.gate.close()
        wanted = self.router.policy.steps[FINAL_STEP].cascade[0]
        reason = f"{answer.step} ended the loop on {tier}, and final answers are for {wanted} or above"
        again = replace(calls, given=[])
        final = asked.marked(answer=StepAnswer(FINAL_STEP, "seen", reason), binding=again)
        return again.response((yield from drive.Cascade(self.router, final, config).flow()), before=routed)

    def _step(self, asked: Request) -> Flow[StepAnswer]:
        """Return which step a call is; what only a loop can show goes before what any call shows."""
        # With tools bound the schema is for the loop's last reply, and says nothing about this one.
        is_loop = asked.tools and asked.schema is not None
        answer = yield from self.router.finder.find(replace(asked, schema=None) if is_loop else asked)
        if answer.source in ("said", "declared"):
            return answer
        for step, reason in seen_in_loop(asked):
            if step in self.router.policy.steps:
                return StepAnswer(step, "seen", reason, spend=answer.spend)
        return answer

    def _may_be_superseded(self, request: Request) -> bool:
        """Whether the reply may turn out to be a final answer from too low a tier."""
        answer = cast("StepAnswer", request.answer)
        if not request.tools or answer.step == FINAL_STEP or answer.source in ("said", "declared"):
            return False
        return self._is_below(self.router.policy.step(answer.step).cascade[0])

    def _is_below(self, tier: str) -> bool:
        final = self.router.policy.steps.get(FINAL_STEP)
        return final is not None and self.router.rank(tier) < self.router.rank(final.cascade[0])


@dataclass(eq=False)
class _Calls:
    """The agent's request and handler as something to call on an endpoint, and what each call gave."""

    request: ModelRequest[Any]
    handler: Callable[[ModelRequest[Any]], Any]
    given: list[tuple[ModelResponse[Any], AIMessage] | None] = field(default_factory=list)
    """Response and the reply in it, by call; None where there is none that could be returned."""
    include_raw = False

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the agent's other middleware set for the model's call."""
        return self.request.model_settings

    def asked(self, metadata: Mapping[str, Any], purse: Purse | None) -> Request:
        """Return the agent's request as the router knows requests."""
        system = self.request.system_message
        may_call = self.request.tool_choice != "none"
        return made_request(
            (*((system,) if system else ()), *self.request.messages),
            metadata=metadata,
            tools=tuple(self.request.tools) if may_call else (),
            schema=_schema(self.request.response_format),
            binding=self,
            more_tools=may_call,
            purse=purse,
        )

    def bind(self, endpoint: Endpoint, model: BaseChatModel, key: Any) -> Target:  # noqa: ARG002 - nothing is kept
        """Return the handler as a target that calls the endpoint's own model."""
        return made_target(_Handler(self, endpoint, model), EMPTY, endpoint.bound_config, prompted=False)

    def read(self, outcome: ModelResponse[Any] | StructuredOutputError) -> Any:
        """Return what a call gave as a cascade reads it, and keep the response.

        Raises:
            ConnectionResetError: The reply was cut while it called a tool, which would run on half a value.
        """
        if isinstance(outcome, StructuredOutputError):
            return {"raw": outcome.ai_message, "parsing_error": outcome}
        replies = [message for message in outcome.result if isinstance(message, AIMessage)]
        message = replies[-1] if replies else AIMessage("")
        if cut(message):
            raise ConnectionResetError("the reply was cut while it called a tool")
        self.given[-1] = outcome, message
        if self.request.response_format is None:
            return message
        parsed = outcome.structured_response
        told = next((m.text for m in outcome.result if isinstance(m, ToolMessage)), None)
        error = ValueError(told) if parsed is None and told is not None else None
        return {"raw": message, "parsed": parsed, "parsing_error": error}

    def response(self, routed: Routed, before: Routed | None = None) -> ExtendedModelResponse[Any]:
        """Return the chosen response with the finished reply in it, and the update that records decisions."""
        before_it = routed.decision.attempts[: routed.decision.chosen]
        chosen = self.given[sum(map(called, before_it))]
        response, given = cast("tuple[ModelResponse[Any], AIMessage]", chosen)
        reply = routed.reply.message
        result = [reply if message is given else message for message in response.result]
        replies = [reply] if before is None else [before.reply.message, reply]
        records = [message.response_metadata["langroute"] for message in replies]
        return ExtendedModelResponse(
            ModelResponse(result, response.structured_response), Command(update={"langroute": records})
        )


class _Handler(Runnable[Any, Any]):
    """The agent's handler as a runnable: what it calls inherits the attempt's config, gates and all."""

    def __init__(self, calls: _Calls, endpoint: Endpoint, model: BaseChatModel) -> None:
        self._calls = calls
        self._settings = {**endpoint.bound_kwargs, **calls.request.model_settings}
        self._model = model
        self._format = calls.request.response_format
        if endpoint.is_function and self._format is not None:
            # It answers in JSON; a `ToolStrategy` would wait for a call of its tool.
            self._format = ProviderStrategy(_schema(self._format))

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        context, request = self._begun(input, config)
        try:
            outcome = context.run(self._calls.handler, request)
        except StructuredOutputError as error:
            outcome = error
        return self._calls.read(outcome)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        context, request = self._begun(input, config)
        handled = cast("Any", self._calls.handler(request))
        try:
            outcome = await asyncio.create_task(handled, context=context)
        except StructuredOutputError as error:
            outcome = error
        return self._calls.read(outcome)

    def _begun(
        self, messages: Sequence[BaseMessage], config: RunnableConfig | None
    ) -> tuple[Context, ModelRequest[Any]]:
        """Begin an attempt; return its context and the agent's request for this model.

        The request's system message is no part of its messages.
        """
        self._calls.given.append(None)
        given = self._calls.request
        # As `override` makes it, which writes nine warnings about its own assignments: 25 us (langchain 1.4).
        request = object.__new__(type(given))
        vars(request).update(
            vars(given),
            model=self._model,
            messages=list(messages[1:] if given.system_message else messages),
            model_settings=self._settings,
            response_format=self._format,
        )
        return _context_of(config or {}), request


def _context_of(config: RunnableConfig) -> Context:
    """Return a context whose calls inherit a config, as `set_config_context` gives it: that takes 10 us more.

    Only where somebody listens is there a tracer, which the host's own way lets go on in there.
    """
    context, listened = copy_context(), getattr(config.get("callbacks"), "handlers", ())
    context.run(_set_config_context if listened else var_child_runnable_config.set, config)
    return context


def _config_of_node() -> RunnableConfig:
    """Return the config of the running node; its run's own id and name are no one else's."""
    config: RunnableConfig = {**(var_child_runnable_config.get() or {})}
    config.pop("run_id", None)
    config.pop("run_name", None)
    return config


def _schema(response_format: Any) -> Any:
    return response_format.schema if isinstance(response_format, _STRATEGIES) else response_format


def _ends_the_loop(routed: Routed) -> bool:
    return routed.reply.parsed is not None or not routed.reply.message.tool_calls
