"""`langroute estimate`: what policies are expected to come to, by hand and against simulated traffic."""

import json
import random
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from langroute import Policy
from langroute.cli import app
from langroute.report.worksheet import Sheet, Tried
from langroute.tuning.estimate import ASSUMPTIONS, estimate

PRICES = {"small": (0.1, 0.4), "medium": (0.6, 2.4), "large": (3.0, 12.0)}
CALL_USD = {tier: (2_000 * into + 300 * out) * 1e-6 for tier, (into, out) in PRICES.items()}
"""What a call of 2,000 tokens in and 300 out costs on each tier."""

SHEET = Sheet(
    step="answer",
    requests=1_000,
    input_tokens=2_000,
    output_tokens=300,
    cached_tokens=0,
    verifiers=frozenset({"no_refusal"}),
    cost_per_request_usd=0.002,
    checks_usd=0.0,
    classifiers_usd=0.0,
    difficulties=tuple((part + 0.5) / 20 for part in range(20)),
    tried={
        "small": Tried(0.7, 0.9, 1.0, 0.5),
        "medium": Tried(0.8, 0.95, 1.0, 1.0),
        "large": Tried(0.95, 0.98, 1.0, 3.0),
    },
)


def policy(cascade, **step):
    tiers = {
        tier: [{"model": "openai:m", "name": tier, "price": {"input": into, "output": out}}]
        for tier, (into, out) in PRICES.items()
    }
    binding = {"cascade": cascade, "verify": ["no_refusal"]} | step
    return Policy(tiers=tiers, steps={"answer": binding})


def told(cascade, *sheets, **step):
    return estimate("p", policy(cascade, **step), sheets or (SHEET,))


# By hand -------------------------------------------------------------------------------------------------


def test_a_cascade_costs_its_first_tier_and_what_its_rejections_cost_further_up():
    found = told(["small", "medium", "large"], failure_cost_usd=0.5)
    [step] = found.steps
    assert step.unknown == ()
    assert dict(step.way) == pytest.approx({"small": 1, "medium": 0.3, "large": 0.06})
    cost = CALL_USD["small"] + 0.3 * CALL_USD["medium"] + 0.06 * CALL_USD["large"]
    assert found.expected.cost_usd == pytest.approx(cost)
    assert found.cost_usd == pytest.approx(1_000 * cost)
    assert found.was_usd == pytest.approx(1_000 * 0.002)
    assert found.expected.latency_s == pytest.approx(0.5 + 0.3 * 1 + 0.06 * 3)
    quality = 0.7 * 0.9 + 0.3 * 0.8 * 0.95 + 0.06 * 0.95 * 0.98
    assert found.expected.quality == pytest.approx(quality)
    assert found.expected.risk_usd == pytest.approx((1 - quality) * 0.5)


def test_the_figures_are_those_of_simulated_traffic():
    found = told(["small", "large"], route={"difficulty": {"threshold": 0.6}}).expected
    dice, usd, seconds, right, runs = random.Random(2), 0.0, 0.0, 0, 60_000  # noqa: S311 - no secret
    for _ in range(runs):
        tiers = ["large"] if dice.random() >= 0.6 else ["small", "large"]
        for tier in tiers:
            usd += CALL_USD[tier]
            seconds += SHEET.tried[tier].latency_s
            if dice.random() < SHEET.tried[tier].pass_rate:
                right += dice.random() < SHEET.tried[tier].quality
                break
    assert found.cost_usd == pytest.approx(usd / runs, rel=0.02)
    assert found.latency_s == pytest.approx(seconds / runs, rel=0.02)
    assert found.quality == pytest.approx(right / runs, rel=0.01)


def test_repairs_checks_cache_and_classifiers_are_on_the_bill():
    judge = {"judge": {"rubric": "good", "tier": "medium"}}
    sheet = replace(
        SHEET,
        verifiers=frozenset({"judge"}),
        checks_usd=0.0001,
        classifiers_usd=0.00002,
        cached_tokens=1_000,
        tried={"small": Tried(0.8, 0.9, 1.25, 0.5)},
    )
    written = policy(["small"], verify=[judge], repair=1).model_dump(exclude_unset=True)
    written["tiers"]["small"]["models"][0]["price"]["cache_read"] = 0.01
    written["classify"] = {"model": "small"}
    found = estimate("p", Policy(**written), [sheet])
    call = (1_000 * 0.1 + 1_000 * 0.01 + 300 * 0.4) * 1e-6
    assert found.expected.cost_usd == pytest.approx(1.25 * (call + 0.0001) + 0.00002)
    assert found.expected.latency_s == pytest.approx(1.25 * 0.5)


def test_steps_are_summed_by_their_traffic():
    other = replace(SHEET, step="other", requests=3_000, verifiers=frozenset())
    found = told(["small"], SHEET, other)
    assert [step.share for step in found.steps] == [0.25, 0.75]
    mean = 0.25 * CALL_USD["small"] + 0.75 * CALL_USD["large"]
    assert found.expected.cost_usd == pytest.approx(mean)
    assert found.cost_usd == pytest.approx(4_000 * mean)
    assert found.expected.quality == pytest.approx(0.25 * 0.7 * 0.9 + 0.75 * 0.98)


def test_a_model_with_no_checks_answers_whatever_it_says():
    plain = replace(SHEET, verifiers=frozenset())
    found = told(["small", "large"], plain, verify=[])
    assert dict(found.steps[0].way) == {"small": 1.0}
    assert found.expected.quality == 0.9


# Unknown -------------------------------------------------------------------------------------------------


def test_a_tier_that_was_never_tried_is_unknown_from_there_on():
    sheet = replace(SHEET, tried={"small": SHEET.tried["small"]})
    found = told(["small", "medium", "large"], sheet)
    assert dict(found.steps[0].way) == {"small": 1.0, "medium": pytest.approx(0.3), "large": None}
    assert found.expected.cost_usd is found.expected.latency_s is found.expected.quality is None
    assert "how often medium passes: the step never tried it" in found.steps[0].unknown


def test_the_cost_of_a_last_tier_needs_no_pass_rate():
    found = told(["small", "large"], replace(SHEET, tried={"small": SHEET.tried["small"]})).expected
    assert found.cost_usd == pytest.approx(CALL_USD["small"] + 0.3 * CALL_USD["large"])
    assert found.quality is None


@pytest.mark.parametrize(
    ("change", "step", "reason"),
    [
        ({"input_tokens": None}, {}, "what a call costs: the worksheet has no mean tokens"),
        ({}, {"verify": ["no_refusal", "citations"]}, "how often replies pass citations, no_refusal"),
        ({}, {"verify": [{"judge": {"rubric": "r", "tier": "large"}}]}, "what judge costs"),
        ({"difficulties": ()}, {"route": {"difficulty": {"threshold": 0.4}}}, "where requests start"),
        ({"tried": {"small": Tried(0.7, 0.9, 1.2, 0.5)}}, {}, "small passes without repairs"),
    ],
)
def test_what_the_worksheet_does_not_tell_makes_the_cost_unknown(change, step, reason):
    found = told(["small", "large"], replace(SHEET, **change), **step)
    assert found.expected.cost_usd is None
    assert any(reason in why for why in found.steps[0].unknown)


def test_a_price_that_nobody_knows_is_said():
    unpriced = Policy(tiers={"only": [{"model": "openai:in-house", "name": "only"}]})
    found = estimate("p", unpriced, [replace(SHEET, verifiers=frozenset())])
    assert found.expected.cost_usd is None
    assert "what only costs: state its price in the policy" in found.steps[0].unknown


def test_without_a_failure_cost_the_risk_is_unknown_and_nothing_else():
    found = told(["small"])
    assert found.expected.risk_usd is None
    assert found.expected.quality is not None
    assert found.steps[0].unknown == ("the policy states no failure_cost_usd",)


def test_a_step_without_traffic_hides_no_sum():
    empty = replace(SHEET, step="rare", requests=0, input_tokens=None)
    assert told(["small"], SHEET, empty).expected.cost_usd == pytest.approx(CALL_USD["small"])
    with pytest.raises(ValueError, match="no step of the worksheet has a request"):
        told(["small"], empty)


# On the command line -------------------------------------------------------------------------------------

CSV = (
    "step,requests,mean_input_tokens,mean_output_tokens,verifiers,"
    "small pass_rate,small quality,small latency_s\n"
    "answer,1000,2000,300,no_refusal,0.7,0.9,0.5\n"
)
YAML = """
tiers:
  small: [{{model: 'openai:m', name: small, price: {{input: 0.1, output: 0.4}}}}]
  large: [{{model: 'openai:n', name: large, price: {{input: 3, output: 12}}}}]
steps: {{answer: {{cascade: {cascade}, verify: no_refusal, failure_cost_usd: 0.5}}}}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.delenv("LANGROUTE_LEDGER", raising=False)
    (tmp_path / "w.csv").write_text(CSV)
    for name, cascade in (("cheap", "[small]"), ("both", "[small, large]")):
        (tmp_path / f"{name}.yaml").write_text(YAML.format(cascade=cascade))

    def running(*args):
        given = [str(tmp_path / arg) if arg.endswith((".csv", ".yaml")) else arg for arg in args]
        return CliRunner().invoke(app, ["estimate", *given])

    return running


def test_policies_stand_side_by_side_with_a_total_and_what_is_unknown(run):
    ran = run("cheap.yaml", "both.yaml", "--worksheet", "w.csv")
    assert ran.exit_code == 0, ran.output
    for said in ("as it was", "small (100%)", "63%", "$0.185", "unknown", "all", ASSUMPTIONS[0]):
        assert said in ran.output
    assert "how good large is" in ran.output


def test_json_has_every_figure(run):
    told = json.loads(run("cheap.yaml", "both.yaml", "--worksheet", "w.csv", "--json").output)
    cheap, both = told["policies"]
    assert cheap["expected"]["risk_usd"] == pytest.approx((1 - 0.63) * 0.5)
    assert both["expected"] == {
        "cost_usd": pytest.approx(CALL_USD["small"] + 0.3 * CALL_USD["large"]),
        "latency_s": None,
        "quality": None,
        "risk_usd": None,
    }
    assert told["assumptions"] == list(ASSUMPTIONS)
    assert (both["was_usd"], both["steps"][0]["was_usd"]) == (None, None)


def test_without_traffic_it_says_what_is_needed(run):
    ran = run("cheap.yaml")
    assert (ran.exit_code, "--worksheet steps.csv, or --ledger" in ran.output) == (2, True)


def test_a_time_is_refused_where_a_worksheet_says_the_traffic(run):
    ran = run("cheap.yaml", "--worksheet", "w.csv", "--since", "7d")
    assert (ran.exit_code, "a worksheet has no times" in ran.output) == (2, True)
