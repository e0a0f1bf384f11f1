"""A policy is a value: bare forms mean what long ones mean, and its digest changes with its meaning."""

import pytest
from policies import DESIGN_YAML, TIERS, written

from langroute.policy import Policy, StakesPolicy
from langroute.tables import RuleRow, StakesRow, routing_spec
from langroute.testing import ScriptedChatModel


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ({"tiers": {"a": "openai:x"}}, {"tiers": {"a": {"models": [{"model": "openai:x"}]}}}),
        ({"tiers": {"a": ["openai:x"]}}, {"tiers": {"a": {"models": ["openai:x"]}}}),
        ({"tiers": {"a": {"models": "openai:x"}}}, {"tiers": {"a": {"models": ["openai:x"]}}}),
        ({"tiers": TIERS}, {"tiers": TIERS, "default": {"cascade": ["large"]}}),
        (
            {
                "tiers": TIERS,
                "steps": {
                    "x": {"cascade": "small", "nodes": "re*", "verify": "schema", "boundary": "hosted"}
                },
            },
            {
                "tiers": TIERS,
                "steps": {
                    "x": {
                        "cascade": ["small"],
                        "nodes": ["re*"],
                        "verify": ["schema"],
                        "boundary": ["hosted"],
                    }
                },
            },
        ),
        (
            {
                "tiers": TIERS,
                "rules": [{"when": {"step": "synthesis", "keywords": "refund"}, "start": "large"}],
            },
            {
                "tiers": TIERS,
                "rules": [{"when": {"step": ["synthesis"], "keywords": ["refund"]}, "start": "large"}],
            },
        ),
        (
            {"tiers": TIERS, "stakes": {"high": {"tier": "large"}, "tools": {"rm": "high"}}},
            {"tiers": TIERS, "stakes": {"levels": {"high": {"tier": "large"}}, "tools": {"rm": "high"}}},
        ),
    ],
)
def test_a_bare_form_means_what_the_long_form_means(short, long):
    assert Policy.load(short) == Policy.load(long)
    assert Policy.load(short).digest == Policy.load(long).digest


def test_every_key_of_stakes_but_tools_is_a_level():
    stakes = Policy(tiers=TIERS, stakes={"high": {"tier": "large"}, "tools": {"rm": "high"}}).stakes

    assert stakes.levels["high"].tier == "large"
    assert stakes.tools == {"rm": "high"}
    assert StakesPolicy() == StakesPolicy(levels={}, tools={})


def test_without_a_default_unnamed_steps_take_the_top_tier_alone():
    assert Policy(tiers=TIERS).step("anything").cascade == ("large",)


def test_a_policy_is_loaded_from_itself():
    policy = Policy(tiers=TIERS)

    assert Policy.load(policy) is policy


@pytest.mark.parametrize(
    "change",
    [
        {"tiers": {"large": "openai:big", "small": "openai:nano"}},
        {"tiers": {"small": "openai:nano", "large": "openai:bigger"}},
        {
            "tiers": {
                "small": {"models": [{"model": "openai:nano", "settings": {"temperature": 0}}]},
                "large": "openai:big",
            }
        },
        {"default": {"cascade": ["small", "large"]}},
        {"default": {"cascade": "large", "verify": {"confidence": 0.7}}},
        {"cache_margin": 0.2},
        {"review_every_days": 90},
        {"stakes": {"high": {"tier": "large"}}},
    ],
)
def test_the_digest_changes_with_the_meaning(change):
    assert Policy(**{"tiers": TIERS, **change}).digest != Policy(tiers=TIERS).digest


def test_the_order_of_tiers_and_steps_is_part_of_the_digest():
    def digest(tiers, steps):
        whole = {
            "tiers": {name: TIERS[name] for name in tiers},
            "steps": {s: {"cascade": "large"} for s in steps},
        }
        return Policy(**whole, default={"cascade": "large"}).digest

    orders = [(["small", "large"], "ab"), (["large", "small"], "ab"), (["small", "large"], "ba")]

    assert len({digest(*order) for order in orders}) == 3


def test_the_digest_of_a_chat_model_counts_class_and_name_alone():
    def digest(name, reply):
        return Policy(tiers={"a": ScriptedChatModel(name=name, reply=reply)}).digest

    assert digest("one", "x") == digest("one", "y")
    assert digest("one", "x") != digest("two", "x")


def test_a_chat_model_stands_wherever_a_string_may():
    model = ScriptedChatModel(reply="x")

    forms = [{"a": model}, {"a": [model]}, {"a": {"models": model}}, {"a": {"models": [{"model": model}]}}]

    assert all(Policy(tiers=form).tiers["a"].models[0].model is model for form in forms)


def test_the_spec_has_a_row_a_step_and_the_default_last(tmp_path):
    text = DESIGN_YAML + "stakes: {}\n"
    text = text.replace("nodes: [", "why: Short and cheap., reviewed: 2025-11-01, boundary: hosted, nodes: [")

    rows = routing_spec(Policy.load(written(tmp_path, text))).steps

    assert [row.step for row in rows] == [
        "query_rewrite",
        "extraction",
        "planning",
        "tool_use",
        "synthesis",
        "default",
    ]
    assert (rows[0].why, rows[0].reviewed, rows[0].boundary) == ("Short and cheap.", "2025-11-01", "hosted")
    assert rows[1].cascade.splitlines() == [
        "small: openai:gpt-5-nano, anthropic:claude-haiku-4-5",
        "large: openai:gpt-5, anthropic:claude-opus-4-5",
    ]
    assert (rows[1].verifiers, rows[1].repair) == ("schema, grounded", "1")
    assert {row.blame for row in rows} == {""}


def test_the_spec_says_for_which_nodes_a_step_is_and_what_starts_it_higher(tmp_path):
    text = DESIGN_YAML.replace("{run_sql: large}", "{run_sql: large}, stakes: high").replace(
        "after_tool: {run_sql: large}, stakes: high", "after_tool: {run_sql: large}\n    stakes: high"
    )

    spec = routing_spec(Policy.load(written(tmp_path, text + "stakes: {high: {tier: large}}\n")))

    rows = {row.step: row for row in spec.steps}
    assert (rows["query_rewrite"].nodes, rows["query_rewrite"].latency_budget) == ("rewrite*", "1.5 s")
    assert rows["synthesis"].starts_higher == "difficulty from 0.42"
    assert rows["tool_use"].starts_higher.splitlines() == [
        "after run_sql: large",
        "on a tool error: large",
        "stakes high: large",
    ]
    assert spec.budget == "an escalation expected to cost more than 0.05 USD needs approval"


def test_the_spec_has_rules_in_their_order_and_stakes_with_their_tools():
    when = {"metadata": {"user_tier": ["gold", "silver"]}, "min_tokens": 5, "language": "de"}
    rules = [{"name": "gold", "when": when, "start": "large"}, {"when": {}, "start": "large"}]
    stakes = {"high": {"tier": "large"}, "tools": {"rm": "high", "dd": "high"}}

    spec = routing_spec(Policy(tiers=TIERS, rules=rules, stakes=stakes))

    conditions = "metadata user_tier: gold, silver\nmin tokens: 5\nlanguage: de"
    assert spec.rules == (RuleRow("gold", conditions, "large"), RuleRow("#2", "always", "large"))
    assert spec.stakes == (StakesRow("high", "large", "rm, dd"),)
    assert spec.budget == ""
