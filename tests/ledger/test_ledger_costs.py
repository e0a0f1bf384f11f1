"""What is on the bill, what it is compared with, and that an independent sum comes to the same."""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from scenes import BAD, PRICES, USAGE, policy, routed
from synthetic import START_S, decisions, fill

from langroute import Ledger, RoutedChatModel
from langroute.ledger.costs import ASSUMPTION, Bill
from langroute.ledger.rows import identifier
from langroute.testing import ScriptedChatModel

COUNT = 1_500


@pytest.fixture
def ledger(database_url: str) -> Any:
    with Ledger(database_url, writing="sync") as opened:
        yield opened


def test_everything_is_on_the_bill(ledger: Ledger) -> None:
    judge = {"judge": {"rubric": "Is it right?", "tier": "large"}}
    rate = {"reason": "it is right", "score": 1.0}
    step = {"verify": ["no_refusal", judge], "repair": 1}
    large = ScriptedChatModel(name="large", reply=rate, usage=USAGE)
    routed(ledger, small=[BAD, "It was laid in 1866."], large=large, step=step).invoke("Hi")
    [record] = ledger.decisions()
    assert [attempt.why for attempt in record.attempts] == ["start", "repair"]
    [bill] = ledger.costs()
    assert bill.rejected_usd == pytest.approx(840e-6)
    assert bill.repairs_usd == pytest.approx(840e-6)
    assert bill.checks_usd == pytest.approx(8_400e-6)
    assert bill.cost_usd == pytest.approx(2 * 840e-6 + 8_400e-6) == record.cost_usd
    assert bill.saved_usd == pytest.approx(8_400e-6 - bill.cost_usd)
    assert bill.saved_usd < 0  # the judge cost more than the cheap tier saved


def test_a_repaired_reply_is_compared_without_what_the_repair_added_to_the_prompt(ledger: Ledger) -> None:
    longer = {**USAGE, "input_tokens": 3_000, "total_tokens": 3_100}
    small = [_message(BAD, USAGE), _message("It was laid in 1866.", longer)]
    routed(ledger, small=small, step={"repair": 1}).invoke("Hi")
    [record] = ledger.decisions()
    assert record.top_usd == pytest.approx(8_400e-6)


def _message(text: str, usage: Any) -> Any:
    from langchain_core.messages import AIMessage

    return AIMessage(text, usage_metadata=usage)


def test_unknown_cost_is_counted_and_no_saving_is_told_of_it(ledger: Ledger) -> None:
    model = routed(ledger)
    known = model.invoke("Hi")
    model.invoke("Hi", model="another")  # whose price nobody knows
    [bill] = ledger.costs()
    assert (bill.decisions, bill.unknown, bill.cost_usd, bill.compared) == (2, 1, None, 1)
    assert bill.known_usd == pytest.approx(known.response_metadata["langroute"]["cost_usd"])
    assert bill.saved_usd == pytest.approx(8_400e-6 - 840e-6)


def test_a_bill_without_a_decision_to_compare_has_no_sum_of_the_top_tier(ledger: Ledger) -> None:
    routed(ledger).invoke("Hi", model="another")  # whose price nobody knows
    [bill] = ledger.costs("step")
    assert (bill.cost_usd, bill.compared, bill.top_usd, bill.saved_usd) == (None, 0, None, None)


def test_a_tier_of_which_no_price_is_known_is_in_no_bill(ledger: Ledger) -> None:
    none = {"models": [ScriptedChatModel(name="none", reply="Hi")]}
    RoutedChatModel(policy(tiers={**policy()["tiers"], "none": none}), ledger=ledger).invoke("Hi")
    [bill] = ledger.costs()
    assert set(bill.baselines) == {"small", "large"}


def test_nothing_is_saved_on_a_step_that_gave_no_reply(ledger: Ledger) -> None:
    with pytest.raises(ExceptionGroup):
        routed(ledger, small=BAD, large=BAD, step={"on_exhausted": "raise"}).invoke("Hi")
    [bill] = ledger.costs()
    assert bill.cost_usd == pytest.approx(9_240e-6)
    assert (bill.top_usd, bill.saved_usd) == (0.0, pytest.approx(-9_240e-6))


def test_assumption_says_that_it_is_an_estimate() -> None:
    assert ASSUMPTION.startswith("an estimate")


def test_bills_by_a_user_key_are_told_apart_whatever_the_key_holds(ledger: Ledger) -> None:
    model = routed(ledger, ledger={"keys": ["tenant", 'odd"$.key']})
    tenants = ["acme", 'a"b', "a\x00b", "Ünï", "a\ud800b", "null"]
    for tenant in tenants:
        model.invoke("Hi", {"metadata": {"tenant": tenant, 'odd"$.key': "one"}})
    model.invoke("Hi")
    bills = {bill.of: bill.decisions for bill in ledger.costs("key:tenant")}
    tenants[4] = identifier(tenants[4])  # no text at all: half of a pair, told by its digest
    assert bills == dict.fromkeys([*tenants, None], 1)
    assert {bill.of: bill.decisions for bill in ledger.costs('key:odd"$.key')} == {"one": 6, None: 1}


def test_each_endpoint_is_billed_for_all_that_it_answered(ledger: Ledger) -> None:
    judge = {"judge": {"rubric": "Is it right?", "tier": "large"}}
    large = ScriptedChatModel(name="large", reply={"reason": "it is right", "score": 1.0}, usage=USAGE)
    step = {"verify": ["no_refusal", judge], "repair": 1}
    routed(ledger, small=[BAD, "It was laid in 1866."], large=large, step=step).invoke("Hi")
    bills = {bill.of: bill for bill in ledger.costs("endpoint")}
    small, large_ = bills["small"], bills["large"]
    assert (small.decisions, small.calls, large_.calls) == (1, 2, 0)
    assert (small.known_usd, small.rejected_usd) == pytest.approx((2 * 840e-6, 840e-6))
    assert (large_.known_usd, large_.checks_usd) == pytest.approx((8_400e-6, 8_400e-6))
    assert (small.saved_usd, large_.saved_usd) == (None, None)


def test_bills_of_endpoints_add_up_to_the_bill_of_everything(ledger: Ledger) -> None:
    fill(ledger, COUNT, seed=6)
    [whole], bills = ledger.costs(), ledger.costs("endpoint")
    for name in ("calls", "known_usd", "rejected_usd", "checks_usd", "classifiers_usd", "input_tokens"):
        assert sum(getattr(bill, name) for bill in bills) == pytest.approx(getattr(whole, name)), name
    judged = sum(a.checks_usd for r in ledger.decisions() for a in r.attempts)
    assert {bill.of: bill.checks_usd for bill in bills}["medium-a"] == pytest.approx(judged)
    assert whole.classifiers_usd == pytest.approx({b.of: b.classifiers_usd for b in bills}["small-a"])


def test_unknown_costs_are_counted_on_the_bill_of_their_endpoint(ledger: Ledger) -> None:
    model = routed(ledger)
    model.invoke("Hi")
    model.invoke("Hi", model="another")
    [bill] = ledger.costs("endpoint")
    assert (bill.of, bill.decisions, bill.unknown, bill.cost_usd) == ("small", 2, 1, None)


def test_a_step_whose_name_looks_like_json_is_billed_under_it(ledger: Ledger) -> None:
    RoutedChatModel(policy(), ledger=ledger).for_step('"odd').invoke("Hi")
    assert [bill.of for bill in ledger.costs("step")] == ['"odd']


def test_unknown_group_is_refused_by_name(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="costs by 'colour' are not kept: say one of step"):
        ledger.costs("colour")


# Against an independent computation ----------------------------------------------------------------------


def independent(path: Path, of: str) -> dict[str, tuple[float, ...]]:
    """Return per group what DuckDB makes of the exported file: decisions, calls, USD, saved USD, holes."""
    attempts = "SELECT id, step, thread, spend_usd, top_usd, unnest(attempts) AS a FROM d"
    asked = f"""
        WITH d AS (SELECT * FROM read_json_auto('{path}', maximum_object_size=10000000)),
        a AS ({attempts}),
        each AS (
            SELECT id, count(*) AS calls, sum(coalesce(a.cost_usd, 0) + coalesce(a.checks_usd, 0)) AS usd,
                bool_or(a.cost_usd IS NULL OR a.checks_usd IS NULL) AS hole FROM a GROUP BY id
        )
        SELECT {of}, count(*), sum(calls), sum(usd + spend_usd), sum(CASE WHEN hole OR top_usd IS NULL THEN 0
            ELSE top_usd - usd - spend_usd END), sum(CASE WHEN hole OR top_usd IS NULL THEN 1 ELSE 0 END)
        FROM d JOIN each USING (id) GROUP BY {of}
    """  # noqa: S608 - our own words
    return {row[0]: row[1:] for row in duckdb.sql(asked).fetchall()}


@pytest.mark.parametrize("of", ["step", "thread"])
def test_figures_are_those_of_an_independent_computation(of: str, ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger, COUNT, seed=3)
    ledger.export(tmp_path / "all.jsonl")
    expected = independent(tmp_path / "all.jsonl", of)
    bills = {bill.of: bill for bill in ledger.costs(of)}
    assert bills.keys() == expected.keys()
    for name, (count, calls, usd, saved, holes) in expected.items():
        bill = bills[name]
        assert (bill.decisions, bill.calls) == (count, calls), name
        assert bill.known_usd == pytest.approx(usd)
        assert (bill.saved_usd or 0.0) == pytest.approx(saved)
        assert bill.compared == count - holes


def test_every_tier_everywhere_is_the_sum_over_the_decisions(ledger: Ledger) -> None:
    fill(ledger, COUNT, seed=4)
    expected: dict[str, float] = defaultdict(float)
    for record in decisions(COUNT, seed=4):
        for tier, usd in record.baselines.items():
            expected[tier] += usd or 0.0
    [bill] = ledger.costs()
    assert dict(bill.baselines) == pytest.approx(dict(expected))


def test_bills_of_a_window_and_a_step_are_those_of_its_decisions_alone(ledger: Ledger) -> None:
    fill(ledger, COUNT, seed=5)
    window = {"since_s": START_S + 3_000, "until_s": START_S + 9_000, "step": "synthesis"}
    records = list(ledger.decisions(**window))
    [bill] = ledger.costs(**window)
    assert 0 < len(records) < COUNT
    assert (bill.decisions, bill.calls) == (len(records), sum(len(r.attempts) for r in records))


def test_an_exported_line_is_the_record(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger, 50, seed=6)
    assert ledger.export(tmp_path / "a.jsonl") == 50
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [record.id for record in decisions(50, seed=6)]
    assert lines[0]["attempts"][0]["verdicts"] == next(decisions(50, seed=6)).attempts[0].verdicts


# What an exported row costs -------------------------------------------------------------------------------


def asked_of(file: Path, query: str) -> Any:
    """Run a query over `rows`, the decisions exported."""
    read = duckdb.read_parquet if file.suffix == ".parquet" else duckdb.read_json
    rows = read(str(file))
    return rows.query("rows", query).fetchall()


def test_costs_of_exported_rows_add_up_to_the_bill(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger, COUNT, seed=7)
    ledger.export(tmp_path / "all.jsonl")
    ledger.export(tmp_path / "all.parquet")
    query = """SELECT step, count(*), sum(cost_usd) FROM rows
        WHERE cost_usd IS NOT NULL AND top_usd IS NOT NULL GROUP BY step"""
    rows = {step: figures for step, *figures in asked_of(tmp_path / "all.jsonl", query)}
    bills = {bill.of: bill for bill in ledger.costs("step")}
    assert rows == {step: [bill.compared, pytest.approx(bill.compared_usd)] for step, bill in bills.items()}
    assert any(bill.unknown for bill in bills.values())
    columns = "SELECT id, cost_usd, cost_basis FROM rows ORDER BY id"
    assert asked_of(tmp_path / "all.parquet", columns) == asked_of(tmp_path / "all.jsonl", columns)


def test_the_cost_of_an_exported_row_is_that_of_every_part_of_it(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger, COUNT, seed=8)
    ledger.export(tmp_path / "all.jsonl")
    query = """
        WITH a AS (SELECT id, unnest(attempts) AS a FROM rows),
        parts AS (SELECT id, sum(a.cost_usd + a.checks_usd) AS usd,
            bool_or(a.cost_usd IS NULL OR a.checks_usd IS NULL) AS hole FROM a GROUP BY id)
        SELECT cost_usd, cost_basis, CASE WHEN hole THEN NULL ELSE usd + spend_usd END
        FROM rows JOIN parts USING (id)"""
    found = asked_of(tmp_path / "all.jsonl", query)
    assert len(found) == COUNT
    assert [own for own, *_ in found] == [usd and pytest.approx(usd) for *_, usd in found]
    assert all((basis == "unknown") == (own is None) for own, basis, _ in found)
    assert {basis for _, basis, _ in found} == {"unknown", "priced"}


def test_how_a_whole_cost_is_known_is_how_its_least_sure_part_is() -> None:
    def basis(*attempts: tuple[float | None, str]) -> str:
        record = next(decisions(1))
        made = (
            replace(record.attempts[0], cost_usd=usd, cost_basis=how, checks_usd=0.0) for usd, how in attempts
        )
        return replace(record, attempts=tuple(made)).cost_basis

    assert basis((0.2, "reported")) == "reported"
    assert basis((0.2, "reported"), (0.1, "estimated"), (0.1, "priced")) == "estimated"
    assert basis((0.2, "priced"), (None, "unknown")) == "unknown"
    assert basis((0.0, "unknown"), (0.1, "reported")) == "reported"  # a circuit was open: nothing to know
    assert basis((0.0, "cached")) == "cached"
    assert basis((0.0, "unknown")) == "priced"


def test_prices_of_the_scene_are_what_its_figures_assume() -> None:
    assert PRICES["small"] == {"input": 1, "output": 2, "cache_read": 0.1}
    assert Bill(None).saved_usd is None
