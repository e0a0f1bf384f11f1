"""What a call used and what that costs; an unknown price is None, never 0."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langroute.records import maker

__all__ = ["CostBasis", "Price", "Spend", "Usage", "made_usage", "reported_usd", "total_usd", "usage_of"]

CostBasis = Literal["reported", "priced", "estimated", "cached", "unknown"]
"""How a cost is known: by the provider's own word in the reply; by price and reported usage; by price and
length of the texts, where no usage was reported; 0 because LangChain's cache answered; or not at all."""

_PER_MTOK = 1e-6

_MOST_TOKENS = 10**9
"""More are no count of one call's tokens but a mistake: a thousand of the largest windows."""

_MOST_USD = 1_000.0
"""More is no cost of one call but a mistake: a million tokens at ten times the dearest price there is."""

_LITELLM = "x-litellm-response-cost"
_UPSTREAM = "upstream_inference_cost"
_LONGEST_NUMBER = 40


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. `input_tokens` includes the cached ones, `output_tokens` the reasoning ones."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


made_usage = maker(Usage)


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens; a missing cache price means that cached tokens cost what input costs."""

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None

    def cost_usd(self, usage: Usage) -> float:
        """Return what `usage` costs in USD: plain input, cache reads and writes, and output."""
        if not (usage.cache_read_tokens or usage.cache_write_tokens):
            return _PER_MTOK * (usage.input_tokens * self.input + usage.output_tokens * self.output)
        plain = max(usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens, 0)
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        return _PER_MTOK * (
            plain * self.input
            + usage.cache_read_tokens * read
            + usage.cache_write_tokens * write
            + usage.output_tokens * self.output
        )


@dataclass(frozen=True, slots=True)
class Spend:
    """One model call made beside the attempts, on the same bill: a classifier, a judge, a second opinion."""

    purpose: str
    """What the call was for: `classifier`, `judge`, `agreement`, `self_rated`."""
    endpoint: str
    usage: Usage | None
    """None where the provider reported none."""
    cost_usd: float | None
    """None where the price or the usage is unknown."""


def total_usd(costs: Iterable[float | None]) -> float | None:
    """Return the sum in USD, or None as soon as one cost is unknown: a sum with a hole is not a sum."""
    total = 0.0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total


def usage_of(metadata: Mapping[str, Any]) -> Usage | None:
    """Return LangChain's usage as ours; Anthropic's cache writes stand under their lifetimes.

    None where a count can be none, as a provider or a proxy sends it: negative, NaN, a text. Details that
    exceed what they are part of are left out.
    """
    input_tokens, output_tokens = _count(metadata.get("input_tokens")), _count(metadata.get("output_tokens"))
    if input_tokens is None or output_tokens is None:
        return None
    if "input_token_details" not in metadata and "output_token_details" not in metadata:
        return made_usage(input_tokens, output_tokens)
    told = _details(metadata, "input_token_details")
    lifetimes = (_count(told.get(f"ephemeral_{life}_input_tokens")) or 0 for life in ("5m", "1h"))
    read, written = _count(told.get("cache_read")) or 0, _count(told.get("cache_creation")) or sum(lifetimes)
    if read + written > input_tokens:
        read = written = 0
    reasoning = _count(_details(metadata, "output_token_details").get("reasoning")) or 0
    return made_usage(
        input_tokens, output_tokens, read, written, reasoning if reasoning <= output_tokens else 0
    )


def reported_usd(metadata: Mapping[str, Any]) -> float | None:
    """Return the USD that a reply cost by the word of its `response_metadata`; None where that has none.

    OpenRouter says it in its usage (with a key of your own: its fee beside what the provider takes), LiteLLM
    as `response_cost` or in a header. What can be no cost is passed over, and so is 0, which a gateway says
    of models whose price it does not know.
    """
    usage = metadata.get("token_usage")
    if isinstance(usage, dict) and "cost" in usage:
        return _charged(usage)
    if "cost" in metadata:
        return _charged(metadata)
    if "response_cost" in metadata:
        return _usd(metadata["response_cost"]) or None
    headers = metadata.get("headers")
    written = headers.get(_LITELLM) if isinstance(headers, dict) else None
    if not isinstance(written, str) or len(written) > _LONGEST_NUMBER:
        return None
    try:
        return _usd(float(written)) or None
    except ValueError:
        return None


def _charged(told: Mapping[str, Any]) -> float | None:
    """Return what OpenRouter took, and what a provider took from your own account with it."""
    own_usd, upstream_usd = _usd(told["cost"]), _usd(_details(told, "cost_details").get(_UPSTREAM))
    if own_usd is None:
        return None
    # With OpenRouter's key its charge covers the provider's; with yours it is a small fee on top of that.
    return own_usd + (upstream_usd if upstream_usd is not None and upstream_usd > own_usd else 0.0) or None


def _usd(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value <= _MOST_USD else None


def _details(metadata: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    told = metadata.get(key)
    return told if isinstance(told, Mapping) else {}


def _count(value: Any) -> int | None:
    """Return a count of tokens, 0 where there is none; None where the value can be no count."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int:
        return value if 0 <= value <= _MOST_TOKENS else None
    return 0 if value is None else None
