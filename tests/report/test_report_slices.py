"""Slices of time: at most 400 however long the period, and no decision is lost when they grow."""

import dataclasses

import pytest
from made_decisions import START_S, decisions

from langroute.report.slices import MOST_SLICES, SHOWN_SLICES, Slices


@pytest.mark.parametrize("days", [0.0, 1e-4, 0.02, 1.0, 45.0, 400.0, 4_000.0, 40_000.0, 1e12])
def test_any_period_has_few_slices_and_all_its_decisions(days):
    slices = Slices()
    made = [record for record, _ in decisions(500, days=days)]
    for record in made:
        slices.add(record, record.step, record.cost_usd)
    starts_s, parts = slices.all()
    assert len(parts) <= MOST_SLICES
    assert sum(part.decisions for part in parts) == 500
    assert sum(part.steps.total() for part in parts) == 500
    assert sum(part.latency.total() for part in parts) == 500
    assert starts_s[0] <= made[0].decided_at_s < starts_s[0] + slices.length_s
    shown = slices.shown()
    assert len(shown.starts_s) <= SHOWN_SLICES
    assert sum(shown.decisions) == 500


def test_the_order_of_decisions_does_not_matter():
    made = [record for record, _ in decisions(300, days=90)]
    forward, backward = Slices(), Slices()
    for record in made:
        forward.add(record, record.step, record.cost_usd)
    for record in reversed(made):
        backward.add(record, record.step, record.cost_usd)
    assert forward.shown().starts_s == backward.shown().starts_s
    assert forward.shown().decisions == backward.shown().decisions


def test_weeks_begin_on_mondays():
    (record, _), *_ = decisions(1)
    slices = Slices()
    for week in range(900):
        slices.add(dataclasses.replace(record, decided_at_s=START_S + week * 604_800 / 3), "step", None)
    starts_s, _ = slices.all()
    assert slices.length_s == 604_800
    assert {start_s % 604_800 for start_s in starts_s} == {4 * 86_400}
