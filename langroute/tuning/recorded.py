"""What a ledger teaches: its decisions as outcomes of replies, and as logged runs that can be replayed.

Feedback is about the reply that was returned. A rejected draft has a worth only where a check that is taken
for a label (`judge`, say) looked at it. Decisions are read a page at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import TypeAdapter

from langroute.attempts import Attempt, is_function
from langroute.cascade import Plan
from langroute.cost import Usage, total_usd
from langroute.ledger.labels import labelled
from langroute.ledger.ledger import Ledger
from langroute.ledger.reading import Filter, count
from langroute.ledger.records import AttemptRecord, DecisionRecord
from langroute.request import EMPTY, Request
from langroute.tuning.features import Features, prompt_features, recorded_values
from langroute.tuning.outcomes import SHADOW, Outcome
from langroute.tuning.replay import Logged
from langroute.tuning.signals import reply_values, token_values

__all__ = ["Found", "Reading", "logged_of", "outcomes_of", "shadows_of"]

_PLAN, _ATTEMPT = TypeAdapter(Plan), TypeAdapter(Attempt)
_REPLIED = ("accepted", "rejected")
_TEXT_KEPT = ("redacted", "full")
_EVERY = 500

_FOUND = {"good": (1.0, 1.0), "misrouted": (0.0, 1.0), "neither": (0.0, 0.0)}
"""What the reply that was returned and the top tier's are worth, by what a shadow found. Where the one was
right nobody kept whether the other was too: it is taken to be, so that the top tier looks no worse for it."""


@dataclass(slots=True)
class Found:
    """How many decisions a ledger had, and how much of each kind they tell."""

    decisions: int = 0
    labelled: int = 0
    """Decisions that returned a reply whose worth is known."""
    drafts: int = 0
    """Replies that were not returned."""
    drafts_labelled: int = 0
    """Those whose worth is known."""
    with_text: int = 0
    """Decisions whose prompt was kept."""
    explored: int = 0
    """Decisions whose start had a known chance below 1."""
    shadows: int = 0
    """Replies that the top tier was to be asked for as well."""
    compared: int = 0
    """Those of which it is known which reply was right."""

    def add(self, record: DecisionRecord, logged: Logged) -> None:
        """Count one decision."""
        replied = [at for at, tried in enumerate(logged.attempts) if tried.outcome in _REPLIED]
        returned = {row.number for row in record.attempts if row.returned}
        self.decisions += 1
        self.labelled += any(logged.quality[at] is not None for at in returned)
        self.drafts += len([at for at in replied if at not in returned])
        self.drafts_labelled += sum(logged.quality[at] is not None for at in replied if at not in returned)
        self.with_text += record.text_kept in _TEXT_KEPT and bool(record.prompt)
        self.explored += logged.plan.propensity < 1
        self.shadows += len(record.shadows)
        self.compared += sum(shadow.verdict in _FOUND for shadow in record.shadows)

    @property
    def summary(self) -> str:
        """What there is, in one line."""
        return (
            f"{self.decisions:,} decisions, {self.labelled:,} with feedback; of {self.drafts:,} replies that"
            f" were not returned {self.drafts_labelled:,} have a worth; {self.explored:,} decisions explored;"
            f" {self.with_text:,} kept their text"
            + (f"; of {self.shadows:,} shadows {self.compared:,} found which was right" * bool(self.shadows))
        )


@dataclass(slots=True)
class Reading:
    """Reads a ledger for learning; `found` counts what went by.

    Args:
        ledger: The ledger.
        wanted: Which decisions.
        judged_by: Verifier whose score is the worth of a reply that no feedback is about; None for none.
        tenant_key: Kept metadata key that says whose a request is.
        progress: Called with how many decisions were read, and how many there are.
    """

    ledger: Ledger
    wanted: Filter = field(default_factory=Filter)
    judged_by: str | None = None
    tenant_key: str = "tenant"
    progress: Callable[[int, int], None] = lambda _done, _total: None
    found: Found = field(default_factory=Found)

    def logged(self) -> Iterator[tuple[DecisionRecord, Logged]]:
        """Yield every decision that called a model, oldest first, with its run as it can be replayed."""
        self.found = Found()
        total = count(self.ledger.store, self.wanted)
        for number, record in enumerate(self.ledger.decisions(self.wanted), 1):
            if number % _EVERY == 0 or number == total:
                self.progress(number, total)
            logged = logged_of(record, self.judged_by)
            if logged.attempts:
                self.found.add(record, logged)
                yield record, logged

    def outcomes(self, *, text: bool = True, shadows: bool = False) -> Iterator[Outcome]:
        """Yield every reply whose worth is known.

        Args:
            text: Whether texts that were kept are read, beside what every record holds. A score learns from
                all of its rows alike: where only some kept their text, read them without.
            shadows: Whether to yield also the two replies of each shadow that found which was right.
        """
        for record, logged in self.logged():
            yield from outcomes_of(record, logged, tenant_key=self.tenant_key, text=text)
            if shadows:
                yield from shadows_of(record, logged, tenant_key=self.tenant_key, text=text)


def logged_of(record: DecisionRecord, judged_by: str | None = None) -> Logged:
    """Return a decision as it was planned and tried, with what is known of the worth of each reply."""
    plan = _PLAN.validate_python(record.plan)
    rows = _attempts(record)
    tried = tuple(_attempt(row) for row in rows)
    worth = tuple(_worth(record, row, judged_by) for row in rows)
    prompt, request = _prompt(record), _request(record)
    if request is not None:
        read = prompt_features(request)
        prompt = replace(read, values={**prompt.values, **read.values})
    return Logged(plan, tried, worth, record.difficulty, plan.least, prompt)


def outcomes_of(
    record: DecisionRecord, logged: Logged, *, tenant_key: str = "tenant", text: bool = True
) -> Iterator[Outcome]:
    """Yield the outcomes of a decision's replies whose worth is known, in the order of the calls."""
    made = _maker(record, logged, tenant_key, text=text)
    for row, attempt, worth in zip(_attempts(record), logged.attempts, logged.quality, strict=True):
        # A function is no tier that a step could start at.
        if worth is not None and not is_function(attempt.endpoint):
            yield made(row, attempt, worth)


def shadows_of(
    record: DecisionRecord, logged: Logged, *, tenant_key: str = "tenant", text: bool = True
) -> Iterator[Outcome]:
    """Yield the reply that a decision returned and the top tier's, where a shadow found which was right.

    Their worths are what it found, whatever feedback says: both were judged by one measure.
    """
    returned = [at for at, row in enumerate(_attempts(record)) if row.returned]
    for shadow in record.shadows if returned else ():
        if shadow.verdict not in _FOUND:
            continue
        worth, strong = _FOUND[shadow.verdict]
        row, attempt = _attempts(record)[returned[0]], logged.attempts[returned[0]]
        cheap = replace(
            _maker(record, logged, tenant_key, text=text)(row, attempt, worth),
            chosen_by=SHADOW,
            propensity=shadow.propensity,
            start="",
            spent_usd=None,
        )
        yield cheap
        yield replace(
            cheap,
            tier=shadow.strong_tier,
            score=strong,
            reply=EMPTY,
            verdicts=EMPTY,
            model=shadow.strong_endpoint or "",
            cost_usd=shadow.call_usd,
        )


def _maker(
    record: DecisionRecord, logged: Logged, tenant_key: str, *, text: bool
) -> Callable[[AttemptRecord, Attempt, float], Outcome]:
    """Return what makes an outcome of an attempt of the decision and its worth."""
    request = _request(record) if text else None
    prompt = logged.prompt if text and logged.prompt is not None else _prompt(record)
    day = datetime.fromtimestamp(record.decided_at_s, UTC).date().isoformat()

    def made(row: AttemptRecord, attempt: Attempt, worth: float) -> Outcome:
        return Outcome(
            record.request or record.id,
            attempt.tier,
            worth,
            prompt,
            _reply(record, row, request),
            {said.verifier: _score(said) for said in attempt.verdicts},
            record.step,
            attempt.model or attempt.endpoint,
            total_usd((row.cost_usd, row.checks_usd)),
            _chosen_by(logged, attempt),
            logged.plan.propensity,
            logged.start if row.returned else "",
            record.cost_usd if row.returned else None,
            record.difficulty,
            str((record.keys or EMPTY).get(tenant_key, "")),
            day,
        )

    return made


def _attempts(record: DecisionRecord) -> list[AttemptRecord]:
    """Return the attempts that count: of two that a resumed run made, the one returned, else the later."""
    kept: dict[int, AttemptRecord] = {}
    for row in record.attempts:
        known = kept.get(row.number)
        if known is None or row.returned or not known.returned:
            kept[row.number] = row
    return [kept[number] for number in sorted(kept)]


def _attempt(row: AttemptRecord) -> Attempt:
    known = {name: getattr(row, name) for name in _SHARED}
    usage = None
    if row.input_tokens is not None and row.output_tokens is not None:
        cached = row.cache_read_tokens or 0, row.cache_write_tokens or 0, row.reasoning_tokens or 0
        usage = Usage(row.input_tokens, row.output_tokens, *cached)
    return _ATTEMPT.validate_python({**known, "usage": usage, "verdicts": row.verdicts or ()})


_SHARED = {each.name for each in fields(Attempt)} & {each.name for each in fields(AttemptRecord)}


def _worth(record: DecisionRecord, row: AttemptRecord, judged_by: str | None) -> float | None:
    if row.returned and (label := labelled(record)) is not None:
        return label.score
    said = [each for each in row.verdicts or () if each["verifier"] == judged_by and not each["unsure"]]
    return next((each["score"] for each in said if each["score"] is not None), None)


def _score(said: Any) -> float:
    return float(said.accepted) if said.score is None else said.score


def _chosen_by(logged: Logged, attempt: Attempt) -> str:
    if attempt.why != "start":
        return attempt.why
    return "explore" if logged.plan.propensity < 0.5 else "plan"  # noqa: PLR2004 - its own choice is likelier


def _prompt(record: DecisionRecord) -> Features:
    """Return what a record says of a prompt without its text."""
    node = None if record.node is None else record.node.rpartition("/")[2]
    if record.difficulty is None:
        return Features()
    return Features(recorded_values(record.difficulty, record.features or EMPTY, node))


def _request(record: DecisionRecord) -> Request | None:
    if record.text_kept not in _TEXT_KEPT or not record.prompt:
        return None
    node = {} if record.node is None else {"langgraph_node": record.node.rpartition("/")[2]}
    return Request(tuple(_message(each["role"], each["text"]) for each in record.prompt), metadata=node)


def _message(role: str, text: str) -> BaseMessage:
    if role == "tool":
        return ToolMessage(text, tool_call_id="")
    made: Callable[[str], BaseMessage] = {"ai": AIMessage, "system": SystemMessage}.get(role, HumanMessage)
    return made(text)


def _reply(record: DecisionRecord, row: AttemptRecord, request: Request | None) -> dict[str, float]:
    """Return a reply as values: of the one that was returned with its text, where that was kept."""
    told = row.output_tokens is not None and row.cost_basis != "estimated"
    values = token_values(row.output_tokens or 0) if told else {}
    if request is not None and row.returned and record.reply:
        values |= reply_values(request, AIMessage(record.reply["text"]))
    return values
