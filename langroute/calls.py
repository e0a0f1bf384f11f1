"""One attempt's call as an effect: what is called, with which prompt, and how far it has been shown."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.runnables import RunnableConfig

from langroute.admission import Admission
from langroute.cascade import Call, Failure, Plan
from langroute.decision import Decision
from langroute.direct import acall, call, prompt_of
from langroute.errors import DoubledReply, ForeignReply, MixedReply, OversizeReply, PartialStream
from langroute.gates import Commit, Gate, Joint
from langroute.heeding import OUTLIVED
from langroute.pieces import Pieces, heard
from langroute.records import maker
from langroute.replies import Reply
from langroute.request import message_text
from langroute.runs import Recording
from langroute.seams import Seam
from langroute.streams import Shape
from langroute.targets import Target
from langroute.timing import NO_LIMITS, Limits, aitems, awhole, cancellations, items, whole
from langroute.wire import LINE, Line

__all__ = [
    "MOST_CHARS",
    "Answered",
    "ModelCall",
    "Routed",
    "broken_off",
    "made_answered",
    "made_call",
    "made_routed",
]

MOST_CHARS = 2_000_000
"""Characters of text and tool arguments in one reply: four times what 128,000 tokens make."""


_FOREIGN = "the continuation does not begin where the reply broke off"


@dataclass(slots=True)
class ModelCall:
    """The effect of making one attempt's call; the stream drivers show what its gate releases."""

    target: Target
    messages: Sequence[BaseMessage] = field(repr=False)
    config: RunnableConfig = field(repr=False)
    commit: Commit
    passes: Callable[[str], bool | None]
    """Whether a prefix of the reply passes the checks that can be made on it; None while nobody knows."""
    clock: Callable[[], float]
    recordings: tuple[Recording, ...] = field(default=(), repr=False)
    endpoint: str = ""
    """Name of the endpoint that is called."""
    model: Any = None
    """The endpoint's chat model, which may be set to stream by itself."""
    limits: Limits = NO_LIMITS
    line: Line | None = None
    """The attempt's use of the network; None on a model that langroute did not build."""
    admission: Admission | None = None
    """How it was let through its endpoint's circuit; None before it was."""
    gate: Gate | None = field(default=None, repr=False)
    """Holds what the caller's own stream shows; None where the caller waits for the whole reply."""
    started_s: float = 0.0
    began_at_s: float | None = None
    """When the attempt began, in seconds since 1970."""
    first_token_s: float | None = None
    """Seconds to the first content of a streamed reply."""
    size: int = 0
    """Characters of text and tool arguments that came so far."""
    before: "ModelCall | None" = None
    """The call whose reply broke off and is gone on with; None for a reply of its own."""
    items: list[Any] = field(default_factory=list, repr=False)
    """What a streamed reply has given so far."""

    def perform(self) -> Any:
        """Make the call and wait for the whole reply, as long as its limit allows."""
        if self.limits.total_s is None:
            return self._call()
        return whole(self._call, self.limits.total_s, self.endpoint, self.hang_up)

    async def aperform(self) -> Any:
        """Make the call and await the whole reply; under a limit in a task, which costs 30 us more.

        Whatever a call under a limit does, a cancelled caller goes on.
        """
        config, pieces = heard(self.config, self.model)  # not in the call's own task, which it is to end
        if self.limits.total_s is not None:
            return await awhole(lambda: self._acall(config, pieces), self.limits.total_s, self.endpoint)
        token, asked = None if LINE.get() is self.line else LINE.set(self.line), cancellations()
        try:
            reply = await self._acall(config, pieces)
        finally:
            if token is not None:
                LINE.reset(token)
        if cancellations() > asked:  # swallowed on the way
            raise asyncio.CancelledError
        return reply

    def stream(self, shape: Shape) -> Generator[Any, None, None]:
        """Make the call and return the items of its stream, as long as the limits allow."""
        if not self.limits:
            return self._items(shape)
        return items(
            lambda: self._items(shape),
            _progress(shape),
            self.limits,
            self.endpoint,
            self.hang_up,
        )

    def astream(self, shape: Shape) -> AsyncGenerator[Any, None]:
        """Make the call in the running event loop and return the items of its stream."""
        return aitems(lambda: self._aitems(shape), _progress(shape), self.limits, self.endpoint)

    def _call(self) -> Any:
        config, pieces = heard(self.config, self.model)
        token = None if LINE.get() is self.line else LINE.set(self.line)  # to set one costs ten looks
        try:
            reply = call(self._read(pieces), self.messages, config)
        except OUTLIVED as error:
            reply = self._outlived(error, pieces)
        finally:
            if token is not None:
                LINE.reset(token)
        return reply if pieces is None else pieces.whole(reply)

    async def _acall(self, config: RunnableConfig, pieces: Pieces | None) -> Any:
        if LINE.get() is not self.line:
            LINE.set(self.line)  # in a task of its own
        try:
            reply = await acall(self._read(pieces), self.messages, config)
        except OUTLIVED as error:
            reply = self._outlived(error, pieces)
        return reply if pieces is None else pieces.whole(reply)

    def _read(self, pieces: Pieces | None) -> Target:
        """Return what is called, its stream read where the model may stream: not all tell their run of it."""
        if pieces is None:
            return self.target
        return replace(self.target, runnable=pieces.reading(self.target.runnable))

    def _outlived(self, error: Exception, pieces: Pieces | None) -> AIMessage:
        if pieces is None or not isinstance(self.target.runnable, BaseChatModel):
            raise error  # what a chain refuses may be its parser's business
        return pieces.outlived(error)

    def _items(self, shape: Shape) -> Generator[Any, None, None]:
        with closing(shape.open(self)) as source:
            while True:
                token = LINE.set(self.line)
                try:
                    item = next(source)
                except StopIteration:
                    return
                finally:
                    LINE.reset(token)
                yield item

    async def _aitems(self, shape: Shape) -> AsyncGenerator[Any, None]:
        LINE.set(self.line)  # as above
        async with aclosing(shape.aopen(self)) as source:
            async for item in source:
                yield item

    def hang_up(self) -> None:
        """Let go of the network: nobody waits for this call any more."""
        if self.line is not None:
            self.line.hang_up()

    @property
    def is_cut_off(self) -> bool:
        """Whether its time on the network is over: what fails from then on was cut by us."""
        return self.line is not None and self.line.over

    @property
    def prompt(self) -> ChatPromptValue:
        """The messages in the host's form."""
        return prompt_of(self.messages)

    def opened(self, shape: Shape) -> Gate:
        """Return the gate through which the caller's stream of this shape is shown."""
        self.gate = Gate(self.commit, shape, self.passes)
        if self.before is not None and self.before.gate is not None and self.before.gate.open:
            self.gate = Joint(shape, self.before.gate, self.before.seen_text)
        return self.gate

    def keep(self, item: Any, content: str | None, size: int) -> None:
        """Keep one item of a streamed reply, which has `size` characters of text and tool arguments.

        Raises:
            OversizeReply: The reply is longer than any model's.
            ForeignReply: It should go on with another one, and does not.
        """
        if isinstance(self.gate, Joint) and self.gate.refused:
            raise ForeignReply(_FOREIGN)
        self.items.append(item)
        self.size += size
        if self.size > MOST_CHARS:
            raise OversizeReply(f"the reply is longer than {MOST_CHARS:,} characters")
        if self.first_token_s is None and content is not None:
            self.first_token_s = self.clock() - self.started_s

    @property
    def shown(self) -> Gate | None:
        """The gate through which part of the reply was shown; None while it can still be replaced."""
        if self.gate is None and not self.recordings:
            return None  # nobody listens
        return max((gate for gate in self._gates if gate.open), key=lambda gate: len(gate.text), default=None)

    def is_seen_in(self, config: RunnableConfig) -> bool:
        """Whether somebody who still listens has seen part of the reply; a run that is resumed has others."""
        own = self.gate is not None and self.gate.open
        return own or any(recording.is_seen_in(config) for recording in self.recordings)

    @property
    def begun(self) -> bool:
        """Whether something of this very call was shown, and not only of one before it."""
        return any(gate.begun for gate in self._gates)

    @property
    def may_go_on(self) -> bool:
        """Whether another call may go on from what was shown."""
        return all(gate.may_go_on for gate in self._gates if gate.open)

    @property
    def seen_text(self) -> str:
        """The text of the reply that was shown, what was shown before this call with it."""
        return "" if self.shown is None else self.shown.text

    def joined(self, message: AIMessage) -> AIMessage:
        """Return the whole message, where this one goes on with a reply that broke off.

        Raises:
            ForeignReply: It does not begin where that one broke off, or calls a tool.
        """
        showed = None if self.before is None else self.before.shown
        if showed is None:
            return message
        seam = Seam(showed.text)
        rest = seam.push(message_text(message)) + seam.end()
        if seam.refused or message.tool_calls or message.invalid_tool_calls:
            raise ForeignReply(_FOREIGN)
        text = showed.text + rest
        content: Any = text if isinstance(message.content, str) else [{"type": "text", "text": text}]
        return message.model_copy(update={"content": content, "id": showed.message_id or message.id})

    def rest(self) -> Sequence[Any]:
        """Return what the caller's stream has not shown yet, now that the reply is accepted."""
        return () if self.gate is None else self.gate.rest()

    def failed(self, failure: Failure | None) -> None:
        """Let the endpoint's health know of a failure; None is what says nothing of it."""
        if self.admission is not None:
            self.admission.failed(failure)

    def close(self) -> None:
        """Show nothing more of this call: its attempt is over."""
        for gate in self._gates:
            gate.close()

    @property
    def _gates(self) -> list[Gate]:
        gates = [recording.gate for recording in self.recordings]
        return [self.gate, *gates] if self.gate is not None else gates


@dataclass(frozen=True, slots=True)
class Routed:
    """The end of a cascade: the reply to return, how it came about, and the call that gave it."""

    reply: Reply
    decision: Decision
    call: ModelCall


@dataclass(frozen=True, slots=True)
class Answered:
    """A reply that came and is not judged yet."""

    move: Call
    reply: Reply
    latency_s: float
    first_token_s: float | None
    config: RunnableConfig = field(repr=False)
    """Config of the attempt: who hears what its verifiers call."""
    began_at_s: float | None = None
    """When the call began, in seconds since 1970."""


made_call, made_routed, made_answered = maker(ModelCall), maker(Routed), maker(Answered)


def _progress(shape: Shape) -> Callable[[Any], bool]:
    """Return what tells whether an item is progress: content, and after it what the model thinks too."""
    begun = False

    def progress(item: Any) -> bool:
        nonlocal begun
        begun = begun or shape.content(item) is not None
        return begun and shape.is_progress(item)

    return progress


def broken_off(plan: Plan, call: ModelCall, failure: Failure, error: Exception) -> tuple[Failure, Exception]:
    """Return failure and error as they are once part of the reply was shown: no other may replace it.

    The caller gets the text so far, or another endpoint goes on from there.
    """
    if (gate := call.shown) is None:
        return failure, error
    told = f"{call.endpoint} broke off after part of its reply was shown"
    if not call.begun:
        told = f"the reply broke off after part of it was shown, and {call.endpoint} did not go on with it"
    partial = PartialStream(f"{told}: {failure.kind}: {failure.message}", gate.text)
    partial.__cause__ = error
    # What was doubled, mixed, endless, refused or withheld did not break off: nobody goes on from there.
    unfit = isinstance(error, DoubledReply | MixedReply | OversizeReply)
    ended = failure.kind in ("content_filter", "refusal") or unfit
    remedy: Any = "continue" if plan.continue_streams and call.may_go_on and not ended else "raise"
    kind = "cut_stream" if call.begun else failure.kind
    return replace(failure, kind=kind, remedy=remedy, usable=False), partial
