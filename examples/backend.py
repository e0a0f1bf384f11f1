"""Who answers in the demo: stand-ins on this machine, or, with a key, the models of `langroute.yaml`."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langroute import Policy
from langroute.loading import read
from langroute.policy import ModelSpec
from langroute.redaction import redact
from langroute.testing import LoopbackProvider, closed_port
from langroute.testing.standins import large, small

POLICY = Path(__file__).with_name("langroute.yaml")

_DEAD_ADDRESS = "http://127.0.0.1:9/v1"
"""Address in the policy at which nothing listens: port 9 is set aside for throwing data away."""

_EXAMPLE_PRICES = {"small": {"input": 0.05, "output": 0.40}, "large": {"input": 0.25, "output": 2.00}}
_STAND_IN_NOTICE = (
    "No OPENAI_API_KEY is set, so the models are STAND-INS: programs of langroute.testing, no language "
    "models, that rank, cut and fill from the text they are given. They are called over HTTP on 127.0.0.1; "
    "nothing leaves this machine. Their prices are example prices, in USD per million tokens: {prices}."
)
_REAL_NOTICE = "OPENAI_API_KEY is set: prompts, documents and replies go to {names}{address}."
_DEAD_NOTICE = "{} is down on purpose: its address is a loopback port on which nothing listens."


@dataclass(frozen=True)
class Backend:
    """A policy whose models can be called, and what the reader must know about them."""

    policy: Policy
    notice: str


@contextmanager
def backend(names: Mapping[str, str]) -> Iterator[Backend]:
    """Yield the models to run on.

    Args:
        names: Model names that replace the policy's, by grade: `small` for the first tier, `large` for the
            others. Heeded with a key only.

    Raises:
        PolicyError: `langroute.yaml` was edited into something that cannot work.
    """
    policy = Policy.load(POLICY)
    dead = [spec.name for tier in policy.tiers.values() for spec in tier.models if _is_dead(spec)]
    down = _DEAD_NOTICE.format(" and ".join(map(str, dead))) if dead else ""
    keep_loopback_direct()
    if os.environ.get("OPENAI_API_KEY"):
        real = _rewritten(policy, lambda grade, spec: _renamed(spec, names.get(grade)))
        yield Backend(real, f"{_real_notice(real)}\n{down}")
        return
    keep_everything_here()
    prices = "; ".join(f"{grade} {p['input']} in, {p['output']} out" for grade, p in _EXAMPLE_PRICES.items())
    with LoopbackProvider({"stand-in-small": small, "stand-in-large": large}) as provider:
        stand_ins = _rewritten(policy, lambda grade, spec: _replaced(spec, grade, provider))
        yield Backend(stand_ins, f"{_STAND_IN_NOTICE.format(prices=prices)}\n{down}")


def shown_address(address: str) -> str:
    """Return an address without the name, the password and the keys that may stand in it."""
    return redact(re.sub(r"//[^/?#]*@", "//", address))


def _rewritten(policy: Policy, write: Callable[[str, ModelSpec], dict[str, Any]]) -> Policy:
    """Return the policy with each of its models written anew."""
    tiers = {}
    for rank, (name, tier) in enumerate(policy.tiers.items()):
        tiers[name] = {"models": [write("large" if rank else "small", spec) for spec in tier.models]}
    return Policy.load({**read(POLICY), "tiers": tiers})


def _renamed(spec: ModelSpec, name: str | None) -> dict[str, Any]:
    written = spec.model_dump(exclude_unset=True)
    return {**written, "model": f"openai:{name.removeprefix('openai:')}"} if name else written


def _replaced(spec: ModelSpec, grade: str, provider: LoopbackProvider) -> dict[str, Any]:
    """Return an endpoint that a stand-in answers, or nobody where the policy's own is down."""
    address = closed_port() if _is_dead(spec) else provider.base_url
    model = provider.chat_model(f"stand-in-{grade}", base_url=address, timeout=spec.timeout_s)
    return {"name": spec.name, "model": model, "price": _EXAMPLE_PRICES[grade]}


def _is_dead(spec: ModelSpec) -> bool:
    return spec.settings.get("base_url") == _DEAD_ADDRESS


def _real_notice(policy: Policy) -> str:
    names = sorted({str(spec.model) for tier in policy.tiers.values() for spec in tier.models})
    address = shown_address(os.environ.get("OPENAI_BASE_URL", ""))
    return _REAL_NOTICE.format(names=" and ".join(names), address=f" at {address}" if address else "")


def keep_loopback_direct() -> None:
    """Keep calls to 127.0.0.1 away from a proxy that the environment names."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))


def keep_everything_here() -> None:
    """Switch off what would send prompts elsewhere: tracing, and OpenAI settings of this environment."""
    for name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2"):
        os.environ[name] = "false"
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        del os.environ[name]
