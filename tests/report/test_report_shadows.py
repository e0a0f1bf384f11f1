"""The measured misroute rate of the report: its interval, what it leaves out, and what it cost."""

from dataclasses import replace
from typing import Any

import pytest
from made_decisions import decisions

from langroute.ledger.records import ShadowRecord
from langroute.report.data import ReportData
from langroute.report.figures import Figures


def shadow(number: int, record: Any, verdict: str | None) -> ShadowRecord:
    return ShadowRecord(
        id=str(number),
        decision=record.id,
        made_at_s=record.decided_at_s,
        step=record.step,
        tier="small",
        endpoint="small",
        strong_tier="large",
        strong_endpoint="large",
        propensity=0.02,
        compared_by="judge",
        outcome="failed" if verdict is None else "compared",
        verdict=verdict,
        reason="",
        call_usd=0.01,
        judge_usd=0.02 if verdict else None,
        latency_s=1.0,
        reply=None,
    )


def reported(verdicts: list[str | None]) -> ReportData:
    figures = Figures()
    for number, (record, label) in enumerate(decisions(len(verdicts))):
        shadows = (shadow(number, record, verdicts[number]),)
        figures.add(replace(record, step="answer", shadows=shadows), label)
    return figures.data()


def test_misroute_rate_has_an_interval_and_leaves_out_what_nobody_can_say() -> None:
    verdicts = ["good"] * 80 + ["misrouted"] * 15 + ["neither"] * 5 + ["unsure"] * 7 + [None] * 3
    data = reported(verdicts)
    [row] = data.shadows
    assert (row.misrouted.count, row.misrouted.of) == (15, 100)
    # Worked out by hand: (0.15 + 0.0192 -+ 1.96 sqrt(0.1275 / 100 + 0.0096 / 100)) / 1.0384.
    interval = pytest.approx(0.0931, abs=1e-4), pytest.approx(0.2328, abs=1e-4)
    assert (row.misrouted.low, row.misrouted.high) == interval
    assert (row.neither, row.unsure, row.lost) == (5, 7, (("failed", 3),))
    assert row.cost_usd == pytest.approx(110 * 0.01 + 107 * 0.02)
    assert data.totals.shadows_usd == pytest.approx(row.cost_usd)


def test_shadows_count_against_the_saving() -> None:
    with_shadows, figures = reported(["good"] * 50).top, Figures()
    for record, label in decisions(50):
        figures.add(replace(record, step="answer"), label)
    without = figures.data().top
    assert with_shadows is not None
    assert without is not None
    assert with_shadows.cost_usd == pytest.approx(without.cost_usd + 0.03 * without.compared)
    assert with_shadows.baseline_usd == pytest.approx(without.baseline_usd)
