"""`langroute drift`: what drifted or changed is named, with exit code 1; what may be chance is not."""

import dataclasses
import json
from datetime import UTC, date, datetime

import pytest
from made_decisions import DAY_S, PRICES, START_S, decisions
from made_ledger import write_ledger

from langroute.bindings import checks_digest
from langroute.cli import main
from langroute.policy import Policy
from langroute.report.changes import MOST_TEMPLATES, overdue
from langroute.report.statistics import LEAST_SLICES
from langroute.tuning.writing import tuned_on

COUNT = 1_200
DAYS = 80
LATE_S = START_S + 0.75 * DAYS * DAY_S
"""From here on a decision is recent."""

ENDPOINT = "{{model: 'openai:{0}', name: {0}-a, price: {{input: {1}, output: {2}}}}}"
PRICED = "".join(f"  {tier}: {{models: [{ENDPOINT.format(tier, *usd)}]}}\n" for tier, usd in PRICES.items())
NO_CHECKS = checks_digest(Policy(tiers={"small": "openai:small"}).default)
POLICY = f"tiers:\n{PRICED}steps:\n  synthesis: {{cascade: [small, medium, large], why: it is cheap}}\n"


@pytest.fixture(scope="module")
def calm():
    """Decisions of 80 days in which nothing changes."""
    return [
        dataclasses.replace(
            record,
            decided_at_s=START_S + number * DAYS * DAY_S / COUNT,
            template="same",
            checks=NO_CHECKS,
            attempts=tuple(
                dataclasses.replace(a, cost_usd=a.cost_usd and _priced(a)) for a in record.attempts
            ),
        )
        for number, (record, _) in enumerate(decisions(COUNT, changes=False))
    ]


def _priced(attempt):
    price_in, price_out = PRICES[attempt.tier]
    return (attempt.input_tokens * price_in + attempt.output_tokens * price_out) * 1e-6


@pytest.fixture
def drift(capsys, monkeypatch, tmp_path):
    """Run `langroute drift` on decisions; gives exit code and the findings of `--json`."""
    monkeypatch.delenv("LANGROUTE_LEDGER", raising=False)

    def run(made, *args, policy=None):
        where = write_ledger(tmp_path / "made.db", [(record, None) for record in made])
        if policy is not None:
            (tmp_path / "policy.yaml").write_text(policy)
            args = (*args, "--policy", str(tmp_path / "policy.yaml"))
        with pytest.raises(SystemExit) as end:
            main(["drift", "--ledger", where, "--json", *args])
        out = capsys.readouterr().out
        return end.value.code or 0, json.loads(out)["findings"] if out else None

    return run


def since(made, change, from_s=LATE_S):
    """Return decisions with every one from a moment on changed."""
    return [change(record) if record.decided_at_s >= from_s else record for record in made]


def tried(change):
    """Return what changes every attempt of a decision."""
    return lambda record: dataclasses.replace(record, attempts=tuple(change(a) for a in record.attempts))


def named(findings):
    return [(each["kind"], each["of"]) for each in findings]


def test_nothing_is_found_where_nothing_changed(drift, calm):
    assert drift(calm, policy=POLICY) == (0, [])


def test_requests_that_became_harder_are_found(drift, calm):
    def harder(record):
        return dataclasses.replace(record, difficulty=min(record.difficulty + 0.3, 1.0))

    code, findings = drift(since(calm, harder))
    assert (code, named(findings)) == (1, [("drift", "difficulty")])
    assert "before" in findings[0]["said"]


def _failing(record):
    def failed(attempt):
        return dataclasses.replace(attempt, outcome="failed", failure_kind="timeout", model=None)

    return tried(lambda a: failed(a) if a.endpoint == "small-a" else a)(record)


def test_an_endpoint_that_fails_more_often_is_found(drift, calm):
    made = [_failing(r) if r.decided_at_s >= LATE_S and n % 4 == 0 else r for n, r in enumerate(calm)]
    code, findings = drift(made)
    assert code == 1
    assert named(findings) == [("failures", "small-a")]


def test_one_outage_is_one_event_and_may_be_chance(drift, calm):
    assert drift(since(since(calm, _failing), lambda r: _again(calm, r), LATE_S + DAY_S)) == (0, [])


def _again(calm, record):
    return next(each for each in calm if each.id == record.id)


def test_what_a_circuit_refused_is_no_failed_call(drift, calm):
    def refused(attempt):
        return dataclasses.replace(attempt, outcome="failed", failure_kind="circuit_open", model=None)

    assert "failures" not in dict(named(drift(since(calm, tried(refused)))[1]))


def test_another_model_under_the_same_endpoint_is_found(drift, calm):
    def swapped(attempt):
        return (
            dataclasses.replace(attempt, model=attempt.model and "acme/new")
            if attempt.tier == "large"
            else attempt
        )

    code, findings = drift(since(calm, tried(swapped)))
    assert (code, named(findings)[0]) == (1, ("model", "large-a"))
    assert findings[0]["said"] == "acme/new answers; before it was acme/large-a"


def test_another_price_is_found_by_what_calls_cost_then(drift, calm):
    dear = POLICY.replace(f"input: {PRICES['large'][0]}", f"input: {PRICES['large'][0] * 2}")
    code, findings = drift(calm, policy=dear)
    assert (code, named(findings)) == (1, [("price", "large-a")])
    assert "at today's price" in findings[0]["said"]


def test_a_cost_that_the_provider_reported_says_nothing_of_the_price(drift, calm):
    reported = tried(lambda a: dataclasses.replace(a, cost_usd=1.0, cost_basis="reported"))
    assert drift([reported(record) for record in calm], policy=POLICY) == (0, [])


def test_another_prompt_template_is_found(drift, calm):
    code, findings = drift(since(calm, lambda r: dataclasses.replace(r, template="other")))
    assert code == 1
    assert {each["kind"] for each in findings} == {"template"}
    assert findings[0]["said"].startswith("100% of its recent prompts have a template not seen before")


def test_a_system_message_that_always_varies_is_no_template(drift, calm):
    varied = [dataclasses.replace(record, template=f"t{number}") for number, record in enumerate(calm)]
    assert MOST_TEMPLATES < COUNT / 10
    assert drift(varied) == (0, [])


def test_verifiers_that_changed_in_the_ledger_or_in_the_policy_are_found(drift, calm):
    code, findings = drift(since(calm, lambda r: dataclasses.replace(r, checks="f" * 12)))
    assert (code, {each["kind"] for each in findings}) == (1, {"verifier"})
    of_policy = drift(calm, policy=POLICY.replace("why: it is cheap", "verify: [no_refusal]"))[1]
    assert ("verifier", "synthesis") in named(of_policy)


def test_what_changed_since_a_number_was_tuned_is_found_though_the_reference_has_it(drift, calm):
    made = since(calm, lambda r: dataclasses.replace(r, template="other"), START_S + 20 * DAY_S)
    assert drift(made)[0] == 0
    day = datetime.fromtimestamp(START_S + 10 * DAY_S, UTC).date().isoformat()
    tuned = f"# tuned {day}, steps.synthesis.route.difficulty.threshold = 0.4: saves 40%; 900 rows\n"
    found = drift(made, policy=POLICY + tuned)[1]
    assert ("template", "synthesis") in named(found)
    assert {of for kind, of in named(found) if kind == "template"} == {"synthesis"}


def test_days_of_tuning_are_read_off_the_comments(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "  # tuned 2026-10-01, steps.a.verify.0.min = 0.7: x\n# tuned 2026-19-01, default.x = 1: y\n# tuned\n"
    )
    assert tuned_on(path) == {"steps.a.verify.0.min": date(2026, 10, 1)}


def test_reviews_that_are_too_old_or_missing_are_found():
    steps = {
        "old": {"cascade": "s", "reviewed": "2026-08-01"},
        "fresh": {"cascade": "s", "reviewed": "2026-08-25"},
        "never": {"cascade": "s"},
    }
    policy = {"tiers": {"s": "openai:s"}, "steps": steps}
    found = list(overdue(Policy(**policy, review_every_days=90), date(2026, 11, 22)))
    assert [(each.of, each.said) for each in found] == [
        ("old", "was reviewed 113 days ago; it should be every 90"),
        ("never", "was never reviewed; it should be every 90 days"),
    ]
    assert list(overdue(Policy(**policy), date(2026, 11, 22))) == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--since", "yesterday"], "is no moment"),
        (["--since", "2090-01-01"], "--since 2090-01-01 is in the future"),
        (["--reference", "2090-01-01"], "--reference 2090-01-01 is in the future"),
        (["--ledger", "none.db"], "there is no ledger at none.db"),
        (["--policy", "none.yaml"], "none.yaml"),
    ],
    ids=lambda args: args if isinstance(args, str) else " ",
)
def test_bad_input_is_said_with_exit_code_2(args, said, ledger, capsys):
    with pytest.raises(SystemExit) as end:
        main(["drift", "--ledger", ledger, *args])
    assert end.value.code == 2
    assert said in capsys.readouterr().err


@pytest.fixture
def at(capsys, tmp_path):
    """Run `langroute drift` on some decisions; gives exit code and what is said."""

    def run(made, *args):
        where = write_ledger(
            tmp_path / f"{len(list(tmp_path.iterdir()))}.db", [(each, None) for each in made]
        )
        with pytest.raises(SystemExit) as end:
            main(["drift", "--ledger", where, *args])
        return end.value.code or 0, capsys.readouterr().out

    return run


def test_a_ledger_too_young_to_compare_is_no_error_unless_asked_strictly(at, calm):
    """Cron may begin on the first day: nothing is wrong for as long as there is no history."""
    few = f"fewer than {LEAST_SLICES} slices of time"
    for made, args, said in (
        ([], (), "has no decision in that time."),
        (calm[:1], (), "has no decision older than 2026-"),
        (calm[:200], ("--since", "2020-01-01"), "has no decision older than 2020-01-01"),
        (calm[:200], ("--since", "1d", "--reference", "2026-01-01"), "has no decision newer than 2026-"),
        (calm[:3], (), few),
    ):
        code, out = at(made, *args)
        assert code == 0
        assert "Too young to compare: " in out
        assert said in out
        assert "Nothing drifted" not in out
        assert at(made, *args, "--strict")[0] == 2
    code, out = at(calm, "--strict")
    assert (code, "Too young" in out, "Nothing drifted or changed." in out) == (0, False, True)


def test_what_needs_no_history_is_found_in_a_young_ledger(drift, calm):
    policy = POLICY + "review_every_days: 30\n"
    for made in ([], calm[:1]):
        code, findings = drift(made, "--strict", policy=policy)
        assert (code, named(findings)) == (1, [("review", "synthesis")])


def test_json_says_that_a_ledger_is_too_young(at, calm):
    assert "older than" in json.loads(at(calm[:1], "--json")[1])["too_young"]
    assert json.loads(at(calm, "--json")[1])["too_young"] is None


def test_the_terminal_says_what_drifted_and_ends_with_exit_code_1(ledger, capsys):
    with pytest.raises(SystemExit) as end:
        main(["drift", "--ledger", ledger])
    assert end.value.code == 1
    assert "drift: difficulty: PSI" in capsys.readouterr().out
