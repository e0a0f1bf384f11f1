"""What one call may cost at worst, what one without a bill is taken to have cost, and whose money it is."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from langroute.accounts import PICO, Store, pico_of
from langroute.attempts import Attempt
from langroute.bindings import asked_by, bindings
from langroute.budget import Budget, Limit, Purse
from langroute.cost import CostBasis, Usage
from langroute.endpoints import OUTPUT_LIMITS, Endpoint, Endpoints
from langroute.errors import PolicyError, PolicyProblem
from langroute.policy import BudgetPolicy, Policy, ShadowPolicy
from langroute.problems import limited, problem
from langroute.request import EMPTY, Request, message_text

__all__ = [
    "bill",
    "budget_of",
    "budget_problems",
    "guess",
    "guessed",
    "purse_of",
    "shadow_budget",
    "worst_usd",
]

INPUT_MARGIN = 1.5
"""The worst case of a prompt, times its estimate of 4 bytes a token: code and tables have 2.7 and more."""

PART_TOKENS = 2_000
"""The worst case of a picture, a sound or a file in a prompt: a large picture in high detail has 1,500."""

OUTPUT_FACTOR = 8
"""The worst case of a reply that nothing limits, times the step's `expected_output_tokens`: with its
default of 500 the 4,000 tokens at which many servers end a reply by themselves."""

_BYTES_PER_TOKEN = 4.0

_RUNTIME = "__pregel_runtime"
"""Where LangGraph (1.2) keeps a node's runtime. Its `control` is one object for all nodes of an invocation,
those of subgraphs and of graphs that a node invokes included, and another for the next (1.2.0, 1.2.22)."""


def limits_of(written: BudgetPolicy) -> tuple[Limit, ...]:
    """Return the limits that a policy states; what needs approval is none."""
    scopes: tuple[Any, ...] = ("call", "run", "thread", "day")
    stated = ((scope, f"per_{scope}_usd", getattr(written, f"per_{scope}_usd")) for scope in scopes)
    limits = [Limit(name, scope, pico_of(usd)) for scope, name, usd in stated if usd is not None]
    for key, budget in written.keys.items():
        limits.append(Limit(f"keys.{key}.per_day_usd", "key", pico_of(budget.per_day_usd), key))
    return tuple(limits)


def budget_of(policy: Policy, endpoints: Endpoints, store: Store | None) -> Budget | None:
    """Return the budget of a policy, None where it states no limit.

    Raises:
        PolicyError: An endpoint's price is unknown, or a limit is below what one call of a step may cost.
    """
    problems = budget_problems(policy, endpoints)
    if problems:
        raise PolicyError(problems)
    limits = limits_of(policy.budget)
    return Budget(limits, store) if limits else None


def budget_problems(policy: Policy, endpoints: Endpoints) -> tuple[PolicyProblem, ...]:
    """Return why the limits of a policy cannot hold: what `check` cannot see without prices."""
    limits = limits_of(policy.budget)
    if not limits:
        return tuple(limited(_shadow_problems(policy, endpoints)))
    found = chain(
        _unpriced(policy, endpoints, policy.tiers),
        _too_low(policy, endpoints, limits),
        _shadow_problems(policy, endpoints),
    )
    return tuple(limited(dict.fromkeys(found)))


def shadow_budget(shadow: ShadowPolicy, store: Store | None) -> Budget:
    """Return the budget of a shadow: its own, of which no other call spends."""
    limit = Limit("shadow.per_day_usd", "shadow", pico_of(shadow.per_day_usd), shadow.step)
    return Budget((limit,), store)


def purse_of(budget: Budget, config: RunnableConfig, metadata: Mapping[str, Any]) -> Purse:
    """Return what a call spends from: the money of its run, its thread, its day and its keys."""
    told = config.get("configurable") or EMPTY
    around = (var_child_runnable_config.get() or EMPTY).get("configurable") or EMPTY
    runtime = told.get(_RUNTIME) or around.get(_RUNTIME)
    thread = told.get("thread_id") or around.get("thread_id") or metadata.get("thread_id")
    thread = None if thread is None else str(thread)
    return budget.purse(run=getattr(runtime, "control", None), thread=thread, metadata=metadata)


def worst_usd(
    endpoint: Endpoint,
    request: Request,
    output_tokens: int,
    messages: Sequence[BaseMessage] | None = None,
) -> float | None:
    """Return the most USD that one call should cost; None where the price is unknown.

    The prompt counts with a margin, at the dearest of what input may cost; the reply up to its limit: the
    call's own, else the model's, else `OUTPUT_FACTOR` times `output_tokens`.

    Args:
        endpoint: Whom the call goes to.
        request: The request.
        output_tokens: The step's `expected_output_tokens`.
        messages: The prompt where it is not the request's own, as in a repair.
    """
    if endpoint.is_function:
        return 0.0
    if "model" in request.kwargs:  # the caller swapped the model that the price belongs to
        return None
    if messages is not None:
        request = replace(request, messages=tuple(messages))
    tokens = math.ceil(INPUT_MARGIN * request.estimated_tokens) + PART_TOKENS * _parts(request.messages)
    price = endpoint.price(tokens)
    if price is None:
        return None
    dearest = max(price.input, price.cache_write or 0.0)
    reply = _output_limit(endpoint, request) or OUTPUT_FACTOR * output_tokens
    return (tokens * dearest + reply * price.output) / 1e6


def _output_limit(endpoint: Endpoint, request: Request) -> int | None:
    """Return the most tokens that a reply can have: the call's own limit, else the endpoint's."""
    own = getattr(request.binding, "settings", EMPTY)  # what an agent's other middleware set
    said = [source[key] for source in (own, request.kwargs) for key in OUTPUT_LIMITS if source.get(key)]
    return int(max(said)) if said else endpoint.output_tokens


def bill(
    endpoint: Endpoint, request: Request, message: AIMessage
) -> tuple[Usage | None, float | None, CostBasis]:
    """Return what a reply used and cost, and how that is known; one without usage is estimated, never 0."""
    if endpoint.is_function:
        return None, 0.0, "priced"
    billed = endpoint.cost_of(message)
    if (
        "model" in request.kwargs and billed[2] != "reported"
    ):  # the price belongs to the model that was swapped
        return billed[0], None, "unknown"
    if billed[0] is not None or billed[2] != "unknown":
        return billed
    arguments = sum(len(str(call["args"])) for call in message.tool_calls)
    guessed = guess(endpoint, request, _bytes(message_text(message)) + arguments)
    return (None, None, "unknown") if guessed is None else (*guessed, "estimated")


def guess(endpoint: Endpoint, request: Request, reply_bytes: int) -> tuple[Usage, float] | None:
    """Return what a call without a bill is taken to have used and cost in USD; None if the price is unknown.

    The whole prompt, and a token for every 4 bytes that came of the reply.
    """
    tokens = max(request.estimated_tokens, 1)
    price = None if "model" in request.kwargs else endpoint.price(tokens)
    if price is None:
        return None
    usage = Usage(tokens, math.ceil(reply_bytes / _BYTES_PER_TOKEN))
    return usage, price.cost_usd(usage)


def guessed(attempt: Attempt, endpoint: Endpoint, request: Request, reply_bytes: int) -> Attempt:
    """Return an attempt that ended without a bill with what it is taken to have cost."""
    if endpoint.is_function:
        return replace(attempt, cost_usd=0.0, cost_basis="priced")
    found = guess(endpoint, request, reply_bytes)
    if found is None:
        return attempt
    return replace(attempt, usage=found[0], cost_usd=found[1], cost_basis="estimated")


def _parts(messages: Sequence[BaseMessage]) -> int:
    """Return how many pictures, sounds and files stand in a prompt."""
    return sum(
        isinstance(part, Mapping) and part.get("type") not in ("text", "tool_use", "thinking", "reasoning")
        for message in messages
        if not isinstance(message.content, str)
        for part in message.content
    )


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _unpriced(policy: Policy, endpoints: Endpoints, tiers: Iterable[str]) -> Iterator[PolicyProblem]:
    """Yield the endpoints without a price: no budget could count them, and calls would go round it."""
    for tier, written in ((tier, policy.tiers[tier]) for tier in tiers):
        for index, endpoint in enumerate(endpoints.tier(tier)):
            if endpoint.price() is None:
                loc = ("tiers", tier, "models", index, "price")
                message = (
                    f"the price of `{endpoint.name}` is unknown, so that no budget, nor a shadow's,"
                    " can hold its calls"
                )
                remedy = "State `price: {input: …, output: …}` in USD per million tokens, 0 where it is free."
                yield problem(loc, written.models[index].price, message, remedy)


def _shadow_problems(policy: Policy, endpoints: Endpoints) -> Iterator[PolicyProblem]:
    """Yield why a shadow's own budget cannot hold its calls."""
    empty = Request(())
    for index, shadow in enumerate(policy.shadow):
        tiers, step = list(dict.fromkeys(asked_by(policy, shadow))), policy.step(shadow.step)
        yield from _unpriced(policy, endpoints, tiers)
        inside = endpoints.allowed(tiers[0], step.boundary)
        priced = [worst_usd(endpoint, empty, step.expected_output_tokens) for endpoint in inside]
        least_usd = min((usd for usd in priced if usd is not None), default=0.0)
        if shadow.per_day_usd < least_usd:
            message = f"below what one call of tier `{tiers[0]}` may cost: {least_usd:.6f} USD"
            remedy = "Raise it, or limit the replies: `settings: {max_tokens: …}` of the model."
            yield problem(("shadow", index, "per_day_usd"), shadow.per_day_usd, message, remedy)


def _too_low(policy: Policy, endpoints: Endpoints, limits: Sequence[Limit]) -> Iterator[PolicyProblem]:
    """Yield the limits under which some step could never make a call, not even with an empty prompt."""
    empty = Request(())
    told = set()
    for loc, step in bindings(policy):
        inside = [e for tier in step.cascade for e in endpoints.allowed(tier, step.boundary)]
        priced = ((worst_usd(e, empty, step.expected_output_tokens), e.name) for e in inside)
        cheapest = min(((usd, name) for usd, name in priced if usd is not None), default=None)
        for limit in limits:
            if cheapest is None or pico_of(cheapest[0], up=True) <= limit.cap_pico or limit.name in told:
                continue
            told.add(limit.name)
            message = (
                f"below what one call of {'.'.join(map(str, loc))} may cost: {cheapest[0]:.6f} USD"
                f" on `{cheapest[1]}`, its cheapest endpoint"
            )
            remedy = "Raise it, or limit the replies: `settings: {max_tokens: …}` of the model."
            yield problem(("budget", *limit.name.split(".")), limit.cap_pico / PICO, message, remedy)
