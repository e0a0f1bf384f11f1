"""From a finished decision to its record: whose it was, what was asked, what other tiers would have cost.

The calling thread hands over what it holds anyway; all that takes time is done where the row is written.
"""

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from langroute.attempts import Attempt
from langroute.bindings import checks_digest
from langroute.cost import Spend, Usage, total_usd
from langroute.decision import Decision
from langroute.difficulty import difficulty
from langroute.effects import Io
from langroute.endpoints import Endpoint, Endpoints
from langroute.policy import Policy
from langroute.redaction import redact
from langroute.request import EMPTY, Request, message_text
from langroute.steps import node_path

if TYPE_CHECKING:
    from langroute.ledger.ledger import Ledger
    from langroute.ledger.records import AttemptRecord, DecisionRecord

__all__ = ["RUN_KEY", "Finished", "Keeper", "run_of", "template_digest", "thread_of"]

RUN_KEY = "langroute_run"
"""Key of the config's metadata under which a caller says the run."""

_RUNTIME = "__pregel_runtime"
"""Where LangGraph (1.2) keeps a node's runtime, with the invocation it belongs to."""

_RUNS_KEPT = 1_024


class Keeper:
    """Makes the records of one router's decisions, and hands them to its ledger."""

    def __init__(self, ledger: "Ledger", policy: Policy, endpoints: Endpoints) -> None:
        self.ledger = ledger
        self.policy = policy.digest
        self.kept = policy.ledger.text
        self.keys = tuple(dict.fromkeys((*policy.budget.keys, *policy.ledger.keys)))
        if policy.ledger.keep_days is not None:
            ledger.keep_days(policy.ledger.keep_days)
        self._checks = {name: checks_digest(step) for name, step in policy.steps.items()}
        self._other_checks = checks_digest(policy.default)
        self._tiers = {tier: endpoints.tier(tier) for tier in policy.tiers}

    def keep(
        self,
        request: Request,
        config: RunnableConfig,
        decision: Decision,
        reply: AIMessage | None,
        node: str | None = None,
        template: str | None = None,
    ) -> Io | None:
        """Hand a decision over; return what its reply must wait for, None for nothing.

        Args:
            request: What was asked.
            config: The call's config.
            decision: What was decided.
            reply: What is returned, None where nothing is.
            node: The node that stands for all nodes of a drawn step.
            template: Digest of what a drawn step makes its prompt from; None where its messages tell it.
        """
        around = var_child_runnable_config.get()
        told = (self, decision, request, config, around, reply, node, template, time.time())
        finished = tuple.__new__(Finished, told)  # half the time of its own constructor
        if reply is not None:
            return self.ledger.keep(finished)
        self.ledger.keep_at_once(finished)
        return None

    def checks(self, step: str) -> str:
        """Return the digest of a step's verifiers."""
        return self._checks.get(step, self._other_checks)

    def baselines(self, usage: Usage | None) -> dict[str, float | None]:
        """Return what this usage costs at the first endpoint of each tier whose price is known, in USD.

        None where the usage is unknown, or every price of the tier.
        """
        if usage is None:
            return dict.fromkeys(self._tiers)
        return {tier: _first_known_usd(endpoints, usage) for tier, endpoints in self._tiers.items()}

    def kept_reply(self, reply: AIMessage | None) -> Any:
        """Return what is kept of a reply, as the policy says; None for nothing."""
        if reply is None or self.kept == "off":
            return None
        told = _told(reply)
        if self.kept == "digest":
            return hashlib.sha256(json.dumps(told).encode()).hexdigest()
        return _changed(told, redact if self.kept == "redacted" else str)


class _Invocations:
    """Ids of the graphs' invocations of this process that were given none."""

    def __init__(self) -> None:
        self._runs: OrderedDict[int, tuple[Any, str]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, control: Any) -> str:
        """Return the id of an invocation; kept while it is among the latest."""
        with self._lock:
            known = self._runs.pop(id(control), None) or (control, uuid4().hex)  # kept alive: ids are reused
            self._runs[id(control)] = known
            if len(self._runs) > _RUNS_KEPT:
                self._runs.popitem(last=False)
        return known[1]


_INVOCATIONS = _Invocations()


class Finished(NamedTuple):
    """A finished decision with all that its record is made of."""

    keeper: Keeper
    decision: Decision
    asked: Request
    config: RunnableConfig
    around: RunnableConfig | None
    reply: AIMessage | None
    node: str | None
    template: str | None
    at_s: float

    @property
    def rows(self) -> int:
        """How many rows it will be."""
        return 1 + len(self.decision.attempts)

    @property
    def chars(self) -> int:
        """Characters of the prompt that it keeps alive."""
        chars = 0
        for message in self.asked.messages:  # `asked.characters` costs thrice where nobody asked for it yet
            content = message.content
            chars += len(content if isinstance(content, str) else message_text(message))
        return chars

    def record(self) -> "DecisionRecord":
        """Return the record."""
        from langroute.ledger.records import DecisionRecord

        decision, asked = self.decision, self.asked
        chosen = None if decision.chosen is None else decision.attempts[decision.chosen]
        hard = difficulty(asked) if asked.messages else None
        baselines = self._baselines(chosen)
        return DecisionRecord(
            id=decision.call_id,
            decided_at_s=self.at_s,
            step=decision.step.step,
            step_source=decision.step.source,
            step_reason=decision.step.reason,
            mismatch=decision.step.mismatch,
            outcome=decision.outcome,
            tier=getattr(chosen, "tier", None),
            endpoint=getattr(chosen, "endpoint", None),
            model=getattr(chosen, "model", None),
            policy=self.keeper.policy,
            **self._origin(),
            request=asked.digest if asked.messages else None,
            difficulty=None if hard is None else hard.score,
            features=hard and {name: value for name, value, _ in hard.contributions},
            plan=decision.plan,
            spend=decision.spend,
            spend_usd=_spent(decision.spend),
            latency_s=decision.latency_s,
            top_usd=list(baselines.values())[-1],
            baselines=baselines,
            text_kept=self.keeper.kept,
            **self._texts(),
            template=self.template or _system_digest(asked),
            checks=self.keeper.checks(decision.step.step),
            attempts=tuple(self._attempts()),
        )

    def _attempts(self) -> "Iterable[AttemptRecord]":
        decision = self.decision
        for number, attempt in enumerate(decision.attempts):
            yield _attempt_record(decision, number, attempt, self.at_s)

    def _origin(self) -> dict[str, Any]:
        """Return thread, run, node and keys: from the call's config, else from what is around it."""
        from langroute.ledger.rows import identifier

        metadata = self.asked.metadata
        keys = {key: identifier(str(metadata[key])) for key in self.keeper.keys if key in metadata}
        return {
            "thread": thread_of(self.config, self.around, metadata),
            "run": run_of(self.config, self.around, metadata),
            "node": self._node(),
            "keys": keys or None,
        }

    def _node(self) -> str | None:
        path = node_path(self.asked.metadata)
        if path is None or self.node is None:
            return path
        return "/".join((*path.split("/")[:-1], self.node))

    def _baselines(self, chosen: Attempt | None) -> dict[str, float | None]:
        """Return tier to USD for the returned reply: nothing is saved on a reply that never came."""
        if chosen is None or chosen.cost_basis == "cached":
            return dict.fromkeys(self.keeper.baselines(None), 0.0)
        return self.keeper.baselines(_accepted_at_once(self.decision.attempts, chosen))

    def _texts(self) -> dict[str, Any]:
        """Return what is kept of prompt and reply, as the policy says."""
        kept, asked = self.keeper.kept, self.asked
        if kept == "off":
            return {"prompt": None, "reply": None}
        reply = self.keeper.kept_reply(self.reply)
        if kept == "digest":
            return {"prompt": asked.digest if asked.messages else None, "reply": reply}
        prompt = [{"role": m.type, "text": text} for m, text in zip(asked.messages, asked.texts, strict=True)]
        change = redact if kept == "redacted" else str
        return {"prompt": _changed(prompt, change) or None, "reply": reply}


def _first_known_usd(endpoints: Iterable[Endpoint], usage: Usage) -> float | None:
    prices = (endpoint.price(usage.input_tokens) for endpoint in endpoints)
    return next((price.cost_usd(usage) for price in prices if price is not None), None)


def template_digest(texts: Iterable[str]) -> str:
    """Return sixteen hex digits by which what a prompt is made from is known again."""
    hashed = hashlib.sha256()
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        hashed.update(f"{len(encoded)}\n".encode() + encoded)
    return hashed.hexdigest()[:16]


def _system_digest(asked: Request) -> str | None:
    """Return the digest of the system messages; None where there are none."""
    said = [text for sent, text in zip(asked.messages, asked.texts, strict=True) if sent.type == "system"]
    return template_digest(said) if said else None


def thread_of(
    config: RunnableConfig, around: RunnableConfig | None, metadata: Mapping[str, Any]
) -> str | None:
    """Return the id of a call's thread: from its config, the config around it, or its metadata; else None."""
    told = config.get("configurable") or EMPTY
    outer = (around or EMPTY).get("configurable") or EMPTY
    thread = told.get("thread_id") or outer.get("thread_id") or metadata.get("thread_id")
    return None if thread is None else str(thread)


def run_of(config: RunnableConfig, around: RunnableConfig | None, metadata: Mapping[str, Any]) -> str | None:
    """Return the id of a call's run: as it is said, else of its graph's invocation; else None."""
    told = config.get("configurable") or EMPTY
    outer = (around or EMPTY).get("configurable") or EMPTY
    runtime = told.get(_RUNTIME) or outer.get(_RUNTIME)
    info = getattr(runtime, "execution_info", None)
    said = metadata.get(RUN_KEY) or getattr(info, "run_id", None) or metadata.get("run_id")
    if said is None and (control := getattr(runtime, "control", None)) is not None:
        return _INVOCATIONS.of(control)
    said = said or config.get("run_id")
    return None if said is None else str(said)


def _attempt_record(decision: Decision, number: int, attempt: Attempt, at_s: float) -> "AttemptRecord":
    from langroute.ledger.records import AttemptRecord

    usage, failure = attempt.usage, attempt.failure
    return AttemptRecord(
        decision=decision.call_id,
        number=number,
        mark=int(attempt.latency_s * 1e6),
        decided_at_s=at_s,
        step=decision.step.step,
        tier=attempt.tier,
        endpoint=attempt.endpoint,
        model=attempt.model,
        why=attempt.why,
        outcome=attempt.outcome,
        returned=int(number == decision.chosen),
        failure_kind=getattr(failure, "kind", None),
        failure=failure,
        input_tokens=getattr(usage, "input_tokens", None),
        output_tokens=getattr(usage, "output_tokens", None),
        cache_read_tokens=getattr(usage, "cache_read_tokens", None),
        cache_write_tokens=getattr(usage, "cache_write_tokens", None),
        reasoning_tokens=getattr(usage, "reasoning_tokens", None),
        cost_usd=attempt.cost_usd,
        cost_basis=attempt.cost_basis,
        checks_usd=_spent(spend for verdict in attempt.verdicts for spend in verdict.spend),
        latency_s=attempt.latency_s,
        judged_s=attempt.judged_s,
        first_token_s=attempt.first_token_s,
        verdicts=attempt.verdicts,
    )


def _spent(spend: Iterable[Spend]) -> float | None:
    return total_usd(each.cost_usd for each in spend)


def _accepted_at_once(attempts: Iterable[Attempt], chosen: Attempt) -> Usage | None:
    """Return what the reply would have used as the first of its step: a repair's prompt is longer."""
    if chosen.usage is None or chosen.why not in ("repair", "continuation"):
        return chosen.usage
    first = next((a.usage for a in attempts if a.usage is not None), chosen.usage)
    own = chosen.usage
    return Usage(
        first.input_tokens,
        own.output_tokens,
        first.cache_read_tokens,
        first.cache_write_tokens,
        own.reasoning_tokens,
    )


def _told(reply: AIMessage) -> dict[str, Any]:
    calls = [
        {"name": call["name"], "args": json.dumps(call["args"], default=str)} for call in reply.tool_calls
    ]
    return {"text": message_text(reply)} | ({"tool_calls": calls} if calls else {})


def _changed(value: Any, change: Any) -> Any:
    """Return a value with every text in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _changed(inner, change) for key, inner in value.items()}
    return [_changed(inner, change) for inner in value] if isinstance(value, list) else value
