"""Large ledgers: queries go by index, and reports and exports need no more memory for more decisions."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from databases import fresh_url
from sqlalchemy import text
from synthetic import START_S, fill

from langroute import Ledger
from langroute.ledger.reading import DECISIONS, Filter, conditions

QUESTIONS = {
    "id": "langroute_decisions",
    "thread": "langroute_decisions_thread",
    "run": "langroute_decisions_run",
    "step": "langroute_decisions_step",
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_filters_go_by_index(name: str, database_url: str) -> None:
    with Ledger(database_url) as ledger:
        fill(ledger, 300)
        plan = " ".join(planned(ledger, Filter(**{name: "one"})))
    assert "SCAN langroute_decisions" not in plan.split(" USING ")[0]
    assert QUESTIONS[name] in plan


def test_window_of_time_goes_by_index(database_url: str) -> None:
    with Ledger(database_url) as ledger:
        fill(ledger, 300)
        plan = " ".join(planned(ledger, Filter(since_s=START_S, until_s=START_S + 10)))
    assert "langroute_decisions_moment" in plan


def planned(ledger: Ledger, wanted: Filter) -> list[str]:
    asked = DECISIONS.select().where(*conditions(wanted))
    with ledger.store.statements() as connection:
        if ledger.store.postgres:
            connection.execute(text("ANALYZE langroute_decisions"))
            connection.execute(text("SET enable_seqscan = off"))
        written = str(asked.compile(connection, compile_kwargs={"literal_binds": True}))
        explain = "EXPLAIN " if ledger.store.postgres else "EXPLAIN QUERY PLAN "
        rows = connection.execute(text(explain + written.replace(":", "\\:"))).all()
        return [str(row[-1]) for row in rows]


MEASURING = """
import json, resource, sys, time
sys.path[:0] = sys.argv[3:]
from langroute import Ledger
from langroute.ledger.reading import Filter
from langroute.report.drawing import draw
def peak_mb(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
seen = []
with Ledger(sys.argv[1]) as ledger:
    next(ledger.decisions())
    import pyarrow.parquet
    before, told = peak_mb(), {}
    for name, work in {
        "costs": lambda: ledger.costs("step"),
        "labels": lambda: draw(ledger.store, 200, wanted=Filter()),
        "jsonl": lambda: ledger.export(sys.argv[2] + "/out.jsonl", progress=seen.append),
        "parquet": lambda: ledger.export(sys.argv[2] + "/out.parquet", progress=seen.append),
    }.items():
        began = time.monotonic()
        work()
        told[name] = {"seconds": time.monotonic() - began, "grown_mb": peak_mb() - before}
    told["steps"] = {b.of: [b.decisions, b.calls, b.known_usd] for b in ledger.costs("step")}
    told["progress"] = len(seen)
print(json.dumps(told))
"""


@pytest.mark.parametrize(
    ("kind", "count", "most_mb"),
    [
        ("sqlite", 12_000, 250),
        pytest.param("sqlite", 1_000_000, 250, marks=pytest.mark.campaign),
        pytest.param("postgresql", 200_000, 250, marks=pytest.mark.campaign),
    ],
)
def test_costs_exports_and_samples_are_bounded_in_memory_and_right(
    kind: str, count: int, most_mb: int, tmp_path: Path
) -> None:
    with fresh_url(kind, tmp_path) as url:
        with Ledger(url) as ledger:
            fill(ledger, count, seed=9)
        measured = measure(url, tmp_path)
    print(f"{kind}, {count:,} decisions: {measured}")  # noqa: T201 - a campaign tells its figures
    asked = f"""
        WITH a AS (SELECT id, step, spend_usd, unnest(attempts) AS a FROM '{tmp_path}/out.parquet')
        SELECT step, count(DISTINCT id), count(*),
            sum(coalesce(a.cost_usd, 0) + coalesce(a.checks_usd, 0)) + any_value(s) FROM a JOIN (
                SELECT step, sum(spend_usd) AS s FROM '{tmp_path}/out.parquet' GROUP BY step
            ) USING (step) GROUP BY step
    """  # noqa: S608 - our own file
    expected = {row[0]: list(row[1:]) for row in duckdb.sql(asked).fetchall()}
    assert measured["steps"].keys() == expected.keys()
    for step, figures in measured["steps"].items():
        assert figures == pytest.approx(expected[step])
    assert measured["parquet"]["grown_mb"] < most_mb
    assert measured["progress"] >= 2 * (count // 5_000)


def measure(url: str, folder: Path) -> Any:
    here = Path(__file__).parent
    code = [sys.executable, "-c", MEASURING, url, str(folder), str(here)]
    ran = subprocess.run(code, capture_output=True, text=True, check=False, timeout=3_000)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)
