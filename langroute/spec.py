"""What a routed step of a graph is made of: how it is asked, and what it gives."""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property, partial
from string import Formatter
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

from langchain_core.messages import AIMessage
from langchain_core.prompts import BaseChatPromptTemplate, PromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig

from langroute.arms import Arms
from langroute.calls import ModelCall
from langroute.chat_model import RoutedChatModel
from langroute.decision import Decision
from langroute.effects import Flow
from langroute.following import Cascade
from langroute.functions import Functions
from langroute.keeping import template_digest
from langroute.nodes import Nodes
from langroute.replies import Reply, finished
from langroute.router import Router
from langroute.runs import show_whole
from langroute.steps import metadata_of
from langroute.targets import BoundSchema, BoundTools

if TYPE_CHECKING:
    from langroute.ledger.answers import Answers

__all__ = ["StepSpec"]

_CALLS_KEPT = 1_000
"""Steps under way whose held-back chunks are remembered; one that is left undone is forgotten in time."""


@dataclass(frozen=True)
class StepSpec:
    """One routed step, whatever form it is drawn in."""

    model: RoutedChatModel
    step: str | None
    """The step as it is said; None leaves it to be told from the node and the prompt."""
    prompt: Any
    output: str
    schema: Any
    binding: BoundSchema | BoundTools | None
    documents: Any
    nodes: Nodes
    answers: "Answers | None" = None
    """Where replies are kept before the graph's checkpoint has them; None where nobody asked for it."""
    gathered: bool = False
    """Whether the key `output` is a list, to which a reply is added."""
    earlier: "StepSpec | None" = None
    """The step drawn before this one that it may blame for its input."""
    _held: OrderedDict[str, dict[int, ModelCall]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(
        cls,
        name: str,
        policy: Any,
        step: str | None,
        prompt: Any = None,
        output: str = "messages",
        schema: Any = None,
        tools: Sequence[Any] = (),
        documents: Any = None,
        answer_store: Any = None,
        functions: Functions | None = None,
    ) -> "StepSpec":
        """Return the spec of `step`; when not given, of the one called `name` or whose nodes match it."""
        if schema is not None and tools:
            raise ValueError("a routed step has tools or a schema, not both: give one of them")
        if functions is not None and isinstance(policy, RoutedChatModel):
            raise ValueError("a RoutedChatModel has its functions already: give them to it, not to the step")
        if not isinstance(policy, RoutedChatModel):
            policy = RoutedChatModel(policy, functions=functions)
        model: RoutedChatModel = policy
        binding = BoundSchema(schema) if schema is not None else BoundTools(tuple(tools)) if tools else None
        if step is None:
            step = name if name in model.policy.steps else model.router.finder.declared_step(name) or name
        nodes = Nodes.of(name, model.arms.all, step, binding)
        answers = None if answer_store is None else _answers(answer_store)
        return cls(model, step, prompt, output, schema, binding, documents, nodes, answers)

    def into(self, state_schema: Any) -> "StepSpec":
        """Return the spec as it writes into a state of this schema: a text goes into a list as one item.

        Raises:
            ValueError: The state has no key `output`: a reply would be paid for and lost; or none of a name
                that prompt or documents are read from.
        """
        hints = get_type_hints(state_schema)
        if hints and self.output not in hints:
            raise ValueError(
                f"step {self.nodes.start}: the state has no key {self.output!r} for the reply;"
                f" say `output=` one of: {', '.join(hints)}"
            )
        for purpose, key in self._needs() if hints else ():
            if key not in hints:
                raise self._lacking(purpose, key, hints)
        return replace(
            self, gathered=get_origin(hints.get(self.output)) is list or hints.get(self.output) is list
        )

    def in_arm(self, values: Mapping[str, Any], config: RunnableConfig) -> "StepSpec":
        """Return the spec as a run goes by it: a visit under way stays in its arm, another's is drawn."""
        arms = self.model.arms
        if arms.canary is None:
            return self
        plan = (values.get(self.channel) or {}).get("plan")
        drawn = arms.draw(config, metadata_of(config)).router if plan is None else arms.named(plan.get("arm"))
        return self.by(drawn)

    def in_every_arm(self) -> "list[StepSpec]":
        """Return the spec by the policy, and by its canary where it has one."""
        arms = self.model.arms
        return [self] if arms.canary is None else [self.by(router) for router in arms.all]

    def by(self, router: Router) -> "StepSpec":
        """Return the spec whose calls all go by one of the policy's routers."""
        model = self.model.model_copy(update={"policy": router.policy})
        vars(model)["_bound"] = Arms(router)
        own = replace(self, model=model)
        return own if own.blame == self.blame else replace(own, earlier=None)

    @property
    def channel(self) -> str:
        """Name of the private channel in which the step keeps how far it has come."""
        return f"langroute_{self.nodes.start}"

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the private channels that its nodes read: its own, and that of the step it may blame."""
        return (self.channel,) if self.earlier is None else (self.channel, self.earlier.channel)

    @property
    def blame(self) -> str | None:
        """The step that the policy lets this one blame."""
        return self.model.policy.step(self.step).blame if self.step is not None else None

    def prepare(self, state: Any, config: RunnableConfig) -> Cascade:
        """Return the cascade of the call that the state asks for."""
        documents = self.documents
        if isinstance(documents, str):
            documents = self._value(state, "documents", documents)
        elif documents is not None:
            documents = documents(state)
        model = self.model if self.step is None else self.model.for_step(self.step, documents=documents)
        extra: dict[str, Any] = {} if self.binding is None else {"langroute_binding": self.binding}
        cascade = model.prepare(self._asked(state), config, **extra)
        cascade.tell = partial(cascade.tell, node=self.nodes.start, template=self._template)
        return cascade

    @cached_property
    def _template(self) -> str | None:
        """Digest of a prompt that is a text or a template; what a function says is known by its messages."""
        written = self.prompt.template if isinstance(self.prompt, PromptTemplate) else self.prompt
        if isinstance(written, BaseChatPromptTemplate):
            with suppress(NotImplementedError):  # examples in it are looked up anew for each prompt
                written = written.pretty_repr()
        return template_digest([written]) if isinstance(written, str) else None

    def _asked(self, state: Any) -> Any:
        if self.prompt is None:
            return list(self._value(state, "prompt", "messages"))
        if isinstance(self.prompt, str):
            return self._formatted(_values(state))
        if isinstance(self.prompt, Runnable):
            return self.prompt.invoke(_values(state))
        return self.prompt(state)

    def _formatted(self, values: dict[str, Any]) -> str:
        missing = next((key for key in _fields(self.prompt) if key not in values), None)
        if missing is not None:
            raise self._lacking("prompt", missing, values)
        try:
            return str(self.prompt.format(**values))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            message = f"step {self.nodes.start}: the state does not fill the prompt: {error!r}"
            raise ValueError(message) from error

    def _value(self, state: Any, purpose: str, key: str) -> Any:
        try:
            return state[key] if isinstance(state, Mapping) else getattr(state, key)
        except (KeyError, AttributeError):
            raise self._lacking(purpose, key, _values(state)) from None

    def _needs(self) -> Iterator[tuple[str, str]]:
        """Yield every key of the state that the step is sure to read, after what it is for."""
        if self.prompt is None:
            yield "prompt", "messages"
        elif isinstance(self.prompt, str):
            yield from (("prompt", key) for key in _fields(self.prompt))
        else:
            yield from (("prompt", key) for key in getattr(self.prompt, "input_variables", ()))
        if isinstance(self.documents, str):
            yield "documents", self.documents

    def _lacking(self, purpose: str, key: str, known: Iterable[str]) -> ValueError:
        listed = [name for name in known if not name.startswith("langroute_")]
        near = get_close_matches(key, listed, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else "correct the name, or add it."
        if purpose == "prompt" and self.prompt is None:
            remedy = "say `prompt=`, or add it."
        return ValueError(
            f"step {self.nodes.start}: the state has no key {key!r} for the {purpose}; {remedy}"
            f" It has: {', '.join(listed) or 'none'}"
        )

    def keep(self, cascade: Cascade, attempt: int) -> None:
        """Remember the call of an attempt: what it holds back is shown when its reply is accepted."""
        with self._lock:
            self._held.setdefault(cascade.call_id, {})[attempt] = cascade.last_call
            while len(self._held) > _CALLS_KEPT:
                self._held.popitem(last=False)

    def kept(self, call_id: str, attempt: int) -> ModelCall | None:
        """Return the call of an attempt, None where another process made it."""
        with self._lock:
            return self._held.get(call_id, {}).get(attempt)

    def forget(self, call_id: str) -> None:
        """Drop what a finished step held back."""
        with self._lock:
            self._held.pop(call_id, None)

    def hand_over(self, cascade: Cascade, decision: Decision, config: RunnableConfig) -> Flow[dict[str, Any]]:
        """Show what is held of the chosen reply, tell of the decision, and return the state's update."""
        index = decision.chosen or 0
        given = cascade.replies[index]
        assert given is not None  # noqa: S101 - an accepted attempt has a reply
        reply = finished(given, decision)
        call = self.kept(decision.call_id, index)
        if call is not None:
            for recording in call.recordings:
                recording.replay(given.message.id, reply.message.id)
        elif self.output != "messages":
            show_whole(config, reply.message)
        self.forget(decision.call_id)
        if (written := cascade.tell(decision, reply.message)) is not None:
            yield written
        if self.output == "messages":
            value: Any = [reply.message if self.schema is None else _spoken(reply)]
        else:
            value = str(reply.message.text) if self.schema is None else reply.parsed
            value = [value] if self.gathered and not isinstance(value, list) else value
        return {self.output: value, self.channel: None}


def _answers(answer_store: Any) -> "Answers":
    # Imported here: sqlalchemy is for those who keep answers.
    from langroute.ledger.answers import Answers
    from langroute.ledger.store import open_store

    return Answers(open_store(answer_store))


def _spoken(reply: Reply) -> AIMessage:
    """Return the message of an object: its JSON as text, where a tool call gave it that nobody answers.

    In a conversation a call without a result is refused by the providers.
    """
    message, parsed = reply.message, reply.parsed
    if not message.tool_calls and not message.invalid_tool_calls:
        return message
    is_model = hasattr(parsed, "model_dump_json")
    text = parsed.model_dump_json() if is_model else json.dumps(parsed, ensure_ascii=False, default=str)
    told = {key: value for key, value in message.additional_kwargs.items() if key != "tool_calls"}
    without: dict[str, Any] = {
        "content": text,
        "tool_calls": [],
        "invalid_tool_calls": [],
        "additional_kwargs": told,
    }
    return message.model_copy(update=without)


def _fields(text: str) -> Iterator[str]:
    """Yield the names that a format string is filled with, those inside a format included.

    Raises:
        ValueError: It is none; or a field has no name, only a place.
    """
    for _, field_name, spec, _ in Formatter().parse(text):
        if field_name is None:
            continue
        name = re.split(r"[.\[]", field_name, maxsplit=1)[0]
        if not name or name.isdigit():
            raise ValueError(f"prompt: {{{field_name}}} names no key of the state; write {{key}}")
        yield name
        yield from _fields(spec or "")


def _values(state: Any) -> dict[str, Any]:
    if isinstance(state, Mapping):
        return dict(state)
    fields = getattr(type(state), "model_fields", None) or getattr(type(state), "__dataclass_fields__", {})
    return {name: getattr(state, name) for name in fields}
