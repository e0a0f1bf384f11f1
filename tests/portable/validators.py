"""What each provider accepts in a request's messages, as documented: whatever is not named is refused.

A signature is accepted only where it is the one that the model called has signed with (`SIGNATURES`).
"""

# ruff: noqa: N815 - the wire's names are not ours

import json
from collections import Counter
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from writers import SIGNATURES

__all__ = ["refusal"]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Solid = Annotated[str, StringConstraints(pattern=r"\S")]
ToolName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
DataUrl = Annotated[str, StringConstraints(pattern=r"^(data:image/[a-z]+;base64,|https?://)")]


def ensure(claim, why):
    if not claim:
        raise ValueError(why)


def signed(value, wire):
    ensure(value == SIGNATURES[wire], f"invalid signature {value!r}")


# OpenAI, chat completions ---------------------------------------------------------------------------------


class Url(Shape):
    url: DataUrl
    detail: Literal["auto", "low", "high"] | None = None


class ChatText(Shape):
    type: Literal["text"]
    text: str
    prompt_cache_breakpoint: Any = None


class ChatImage(Shape):
    type: Literal["image_url"]
    image_url: Url
    prompt_cache_breakpoint: Any = None


class ChatFunction(Shape):
    name: ToolName
    arguments: str


class ChatCall(Shape):
    type: Literal["function"]
    id: Annotated[str, Field(min_length=1, max_length=40)]
    function: ChatFunction


SpeakerName = Annotated[str, StringConstraints(pattern=r"^[^\s<|\\/>]{1,64}$")]
Texts = Annotated[list[ChatText], Field(min_length=1)]


class ChatSystem(Shape):
    role: Literal["system", "developer"]
    content: str | Texts
    name: SpeakerName | None = None


class ChatUser(Shape):
    role: Literal["user"]
    content: str | Annotated[list[ChatText | ChatImage], Field(min_length=1)]
    name: SpeakerName | None = None


class ChatAssistant(Shape):
    role: Literal["assistant"]
    content: str | Texts | None
    tool_calls: Annotated[list[ChatCall], Field(min_length=1)] | None = None
    name: SpeakerName | None = None


class ChatTool(Shape):
    role: Literal["tool"]
    content: str | Texts
    tool_call_id: Annotated[str, Field(max_length=40)]


ChatMessage = Annotated[ChatSystem | ChatUser | ChatAssistant | ChatTool, Field(discriminator="role")]


def chat(payload):
    waiting = set()
    for message in TypeAdapter(list[ChatMessage]).validate_python(payload["messages"]):
        if message.role == "tool":
            ensure(message.tool_call_id in waiting, "a tool message must answer the call before it")
            waiting.discard(message.tool_call_id)
            continue
        ensure(not waiting, "tool calls must be followed by tool messages")
        if message.role == "assistant":
            ensure(message.content is not None or message.tool_calls, "content must be a string, got null")
            waiting = {call.id for call in message.tool_calls or ()}
    ensure(not waiting, "tool calls must be followed by tool messages")


# OpenAI, Responses ----------------------------------------------------------------------------------------

CallId = Annotated[str, StringConstraints(pattern=r"^[\s\S]{1,64}$")]


class InputText(Shape):
    type: Literal["input_text"]
    text: str
    prompt_cache_breakpoint: Any = None


class InputImage(Shape):
    type: Literal["input_image"]
    image_url: DataUrl
    detail: Literal["auto", "low", "high"] | None = None


class OutputText(Shape):
    type: Literal["output_text"]
    text: str
    annotations: list[Any]


class Message(Shape):
    type: Literal["message"]
    role: Literal["user", "system", "developer"]
    content: str | list[InputText | InputImage]


class Output(Shape):
    type: Literal["message"]
    role: Literal["assistant"]
    content: list[OutputText]
    id: Annotated[str, StringConstraints(pattern=r"^msg_own")] | None = None


class Reasoning(Shape):
    type: Literal["reasoning"]
    id: Annotated[str, StringConstraints(pattern=r"^rs_own")]
    summary: list[Any]
    encrypted_content: str | None = None


class FunctionCall(Shape):
    type: Literal["function_call"]
    name: ToolName
    arguments: str
    call_id: CallId
    id: Annotated[str, StringConstraints(pattern=r"^fc_own")] | None = None


class FunctionOutput(Shape):
    type: Literal["function_call_output"]
    call_id: CallId
    output: str | list[InputText | InputImage]


Item = Message | Output | Reasoning | FunctionCall | FunctionOutput


def responses(payload):
    items = TypeAdapter(list[Item]).validate_python(payload["input"])
    open_calls, calls, outputs = set(), Counter(), Counter()
    for item in items:
        if isinstance(item, Reasoning):
            signed(item.encrypted_content, "responses")
        elif isinstance(item, FunctionCall):
            calls[item.call_id] += 1
            open_calls.add(item.call_id)
        elif isinstance(item, FunctionOutput):
            ensure(item.call_id in open_calls, f"no tool call found for output {item.call_id}")
            outputs[item.call_id] += 1
    ensure(calls == outputs, "no tool output found for a function call")
    ensure(all(count == 1 for count in calls.values()), "a call id comes twice")


# Anthropic ------------------------------------------------------------------------------------------------

AnthropicId = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]+$")]


class Ephemeral(Shape):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Text(Shape):
    type: Literal["text"]
    text: Solid
    cache_control: Ephemeral | None = None


class Source(Shape):
    type: Literal["base64"]
    media_type: str
    data: str


class UrlSource(Shape):
    type: Literal["url"]
    url: str


class Image(Shape):
    type: Literal["image"]
    source: Source | UrlSource
    cache_control: Ephemeral | None = None


class Thinking(Shape):
    type: Literal["thinking"]
    thinking: str
    signature: str


class Redacted(Shape):
    type: Literal["redacted_thinking"]
    data: str


class ToolUse(Shape):
    type: Literal["tool_use"]
    id: AnthropicId
    name: ToolName
    input: dict[str, Any]


class ToolResult(Shape):
    type: Literal["tool_result"]
    tool_use_id: AnthropicId
    content: str | list[Text | Image]
    is_error: bool = False


class User(Shape):
    role: Literal["user"]
    content: Solid | Annotated[list[Text | Image | ToolResult], Field(min_length=1)]


class Assistant(Shape):
    role: Literal["assistant"]
    content: Solid | Annotated[list[Text | Thinking | Redacted | ToolUse], Field(min_length=1)]


def anthropic(payload):
    TypeAdapter(Solid | Annotated[list[Text], Field(min_length=1)] | None).validate_python(
        payload.get("system")
    )
    turns = TypeAdapter(list[User | Assistant]).validate_python(payload["messages"])
    ensure(turns[0].role == "user", "first message must use the user role")
    waiting, seen = [], set()
    for turn in turns:
        blocks = turn.content if isinstance(turn.content, list) else []
        results = [block.tool_use_id for block in blocks if isinstance(block, ToolResult)]
        ensure(set(results) <= set(waiting), "unexpected tool_use_id found in tool_result blocks")
        ensure(sorted(results) == sorted(waiting), "tool_use ids without tool_result blocks right after")
        first = [isinstance(block, ToolResult) for block in blocks]
        ensure(first == sorted(first, reverse=True), "tool_result blocks come first")
        for block in blocks:
            if isinstance(block, Thinking):
                signed(block.signature, "anthropic")
            if isinstance(block, Redacted):
                signed(block.data, "anthropic")
        waiting = [block.id for block in blocks if isinstance(block, ToolUse)]
        ensure(len(set(waiting)) == len(waiting) and not seen & set(waiting), "tool_use ids must be unique")
        seen.update(waiting)
    ensure(not waiting, "tool_use ids without tool_result blocks right after")


# Google ---------------------------------------------------------------------------------------------------

GoogleName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$")]


class Blob(Shape):
    mime_type: str
    data: str


class Called(Shape):
    name: GoogleName
    args: dict[str, Any]


class Response(Shape):
    name: GoogleName
    response: dict[str, Any]


class Part(Shape):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    inline_data: Blob | None = None
    function_call: Called | None = None
    function_response: Response | None = None


class Content(Shape):
    role: Literal["user", "model"]
    parts: Annotated[list[Part], Field(min_length=1)]


def google(payload):
    if (system := payload["system_instruction"]) is not None:
        ensure(all(part["text"].strip() for part in system["parts"]), "a text part is empty")
    contents = TypeAdapter(list[Content]).validate_python(payload["contents"])
    ensure(contents and contents[0].role == "user", "contents must begin with the user")
    ensure(contents[-1].role == "user", "contents must end with the user or a function response")
    waiting, before = [], None
    for content in contents:
        for part in content.parts:
            data = part.model_dump(exclude={"thought", "thought_signature"}, exclude_none=True)
            ensure(len(data) == 1, "a part needs exactly one datum")
            ensure(part.text is None or part.text.strip(), "a text part is empty")
            if part.thought_signature is not None:
                signed(part.thought_signature, "google")
        answered = [part.function_response.name for part in content.parts if part.function_response]
        ensure(answered == waiting, "function responses must be as many as the calls, in their order")
        waiting = [part.function_call.name for part in content.parts if part.function_call]
        ensure(not waiting or (content.role == "model" and before == "user"), "a call follows a user turn")
        before = content.role
    ensure(not waiting, "function responses must be as many as the calls")


# Mistral --------------------------------------------------------------------------------------------------

MistralId = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9]{9}$")]


class MistralText(Shape):
    type: Literal["text"]
    text: str


class MistralImage(Shape):
    type: Literal["image_url"]
    image_url: DataUrl | Url


class MistralThinking(Shape):
    type: Literal["thinking"]
    thinking: list[MistralText]


class MistralCall(Shape):
    id: MistralId
    function: ChatFunction


class MistralTalk(Shape):
    role: Literal["system", "user"]
    content: Solid | Annotated[list[MistralText | MistralImage], Field(min_length=1)]


class MistralAssistant(Shape):
    role: Literal["assistant"]
    content: str | list[MistralText | MistralThinking]
    tool_calls: list[MistralCall] | None = None


class MistralTool(Shape):
    role: Literal["tool"]
    content: str | list[MistralText]
    name: ToolName | None
    tool_call_id: MistralId


AFTER = {
    "system": {"system", "user", "assistant"},
    "user": {"system", "user", "assistant"},
    "assistant": {"assistant", "user", "tool"},
    "tool": {"assistant", "tool"},
}


def mistral(payload):
    before, waiting, seen = "system", set(), set()
    for message in TypeAdapter(list[MistralTalk | MistralAssistant | MistralTool]).validate_python(
        payload["messages"]
    ):
        ensure(message.role in AFTER[before], f"unexpected role {message.role} after role {before}")
        if message.role == "tool":
            ensure(message.tool_call_id in waiting, "unexpected tool call id in tool results")
            waiting.discard(message.tool_call_id)
        else:
            ensure(not waiting, "not the same number of function calls and responses")
        if message.role == "assistant":
            ensure(bool(message.content) != bool(message.tool_calls), "either content or tool_calls")
            ids = [call.id for call in message.tool_calls or ()]
            ensure(len(set(ids)) == len(ids) and not seen & set(ids), "duplicate tool call id")
            waiting, seen = set(ids), seen | set(ids)
        before = message.role
    ensure(not waiting and before in ("user", "tool"), f"expected last role user or tool, got {before}")


# Bedrock Converse -----------------------------------------------------------------------------------------

BedrockId = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class Bytes(Shape):
    bytes: bytes


class Picture(Shape):
    format: Literal["png", "jpeg", "gif", "webp"]
    source: Bytes


class Use(Shape):
    toolUseId: BedrockId
    name: ToolName
    input: dict[str, Any]


class Plain(Shape):
    text: Solid


class Shown(Shape):
    image: Picture


class Result(Shape):
    toolUseId: BedrockId
    content: Annotated[list[Plain | Shown], Field(min_length=1)]
    status: Literal["success", "error"]


class ReasoningText(Shape):
    text: str
    signature: str


class ReasoningContent(Shape):
    reasoningText: ReasoningText | None = None
    redactedContent: Any = None


class Block(Shape):
    text: Solid | None = None
    image: Picture | None = None
    toolUse: Use | None = None
    toolResult: Result | None = None
    reasoningContent: ReasoningContent | None = None
    cachePoint: dict[str, str] | None = None


class Turn(Shape):
    role: Literal["user", "assistant"]
    content: Annotated[list[Block], Field(min_length=1)]


def bedrock(payload):
    TypeAdapter(list[Block]).validate_python(payload["system"])
    turns = TypeAdapter(list[Turn]).validate_python(payload["messages"])
    roles = [turn.role for turn in turns]
    ensure(roles[0] == "user", "a conversation must start with a user message")
    ensure(all(a != b for a, b in pairwise(roles)), "roles must alternate")
    waiting, seen = [], set()
    for turn in turns:
        kinds = [next(iter(block.model_dump(exclude_none=True))) for block in turn.content]
        ensure(not {"text", "toolResult"} <= set(kinds), "conversation and tool result blocks in one turn")
        results = [block.toolResult.toolUseId for block in turn.content if block.toolResult]
        ensure(sorted(results) == sorted(waiting), "toolResult blocks must match the toolUse blocks before")
        for block in turn.content:
            ensure(len(block.model_dump(exclude_none=True)) == 1, "a block has exactly one member")
            if (reasoning := block.reasoningContent) is not None:
                text = reasoning.reasoningText
                signed(text.signature if text else reasoning.redactedContent, "bedrock")
        waiting = [block.toolUse.toolUseId for block in turn.content if block.toolUse]
        ensure(len(set(waiting)) == len(waiting) and not seen & set(waiting), "toolUse ids must be unique")
        seen.update(waiting)
    ensure(not waiting, "a toolUse block needs its toolResult")


VALIDATORS = {
    "openai": chat,
    "responses": responses,
    "anthropic": anthropic,
    "google": google,
    "mistral": mistral,
    "bedrock": bedrock,
}


def refusal(wire, payload):
    """Return why a provider refuses a request's messages, in one line; None where it accepts them."""
    try:
        VALIDATORS[wire](payload)
    except ValidationError as error:
        first = max(error.errors(include_url=False), key=lambda each: len(each["loc"]))
        found = json.dumps(first["input"], default=str)[:80]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']} {found}"
    except ValueError as error:
        return str(error)
    return None
