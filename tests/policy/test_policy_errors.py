"""Every problem of a policy names key path, value and remedy; all are told at once; a secret never is."""

import traceback

import pytest
from policies import TIERS, problem_at, problems_of, refused, written

from langroute.errors import LangrouteError
from langroute.policy import Policy, StepPolicy


@pytest.mark.parametrize(
    ("path", "policy", "value", "says"),
    [
        (
            "steps.plan.cascde",
            {"steps": {"plan": {"cascade": "large", "cascde": 1}}},
            "1",
            "Did you mean `cascade`?",
        ),
        ("steps.plan.cascade", {"steps": {"plan": {}}}, "", "Add `cascade`: tiers, cheapest first."),
        (
            "steps.plan.repair",
            {"steps": {"plan": {"cascade": "large", "repair": 9}}},
            "9",
            "must be at most 3",
        ),
        (
            "steps.plan.repair",
            {"steps": {"plan": {"cascade": "large", "repair": True}}},
            "true",
            "a whole number",
        ),
        (
            "steps.plan.nodes[1]",
            {"steps": {"plan": {"cascade": "large", "nodes": ["a", 7]}}},
            "7",
            "in quotes",
        ),
        (
            "default.on_exhausted",
            {"default": {"cascade": "large", "on_exhausted": "bst"}},
            "'bst'",
            "'best', 'raise'",
        ),
        ("default.verify", {"default": {"cascade": "large", "verify": None}}, "null", "Write a list"),
        ("default.verify[0]", {"default": {"cascade": "large", "verify": ["shema"]}}, "'shema'", "'schema'"),
        (
            "default.verify.confidence.mim",
            {"default": {"cascade": "large", "verify": {"confidence": {"mim": 1}}}},
            "1",
            "Did you mean `min`?",
        ),
        (
            "default.reviewed",
            {"default": {"cascade": "large", "reviewed": "soon"}},
            "'soon'",
            "a date as 2025-12-31",
        ),
        (
            "default.latency_budget_s",
            {"default": {"cascade": "large", "latency_budget_s": "2"}},
            "'2'",
            "Write a number",
        ),
        ("budget.per_run", {"budget": {"per_run": 0.25}}, "0.25", "Did you mean `per_run_usd`?"),
        ("stakes.high.teir", {"stakes": {"high": {"tier": "large", "teir": 1}}}, "1", "Did you mean `tier`?"),
        (
            "rules[0].when.metadata.a",
            {"rules": [{"when": {"metadata": {"a": {}}}, "start": "large"}]},
            "{}",
            "plain values only",
        ),
        (
            "rules[0].when.step",
            {"rules": [{"when": {"step": []}, "start": "large"}]},
            "[]",
            "must not be empty",
        ),
        ("intents.a", {"intents": {"a": []}}, "[]", "must not be empty"),
        (
            "classify.examples.planning",
            {"classify": {"examples": {"planning": []}}},
            "[]",
            "must not be empty",
        ),
        ("version", {"version": True}, "'true'", "Write 1."),
        ("version", {"version": 2}, "2", "Write 1."),
        ("tiers", {"tiers": {}}, "{}", "must not be empty"),
        ("tiers.a", {"tiers": {"a": "gpt-5"}}, "'gpt-5'", "for example `openai:gpt-5-nano`"),
        ("tiers.a", {"tiers": {"a": "https://host/v1"}}, "'https://host/v1'", "Write `provider:model`"),
        ("tiers.a[1]", {"tiers": {"a": ["o:x", "openai:"]}}, "'openai:'", "Write `provider:model`"),
        (
            "tiers.a.models[0].price.input",
            {"tiers": {"a": {"models": [{"model": "o:x", "price": {"input": -1, "output": 1}}]}}},
            "-1",
            "must be at least 0",
        ),
        ("['a key.']", {"a key.": 1}, "1", "unknown key"),
        (
            "default.verify[0]",
            {"default": {"cascade": "large", "verify": [{"confidnce": 0.7}]}},
            "{confidnce: 0.7}",
            "Did you mean 'confidence'?",
        ),
        (
            "default.verify[0]",
            {"default": {"cascade": "large", "verify": [{"judge": None, "tier": "large"}]}},
            "{judge: null, tier: 'large'}",
            "Write each as an entry of its own",
        ),
        (
            "default.verify[0]",
            {"default": {"cascade": "large", "verify": ["judge"]}},
            "'judge'",
            "Settings: `rubric`, `tier`, `min`.",
        ),
        (
            "default.verify[0]",
            {"default": {"cascade": "large", "verify": [{"judge": 3}]}},
            "{judge: 3}",
            "Settings: `rubric`, `tier`, `min`.",
        ),
        (
            "default.verify[0]",
            {"default": {"cascade": "large", "verify": [{"citations": 3}]}},
            "{citations: 3}",
            "Write it alone.",
        ),
        ("default.verify[0]", {"default": {"cascade": "large", "verify": [3]}}, "3", "Write, for example,"),
        (
            "rules[0].when.language",
            {"rules": [{"when": {"language": "english"}, "start": "large"}]},
            "'english'",
            "'en'",
        ),
        (
            "rules[0].when.language[1]",
            {"rules": [{"when": {"language": ["de", "xx"]}, "start": "large"}]},
            "'xx'",
            "not one of the allowed values",
        ),
    ],
)
def test_a_problem_names_its_place_its_value_and_what_to_do(path, policy, value, says):
    problem = problem_at(path, **policy)

    assert problem.value == value
    assert says in f"{problem.message}. {problem.remedy}"


def test_all_problems_are_told_at_once_whatever_finds_them(tmp_path):
    text = (
        "tiers: {s: 'openai:a', l: 'openai:b'}\nbudgets: 1\ncache_margin: lots\n"
        "steps: {x: {cascade: [l, s], verfy: schema}, y: {cascade: m}}\n"
        "rules: [{when: {min_tokens: -1}, start: l}]\n"
    )

    assert set(problems_of(written(tmp_path, text))) == {
        "budgets",
        "cache_margin",
        "steps.x.verfy",
        "steps.x.cascade[1]",
        "steps.y.cascade[0]",
        "rules[0].when.min_tokens",
    }


def test_python_and_files_are_refused_with_the_same_words(tmp_path):
    path = written(tmp_path, "tiers: {s: 'openai:a'}\nstep: {}\n")

    from_file, from_python = refused(path), refused({"tiers": {"s": "openai:a"}, "step": {}})

    assert from_file.problems == from_python.problems
    assert (from_file.source, from_python.source) == (str(path), "policy")


def test_a_policy_error_is_a_value_error_of_this_package():
    error = refused({})

    assert isinstance(error, LangrouteError)
    assert isinstance(error, ValueError)


@pytest.mark.parametrize("builder", [lambda data: Policy(**data), Policy.load])
def test_every_way_to_build_a_policy_raises_policy_errors_only(builder):
    with pytest.raises(LangrouteError, match="unknown tier"):
        builder({"tiers": TIERS, "default": StepPolicy(cascade=("huge",))})


def test_data_that_holds_itself_is_refused():
    settings: dict[str, object] = {}
    settings["again"] = settings

    error = refused({"tiers": {"s": {"models": [{"model": "o:x", "settings": settings}]}}})

    assert "nested deeper than 32 levels" in str(error)


@pytest.mark.parametrize("odd", [{7: 1}, {"a": {7: 1}}, {"a": b"bytes"}, {"a": float("nan")}, {"a": 10**400}])
def test_python_values_that_no_file_can_hold_are_refused(odd):
    assert refused({"tiers": TIERS, **odd}).problems


SECRET = "sk-proj-abcdefghijklmnop1234"  # noqa: S105 - it only looks like one


@pytest.mark.parametrize(
    "policy",
    [
        {"api_key": SECRET},
        {"tiers": {"a": f"openai {SECRET}"}},
        {"tiers": {"a": {"models": [{"model": "o:x", "api_key": SECRET}]}}},
        {"tiers": {"a": {"models": [{"model": "o:x", "settings": {"openai_api_key": SECRET}}]}}},
        {
            "tiers": {
                "a": {
                    "models": [{"model": "o:x", "settings": {"default_headers": {"Authorization": SECRET}}}]
                }
            }
        },
        {"tiers": {"a": {"models": [{"model": "o:x", "settings": {"stop": [SECRET]}}]}}},
        {
            "tiers": {
                "a": {"models": [{"model": "o:x", "settings": {"base_url": f"https://u:{SECRET}@host/v1"}}]}
            }
        },
        {
            "tiers": {
                "a": {
                    "models": [{"model": "o:x", "settings": {"base_url": f"https://host/v1?token={SECRET}"}}]
                }
            }
        },
        {SECRET: 1},
        {"default": {"cascade": SECRET}},
        {"default": {"cascade": "large", "verify": SECRET}},
        {"default": {"cascade": "large", "verify": {"confidence": {"min": 0.5, "token": SECRET}}}},
        {"rules": [{"when": {"metadata": {"password": {"x": SECRET}}}, "start": "large"}]},
        {"tiers": {"a": {"models": {"settings": {"x": [SECRET]}}}}},
        {"default": {"cascade": {"small": SECRET}}},
        {"default": {"cascade": [[SECRET]]}},
        {"default": {"cascade": [["Authorization", SECRET[3:]]]}},
        {"default": {"cascade": {SECRET: 1}}},
        {"default": {"cascade": {"password": SECRET[3:]}}},
        {"default": {"cascade": {"x": {"password": [SECRET[3:]]}}}},
    ],
)
def test_a_secret_is_refused_and_never_shown(policy):
    error = refused({"tiers": TIERS, **policy})

    told = "".join(traceback.format_exception(error)) + repr(error.problems) + repr(error.__context__)
    assert SECRET[3:] not in told
    assert error.problems


@pytest.mark.parametrize(
    "key", ["api_key", "openai_api_key", "Authorization", "x-api-key", "token", "hf_token"]
)
def test_settings_hold_no_secret_whatever_it_looks_like(key):
    settings = {"default_headers": {key: "plain"}}

    problem = problem_at(
        f"tiers.a.models[0].settings.default_headers.{key}",
        tiers={"a": {"models": [{"model": "o:x", "settings": settings}]}},
    )

    assert (problem.value, problem.message) == ("***", "a secret has no place in a policy")
    assert "keys come from the environment" in problem.remedy


def test_what_only_sounds_like_a_secret_is_a_setting():
    settings = {"max_tokens": 10, "max_completion_tokens": 10, "prompt_cache_key": "a", "tokenizer": "x"}
    settings |= {
        "base_url": "https://host/sketch-of-something-long-2",
        "stop": ["Basic understanding", "Bearer of"],
    }

    policy = Policy(tiers={"a": {"models": [{"model": "o:x", "settings": settings}]}})

    assert policy.tiers["a"].models[0].settings == settings


def test_a_long_value_is_shortened():
    problem = problem_at("default.cascade[0]", default={"cascade": "x" * 5_000})

    assert len(problem.value) < 80
    assert problem.value.endswith("…'")


def test_a_large_list_or_mapping_is_shortened():
    deep = {"a": {"b": {"c": {"d": 1}}}}
    wide = ["word" * 10] * 50

    assert problem_at("default.why", default={"cascade": "large", "why": deep}).value == "{a: {b: {c: {…}}}}"
    assert problem_at("default.nodes[0]", default={"cascade": "large", "nodes": [wide]}).value.endswith("…]")
    assert len(problem_at("default.nodes[0]", default={"cascade": "large", "nodes": [wide]}).value) < 130
