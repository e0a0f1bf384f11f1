"""Twelve histories and some more, each as the replies of one provider's integration would have written it."""

import base64
from dataclasses import dataclass

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

__all__ = ["MODELS", "PROVIDERS", "SIGNATURES", "WIRES", "histories"]

MODELS = {
    "openai": "gpt-5-mini",
    "responses": "gpt-5",
    "anthropic": "claude-opus-4-5",
    "google": "gemini-2.5-flash",
    "mistral": "magistral-medium-latest",
    "bedrock": "anthropic.claude-sonnet-4-5-20250929-v1:0",
}
WIRES = tuple(MODELS)
PROVIDERS = {
    "openai": "openai",
    "responses": "openai",
    "anthropic": "anthropic",
    "google": "google_genai",
    "mistral": "mistralai",
    "bedrock": "bedrock_converse",
}
SIGNATURES = {
    wire: base64.b64encode(f"signed by {model}".encode()).decode() for wire, model in MODELS.items()
}

PIXEL = base64.b64encode(b"\x89PNG one pixel").decode()
CALL_IDS = {
    "openai": "call_{:024d}",
    "responses": "call_{:024d}",
    "anthropic": "toolu_{:024d}",
    "google": "0b5dd3a8-2a0e-4f0f-9c7b-{:012d}",
    "mistral": "mAbC{:05d}",
    "bedrock": "tooluse_{:022d}",
}
IMAGES = {
    "openai": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    "responses": {"type": "image", "base64": PIXEL, "mime_type": "image/png"},
    "anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
    "google": {"type": "media", "mime_type": "image/png", "data": PIXEL},
    "mistral": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    "bedrock": {"image": {"format": "png", "source": {"bytes": base64.b64decode(PIXEL)}}},
}
MARKED = {
    "openai": [{"type": "text", "text": "Long rules.", "prompt_cache_breakpoint": {"type": "default"}}],
    "responses": [{"type": "text", "text": "Long rules.", "prompt_cache_breakpoint": {"type": "default"}}],
    "anthropic": [{"type": "text", "text": "Long rules.", "cache_control": {"type": "ephemeral"}}],
    "google": [{"type": "text", "text": "Long rules.", "id": "lc_1"}],
    "mistral": [{"type": "text", "text": "Long rules."}],
    "bedrock": [{"type": "text", "text": "Long rules."}, {"cachePoint": {"type": "default"}}],
}


@dataclass(frozen=True)
class Writer:
    """One provider's way of writing replies."""

    wire: str

    def reply(self, text="", calls=(), *, thinks=False, redacted=False):
        """Return a reply of the model; calls are `(id, tool)`."""
        write = getattr(self, f"_{self.wire}")
        content, kwargs = write(text, calls, thinks, redacted)
        stamp = {"model_provider": PROVIDERS[self.wire], "model_name": MODELS[self.wire], "id": "resp_own1"}
        tool_calls = [{"name": tool, "args": {"q": call_id[-1]}, "id": call_id} for call_id, tool in calls]
        return AIMessage(content, tool_calls=tool_calls, additional_kwargs=kwargs, response_metadata=stamp)

    def _openai(self, text, calls, thinks, redacted):
        return text, {"refusal": None}

    def _responses(self, text, calls, thinks, redacted):
        content = []
        if thinks or redacted:
            summary = [{"type": "summary_text", "text": "I think."}] if thinks else []
            sealed = SIGNATURES["responses"]
            content.append(
                {"type": "reasoning", "id": "rs_own1", "summary": summary, "encrypted_content": sealed}
            )
        if text:
            content.append({"type": "text", "text": text, "annotations": [], "id": "msg_own1"})
        for number, (call_id, tool) in enumerate(calls):
            arguments = f'{{"q": "{call_id[-1]}"}}'
            call = {"type": "function_call", "name": tool, "arguments": arguments, "call_id": call_id}
            content.append({**call, "id": f"fc_own{number}"})
        return content, {}

    def _anthropic(self, text, calls, thinks, redacted):
        content = []
        if thinks:
            content.append({"type": "thinking", "thinking": "I think.", "signature": SIGNATURES["anthropic"]})
        if redacted:
            content.append({"type": "redacted_thinking", "data": SIGNATURES["anthropic"]})
        if not content and not calls:
            return text, {}
        if text:
            content.append({"type": "text", "text": text})
        for call_id, tool in calls:
            content.append({"type": "tool_use", "id": call_id, "name": tool, "input": {"q": call_id[-1]}})
        return content, {}

    def _google(self, text, calls, thinks, redacted):
        sign = SIGNATURES["google"]
        kwargs = {}
        if calls:
            kwargs["function_call"] = {"name": calls[0][1], "arguments": "{}"}
            if thinks:
                kwargs["__gemini_function_call_thought_signatures__"] = {calls[0][0]: sign}
        if not (thinks or redacted):
            return text, kwargs
        thought = [{"type": "thinking", "thinking": "I think."}] if thinks else []
        told = [{"type": "text", "text": text, "extras": {"signature": sign}}] if text else []
        return [*thought, *told], kwargs

    def _mistral(self, text, calls, thinks, redacted):
        if not (thinks or redacted):
            return text, {}
        thought = {"type": "thinking", "thinking": [{"type": "text", "text": "I think."}]}
        return [thought, *([{"type": "text", "text": text}] if text else [])], {}

    def _bedrock(self, text, calls, thinks, redacted):
        content = []
        if thinks:
            said = {"text": "I think.", "signature": SIGNATURES["bedrock"]}
            content.append({"type": "reasoning_content", "reasoning_content": said})
        if redacted:
            sealed = {"redactedContent": SIGNATURES["bedrock"]}
            content.append({"type": "reasoning_content", "reasoning_content": sealed})
        if not content and not calls:
            return text, {}
        if text:
            content.append({"type": "text", "text": text})
        for call_id, tool in calls:
            content.append({"type": "tool_use", "id": call_id, "name": tool, "input": {"q": call_id[-1]}})
        return content, {}


def histories(wire):
    """Return the histories of one writer, by name; each ends with what the next reply answers."""
    writer = Writer(wire)
    reply, rules, ask, again = (
        writer.reply,
        SystemMessage("Be brief."),
        HumanMessage("Hi?"),
        HumanMessage("So?"),
    )
    ids = [CALL_IDS[wire].format(number) for number in range(1, 5)]
    one, two = (ids[0], "search"), (ids[1], "weather")
    long = ("x" * 65, "search")
    odd = ("functions.search:0", "search")
    return {
        "plain": [rules, ask, reply("Hello."), again],
        "late system": [rules, ask, reply("Hello."), SystemMessage("Now in French."), again],
        "thinking": [rules, ask, reply("Hello.", thinks=True), again],
        "redacted thinking": [rules, ask, reply("Hello.", redacted=True), again],
        "cache marks": [SystemMessage(MARKED[wire]), HumanMessage(MARKED[wire]), reply("Hello."), again],
        "tool call": [rules, ask, reply("I look.", [one], thinks=True), result(one)],
        "parallel calls": [rules, ask, reply("", [one, two]), result(two), result(one)],
        "long ids": [ask, reply("", [long]), result(long)],
        "odd ids": [ask, reply("", [odd]), result(odd)],
        "orphan result": [rules, ask, result(one), reply("Hello."), again],
        "unanswered call": [rules, ask, reply("", [one, two]), result(one), again],
        "picture": [HumanMessage([{"type": "text", "text": "See:"}, IMAGES[wire]]), reply("A dot."), again],
        "empty reply": [rules, ask, reply(""), again],
        "begins with the assistant": [rules, reply("Welcome."), ask],
        "person after a result": [ask, reply("", [one]), result(one), again],
        "name": [HumanMessage("Hi?", name="Ada Lovelace"), named(reply("Hello.")), again],
        "ids used again": [ask, *exchange(reply, one), again, *exchange(reply, one), again],
        "replies in a row": [ask, reply("Wait."), reply("", [one]), result(one)],
        "only a late system message": [ask, reply("Hello."), SystemMessage("Now in French."), again],
        "late result": [ask, reply("", [one]), again, result(one)],
        "empty turn": [ask, reply("Hello."), HumanMessage(" "), again],
    }


def result(call):
    """Return the result of a call."""
    call_id, tool = call
    return ToolMessage(f"{tool} found {call_id[-1]}", tool_call_id=call_id, name=tool)


def named(message):
    """Return a reply under the name of an agent."""
    return message.model_copy(update={"name": "the agent"})


def exchange(reply, call):
    """Return a call, its result and the reply."""
    return [reply("", [call]), result(call), reply("Found.")]
