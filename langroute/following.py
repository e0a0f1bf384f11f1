"""The cascade as one flow: ask `next_move` what to do, make the call, have the reply judged, ask again.

A flow never waits itself. It yields effects, which the drivers of `langroute.drive` perform, so that
sync and async, whole and streamed, are one decision.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs

from langroute.admission import Admission, Refused, admit, pay, penniless
from langroute.attempts import Outcome, made_attempt
from langroute.calls import (
    Answered,
    ModelCall,
    Routed,
    broken_off,
    made_answered,
    made_call,
    made_routed,
)
from langroute.cascade import (
    Accept,
    Ask,
    Attempt,
    Call,
    Failure,
    Plan,
    Stop,
    Verdict,
    left_s,
    next_move,
    time_limit,
)
from langroute.decision import Decision, StepAnswer, made_decision
from langroute.effects import Flow, pause
from langroute.endings import ending_of, obituary, question
from langroute.errors import (
    ApprovalRequired,
    FailedCall,
    ForeignReply,
    LangrouteError,
    NoEndpointAvailable,
    PartialStream,
    RejectedReply,
)
from langroute.failures import charged, classify
from langroute.faults import as_told, fault_of
from langroute.histories import portable
from langroute.judging import Judge, continuation_messages, repair_messages, too_late
from langroute.observe import surroundings
from langroute.replies import Reply, finished, read_reply, told_model
from langroute.request import Request
from langroute.routing.money import expected_usd
from langroute.runs import Group, Recording, attempt_config, record, stamp, start_group, tags
from langroute.spending import bill, guessed
from langroute.targets import target
from langroute.timing import IDLE_S, Limits
from langroute.verifiers.finish import finish_words
from langroute.wire import CALL_S, Line

if TYPE_CHECKING:
    from langroute.router import Router

__all__ = ["Answered", "Cascade", "Routed"]


_JITTER_S = 0.25
"""Most seconds added to a wait that the provider asked for: all whom it told the same moment spread out."""

_LEAST_S = 0.001
"""Seconds that a check has when the deadline is over: it ends as one that could not be made."""


class Cascade:
    """One request on its way through its plan; it lives as long as the call.

    `flow` is the whole way. The graph door goes it in steps, each in a node of its own: `decide`, then
    `make` and `judge` as `next_move` says, over attempts and replies that the graph's state has kept.
    """

    def __init__(
        self, router: "Router", request: Request, config: RunnableConfig, call_id: str | None = None
    ) -> None:
        self._router = router
        self._request = request
        self._config = config
        self.tell = partial(router.tell, request, config, context=surroundings())
        self.began_at_s: float | None = time.time()
        # An id, not a secret; uuid4 costs 3 us.
        self.call_id = call_id or f"{random.getrandbits(128):032x}"
        self.attempts: list[Attempt] = []
        self.replies: list[Reply | None] = []
        """Reply of each attempt, None where the call failed."""
        self._group: Group | None = None
        self._calls: list[ModelCall] = []
        self._errors: list[Exception] = []

    def flow(self) -> Flow[Routed]:
        """Find the step, plan it, and follow `next_move` to the end.

        Raises:
            NoEndpointAvailable: Nothing of the step's plan may be called for this request.
            ApprovalRequired: The policy wants a person's word before the next call.
            AllAttemptsFailed: Every attempt failed or was rejected.
            PartialStream: A provider died after part of its reply had been shown.
            Exception: The provider's own error, where the request itself is at fault.
        """
        answer, plan = yield from self.decide()
        if plan.may_repeat:
            self._group = yield start_group(self._config, self._request.messages)
        try:
            routed = yield from self._follow(answer, plan)
        except BaseException as error:
            self.report(error, answer, plan)
            if self._group is not None:
                if isinstance(error, GeneratorExit):
                    self._group.leave(error)
                else:
                    yield self._group.fail(error)
            raise
        written = self.tell(routed.decision, routed.reply.message)
        if self._group is not None:
            yield self._group.end(routed.reply.message)
        if written is not None:
            yield written
        return routed

    def expected_usd(self, call: Call, step: str) -> float | None:
        """Return what a call would cost now, in USD; None where that is unknown."""
        output_tokens = self._router.policy.step(step).expected_output_tokens
        return expected_usd(self._router.endpoints.by_name[call.endpoint], self._request, output_tokens)

    def adopt(self, call: ModelCall | None) -> None:
        """Take over a call that an earlier node of the same process made."""
        if call is not None:
            self._calls.append(call)

    def judged_by(self, plan: Plan) -> Judge:
        """Return who judges the replies of this request."""
        return Judge(self._router, self._request, plan)

    @property
    def last_call(self) -> ModelCall:
        """The call made last."""
        return self._calls[-1]

    def last_error(self, answer: StepAnswer, plan: Plan) -> Exception:
        """Tell of a decision that ends with the last call's own error, and return that."""
        self.report(self._errors[-1], answer, plan)
        return self._errors[-1]

    def decide(self) -> Flow[tuple[StepAnswer, Plan]]:
        """Return which step the request is, and its plan."""
        finder, planner = self._router.finder, self._router.planner
        answer = finder.known(self._request) or (yield from finder.find(self._request))
        try:
            plan = planner.fixed(self._request, answer) or (yield from planner.plan(self._request, answer))
        except NoEndpointAvailable as error:
            self.report(error, answer, planner.nothing(answer.step, str(error)))
            raise
        return answer, plan

    def _follow(self, answer: StepAnswer, plan: Plan) -> Flow[Routed]:
        """Do what `next_move` says until it accepts or stops."""
        judge = self.judged_by(plan)
        while True:
            match next_move(plan, self.attempts):
                case Call() as move:
                    answered = yield from self.make(judge, plan, move)
                    if answered is not None and judge.is_idle(move):
                        self.pass_unjudged(answered)
                    elif answered is not None:
                        yield from self.judge(judge, answered)
                case Accept(attempt=index, best=best):
                    return self._accepted(self.decision(answer, plan, "best" if best else "accepted", index))
                case Ask() as ask:
                    raise ApprovalRequired(question(plan, ask), ask)
                case Stop(reason="stopped"):
                    raise self._errors[-1]
                case Stop():
                    raise self._obituary(plan)

    def make(self, judge: Judge, plan: Plan, move: Call) -> Flow[Answered | None]:
        """Make one call and return the reply that came; one that failed or is refused is appended: None."""
        call = self._open(judge, plan, move)
        self._calls.append(call)
        endpoint = self._router.endpoints.by_name[move.endpoint]
        clock = self._router.clock
        began_s, call.began_at_s = clock(), time.time()
        if move.wait_s:
            yield pause(move.wait_s + random.uniform(0, _JITTER_S))  # noqa: S311 - spreads callers, no secret
        admission = admit(self._router.breakers, self._request, plan, self.attempts, move, endpoint)
        if self._request.purse is not None and isinstance(admission, Admission):
            tokens = self._router.policy.step(plan.step).expected_output_tokens
            admission = yield from pay(admission, self._request, move, endpoint, call.messages, tokens)
        if isinstance(admission, Refused):
            self._append(replace(admission.attempt, began_at_s=call.began_at_s), None)
            self._errors.append(admission.error)
            return None
        call.admission, call.started_s = admission, clock()
        try:
            reply = read_reply((yield call), call.target.parse)
        except BaseException as error:
            self._not_answered(plan, move, call, error, clock() - began_s)
            yield from admission.settle(lambda: self.attempts[-1].cost_usd)
            return None
        took_s = clock() - began_s
        answered = made_answered(move, reply, took_s, call.first_token_s, call.config, call.began_at_s)
        try:
            if admission.reservation is not None:
                yield from admission.settle(lambda: bill(endpoint, self._request, reply.message)[1])
        except BaseException:
            admission.failed(None)
            self._append(self._attempt(answered, "cancelled", (), 0.0), reply)
            raise
        fault = fault_of(reply.message, self._request, endpoint, judged=not judge.is_idle(move))
        try:
            whole = call.joined(reply.message)
        except ForeignReply as error:
            self._badly_answered(plan, answered, call, fault or cast("Failure", classify(error)))
            return None
        if fault is not None and not (call.shown and fault.usable):
            self._badly_answered(plan, answered, call, fault)
            return None
        admission.served(reply.message)
        return answered if whole is reply.message else replace(answered, reply=replace(reply, message=whole))

    def judge(self, judge: Judge, answered: Answered) -> Flow[None]:
        """Have a reply judged, and append the attempt that it became."""
        if judge.is_idle(answered.move):
            return self.pass_unjudged(answered)
        clock, started_s = self._router.clock, self._router.clock()
        move, reply = answered.move, answered.reply
        left = left_s(judge.plan, self.attempts)
        left = None if left is None else max(left - answered.latency_s, _LEAST_S)
        try:
            verdicts = yield from judge.verdicts(move, reply, answered.config, left)
        except BaseException:
            self._append(self._attempt(answered, "cancelled", (), clock() - started_s), reply)
            raise
        call = self._calls[-1] if self._calls else None
        if call is not None and call.commit == "prefix" and call.shown:
            verdicts = tuple(too_late(verdict) for verdict in verdicts)
        accepted = all(verdict.accepted for verdict in verdicts)
        outcome: Outcome = "accepted" if accepted else "rejected"
        attempt = self._attempt(answered, outcome, verdicts, clock() - started_s)
        self._append(attempt, reply)
        if not accepted:
            if call is not None:
                call.close()
            self._errors.append(RejectedReply(attempt.account))

    def pass_unjudged(self, answered: Answered) -> None:
        """Append the accepted attempt of a reply that nothing judges."""
        self._append(self._attempt(answered, "accepted", (), 0.0), answered.reply)

    def _open(self, judge: Judge, plan: Plan, move: Call) -> ModelCall:
        """Return the effect that makes the call, with its run, its stamp and its gates."""
        request, endpoint = self._request, self._router.endpoints.by_name[move.endpoint]
        number, digest = len(self.attempts), self._router.policy.digest
        told = {**request.metadata, **stamp(plan, move, number, self.call_id, digest)}
        chosen = target(endpoint, request)
        config = attempt_config(self._config, self._group, number, told, tags(plan, move))
        if chosen.config:
            config = merge_configs(chosen.config, config)
        passes = judge.prefix_check(commit := judge.commit_point(move, self.attempts))
        before, said = None, ""
        if move.why == "continuation" and self._calls and self._calls[-1].is_seen_in(config):
            before, said = self._calls[-1], self._calls[-1].seen_text
        recordings: tuple[Recording, ...] = ()
        if config.get("callbacks"):
            heard = () if before is None else before.recordings
            config, recordings = record(config, commit, passes, heard, said)
        messages: Sequence[BaseMessage] = request.messages
        if move.why == "repair" and (rejected := self.replies[-1]) is not None:
            messages = repair_messages(request, rejected, self.attempts[-1])
        if before is not None:
            messages = continuation_messages(request, said)
        messages, clock = portable(messages, endpoint.callee), self._router.clock
        call = made_call(
            chosen, messages, config, commit, passes, clock, recordings, endpoint.name, endpoint.model
        )
        if before is not None:
            call.before = before
        limit_s = time_limit(plan, self.attempts, move, endpoint.timeout_s)
        if endpoint.wired or limit_s is not None:
            call.limits = Limits(limit_s, IDLE_S)
            call.line = Line(CALL_S if limit_s is None else limit_s) if endpoint.wired else None
        return call

    def _attempt(
        self, answered: Answered, outcome: Outcome, verdicts: tuple[Verdict, ...], judged_s: float
    ) -> Attempt:
        """Return the attempt that a reply made, with what the provider says it used."""
        move, message = answered.move, answered.reply.message
        endpoint = self._router.endpoints.by_name[move.endpoint]
        usage, cost_usd, basis = bill(endpoint, self._request, message)
        return made_attempt(
            move.tier,
            move.endpoint,
            move.why,
            outcome,
            verdicts,
            None,
            told_model(message) or endpoint.model_name,
            usage,
            cost_usd,
            basis,
            answered.latency_s,
            judged_s,
            answered.first_token_s,
            answered.began_at_s,
            finish_words(message),
        )

    def _append(self, attempt: Attempt, reply: Reply | None) -> None:
        self.attempts.append(attempt)
        self.replies.append(reply)

    def _not_answered(
        self, plan: Plan, move: Call, call: ModelCall, error: BaseException, latency_s: float
    ) -> None:
        """Append a failed attempt, or a cancelled one and raise."""
        call.close()
        failure = classify(error) if isinstance(error, Exception) else None
        call.failed(failure)
        endpoint = self._router.endpoints.by_name[move.endpoint]
        attempt = Attempt(
            move.tier,
            move.endpoint,
            move.why,
            "cancelled",
            latency_s=latency_s,
            first_token_s=call.first_token_s,
            began_at_s=call.began_at_s,
        )
        if failure is None:
            attempt = guessed(attempt, endpoint, self._request, call.size)
            if call.admission is not None:
                call.admission.settle_soon(attempt.cost_usd)
            self._append(attempt, None)
            raise error
        if call.is_cut_off and failure.kind in ("connection", "cut_stream"):
            failure = replace(failure, kind="timeout")  # what its transport says of our own hanging up
        failure = as_told(failure, self._request, endpoint)
        failure, error = broken_off(plan, call, failure, cast("Exception", error))
        attempt = replace(attempt, cost_usd=charged(failure.kind))
        if attempt.cost_usd is None:
            attempt = guessed(attempt, endpoint, self._request, call.size)
        self._append(replace(attempt, outcome="failed", failure=failure), None)
        self._errors.append(error)

    def _badly_answered(self, plan: Plan, answered: Answered, call: ModelCall, fault: Failure) -> None:
        """Append the failed attempt of a reply that came and is none: it is paid for all the same."""
        call.close()
        call.failed(fault)
        fault = as_told(fault, self._request, self._router.endpoints.by_name[answered.move.endpoint])
        attempt = replace(self._attempt(answered, "failed", (), 0.0), failure=fault)
        failure, error = broken_off(plan, call, fault, FailedCall(attempt.account))
        self._append(replace(attempt, failure=failure), answered.reply if failure.usable else None)
        self._errors.append(error)

    def _accepted(self, decision: Decision) -> Routed:
        """Return the chosen reply, finished, and let graph streams show what they held of it."""
        index: Any = decision.chosen
        given: Any = self.replies[index]
        call, reply = self._calls[index], finished(given, decision)
        for recording in call.recordings:
            recording.replay(given.message.id, reply.message.id)
        return made_routed(reply, decision, call)

    def decision(self, answer: StepAnswer, plan: Plan, outcome: Any, chosen: int | None = None) -> Decision:
        """Return the record of what was decided and tried so far."""
        attempts, spend = tuple(self.attempts), answer.spend + plan.spend
        return made_decision(self.call_id, answer, plan, attempts, outcome, chosen, spend, self.began_at_s)

    def report(self, error: BaseException, answer: StepAnswer, plan: Plan) -> None:
        """Tell of a decision that gave no reply, and let langroute's own errors carry it."""
        decision = self.decision(answer, plan, ending_of(error, self.attempts))
        if isinstance(error, LangrouteError):
            error.decision = decision
        self.tell(decision)

    def _obituary(self, plan: Plan) -> Exception:
        """Return the error of a step that has no reply to give."""
        if penniless(self.attempts):
            return self._errors[-1]
        error: LangrouteError = obituary(plan, self.attempts, self._errors)
        if (gate := self._calls[-1].shown) is not None:
            partial = PartialStream(f"{error.args[0]}, and the last one was shown already", gate.text)
            partial.__cause__, error = error, partial
        return error
