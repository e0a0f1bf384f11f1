"""One attempt's call as an effect: what is called, with which prompt, and how far it has been shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.runnables import RunnableConfig

from langroute.runs import Recording
from langroute.streams import Commit, Gate, Shape
from langroute.targets import Target

__all__ = ["ModelCall"]


@dataclass(slots=True)
class ModelCall:
    """The effect of making one attempt's call; the stream drivers show what its gate releases."""

    target: Target
    messages: Sequence[BaseMessage]
    config: RunnableConfig
    commit: Commit
    passes: Callable[[str], bool]
    """Whether a prefix of the reply passes the checks that can be made on it."""
    clock: Callable[[], float]
    recordings: tuple[Recording, ...] = ()
    gate: Gate | None = None
    """Holds what the caller's own stream shows; None where the caller waits for the whole reply."""
    started_s: float = 0.0
    first_token_s: float | None = None
    """Seconds to the first content of a streamed reply."""
    items: list[Any] = field(default_factory=list)
    """What a streamed reply has given so far."""

    def perform(self) -> Any:
        """Make the call and wait for the whole reply."""
        return self.target.runnable.invoke(self.prompt, self.config, **self.target.kwargs)

    async def aperform(self) -> Any:
        """Make the call and await the whole reply."""
        return await self.target.acall(self.prompt, self.config)

    @property
    def prompt(self) -> ChatPromptValue:
        """The messages in the host's form; not validated, for they are messages already: 5 us less."""
        return ChatPromptValue.model_construct(messages=self.messages)

    def opened(self, shape: Shape) -> Gate:
        """Return the gate through which the caller's stream of this shape is shown."""
        self.gate = Gate(self.commit, shape.content, shape.is_last, self.passes)
        return self.gate

    def keep(self, item: Any, content: str | None) -> None:
        """Keep one item of a streamed reply."""
        self.items.append(item)
        if self.first_token_s is None and content is not None:
            self.first_token_s = self.clock() - self.started_s

    @property
    def shown(self) -> Gate | None:
        """The gate through which part of the reply was shown; None while it can still be replaced."""
        return next((gate for gate in self._gates if gate.open), None)

    def rest(self) -> Sequence[Any]:
        """Return what the caller's stream has not shown yet, now that the reply is accepted."""
        return () if self.gate is None else self.gate.rest()

    def close(self) -> None:
        """Show nothing more of this call: its attempt is over."""
        for gate in self._gates:
            gate.close()

    @property
    def _gates(self) -> list[Gate]:
        gates = [recording.gate for recording in self.recordings]
        return [self.gate, *gates] if self.gate is not None else gates
