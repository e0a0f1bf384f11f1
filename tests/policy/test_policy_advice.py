"""What works but surprises is told by `langroute check`, and what does not surprise is not."""

import sys
from datetime import date

import pytest
from policies import TIERS

from langroute.advice import warnings
from langroute.policy import Policy

BOTH = {"cascade": ["small", "large"], "verify": "not_empty"}


def told(**policy):
    """Return the warnings about a policy of two tiers by key path."""
    whole = Policy(**{"tiers": TIERS, "default": BOTH, **policy})
    return {warning.path: warning.message for warning in warnings(whole, today=date(2025, 11, 22))}


def rules(*conditions, start="large"):
    return [{"when": when, "start": start} for when in conditions]


def test_a_plain_policy_has_no_warnings():
    step = {**BOTH, "verify": ["not_empty"], "reviewed": "2025-11-22"}

    assert told(steps={"planning": step}, rules=rules({"step": "planning"}, {"keywords": "refund"})) == {}


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({}, {"keywords": "a"}),
        ({"keywords": ["a", "b"]}, {"keywords": "a"}),
        ({"min_tokens": 10}, {"min_tokens": 20}),
        ({"max_documents": 9}, {"max_documents": 3, "language": "de"}),
        ({"metadata": {"tier": ["gold", "silver"]}}, {"metadata": {"tier": "gold", "tenant": "a"}}),
        ({"tools": ["sql"], "min_tokens": 1}, {"tools": "sql", "min_tokens": 1}),
    ],
)
def test_a_rule_behind_one_that_takes_all_of_it_can_never_match(earlier, later):
    assert "can never match" in told(rules=rules(earlier, later))["rules[1]"]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"keywords": "a"}, {}),
        ({"keywords": "a"}, {"keywords": ["a", "b"]}),
        ({"min_tokens": 20}, {"min_tokens": 10}),
        ({"max_documents": 3}, {"max_documents": 9}),
        ({"metadata": {"tier": "gold"}}, {"metadata": {"tier": ["gold", "silver"]}}),
        ({"metadata": {"tier": "gold"}}, {"metadata": {"tenant": "a"}}),
        ({"tools": "sql", "language": "de"}, {"tools": "sql"}),
    ],
)
def test_a_rule_that_may_still_match_is_not_warned_of(earlier, later):
    assert "rules[1]" not in told(rules=rules(earlier, later))


def test_the_warning_names_the_rule_that_stands_before():
    named = [{"name": "gold", "when": {}, "start": "large"}, {"name": "late", "when": {}, "start": "large"}]

    assert "rule gold takes" in told(rules=named)["rules[1]"]
    assert "rule #1 takes" in told(rules=rules({}, {}))["rules[1]"]


def test_a_start_outside_every_cascade_it_is_for_has_no_effect():
    steps = {"planning": {"cascade": "large"}, "synthesis": {"cascade": "small"}}

    assert (
        "below the first tier"
        in told(steps=steps, rules=rules({"step": "planning"}, start="small"))["rules[0].start"]
    )
    assert "above the last tier" in told(steps=steps, rules=rules({"step": "synthesis"}))["rules[0].start"]
    assert "rules[0].start" not in told(steps=steps, rules=rules({"step": ["planning", "synthesis"]}))
    assert "rules[0].start" not in told(steps=steps, rules=rules({"step": "planning"}))


def test_a_step_that_is_named_but_not_bound_is_told():
    found = told(rules=rules({"step": "synthesis"}), classify={"keywords": {"extraction": "extract"}})

    assert "takes the default" in found["rules[0].when.step[0]"]
    assert "takes the default" in found["classify.keywords.extraction"]


def test_a_tier_that_no_step_uses_is_told():
    tiers = {**TIERS, "huge": "openai:huge", "judge": "openai:judge", "clerk": "openai:clerk"}
    default = {**BOTH, "verify": {"agreement": {"tier": "judge"}}}

    found = told(tiers=tiers, default=default, classify={"model": "clerk"})

    assert found == {"tiers.huge": "no step uses this tier"}


def test_a_level_that_no_step_can_meet_is_told():
    found = told(default={"cascade": "small"}, steps={}, stakes={"high": {"tier": "large"}})

    assert "no step can meet" in found["stakes.high.tier"]


def test_a_check_whose_rejection_changes_nothing_is_told():
    alone = {"cascade": "large", "verify": "not_empty"}
    steps = {"a": alone, "b": {**alone, "repair": 1}, "c": {**alone, "on_exhausted": "raise"}}

    assert [path for path in told(steps=steps) if path.startswith("steps")] == ["steps.a.verify"]


def test_confidence_without_log_probabilities_is_told():
    silent, speaking = "openai:a", {"model": "openai:b", "settings": {"logprobs": True}}
    step = {**BOTH, "verify": {"confidence": 0.7}}

    found = told(tiers={"small": silent, "large": {"models": [speaking]}}, default=step)

    assert "`openai:a` will send none" in found["default.verify[0]"]


def test_a_second_opinion_from_the_endpoint_under_check_is_told():
    step = {**BOTH, "verify": {"agreement": {"tier": "large"}}}

    assert "its one endpoint is the one under check" in told(default=step)["default.verify[0]"]
    assert told(tiers={**TIERS, "large": ["openai:a", "openai:b"]}, default=step) == {}


def test_dates_labels_and_limits_that_make_no_sense_are_told():
    default = {"cascade": "large", "reviewed": "2025-11-23", "boundary": ["hosted", "moon"]}

    found = told(default=default, budget={"approve_above_usd": 1.0})

    assert set(found) == {
        "tiers.small",
        "default.reviewed",
        "default.boundary[1]",
        "budget.approve_above_usd",
    }


UNJUDGED = {"cascade": ["small", "large"]}


def test_a_cascade_and_a_repair_without_a_check_are_told():
    found = told(steps={"a": {**UNJUDGED, "repair": 1}})

    assert "nothing can reject" in found["steps.a.repair"]
    assert "structured output" in found["steps.a.cascade"]
    assert "`large` is only reached" in found["steps.a.cascade"]


@pytest.mark.parametrize(
    "policy",
    [
        {"steps": {"a": {**UNJUDGED, "route": {"difficulty": {"threshold": 0.4}}}}},
        {"steps": {"a": {**UNJUDGED, "after_tool": {"sql": "large"}}}},
        {"steps": {"a": {**UNJUDGED, "on_tool_error": "large"}}},
        {"steps": {"a": UNJUDGED}, "stakes": {"high": {"tier": "large"}}},
        {"steps": {"a": UNJUDGED}, "rules": rules({"keywords": "refund"})},
        {"steps": {"extraction": UNJUDGED}},
    ],
)
def test_a_cascade_without_a_check_is_no_surprise_where_something_else_leads_up_it(policy):
    assert told(**policy) == {}


def test_a_rule_for_other_steps_leads_no_step_up_its_cascade():
    steps = {"a": UNJUDGED, "b": BOTH}

    assert set(told(steps=steps, rules=rules({"step": "b"}))) == {"steps.a.cascade"}


def test_one_pattern_in_two_steps_is_told():
    found = told(steps={"a": {**BOTH, "nodes": ["x", "y*"]}, "b": {**BOTH, "nodes": ["z", "y*"]}})

    assert found == {"steps.b.nodes[1]": "step `a` has the same pattern and takes its nodes"}


def test_a_classifier_that_some_steps_boundary_forbids_is_told():
    tiers = {"small": "openai:a", "large": {"models": [{"model": "openai:b", "boundary": "local"}]}}
    steps = {"secret": {"cascade": "large", "boundary": "local"}}

    found = told(tiers=tiers, steps=steps, classify={"model": "small"})

    assert "is never asked: it runs in `hosted`" in found["classify.model"]
    assert "`secret`" in found["classify.model"]
    assert told(tiers=tiers, steps=steps, classify={"model": "large"}) == {}


def test_a_provider_that_langchain_does_not_know_is_told():
    pytest.importorskip("langchain")

    found = told(tiers={"small": "antropic:a", "large": "azure-openai:b"})

    assert found == {"tiers.small.models[0].model": "LangChain knows no provider `antropic`"}


def test_a_provider_whose_package_is_not_installed_is_told_with_the_line_that_installs_it():
    pytest.importorskip("langchain")
    tiers = {"small": "openai:a", "large": "google-anthropic-vertex:b"}

    [warning] = warnings(Policy(tiers=tiers, default=BOTH))

    assert warning.path == "tiers.large.models[0].model"
    assert "a package that its provider needs is not installed" in warning.message
    assert warning.remedy == "Run `pip install langchain-google-vertexai`."


def test_a_provider_that_needs_langchain_is_told_where_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "langchain", None)  # as `importlib` sees what is not there

    [warning] = warnings(Policy(tiers={"small": "openai:a", "large": "anthropic:b"}, default=BOTH))

    assert warning.remedy == "Run `pip install 'langroute[agents]'`."


def test_a_setting_that_no_openai_model_has_is_told():
    settings = {"temprature": 0, "base_url": "http://host", "max_tokens": 5, "reasoning_effort": "low"}
    tiers = {"small": {"models": [{"model": "openai:a", "settings": settings}]}, "large": "openai:b"}

    found = told(tiers=tiers)

    assert list(found) == ["tiers.small.models[0].settings.temprature"]


def test_asking_a_person_is_told_to_need_a_graph():
    found = told(steps={"a": {**BOTH, "on_exhausted": "ask"}}, budget={"approve_above_usd": 1.0})

    assert set(found) == {"steps.a.on_exhausted", "budget.approve_above_usd"}
    assert all("raises ApprovalRequired" in message for message in found.values())


def test_a_blame_that_no_check_of_the_step_can_lay_is_told():
    blaming = {**BOTH, "blame": "a"}
    steps = {
        "a": {**BOTH, "verify": "schema"},
        "b": {**blaming, "verify": "no_refusal"},
        "c": {**blaming, "verify": {"any_of": ["schema", {"all_of": ["citations"]}]}},
        "d": {**blaming, "verify": {"sampled": {"share": 0.5, "verify": {"grounded": "prompt"}}}},
        "e": {**blaming, "verify": [lambda case: True]},
    }

    found = told(steps=steps)

    assert [path for path in found if path.endswith("blame")] == ["steps.b.blame"]
    assert "nobody is ever blamed" in found["steps.b.blame"]


def test_a_check_that_may_send_the_graph_back_is_not_idle():
    alone = {"cascade": "large", "verify": "citations", "blame": "a"}

    assert told(steps={"a": {**BOTH, "verify": "schema"}, "b": alone}) == {}
