"""Which step is this? Said, declared, seen in its shape, classified, default; first answer wins."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from langroute.decision import StepAnswer
from langroute.effects import Flow
from langroute.policy import Policy
from langroute.redaction import printable
from langroute.request import EMPTY, Request
from langroute.routing.classify import Classifier
from langroute.routing.intent import Embedder
from langroute.routing.questions import DecisionModel

if TYPE_CHECKING:
    from langroute.endpoints import Endpoints

__all__ = ["STEP_KEY", "Shape", "StepFinder", "metadata_of", "node_path", "shape_of"]

STEP_KEY = "langroute_step"
"""Key of the config's metadata under which a caller says the step."""

_SAID_CHARS = 60
"""Characters of a step that no policy names, in records and messages: who said it may be anyone."""

_MATCHES_KEPT = 1_024
"""Node paths whose step is remembered; a graph has a few dozen, and a fan-out does not add to them."""


def metadata_of(config: RunnableConfig | None) -> Mapping[str, Any]:
    """Return a call's metadata, merged from every place where LangChain and LangGraph may have put it.

    The config's own wins over that of its callback manager, and that over the ambient config's: a node
    that passes `config={"metadata": ...}` hides what LangGraph said, but the manager still has it.
    """
    ambient = var_child_runnable_config.get()
    if not config and ambient is None:
        return EMPTY
    own = config.get("metadata") if config else None
    manager = config.get("callbacks") if config else None
    if manager is None and ambient is not None:
        manager = ambient.get("callbacks")
    merged: dict[str, Any] = {}
    if ambient is not None:
        merged.update(ambient.get("metadata") or EMPTY)
    if isinstance(manager, BaseCallbackManager):
        merged.update(manager.inheritable_metadata)
        merged.update(manager.metadata)
    if own:
        merged.update(own)
    return merged or EMPTY


def node_path(metadata: Mapping[str, Any]) -> str | None:
    """Return the path of the LangGraph node that runs, `outer/inner`; None outside a graph."""
    node, namespace = metadata.get("langgraph_node"), metadata.get("langgraph_checkpoint_ns")
    if not node or not isinstance(node, str):
        return None
    return (_path(namespace) if isinstance(namespace, str) else "") or node


@dataclass(frozen=True, slots=True)
class Shape:
    """The step that the shape of a call suggests, and what shows it."""

    step: str
    reason: str


def shape_of(request: Request) -> Shape | None:
    """Return the step that schema, tool results, tools and documents suggest; None where there are none."""
    if request.schema is not None:
        return Shape("extraction", "a schema is bound")
    if not request.tools and _has_response_format(request):
        return Shape("extraction", "a response format is bound")
    if request.messages and isinstance(request.messages[-1], ToolMessage):
        return Shape("tool_use", f"the result of {request.last_tool_names[-1] or 'a tool'} comes last")
    if request.tools and not _answered_by_tool(request):
        return Shape("planning", "tools are bound and none has answered since the person spoke")
    if request.document_count:
        return Shape("synthesis", f"documents in the prompt: {request.document_count}")
    return None


class StepFinder:
    """Tells which step a request is; holds a policy's node patterns and classifiers, compiled once."""

    def __init__(
        self,
        policy: Policy,
        endpoints: "Endpoints",
        embedder: Embedder | None = None,
        decision_model: DecisionModel | None = None,
    ) -> None:
        self._steps = policy.steps
        self._patterns = _compiled(policy)
        self._said = {
            step: StepAnswer(step, "said", "said by the caller") for step in (*policy.steps, "default")
        }
        self._nothing = StepAnswer("default", "default", "neither said, declared nor seen")
        self._classifier = Classifier(policy, endpoints, embedder, decision_model)
        self._declared_as = lru_cache(maxsize=_MATCHES_KEPT)(self._match)

    def find(self, request: Request) -> Flow[StepAnswer]:
        """Return which step the request is and how that is known; a flow, as a classifier may wait."""
        known = self.known(request)
        return (yield from self._classifier.classify(request)) if known is None else known

    def known(self, request: Request) -> StepAnswer | None:
        """Return which step the request is where nobody need be waited for; None where a classifier is."""
        if request.answer is not None:
            return request.answer
        said = request.step or request.metadata.get(STEP_KEY)
        if said and isinstance(said, str):
            return self._said.get(said) or _unknown(said)
        shape = shape_of(request) if self._steps else None
        if shape is not None and shape.step not in self._steps:
            shape = None
        declared = self._declared(request.metadata) if self._patterns else None
        if declared is not None:
            if shape is None or shape.step == declared.step:
                return declared
            return replace(declared, mismatch=shape.step)
        if shape is not None:
            return StepAnswer(shape.step, "seen", shape.reason)
        return None if self._classifier else self._nothing

    def declared_step(self, node: str) -> str | None:
        """Return the step whose `nodes` patterns match a node's name; None where none does."""
        found = self._declared_as(node, "")
        return found.step if found is not None else None

    def _declared(self, metadata: Mapping[str, Any]) -> StepAnswer | None:
        node = metadata.get("langgraph_node")
        if not node or not isinstance(node, str):
            return None
        namespace = metadata.get("langgraph_checkpoint_ns")
        return self._declared_as(node, _path(namespace) if isinstance(namespace, str) else "")

    def _match(self, node: str, path: str) -> StepAnswer | None:
        for pattern, matches, step in self._patterns:
            if matches.match(node) or (path and matches.match(path)):
                return StepAnswer(step, "declared", f"node {path or node} matches {pattern}")
        return None


def _compiled(policy: Policy) -> tuple[tuple[str, re.Pattern[str], str], ...]:
    """Return pattern, its regular expression and its step: most letters first, then in the policy's order."""
    written = [(pattern, name) for name, step in policy.steps.items() for pattern in step.nodes]
    written.sort(key=lambda item: -len(item[0].replace("*", "").replace("?", "")))
    return tuple((pattern, re.compile(translate(pattern)), name) for pattern, name in written)


def _path(namespace: str) -> str:
    """Return `outer/inner` for LangGraph's `outer:uuid|inner:uuid`; a bare number counts repeated calls."""
    if "|" not in namespace:
        return namespace.partition(":")[0]
    parts = namespace.split("|")
    return "/".join(part.partition(":")[0] for part in parts if not part.isdigit())


def _unknown(said: str) -> StepAnswer:
    step = printable(said[:_SAID_CHARS])
    return StepAnswer(
        step, "said", f"said by the caller; the policy names no step {step!r}, so the default binds it"
    )


def _has_response_format(request: Request) -> bool:
    """Tell whether the provider is asked for an object, as an agent asks that has no tools."""
    bound = getattr(request.binding, "kwargs", EMPTY)
    return "response_format" in bound or "response_format" in request.kwargs


def _answered_by_tool(request: Request) -> bool:
    """Tell whether a tool has answered since the last human message."""
    for message in reversed(request.messages):
        if isinstance(message, ToolMessage):
            return True
        if isinstance(message, HumanMessage):
            return False
    return False
