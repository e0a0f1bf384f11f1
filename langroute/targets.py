"""What is really called on an endpoint: its model as it is, with the caller's tools bound, or with a schema.

Tools and schemas are kept as the caller gave them and bound to each endpoint's own model when it is
called, because providers differ in how they take them; every binding is made once per endpoint.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import (
    Runnable,
    RunnableBinding,
    RunnableConfig,
    RunnableParallel,
    RunnableSequence,
)
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from langroute.endpoints import Endpoint
from langroute.functions import FunctionModel
from langroute.records import maker
from langroute.request import EMPTY, Request
from langroute.verifiers.finish import ending

__all__ = ["BoundSchema", "BoundTools", "Target", "made_target", "openai_tool", "target"]


_FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to call, with the keyword arguments that go with it."""

    runnable: Runnable[Any, Any] = field(repr=False)
    kwargs: Mapping[str, Any] = field(repr=False)
    config: RunnableConfig | None = field(default=None, repr=False)
    """Config that the endpoint's model was given with; the caller's is merged over it."""
    parse: Callable[[AIMessage], Any] | None = None
    """How the object is read off the reply, where the chain itself does not; raises ValueError."""
    prompted: bool = True
    """Whether it is called with a prompt; else with the messages as they are."""


made_target = maker(Target)


@dataclass(frozen=True, eq=False)
class BoundTools:
    """Tools as the caller bound them."""

    tools: Sequence[Any] = field(repr=False)
    kwargs: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    _made: dict[Any, Target] = field(default_factory=dict, repr=False)

    def bind(self, endpoint: Endpoint, model: BaseChatModel, key: Any) -> Target:
        """Return the endpoint's model with the tools bound the way its provider wants them."""
        if key not in self._made:
            bound = model.bind_tools(list(self.tools), **self.kwargs)
            kwargs: dict[str, Any] = dict(endpoint.bound_kwargs)
            while isinstance(bound, RunnableBinding):
                kwargs |= bound.kwargs
                bound = bound.bound
            self._made[key] = Target(bound, kwargs, endpoint.bound_config)
        return self._made[key]


@dataclass(frozen=True, eq=False)
class BoundSchema:
    """A schema as the caller gave it to `with_structured_output`."""

    schema: Any
    kwargs: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    include_raw: bool = False
    """Whether the caller wants the raw reply, and so a reply without an object rather than an error."""
    _made: dict[Any, Target] = field(default_factory=dict, repr=False)

    def bind(self, endpoint: Endpoint, model: BaseChatModel, key: Any) -> Target:
        """Return the endpoint's own structured chain, which gives reply, parsed object and parsing error."""
        if key not in self._made:
            chain = model.with_structured_output(self.schema, include_raw=True, **self.kwargs)
            parse = self.parse if _leave_unparsed(chain) else None
            chain = _with_kwargs(chain, endpoint.bound_kwargs)
            self._made[key] = Target(chain, EMPTY, endpoint.bound_config, parse)
        return self._made[key]

    def parse(self, reply: AIMessage) -> Any:
        """Return the reply's JSON as the schema has it, also where it stands in one fenced block."""
        if ending(reply) is not None or not reply.text:
            return None
        fenced = _FENCED.fullmatch(reply.text.strip())
        text = fenced.group(1) if fenced else reply.text
        return self.schema.model_validate_json(text) if _is_model(self.schema) else json.loads(text)


def target(endpoint: Endpoint, request: Request) -> Target:
    """Return what to call on `endpoint` for `request`."""
    if endpoint.is_function:
        return _of_function(endpoint, request)
    if request.binding is None and not (request.kwargs or request.overrides):
        unbound: Target = endpoint.unbound or _unbound(endpoint)
        return unbound
    model: BaseChatModel = endpoint.model
    key: Any = endpoint
    if request.overrides:
        model = model.model_copy(update=dict(request.overrides))
        key = (endpoint, *sorted(request.overrides.items()))
    if request.binding is None:
        return made_target(model, {**endpoint.bound_kwargs, **request.kwargs}, endpoint.bound_config)
    bound: Target = request.binding.bind(endpoint, model, key)
    return replace(bound, kwargs={**bound.kwargs, **request.kwargs}) if request.kwargs else bound


def _of_function(endpoint: Endpoint, request: Request) -> Target:
    """Return a function as a target; it is given the request, and settings for models are none of its."""
    model, binding = cast("FunctionModel", endpoint.model).for_request(request), request.binding
    if isinstance(binding, BoundSchema):
        return Target(RunnableParallel({"raw": model}), EMPTY, parse=binding.parse)
    if binding is None or isinstance(binding, BoundTools):
        return Target(model, EMPTY)
    made: Target = binding.bind(endpoint, model, endpoint)
    return made


def _unbound(endpoint: Endpoint) -> Target:
    """Return the target of calls with nothing of their own: the same for all of them."""
    endpoint.unbound = made = Target(endpoint.model, endpoint.bound_kwargs, endpoint.bound_config)
    return made


def _leave_unparsed(chain: Runnable[Any, Any]) -> bool:
    """Let a chain that would parse inside the OpenAI client give the raw reply; say whether it is one.

    The client raises a validation error out of the call, and a reply that was paid for would be lost
    with it: a pydantic class as `response_format` becomes the JSON Schema that the client makes of it.
    """
    bound = _model_step(chain)
    schema = bound.kwargs.get("response_format") if isinstance(bound, RunnableBinding) else None
    if not _is_model(schema):
        return False
    from openai import pydantic_function_tool

    function = pydantic_function_tool(schema)["function"]
    told = bound.kwargs.get("ls_structured_output_format", {}).get("kwargs", {})
    strict = told.get("strict") is not False
    bound.kwargs["response_format"] = {
        "type": "json_schema",
        "json_schema": {"name": function["name"], "schema": function["parameters"], "strict": strict},
    }
    return True


def _is_model(schema: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(schema, type) and issubclass(schema, BaseModel)


def _model_step(chain: Runnable[Any, Any]) -> Any:
    """Return the model inside a structured chain that gives the raw reply; None where it has another form."""
    if isinstance(chain, RunnableSequence) and isinstance(chain.first, RunnableParallel):
        return chain.first.steps__.get("raw")
    return None


def _with_kwargs(chain: Runnable[Any, Any], kwargs: Mapping[str, Any]) -> Runnable[Any, Any]:
    """Give an endpoint's bound arguments to the model inside a structured chain, which would lose them."""
    if kwargs and _model_step(chain) is not None:
        steps = cast("dict[str, Runnable[Any, Any]]", cast("Any", chain).first.steps__)
        steps["raw"] = steps["raw"].bind(**kwargs)
    return chain


def openai_tool(tool: Any) -> dict[str, Any]:
    """Return a tool as OpenAI writes it, a provider's built-in tool as it is."""
    try:
        return convert_to_openai_tool(tool)
    except (ValueError, TypeError):
        if isinstance(tool, Mapping):
            return dict(tool)
        raise
