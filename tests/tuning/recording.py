"""A ledger that real runs wrote: a step whose truth is known, asked through a routed chat model."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from langroute import Ledger, Policy, RoutedChatModel
from langroute.ledger.feedback import feedback_of, give
from langroute.testing import ScriptedChatModel

STEP = "work"


def prompts(count: int, seed: int = 0) -> list[str]:
    """Return prompts of which half look hard: the small model is wrong on four in five of those."""
    rng = np.random.default_rng(seed)
    hard = "Explain why, prove, compare and derive whether the theorem holds before you conclude: number {}?"
    return [(hard if rng.random() < 0.5 else "Name number {}.").format(n) for n in range(count)]


def right(prompt: str, tier: str) -> bool:
    """Return whether a tier's reply to a prompt is right: the same each time it is asked."""
    number = int(re.findall(r"\d+", prompt)[-1])
    lucky = np.random.default_rng((number, tier == "large")).random()
    return bool(lucky < (0.2 if tier == "small" and "prove" in prompt else 0.97))


def models() -> dict[str, Any]:
    price = {"input": 1.0, "output": 1.0}
    dear = {"input": 10.0, "output": 10.0}
    return {
        "small": {"models": [{"model": _model("small"), "price": price}]},
        "large": {"models": [{"model": _model("large"), "price": dear}]},
    }


def _model(name: str) -> ScriptedChatModel:
    return ScriptedChatModel(name=name, reply="It is so.")


def write(
    path: Path, policy: dict[str, Any], asked: Iterable[str], *, labelled: float = 1.0, **settings: Any
) -> Ledger:
    """Ask every prompt under a policy, and give feedback by the truth on a share of the replies."""
    ledger = Ledger(path)
    model = RoutedChatModel(Policy.load({"tiers": models(), **policy}), ledger=ledger).for_step(STEP)
    rng = np.random.default_rng(1)
    said = []
    for prompt in asked:
        told = model.invoke(prompt, **settings).response_metadata["langroute"]
        if rng.random() < labelled:
            worth = float(right(prompt, told["tier"]))
            said.append(feedback_of(worth, "test", decision=told["call_id"]))
    ledger.flush()
    give(ledger.store, said)
    return ledger
