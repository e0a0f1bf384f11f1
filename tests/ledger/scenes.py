"""Routed models with a ledger, for the ledger's tests: two scripted tiers whose prices are known."""

from dataclasses import dataclass
from typing import Any

from langchain_core.messages import UsageMetadata
from synthetic import decisions

from langroute import Ledger, RoutedChatModel
from langroute.testing import ScriptedChatModel

__all__ = ["BAD", "GOOD", "PRICES", "USAGE", "Made", "policy", "routed", "some"]

GOOD, BAD = "It was laid in 1866.", "I cannot help with that."

PRICES = {
    "small": {"input": 1, "output": 2, "cache_read": 0.1},
    "large": {"input": 10, "output": 20, "cache_read": 1},
}
"""USD per million tokens."""

USAGE = UsageMetadata(
    input_tokens=1_000, output_tokens=100, total_tokens=1_100, input_token_details={"cache_read": 400}
)
"""600 tokens in, 400 from the cache, 100 out: 840 millionths of a dollar on `small`, 8,400 on `large`."""


def policy(small: Any = GOOD, large: Any = GOOD, step: Any = None, **more: Any) -> dict[str, Any]:
    """Return a policy whose step `answer` tries `small` first; what is no answer is rejected."""
    said = {"small": small, "large": large}
    return {
        "tiers": {
            tier: {"models": [{"model": _model(tier, said[tier]), "name": tier, "price": price}]}
            for tier, price in PRICES.items()
        },
        "steps": {"answer": {"cascade": ["small", "large"], "verify": ["no_refusal"], **(step or {})}},
        **more,
    }


def routed(kept_in: Ledger | str | None, /, **of_policy: Any) -> RoutedChatModel:
    """Return a routed model that keeps its decisions in a ledger."""
    return RoutedChatModel(policy(**of_policy), ledger=kept_in).for_step("answer")


def _model(name: str, said: Any) -> ScriptedChatModel:
    if isinstance(said, ScriptedChatModel):
        return said
    if isinstance(said, list):
        return ScriptedChatModel(name=name, replies=tuple(said), usage=USAGE)
    return ScriptedChatModel(name=name, reply=said, usage=USAGE)


@dataclass(frozen=True)
class Made:
    """A finished decision whose record is there already: what a ledger's writer is handed."""

    made: Any
    chars: int = 100

    @property
    def rows(self) -> int:
        return 1 + len(self.made.attempts)

    def record(self) -> Any:
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


def some(count: int, seed: int = 0) -> list[Made]:
    """Return made-up decisions to hand over."""
    return [Made(record) for record in decisions(count, seed)]
