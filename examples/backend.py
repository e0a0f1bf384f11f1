"""Who answers in the demo: stand-ins on this machine without a key, the models of `langroute.yaml` with one."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from langroute import Policy
from langroute.testing import LoopbackProvider, closed_port
from langroute.testing.standins import large, small

POLICY = Path(__file__).with_name("langroute.yaml")

_STAND_INS = {"small": "stand-in-small", "large": "stand-in-large"}
_EXAMPLE_PRICES = {"small": {"input": 0.05, "output": 0.40}, "large": {"input": 0.25, "output": 2.00}}
_DEAD = "large-primary"

_STAND_IN_NOTICE = """\
No OPENAI_API_KEY is set, so the models are stand-ins: small programs of langroute.testing that rank, cut and fill from \
the text they are given, reached through ChatOpenAI over HTTP on 127.0.0.1. They are no language models; nothing leaves \
this machine. Their prices are example prices: small ${small[input]} in, ${small[output]} out, large ${large[input]} in, \
${large[output]} out, USD per million tokens."""
_REAL_NOTICE = "OPENAI_API_KEY is set: prompts, documents and replies go to {names}{address}."
_DEAD_NOTICE = f"The large tier's first provider ({_DEAD}) is down on purpose: it is a loopback port that nothing listens on."


@dataclass(frozen=True)
class Backend:
    """A policy whose models can be called, and what the reader must know about them."""

    policy: Policy
    notice: str


@contextmanager
def backend(names: Mapping[str, str]) -> Iterator[Backend]:
    """Yield the models to run on; `names` replaces those of tiers, for another server: `{"small": "llama3.2"}`.

    Raises:
        PolicyError: `langroute.yaml` was edited into something that cannot work.
    """
    written = yaml.safe_load(POLICY.read_text(encoding="utf-8"))
    _keep_loopback_direct()
    if os.environ.get("OPENAI_API_KEY"):
        yield _on_real_models(written, names)
        return
    _keep_everything_here()
    with LoopbackProvider({_STAND_INS["small"]: small, _STAND_INS["large"]: large}) as provider:
        yield _on_stand_ins(written, provider)


def _on_real_models(written: dict[str, Any], names: Mapping[str, str]) -> Backend:
    for tier, name in names.items():
        for spec in written["tiers"][tier]["models"]:
            spec["model"] = f"openai:{name.removeprefix('openai:')}"
    used = {spec["model"] for tier in written["tiers"].values() for spec in tier["models"]}
    base_url = os.environ.get("OPENAI_BASE_URL")
    notice = _REAL_NOTICE.format(names=" and ".join(sorted(used)), address=f" at {base_url}" if base_url else "")
    return Backend(Policy.load(written), f"{notice}\n{_DEAD_NOTICE}")


def _on_stand_ins(written: dict[str, Any], provider: LoopbackProvider) -> Backend:
    for tier, stand_in in _STAND_INS.items():
        for spec in written["tiers"][tier]["models"]:
            spec.pop("settings", None)
            address = closed_port() if spec["name"] == _DEAD else provider.base_url
            spec["model"] = provider.chat_model(stand_in, base_url=address, timeout=spec.pop("timeout_s"))
            spec["price"] = _EXAMPLE_PRICES[tier]
    return Backend(Policy.load(written), f"{_STAND_IN_NOTICE.format(**_EXAMPLE_PRICES)}\n{_DEAD_NOTICE}")


def _keep_loopback_direct() -> None:
    """Keep calls to 127.0.0.1 away from a proxy that the environment names."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))


def _keep_everything_here() -> None:
    """Switch off what would send prompts elsewhere: tracing, and OpenAI settings of this environment."""
    for name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2"):
        os.environ[name] = "false"
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        del os.environ[name]
