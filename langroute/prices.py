"""What a model's tokens cost: the policy's word first, else the public price list, else nobody knows.

The list is `genai-prices`, as installed; nothing is downloaded. It knows prices that rise with the length
of the prompt, that change on a date, and that are lower at night, so a price is asked for at a moment and
for a number of input tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from langroute.cost import Price

__all__ = ["ListPrices", "PolicyPrice", "PriceSource", "listed_prices"]

_BEYOND_TOKENS = ("requests_kcount", "output_reasoning_mtok", "output_citation_mtok")
"""Price keys that a count of input and output tokens cannot pay: with one of them the cost is unknown."""


class PriceSource(Protocol):
    """Where an endpoint's price comes from."""

    def at(self, input_tokens: int, moment: datetime) -> Price | None:
        """Return the price of a prompt of `input_tokens` at `moment`; None where it is unknown."""
        ...

    def covers(self, details: Mapping[str, Any]) -> bool:
        """Whether every kind of input token in LangChain's `input_token_details` is paid by that price."""
        ...


@dataclass(frozen=True, slots=True)
class PolicyPrice:
    """The price that the policy states, whatever the length, the hour or the kind of token."""

    price: Price

    def at(self, input_tokens: int, moment: datetime) -> Price:
        """Return the stated price."""
        del input_tokens, moment
        return self.price

    def covers(self, details: Mapping[str, Any]) -> bool:
        """Return True: who states a price states it for everything."""
        del details
        return True


@dataclass(frozen=True, slots=True)
class ListPrices:
    """The price list's entry for one model."""

    entry: Any
    """A `genai_prices.types.ModelInfo`."""
    _bands: dict[int, tuple[tuple[int, Price | None], ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def at(self, input_tokens: int, moment: datetime) -> Price | None:
        """Return the price of the highest band that the prompt exceeds: it applies to all its tokens."""
        listed = self.entry.get_prices(moment)
        bands = self._bands.get(id(listed))  # the entry keeps its price objects alive, so ids stay unique
        if bands is None:
            bands = self._bands[id(listed)] = _bands(listed)
        for start, price in bands:
            if input_tokens > start:
                return price
        return bands[-1][1]

    def covers(self, details: Mapping[str, Any]) -> bool:
        """Return False for audio tokens and one-hour cache writes: they have rates of their own."""
        return not details.get("audio") and not details.get("ephemeral_1h_input_tokens")


def listed_prices(provider: str, model: str, base_url: str | None = None) -> ListPrices | None:
    """Return the price list's entry for a model, None where it has none.

    Args:
        provider: LangChain's name of the provider, as in `provider:model` or `ls_provider`.
        model: The provider's name of the model, with or without its date.
        base_url: Address of the server where it is not the provider's own. A model at an address that the
            list does not know has no listed price: a local server that speaks OpenAI's wire is not OpenAI.
    """
    # 0.2 s to import: paid by the first look-up, not by `import langroute`.
    from genai_prices.data_snapshot import get_snapshot

    by_address: dict[str, Any] = {"provider_id": None, "provider_api_url": base_url}
    by_name: dict[str, Any] = {"provider_id": provider, "provider_api_url": None}
    try:
        _, entry = get_snapshot().find_provider_model(model, None, **(by_address if base_url else by_name))
    except LookupError:
        return None
    return ListPrices(entry)


def _bands(listed: Any) -> tuple[tuple[int, Price | None], ...]:
    """Return the input tokens above which each price applies, the highest first."""
    keys = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
    rates = [getattr(listed, key) for key in keys]
    if (
        rates[0] is None
        or rates[1] is None
        or any(getattr(listed, key) is not None for key in _BEYOND_TOKENS)
    ):
        return ((0, None),)
    starts = sorted({0, *(tier.start for rate in rates for tier in getattr(rate, "tiers", ()))}, reverse=True)
    return tuple((start, Price(*(_rate(rate, start) for rate in rates))) for start in starts)


def _rate(rate: Any, start: int) -> Any:
    """Return USD per million tokens of one kind in the band that begins at `start`."""
    if rate is None:
        return None
    tiers = getattr(rate, "tiers", None)
    if tiers is None:
        return float(rate)
    return float(next((tier.price for tier in reversed(tiers) if tier.start <= start), rate.base))
