"""A plain function as the first rung of a step: it is called as a model is, for nothing, and may not answer.

It stands behind a chat model of our own, so that every door, stream, deadline and tracer treats its call as
any other endpoint's.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import Field, PrivateAttr
from typing_extensions import override

from langroute.attempts import FUNCTION
from langroute.effects import acalled_with, called_with
from langroute.errors import FunctionFault
from langroute.failures import is_control_flow
from langroute.request import Request

__all__ = ["FunctionModel", "Functions", "declined"]

Functions = Mapping[str, Callable[..., Any]]
"""Name to function, as registered from Python: the only way in which a policy file comes to code."""

_NO_ANSWER = "no_answer"
"""Finish reason of the empty message that stands for None."""


class FunctionModel(BaseChatModel):
    """A chat model whose reply is what a function returns for the request.

    The function takes a `langroute.request.Request`, its `messages` as they are sent, and returns a text, an
    `AIMessage` (with tool calls, if it likes) or None, which is no answer; or an awaitable of one. An async
    function works in sync calls too, a plain one is run in a thread in async calls.

    Raises (when called):
        FunctionFault: The function raised, or returned something else.
    """

    name: str = ""
    function: Callable[..., Any] | None = Field(default=None, exclude=True, repr=False)
    """None stands for a function that is only named, as where a plan is explained."""
    _request: Request = PrivateAttr(default_factory=lambda: Request(()))
    cache: Any = False
    """Never the host's cache: an answer may depend on more than the messages."""
    profile: ModelProfile | None = Field(
        default_factory=lambda: ModelProfile(structured_output=True, tool_calling=True), exclude=True
    )

    def for_request(self, request: Request) -> Self:
        """Return a copy that answers this request."""
        copied = self.model_copy()
        copied._request = request  # noqa: SLF001 - a copy of its own
        return copied

    @override
    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model itself: the function finds the tools in its request."""
        return self

    @property
    @override
    def _llm_type(self) -> str:
        return "langroute-function"

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider="function", ls_model_name=self.name, ls_model_type="chat")

    @override
    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        with self._faults():
            answer = called_with(self._registered, self._asked(messages))
        return self._result(answer)

    @override
    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        with self._faults():
            asked, name = self._asked(messages), f"{FUNCTION}{self.name}"
            answer = await acalled_with(self._registered, asked, name)
        return self._result(answer)

    @override
    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        yield _whole(self._generate(messages))

    @override
    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        yield _whole(await self._agenerate(messages))

    @property
    def _registered(self) -> Callable[..., Any]:
        if self.function is None:
            raise FunctionFault(f"{self.name} is not registered")
        return self.function

    def _asked(self, messages: Sequence[BaseMessage]) -> Request:
        """Return the request with the messages as they were sent: other middleware may have changed them."""
        return replace(self._request, messages=tuple(messages))

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Tell of what the function raises as a fault of its call; what steers the host passes through."""
        try:
            yield
        except Exception as error:
            if is_control_flow(error):
                raise
            raise FunctionFault(f"{self.name} raised {type(error).__name__}: {error}") from error

    def _result(self, answer: Any) -> ChatResult:
        told: dict[str, Any] = {"model_name": self.name, "finish_reason": "stop"}
        if answer is None:
            message = AIMessage("", response_metadata={**told, "finish_reason": _NO_ANSWER})
        elif isinstance(answer, str):
            message = AIMessage(answer, response_metadata=told)
        elif isinstance(answer, AIMessage):
            # One that was kept from an earlier call says what that one cost, and would replace it by its id.
            fresh = {"id": None, "usage_metadata": None, "response_metadata": told}
            message = answer.model_copy(update=fresh)
        else:
            what = type(answer).__name__
            raise FunctionFault(f"{self.name} returned {what}: return a text, an AIMessage or None")
        return ChatResult(generations=[ChatGeneration(message=message)])


def _whole(result: ChatResult) -> ChatGenerationChunk:
    """Return the reply as the one chunk of its stream."""
    told = result.generations[0].message.model_dump(exclude={"type"})
    return ChatGenerationChunk(message=AIMessageChunk(**told, chunk_position="last"))


def declined(message: AIMessage) -> bool:
    """Whether a function's reply stands for None: it had no answer."""
    return message.response_metadata.get("finish_reason") == _NO_ANSWER
