"""OpenTelemetry spans and metrics of every decision, after its semantic conventions for generative AI.

A step is a span, and each of its attempts a span below it, with the times at which they were made. They
are made when the step has ended, from its record, under the span that was current when it began. They
hold names, counts and figures: no text of a prompt, of a reply, of a verdict or of a provider's error.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from langroute.admission import called
from langroute.attempts import Attempt
from langroute.cost import Spend, Usage, total_usd
from langroute.decision import Decision
from langroute.observe import LISTENERS, Scene

try:
    from opentelemetry.metrics import Meter, MeterProvider, get_meter
    from opentelemetry.trace import (
        Span,
        SpanKind,
        StatusCode,
        Tracer,
        TracerProvider,
        get_tracer,
        set_span_in_context,
    )
except ImportError as error:
    raise ImportError(
        "langroute.telemetry needs the OpenTelemetry API: pip install 'langroute[otel]'"
    ) from error

__all__ = ["Instrumentation", "instrument"]

_SCOPE = "langroute"

_PROVIDERS = {
    "amazon_bedrock": "aws.bedrock",
    "anthropic_bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "azure_openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "google_anthropic_vertex": "gcp.vertex_ai",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "ibm": "ibm.watsonx.ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""LangChain's name of a provider to the conventions', where they differ."""

_TOKENS = tuple(4**power for power in range(14))
_SECONDS = tuple(0.01 * 2**power for power in range(14))
"""Bounds of the buckets, as the conventions want them."""

_NAME = re.compile(r"[\w.:/@+#-]{1,128}", re.ASCII)
"""What a provider may put into a span: a name, and never a sentence."""

_OTHER = "other"
_ERRORS = ("exhausted", "failed", "stopped")
"""Outcomes of a step that are errors; a person who is asked or a call given up is none."""
_UNFINISHED = ("cancelled", "stopped")
_REMEMBERED = 10_000
"""Steps broken off that may still be resumed, the latest ones."""

_REPORTED = ("reported", "priced", "unknown")
"""Bases of a cost whose usage is what the provider reported for this call."""


class Instrumentation:
    """Telemetry that is switched on; a context manager that switches it off at its end."""

    def __init__(self, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None) -> None:
        self.providers = (tracer_provider, meter_provider)
        self._listeners: tuple[Callable[[Decision, Scene], None], ...] = (
            _Spans(get_tracer(_SCOPE, tracer_provider=tracer_provider)),
            _Metrics(get_meter(_SCOPE, meter_provider=meter_provider)),
        )
        LISTENERS.extend(self._listeners)

    def close(self) -> None:
        """Switch it off; again it does nothing. What was exported stays, and providers stay open."""
        for listener in self._listeners:
            if listener in LISTENERS:
                LISTENERS.remove(listener)
        if self in _ON:
            _ON.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_ON: list[Instrumentation] = []


def instrument(
    tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> Instrumentation:
    """Send spans and metrics of every decision of this process, whatever door or model makes it.

    A second time with the same providers it changes nothing, and returns what is on already. What an exporter
    raises is counted and warned of once (`langroute.observe.BROKEN`), and never reaches a call.

    Args:
        tracer_provider: Where spans go; without it OpenTelemetry's global one, set before or after.
        meter_provider: Where metrics go; likewise.

    Example:
        ```python
        from langroute.telemetry import instrument

        instrument()
        ```
    """
    given = (tracer_provider, meter_provider)
    for on in _ON:
        if all(one is other for one, other in zip(on.providers, given, strict=True)):
            return on
    _ON.append(Instrumentation(*given))
    return _ON[-1]


class _Told:
    """What was told of already: a graph tells of a step that was broken off, and again when it is resumed."""

    def __init__(self) -> None:
        self._before: OrderedDict[str, frozenset[float | None]] = OrderedDict()

    def fresh(self, decision: Decision) -> tuple[bool, list[tuple[int, Attempt]]]:
        """Return whether a decision is new, and its attempts that are, with their numbers."""
        before = self._before.pop(decision.call_id, None)
        if decision.outcome in _UNFINISHED:
            self._before[decision.call_id] = frozenset(a.began_at_s for a in decision.attempts)
            if len(self._before) > _REMEMBERED:
                self._before.popitem(last=False)
        new = [(n, a) for n, a in enumerate(decision.attempts) if not before or a.began_at_s not in before]
        return before is None, new


class _Spans:
    """Makes the spans of each decision."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._told = _Told()

    def __call__(self, decision: Decision, scene: Scene) -> None:
        _, attempts = self._told.fresh(decision)
        now_s = time.time()
        began_s = decision.began_at_s or now_s - decision.latency_s
        span = self._tracer.start_span(
            f"langroute {_step(decision, scene)}",
            kind=SpanKind.INTERNAL,
            attributes=_present(_step_attributes(decision, scene)),
            start_time=_ns(began_s),
        )
        try:
            if decision.outcome in _ERRORS:
                span.set_status(StatusCode.ERROR)
            for number, attempt in attempts:
                self._attempt(span, decision, scene, number, attempt, now_s)
        finally:
            span.end(_ns(max(now_s, began_s)))

    def _attempt(
        self, step: Span, decision: Decision, scene: Scene, number: int, attempt: Attempt, now_s: float
    ) -> None:
        """Make the span of an attempt; one that made no call is no operation of the conventions'."""
        attributes = _attempt_attributes(decision, number, attempt)
        name, kind = f"langroute not called {attempt.endpoint}", SpanKind.INTERNAL
        if called(attempt):
            operation = _operation(attempt.endpoint, scene)
            attributes |= operation | _call_attributes(attempt)
            attributes["gen_ai.conversation.id"] = scene.thread
            name, kind = f"chat {operation['gen_ai.request.model']}", SpanKind.CLIENT
        began_s = attempt.began_at_s or now_s - attempt.latency_s
        span = self._tracer.start_span(
            name,
            context=set_span_in_context(step),
            kind=kind,
            attributes=_present(attributes),
            start_time=_ns(began_s),
        )
        if attempt.failure is not None:
            span.set_status(StatusCode.ERROR)
        span.end(_ns(began_s + attempt.latency_s))


class _Metrics:
    """Counts each decision; what it counts by is bounded by the policy."""

    def __init__(self, meter: Meter) -> None:
        self._told = _Told()
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens of input and output that the provider reported.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._seconds = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "How long a model's call took.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._decisions = meter.create_counter("langroute.decisions", "{decision}", "Steps that ended.")
        self._escalations = meter.create_counter(
            "langroute.escalations", "{attempt}", "Calls of the next tier because a reply was rejected."
        )
        self._fallbacks = meter.create_counter(
            "langroute.fallbacks", "{attempt}", "Calls of the next endpoint because a call failed."
        )
        self._cost = meter.create_counter(
            "langroute.cost_usd", "{USD}", "USD of calls, rejected drafts, judges and classifiers included."
        )
        self._unknown = meter.create_counter(
            "langroute.cost_unknown", "{call}", "Calls of which nobody knows what they cost."
        )

    def __call__(self, decision: Decision, scene: Scene) -> None:
        is_new, attempts = self._told.fresh(decision)
        step = {"langroute.step": _step(decision, scene)}
        self._decisions.add(1, step | {"langroute.outcome": decision.outcome})
        for _, attempt in attempts:
            self._attempt(attempt, scene, step | {"langroute.tier": attempt.tier})
        for spend in decision.spend if is_new else ():
            self._spend(spend, step)

    def _attempt(self, attempt: Attempt, scene: Scene, place: dict[str, str]) -> None:
        counter = {"escalation": self._escalations, "fallback": self._fallbacks}.get(attempt.why)
        if counter is not None:
            counter.add(1, place)
        for verdict in attempt.verdicts:
            for spend in verdict.spend:
                self._spend(spend, place)
        if not called(attempt):
            return
        operation = _operation(attempt.endpoint, scene) | place
        if attempt.cost_basis != "cached":
            failed = {} if (kind := _error(attempt)) is None else {"error.type": kind}
            self._seconds.record(attempt.latency_s, operation | failed)
        if attempt.cost_basis in _REPORTED:
            self._used(attempt.usage, operation)
        self._spent(attempt.cost_usd, place | _purpose("attempt", attempt.endpoint))

    def _spend(self, spend: Spend, place: dict[str, str]) -> None:
        self._spent(spend.cost_usd, place | _purpose(spend.purpose, spend.endpoint))

    def _spent(self, cost_usd: float | None, place: dict[str, str]) -> None:
        if cost_usd is None:
            self._unknown.add(1, place)
        else:
            self._cost.add(cost_usd, place)

    def _used(self, usage: Usage | None, operation: dict[str, str]) -> None:
        if usage is not None:
            self._tokens.record(usage.input_tokens, operation | {"gen_ai.token.type": "input"})
            self._tokens.record(usage.output_tokens, operation | {"gen_ai.token.type": "output"})


# Attributes ----------------------------------------------------------------------------------------------


def _step_attributes(decision: Decision, scene: Scene) -> dict[str, Any]:
    attempts = decision.attempts
    chosen = None if decision.chosen is None else attempts[decision.chosen]
    whys = [attempt.why for attempt in attempts]
    return {
        "gen_ai.conversation.id": scene.thread,
        "error.type": decision.outcome if decision.outcome in _ERRORS else None,
        "langroute.step": decision.step.step,
        "langroute.step.source": decision.step.source,
        "langroute.step.mismatch": decision.step.mismatch,
        "langroute.tier": chosen and chosen.tier,
        "langroute.endpoint": chosen and chosen.endpoint,
        "langroute.outcome": decision.outcome,
        "langroute.reason": "; ".join(decision.plan.reasons),
        "langroute.policy": scene.policy,
        "langroute.call_id": decision.call_id,
        "langroute.propensity": decision.plan.propensity,
        "langroute.attempts": len(attempts),
        "langroute.escalations": whys.count("escalation"),
        "langroute.fallbacks": whys.count("fallback"),
        "langroute.cost_usd": decision.cost_usd,
    }


def _attempt_attributes(decision: Decision, number: int, attempt: Attempt) -> dict[str, Any]:
    checks = [spend.cost_usd for verdict in attempt.verdicts for spend in verdict.spend]
    return {
        "error.type": _error(attempt),
        "langroute.step": decision.step.step,
        "langroute.tier": attempt.tier,
        "langroute.endpoint": attempt.endpoint,
        "langroute.attempt": number,
        "langroute.why": attempt.why,
        "langroute.outcome": attempt.outcome,
        "langroute.returned": number == decision.chosen,
        "langroute.rejected_by": [v.verifier for v in attempt.verdicts if not v.accepted] or None,
        "langroute.cost_usd": attempt.cost_usd,
        "langroute.cost_basis": attempt.cost_basis,
        "langroute.checks_usd": total_usd(checks),
        "langroute.judged_s": attempt.judged_s,
        "langroute.first_token_s": attempt.first_token_s,
    }


def _operation(endpoint: str, scene: Scene) -> dict[str, str]:
    """Return what the conventions call an operation by; all of it is bounded by policy and caller."""
    provider, model = scene.models.get(endpoint, ("", endpoint))  # a resumed run may know others
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider) or _OTHER,
        "gen_ai.request.model": scene.swapped or model,
    }


def _call_attributes(attempt: Attempt) -> dict[str, Any]:
    """Return what the conventions want to know of a reply; what was not reported is left out."""
    names = [reason for reason in attempt.finish_reasons if _NAME.fullmatch(reason)]
    answered = attempt.model if attempt.model and _NAME.fullmatch(attempt.model) else None
    known: dict[str, Any] = {
        "gen_ai.response.model": answered,
        "gen_ai.response.finish_reasons": names or None,
    }
    usage = attempt.usage if attempt.cost_basis != "estimated" else None
    if usage is not None:
        known |= {
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens or None,
            "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens or None,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens or None,
        }
    return known


def _error(attempt: Attempt) -> str | None:
    if attempt.failure is not None:
        return attempt.failure.kind
    return "cancelled" if attempt.outcome == "cancelled" else None


def _purpose(purpose: str, endpoint: str) -> dict[str, str]:
    return {"langroute.purpose": purpose, "langroute.endpoint": endpoint}


def _step(decision: Decision, scene: Scene) -> str:
    """Return the step's name where the policy has it: a caller may say any."""
    return decision.step.step if decision.step.step in scene.steps else _OTHER


def _present(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
