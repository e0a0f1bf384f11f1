"""The cascade as one flow: ask `next_move` what to do, make the call, have the reply judged, ask again.

A flow never waits itself. It yields effects, which the drivers of `langroute.drive` perform, so that
sync and async, whole and streamed, are one decision.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs

from langroute.calls import ModelCall
from langroute.cascade import Accept, Ask, Attempt, Call, Outcome, Plan, Stop, Verdict, next_move
from langroute.decision import Decision, StepAnswer
from langroute.effects import Flow
from langroute.endpoints import Endpoint
from langroute.errors import (
    AllAttemptsFailed,
    ApprovalRequired,
    LangrouteError,
    NoEndpointAvailable,
    PartialStream,
    RejectedReply,
)
from langroute.failures import charged, classify
from langroute.judging import Judge, repair_messages
from langroute.observe import notify
from langroute.replies import Reply, finished, read_reply
from langroute.request import Request
from langroute.runs import Group, attempt_config, record, start_group
from langroute.targets import target
from langroute.verifiers.finish import finish_words

if TYPE_CHECKING:
    from langroute.router import Router

__all__ = ["Answered", "Cascade", "Routed", "obituary"]


@dataclass(frozen=True, slots=True)
class Routed:
    """The end of a cascade: the reply to return, how it came about, and the call that gave it."""

    reply: Reply
    decision: Decision
    call: ModelCall


@dataclass(frozen=True, slots=True)
class Answered:
    """A reply that came and is not judged yet."""

    move: Call
    reply: Reply
    latency_s: float
    first_token_s: float | None
    config: RunnableConfig
    """Config of the attempt: who hears what its verifiers call."""


class Cascade:
    """One request on its way through its plan; it lives as long as the call.

    `flow` is the whole way. The graph door goes it in steps, each in a node of its own: `decide`, then
    `make` and `judge` as `next_move` says, over attempts and replies that the graph's state has kept.
    """

    def __init__(self, router: "Router", request: Request, config: RunnableConfig) -> None:
        self._router = router
        self._request = request
        self._config = config
        # An id, not a secret; uuid4 costs 3 us.
        self.call_id = f"{random.getrandbits(128):032x}"
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
                yield self._group.fail(error)
            raise
        notify(routed.decision)
        if self._group is not None:
            yield self._group.end(routed.reply.message)
        return routed

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
        answer = yield from self._router.finder.find(self._request)
        try:
            plan = yield from self._router.planner.plan(self._request, answer)
        except NoEndpointAvailable as error:
            self.report(error, answer, Plan(answer.step, (), reasons=(str(error),)))
            raise
        return answer, plan

    def _follow(self, answer: StepAnswer, plan: Plan) -> Flow[Routed]:
        """Do what `next_move` says until it accepts or stops."""
        judge = self.judged_by(plan)
        while True:
            match next_move(plan, self.attempts):
                case Call() as move:
                    answered = yield from self.make(judge, plan, move)
                    if answered is not None:
                        yield from self.judge(judge, answered)
                case Accept(attempt=index, best=best):
                    decision = self.decision(answer, plan, "best" if best else "accepted", index)
                    return self._accepted(decision)
                case Ask() as ask:
                    raise ApprovalRequired(_question(plan, ask), ask)
                case Stop(reason="stopped"):
                    raise self._errors[-1]
                case Stop():
                    raise self._obituary(plan)

    def make(self, judge: Judge, plan: Plan, move: Call) -> Flow[Answered | None]:
        """Make one call and return the reply that came; a call that failed is appended and gives None."""
        call = self._open(judge, plan, move)
        self._calls.append(call)
        endpoint = self._router.endpoints.by_name[move.endpoint]
        clock = self._router.clock
        call.started_s = clock()
        try:
            reply = read_reply((yield call), call.target.parse)
            _came_whole(reply.message, endpoint)
        except BaseException as error:
            self._not_answered(move, call, error, clock() - call.started_s)
            return None
        return Answered(move, reply, clock() - call.started_s, call.first_token_s, call.config)

    def judge(self, judge: Judge, answered: Answered) -> Flow[None]:
        """Have a reply judged, and append the attempt that it became."""
        clock, started_s = self._router.clock, self._router.clock()
        move, reply = answered.move, answered.reply
        try:
            verdicts = () if judge.idle else (yield from judge.verdicts(move, reply, answered.config))
        except BaseException:
            self._append(self._attempt(answered, "cancelled", (), clock() - started_s), reply)
            raise
        call = self._calls[-1] if self._calls else None
        if call is not None and call.commit == "prefix" and call.shown:
            verdicts = tuple(_too_late(verdict) for verdict in verdicts)
        accepted = all(verdict.accepted for verdict in verdicts)
        outcome: Outcome = "accepted" if accepted else "rejected"
        attempt = self._attempt(answered, outcome, verdicts, clock() - started_s)
        self._append(attempt, reply)
        if not accepted:
            if call is not None:
                call.close()
            self._errors.append(RejectedReply(attempt.account))

    def _open(self, judge: Judge, plan: Plan, move: Call) -> ModelCall:
        """Return the effect that makes the call, with its run, its stamp and its gates."""
        endpoint = self._router.endpoints.by_name[move.endpoint]
        number = len(self.attempts)
        metadata = {
            **self._request.metadata,
            "langroute_step": plan.step,
            "langroute_tier": move.tier,
            "langroute_endpoint": move.endpoint,
            "langroute_attempt": number,
            "langroute_call_id": self.call_id,
        }
        chosen = target(endpoint, self._request)
        config = attempt_config(self._config, self._group, number, metadata)
        if chosen.config:
            config = merge_configs(chosen.config, config)
        commit = judge.commit_point(self.attempts)
        config, recordings = record(config, commit, judge.passes_prefix)
        messages: Sequence[BaseMessage] = self._request.messages
        if move.why == "repair" and (rejected := self.replies[-1]) is not None:
            messages = repair_messages(self._request, rejected, self.attempts[-1])
        return ModelCall(
            chosen, messages, config, commit, judge.passes_prefix, self._router.clock, recordings
        )

    def _attempt(
        self, answered: Answered, outcome: Outcome, verdicts: tuple[Verdict, ...], judged_s: float
    ) -> Attempt:
        """Return the attempt that a reply made, with what the provider says it used."""
        move, message = answered.move, answered.reply.message
        endpoint = self._router.endpoints.by_name[move.endpoint]
        usage, cost_usd, basis = endpoint.cost_of(message)
        if "model" in self._request.kwargs:  # the caller swapped the model that the price belongs to
            cost_usd, basis = None, "unknown"
        return Attempt(
            move.tier,
            move.endpoint,
            move.why,
            outcome,
            verdicts,
            None,
            message.response_metadata.get("model_name") or endpoint.model_name,
            usage,
            cost_usd,
            basis,
            answered.latency_s,
            judged_s,
            answered.first_token_s,
        )

    def _append(self, attempt: Attempt, reply: Reply | None) -> None:
        self.attempts.append(attempt)
        self.replies.append(reply)

    def _not_answered(self, move: Call, call: ModelCall, error: BaseException, latency_s: float) -> None:
        """Append a failed attempt, or a cancelled one and raise.

        Once something was shown there is no going on: the caller gets the text so far.
        """
        call.close()
        failure = classify(error) if isinstance(error, Exception) else None
        attempt = Attempt(move.tier, move.endpoint, move.why, "cancelled", latency_s=latency_s)
        if failure is None:
            self._append(attempt, None)
            raise error
        if (gate := call.shown) is not None:
            failure = replace(failure, kind="cut_stream", remedy="raise")
            partial = PartialStream(f"{move.endpoint} broke off after part of its reply was shown", gate.text)
            partial.__cause__, error = error, partial
        cost_usd = charged(failure.kind)
        self._append(replace(attempt, outcome="failed", failure=failure, cost_usd=cost_usd), None)
        self._errors.append(cast("Exception", error))

    def _accepted(self, decision: Decision) -> Routed:
        """Return the chosen reply, finished, and let graph streams show what they held of it."""
        index = cast("int", decision.chosen)
        call = self._calls[index]
        given = cast("Reply", self.replies[index])
        reply = finished(given, decision)
        for recording in call.recordings:
            recording.replay(given.message.id, reply.message.id)
        return Routed(reply, decision, call)

    def decision(self, answer: StepAnswer, plan: Plan, outcome: Any, chosen: int | None = None) -> Decision:
        """Return the record of what was decided and tried so far."""
        return Decision(self.call_id, answer, plan, tuple(self.attempts), outcome, chosen, answer.spend)

    def report(self, error: BaseException, answer: StepAnswer, plan: Plan) -> None:
        """Tell of a decision that gave no reply, and let langroute's own errors carry it."""
        decision = self.decision(answer, plan, self._ending(error))
        if isinstance(error, LangrouteError):
            error.decision = decision
        notify(decision)

    def _ending(self, error: BaseException) -> str:
        """Return the outcome of a decision that gave no reply."""
        if isinstance(error, ApprovalRequired):
            return "ask"
        if isinstance(error, AllAttemptsFailed):
            return (
                "exhausted" if any(attempt.outcome == "rejected" for attempt in self.attempts) else "failed"
            )
        if isinstance(error, NoEndpointAvailable):
            return "failed"
        return "stopped" if self.attempts and self.attempts[-1].outcome == "failed" else "cancelled"

    def _obituary(self, plan: Plan) -> Exception:
        """Return the error of a step that has no reply to give."""
        error: LangrouteError = obituary(plan, self.attempts, self._errors)
        if (gate := self._calls[-1].shown) is not None:
            partial = PartialStream(f"{error.args[0]}, and the last one was shown already", gate.text)
            partial.__cause__, error = error, partial
        return error


def obituary(plan: Plan, attempts: Sequence[Attempt], errors: Sequence[Exception]) -> AllAttemptsFailed:
    """Return the error of a step whose attempts all failed or were rejected."""
    rejected = any(attempt.outcome == "rejected" for attempt in attempts)
    how = "no reply was accepted" if rejected else "every call failed"
    many = f"{len(attempts)} attempt{'s' if len(attempts) != 1 else ''}"
    return AllAttemptsFailed(f"step {plan.step}: {how} in {many}", errors)


def _came_whole(message: AIMessage, endpoint: Endpoint) -> None:
    """Raise where a reply was cut without an error: a stream that ends cleanly looks whole to LangChain.

    A reply of an OpenAI wire always says why it ended, unless its server is known not to.
    """
    told = message.response_metadata.get("model_provider") == "openai"
    if (message.content and not told) or finish_words(message) or any(message.additional_kwargs.values()):
        return
    if not (message.content or message.tool_calls or message.invalid_tool_calls):
        raise ConnectionResetError("the reply ended before its first content and without a finish reason")
    if told and not endpoint.spec.omits_finish_reason:
        raise ConnectionResetError(
            "the reply ended without a finish reason; if this server never gives one, say so with"
            " `omits_finish_reason: true`"
        )


def _too_late(verdict: Verdict) -> Verdict:
    """Return a rejection that came after the commit point as what it is: noted, and without effect."""
    if verdict.accepted:
        return verdict
    return replace(verdict, accepted=True, reason=f"found when the reply was already shown: {verdict.reason}")


def _question(plan: Plan, ask: Ask) -> str:
    if ask.call is None:
        return f"step {plan.step}: {ask.reason}; a person must decide, and this door cannot ask one"
    cost = "an unknown amount" if ask.expected_usd is None else f"{ask.expected_usd:.4f} USD"
    return f"step {plan.step}: {ask.reason} is expected to cost {cost}, above approve_above_usd"
