"""Shadows: on a share of cheap replies the top tier is asked as well, beside the calls, and the two compared.

Which replies are drawn hangs on a digest of the call id alone. What is drawn becomes one row of the ledger,
whatever comes of it; the caller's callbacks, stream, run and budget have no part in it.
"""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig

from langroute.admission import BUDGET
from langroute.asking import ask
from langroute.attempts import Attempt
from langroute.cascade import Call, Choice, Plan, Rung
from langroute.chance import place
from langroute.comparing import Finding, judged, same
from langroute.cost import Spend, total_usd
from langroute.decision import Decision
from langroute.effects import Flow, run
from langroute.endpoints import Endpoint
from langroute.errors import BudgetExceeded, NoEndpointAvailable, PolicyError
from langroute.failures import charged, classify
from langroute.following import Cascade
from langroute.problems import problem
from langroute.request import EMPTY, Request
from langroute.router import Router
from langroute.spending import shadow_budget
from langroute.targets import BoundSchema, BoundTools
from langroute.trials import ShadowPolicy
from langroute.verifiers.base import Opinion

if TYPE_CHECKING:
    from langroute.ledger.records import ShadowRecord

__all__ = ["Shadows", "drawn", "shadowed"]

_PATIENCE_S = 120.0
"""Seconds that a shadow's call, and each of its judge's, may take where the endpoint has no shorter limit."""

_MARKS: Mapping[str, Any] = {"langroute_purpose": "shadow"}
"""Metadata of a shadow's runs, by which traces tell them from those of callers."""

_FOUND: Mapping[Finding, str] = {
    "good": "the judge finds the cheap reply right",
    "misrouted": "the judge finds the top tier's reply alone right",
    "neither": "the judge finds both replies wrong",
    "unsure": "the judge says otherwise when the two replies change places, or gave no answer",
}


def shadowed(router: Router) -> Router:
    """Return the router, which from now on shadows what its policy says.

    Raises:
        PolicyError: The policy shadows a step, and the router keeps no ledger.
    """
    if router.policy.shadow:
        router.shadows = Shadows(router)
    return router


def drawn(call_id: str, share: float) -> bool:
    """Whether the reply of a call is shadowed; the same answer whenever and wherever it is asked."""
    return place((call_id,), "shadow") < share


class Shadows:
    """What one router shadows.

    Args:
        router: The router.

    Raises:
        PolicyError: It keeps no ledger.
    """

    def __init__(self, router: Router) -> None:
        if router.ledger is None:
            remedy = "Give the door `ledger=`, or set LANGROUTE_LEDGER."
            raise PolicyError([problem(("shadow",), router.policy.shadow[0].step, "needs a ledger", remedy)])
        from langroute.ledger.aside import aside
        from langroute.ledger.budgets import accounts
        from langroute.ledger.writer import writer

        store = router.ledger.store
        self.router = router
        self.top = router.policy.tier_order[-1]
        self.counts: Counter[str] = Counter()
        """How many shadows ended how in this process: by `ShadowRecord.outcome`."""
        self._aside, self._writer = aside(store), writer(store)
        money = accounts(store)
        self._rules = {rule.step: (rule, shadow_budget(rule, money)) for rule in router.policy.shadow}

    def offer(self, request: Request, decision: Decision, reply: AIMessage) -> None:
        """Take note of a returned reply; where it is drawn, the rest is done beside the calls."""
        found = self._rules.get(decision.step.step)
        if found is None or decision.outcome != "accepted" or "model" in request.kwargs:
            return
        rule, budget = found
        chosen = decision.attempts[decision.chosen or 0]
        if chosen.tier == self.top or not drawn(decision.call_id, rule.share):
            return
        with suppress(Exception):  # a thread that cannot be started must not break the call
            purse = budget.purse(run=None, thread=None, metadata=EMPTY)
            again = replace(request, purse=purse, metadata=_MARKS, answer=None, held=False)
            self._aside.put(_Shadow(self, rule, again, decision, chosen, reply))

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until what was drawn so far is compared and on its way to the ledger; return whether it is."""
        return self._aside.flush(timeout_s)

    def keep(self, record: "ShadowRecord") -> None:
        """Count what came of a shadow, and hand it to the ledger."""
        self.counts[record.outcome] += 1
        self._writer.put(_Row(record))

    def well(self, tier: str, step: str) -> list[Endpoint]:
        """Return the endpoints of a tier that a shadow of the step may call: no probe is ever its own."""
        boundary = self.router.policy.step(step).boundary
        inside = self.router.endpoints.allowed(tier, boundary)
        return [e for e in inside if self.router.breakers.state(e.name)["state"] == "closed"]


class _Row(NamedTuple):
    """A shadow's record as the ledger's writer takes it."""

    made: "ShadowRecord"
    rows: int = 1
    chars: int = 0

    def record(self) -> Any:
        return self.made


@dataclass(slots=True)
class _Shadow:
    """One reply that was drawn, and what is known of its shadow so far."""

    shadows: Shadows
    rule: ShadowPolicy
    request: Request
    decision: Decision
    chosen: Attempt
    reply: AIMessage
    strong: Endpoint | None = None
    attempt: Attempt | None = None
    """The top tier's call."""
    answer: AIMessage | None = None
    """Its reply."""
    spent: list[Spend] = field(default_factory=list)
    """What the judge's answers cost."""

    def do(self) -> None:
        """Ask, compare and keep what is found."""
        try:
            Context().run(lambda: run(self._compared()))
        except BaseException as error:  # whatever it is: nobody waits for this thread
            failure = classify(error) if isinstance(error, Exception) else None
            kind = type(error).__name__ if failure is None else failure.kind
            if isinstance(error, BudgetExceeded):
                self._end("unpaid", "nothing was compared: the budget has no room for the judge")
                return
            if self.answer is not None:  # it was the judge who failed
                lost = Spend("judge", "", None, charged(kind))
                self.spent.append(getattr(error, "spend", lost))
            self._end("failed", f"nothing was compared: {kind}")

    def drop(self, why: str) -> None:
        """Keep that nothing was asked."""
        self._end("dropped", why)

    def _compared(self) -> Flow[None]:
        again = _portable_request(self.request)
        able = [] if again is None else self._able(again)
        if again is None or not able:
            why = "the call cannot be made again" if again is None else "no endpoint may be called now"
            return self._end("unavailable", why)
        self.strong = able[0]
        answer = yield from self._asked(again)
        if answer is None:
            return None
        exact = self.rule.compare == "exact"
        if same(self.reply, answer):
            return self._end("compared", "the two replies are the same", "good")
        if exact:
            return self._end("compared", "the two replies differ", "misrouted")
        found = yield from judged(self._judge, self._judged_by.rubric, again, self.reply, answer, self.spent)
        return self._end("compared", _FOUND[found], found)

    def _able(self, again: Request) -> list[Endpoint]:
        tokens = self.shadows.router.policy.step(self.rule.step).expected_output_tokens
        well = self.shadows.well(self.shadows.top, self.rule.step)
        return [e for e in well if not e.lacks(again) and not e.too_small(again, tokens)]

    def _asked(self, again: Request) -> Flow[AIMessage | None]:
        """Return what the top tier replies, by the way every call takes; None where it gave nothing."""
        assert self.strong is not None  # noqa: S101 - chosen before
        top, name = self.shadows.top, self.strong.name
        marked: RunnableConfig = {"tags": ["langroute:shadow"]}
        cascade = Cascade(self.shadows.router, again, marked, self.decision.call_id)
        plan = Plan(self.rule.step, (Rung(top, (Choice(name),)),), deadline_s=_PATIENCE_S)
        try:
            answered = yield from cascade.make(cascade.judged_by(plan), plan, Call(top, name, "start"))
            if answered is not None:
                cascade.pass_unjudged(answered)
        finally:
            self.attempt = cascade.attempts[-1] if cascade.attempts else None
        if answered is None:
            failure = cascade.attempts[-1].failure
            unpaid = failure is not None and failure.kind == BUDGET
            self._end("unpaid" if unpaid else "failed", cascade.attempts[-1].account)
            return None
        self.answer = answered.reply.message
        return self.answer

    @property
    def _judged_by(self) -> Any:
        return getattr(self.rule.compare, "judge", None)

    def _judge(self, prompt: str, schema: Any) -> Flow[Opinion]:
        """Put a prompt to the judge's tier, to an endpoint that gave neither reply where it has one."""
        tier = self._judged_by.tier or self.shadows.top
        theirs = {self.chosen.endpoint, self.strong and self.strong.name}
        well = self.shadows.well(tier, self.rule.step)
        chosen = next((e for e in well if e.name not in theirs), well[0] if well else None)
        if chosen is None:
            raise NoEndpointAvailable(f"no endpoint of tier {tier} may be asked to judge now")
        limit_s = min(_PATIENCE_S, chosen.timeout_s or _PATIENCE_S)
        return (
            yield from ask(
                chosen, prompt, purpose="judge", schema=schema, timeout_s=limit_s, purse=self.request.purse
            )
        )

    def _end(self, outcome: str, reason: str, verdict: Finding | None = None) -> None:
        """Keep what came of it."""
        from langroute.ledger.records import ShadowRecord

        keeper = self.shadows.router.keeper
        called = self.attempt
        self.shadows.keep(
            ShadowRecord(
                id=uuid4().hex,
                decision=self.decision.call_id,
                made_at_s=time.time(),
                step=self.rule.step,
                tier=self.chosen.tier,
                endpoint=self.chosen.endpoint,
                strong_tier=self.shadows.top,
                strong_endpoint=None if self.strong is None else self.strong.name,
                propensity=self.rule.share,
                compared_by="exact" if self._judged_by is None else "judge",
                outcome=outcome,
                verdict=verdict,
                reason=reason,
                call_usd=0.0 if called is None else called.cost_usd,
                judge_usd=total_usd(spend.cost_usd for spend in self.spent),
                latency_s=0.0 if called is None else called.latency_s,
                reply=None if keeper is None else keeper.kept_reply(self.answer),
            )
        )


def _portable_request(request: Request) -> Request | None:
    """Return the request as it can be made without its caller; None where it cannot.

    What an agent binds would call the agent: its tools, or its schema, are bound as they are.
    """
    binding = request.binding
    if not request.messages or (request.tools and request.schema is not None):
        return None
    if binding is None or isinstance(binding, BoundTools | BoundSchema):
        return request
    own: Any = BoundSchema(request.schema) if request.schema is not None else BoundTools(request.tools)
    own = own if request.tools or request.schema is not None else None
    settings = {**getattr(binding, "settings", EMPTY), **request.kwargs}
    return replace(request, binding=own, kwargs=settings, more_tools=False)
