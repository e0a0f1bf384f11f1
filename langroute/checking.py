"""Finds what no schema can see: names that lead nowhere, cascades that go down, bindings that cannot hold.

`check` runs whenever a policy is built. What works but surprises is `langroute.advice`'s part.
"""

import re
import warnings as python_warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from langroute.bindings import STEPS, asked_by, bindings, verifiers_of
from langroute.errors import PolicyProblem
from langroute.problems import Loc, closest, limited, problem, quoted
from langroute.promises import broken_promises
from langroute.redaction import holds_secret, names_secret, unveiled

if TYPE_CHECKING:
    from langroute.policy import ModelSpec, Policy, StepPolicy
    from langroute.verifiers import Verifier

__all__ = ["ADDRESS_FIELDS", "check"]

ADDRESS_FIELDS = ("base_url", "openai_api_base", "anthropic_api_url")
"""Settings in which LangChain's integrations keep the address of their server."""


def check(policy: "Policy") -> tuple[PolicyProblem, ...]:
    """Return every reason why the policy cannot work; empty for one that can."""
    found = chain(
        _unknown_names(policy),
        _endpoints(policy),
        _rules(policy),
        _shadows(policy),
        *(broken_promises(policy, loc, step) for loc, step in bindings(policy)),
    )
    return tuple(limited(found))


def _unknown_names(policy: "Policy") -> Iterator[PolicyProblem]:
    known: dict[str, Iterable[str]] = {
        "tier": policy.tiers,
        "stakes level": policy.stakes.levels,
        "step": dict.fromkeys((*policy.steps, *STEPS)),
        "intent": policy.intents,
    }
    for kind, loc, name in _references(policy):
        if name not in known[kind]:
            remedy = closest(name, known[kind], "Add it, or use another.")
            yield problem(loc, name, f"unknown {kind}", remedy)


def _references(policy: "Policy") -> Iterator[tuple[str, Loc, str]]:
    """Yield kind, place and name of everything that must be defined elsewhere in the policy."""
    for loc, step in bindings(policy):
        yield from _step_references(loc, step)
    for index, rule in enumerate(policy.rules):
        yield "tier", ("rules", index, "start"), rule.start
        yield from _listed("step", ("rules", index, "when", "step"), rule.when.step)
        yield from _listed("intent", ("rules", index, "when", "intent"), rule.when.intent)
    for name, level in policy.stakes.levels.items():
        yield "tier", ("stakes", name, "tier"), level.tier
    for tool, level_name in policy.stakes.tools.items():
        yield "stakes level", ("stakes", "tools", tool), level_name
    if policy.classify.model is not None:
        yield "tier", ("classify", "model"), policy.classify.model
    for index, shadow in enumerate(policy.shadow):
        yield "step", ("shadow", index, "step"), shadow.step
        judge = getattr(shadow.compare, "judge", None)
        if judge is not None and judge.tier is not None:
            yield "tier", ("shadow", index, "compare", "judge", "tier"), judge.tier
    for key in ("keywords", "examples"):
        yield from (
            ("step", ("classify", key, step_name), step_name) for step_name in getattr(policy.classify, key)
        )


def _step_references(loc: Loc, step: "StepPolicy") -> Iterator[tuple[str, Loc, str]]:
    at = step.cascade.written_at
    yield from (("tier", (*loc, "cascade", at(i)), tier) for i, tier in enumerate(step.cascade))
    yield from (("tier", (*loc, "after_tool", tool), tier) for tool, tier in step.after_tool.items())
    if step.on_tool_error is not None:
        yield "tier", (*loc, "on_tool_error"), step.on_tool_error
    if step.blame is not None:
        yield "step", (*loc, "blame"), step.blame
    if step.stakes is not None:
        yield "stakes level", (*loc, "stakes"), step.stakes
    for place, verifier in verifiers_of(loc, step):
        yield from (("tier", asked, tier) for asked, tier in _asked(verifier, place))


def _asked(verifier: "Verifier", loc: Loc) -> Iterator[tuple[Loc, str]]:
    """Yield place and name of every tier that a verifier at `loc` calls, those inside it included."""
    at = (*loc, verifier.name)
    within = getattr(verifier, "verify", ())
    if within and verifier.shorthand != "verify":
        at = (*at, "verify")
    for index, inner in enumerate(within):
        yield from _asked(inner, (*at, index))
    if not within:
        own = (*at, "tier") if hasattr(verifier, "tier") else loc
        yield from ((own, tier) for tier in verifier.tiers())


def _listed(kind: str, loc: Loc, names: Iterable[str] | None) -> Iterator[tuple[str, Loc, str]]:
    yield from ((kind, (*loc, index), name) for index, name in enumerate(names or ()))


def _endpoints(policy: "Policy") -> Iterator[PolicyProblem]:
    counts = Counter(spec.name for tier in policy.tiers.values() for spec in tier.models)
    for name, tier in policy.tiers.items():
        for index, spec in enumerate(tier.models):
            loc = ("tiers", name, "models", index)
            if spec.name is not None and counts[spec.name] > 1:
                remedy = "Give each endpoint a name of its own, or none: equal models are then told apart."
                yield problem((*loc, "name"), spec.name, "two endpoints have this name", remedy)
            yield from _secrets((*loc, "settings"), spec.settings)
            yield from _addresses((*loc, "settings"), spec)
            if spec.settings and not isinstance(spec.model, str):
                remedy = "Set them on the chat model itself, or name the model by a string."
                yield problem(
                    (*loc, "settings"), spec.settings, "a given chat model has its own settings", remedy
                )


def _secrets(loc: Loc, value: Any) -> Iterator[PolicyProblem]:
    if isinstance(value, SecretStr) and value.get_secret_value() == str(SecretStr("-")):
        message = "only stands for a secret: the policy was read from a dump, which holds none"
        yield problem(loc, value, message, "Write the value itself, or load the policy it came from.")
    elif isinstance(value, str | SecretStr) and holds_secret(unveiled(value)):
        yield problem(loc, value, "looks like a secret", "Remove it: keys come from the environment.")
    elif isinstance(value, list | tuple):
        yield from (found for index, inner in enumerate(value) for found in _secrets((*loc, index), inner))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if names_secret(key):
                remedy = "Remove it: keys come from the environment, as in `OPENAI_API_KEY`."
                yield problem((*loc, key), inner, "a secret has no place in a policy", remedy)
            else:
                yield from _secrets((*loc, key), inner)


def _addresses(loc: Loc, spec: "ModelSpec") -> Iterator[PolicyProblem]:
    """Find addresses at which no server can be; each call would fail there, and only then."""
    # Ollama's client takes `host:port` as well.
    bare = isinstance(spec.model, str) and spec.model.startswith("ollama:")
    for key in ADDRESS_FIELDS:
        where = spec.settings.get(key)
        if isinstance(where, str) and not _is_address(
            f"http://{where}" if bare and "//" not in where else where
        ):
            remedy = "Write it whole: `https://host/v1`, or `http://127.0.0.1:8000/v1`."
            yield problem((*loc, key), where, "no server can be at this address", remedy)


def _is_address(where: str) -> bool:
    """Whether a text is a URL that an HTTP client can call."""
    try:
        parts = urlsplit(where)
        _ = parts.port  # looked at only now
    except ValueError:
        return False
    is_plain = where.isprintable() and " " not in where
    return is_plain and parts.scheme in ("http", "https") and bool(parts.hostname)


def _rules(policy: "Policy") -> Iterator[PolicyProblem]:
    for index, rule in enumerate(policy.rules):
        loc, when = ("rules", index, "when"), rule.when
        for number, pattern in enumerate(when.patterns or ()):
            fault = _fault(pattern)
            if fault:
                yield problem(
                    (*loc, "patterns", number), pattern, f"not a regular expression: {fault}", "Correct it."
                )
        for unit in ("tokens", "documents"):
            least, most = getattr(when, f"min_{unit}"), getattr(when, f"max_{unit}")
            if least is not None and most is not None and least > most:
                message = f"greater than max_{unit}, which is {most}: the rule never matches"
                yield problem((*loc, f"min_{unit}"), least, message, "Swap the two, or remove one.")


def _shadows(policy: "Policy") -> Iterator[PolicyProblem]:
    """Yield the shadows that would measure nothing, or ask a model that the step may not reach."""
    top = policy.tier_order[-1]
    for index, shadow in enumerate(policy.shadow):
        loc, step = ("shadow", index), policy.step(shadow.step)
        if shadow.step in [earlier.step for earlier in policy.shadow[:index]]:
            message = "the step is shadowed already"
            yield problem((*loc, "step"), shadow.step, message, "Keep one of the two.")
        if step.cascade[0] == top:
            message = f"every reply of the step comes from the top tier `{top}`: there is nothing to measure"
            yield problem((*loc, "step"), shadow.step, message, "Remove it, or name another step.")
        for tier in dict.fromkeys(asked_by(policy, shadow)):
            found = {spec.boundary for spec in policy.tiers[tier].models} if tier in policy.tiers else set()
            if found and step.boundary is not None and not found.intersection(step.boundary):
                message = f"the step's boundary leaves tier `{tier}` without endpoints: all of them are"
                remedy = "Remove it: what must not leave the boundary is not shadowed outside either."
                yield problem((*loc, "step"), shadow.step, f"{message} {quoted(found)}", remedy)


def _fault(pattern: str) -> str:
    """Return why a regular expression does not compile; "" where it does."""
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")  # a doubtful set is no fault
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            return str(error)
    return ""
