"""`langroute worksheet`: the report's worksheet as CSV, and what is read back of it."""

import csv
import dataclasses
import json

import pandas as pd
import pytest
from made_ledger import write_ledger
from typer.testing import CliRunner

from langroute.cli import app
from langroute.errors import LangrouteError
from langroute.report.worksheet import read_worksheet, rows_of


@pytest.fixture(scope="module")
def sheet(ledger, tmp_path_factory):
    """The path of a worksheet of the made ledger."""
    path = tmp_path_factory.mktemp("sheet") / "w.csv"
    policy = path.with_name("p.yaml")
    policy.write_text("""
tiers: {small: 'openai:nano', large: 'openai:big'}
steps: {synthesis: {cascade: [small, large], verify: [{confidence: 0.7}], reviewed: 2026-10-01}}
""")
    ran = CliRunner().invoke(app, ["worksheet", str(path), "--ledger", ledger, "--policy", str(policy)])
    assert (ran.exit_code, "5 steps written" in ran.output) == (0, True), ran.output
    return path


@pytest.fixture(scope="module")
def frames(made):
    """Decisions and attempts as pandas has them."""
    attempts = pd.DataFrame(
        {"decision": record.id, **{name: getattr(tried, name) for name in ATTEMPT}}
        for record, _ in made
        for tried in record.attempts
    )
    decisions = pd.DataFrame(
        {"id": r.id, "step": r.step, "outcome": r.outcome, "endpoint": r.endpoint, "label": label}
        for r, label in made
    )
    return decisions, attempts


ATTEMPT = ("step", "endpoint", "outcome", "latency_s", "judged_s", "checks_usd", "input_tokens")


def test_its_figures_are_the_reports(sheet, ledger):
    told = json.loads(CliRunner().invoke(app, ["report", "--ledger", ledger, "--json"]).output)["steps"]
    written = pd.read_csv(sheet).set_index("step")
    for row in told:
        cells = written.loc[row["step"]]
        assert cells.requests == row["totals"]["decisions"]
        assert cells.traffic_share == row["share"]
        assert (cells.primary_model, cells.fallback_model) == (row["primary"], row["fallback"])
        assert (cells.mean_input_tokens, cells.mean_output_tokens) == (
            row["input_tokens"],
            row["output_tokens"],
        )
        assert (cells.latency_p50_s, cells.latency_p95_s) == (row["latency_p50_s"], row["latency_p95_s"])
        assert (cells.pass_rate, cells.cost_per_request_usd) == (
            row["passed"]["rate"],
            row["cost_per_request_usd"],
        )
    assert written.loc["synthesis"].quality_threshold == "confidence at least 0.7"
    assert written.loc["synthesis"].last_review == "2026-10-01"


def test_what_each_model_made_of_a_step_is_what_pandas_counts(sheet, frames):
    decisions, attempts = frames
    replied = attempts[attempts.outcome.isin(["accepted", "rejected"])]
    for row in read_worksheet(sheet):
        own = replied[replied.step == row.step]
        assert set(row.tried) == set(own.endpoint)
        assert row.checks_usd == pytest.approx(own.checks_usd.mean())
        for model, told in row.tried.items():
            its = own[own.endpoint == model]
            visits = its.groupby("decision").outcome
            assert told.pass_rate == pytest.approx(visits.agg(lambda o: (o == "accepted").any()).mean())
            assert told.calls == pytest.approx(visits.size().mean())
            assert told.latency_s == pytest.approx((its.latency_s + its.judged_s).mean())
            got = decisions[(decisions.step == row.step) & (decisions.endpoint == model)]
            labels = got[(got.outcome == "accepted") & got.label.notna()].label
            assert told.quality == (None if len(labels) < 20 else pytest.approx(labels.mean()))


def test_what_is_read_back_is_what_was_written(sheet, data):
    assert read_worksheet(sheet) == rows_of(data.steps)


def test_difficulties_stand_each_for_an_equal_part(sheet, made):
    for row in read_worksheet(sheet):
        found = sorted(record.difficulty for record, _ in made if record.step == row.step)
        at = [found[int((part + 0.5) / 20 * len(found))] for part in range(20)]
        assert list(row.difficulties) == pytest.approx(at, abs=0.005)


def test_names_that_are_formulas_are_harmless_and_come_back(made, tmp_path):
    hostile = '=HYPERLINK("http://evil")'
    record = dataclasses.replace(made[0][0], step=hostile)
    where = write_ledger(tmp_path / "h.db", [(record, None)])
    CliRunner().invoke(app, ["worksheet", str(tmp_path / "w.csv"), "--ledger", where])
    with (tmp_path / "w.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == [f"'{hostile}"]
    assert [row.step for row in read_worksheet(tmp_path / "w.csv")] == [hostile]


GOOD = "step,requests,mean_input_tokens,mean_output_tokens,openai:nano pass_rate\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("step,requests\na,1\n", "has no column mean_input_tokens and no column mean_output_tokens"),
        (GOOD, "has no row"),
        (f"{GOOD},1,1,1,1\n", "row 2: it names no step"),
        (
            f"{GOOD}a,many,1,1,1\n",
            "requests is 'many': write a number of 0 or more, or leave it empty",
        ),
        (f"{GOOD}a,-1,1,1,1\n", "row 2: requests is '-1'"),
        (f"{GOOD}a,1,1,1,82\n", "row 2: openai:nano pass_rate is '82': write a number from 0 to 1"),
        (f"{GOOD}a,1,inf,1,\n", "row 2: mean_input_tokens is 'inf'"),
        (f"{GOOD}a,1,1,1,\na,1,1,1,\n", "row 3: row 2 is about 'a' too"),
    ],
)
def test_what_is_wrong_with_a_worksheet_is_said(content, told, tmp_path):
    path = tmp_path / "w.csv"
    path.write_text(content)
    with pytest.raises(LangrouteError) as error:
        read_worksheet(path)
    assert told in str(error.value)
