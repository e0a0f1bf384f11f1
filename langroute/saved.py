"""What a routed step keeps in a graph's state between its nodes: plain JSON types, and the messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel, TypeAdapter

from langroute.cascade import Accept, Ask, Attempt, Call, Move, Plan, Redo, Rung, Stop, cheaper, exhausted
from langroute.cost import total_usd
from langroute.decision import StepAnswer
from langroute.following import Answered, Cascade
from langroute.replies import Reply

__all__ = ["Mark", "Saved"]

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Accept, Ask, Call, Redo, Stop)}


_ROUNDING = 1e-9
"""Share by which two estimates of the same call may differ."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What stands in a step's channel between two of its visits, where steps may blame each other."""

    tier: str | None = None
    """Highest tier that has replied; a visit that was sent back to starts above it."""
    above: Rung | None = None
    """The next rung of that visit's plan; None where there is none."""
    message_id: str | None = None
    """Id of the message given, which a better one replaces; None where the step gives no message."""
    blamed: str | None = None
    """Why the step must answer again; None where it was not sent back to."""
    went_back: str | None = None
    """Call id of the visit that this step gave up to go back itself, which it does once."""

    @classmethod
    def read(cls, channel: Mapping[str, Any] | None) -> "Mark":
        """Return the mark in a channel; an empty one where there is none, or a visit that never ended."""
        return _read(cls, channel["mark"]) if cls.stands_in(channel) else cls()  # type: ignore[index]  # it stands there

    @property
    def terms(self) -> "Mark":
        """What the next visit begins with: nothing, unless the step was sent back to or went back itself."""
        return Mark() if self.blamed is None and self.went_back is None else self

    @staticmethod
    def stands_in(channel: Mapping[str, Any] | None) -> bool:
        """Whether a channel holds a mark, and so no visit under way."""
        return channel is not None and "mark" in channel

    def plain(self) -> dict[str, Any]:
        """Return what goes into the state."""
        return {"mark": _plain(self)}


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (StepAnswer, Plan, Attempt, Mark, *_KINDS.values())
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
    replies: tuple[Reply | None, ...] = field(default=(), repr=False)
    """Reply of each attempt, None where the call failed."""
    move: Move | None = None
    """What is to be done next, and is what led to the node that runs."""
    pending: Mapping[str, Any] | None = field(default=None, repr=False)
    """A reply that came and waits for its judgement, with its call's times."""
    began: Mark = Mark()
    """On what terms the visit began: sent back to, or after going back."""
    began_at_s: float | None = None
    """When the visit began, in seconds since 1970; None where an earlier version saved it."""

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
            "began": _plain(self.began),
            "began_at_s": self.began_at_s,
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
            _read(Mark, plain.get("began")) or Mark(),  # a checkpoint of an earlier version has none
            plain.get("began_at_s"),
        )

    def resume(self, cascade: Cascade) -> Cascade:
        """Return the cascade, told what has been tried."""
        cascade.call_id = self.call_id or cascade.call_id
        cascade.attempts, cascade.replies = list(self.attempts), list(self.replies)
        if self.call_id:
            cascade.began_at_s = self.began_at_s
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
            "began_at_s": answered.began_at_s,
        }
        return replace(self, pending=pending)

    def left(self, message_id: str | None = None) -> Mark:
        """Return what the visit leaves behind when it ends: how high it came, and what is above that."""
        tiers = [rung.tier for rung in self.plan.rungs]
        replied = [tiers.index(a.tier) for a in self.attempts if a.outcome in ("accepted", "rejected")]
        at = max(replied, default=-1)
        above = self.plan.rungs[at + 1] if at + 1 < len(tiers) else None
        return Mark(tiers[at] if replied else self.began.tier, above, message_id)

    def pending_answer(self, schema: Any, config: RunnableConfig) -> Answered:
        """Return the reply that waits for its judgement."""
        pending = cast("Mapping[str, Any]", self.pending)
        reply = _read_reply(pending["reply"], schema)
        times = pending["latency_s"], pending["first_token_s"]
        return Answered(cast("Call", self.move), reply, *times, config, pending.get("began_at_s"))

    def question(self, models: Mapping[str, str], refused: Any = None) -> dict[str, Any]:
        """Return what a person is shown: what is asked, what it would cost, what was spent, what led here.

        Args:
            models: The provider's name of each endpoint's model.
            refused: An answer that was given and is none.
        """
        ask, offered = cast("Ask", self.move), cheaper(self.plan, self.attempts)
        best = exhausted(self.plan, self.attempts)
        kept = self.replies[best.attempt] if isinstance(best, Accept) else None
        asked = ask.call and {
            "tier": ask.call.tier,
            "endpoint": ask.call.endpoint,
            "model": models.get(ask.call.endpoint, ask.call.endpoint),
        }
        shown = {
            "step": self.plan.step,
            "reason": ask.reason,
            "call": asked,
            "expected_usd": ask.expected_usd,
            "spent_usd": total_usd(attempt.cost_usd for attempt in self.attempts),
            "findings": list(self.attempts[-1].findings),
            "replies": [str(reply.message.text) for reply in self.replies if reply is not None],
            "best": None if kept is None else str(kept.message.text),
            "cheaper": [
                {"tier": call.tier, "endpoint": call.endpoint, "expected_usd": usd} for call, usd in offered
            ],
            "answers": ["approve", "refuse", *dict.fromkeys(call.tier for call, _ in offered)],
        }
        return shown if refused is None else {**shown, "not_an_answer": str(refused)}

    def dearer(self, move: Move, now_usd: float | None) -> Ask | None:
        """Return the question to ask anew where a call would cost more by now than the person was told."""
        if not isinstance(move, Call):
            return None
        ask = cast("Ask", self.move)
        told_usd = dict(cheaper(self.plan, self.attempts)).get(move, ask.expected_usd)
        if told_usd is None or (now_usd is not None and now_usd <= told_usd * (1 + _ROUNDING)):
            return None
        reason = (
            f"{move.why} to {move.endpoint}, by now dearer than the {told_usd:.4f} USD that were approved"
        )
        return Ask(move, reason, now_usd)

    def answer_to(self, answer: Any) -> Move | None:
        """Return the move that a person's answer means, None where it is none of those offered.

        Naming a tier makes the first call there that costs less than the one asked for. Refusing a call
        gives the best reply so far, or raises where the policy says `raise`; refusing the best of rejected
        replies raises.
        """
        ask, best = cast("Ask", self.move), exhausted(self.plan, self.attempts)
        if answer == "approve":
            return ask.call or best
        if answer != "refuse":
            offered = [call for call, _ in cheaper(self.plan, self.attempts) if call.tier == answer]
            return offered[0] if offered else None
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
