"""What each provider accepts in the messages of a request, beyond what LangChain's integration sees to.

Read in November 2026 from the providers' references and error messages, and from the integrations
(langchain-openai 1.7, -anthropic 1.7, -google-genai 4.4, -mistralai 1.1, -aws 1.9).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["UNKNOWN", "Dialect", "canonical", "dialect_of", "same_model"]

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_TEXT = frozenset({"type", "text"})

_OPENAI_REPLY = frozenset(
    {
        *("text", "output_text", "refusal", "reasoning", "function_call", "custom_tool_call", "tool_call"),
        *("image_generation_call", "web_search_call", "file_search_call", "code_interpreter_call"),
        *("computer_call", "mcp_call", "mcp_list_tools", "mcp_approval_request", "compaction"),
        *("tool_use", "thinking", "reasoning_content"),  # left out by the integration
    }
)
_ANTHROPIC_REPLY = frozenset(
    {
        *("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "web_search_tool_result"),
        *("web_fetch_tool_result", "code_execution_tool_result", "bash_code_execution_tool_result"),
        *("text_editor_code_execution_tool_result", "mcp_tool_use", "mcp_tool_result", "container_upload"),
        *("tool_search_tool_result", "compaction"),
    }
)
_GOOGLE_REPLY = frozenset(
    {
        *("text", "thinking", "reasoning", "tool_call", "function_call", "function_call_signature"),
        *("executable_code", "code_execution_result", "server_tool_call", "server_tool_result"),
        *("image", "image_url", "media"),
    }
)
_BEDROCK_REPLY = frozenset({"text", "reasoning_content", "tool_use", "guard_content", "server_tool_use"})


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """What one provider takes; each default is what every provider is known to take."""

    ids: re.Pattern[str] = re.compile(r"[\s\S]{1,}")
    """Ids of tool calls."""
    tool_names: re.Pattern[str] = _TOOL_NAME
    """Names of tools in calls and results."""
    late_system: bool = True
    """Whether a system message may stand after the first message of another kind."""
    user_first: bool = False
    """Whether the first message that is no system message must be a person's."""
    user_after_tool: bool = True
    """Whether a person's message may follow a tool result."""
    reply_after_reply: bool = True
    """Whether a reply with tool calls may follow another reply."""
    text_with_calls: bool = True
    """Whether text beside tool calls arrives."""
    empty: bool = True
    """Whether a message may hold no text but white space."""
    in_order: bool = False
    """Whether results are matched to calls by their order, and so must have it."""
    reply_blocks: frozenset[str] | None = None
    """Types of content blocks in its own replies; None lets all through."""
    text_keys: frozenset[str] | None = None
    """The only keys that a text block may have; None lets all through but `marks`."""
    marks: frozenset[str] = frozenset({"cache_control", "prompt_cache_breakpoint"})
    """Keys of other providers that it refuses on any block."""
    sources: bool = False
    """Whether it takes pictures and documents as Anthropic writes them, with a `source`."""
    bare: bool = False
    """Whether it takes blocks without a type, as Bedrock writes them."""
    media: bool = False
    """Whether it takes Google's `media` blocks."""


UNKNOWN = Dialect(tool_names=re.compile(r"[\s\S]+"), marks=frozenset(), sources=True, bare=True, media=True)

_DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        # Chat completions refuse ids of more than 40 characters, Responses of more than 64.
        "openai": Dialect(
            ids=re.compile(r"[!-~]{1,40}"),
            reply_blocks=_OPENAI_REPLY,
            text_keys=_TEXT | {"prompt_cache_breakpoint", "extras"},
            marks=frozenset({"cache_control"}),
        ),
        # The integration raises on a second group of system messages, and hoists a late one with a warning.
        "anthropic": Dialect(
            ids=re.compile(r"[a-zA-Z0-9_-]+"),
            late_system=False,
            user_first=True,
            empty=False,
            reply_blocks=_ANTHROPIC_REPLY,
            marks=frozenset({"prompt_cache_breakpoint"}),
            sources=True,
        ),
        # The integration sends no ids, and forgets a late system message where none leads.
        "google_genai": Dialect(
            tool_names=re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}"),
            late_system=False,
            user_first=True,
            empty=False,
            reply_after_reply=False,
            in_order=True,
            reply_blocks=_GOOGLE_REPLY,
            media=True,
        ),
        "mistralai": Dialect(
            ids=re.compile(r"[a-zA-Z0-9]{9}"),
            late_system=False,
            user_after_tool=False,
            text_with_calls=False,  # the integration leaves it out
            empty=False,
            reply_blocks=frozenset({"text", "thinking", "reference"}),
            text_keys=_TEXT,
        ),
        # Llama and Mistral models there refuse text in the turn that holds tool results.
        "bedrock": Dialect(
            ids=re.compile(r"[a-zA-Z0-9_-]{1,64}"),
            late_system=False,
            user_first=True,
            user_after_tool=False,
            empty=False,
            reply_blocks=_BEDROCK_REPLY,
            marks=frozenset({"prompt_cache_breakpoint"}),
            bare=True,
        ),
    }
)

_NAMES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("azure", "azure_openai", "azure_ai"), "openai"),
        **dict.fromkeys(("google_anthropic_vertex", "anthropic_bedrock"), "anthropic"),
        **dict.fromkeys(("google_vertexai", "google-vertexai", "google", "gemini"), "google_genai"),
        "mistral": "mistralai",
        **dict.fromkeys(("amazon_bedrock", "bedrock_converse", "aws"), "bedrock"),
    }
)
"""Other names of a provider: in model strings, in traces and in replies LangChain uses different ones."""

_SNAPSHOT = re.compile(r"^models/|[-@](?:latest|\d{3,4}|\d{6,8}|\d{4}-\d{2}-\d{2})$")


def canonical(provider: str) -> str:
    """Return one name for a provider, whichever of its names LangChain uses."""
    return _NAMES.get(provider, provider)


def dialect_of(provider: str) -> Dialect:
    """Return what a provider accepts; `UNKNOWN` for one that is not listed."""
    return _DIALECTS.get(canonical(provider), UNKNOWN)


def same_model(one: str, other: str) -> bool:
    """Whether two names are one model's: the date of a snapshot makes no difference."""
    return _SNAPSHOT.sub("", _SNAPSHOT.sub("", one)) == _SNAPSHOT.sub("", _SNAPSHOT.sub("", other))
