"""What the report adds up in one pass is what the bills add up in SQL, on a ledger made to part them."""

import dataclasses
import random

import pytest
from made_decisions import decisions
from made_ledger import write_ledger

from langroute.cost import total_usd
from langroute.ledger.costs import bills
from langroute.ledger.reading import Filter
from langroute.ledger.records import ShadowRecord
from langroute.ledger.rows import write
from langroute.ledger.store import open_store
from langroute.report.making import read

COUNT = 600
LOST = "its attempts and shadows are there, the decision is not"
STEPS = ('"odd', "{}", "a\x00b", "ünï", "null", "", "OR 1=1", "(other names)")


def hostile(seed=11):
    """Yield decisions with holes of every kind, attempts twice over, odd outcomes and odd names."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    for record, _ in decisions(COUNT, seed):
        step, drawn = dice.choice(STEPS), dice.random()
        tried = [_attempt(dice, a) for a in record.attempts]
        if drawn < 0.1:
            tried = []
        elif drawn < 0.2:  # a resumed run made its last call once more
            tried.append(dataclasses.replace(tried[-1], mark=tried[-1].mark + 1_000, returned=0))
        top_usd = None if dice.random() < 0.1 else record.top_usd
        spend, spend_usd = _asked(dice, "classifier")
        spent = {"spend": spend, "spend_usd": spend_usd, "top_usd": top_usd}
        yield dataclasses.replace(record, step=step, attempts=tuple(tried), **spent)


def _attempt(dice, attempt):
    spend, checks_usd = _asked(dice, "judge")
    return dataclasses.replace(
        attempt,
        outcome=dice.choice(("accepted", "rejected", "failed", "cancelled")),
        why=dice.choice(("start", "escalation", "fallback", "repair", "retry", "continuation")),
        returned=int(dice.random() < 0.3),
        cost_usd=dice.choice((0.0, 3e-12, 0.04, 900.0, None)),
        checks_usd=checks_usd,
        verdicts=[{"verifier": "judge", "accepted": True, "reason": "", "spend": spend}],
    )


def _asked(dice, purpose):
    """Return up to two calls beside the attempts, and what they cost together."""
    costs = [dice.choice((0.0, 1e-9, 250.0, None)) for _ in range(dice.choice((0, 0, 1, 2)))]
    whom = ("small-a", "judge", "a\x00b")
    made = [
        {"purpose": purpose, "endpoint": dice.choice(whom), "usage": None, "cost_usd": usd} for usd in costs
    ]
    return made, total_usd(costs)


def shadows(made):
    dice = random.Random(3)  # noqa: S311 - no secret
    for number, record in enumerate(made):
        if dice.random() < 0.3:
            orphan = LOST if dice.random() < 0.1 else record.id
            call_usd, judge_usd = (dice.choice((0.0, 0.02, None)) for _ in range(2))
            yield ShadowRecord(
                id=f"s{number}",
                decision=orphan,
                made_at_s=record.decided_at_s,
                step=record.step,
                tier="small",
                endpoint="small-a",
                strong_tier="large",
                strong_endpoint="large-a",
                propensity=0.1,
                compared_by="exact",
                outcome="compared",
                verdict="good",
                reason="the same",
                call_usd=call_usd,
                judge_usd=judge_usd,
                latency_s=1.0,
                reply=None,
            )


@pytest.fixture
def store(database_url):
    made = list(hostile())
    opened = open_store(write_ledger(database_url, [(record, None) for record in made]))
    stray = dataclasses.replace(made[0].attempts[0], decision=LOST, cost_usd=7_000.0)
    with opened.transaction() as connection:
        write(connection, [*shadows(made), dataclasses.replace(made[0], id=LOST, attempts=(stray,))])
        connection.exec_driver_sql(f"DELETE FROM langroute_decisions WHERE id = '{LOST}'")
    yield opened
    opened.close()


def test_report_and_bills_agree_on_every_figure_that_both_tell(store):
    data, _ = read(store)
    [whole] = bills(store, None, Filter())
    by_step = {bill.of: bill for bill in bills(store, "step", Filter())}
    assert len(by_step) == len(STEPS) == len(data.steps)
    rows = [(whole, data.totals, data.top)]
    rows += [(by_step[row.step], row.totals, row.saving) for row in data.steps]
    for bill, totals, saving in rows:
        assert bill.decisions == totals.decisions
        assert bill.known_usd == pytest.approx(totals.cost_usd)
        assert bill.checks_usd == pytest.approx(totals.checks_usd)
        assert bill.classifiers_usd == pytest.approx(totals.classifiers_usd)
        assert bill.shadows_usd == pytest.approx(totals.shadows_usd)
        assert bill.calls == totals.failed_calls.of
        assert bill.compared == saving.compared == totals.decisions - saving.left_out
        assert bill.compared_usd == pytest.approx(saving.cost_usd)
        assert bill.top_usd == pytest.approx(saving.baseline_usd)
        assert bill.saved_usd == pytest.approx(saving.baseline_usd - saving.cost_usd)
    assert 0 < whole.compared < whole.decisions == COUNT
    assert whole.shadows_usd > 0


def test_report_and_bills_agree_about_each_endpoint_and_policy(store):
    data, _ = read(store)
    policies = {bill.of: bill for bill in bills(store, "policy", Filter())}
    assert {row.policy: row.decisions for row in data.policies} == {
        of: bill.decisions for of, bill in policies.items()
    }
    for row in data.policies:
        assert policies[row.policy].compared_usd == pytest.approx(row.saving.cost_usd)
    endpoints = {bill.of: bill for bill in bills(store, "endpoint", Filter())}
    for row in data.endpoints:
        bill = endpoints[row.endpoint]
        own = bill.known_usd - bill.shadows_usd  # the report tells shadows by step
        assert (bill.calls, own) == (row.calls, pytest.approx(row.cost_usd))
