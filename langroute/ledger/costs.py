"""What it cost: the bill by step, node, run, thread, user key or endpoint, beside that of other tiers.

Rejected drafts, repairs, failed calls, judges, classifiers and shadows are all on the bill. A cost that
nobody knows is counted, never taken for 0, and a saving is told of decisions alone in which nothing is
unknown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Float,
    FromClause,
    Select,
    String,
    Subquery,
    TableValuedAlias,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    true,
    union,
)

from langroute.ledger.reading import ATTEMPTS, DECISIONS, SHADOWS, Filter, conditions
from langroute.ledger.rows import clean, told
from langroute.ledger.store import Store

__all__ = ["ASSUMPTION", "GROUPS", "Bill", "bills"]

ASSUMPTION = (
    "an estimate: each returned reply, its tokens and its prompt cache at the price of the tier's first"
    " endpoint with a known price, accepted at once; nothing counts as saved on a step that gave no reply"
)
"""What every baseline takes for granted; to be shown wherever one is."""

GROUPS = ("step", "node", "run", "thread", "policy", "outcome", "tier", "endpoint")
"""By what bills can be made out, beside `key:NAME` for a metadata key that is kept with decisions.

`endpoint` is what each endpoint was paid: a decision with two of them is on two bills, what a judge or a
classifier cost is on the bill of the endpoint that answered, and no saving is told."""

_IDS = ("node", "run", "thread")
_KEY = "key:"


@dataclass(frozen=True, slots=True)
class Bill:
    """What some decisions cost, and what other tiers would have."""

    of: str | None
    """The step, node, run, thread, endpoint or key's value; None for what has none, and for all together."""
    decisions: int = 0
    calls: int = 0
    """Attempts made."""
    known_usd: float = 0.0
    """USD of all that is known: attempts, their judges, classifiers, shadows."""
    unknown: int = 0
    """How many attempts, judgements, classifications or shadows have a part whose cost nobody knows."""
    rejected_usd: float = 0.0
    """USD of drafts that were rejected, in `known_usd`."""
    failed_usd: float = 0.0
    """USD of calls that failed or were cancelled, in `known_usd`."""
    repairs_usd: float = 0.0
    """USD of repairs, accepted or not, in `known_usd`."""
    checks_usd: float = 0.0
    """USD of judges and second opinions, in `known_usd`."""
    classifiers_usd: float = 0.0
    """USD of classifiers, in `known_usd`."""
    shadows_usd: float = 0.0
    """USD of shadows, in `known_usd`: what measuring misroutes cost."""
    input_tokens: int = 0
    output_tokens: int = 0
    baselines: Mapping[str, float] = field(default_factory=dict)
    """Tier to estimated USD of that tier everywhere, over the decisions where it is known."""
    compared: int = 0
    """Decisions in which neither the cost nor the top tier's is unknown: those a saving can be told of."""
    compared_usd: float = 0.0
    """USD that those cost."""
    top_usd: float | None = None
    """Estimated USD of those with the top tier everywhere, None of none; see `ASSUMPTION`."""

    @property
    def cost_usd(self) -> float | None:
        """USD of everything; None where a part is unknown."""
        return None if self.unknown else self.known_usd

    @property
    def saved_usd(self) -> float | None:
        """USD that the top tier everywhere would have cost more, of the decisions compared; None of none."""
        return None if self.top_usd is None else self.top_usd - self.compared_usd


def bills(store: Store, by: str | None, wanted: Filter) -> list[Bill]:
    """Return a bill for each group, dearest first; one for everything where `by` is None.

    Raises:
        ValueError: `by` is no group.
    """
    if by == "endpoint":
        return _dearest_first(_paid_bill(line) for line in _by_endpoint(store, wanted).values())
    moments = DECISIONS.c.id, DECISIONS.c.spend_usd, DECISIONS.c.top_usd, DECISIONS.c.baselines
    some = select(_group(store, by).label("of"), *moments).where(*conditions(wanted)).subquery("some")
    found: dict[Any, dict[str, Any]] = {}
    with store.snapshot() as connection:
        for asked in _sums(some):
            for row in connection.execute(asked).mappings():
                found.setdefault(row["of"], {}).update(row)
        for of, tier, usd in connection.execute(_tiers(store, some)):
            if usd is not None:
                found[of].setdefault("baselines", {})[tier] = float(usd)
    has_ids = by in _IDS or (by or "").startswith(_KEY)
    return _dearest_first(_bill(line, told(of) if has_ids else of) for of, line in found.items())


def _dearest_first(made: Iterable[Bill]) -> list[Bill]:
    return sorted(made, key=lambda bill: -bill.known_usd)


def _by_endpoint(store: Store, wanted: Filter) -> dict[str, dict[str, Any]]:
    """Return what each endpoint was paid, as lines of a bill."""
    whose = select(DECISIONS.c.id, DECISIONS.c.spend, DECISIONS.c.spend_usd).where(*conditions(wanted))
    some = whose.subquery("some")
    decided = func.count(ATTEMPTS.c.decision.distinct()).label("decisions")
    own = _count(ATTEMPTS.c.cost_usd.is_(None)).label("unknown_calls_alone")
    beside = {
        "checks_usd": _judged(store, some),
        "classifiers_usd": _classified(store, some),
        "shadows_usd": _shadow_calls(some),
    }
    found: dict[str, dict[str, Any]] = {}
    with store.snapshot() as connection:
        for row in connection.execute(_tried(some, ATTEMPTS.c.endpoint, decided, own)).mappings():
            # Whom its judges' calls were paid to is told by what follows.
            found[row["of"]] = {**row, "unknown_calls": row["unknown_calls_alone"], "checks_usd": 0.0}
        for name, asked in beside.items():
            for of, usd, unknown in connection.execute(asked):
                line = found.setdefault(of, {"of": of})
                line[name] = usd
                line["unknown_spend"] = line.get("unknown_spend", 0) + unknown
    return found


def _paid_bill(line: Mapping[str, Any]) -> Bill:
    """Return the bill of an endpoint: nothing on it can be compared with another tier."""
    return replace(_bill(line, line["of"]), compared=0, compared_usd=0.0, top_usd=None)


def _judged(store: Store, some: Subquery) -> Select[Any]:
    """Ask what each endpoint was paid for the calls that verifiers made."""
    used = or_(ATTEMPTS.c.checks_usd.is_(None), ATTEMPTS.c.checks_usd != 0)
    verdict = _each(store, ATTEMPTS.c.verdicts, "verdict")
    spend = _each(store, _part(store, verdict, "spend"), "judged")
    told_by = _with_attempts(some).join(verdict, true()).join(spend, true())
    return _paid(store, spend).select_from(told_by).where(used)


def _classified(store: Store, some: Subquery) -> Select[Any]:
    """Ask what each endpoint was paid for classifying."""
    used = or_(some.c.spend_usd.is_(None), some.c.spend_usd != 0)
    spend = _each(store, some.c.spend, "classified")
    return _paid(store, spend).select_from(some.join(spend, true())).where(used)


def _shadow_calls(some: Subquery) -> Select[Any]:
    """Ask what each endpoint was paid for shadows; who judged them is not kept, so judges are under none."""
    usd = SHADOWS.c.call_usd
    asked = select(SHADOWS.c.strong_endpoint, _sum(usd), _count(usd.is_(None)))
    called = asked.select_from(_with_shadows(some)).where(SHADOWS.c.strong_endpoint.is_not(None))
    return called.group_by(SHADOWS.c.strong_endpoint)


def _each(store: Store, listed: ColumnElement[Any], name: str) -> TableValuedAlias:
    """Return the items of a JSON list, one row each."""
    items = func.json_array_elements(cast(listed, JSON)) if store.postgres else func.json_each(listed)
    return items.table_valued("value", name=name)


def _paid(store: Store, spend: TableValuedAlias) -> Select[Any]:
    """Ask for endpoint, USD and how many costs are unknown, of calls made beside the attempts."""
    of, usd = _part(store, spend, "endpoint"), cast(_part(store, spend, "cost_usd"), Float)
    return select(of, _sum(usd), _count(usd.is_(None))).group_by(of)


def _part(store: Store, item: TableValuedAlias, name: str) -> ColumnElement[Any]:
    """Return what a JSON object says under a name, as text on PostgreSQL."""
    if store.postgres:
        return func.json_extract_path_text(item.c.value, literal_column(f"'{name}'"))
    return func.json_extract(item.c.value, literal_column(f"'$.{name}'"))


def _group(store: Store, by: str | None) -> ColumnElement[Any]:
    """Return what groups decisions, an expression over their table."""
    if by is None:
        return literal_column("NULL")
    if by in GROUPS:
        return DECISIONS.c[by]
    if not by.startswith(_KEY):
        raise ValueError(f"costs by {by!r} are not kept: say one of {', '.join(GROUPS)}, or key:NAME")
    name = bindparam("key", clean(by.removeprefix(_KEY)), String)
    if store.postgres:
        return func.json_extract_path_text(cast(DECISIONS.c["keys"], JSON), name)
    each = func.json_each(DECISIONS.c["keys"]).table_valued("key", "value")
    return select(each.c.value).where(each.c.key == name).scalar_subquery()


def _sums(some: Subquery) -> tuple[Select[Any], ...]:
    """Return what is asked of each group: all of it, and the part of which something is unknown."""
    whole = _decided(some), _tried(some, some.c.of), _shadowed(some)
    return *whole, _decided_in_part(some), _tried_in_part(some), _shadowed_in_part(some)


def _decided(some: Subquery) -> Select[Any]:
    """Ask what each group's decisions come to, without their attempts."""
    return select(
        some.c.of,
        func.count().label("decisions"),
        _sum(some.c.spend_usd).label("classifiers_usd"),
        _count(some.c.spend_usd.is_(None)).label("unknown_spend"),
        _sum(some.c.top_usd).label("all_top_usd"),
    ).group_by(some.c.of)


def _tried(some: Subquery, of: ColumnElement[Any], *more: ColumnElement[Any]) -> Select[Any]:
    """Ask what the attempts of each `of` come to."""
    cost, outcome = ATTEMPTS.c.cost_usd, ATTEMPTS.c.outcome
    return (
        select(
            of.label("of"),
            func.count().label("calls"),
            _sum(cost).label("calls_usd"),
            _sum(ATTEMPTS.c.checks_usd).label("checks_usd"),
            _count(_UNKNOWN).label("unknown_calls"),
            _sum(case((outcome == "rejected", cost))).label("rejected_usd"),
            _sum(case((outcome.in_(("failed", "cancelled")), cost))).label("failed_usd"),
            _sum(case((ATTEMPTS.c.why == "repair", cost))).label("repairs_usd"),
            _sum(ATTEMPTS.c.input_tokens).label("input_tokens"),
            _sum(ATTEMPTS.c.output_tokens).label("output_tokens"),
            *more,
        )
        .select_from(_with_attempts(some))
        .group_by(of)
    )


def _shadowed(some: Subquery) -> Select[Any]:
    """Ask what their shadows come to."""
    asked = select(some.c.of, _SHADOWS.label("shadows_usd"), _count(_UNKNOWN_SHADOW).label("unknown_shadows"))
    return asked.select_from(_with_shadows(some)).group_by(some.c.of)


def _decided_in_part(some: Subquery) -> Select[Any]:
    """Ask for the decisions with something unknown: none of them tells of a saving."""
    return (
        select(
            some.c.of,
            func.count().label("holes"),
            _sum(some.c.top_usd).label("holes_top_usd"),
            _sum(some.c.spend_usd).label("holes_spend_usd"),
        )
        .where(some.c.id.in_(_holes()))
        .group_by(some.c.of)
    )


def _tried_in_part(some: Subquery) -> Select[Any]:
    known = _sum(ATTEMPTS.c.cost_usd) + _sum(ATTEMPTS.c.checks_usd)
    asked = select(some.c.of, known.label("holes_usd")).select_from(_with_attempts(some))
    return asked.where(ATTEMPTS.c.decision.in_(_holes())).group_by(some.c.of)


def _shadowed_in_part(some: Subquery) -> Select[Any]:
    asked = select(some.c.of, _SHADOWS.label("holes_shadows_usd")).select_from(_with_shadows(some))
    return asked.where(SHADOWS.c.decision.in_(_holes())).group_by(some.c.of)


def _holes() -> Any:
    """Return the ids of decisions whose cost, or whose top tier's, is unknown."""
    own = or_(DECISIONS.c.spend_usd.is_(None), DECISIONS.c.top_usd.is_(None))
    theirs = select(ATTEMPTS.c.decision.label("id")).where(_UNKNOWN)
    shadowed = select(SHADOWS.c.decision.label("id")).where(_UNKNOWN_SHADOW)
    return select(union(theirs, shadowed, select(DECISIONS.c.id).where(own)).subquery().c.id)


def _tiers(store: Store, some: Subquery) -> Select[Any]:
    """Ask what each tier everywhere would have cost."""
    told_of = some.c.baselines
    each = (
        func.json_each_text(cast(told_of, JSON)) if store.postgres else func.json_each(told_of)
    ).table_valued("key", "value")
    usd = func.sum(cast(each.c.value, Float))
    asked = select(some.c.of, each.c.key, usd).select_from(some.join(each, true()))
    return asked.group_by(some.c.of, each.c.key)


def _with_attempts(some: Subquery) -> FromClause:
    return some.join(ATTEMPTS, ATTEMPTS.c.decision == some.c.id)


def _with_shadows(some: Subquery) -> FromClause:
    return some.join(SHADOWS, SHADOWS.c.decision == some.c.id)


def _sum(values: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(values), 0)


_UNKNOWN = or_(ATTEMPTS.c.cost_usd.is_(None), ATTEMPTS.c.checks_usd.is_(None))
_UNKNOWN_SHADOW = or_(SHADOWS.c.call_usd.is_(None), SHADOWS.c.judge_usd.is_(None))
_SHADOWS = _sum(SHADOWS.c.call_usd) + _sum(SHADOWS.c.judge_usd)


def _count(holds: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.sum(case((holds, 1), else_=0))


def _bill(line: Mapping[str, Any], of: str | None) -> Bill:
    def usd(name: str) -> float:
        return float(line.get(name) or 0.0)

    def count(name: str) -> int:
        return int(line.get(name) or 0)

    known_usd = usd("calls_usd") + usd("checks_usd") + usd("classifiers_usd") + usd("shadows_usd")
    compared = count("decisions") - count("holes")
    return Bill(
        of,
        count("decisions"),
        count("calls"),
        known_usd,
        count("unknown_calls") + count("unknown_spend") + count("unknown_shadows"),
        usd("rejected_usd"),
        usd("failed_usd"),
        usd("repairs_usd"),
        usd("checks_usd"),
        usd("classifiers_usd"),
        usd("shadows_usd"),
        count("input_tokens"),
        count("output_tokens"),
        line.get("baselines", {}),
        compared,
        known_usd - usd("holes_usd") - usd("holes_spend_usd") - usd("holes_shadows_usd"),
        usd("all_top_usd") - usd("holes_top_usd") if compared else None,
    )
