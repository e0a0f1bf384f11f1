"""What a routed step keeps in a graph's state between its nodes: plain JSON types, and the messages."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel, TypeAdapter

from langroute.cascade import Accept, Ask, Attempt, Call, Move, Plan, Stop, exhausted
from langroute.cost import total_usd
from langroute.decision import StepAnswer
from langroute.following import Answered, Cascade
from langroute.replies import Reply

__all__ = ["Saved"]

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Accept, Ask, Call, Stop)}
_ADAPTERS: dict[Any, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (StepAnswer, Plan, Attempt, *_KINDS.values())
}


_UNPLANNED = Plan("", ())
_UNTOLD = StepAnswer("", "default", "")


@dataclass(frozen=True, slots=True)
class Saved:
    """How far a step has come; a value, written whole by every node."""

    call_id: str = ""
    step_answer: StepAnswer = _UNTOLD
    plan: Plan = _UNPLANNED
    attempts: tuple[Attempt, ...] = ()
    replies: tuple[Reply | None, ...] = ()
    """Reply of each attempt, None where the call failed."""
    move: Move | None = None
    """What is to be done next, and is what led to the node that runs."""
    pending: Mapping[str, Any] | None = None
    """A reply that came and waits for its judgement, with its call's times."""

    def plain(self) -> dict[str, Any]:
        """Return what goes into the state: a message never stands at the top, or a graph would stream it."""
        return {
            "call_id": self.call_id,
            "step_answer": _plain(self.step_answer),
            "plan": _plain(self.plan),
            "attempts": [_plain(attempt) for attempt in self.attempts],
            "replies": [reply and _plain_reply(reply) for reply in self.replies],
            "move": self.move and {"kind": type(self.move).__name__, **_plain(self.move)},
            "pending": self.pending and dict(self.pending),
        }

    @classmethod
    def load(cls, plain: Mapping[str, Any], schema: Any) -> "Saved":
        """Return what `plain` says; parsed objects become instances of `schema` again."""
        move = plain["move"]
        return cls(
            plain["call_id"],
            _read(StepAnswer, plain["step_answer"]),
            _read(Plan, plain["plan"]),
            tuple(_read(Attempt, attempt) for attempt in plain["attempts"]),
            tuple(reply and _read_reply(reply, schema) for reply in plain["replies"]),
            move and _read(_KINDS[move["kind"]], {key: move[key] for key in move if key != "kind"}),
            plain["pending"],
        )

    def resume(self, cascade: Cascade) -> Cascade:
        """Return the cascade, told what has been tried."""
        cascade.call_id = self.call_id or cascade.call_id
        cascade.attempts, cascade.replies = list(self.attempts), list(self.replies)
        return cascade

    def tried(self, cascade: Cascade) -> "Saved":
        """Return the save with what the cascade has tried by now, and nothing pending."""
        return replace(self, attempts=tuple(cascade.attempts), replies=tuple(cascade.replies), pending=None)

    def moving(self, move: Move) -> "Saved":
        """Return the save on its way to `move`."""
        return replace(self, move=move)

    def answered(self, answered: Answered) -> "Saved":
        """Return the save with a reply that waits for its judgement."""
        pending = {
            "reply": _plain_reply(answered.reply),
            "latency_s": answered.latency_s,
            "first_token_s": answered.first_token_s,
        }
        return replace(self, pending=pending)

    def pending_answer(self, schema: Any, config: RunnableConfig) -> Answered:
        """Return the reply that waits for its judgement."""
        pending = cast("Mapping[str, Any]", self.pending)
        reply = _read_reply(pending["reply"], schema)
        return Answered(
            cast("Call", self.move), reply, pending["latency_s"], pending["first_token_s"], config
        )

    def question(self, refused: Any = None) -> dict[str, Any]:
        """Return what a person is shown: what is asked, what it would cost, what was spent, what led here."""
        ask = cast("Ask", self.move)
        shown = {
            "step": self.plan.step,
            "reason": ask.reason,
            "call": ask.call and {"tier": ask.call.tier, "endpoint": ask.call.endpoint},
            "expected_usd": ask.expected_usd,
            "spent_usd": total_usd(attempt.cost_usd for attempt in self.attempts),
            "findings": list(self.attempts[-1].findings),
            "replies": [reply.message.text for reply in self.replies if reply is not None],
            "answers": ["approve", "refuse"],
        }
        return shown if refused is None else {**shown, "not_an_answer": str(refused)}

    def answer_to(self, answer: Any) -> Move | None:
        """Return the move that a person's answer means, None where it is none of those offered.

        Refusing a call gives the best reply so far, or raises where the policy says `raise`; refusing
        the best of rejected replies raises.
        """
        ask, best = cast("Ask", self.move), exhausted(self.plan, self.attempts)
        if answer == "approve":
            return ask.call or best
        if answer != "refuse":
            return None
        return best if ask.call is not None and self.plan.on_exhausted != "raise" else Stop("exhausted")


def _plain(record: Any) -> Any:
    return None if record is None else _ADAPTERS[type(record)].dump_python(record, mode="json")


def _read(kind: type[Any], plain: Any) -> Any:
    return None if plain is None else _ADAPTERS[kind].validate_python(plain)


def _plain_reply(reply: Reply) -> dict[str, Any]:
    parsed = reply.parsed.model_dump(mode="json") if isinstance(reply.parsed, BaseModel) else reply.parsed
    error = reply.parsing_error and str(reply.parsing_error)
    return {"message": reply.message, "parsed": parsed, "parsing_error": error}


def _read_reply(plain: Mapping[str, Any], schema: Any) -> Reply:
    parsed, error = plain["parsed"], plain["parsing_error"]
    if parsed is not None and isinstance(schema, type) and issubclass(schema, BaseModel):
        parsed = schema.model_validate(parsed)
    return Reply(plain["message"], parsed, error and ValueError(error))
