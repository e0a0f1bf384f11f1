"""A thousand hostile strings as ids, names and texts: nothing is changed, leaked or lost."""

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from scenes import Made
from sqlalchemy import inspect, text
from synthetic import decisions

from langroute import Ledger
from langroute.ledger.rows import TABLES, identifier, json_text, row_of
from langroute.ledger.writer import Writer

COUNT = 1_000

SEEDS = (
    *("'", '"', "''", '""', "`", ";", "--", "/*", "*/", "\\", "%", "_", "\x00", "\x1a", "\n", "\r\n", "\t"),
    *(
        "' OR '1'='1",
        "'; DROP TABLE langroute_decisions; --",
        '" OR ""="',
        "') OR 1=1 --",
        "%%%",
        "%s",
        ":id",
    ),
    *(
        "${jndi:x}",
        "$1",
        "?",
        "{0}",
        "NULL",
        "null",
        "0",
        "-1",
        "1e309",
        "NaN",
        "true",
        "[]",
        "{}",
        '"a"',
        "=",
    ),
    *("\ud800", "\udfff", "\ufeff", "\u202e", "\u2028", "e\u0301", "é", "\uff45", "😀", "a" * 600, "é" * 600),
    *(
        "U&'\\0061'",
        "E'\\\\'",
        "x'00'",
        "\\u0000",
        "\\x00",
        "char(0)",
        "pg_sleep(9)",
        "<script>",
        "../..",
        " ",
    ),
)


def hostile(count: int = COUNT, seed: int = 5) -> list[str]:
    """Return different strings made of what has broken databases before."""
    drawn, found = random.Random(seed), dict.fromkeys(SEEDS)  # noqa: S311 - a test must be repeatable
    while len(found) < count:
        found["".join(drawn.choices(SEEDS, k=drawn.randint(1, 4)))[:2_000]] = None
    return list(found)[:count]


@pytest.fixture
def ledger(database_url: str) -> Any:
    with Ledger(database_url) as opened:
        yield opened


def test_no_two_ids_become_one() -> None:
    strings = hostile()
    strings += [identifier(each) for each in strings if identifier(each) != each]
    assert len({identifier(each) for each in strings}) == len(strings)


def test_hostile_strings_are_kept_apart_and_change_nothing(ledger: Ledger) -> None:
    strings = hostile()
    with ledger.store.statements() as connection:
        before = sorted(inspect(connection).get_table_names())
    background = Writer(ledger.store)
    for each, record in zip(strings, decisions(COUNT), strict=True):
        attempts = [
            replace(a, model=each, endpoint=each, verdicts=[{"reason": each}]) for a in record.attempts
        ]
        told = {"thread": each, "run": each, "node": each, "step_reason": each, "model": each}
        more = {"keys": {"user": identifier(each)}, "plan": {"reasons": [each]}, "prompt": each}
        background.put(Made(replace(record, **told, **more, attempts=attempts)))
    assert background.close(120)
    assert background.counts.dropped == 0
    with ledger.store.statements() as connection:
        assert sorted(inspect(connection).get_table_names()) == before
        assert connection.scalar(text("SELECT count(*) FROM langroute_decisions")) == COUNT
    for at, each in enumerate(strings):
        if at % 10 == 0:  # each costs a page of queries
            assert [r.id for r in ledger.decisions(thread=each)] == [r.id for r in ledger.decisions(run=each)]
            [found] = ledger.decisions(node=each)
            assert found.thread == each or found.thread.startswith("=")
    # All 1,000 as filters in one go: each finds its own thread and no other.
    bills = ledger.costs("thread")
    assert len(bills) == COUNT
    assert {bill.decisions for bill in bills} == {1}
    assert {bill.decisions for bill in ledger.costs("key:user")} == {1}


def test_hostile_filters_find_nothing_and_change_nothing(ledger: Ledger) -> None:
    records = list(decisions(50))
    background = Writer(ledger.store)
    for record in records:
        background.put(Made(record))
    background.close(60)
    names = ("id", "step", "outcome", "tier", "endpoint", "policy", "thread", "run", "node")
    for at, each in enumerate(hostile()):
        assert list(ledger.decisions(**{names[at % len(names)]: each})) == []
    for each in hostile(60):
        assert [bill.of for bill in ledger.costs(f"key:{each}")] == [None]
    assert [record.id for record in ledger.decisions()] == [record.id for record in records]


def test_hostile_feedback_reaches_its_own_run_alone(ledger: Ledger) -> None:
    strings = hostile(60)
    background = Writer(ledger.store)
    for each, record in zip(strings, decisions(60), strict=True):
        background.put(Made(replace(record, run=each, thread=None)))
    background.close(60)
    for each in strings:
        ledger.feedback(run=each, score=1, source=each, comment=each)
    assert [len(record.feedback) for record in ledger.decisions()] == [1] * 60


def test_tables_are_named_by_us_alone() -> None:
    assert all(name.startswith("langroute_") and name.isidentifier() for name in TABLES.values())


def test_no_row_holds_a_number_that_is_none() -> None:
    assert json_text({"usd": math.nan, "small": [math.inf, 1.5]}) == '{"usd":null,"small":[null,1.5]}'
    assert json_text({"text": "a\x00", "usd": -math.inf}) == '{"text":"a\ufffd","usd":null}'
    made = next(iter(decisions(1))).attempts[0]
    for number in (math.nan, math.inf, -math.inf):
        odd = replace(made, input_tokens=number, cost_usd=number, checks_usd=number)
        assert all(math.isfinite(value) for value in row_of(odd) if isinstance(value, float))
