"""Which requests the loopback provider refuses: those that OpenAI refuses, with the parameter's name."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from langroute.testing.prompt import prompt_text
from langroute.testing.wire import WireError

__all__ = ["check_request"]

_FunctionName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class _Shape(BaseModel):
    """Part of a request; what is not named here is let through, as the brain may know it."""

    model_config = ConfigDict(strict=True)


class _Function(_Shape):
    name: _FunctionName


class _Tool(_Shape):
    type: Literal["function"]
    function: _Function


class _CalledFunction(_Shape):
    name: str
    arguments: str


class _Call(_Shape):
    id: Annotated[str, Field(max_length=40)]
    function: _CalledFunction


class _Part(_Shape):
    type: str
    text: str | None = None


class _Message(_Shape):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None


class _NamedTool(_Shape):
    function: _Function


class _Schema(_Shape):
    name: _FunctionName


class _Format(_Shape):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _StreamOptions(_Shape):
    include_usage: bool | None = None


class _Request(_Shape):
    messages: Annotated[list[_Message], Field(min_length=1)]
    tools: list[_Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | _NamedTool | None = None
    response_format: _Format | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    n: Literal[1] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


def check_request(body: Mapping[str, Any]) -> None:
    """Refuse a request whose messages, tools, tool choice, response format or limits are malformed.

    Raises:
        WireError: Status 400; `param` names what is wrong.
    """
    try:
        request = _Request.model_validate(dict(body))
    except ValidationError as error:
        raise _misshapen(error, body) from error
    _check_contents(request.messages)
    _check_tool_messages(request.messages)
    _check_tool_choice(request)
    _check_format(request, body)


def _misshapen(error: ValidationError, body: Mapping[str, Any]) -> WireError:
    # Of a union's arms, the one that went deepest is the one that was meant.
    found = max(error.errors(include_url=False), key=lambda each: len(each["loc"]))
    missing = found["type"] == "missing"
    param = _param(found["loc"], body, missing=missing)
    if missing:
        return _refuse(f"Missing required parameter: '{param}'.", param)
    return _refuse(f"Invalid '{param}': {found['msg']}.", param)


def _param(where: Sequence[int | str], body: Any, *, missing: bool) -> str:
    """Return a path as OpenAI writes it, `messages[0].role`; pydantic's names of a union's arms left out."""
    path, at = "", body
    for depth, key in enumerate(where, start=1):
        if isinstance(at, list) and isinstance(key, int):
            path, at = f"{path}[{key}]", at[key]
        elif isinstance(at, Mapping) and (key in at or (missing and depth == len(where))):
            path, at = f"{path}.{key}", at.get(key)
    return path.removeprefix(".")


def _refuse(message: str, param: str) -> WireError:
    return WireError(400, message, param=param)


def _check_contents(messages: Sequence[_Message]) -> None:
    for at, message in enumerate(messages):
        if message.content is None and message.role != "assistant":
            param = f"messages[{at}].content"
            raise _refuse(f"Invalid value for '{param}': expected a string, got null.", param)


def _check_tool_messages(messages: Sequence[_Message]) -> None:
    """Refuse a tool call that the tool messages right after it do not answer, and an answer to no call."""
    unanswered: set[str | None] = set()
    for at, message in enumerate([*messages, _Message(role="user")]):
        if message.role == "tool":
            if message.tool_call_id not in unanswered:
                why = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                raise _refuse(f"Invalid parameter: {why}", f"messages[{at}].role")
            unanswered.discard(message.tool_call_id)
            continue
        if unanswered:
            why = "must be followed by tool messages responding to each 'tool_call_id'"
            missing = ", ".join(sorted(str(each) for each in unanswered))
            raise _refuse(f"An assistant message with 'tool_calls' {why}; missing: {missing}.", "messages")
        unanswered = {call.id for call in message.tool_calls or ()}


def _check_tool_choice(request: _Request) -> None:
    choice, tools = request.tool_choice, request.tools or ()
    if choice is not None and not tools:
        raise _refuse("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
    if isinstance(choice, _NamedTool) and all(choice.function.name != tool.function.name for tool in tools):
        raise _refuse(f"Tool choice '{choice.function.name}' not found in 'tools' parameter.", "tool_choice")


def _check_format(request: _Request, body: Mapping[str, Any]) -> None:
    wanted = request.response_format
    if wanted is None:
        return
    if wanted.type == "json_schema" and wanted.json_schema is None:
        param = "response_format.json_schema"
        raise _refuse(f"Missing required parameter: '{param}'.", param)
    if wanted.type == "json_object" and "json" not in prompt_text({"messages": body["messages"]}).lower():
        why = "to use 'response_format' of type 'json_object'"
        raise _refuse(f"'messages' must contain the word 'json' in some form, {why}.", "messages")
