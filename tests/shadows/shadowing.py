"""Policies with a shadow over scripted tiers whose prices are known, and what came of it."""

import threading
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import BaseMessage, UsageMetadata
from pydantic import PrivateAttr

from langroute import RoutedChatModel
from langroute.ledger.records import DecisionRecord, ShadowRecord
from langroute.testing import ScriptedChatModel

__all__ = [
    "CHEAP",
    "EXACT",
    "OTHER",
    "PATIENCE_S",
    "USAGE",
    "Gated",
    "kept",
    "policy",
    "routed",
    "shadows_of",
]

CHEAP, OTHER = "The cable was laid in 1866.", "The cable was laid in 1857."
PATIENCE_S = 120.0
USAGE = UsageMetadata(input_tokens=1_000, output_tokens=100, total_tokens=1_100)
"""1,200 millionths of a dollar on `small`, 12,000 on `large`."""

PRICES = {"small": {"input": 1, "output": 2}, "large": {"input": 10, "output": 20}}
EXACT = {"step": "answer", "share": 1.0, "compare": "exact"}


class Gated(ScriptedChatModel):
    """Replies once it is let."""

    _entered: threading.Event = PrivateAttr(default_factory=threading.Event)
    _let: threading.Event = PrivateAttr(default_factory=threading.Event)

    @property
    def entered(self) -> threading.Event:
        """Set when the first call is under way."""
        return self._entered

    def let(self) -> None:
        """Let every call reply."""
        self._let.set()

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Any:
        self._entered.set()
        assert self._let.wait(PATIENCE_S)
        return super()._generate(messages, stop, run_manager, **kwargs)


def policy(small: Any = CHEAP, large: Any = OTHER, **more: Any) -> dict[str, Any]:
    """Return a policy whose step `answer` tries `small` first, and shadows every reply, compared exactly."""
    tiers = {
        tier: {"models": [{"model": _model(tier, said), "name": tier, "price": PRICES[tier]}]}
        for tier, said in (("small", small), ("large", large))
    }
    step = {"cascade": ["small", "large"], "verify": ["no_refusal"], **more.pop("step", {})}
    return {"tiers": tiers, "steps": {"answer": step}, "shadow": {**EXACT, **more.pop("shadow", {})}, **more}


def routed(kept_in: Any, /, **of_policy: Any) -> RoutedChatModel:
    """Return a routed model that keeps its decisions in a ledger."""
    return RoutedChatModel(policy(**of_policy), ledger=kept_in).for_step("answer")


def _model(name: str, said: Any) -> ScriptedChatModel:
    if isinstance(said, ScriptedChatModel):
        return said
    script = {"replies": tuple(said)} if isinstance(said, list) else {"reply": said}
    return ScriptedChatModel(name=name, usage=USAGE, **script)


def kept(router: Any) -> list[DecisionRecord]:
    """Return the decisions in a router's ledger, once what was drawn is compared and written."""
    assert router.shadows.flush(PATIENCE_S)
    assert router.ledger.flush(PATIENCE_S)
    return list(router.ledger.decisions())


def shadows_of(model: RoutedChatModel) -> list[ShadowRecord]:
    """Return all shadows in a model's ledger."""
    return [shadow for record in kept(model.router) for shadow in record.shadows]
