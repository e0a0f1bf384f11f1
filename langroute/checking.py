"""Finds what no schema can see: names that lead nowhere, cascades that go down, bindings that cannot hold.

`check` runs whenever a policy is built. What works but surprises is `langroute.advice`'s part.
"""

import hashlib
import json
import re
import warnings as python_warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from pydantic import SecretStr

from langroute.errors import PolicyProblem
from langroute.problems import Loc, closest, limited, problem
from langroute.redaction import holds_secret, names_secret, unveiled
from langroute.verifiers.learned import Learned

if TYPE_CHECKING:
    from langroute.policy import ModelSpec, Policy, ShadowPolicy, StepPolicy
    from langroute.tuning.named import NamedScore
    from langroute.verifiers import Verifier

__all__ = [
    "ADDRESS_FIELDS",
    "STEPS",
    "asked_by",
    "bindings",
    "check",
    "checks_digest",
    "scores_of",
    "verifiers_of",
    "within",
]

STEPS = ("query_rewrite", "extraction", "planning", "tool_use", "synthesis")
"""Steps that langroute tells by the shape of a call; a policy may name them without binding them."""

ADDRESS_FIELDS = ("base_url", "openai_api_base", "anthropic_api_url")
"""Settings in which LangChain's integrations keep the address of their server."""

_MOST_EXPLORED = 0.5
"""The most that the chances of all tiers of a step that explores may come to."""
_OF_MODELS = ("confidence", "learned", "self_rated")
"""Verifiers that read a model's probabilities, a score fitted for models, or ask the model itself."""

_KINDS = {"prompt": "prompts", "reply": "replies"}

_CIRCLE_TOLD = 6
"""Steps of a circle that a message lists."""


def check(policy: "Policy") -> tuple[PolicyProblem, ...]:
    """Return every reason why the policy cannot work; empty for one that can."""
    found = chain(
        _unknown_names(policy),
        _endpoints(policy),
        _rules(policy),
        _shadows(policy),
        *(_binding(policy, loc, step) for loc, step in bindings(policy)),
    )
    return tuple(limited(found))


def bindings(policy: "Policy") -> Iterator[tuple[Loc, "StepPolicy"]]:
    """Yield every step's binding with its place in the policy, the default last."""
    yield from ((("steps", name), step) for name, step in policy.steps.items())
    yield ("default",), policy.default


def verifiers_of(loc: Loc, step: "StepPolicy") -> Iterator[tuple[Loc, "Verifier"]]:
    """Yield place and verifier of each of a step's checks, those of its function included."""
    yield from (((*loc, "verify", index), verifier) for index, verifier in enumerate(step.verify))
    function = step.cascade.function
    for index, verifier in enumerate((function and function.verify) or ()):
        yield (*loc, "cascade", 0, "verify", index), verifier


def within(verifier: "Verifier", loc: Loc) -> Iterator[tuple[Loc, "Verifier"]]:
    """Yield a verifier at `loc` with its place, and all that are inside it."""
    at = (*loc, verifier.name)
    yield at, verifier
    for inner in getattr(verifier, "verify", ()):
        yield from within(inner, at)


def _functions(policy: "Policy", loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    """Yield why a step's function could not be told from a tier, or could never be judged."""
    function = step.cascade.function
    if function is None:
        return
    at = (*loc, "cascade", 0, "function")
    if function.function in policy.tiers:
        remedy = "Register it under another name: the record tells tiers and functions by their names."
        yield problem(at, function.function, "a tier has this name", remedy)
    if function.endpoint in (spec.name for tier in policy.tiers.values() for spec in tier.models):
        yield problem(at, function.function, "a model has its endpoint's name", "Rename the model.")
    checks = step.verify if function.verify is None else function.verify
    every = (one for verifier in checks for _, one in within(verifier, ()))
    blind = next((one.name for one in every if one.name in _OF_MODELS), None)
    if blind is not None:
        message = f"`{blind}` can only judge what a model wrote, and would reject all that the function says"
        remedy = f"Give it checks of its own: `{{function: {function.function}, verify: [not_empty]}}`."
        yield problem(at, function.function, message, remedy)


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
                yield problem((*loc, "step"), shadow.step, f"{message} {_words(found)}", remedy)


def asked_by(policy: "Policy", shadow: "ShadowPolicy") -> Iterator[str]:
    """Yield the tiers that a shadow calls: the top tier, and its judge's."""
    yield policy.tier_order[-1]
    if not isinstance(shadow.compare, str):
        yield shadow.compare.judge.tier or policy.tier_order[-1]


def _fault(pattern: str) -> str:
    """Return why a regular expression does not compile; "" where it does."""
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")  # a doubtful set is no fault
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            return str(error)
    return ""


def _binding(policy: "Policy", loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    """Yield what keeps one step from working; names that are unknown are not reported again."""
    ranks = {tier: rank for rank, tier in enumerate(policy.tiers)}
    yield from _downward(ranks, loc, step)
    yield from _broken_promises(policy, ranks, loc, step)
    cascade = [tier for tier in step.cascade if tier in ranks]
    yield from _functions(policy, loc, step)
    yield from _explores(loc, step)
    yield from _forbidden(policy, cascade, loc, step)
    yield from _too_slow(policy, cascade, loc, step)
    yield from _blames(policy, loc, step)
    yield from _scores(loc, step)


def scores_of(policy: "Policy") -> Iterator[tuple[Loc, "NamedScore"]]:
    """Yield every learned score that the policy names, with its place."""
    for loc, step in bindings(policy):
        yield from ((at, named) for at, named, _ in _named_scores(loc, step))


def checks_digest(step: "StepPolicy") -> str:
    """Return twelve hex digits that change with a step's verifiers, their settings and learned scores."""
    every = (one for loc, verifier in verifiers_of((), step) for _, one in within(verifier, loc))
    scores = [one.model.score.digest for one in every if isinstance(one, Learned)]
    function = step.cascade.function
    written = [
        step.model_dump(mode="json", include={"verify"}),
        function and function.model_dump(mode="json"),
        scores,
    ]
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()[:12]


def _named_scores(loc: Loc, step: "StepPolicy") -> Iterator[tuple[Loc, "NamedScore", str]]:
    """Yield place and score of each that a step names, and what kind it must be of."""
    if step.route.learned is not None:
        yield (*loc, "route", "learned", "model"), step.route.learned.model, "prompt"
    for at, verifier in verifiers_of(loc, step):
        inside = (found for found in within(verifier, at) if isinstance(found[1], Learned))
        yield from (((*place, "model"), cast("Learned", one).model, "reply") for place, one in inside)


def _scores(loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    """Yield scores of the wrong kind, and those that do not know a tier that they would have to judge."""
    if step.route.difficulty is not None and step.route.learned is not None:
        message = "`learned` takes the place of `difficulty`, and both are given"
        yield problem((*loc, "route", "difficulty"), step.route.difficulty.threshold, message, "Remove one.")
    for at, named, kind in _named_scores(loc, step):
        score = named.score
        if score.kind != kind:
            message = f"is a score of {_KINDS[score.kind]}, and here one of {_KINDS[kind]} is read"
            yield problem(at, named.path, message, "Name the other file, or fit one of that kind.")
            continue
        needed = step.cascade if kind == "prompt" else step.cascade[:-1]
        unknown = [tier for tier in needed if tier not in score.heads]
        if unknown:
            message = f"the score does not judge {_words(unknown)}; it was fitted for {_words(score.heads)}"
            yield problem(at, named.path, message, "Fit it for the tiers of this step's cascade.")


def _blames(policy: "Policy", loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    """Yield why the step that is blamed could not answer again, or would be blamed for ever."""
    if step.blame is None or step.blame not in (*policy.steps, *STEPS):
        return
    name = str(loc[-1]) if len(loc) > 1 else None
    circle = _circle(policy, name, step.blame)
    if circle:
        told = circle if len(circle) <= _CIRCLE_TOLD else [*circle[: _CIRCLE_TOLD - 2], "…", circle[-1]]
        message = f"blames in a circle: {' blames '.join(told)}"
        remedy = "A step blames one that comes before it: remove `blame` here, or name an earlier step."
        yield problem((*loc, "blame"), step.blame, message, remedy)
    elif len(policy.step(step.blame).cascade) == 1:
        message = f"step `{step.blame}` has one tier, so that it cannot answer again any better"
        remedy = f"Add a higher tier to the cascade of `{step.blame}`, or remove `blame`."
        yield problem((*loc, "blame"), step.blame, message, remedy)


def _circle(policy: "Policy", name: str | None, blamed: str) -> list[str]:
    """Return the steps through which `name` (None is the default) comes to blame itself; [] where not."""
    chain = {name or "default": None}
    at: str | None = blamed
    while at is not None and at not in chain:
        chain[at] = None
        if name is None and at not in policy.steps:  # that step takes the default, blame included
            return [*chain, at]
        at = policy.step(at).blame
    return [*chain, name] if name is not None and at == name else []


def _downward(ranks: Mapping[str, int], loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    for index, (before, tier) in enumerate(zip(step.cascade, step.cascade[1:], strict=False), start=1):
        if ranks.get(tier, len(ranks)) > ranks.get(before, -1):
            continue
        message = (
            "the tier is repeated"
            if tier == before
            else f"goes down: `{tier}` is below `{before}` in `tiers`"
        )
        at = (*loc, "cascade", step.cascade.written_at(index))
        yield problem(at, tier, message, "Order the cascade as `tiers` is, each tier once.")


def _broken_promises(
    policy: "Policy", ranks: Mapping[str, int], loc: Loc, step: "StepPolicy"
) -> Iterator[PolicyProblem]:
    starts = [((*loc, "after_tool", tool), tier) for tool, tier in step.after_tool.items()]
    if step.on_tool_error is not None:
        starts.append(((*loc, "on_tool_error"), step.on_tool_error))
    for at, tier in starts:
        if tier in ranks and tier not in step.cascade:
            remedy = f"Add `{tier}` to the cascade, or name one of its tiers."
            yield problem(at, tier, "not in the step's cascade, and a step never leaves its cascade", remedy)
    level = policy.stakes.levels.get(step.stakes or "")
    if level is not None and ranks.get(level.tier, -1) > max(
        ranks.get(tier, len(ranks)) for tier in step.cascade
    ):
        message = f"demands tier `{level.tier}`, which is above the step's cascade"
        yield problem(
            (*loc, "stakes"), step.stakes, message, f"Add `{level.tier}` to the cascade, or lower the stakes."
        )


def _forbidden(policy: "Policy", cascade: list[str], loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    """Yield every tier of the step, or of its judges, whose endpoints are all outside the step's boundary."""
    if step.boundary is None:
        return
    needed = [(tier, "of the cascade") for tier in cascade]
    needed += [
        (tier, f"that `{verifier.name}` asks")
        for _, verifier in verifiers_of(loc, step)
        for tier in verifier.tiers()
        if tier in policy.tiers
    ]
    for tier, purpose in dict.fromkeys(needed):
        found = {spec.boundary for spec in policy.tiers[tier].models}
        if not found.intersection(step.boundary):
            message = f"leaves tier `{tier}` {purpose} without endpoints: all of them are {_words(found)}"
            remedy = _misspelt(policy, step.boundary) or f"Allow {_words(found)}, or take `{tier}` out."
            yield problem((*loc, "boundary"), list(step.boundary), message, remedy)


def _explores(loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    tiers = len(step.cascade)
    if step.explore is not None and step.explore * tiers > _MOST_EXPLORED + 1e-12:
        message = f"{tiers} tiers with this chance each leave too little for the policy's own choice"
        remedy = f"Write at most {_MOST_EXPLORED / tiers:g}; 0.02 is usual."
        yield problem((*loc, "explore"), step.explore, message, remedy)


def _misspelt(policy: "Policy", labels: Iterable[str]) -> str:
    """Return what leads from a label that no endpoint has to one that is near; "" where none is."""
    known = {spec.boundary for tier in policy.tiers.values() for spec in tier.models}
    remedies = (closest(label, sorted(known), "") for label in labels if label not in known)
    return next((remedy for remedy in remedies if remedy.startswith("Did you mean")), "")


def _too_slow(policy: "Policy", cascade: list[str], loc: Loc, step: "StepPolicy") -> Iterator[PolicyProblem]:
    specs: list[ModelSpec] = [spec for tier in cascade for spec in policy.tiers[tier].models]
    times = [spec.expected_s for spec in specs if spec.expected_s is not None]
    limit = step.latency_budget_s
    if limit is not None and specs and len(times) == len(specs) and min(times) > limit:
        message = f"no endpoint of the step is that fast: the fastest is expected to take {min(times):g} s"
        yield problem(
            (*loc, "latency_budget_s"), limit, message, "Allow more time, or bind the step to a faster tier."
        )


def _words(labels: Iterable[str]) -> str:
    return ", ".join(f"`{label}`" for label in sorted(labels))
