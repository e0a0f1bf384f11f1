"""Tool calls: each names a tool that is bound, with arguments that tool takes, and gets somewhere."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, get_args

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool
from pydantic import BaseModel, Field, ValidationError

from langroute.cascade import Verdict
from langroute.request import Request, tool_name
from langroute.verifiers.base import Case, Verifier, shown, without_thoughts
from langroute.verifiers.finish import ending
from langroute.verifiers.json_schema import first_problem
from langroute.verifiers.schema import validation_sentence
from langroute.verifiers.structured import NotJsonError, json_in, too_deep

__all__ = ["NotRepeating", "ToolCalls"]

_Key = tuple[str, str]
"""A tool's name and its arguments, in one spelling."""

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_TAGGED_CALL = re.compile(r"<(tool_call|function_call)>\s*+[\w{\[<]")
_WHOLE_JSON = re.compile(r"[{\[].*[}\]]|```[^`]*```", re.DOTALL)
_ARGUMENTS = ("arguments", "args", "parameters", "input")


class ToolCalls(Verifier):
    """Every tool call of the reply can be run: tool bound, arguments valid, id present and its own.

    A call that cannot be run makes the reply unusable: it is never returned, not even as the best
    there is; nor can one that the model wrote as text: `<tool_call>…`, or a reply that is nothing but
    the JSON of a call of a bound tool. A call that already failed with the same arguments is rejected,
    but may be the best. A reply without calls is accepted unless `required`.
    """

    name: ClassVar[str] = "tool_calls"

    required: bool = False
    """Whether the reply must call a tool."""

    def check(self, case: Case) -> Verdict:
        """Accept a reply whose calls can all be run."""
        problem = next(_broken(case), None)
        if problem is not None:
            return self.rejects(problem, usable=False)
        calls = case.reply.tool_calls
        if not calls:
            reason = "the reply calls no tool"
            return (
                self.rejects(f"{reason}, but a call is required") if self.required else self.accepts(reason)
            )
        failed = _failed(case.request)
        again = next((call["name"] for call in calls if _key(call) in failed), None)
        if again is not None:
            return self.rejects(
                f"the reply calls {shown(again)!r} again with arguments that have just failed"
            )
        return self.accepts(f"each of {len(calls)} tool calls can be run")


class NotRepeating(Verifier):
    """The reply repeats no tool call of this turn, so that an agent's loop cannot turn on the spot.

    Calls are the same when tool and arguments are. Counted are those since the person last spoke,
    and those within the reply.
    """

    name: ClassVar[str] = "not_repeating"
    shorthand: ClassVar[str | None] = "max"

    max: int = Field(default=0, ge=0)
    """How often the same call may be repeated: more than 0 for tools that are polled."""

    def check(self, case: Case) -> Verdict:
        """Accept a reply none of whose calls has been made more than `max` times before."""
        made = Counter(_key(call) for call in _calls_of_turn(case.request))
        for call in case.reply.tool_calls:
            key = _key(call)
            if made[key] > self.max:
                times = "once" if made[key] == 1 else f"{made[key]} times"
                return self.rejects(
                    f"the reply calls {shown(call['name'])!r} as it was already called {times}"
                )
            made[key] += 1
        return self.accepts("the reply repeats no tool call")


def _broken(case: Case) -> Iterator[str]:
    """Yield why the calls of a reply cannot be run, worst first."""
    reply = case.reply
    for broken in reply.invalid_tool_calls:
        yield f"the call of {shown(str(broken.get('name')))!r} has arguments that are not valid JSON"
    if reply.tool_calls and ending(reply):
        yield "the reply was cut while it called a tool, so its arguments cannot be trusted"
    yield from _cut_chunks(reply)
    if not reply.tool_calls and not reply.invalid_tool_calls:
        yield from _written_calls(case)
    bound = {tool_name(tool): tool for tool in case.request.tools}
    if case.request.schema is not None:
        # Structured output by function calling: the schema, or each of a union, is called like a tool.
        schemas = get_args(case.request.schema) or (case.request.schema,)
        bound.update((tool_name(schema), schema) for schema in schemas)
    seen: set[str] = set()
    for call in reply.tool_calls:
        name, call_id = call["name"], call.get("id")
        if name not in bound:
            known = ", ".join(sorted(filter(None, bound))[:20]) or "none"
            yield f"the reply calls {shown(name)!r}, which is not bound; the bound tools are: {known}"
            continue
        problem = _args_problem(bound[name], call["args"])
        if problem is not None:
            yield f"the call of {shown(name)!r} has invalid arguments: {problem}"
        if not call_id or call_id in seen:
            yield f"the call of {shown(name)!r} has {'the id of another call' if call_id else 'no id'}"
        seen.add(call_id or "")


def _written_calls(case: Case) -> Iterator[str]:
    """Yield calls that stand in the text, where nothing runs them; what is quoted as code is an example."""
    text = without_thoughts(case.text).strip()
    tag = _TAGGED_CALL.search(_CODE.sub(" ", text))
    if tag:
        yield f"the reply writes a tool call as text, in <{tag.group(1)}>, instead of making it"
    if case.parsed is not None or not _WHOLE_JSON.fullmatch(text):
        return
    try:
        data = json_in(text)
    except NotJsonError:
        return
    names = [tool_name(tool) for tool in case.request.tools]
    for item in data if isinstance(data, list) else [data]:
        call = item.get("function", item) if isinstance(item, Mapping) else None
        if isinstance(call, Mapping) and call.get("name") in names and any(key in call for key in _ARGUMENTS):
            yield f"the reply writes the call of {shown(call['name'])!r} as text instead of making it"


def _cut_chunks(reply: AIMessage) -> Iterator[str]:
    """Yield calls of a joined stream whose arguments end early: LangChain completes them without a word."""
    if not isinstance(reply, AIMessageChunk):
        return
    for chunk in reply.tool_call_chunks:
        try:
            json.loads(chunk["args"] or "{}")
        except (ValueError, RecursionError):
            yield f"the arguments of the call of {shown(str(chunk['name']))!r} end early"


def _args_problem(tool: Any, args: Any) -> str | None:
    """Return what is wrong with the arguments of a call; None where the tool takes them, or does not say."""
    if too_deep(args):
        return "they are nested deeper than 100 levels"
    schema = _args_schema(tool)
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        try:
            schema.model_validate(args)
        except ValidationError as error:
            return validation_sentence(error)
    elif isinstance(schema, Mapping):
        return first_problem(schema, args)
    return None


def _args_schema(tool: Any) -> Any:
    """Return the schema of a tool's arguments in any form in which a tool can be bound; None without one."""
    if isinstance(tool, BaseTool):
        whole, visible = tool.args_schema, tool.tool_call_schema
        # The visible schema leaves out injected arguments, but also the model's own validators.
        same = isinstance(whole, type) and whole.model_fields.keys() == visible.model_fields.keys()  # type: ignore[union-attr]  # both are classes then
        return whole if same else visible
    if isinstance(tool, type) and issubclass(tool, BaseModel):
        return tool
    if isinstance(tool, Mapping):
        inner = tool.get("function")
        function = inner if isinstance(inner, Mapping) else tool
        schema = function.get("parameters") or function.get("input_schema")
        return schema or (function if "properties" in function else None)
    from langchain_core.utils.function_calling import convert_to_openai_tool

    return convert_to_openai_tool(tool)["function"].get("parameters")


def _key(call: Mapping[str, Any]) -> _Key:
    return call["name"], json.dumps(call["args"], sort_keys=True, default=str)


def _failed(request: Request) -> set[_Key]:
    """Return the calls whose last result was an error."""
    keys: dict[str | None, _Key] = {}
    status: dict[_Key, str] = {}
    for message in request.messages:
        if isinstance(message, AIMessage):
            keys.update((call.get("id"), _key(call)) for call in message.tool_calls)
        elif isinstance(message, ToolMessage) and message.tool_call_id in keys:
            status[keys[message.tool_call_id]] = message.status
    return {key for key, last in status.items() if last == "error"}


def _calls_of_turn(request: Request) -> Iterable[Mapping[str, Any]]:
    for message in reversed(request.messages):
        if isinstance(message, HumanMessage):
            return
        if isinstance(message, AIMessage):
            yield from message.tool_calls
