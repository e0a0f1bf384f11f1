"""The one place where langroute calls a model on its own account: to judge, to compare, to classify."""

import json
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from langchain_core.messages import convert_to_messages
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from pydantic import ValidationError

from langroute.budget import Purse
from langroute.cost import Spend
from langroute.direct import acall, call
from langroute.effects import Io
from langroute.endpoints import Endpoint
from langroute.failures import charged, classify
from langroute.pieces import heard
from langroute.replies import read_reply
from langroute.request import Request
from langroute.spending import bill, guess, worst_usd
from langroute.targets import BoundSchema, Target
from langroute.verifiers.base import Opinion

__all__ = ["UnreadableOpinion", "ask"]

_EXPECTED_TOKENS = 500
"""Tokens of an opinion, where its endpoint has no limit: a step's default."""


class UnreadableOpinion(ValueError):
    """A model's answer that does not fit the schema it was asked for; it is paid for all the same."""

    def __init__(self, message: str, *, spend: Spend) -> None:
        super().__init__(message)
        self.spend = spend
        """What the answer cost."""


def ask(
    endpoint: Endpoint,
    prompt: str | Sequence[Any],
    *,
    purpose: str,
    schema: Any = None,
    timeout_s: float | None = None,
    config: RunnableConfig | None = None,
    purse: Purse | None = None,
) -> Generator[Any, Any, Opinion]:
    """Return, as a flow, what a model answers, and what that cost.

    Its tokens are kept out of a graph's `messages` stream, and its run says in its metadata what it was for.

    Args:
        endpoint: Whom to ask; the caller sees to the step's boundary.
        prompt: Text or messages.
        purpose: `classifier`, `judge`, `agreement` or `self_rated`: for the bill and the trace.
        schema: What the answer is parsed into; without one it is text.
        timeout_s: Seconds to wait at most; the endpoint's own limit when not given.
        config: Config of the run that asks; without one the ambient config's callbacks are inherited.
        purse: What the question is paid from; None where there is no budget.

    Raises:
        BudgetExceeded: The question may cost more than is left, and was not put.
        UnreadableOpinion: The answer does not fit the schema.
        TimeoutError: The answer is late.
    """
    target = _target(endpoint, schema)
    marked: RunnableConfig = {"tags": ["nostream"], "metadata": {"langroute_purpose": purpose}}
    merged = merge_configs(target.config, config, marked)
    asked = Request(
        tuple(convert_to_messages([prompt] if isinstance(prompt, str) else prompt)), schema=schema
    )
    # What listens ends a model that talks on after its cancellation: so it is no part of the call's own task.
    heeded, _ = heard(merged, endpoint.model)
    reservation = None
    if purse is not None:
        reservation = yield from purse.reserve(worst_usd(endpoint, asked, _EXPECTED_TOKENS))
    try:
        answer = yield Io(
            lambda: call(target, asked.messages, merged),
            lambda: acall(target, asked.messages, heeded),
            timeout_s or endpoint.timeout_s,
        )
        reply = read_reply(answer, target.parse)
    except BaseException as error:
        if reservation is not None:
            reservation.settle_soon(_lost_usd(endpoint, asked, error))
        raise
    message = reply.message
    usage, cost_usd, _ = bill(endpoint, asked, message)
    if reservation is not None:
        yield from reservation.settle(cost_usd)
    spend = Spend(purpose, endpoint.name, usage, cost_usd)
    if schema is None:
        return Opinion(message, None, spend)
    if reply.parsed is None:
        found = _misfit(reply.parsing_error)
        raise UnreadableOpinion(f"{endpoint.name} gave no readable {purpose} answer: {found}", spend=spend)
    return Opinion(message, reply.parsed, spend)


_LIMITS = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}
_NAMED = 3
"""Fields that a sentence names."""


def _misfit(error: BaseException | None) -> str:
    """Return why an answer is not the object it was to be, in our words and without any of its own."""
    while error is not None and not isinstance(error, ValidationError):
        if isinstance(error, json.JSONDecodeError):
            return "it is no JSON"
        error = error.__cause__ or error.__context__
    if error is None:
        return "it holds no object"
    refused = error.errors(include_url=False, include_input=False)
    if any(item["type"] == "json_invalid" for item in refused):
        return "it is no JSON"
    said = list(dict.fromkeys(_refusal(item) for item in refused))
    more = f", and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    return ", ".join(said[:_NAMED]) + more


def _refusal(item: Mapping[str, Any]) -> str:
    field, given = ".".join(map(str, item["loc"]))[:60] or "it", item.get("ctx", {})
    if item["type"] == "missing":
        return f"{field} is missing"
    limit = next(
        (f"{words} {str(given[key]).removesuffix('.0')}" for key, words in _LIMITS.items() if key in given),
        None,
    )
    return f"{field} must be {limit}" if limit else f"{field} is not what was asked for"


def _lost_usd(endpoint: Endpoint, asked: Request, error: BaseException) -> float | None:
    """Return what a question is taken to have cost that got no answer."""
    failure = classify(error)
    free_usd = None if failure is None else charged(failure.kind)
    guessed = guess(endpoint, asked, 0) if free_usd is None else None
    return free_usd if guessed is None else guessed[1]


def _target(endpoint: Endpoint, schema: Any) -> Target:
    if schema is None:
        return Target(endpoint.model, endpoint.bound_kwargs, endpoint.bound_config)
    return BoundSchema(schema).bind(endpoint, endpoint.model, endpoint)
