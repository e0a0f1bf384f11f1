"""A million decisions: the report in bounded memory, its figures those that SQL adds up."""

import json
import os
import sqlite3
import subprocess
import sys
import time

import pytest
from made_decisions import DAY_S, decisions
from made_ledger import write_ledger

BASE = 4_000
MOST_MB = 700
RUN = """
import json, resource, sys
from langroute.cli import main
try:
    main(["report", "--ledger", sys.argv[1], "--html", sys.argv[2], "--json"])
finally:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    print(json.dumps([peak, used]), file=sys.stderr)
"""


def repeated(path, times: int) -> None:
    """Repeat a ledger's decisions `times` in all, each time 60 days later and under other ids."""
    with sqlite3.connect(path) as connection:
        for table, key in (("decisions", "id"), ("attempts", "decision"), ("feedback", "id")):
            name = f"langroute_{table}"
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            changed = {
                key: f"{key} || '-' || ?1",
                "decided_at_s": f"decided_at_s + ?1 * {60 * DAY_S}",
                **({"decision": "decision || '-' || ?1"} if table == "feedback" else {}),
            }
            chosen = ", ".join(changed.get(column, column) for column in columns)
            last = connection.execute(f"SELECT max(rowid) FROM {name}").fetchone()[0]
            for number in range(1, times):
                connection.execute(
                    f"INSERT INTO {name} SELECT {chosen} FROM {name} WHERE rowid <= {last}", (number,)
                )


@pytest.mark.campaign
def test_a_million_decisions_in_bounded_memory(tmp_path):
    count = int(os.environ.get("LANGROUTE_REPORT_DECISIONS", "1000000"))
    ledger, page = tmp_path / "large.db", tmp_path / "large.html"
    write_ledger(ledger, decisions(BASE))
    repeated(ledger, count // BASE)
    began_s = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(ledger), str(page)], capture_output=True, text=True, check=True
    )
    took_s = time.monotonic() - began_s
    peak_mb, used_s = json.loads(ran.stderr.splitlines()[-1])
    data = json.loads(ran.stdout)
    with sqlite3.connect(ledger) as connection:
        spent = "sum(cost_usd) + sum(checks_usd), count(*), sum(outcome = 'failed')"
        attempts = f"SELECT {spent} FROM langroute_attempts"
        usd, calls, failed = connection.execute(attempts).fetchone()
        (classifiers,) = connection.execute("SELECT sum(spend_usd) FROM langroute_decisions").fetchone()
        escalated = "SELECT count(DISTINCT decision) FROM langroute_attempts WHERE why = 'escalation'"
        (escalated,) = connection.execute(escalated).fetchone()
        (labels,) = connection.execute("SELECT count(*) FROM langroute_feedback").fetchone()
    totals = data["totals"]
    print(f"{count:,} decisions: {used_s:.0f} s of processor time, {took_s:.0f} s, {peak_mb:.0f} MB")  # noqa: T201
    assert totals["decisions"] == count
    assert totals["cost_usd"] == pytest.approx(usd + classifiers, rel=1e-9)
    assert (totals["failed_calls"]["count"], totals["failed_calls"]["of"]) == (failed, calls)
    assert totals["escalated"]["count"] == escalated
    assert data["labels"] == labels
    assert peak_mb < MOST_MB
    assert page.stat().st_size < 40e6
