"""The figures, against DuckDB's own computation over the same rows, and on decisions made by hand."""

import dataclasses
import json

import duckdb
import pytest
from made_decisions import decisions

from langroute.ledger.store import open_store
from langroute.report.figures import Figures
from langroute.report.labels import LEAST_LABELS
from langroute.report.making import read
from langroute.report.tally import MOST_NAMES, OTHERS

# Against DuckDB ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sql(made, tmp_path_factory):
    """Run a query over `decisions`, `attempts` and `labels`; gives its rows."""
    folder = tmp_path_factory.mktemp("rows")
    tables = {"decisions": [], "attempts": [], "verdicts": []}
    for record, label in made:
        row = {
            f.name: getattr(record, f.name)
            for f in dataclasses.fields(record)
            if f.name not in ("attempts", "feedback", "shadows")
        }
        kept = {k: v for k, v in row.items() if not isinstance(v, dict | list)}
        tables["decisions"].append(kept | {"label": label, "planned": record.plan["rungs"][0]["tier"]})
        for tried in record.attempts:
            row = dataclasses.asdict(tried) | {"decision": record.id}
            for said in row.pop("verdicts"):
                tables["verdicts"].append(said | {"returned": tried.returned, "label": label})
            row.pop("failure")
            tables["attempts"].append(row)
    connection = duckdb.connect()
    for name, rows in tables.items():
        path = folder / f"{name}.json"
        path.write_text("\n".join(map(json.dumps, rows)))
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM read_json('{path}', sample_size=-1)")
    # The bill of a decision is unknown as soon as a part of it is.
    connection.execute("""
        CREATE TABLE bills AS SELECT d.*, b.*, b.spent + d.spend_usd AS usd FROM decisions d JOIN (
            SELECT decision,
                CASE WHEN count(*) = count(cost_usd) AND count(*) = count(checks_usd)
                    THEN sum(cost_usd + checks_usd) END AS spent,
                max((why = 'escalation')::int) AS escalated, max((why = 'fallback')::int) AS fell_back,
                max((why = 'repair')::int) AS repaired, count(*) AS calls,
                sum((outcome = 'failed')::int) AS failed_calls
            FROM attempts GROUP BY decision) b ON b.decision = d.id""")
    return lambda query: connection.execute(query).fetchall()


def test_what_was_paid_is_what_duckdb_adds_up(data, sql):
    ((attempts, checks),) = sql("SELECT sum(cost_usd), sum(checks_usd) FROM attempts")
    ((classifiers, unknown),) = sql("SELECT sum(spend_usd), count(*) - count(usd) FROM bills")
    totals = data.totals
    assert totals.cost_usd == pytest.approx(attempts + checks + classifiers)
    assert totals.unknown == unknown > 0
    assert totals.checks_usd == pytest.approx(checks)
    assert totals.classifiers_usd == pytest.approx(classifiers)
    kind = "CASE WHEN returned = 1 THEN 'a' WHEN outcome = 'failed' THEN 'f' ELSE 'd' END"
    assert dict(sql(f"SELECT {kind} AS kind, sum(cost_usd) FROM attempts GROUP BY kind")) == pytest.approx(
        {"a": totals.accepted_usd, "d": totals.drafts_usd, "f": totals.failed_usd}
    )


def test_the_saving_is_what_duckdb_finds_over_decisions_with_both_costs(data, sql):
    known = "FROM bills WHERE usd IS NOT NULL AND top_usd IS NOT NULL"
    ((compared, usd, top),) = sql(f"SELECT count(*), sum(usd), sum(top_usd) {known}")
    assert (data.top.compared, data.top.left_out) == (compared, 4_000 - compared)
    assert (data.top.cost_usd, data.top.baseline_usd) == pytest.approx((usd, top))
    assert data.savings[-1].baseline_usd == pytest.approx(top)
    assert [saving.tier for saving in data.savings] == ["small", "medium", "large"]
    for part, moment in ((data.before, "<"), (data.recent, ">=")):
        ((usd, top),) = sql(
            f"SELECT sum(usd), sum(top_usd) {known} AND decided_at_s {moment} {data.recent_s}"
        )
        assert (part.cost_usd, part.baseline_usd) == pytest.approx((usd, top))


def test_rates_of_every_step_are_those_that_duckdb_counts(data, sql):
    counted = sql("""SELECT step, count(*), sum(escalated), sum(fell_back), sum(repaired), sum(failed_calls),
        sum(calls), sum((outcome = 'accepted')::int) FROM bills GROUP BY step""")
    found = {
        row.step: (
            *(row.totals.decisions, row.totals.escalated.count, row.totals.fell_back.count),
            *(row.totals.repaired.count, row.totals.failed_calls.count, row.totals.failed_calls.of),
            row.totals.accepted.count,
        )
        for row in data.steps
    }
    assert found == {row[0]: row[1:] for row in counted}


def test_the_worksheet_is_what_duckdb_computes(data, sql):
    means = "avg(input_tokens), avg(output_tokens) FROM attempts GROUP BY step"
    tokens = {step: rest for step, *rest in sql(f"SELECT step, {means}")}
    quantiles = "quantile_disc(latency_s, [0.5, 0.95]), avg(usd), count(*) / 4000.0 FROM bills GROUP BY step"
    latency = {step: rest for step, *rest in sql(f"SELECT step, {quantiles}")}
    for row in data.steps:
        assert [row.input_tokens, row.output_tokens] == pytest.approx(tokens[row.step])
        (p50, p95), usd, share = latency[row.step]
        assert (row.latency_p50_s, row.latency_p95_s) == pytest.approx((p50, p95), rel=0.02)
        assert (row.cost_per_request_usd, row.share) == pytest.approx((usd, share))
    paid = [row.totals.cost_usd for row in data.steps]
    assert paid == sorted(paid, reverse=True)


def test_pass_rates_are_those_of_first_replies(data, sql):
    first = """SELECT step, sum((outcome = 'accepted')::int), count(*) FROM (SELECT *, row_number() OVER
        (PARTITION BY decision ORDER BY number) AS place FROM attempts WHERE outcome <> 'failed')
        WHERE place = 1 GROUP BY step"""
    assert {(row.step, row.passed.count, row.passed.of) for row in data.steps} == set(sql(first))


def test_the_cheap_models_mistakes_are_those_that_duckdb_counts(data, sql):
    cheap = "FROM bills WHERE label >= 0 AND outcome = 'accepted' AND tier <> 'large' AND top_usd IS NOT NULL"
    ((wrong, labels),) = sql(f"SELECT sum((label < 0.5)::int), count(*) {cheap}")
    assert (data.totals.misrouted.count, data.totals.misrouted.of) == (wrong, labels)
    assert labels >= LEAST_LABELS


def test_verifiers_and_labels_are_set_against_each_other_as_duckdb_does(data, sql):
    counted = sql("""SELECT verifier, count(*), sum((NOT accepted)::int),
        sum((returned = 1 AND label IS NOT NULL)::int),
        sum((returned = 1 AND accepted AND label < 0.5)::int)
        FROM verdicts GROUP BY verifier ORDER BY verifier""")
    found = [
        (row.verifier, row.rejected.of, row.rejected.count, row.labels, row.agreement.false_accept.count)
        for row in data.verifiers
        if row.agreement is not None
    ]
    assert len(found) >= 3
    counted = [row for row in counted if row[3] >= LEAST_LABELS]
    assert found == counted


def test_endpoints_policies_and_alarms_are_those_that_duckdb_counts(data, sql):
    endpoints = sql("""SELECT endpoint, count(*), sum((outcome = 'failed')::int), coalesce(sum(cost_usd), 0)
        FROM attempts GROUP BY endpoint ORDER BY endpoint""")
    found = [(row.endpoint, row.calls, row.failed.count) for row in data.endpoints]
    assert found == [row[:3] for row in endpoints]
    assert [row.cost_usd for row in data.endpoints] == pytest.approx([row[3] for row in endpoints])
    policies = sql("SELECT policy, count(*), avg(usd) FROM bills GROUP BY policy")
    assert {row.policy: row.decisions for row in data.policies} == {row[0]: row[1] for row in policies}
    assert {row.policy: row.cost_per_request_usd for row in data.policies} == pytest.approx(
        {row[0]: row[2] for row in policies}
    )
    alarms = sql("SELECT step, mismatch, count(*) FROM decisions WHERE mismatch IS NOT NULL GROUP BY ALL")
    assert [(row.step, row.looks_like, row.calls.count) for row in data.mismatches] == alarms


def test_the_timeline_is_what_duckdb_adds_up(data, sql):
    line = data.timeline
    slices = f"floor((decided_at_s - {line.starts_s[0]}) / {line.slice_s})"
    sums = "sum(CASE WHEN top_usd IS NOT NULL THEN usd END), sum(escalated), sum(failed_calls)"
    counted = sql(f"SELECT {slices} AS n, count(*), {sums} FROM bills GROUP BY n ORDER BY n")
    assert [row[1] for row in counted] == list(line.decisions)
    assert [row[2] for row in counted] == pytest.approx(list(line.cost_usd))
    assert [row[3:] for row in counted] == list(zip(line.escalated, line.failed_calls, strict=True))
    assert line.slice_s == 86_400


def test_the_flow_starts_and_ends_with_every_decision(data, sql):
    nodes = data.flow.nodes
    leaving = sum(link.count for link in data.flow.links if nodes[link.source][0] == "step")
    arriving = sum(link.count for link in data.flow.links if nodes[link.target][0] in ("returned", "none"))
    assert leaving == arriving == 4_000
    first = sql("SELECT step, tier, count(*) FROM attempts WHERE number = 0 GROUP BY ALL")
    found = {
        (nodes[k.source][1], nodes[k.target][1], k.count)
        for k in data.flow.links
        if nodes[k.source][0] == "step"
    }
    assert found == set(first)


def test_drift_is_found_where_it_was_made(data):
    found = {row.measure: row.verdict for row in data.drift}
    assert found["difficulty"] == "drifted"
    assert found["step mix"] != "steady"
    calm = Figures()
    for record, label in decisions(4_000, changes=False):
        calm.add(record, label)
    assert {row.verdict for row in calm.data().drift} == {"steady"}


def test_a_ledger_gives_the_figures_that_its_decisions_give(ledger, data):
    read_back, _ = read(open_store(ledger))
    assert dataclasses.asdict(read_back) == dataclasses.asdict(data)


# By hand -------------------------------------------------------------------------------------------------


def report(*made, settings=None):
    figures = Figures()
    for record, label in made:
        figures.add(record, label)
    return figures.data(settings)


@pytest.fixture(scope="module")
def one(made):
    """An accepted reply of the small tier, of known cost, and one of the large tier."""
    return next(
        r for r, _ in made if r.tier == "small" and r.outcome == "accepted" and r.cost_usd and r.top_usd
    )


def test_one_decision_is_a_report(one):
    data = report((one, None))
    assert data.totals.decisions == 1
    assert data.totals.misrouted is None
    assert data.labels == 0
    assert data.before is None
    assert data.lately.startswith("Still paying off? Cannot say yet: the last quarter")
    assert {row.verdict for row in data.drift} == {"too little to say"}


def test_too_few_labels_give_no_rate_and_enough_do(one):
    few = report(*[(one, 0.0)] * (LEAST_LABELS - 1))
    assert (few.totals.misrouted, few.totals.cheap_labels) == (None, LEAST_LABELS - 1)
    assert few.policies[0].right is None
    enough = report(*[(one, 0.0)] * LEAST_LABELS)
    assert enough.totals.misrouted.rate == 1


def test_a_label_on_the_top_tier_says_nothing_about_cheap_models(one):
    top = dataclasses.replace(one, tier="large")
    assert report(*[(top, 0.0)] * 30).totals.cheap_labels == 0
    best = dataclasses.replace(one, outcome="best")
    assert report(*[(best, 0.0)] * 30).totals.cheap_labels == 0


def test_an_unknown_cost_is_left_out_of_both_sums_and_never_free(one):
    (tried,) = one.attempts[-1:]
    unknown = dataclasses.replace(one, attempts=(dataclasses.replace(tried, cost_usd=None),))
    data = report((one, None), (unknown, None))
    assert (data.top.compared, data.top.left_out, data.totals.unknown) == (1, 1, 1)
    assert data.top.baseline_usd == one.top_usd
    assert "1 of 2 decisions have a cost or a price that is not known" in data.assumption
    nothing = report((unknown, None))
    assert nothing.top is None
    assert "nothing to compare it with" in nothing.headline


def test_a_loss_is_called_a_loss(one):
    dear = dataclasses.replace(one, top_usd=one.cost_usd / 4)
    assert "Routing cost 300% more" in report((dear, None)).headline
    same = dataclasses.replace(one, top_usd=one.cost_usd)
    assert "Routing saved nothing" in report((same, None)).headline


def test_a_decision_without_a_reply_is_paid_and_saves_nothing(one):
    failed = dataclasses.replace(one, outcome="exhausted", tier=None, endpoint=None, model=None, top_usd=0.0)
    data = report((failed, None))
    assert data.top.cost_usd == one.cost_usd
    assert data.top.share is None
    assert ("none", "no reply") in data.flow.nodes


def test_the_policy_adds_thresholds_and_reviews(one):
    settings = {one.step: {"threshold": "citations", "reviewed": "2026-10-01"}, "": {"threshold": "default"}}
    other = dataclasses.replace(one, step="other")
    rows = {row.step: row for row in report((one, None), (other, None), settings=settings).steps}
    assert (rows[one.step].threshold, rows[one.step].reviewed) == ("citations", "2026-10-01")
    assert (rows["other"].threshold, rows["other"].reviewed) == ("default", "")


def test_an_endpoint_is_paid_for_what_checks_and_classifiers_asked_of_it(one):
    asked = {"purpose": "judge", "endpoint": "judge-a", "usage": None, "cost_usd": 0.25}
    unknown = {**asked, "purpose": "classifier", "cost_usd": None}
    verdict = {"verifier": "judge", "accepted": True, "spend": [asked]}
    (tried,) = one.attempts
    record = dataclasses.replace(
        one, spend=[unknown], attempts=(dataclasses.replace(tried, verdicts=[verdict]),)
    )
    judge, own = report((record, None)).endpoints
    assert (judge.endpoint, judge.calls, judge.asked, judge.cost_usd) == ("judge-a", 0, 2, 0.25)
    assert (own.models, own.calls, own.asked, own.cost_usd) == ((tried.model,), 1, 0, tried.cost_usd)


def test_names_beyond_number_are_counted_together(one):
    data = report(*[(dataclasses.replace(one, step=f"step-{number}"), None) for number in range(700)])
    assert len(data.steps) == MOST_NAMES + 1
    assert next(row for row in data.steps if row.step == OTHERS).totals.decisions == 200
    assert any("more than 500 steps" in line for line in data.omitted)
    assert len([node for node in data.flow.nodes if node[0] == "step"]) <= 13
