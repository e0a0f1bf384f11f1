"""Where a verifier's verdicts change from rejected to accepted, as the ledger itself shows it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import JSON, Float, cast, func, select, true

from langroute.ledger.reading import ATTEMPTS, DECISIONS, Filter, conditions
from langroute.ledger.store import Store

__all__ = ["Bounds", "bounds"]

Bounds = Mapping[tuple[str, str, str], float]
"""Digest of a policy, step and verifier to the score at which its verdicts change."""


def bounds(store: Store, wanted: Filter) -> Bounds:
    """Return the score at which the verdicts of each policy, step and verifier change, in one statement.

    It lies midway between the two scores nearest to it. A verifier that gives no scores, that always says the
    same, or whose verdicts do not part at one score is left out.
    """
    found: dict[tuple[str, str, str], dict[bool, tuple[float, float]]] = {}
    with store.snapshot() as connection:
        for policy, step, verifier, accepted, low, high in connection.execute(_asked(store, wanted)):
            said = accepted in (1, "1", "true", True)
            found.setdefault((policy, step, str(verifier)), {})[said] = float(low), float(high)
    between = {key: _between(*ranges.values()) for key, ranges in found.items() if len(ranges) > 1}
    return {key: bound for key, bound in between.items() if bound is not None}


def _between(one: tuple[float, float], other: tuple[float, float]) -> float | None:
    """Return the middle between two ranges; None where they overlap."""
    below, above = sorted((one, other))
    return (below[1] + above[0]) / 2 if below[1] <= above[0] else None


def _asked(store: Store, wanted: Filter) -> Any:
    """Ask for the lowest and highest score of either verdict."""
    if store.postgres:
        each = func.json_array_elements(cast(ATTEMPTS.c.verdicts, JSON)).table_valued("value")
        verifier, accepted, score = (
            func.json_extract_path_text(each.c.value, name) for name in ("verifier", "accepted", "score")
        )
    else:
        each = func.json_each(ATTEMPTS.c.verdicts).table_valued("value")
        verifier, accepted, score = (
            func.json_extract(each.c.value, f"$.{name}") for name in ("verifier", "accepted", "score")
        )
    by = DECISIONS.c.policy, DECISIONS.c.step, verifier, accepted
    number = cast(score, Float)
    both = DECISIONS.join(ATTEMPTS, ATTEMPTS.c.decision == DECISIONS.c.id).join(each, true())
    asked = select(*by, func.min(number), func.max(number)).select_from(both)
    return asked.where(score.is_not(None), *conditions(wanted)).group_by(*by)
