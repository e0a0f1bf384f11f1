"""What a call used and what that costs; an unknown price is None, never 0."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from langroute.records import maker

__all__ = ["CostBasis", "Price", "Spend", "Usage", "made_usage", "total_usd"]

CostBasis = Literal["priced", "estimated", "cached", "unknown"]
"""How a cost is known: by price and reported usage; by price and length of the texts, where the provider
reported no usage; 0 because LangChain's cache answered; or not at all."""

_PER_MTOK = 1e-6


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
