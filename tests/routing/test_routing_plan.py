"""The order of the weighings, and the reason that each leaves."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langroute.cascade import Choice, Rung
from langroute.decision import StepAnswer
from langroute.effects import run
from langroute.endpoints import Endpoints
from langroute.errors import NoEndpointAvailable
from langroute.health import Obstacle
from langroute.request import Request
from langroute.routing.plan import Planner

ASKED = (HumanMessage("Who wrote it?"),)
DOWN = Obstacle("down", 9.0)
HARD = (HumanMessage("Prove why it holds, derive the bound, compare both and explain each step. " * 20),)


def tool_turn(name, status="success", *, named=True):
    call = {"id": "1", "name": name, "args": {}}
    result = ToolMessage("done", tool_call_id="1", name=name if named else None, status=status)
    return (HumanMessage("Do it"), AIMessage("", tool_calls=[call]), result)


def tiers(plan):
    return [rung.tier for rung in plan.rungs]


def test_plain_binding_is_the_cascade(make_policy, plan):
    made = plan(make_policy("small", "large"), Request(ASKED))
    assert made.rungs == (Rung("small", (Choice("small"),)), Rung("large", (Choice("large"),)))
    assert made.reasons == ("work is bound to small, then large",)


@pytest.mark.parametrize(
    "step",
    [
        {},
        {"repair": 2, "on_exhausted": "raise", "deadline_s": 9.0},
        {"continue_streams": True},
        {"after_tool": {"search": "large"}},
        {"on_tool_error": "large"},
        {"route": {"difficulty": {"threshold": 0.1}}},
        {"explore": 0.1},
        {"boundary": ["hosted"]},
        {"latency_budget_s": 9.0},
    ],
    ids=str,
)
def test_plan_kept_for_every_request_is_the_one_that_weighing_makes(
    make_policy, plan, endpoint, monkeypatch, step
):
    twins = {"models": [endpoint("small"), endpoint("twin", context_tokens=8192, expected_s=2.0)]}
    answered = AIMessage("Ann.", response_metadata={"langroute": {"endpoint": "large"}})
    requests = [
        Request(ASKED),
        Request(HARD),
        Request(tool_turn("search", "error"), tools=({"name": "search", "parameters": {}},)),
        Request((*ASKED, answered, HumanMessage("When?"))),
        Request((HumanMessage("x" * 36_800),)),
        Request(ASKED, metadata={"langroute_stakes": "high"}),
    ]
    policies = [make_policy(step=step, tiers={"small": twins}), make_policy("small", "large", step=step)]
    kept = [plan(policy, request) for policy in policies for request in requests]
    monkeypatch.setattr(Planner, "_fixed", lambda *_: None)
    assert kept == [plan(policy, request) for policy in policies for request in requests]


def test_plan_of_a_step_that_leaves_nothing_to_weigh_is_made_once(make_policy):
    policy = make_policy("small", "large")
    planner, answer = Planner(policy, Endpoints(policy)), StepAnswer("work", "said", "")
    first, second = (run(planner.plan(Request(messages), answer)) for messages in (ASKED, HARD))
    assert first is second


def test_plan_is_priced_where_the_policy_limits_money(make_policy, plan):
    policy = make_policy("small", "large", budget={"approve_above_usd": 0.5})
    made = plan(policy, Request(ASKED))
    usd = [(6 * 0.25 + 500 * 2) / 1e6, (6 * 1.25 + 500 * 10) / 1e6]
    assert made.rungs == (
        Rung("small", (Choice("small", pytest.approx(usd[0])),)),
        Rung("large", (Choice("large", pytest.approx(usd[1])),)),
    )


def test_plan_carries_what_the_policy_says_of_repairs_limits_and_ends(make_policy, plan):
    step = {"repair": 2, "on_exhausted": "raise", "latency_budget_s": 9.0}
    made = plan(make_policy(step=step, budget={"approve_above_usd": 0.5}), Request(ASKED))
    assert (made.repairs, made.on_exhausted) == (2, "raise")
    assert (made.latency_budget_s, made.approve_above_usd) == (9.0, 0.5)


def test_unknown_step_is_bound_as_the_default(make_policy, plan):
    policy = make_policy(default={"cascade": ["medium"]})
    made = plan(policy, Request(ASKED), answer=StepAnswer("mystery", "said", ""))
    assert (made.step, tiers(made)) == ("mystery", ["medium"])


def test_prompt_that_does_not_fit_a_window_skips_the_endpoint_with_figures(make_policy, plan, endpoint):
    policy = make_policy(tiers={"small": {"models": [endpoint("small", context_tokens=8192)]}})
    made = plan(policy, Request((HumanMessage("x" * 36_800),)))
    assert tiers(made) == ["medium", "large"]
    skipped = next(reason for reason in made.reasons if reason.startswith("skipped small: "))
    assert "8,192" in skipped
    assert "dropped tier small: it has no endpoint left" in made.reasons


def test_endpoint_that_cannot_call_tools_is_passed_over_for_its_fallback(make_policy, plan, endpoint):
    models = [endpoint("plain", capabilities={"tools": False}), endpoint("skilled")]
    policy = make_policy("small", tiers={"small": {"models": models}})
    request = Request(ASKED, tools=({"name": "search", "parameters": {}},))
    assert [choice.endpoint for choice in plan(policy, request).rungs[0].choices] == ["skilled"]


def test_boundary_of_a_step_is_kept(make_policy, plan, endpoint):
    mixed = {"models": [endpoint("far"), endpoint("near", boundary="local")]}
    policy = make_policy("small", tiers={"small": mixed}, step={"boundary": ["local"]})
    made = plan(policy, Request(ASKED))
    assert [choice.endpoint for rung in made.rungs for choice in rung.choices] == ["near"]
    assert "skipped far: boundary hosted is not one that work allows" in made.reasons


def test_unavailable_endpoint_is_passed_over_with_its_reason(make_policy, plan):
    def closed_only(endpoint):
        return Obstacle("its circuit is open", 9.0) if endpoint.name == "small" else None

    made = plan(make_policy(), Request(ASKED), unavailable=closed_only)
    assert tiers(made) == ["medium", "large"]
    assert "skipped small: its circuit is open" in made.reasons


def test_nothing_left_raises_and_says_why_of_each(make_policy, plan, endpoint):
    mute = {name: {"models": [endpoint(name, capabilities={"tools": False})]} for name in ("small", "large")}
    with pytest.raises(NoEndpointAvailable, match=r"step work.*small: cannot call.*large: cannot call"):
        plan(make_policy("small", "large", tiers=mute), Request(ASKED, tools=(tool_turn,)))


def test_last_endpoint_stays_and_is_the_one_that_is_back_first(make_policy, plan):
    waits = {
        "small": Obstacle("down", 9.0),
        "medium": Obstacle("down", 3.0),
        "large": Obstacle("down", 600.0),
    }
    made = plan(make_policy(), Request(ASKED), unavailable=lambda e: waits[e.name])
    assert tiers(made) == ["medium"]
    assert made.reasons[-1] == "kept medium all the same: a step keeps its last endpoint"


def test_only_endpoint_of_a_step_stays_and_the_reasons_tell_of_its_circuit(make_policy, plan):
    made = plan(make_policy("small"), Request(ASKED), unavailable=lambda _: DOWN)
    assert tiers(made) == ["small"]
    assert "skipped small: down" in made.reasons


def test_endpoint_that_cannot_take_the_request_is_never_the_one_that_stays(make_policy, plan, endpoint):
    mute = {"small": {"models": [endpoint("small", capabilities={"tools": False})]}}
    asked = Request(ASKED, tools=(tool_turn,))
    made = plan(make_policy("small", "large", tiers=mute), asked, unavailable=lambda _: DOWN)
    assert tiers(made) == ["large"]


STAKES = {"normal": {"tier": "medium"}, "high": {"tier": "large"}}


@pytest.mark.parametrize(
    ("said", "own", "expected", "reason"),
    [
        (None, "normal", ["medium", "large"], "stakes normal, the step's own: medium or above answers"),
        ("high", None, ["large"], "stakes high, said by the caller: large or above answers"),
        ("normal", "high", ["large"], "stakes normal, said by the caller: medium or above answers"),
        ("hihg", None, ["large"], "stakes 'hihg' is no level of the policy, so it counts as the highest"),
        (["high"], None, ["large"], "stakes ['high'] is no level of the policy"),
    ],
)
def test_stakes_are_a_floor_and_the_higher_demand_counts(make_policy, plan, said, own, expected, reason):
    policy = make_policy(step={"stakes": own}, stakes=STAKES)
    made = plan(policy, Request(ASKED, metadata={"langroute_stakes": said}))
    assert tiers(made) == expected
    assert (reason in "; ".join(made.reasons)) is (said != "normal")


def test_stakes_above_the_cascade_bring_in_the_tier_they_demand(make_policy, plan):
    policy = make_policy("small", stakes=STAKES)
    made = plan(policy, Request(ASKED, metadata={"langroute_stakes": "high"}))
    assert tiers(made) == ["large"]
    assert "the step's cascade ends below large, so large takes its place" in made.reasons


def test_stakes_said_without_levels_in_the_policy_start_at_the_top(make_policy, plan):
    made = plan(make_policy(), Request(ASKED, metadata={"langroute_stakes": "high"}))
    assert tiers(made) == ["large"]


def test_stakes_are_never_met_by_a_lower_tier(make_policy, plan):
    policy = make_policy(step={"stakes": "high"}, stakes=STAKES)
    made = plan(policy, Request(ASKED), unavailable=lambda e: DOWN if e.tier == "large" else None)
    assert tiers(made) == ["large"]


@pytest.mark.parametrize(
    ("cascade", "start", "expected", "reason"),
    [
        (("small", "large"), "large", ["large"], "rule vip (metadata tier): starts at large"),
        (("small", "large"), "medium", ["large"], "rule vip (metadata tier): starts at large"),
        (
            ("small", "medium"),
            "large",
            ["medium"],
            "rule vip (metadata tier): wants large, clamped to medium",
        ),
        (("small",), "large", ["small"], "rule vip (metadata tier): wants large, clamped to small"),
        (("medium", "large"), "small", ["medium", "large"], "so it has no effect"),
    ],
)
def test_rule_starts_within_the_cascade(make_policy, plan, cascade, start, expected, reason):
    rule = {"name": "vip", "when": {"metadata": {"tier": "gold"}}, "start": start}
    made = plan(make_policy(*cascade, rules=[rule]), Request(ASKED, metadata={"tier": "gold"}))
    assert tiers(made) == expected
    assert reason in made.reasons[-1]


def test_wanted_tier_without_endpoints_leaves_the_highest_that_has_some(make_policy, plan):
    policy = make_policy("small", "medium", "large", rules=[{"when": {}, "start": "large"}])
    made = plan(policy, Request(ASKED), unavailable=lambda e: DOWN if e.tier == "large" else None)
    assert tiers(made) == ["medium"]


@pytest.mark.parametrize(
    ("messages", "expected", "reason"),
    [
        (tool_turn("run_sql"), ["large"], "reads the result of run_sql: starts at large"),
        (tool_turn("run_sql", named=False), ["large"], "reads the result of run_sql: starts at large"),
        (tool_turn("search", "error"), ["medium", "large"], "the call of search failed: starts at medium"),
        (
            tool_turn("search"),
            ["small", "medium", "large"],
            "work is bound to small, then medium, then large",
        ),
    ],
)
def test_tool_result_raises_the_start(make_policy, plan, messages, expected, reason):
    policy = make_policy(step={"after_tool": {"run_sql": "large"}, "on_tool_error": "medium"})
    made = plan(policy, Request(messages))
    assert tiers(made) == expected
    assert made.reasons[-1] == reason


def test_slow_endpoints_are_passed_over_with_figures(make_policy, plan, endpoint):
    slow = {"models": [endpoint("large", "large", expected_s=12)]}
    made = plan(make_policy(tiers={"large": slow}, step={"latency_budget_s": 1.5}), Request(ASKED))
    assert tiers(made) == ["small", "medium"]
    assert made.reasons[-1] == "skipped large: expected 12 s do not fit the step's 1.5 s"


def test_fastest_endpoint_stays_when_none_fits(make_policy, plan, endpoint):
    models = [
        endpoint("fast", expected_s=1),
        endpoint("slow", expected_s=9),
        endpoint("less slow", expected_s=4),
    ]
    policy = make_policy("small", tiers={"small": {"models": models}}, step={"latency_budget_s": 2})
    made = plan(policy, Request(ASKED), unavailable=lambda e: DOWN if e.name == "fast" else None)
    assert [choice.endpoint for choice in made.rungs[0].choices] == ["less slow"]
    assert "kept the fastest, less slow, expected to take 4 s" in made.reasons[-1]


def test_latency_does_not_undercut_what_a_rule_demanded(make_policy, plan, endpoint):
    slow = {"models": [endpoint("large", "large", expected_s=12)]}
    rules = [{"when": {}, "start": "large"}]
    policy = make_policy(tiers={"large": slow}, step={"latency_budget_s": 1.5}, rules=rules)
    assert tiers(plan(policy, Request(ASKED))) == ["large"]


@pytest.mark.parametrize(
    ("messages", "threshold", "expected"),
    [
        (ASKED, 0.5, ["small", "medium", "large"]),  # score 0.11
        (HARD, 0.75, ["medium", "large"]),  # score 0.79, in the lower half of what is above the threshold
        (HARD, 0.5, ["large"]),  # in the upper half
        (ASKED, 0.0, ["medium", "large"]),
        (HARD, 1.0, ["small", "medium", "large"]),  # no score reaches 1
    ],
)
def test_difficulty_shares_out_the_rungs_above_the_first(make_policy, plan, messages, threshold, expected):
    policy = make_policy(step={"route": {"difficulty": {"threshold": threshold}}})
    made = plan(policy, Request(messages))
    assert tiers(made) == expected
    assert made.reasons[-1].startswith("difficulty 0.")
    assert f"{threshold:g}" in made.reasons[-1]


def test_difficulty_never_lowers_what_a_rule_demanded(make_policy, plan):
    step = {"route": {"difficulty": {"threshold": 0.9}}}
    made = plan(make_policy(step=step, rules=[{"when": {}, "start": "medium"}]), Request(ASKED))
    assert tiers(made) == ["medium", "large"]


def test_unsure_step_starts_at_its_safe_tier(make_policy, plan):
    answer = StepAnswer("default", "classified", "it was late", unsure=True)
    made = plan(make_policy(default={"cascade": ["small", "large"]}), Request(ASKED), answer=answer)
    assert tiers(made) == ["large"]
    assert made.reasons[-1] == "unsure which step this is: starts at its safe tier, large"
