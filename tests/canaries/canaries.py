"""Policies with a canary, each arm known by what its small tier says; and which arm a thread belongs to."""

import hashlib
from typing import Any

from langchain_core.messages import UsageMetadata

from langroute.testing import ScriptedChatModel

__all__ = ["NEW", "OLD", "SHARE", "arm_of", "canary_of", "policy", "threads_of"]

OLD, NEW = "The cable was laid in 1866.", "The cable was laid in 1857."
SHARE = 0.3
USAGE = UsageMetadata(input_tokens=1_000, output_tokens=100, total_tokens=1_100)


def _spec(name: str, said: Any, **more: Any) -> dict[str, Any]:
    """Return an endpoint that costs 1,200 millionths of a dollar a call."""
    model = said
    if not isinstance(said, ScriptedChatModel):
        script = {"replies": tuple(said)} if isinstance(said, list) else {"reply": said}
        model = ScriptedChatModel(name=name, usage=USAGE, **script)
    return {"model": model, "name": name, "price": {"input": 1, "output": 2}, **more}


def policy(small: Any = OLD, large: Any = OLD, name: str = "old", **more: Any) -> dict[str, Any]:
    """Return a policy whose step `answer` tries `small`, then `large`."""
    tiers = {"small": {"models": [_spec(name, small)]}, "large": {"models": [_spec("large", large)]}}
    step = {"cascade": ["small", "large"], "verify": ["no_refusal"], **more.pop("step", {})}
    return {"tiers": tiers, "steps": {"answer": step}, **more}


def canary_of(main: dict[str, Any], new: dict[str, Any], share: float = SHARE) -> dict[str, Any]:
    """Return the policy with another as its canary."""
    return main | {"canary": {"policy": new, "share": share}}


def arm_of(key: str, digest: str, share: float = SHARE) -> str:
    """Return the arm of a thread, a run or a call, worked out by hand."""
    place = hashlib.blake2b(f"{digest} {key}".encode(), digest_size=8, person=b"canary").hexdigest()
    return "canary" if int(place, 16) / 2**64 < share else "main"


def threads_of(model: Any, arm: str, count: int) -> list[str]:
    """Return the first threads that belong to an arm."""
    digest, found = model.arms.canary.policy.digest, []
    for number in range(10_000):
        if arm_of(f"thread t{number}", digest) == arm:
            found.append(f"t{number}")
        if len(found) == count:
            return found
    raise AssertionError(arm)
