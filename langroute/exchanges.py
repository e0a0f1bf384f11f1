"""Tool calls and their results in pairs: each result right after its call, under an id that is taken."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage

from langroute.dialects import Dialect

__all__ = ["paired"]

_NO_RESULT = "No result: this call was not carried out."
_ID_CHARS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def paired(messages: Sequence[BaseMessage], dialect: Dialect) -> list[BaseMessage]:
    """Return the messages with each call's result right after it, and no result without its call."""
    taken: set[str] = set()
    used: set[int] = set()
    paired: list[BaseMessage] = []
    for at, message in enumerate(messages):
        if isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls):
            places = _places(messages, at)
            used.update(places.values())
            results = {index: cast("ToolMessage", messages[place]) for index, place in places.items()}
            paired += _exchange(message, results, dialect, taken)
        elif not isinstance(message, ToolMessage):
            paired.append(message)
        elif at not in used:
            paired.append(_orphan(message))
    return paired


def _places(messages: Sequence[BaseMessage], at: int) -> dict[int, int]:
    """Return where the results of a reply's calls are, by the call's number, in the order of the results.

    They are looked for up to the next reply with calls, as some servers count ids anew in each reply.
    """
    reply = cast("AIMessage", messages[at])
    waiting = dict(enumerate(call["id"] or "" for call in (*reply.tool_calls, *reply.invalid_tool_calls)))
    places: dict[int, int] = {}
    for place in range(at + 1, len(messages)):
        message = messages[place]
        if isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls):
            break
        if isinstance(message, ToolMessage):
            found = (number for number, call_id in waiting.items() if call_id == message.tool_call_id)
            if (number := next(found, None)) is not None:
                places[number] = place
                del waiting[number]
    return places


def _exchange(
    reply: AIMessage, results: Mapping[int, ToolMessage], dialect: Dialect, taken: set[str]
) -> list[BaseMessage]:
    """Return a reply and the results of its calls, under ids and names that fit.

    A call whose arguments could not be read is kept, without them, where it has a result.
    """
    calls: dict[int, ToolCall] = {}
    for number, call in enumerate((*reply.tool_calls, *reply.invalid_tool_calls)):
        valid = number < len(reply.tool_calls)
        if valid or number in results:
            calls[number] = ToolCall(
                name=_tool_name(call["name"] or "", dialect),
                args=cast("ToolCall", call)["args"] if valid else {},
                id=_new_id(call["id"] or "", dialect, taken),
                type="tool_call",
            )
    missing = {number: _no_result(call) for number, call in calls.items() if number not in results}
    given = {number: _answer(result, calls[number], dialect) for number, result in results.items()}
    answers = given | missing
    order = sorted(answers) if dialect.in_order else answers
    return [_with_calls(reply, calls), *(answers[number] for number in order)]


def _answer(result: ToolMessage, call: ToolCall, dialect: Dialect) -> ToolMessage:
    name = result.name and _tool_name(result.name, dialect)
    if result.tool_call_id == call["id"] and result.name == name:
        return result
    return result.model_copy(update={"tool_call_id": call["id"], "name": name})


def _no_result(call: ToolCall) -> ToolMessage:
    return ToolMessage(_NO_RESULT, tool_call_id=call["id"] or "", name=call["name"], status="error")


def _orphan(result: ToolMessage) -> HumanMessage:
    """Return a result that answers no call as a person's message."""
    label = f"Result of the tool {result.name}:" if result.name else "Result of a tool:"
    if isinstance(result.content, str):
        return HumanMessage(f"{label}\n{result.content}", id=result.id)
    return HumanMessage([{"type": "text", "text": label}, *result.content], id=result.id)


def _with_calls(reply: AIMessage, calls: Mapping[int, ToolCall]) -> AIMessage:
    """Return the reply with these calls, named so in its content and its additional arguments as well."""
    kept = [(call["id"], call["name"]) for call in reply.tool_calls]
    if not reply.invalid_tool_calls and kept == [(call["id"], call["name"]) for call in calls.values()]:
        return reply
    given = (*reply.tool_calls, *reply.invalid_tool_calls)
    news = {str(call["id"]): calls.get(number) for number, call in enumerate(given)}
    renamed = {old: new["id"] for old, new in news.items() if new is not None}
    kwargs = {
        key: {renamed.get(old, old): value for old, value in values.items()}
        if isinstance(values, dict)
        else values
        for key, values in reply.additional_kwargs.items()
        if key != "tool_calls"
    }
    content = reply.content
    if not isinstance(content, str):
        content = [block for each in content if (block := _block(each, news)) is not None]
    update = {
        "content": content,
        "tool_calls": list(calls.values()),
        "invalid_tool_calls": [],
        "additional_kwargs": kwargs,
    }
    return reply.model_copy(update=update)


def _block(block: Any, news: Mapping[str, ToolCall | None]) -> Any:
    """Return a content block under the new id of its call; None where the call is left out."""
    if not isinstance(block, dict) or "text" in block:
        return block
    key = next(
        (key for key in ("call_id", "id") if isinstance(block.get(key), str) and block[key] in news), None
    )
    if key is None:
        return block
    new = news[block[key]]
    return None if new is None else {**block, key: new["id"], "name": new["name"]}


def _new_id(call_id: str, dialect: Dialect, taken: set[str]) -> str:
    """Return the id itself where it fits and is free, else a digest of it."""
    found, count = call_id, 0
    while not found or found in taken or dialect.ids.fullmatch(found) is None:
        found = _digest(f"{call_id}#{count}" if count else call_id)
        count += 1
    taken.add(found)
    return found


def _digest(text: str) -> str:
    """Return 9 letters and digits, which is what Mistral asks for and every other provider takes."""
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    return "".join(_ID_CHARS[number // 62**place % 62] for place in range(9))


def _tool_name(name: str, dialect: Dialect) -> str:
    if dialect.tool_names.fullmatch(name) is not None:
        return name
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "unnamed"
