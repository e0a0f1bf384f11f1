"""A chat model that says what its script says, in process and without HTTP."""

import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import uuid4

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, UsageMetadata
from langchain_core.messages.tool import default_tool_parser, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, PrivateAttr, model_validator

from langroute.testing.wire import Answer, cut_at_stop, token_logprobs, tokens

__all__ = ["Reply", "ScriptedCall", "ScriptedChatModel"]

Reply = str | Answer | AIMessage | Mapping[str, Any] | BaseException
"""What a script can hold: a text, an `Answer` (tool calls, refusal, probability), a whole `AIMessage`, an
exception to raise, or a mapping: the structured answer, which becomes a call of the bound tool with these
arguments, and JSON text where no tool is bound."""

_REPLY_TYPES = (str, Answer, AIMessage, Mapping, BaseException)


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """One call as the model received it."""

    messages: tuple[BaseMessage, ...]
    kwargs: Mapping[str, Any]
    """What was bound or passed: `tools`, `tool_choice`, settings; `stop` where there was one."""
    streamed: bool


@dataclass(slots=True)
class _Progress:
    """How far a script is; shared by a model and its copies."""

    calls: list[ScriptedCall] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, call: ScriptedCall) -> int:
        with self.lock:
            self.calls.append(call)
            return len(self.calls) - 1

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class ScriptedChatModel(BaseChatModel):
    """A chat model for tests: `replies` are given one a call, in order, or `reply` for every call.

    A call past the last of `replies` raises an `AssertionError` that says so. All modes work (invoke,
    stream and their async twins), as do `bind_tools` and `with_structured_output`. Streams come word by
    word, then one last chunk with usage and finish reason. `calls` holds what the model was asked. Safe to
    use from several threads; copies (`model_copy`, `copy.deepcopy`) share script and calls.

    ```python
    model = ScriptedChatModel(name="small", replies=["Hello!", RuntimeError("down")])
    ```

    Args:
        name: The model's name, in `response_metadata["model_name"]` and in traces.
        replies: The script; see `Reply` for what it can hold.
        reply: One reply for every call, in place of `replies`.
        usage: Usage of every reply that brings none of its own; None estimates four characters a token.
        profile: LangChain's model profile; None as for a model nobody knows.
    """

    replies: tuple[Any, ...] = ()
    reply: Any = None
    usage: UsageMetadata | None = None
    name: str | None = Field(default="scripted")
    _progress: _Progress = PrivateAttr(default_factory=_Progress)

    @model_validator(mode="after")
    def _check_script(self) -> Self:
        if bool(self.replies) == (self.reply is not None):
            raise ValueError("give a script as replies=[...], or one answer for every call as reply=")
        for entry in self.replies or (self.reply,):
            if not isinstance(entry, _REPLY_TYPES):
                raise ValueError(f"a reply cannot be {entry!r}; see langroute.testing.scripted.Reply")  # noqa: TRY004 (pydantic wants ValueError)
        return self

    @property
    def calls(self) -> list[ScriptedCall]:
        """Every call so far, in order; a copy."""
        with self._progress.lock:
            return list(self._progress.calls)

    @property
    def _llm_type(self) -> str:
        return "langroute-scripted"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"name": self.name}  # LangChain's caches tell models apart by it

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        return {"ls_model_name": str(self.name), **params, "ls_provider": "langroute"}

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model with tools bound in OpenAI's format; a mapping in the script calls the first."""
        formatted = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=formatted, tool_choice=tool_choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        message = self._next(messages, stop, kwargs, streamed=False)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages, stop, **kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        message = self._next(messages, stop, kwargs, streamed=True)
        for chunk in _message_chunks(message):
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages, stop, **kwargs):
            yield chunk

    def _next(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any], *, streamed: bool
    ) -> AIMessage:
        """Note the call, take the script's next entry and make a message of it, or raise it."""
        noted = {**kwargs, "stop": stop} if stop else kwargs
        at = self._progress.enter(ScriptedCall(tuple(messages), noted, streamed))
        if self.replies and at >= len(self.replies):
            raise AssertionError(
                f"the script of {self.name!r} has {len(self.replies)} replies and this is call {at + 1}; "
                "add a reply, or give one for every call as reply="
            )
        entry = self.replies[at] if self.replies else self.reply
        if isinstance(entry, BaseException):
            raise entry
        return self._completed(_as_message(entry, stop, kwargs.get("tools") or ()), messages)

    def _completed(self, message: AIMessage, messages: Sequence[BaseMessage]) -> AIMessage:
        """Return a copy with the usage and metadata that the script left out."""
        finish_reason = "tool_calls" if message.tool_calls or message.invalid_tool_calls else "stop"
        metadata = {"model_name": self.name, "finish_reason": finish_reason} | message.response_metadata
        usage = message.usage_metadata or self.usage or _estimated_usage(message, messages)
        return message.model_copy(update={"response_metadata": metadata, "usage_metadata": usage})


def _as_message(
    entry: str | Answer | AIMessage | Mapping[str, Any],
    stop: list[str] | None,
    tools: Sequence[dict[str, Any]],
) -> AIMessage:
    if isinstance(entry, AIMessage):
        return entry
    if isinstance(entry, str):
        return _answered(Answer(entry), stop)
    if isinstance(entry, Answer):
        return _answered(entry, stop)
    if tools:
        return _answered(Answer(tool_calls=((tools[0]["function"]["name"], entry),)), stop)
    return _answered(Answer(json.dumps(entry, ensure_ascii=False)), stop)


def _answered(answer: Answer, stop: list[str] | None) -> AIMessage:
    """Return the message that `ChatOpenAI` would make of an answer."""
    text = cut_at_stop(answer.text, stop) or ""
    metadata: dict[str, Any] = {"finish_reason": answer.finish_reason} if answer.finish_reason else {}
    if answer.probability is not None:
        metadata["logprobs"] = token_logprobs(text, answer.probability)
    good, broken = default_tool_parser([_raw_call(name, arguments) for name, arguments in answer.tool_calls])
    return AIMessage(
        content=text,
        tool_calls=good,
        invalid_tool_calls=broken,
        additional_kwargs={"refusal": answer.refusal} if answer.refusal else {},
        response_metadata=metadata,
    )


def _raw_call(name: str, arguments: Mapping[str, Any] | str) -> dict[str, Any]:
    raw = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {"id": f"call_{uuid4().hex[:24]}", "function": {"name": name, "arguments": raw}}


def _estimated_usage(message: AIMessage, messages: Sequence[BaseMessage]) -> UsageMetadata:
    calls = [json.dumps(call["args"]) for call in message.tool_calls]
    read = sum(len(tokens(earlier.text)) for earlier in messages)
    written = len(tokens(message.text)) + sum(len(tokens(call)) for call in calls)
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)


def _message_chunks(message: AIMessage) -> Iterator[AIMessageChunk]:
    """Yield a message word by word, its tool calls in two pieces each, and what ends it."""
    content = message.content
    pieces = re.findall(r"\S+\s*|\s+", content) if isinstance(content, str) else [content]
    for piece in pieces:
        yield AIMessageChunk(content=piece)
    for index, (name, raw, call_id) in enumerate(_raw_calls(message)):
        first = tool_call_chunk(name=name, args="", id=call_id, index=index)
        rest = tool_call_chunk(name=None, args=raw, id=None, index=index)
        yield AIMessageChunk(content="", tool_call_chunks=[first])
        yield AIMessageChunk(content="", tool_call_chunks=[rest])
    yield AIMessageChunk(
        content="",
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
        chunk_position="last",
    )


def _raw_calls(message: AIMessage) -> Iterator[tuple[str | None, str, str | None]]:
    for call in message.tool_calls:
        yield call["name"], json.dumps(call["args"], ensure_ascii=False), call["id"]
    for broken in message.invalid_tool_calls:
        yield broken["name"], broken["args"] or "", broken["id"]
