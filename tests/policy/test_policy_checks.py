"""A policy that cannot work is refused when it is built: the faults that no schema can see."""

import pytest
from policies import TIERS, problem_at, problems_of

from langroute.policy import Policy
from langroute.testing import ScriptedChatModel

LARGE = {"cascade": "large"}
BOTH = {"cascade": ["small", "large"]}


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("default.cascade[0]", {"default": {"cascade": "lrge"}}),
        ("steps.plan.after_tool.sql", {"steps": {"plan": {**LARGE, "after_tool": {"sql": "lrge"}}}}),
        ("steps.plan.on_tool_error", {"steps": {"plan": {**LARGE, "on_tool_error": "lrge"}}}),
        ("rules[0].start", {"rules": [{"when": {}, "start": "lrge"}]}),
        ("stakes.high.tier", {"stakes": {"high": {"tier": "lrge"}}}),
        ("classify.model", {"classify": {"model": "lrge"}}),
        (
            "default.verify[0].judge.tier",
            {"default": {**LARGE, "verify": {"judge": {"tier": "lrge", "rubric": "Is it true?"}}}},
        ),
        (
            "default.verify[1].agreement.tier",
            {"default": {**LARGE, "verify": ["schema", {"agreement": {"tier": "lrge"}}]}},
        ),
        (
            "default.verify[0].all_of[0].agreement.tier",
            {"default": {**LARGE, "verify": {"all_of": [{"agreement": {"tier": "lrge"}}]}}},
        ),
        (
            "default.verify[0].sampled.verify[1].agreement.tier",
            {
                "default": {
                    **LARGE,
                    "verify": {
                        "sampled": {"share": 0.5, "verify": ["schema", {"agreement": {"tier": "lrge"}}]}
                    },
                }
            },
        ),
    ],
)
def test_an_unknown_tier_is_found_wherever_it_stands(path, policy):
    problem = problem_at(path, **policy)

    assert (problem.value, problem.message) == ("'lrge'", "unknown tier")
    assert "Did you mean `large`?" in problem.remedy


def at(base_url, model="openai:m"):
    return {"a": {"models": [{"model": model, "settings": {"base_url": base_url}}]}}


@pytest.mark.parametrize(
    "base_url",
    [
        "not a url",
        "",
        "127.0.0.1:8000/v1",
        "host/v1",
        "//host/v1",
        "ftp://host/v1",
        "htp://host/v1",
        "http://",
        "http:///v1",
        "http://a host/v1",
        "http://host/v1\n",
        "http://host:port/v1",
        "http://[::1/v1",
    ],
)
def test_an_address_at_which_no_server_can_be_is_found(base_url):
    problem = problem_at("tiers.a.models[0].settings.base_url", tiers=at(base_url), default={"cascade": "a"})

    assert problem.message == "no server can be at this address"


@pytest.mark.parametrize(
    ("base_url", "model"),
    [
        ("https://host/v1", "openai:m"),
        ("HTTP://127.0.0.1:8000", "openai:m"),
        ("http://[::1]:11434/v1", "openai:m"),
        ("https://münchen.example/v1", "anthropic:m"),
        ("localhost:11434", "ollama:m"),
    ],
)
def test_an_address_at_which_a_server_can_be_is_taken(base_url, model):
    Policy.load({"tiers": at(base_url, model), "default": {"cascade": "a"}})


@pytest.mark.parametrize(
    ("path", "policy", "says"),
    [
        (
            "default.stakes",
            {"default": {**LARGE, "stakes": "hi"}, "stakes": {"high": {"tier": "large"}}},
            "stakes level",
        ),
        ("stakes.tools.rm", {"stakes": {"tools": {"rm": "hi"}}}, "unknown stakes level"),
        ("rules[0].when.step[0]", {"rules": [{"when": {"step": "planing"}, "start": "large"}]}, "`planning`"),
        ("classify.keywords.planing", {"classify": {"keywords": {"planing": "plan"}}}, "`planning`"),
        ("classify.examples.planing", {"classify": {"examples": {"planing": "Plan it."}}}, "`planning`"),
        (
            "rules[0].when.intent[0]",
            {
                "rules": [{"when": {"intent": "refnd"}, "start": "large"}],
                "intents": {"refund": "Money back!"},
            },
            "`refund`",
        ),
    ],
)
def test_names_of_levels_steps_and_intents_must_lead_somewhere(path, policy, says):
    problem = problem_at(path, **policy)

    assert says in f"{problem.message}. {problem.remedy}"


@pytest.mark.parametrize(
    ("cascade", "path", "says"),
    [
        (["large", "small"], "default.cascade[1]", "goes down: `small` is below `large`"),
        (["small", "small"], "default.cascade[1]", "the tier is repeated"),
        (["small", "large", "small"], "default.cascade[2]", "goes down"),
    ],
)
def test_a_cascade_that_goes_down_or_repeats_a_tier_is_refused(cascade, path, says):
    assert says in problem_at(path, default={"cascade": cascade}).message


def test_the_order_of_the_tiers_is_the_order_in_the_policy():
    tiers = {"large": "openai:big", "small": "openai:nano"}

    assert Policy(tiers=tiers, default={"cascade": ["large", "small"]}).tier_order == ("large", "small")


@pytest.mark.parametrize("key", ["after_tool", "on_tool_error"])
def test_a_step_is_never_sent_past_its_cascade_by_a_tool(key):
    step = {"cascade": "small", key: {"sql": "large"} if key == "after_tool" else "large"}
    path = "steps.use.after_tool.sql" if key == "after_tool" else "steps.use.on_tool_error"

    assert "not in the step's cascade" in problem_at(path, steps={"use": step}).message


def test_a_step_must_reach_the_tier_that_its_stakes_demand():
    stakes = {"high": {"tier": "large"}}

    problem = problem_at(
        "steps.pay.stakes", steps={"pay": {"cascade": "small", "stakes": "high"}}, stakes=stakes
    )

    assert "above the step's cascade" in problem.message
    assert Policy(tiers=TIERS, steps={"pay": {**BOTH, "stakes": "high"}}, stakes=stakes)


LOCAL = {
    "small": {"models": [{"model": "ollama:llama3", "boundary": "local"}, "openai:nano"]},
    "large": "openai:big",
}


def test_a_boundary_that_empties_a_rung_is_refused():
    problem = problem_at("steps.x.boundary", tiers=LOCAL, steps={"x": {**BOTH, "boundary": "local"}})

    assert "leaves tier `large` of the cascade without endpoints" in problem.message
    assert "Allow `hosted`" in problem.remedy
    assert Policy(tiers=LOCAL, steps={"x": {"cascade": "small", "boundary": "local"}})


def test_a_boundary_is_shown_and_a_misspelt_one_leads_to_the_right_one():
    problem = problem_at(
        "steps.x.boundary", tiers=LOCAL, steps={"x": {"cascade": "small", "boundary": "locl"}}
    )

    assert problem.value == "['locl']"
    assert problem.remedy == "Did you mean `local`? Known: `hosted`, `local`."


def test_a_boundary_that_empties_a_judges_tier_is_refused():
    judge = {"judge": {"tier": "large", "rubric": "Is it true?"}}

    problem = problem_at(
        "steps.x.boundary",
        tiers=LOCAL,
        steps={"x": {"cascade": "small", "boundary": "local", "verify": judge}},
    )

    assert "leaves tier `large` that `judge` asks without endpoints" in problem.message


@pytest.mark.parametrize("pattern", ["(", "a{99999999999}", "*", "(" * 900, "\\Q"])
def test_a_pattern_that_does_not_compile_is_refused(pattern):
    problem = problem_at(
        "rules[0].when.patterns[0]", rules=[{"when": {"patterns": pattern}, "start": "large"}]
    )

    assert "not a regular expression" in problem.message


@pytest.mark.parametrize("unit", ["tokens", "documents"])
def test_a_range_from_more_to_less_is_refused(unit):
    rules = [{"when": {f"min_{unit}": 5, f"max_{unit}": 4}, "start": "large"}]

    assert "the rule never matches" in problem_at(f"rules[0].when.min_{unit}", rules=rules).message


def test_a_latency_budget_that_no_endpoint_meets_is_refused():
    tiers = {"small": {"models": [{"model": "openai:nano", "expected_s": 2.0}]}, "large": "openai:big"}

    problem = problem_at(
        "steps.x.latency_budget_s", tiers=tiers, steps={"x": {"cascade": "small", "latency_budget_s": 1.5}}
    )

    assert "expected to take 2 s" in problem.message
    assert Policy(tiers=tiers, steps={"x": {"cascade": "small", "latency_budget_s": 2.0}})


def test_an_endpoint_of_unknown_speed_may_meet_any_latency_budget():
    tiers = {"small": {"models": [{"model": "openai:nano", "expected_s": 2.0}]}, "large": "openai:big"}

    assert Policy(tiers=tiers, steps={"x": {**BOTH, "latency_budget_s": 1.5}})


def test_two_endpoints_of_one_written_name_are_refused():
    named = {"models": [{"model": "openai:a", "name": "it"}, {"model": "openai:b", "name": "it"}]}

    found = problems_of({"tiers": {"small": named}})

    assert set(found) == {"tiers.small.models[0].name", "tiers.small.models[1].name"}


def test_equal_models_are_told_apart_by_number():
    tiers = {
        "small": ["openai:a", {"model": "openai:b", "name": "openai:a#2"}],
        "large": ["openai:a", "openai:a"],
    }

    names = [spec.name for tier in Policy(tiers=tiers).tiers.values() for spec in tier.models]

    assert names == ["openai:a", "openai:a#2", "openai:a#3", "openai:a#4"]


def test_settings_beside_a_given_chat_model_are_refused_for_they_would_do_nothing():
    given = {"model": ScriptedChatModel(reply="x"), "settings": {"temperature": 0}}
    found = problems_of({"tiers": {"small": {"models": [given]}}})["tiers.small.models[0].settings"]
    assert "own settings" in found.message


BLAMED = {"extraction": BOTH}


def test_an_unknown_step_to_blame_is_found():
    steps = {**BLAMED, "synthesis": {**LARGE, "blame": "extracton"}}

    problem = problem_at("steps.synthesis.blame", steps=steps)

    assert (problem.message, problem.value) == ("unknown step", "'extracton'")
    assert "Did you mean `extraction`?" in problem.remedy


def test_a_step_of_one_tier_cannot_be_blamed():
    steps = {"extraction": LARGE, "synthesis": {**LARGE, "blame": "extraction"}}

    problem = problem_at("steps.synthesis.blame", steps=steps)

    assert "`extraction` has one tier" in problem.message
    assert problem.remedy == "Add a higher tier to the cascade of `extraction`, or remove `blame`."


@pytest.mark.parametrize(
    ("blames", "at", "circle"),
    [
        ({"a": "a"}, ["steps.a.blame"], "a blames a"),
        ({"a": "b", "b": "c", "c": "a", "d": "a"}, [f"steps.{n}.blame" for n in "abc"], "b blames c"),
        (
            {"a": "synthesis", "default": "a"},
            ["steps.a.blame", "default.blame"],
            "a blames synthesis blames a",
        ),
        ({"default": "synthesis"}, ["default.blame"], "default blames synthesis"),
    ],
)
def test_steps_that_blame_each_other_in_a_circle_are_refused(blames, at, circle):
    bound = {name: {**BOTH, "blame": blamed} for name, blamed in blames.items()}
    default = bound.pop("default", BOTH)

    found = problems_of({"tiers": TIERS, "steps": bound, "default": default})

    assert set(found) == set(at)
    assert circle in found[at[0]].message
    assert "remove `blame`" in found[at[0]].remedy


def test_a_long_circle_is_told_in_short():
    steps = {f"s{n}": {**BOTH, "blame": f"s{(n + 1) % 90}"} for n in range(90)}

    assert problem_at("steps.s0.blame", steps=steps).message.endswith("s2 blames s3 blames … blames s0")


def test_a_step_of_the_default_binding_may_be_blamed_where_that_has_more_than_one_tier():
    steps = {"synthesis": {**LARGE, "blame": "extraction"}}

    assert Policy.load({"tiers": TIERS, "steps": steps, "default": BOTH}).steps["synthesis"].blame
    assert "has one tier" in problem_at("steps.synthesis.blame", steps=steps).message
