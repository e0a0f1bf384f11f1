"""How a reply is judged: what every reply must pass, the step's verifiers, and what a repair is told."""

import contextvars
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from langroute.asking import ask
from langroute.attempts import ANSWERED, is_function
from langroute.beside import Glance
from langroute.budget import Purse
from langroute.cascade import Attempt, Call, Plan, Verdict
from langroute.cost import Spend
from langroute.effects import Flow, within
from langroute.errors import AbandonedCalls, LangrouteError, NoEndpointAvailable
from langroute.failures import classify
from langroute.functions import declined
from langroute.gates import Commit
from langroute.records import maker
from langroute.redaction import printable, redact, unquoted, without
from langroute.replies import Reply
from langroute.request import Request, tool_name
from langroute.runs import unheard
from langroute.seams import anchor
from langroute.verifiers.base import Case, Opinion, Verifier, made_case
from langroute.verifiers.schema import Schema

if TYPE_CHECKING:
    from langroute.router import Router

__all__ = ["Judge", "continuation_messages", "repair_messages", "too_late"]


_SOON_S = 0.05
"""How much before its time a timer may ring."""

_PREFIX = "a check of a reply's first words"
"""Under which name those are counted that run beside a stream."""

_PREFIX_S = 0.005
"""How long a stream stands still for such a check: most are done in less, and it is shown at once."""


class Judge:
    """The checks of one request's replies."""

    def __init__(self, router: "Router", request: Request, plan: Plan) -> None:
        self._router = router
        self._request = request
        self.plan = plan
        self._verifiers = router.checks(plan.step)
        self._risky = _risky_tools(router, request) if request.tools or request.more_tools else {}
        self._idle = not self._verifiers and request.schema is None and not self._risky

    def is_idle(self, move: Call) -> bool:
        """Whether there is nothing to check of a call's reply: plain routing. A function may not answer."""
        return self._idle and not is_function(move.endpoint)

    def verdicts(
        self, move: Call, reply: Reply, config: RunnableConfig, left_s: float | None = None
    ) -> Flow[tuple[Verdict, ...]]:
        """Return the verdicts on one reply: all free checks, then those that ask a model, until one rejects.

        A verifier that cannot check rejects: when in doubt, the capable tier. `config` is the
        attempt's; whatever a verifier calls is heard by its tracers and by no graph's stream. All of them
        together have `left_s` seconds, where a deadline sets them; one that is not done then could not check.
        """
        verifiers = self._verifiers
        if is_function(move.endpoint):
            verifiers = self._router.checks(self.plan.step, move.tier)
            if declined(reply.message):
                reason = f"{move.tier} has no answer"
                return (Verdict(ANSWERED, accepted=False, reason=reason, usable=False),)
        found = list(self._always(move, reply))
        if not verifiers:
            return tuple(found)
        quiet = unheard(config)
        asker = _made_asker(self._router, self.plan.step, move.endpoint, quiet, left_s, self._request.purse)
        ends_s = None if left_s is None else time.monotonic() + left_s
        context = contextvars.copy_context()
        # The running node's config stays around it: without it `interrupt()` in a verifier asks nobody.
        ambient = var_child_runnable_config.get() or {}
        context.run(var_child_runnable_config.set, cast("RunnableConfig", {**ambient, **quiet}))
        for verifier in verifiers:
            if verifier.asks and not all(verdict.accepted for verdict in found):
                break
            case = made_case(
                self._request,
                reply.message,
                move.tier,
                move.endpoint,
                asker,
                reply.parsed,
                reply.parsing_error,
                tuple(found),
                self._router.functions,
            )
            found.append((yield from within(context, self._checked(verifier, case, ends_s), ends_s)))
        return tuple(found)

    def _always(self, move: Call, reply: Reply) -> Iterator[Verdict]:
        """Yield the verdicts that no policy needs to ask for."""
        if self._request.schema is not None and not _goes_on(self._request, reply):
            yield _structured(self._request, reply, usable=self._request.binding.include_raw)
        for call in reply.message.tool_calls:
            demanded = self._risky.get(call["name"])
            if demanded is not None and self._router.rank(move.tier) < self._router.rank(demanded):
                reason = f"the tool {call['name']} may only be called by tier {demanded} or above"
                yield Verdict("stakes", accepted=False, reason=reason, usable=False)

    def _checked(self, verifier: Verifier, case: Case, ends_s: float | None) -> Flow[Verdict]:
        try:
            return (yield from verifier.judge(case))
        except Exception as error:
            if classify(error) is None and not isinstance(error, LangrouteError):
                raise
            told = unquoted(_in_one_line(error), case.request.texts)
            for endpoint in self._router.endpoints.by_name.values():
                told = without(told, endpoint.secrets)
            if (
                isinstance(error, TimeoutError)
                and ends_s is not None
                and time.monotonic() >= ends_s - _SOON_S
            ):
                told = "not done in time: the step's deadline is over"
            return Verdict(
                verifier.name,
                accepted=False,
                reason=f"could not be checked: {told}",
                unsure=True,
                spend=_spent(error),
            )

    def commit_point(self, move: Call, attempts: Sequence[Attempt]) -> Commit:
        """Return from where the reply of `move` may be shown; a function's, which is one piece, at its end.

        At once where nothing can reject it, or where a rejection could change nothing: the only call
        there will be, whose reply is returned whatever the verdict. Of that one, what the model thinks is
        shown as well; of others it waits for the first word, for until then another may answer.
        """
        verifiers = self._verifiers
        if self._request.schema is not None or self._risky or self._request.held:
            return "end"
        if is_function(move.endpoint):
            return "end"
        only = not attempts and not self.plan.may_repeat
        if not verifiers or (only and self.plan.on_exhausted == "best"):
            return "thought" if only else "start"
        return "prefix" if all(verifier.reads == "prefix" for verifier in verifiers) else "end"

    def prefix_check(self, commit: Commit) -> Callable[[str], bool | None]:
        """Return what tells whether a reply's first words pass every check; None while that is not known.

        Checks of other people may wait. They are made once, in a thread, and the stream goes on: its items
        are held until they are done, and where its end comes first they judge the whole reply alone.
        """
        if commit != "prefix" or all(verifier.only_looks for verifier in self._verifiers):
            return self._passes
        begun: list[Glance[bool]] = []

        def passes(text: str) -> bool | None:
            try:
                if begun:
                    return begun[0].answer(0)
                begun.append(Glance(lambda: self._passes(text), _PREFIX))
                return begun[0].answer(_PREFIX_S)
            except AbandonedCalls:
                return False

        return passes

    def _passes(self, text: str) -> bool:
        case = Case(self._request, AIMessage(text), "", "", _nobody_to_ask)
        try:
            return all(verifier.check(case).accepted for verifier in self._verifiers)
        except Exception:
            return False  # the whole reply is judged then, and the failure becomes a verdict there


@dataclass(frozen=True, slots=True)
class _Asker:
    """Puts a verifier's question to a model, inside the step's boundary."""

    router: "Router"
    step: str
    endpoint: str
    config: RunnableConfig
    left_s: float | None
    """Seconds that each question has at most; None leaves it to the endpoint's own limit."""
    purse: Purse | None

    def __call__(
        self, prompt: Any, *, purpose: Any, tier: str | None = None, schema: Any = None
    ) -> Flow[Opinion]:
        endpoints = self.router.endpoints
        if tier is None:
            chosen = endpoints.by_name[self.endpoint]
        else:
            boundary = self.router.policy.step(self.step).boundary
            allowed = [e for e in endpoints.tier(tier) if boundary is None or e.boundary in boundary]
            others = [e for e in allowed if e.name != self.endpoint]
            if not others:
                raise NoEndpointAvailable(
                    f"{purpose}: tier {tier} has no endpoint beside {self.endpoint}"
                    f" within boundary {', '.join(boundary or ('any',))}"
                )
            well = (e for e in others if self.router.breakers.obstacle(e.name) is None)
            chosen = next(well, others[0])
        limits_s = [limit for limit in (self.left_s, chosen.timeout_s) if limit is not None]
        limit_s = min(limits_s, default=None)
        how: dict[str, Any] = {"schema": schema, "timeout_s": limit_s, "config": self.config}
        return (yield from ask(chosen, prompt, purpose=purpose, purse=self.purse, **how))


_made_asker = maker(_Asker)


def _nobody_to_ask(*_: Any, **__: Any) -> Flow[Opinion]:
    raise NoEndpointAvailable("a check of a prefix asks no model")


def _goes_on(request: Request, reply: Reply) -> bool:
    """Whether an agent's reply calls a tool first: the object that its schema asks for comes later."""
    calls = reply.message.tool_calls or reply.message.invalid_tool_calls
    return bool(request.tools and calls) and reply.parsed is None and reply.parsing_error is None


def _structured(request: Request, reply: Reply, *, usable: bool) -> Verdict:
    """Judge whether the reply gave the object that the caller's schema asks for."""
    reason = "the reply holds no object of the schema asked for"
    if reply.parsing_error is not None:
        reason = f"the reply does not parse: {_in_one_line(reply.parsing_error)}"
    elif isinstance(reply.parsed, dict):  # a TypedDict or a JSON Schema: nothing has looked inside yet
        case = Case(request, reply.message, "", "", _nobody_to_ask, reply.parsed)
        return replace(Schema().check(case), verifier="structured", usable=usable)
    elif reply.parsed is not None:
        return Verdict("structured", accepted=True, reason="the reply parses under the schema")
    return Verdict("structured", accepted=False, reason=reason, usable=usable)


def _in_one_line(error: BaseException) -> str:
    text = str(error).partition("For troubleshooting")[0].partition("For further information")[0]
    return printable(redact(" ".join(text.split())[:300])) or type(error).__name__


def _spent(error: BaseException) -> tuple[Spend, ...]:
    """Return what an answer cost that came and could not be read."""
    spend = getattr(error, "spend", None)
    return (spend,) if isinstance(spend, Spend) else ()


def _risky_tools(router: "Router", request: Request) -> dict[str, str]:
    """Return the callable tools that the policy's stakes name, each with the tier it demands."""
    stakes = router.policy.stakes
    if not stakes.tools:
        return {}
    bound = stakes.tools if request.more_tools else {tool_name(tool) for tool in request.tools}
    return {tool: stakes.levels[level].tier for tool, level in stakes.tools.items() if tool in bound}


def repair_messages(request: Request, reply: Reply, attempt: Attempt) -> tuple[BaseMessage, ...]:
    """Return the conversation with the rejected reply and what was found, so that the model can mend it."""
    findings = "\n".join(f"- {verdict.reason}" for verdict in attempt.verdicts if not verdict.accepted)
    told = f"Your reply was not accepted:\n{findings}\nAnswer again and mend this. Give the whole answer."
    answers = [
        ToolMessage(f"not executed: {findings}", tool_call_id=call["id"] or "", status="error")
        for call in reply.message.tool_calls
    ]
    return (*request.messages, reply.message, *answers, HumanMessage(told))


def continuation_messages(request: Request, shown: str) -> tuple[BaseMessage, ...]:
    """Return the conversation with the text shown so far, so that the model can go on where it breaks off.

    A person speaks last: many models refuse a conversation that ends with their own words.
    """
    told = (
        "Your reply broke off there. Go on with it to its end. Begin by repeating its last words exactly"
        f" as they stand:\n{anchor(shown)}\nand go on from there. Write nothing before them."
    )
    return (*request.messages, AIMessage(shown.rstrip()), HumanMessage(told))


def too_late(verdict: Verdict) -> Verdict:
    """Return a rejection that came after the commit point as what it is: noted, and without effect."""
    if verdict.accepted:
        return verdict
    return replace(verdict, accepted=True, reason=f"found when the reply was already shown: {verdict.reason}")
