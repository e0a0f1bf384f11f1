"""The JSON Schema accepts what may be written and refuses what may not, so that an editor can help."""

import json
from datetime import date

import jsonschema
import pytest
from policies import DESIGN_YAML, TIERS, written

from langroute.errors import PolicyError
from langroute.loading import read
from langroute.policy import Policy, policy_schema

VALIDATOR = jsonschema.Draft202012Validator(policy_schema())

GOOD = [
    {"tiers": {"a": "openai:x"}},
    {"tiers": {"a": ["openai:x", {"model": "openai:y"}]}},
    {"tiers": {"a": {"models": "openai:x"}}},
    {"tiers": {"a": {"models": {"model": "openai:x", "price": {"input": 1, "output": 2}}}}},
    {"tiers": TIERS, "default": {"cascade": "large"}},
    {"tiers": TIERS, "steps": {"x": {"cascade": ["small", "large"], "nodes": "re*", "boundary": "hosted"}}},
    {
        "tiers": TIERS,
        "default": {"cascade": "large", "verify": "schema", "reviewed": "2025-01-01", "why": None},
    },
    {"tiers": TIERS, "default": {"cascade": "large", "verify": {"confidence": 0.7}}},
    {
        "tiers": TIERS,
        "steps": {
            "a": {"cascade": ["small", "large"]},
            "b": {"cascade": "large", "verify": "citations", "blame": "a"},
        },
    },
    {"tiers": TIERS, "stakes": {"high": {"tier": "large"}, "tools": {"delete_file": "high"}}},
    {
        "tiers": TIERS,
        "rules": [{"when": {"keywords": "refund", "metadata": {"a": [1, "b"], "c": None}}, "start": "large"}],
    },
    {"tiers": TIERS, "intents": {"complaint": "Broken!"}, "classify": {"keywords": {"planning": "plan"}}},
]

BAD = [
    {},
    {"tiers": {}},
    {"tiers": {"a": "gpt-5"}},
    {"tiers": {"a": []}},
    {"tiers": {"a": {"models": [{"model": "openai:x", "api_key": "k"}]}}},
    {"tiers": {"a": {"models": [{"model": "openai:x", "timeout_s": 0}]}}},
    {"tiers": TIERS, "step": {}},
    {"tiers": TIERS, "version": 2},
    {"tiers": TIERS, "default": {"cascade": []}},
    {"tiers": TIERS, "default": {"cascade": "large", "repair": 4}},
    {"tiers": TIERS, "default": {"cascade": "large", "repair": "1"}},
    {"tiers": TIERS, "default": {"cascade": "large", "verify": "shema"}},
    {"tiers": TIERS, "default": {"cascade": "large", "on_exhausted": "stop"}},
    {"tiers": TIERS, "default": {"cascade": "large", "blame": ["a"]}},
    {"tiers": TIERS, "stakes": {"high": {"teir": "large"}}},
    {"tiers": TIERS, "rules": [{"when": {"metadata": {"a": {}}}, "start": "large"}]},
    {"tiers": TIERS, "budget": {"per_run": 1}},
]


def test_the_schema_is_a_sound_draft_2020_12_schema():
    jsonschema.Draft202012Validator.check_schema(policy_schema())

    assert policy_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_designs_example_is_accepted_by_the_schema(tmp_path):
    VALIDATOR.validate(read(written(tmp_path, DESIGN_YAML)))


@pytest.mark.parametrize("policy", GOOD, ids=range(len(GOOD)))
def test_what_loads_is_accepted_by_the_schema(policy):
    assert Policy.load(policy)
    VALIDATOR.validate(policy)


@pytest.mark.parametrize("policy", BAD, ids=range(len(BAD)))
def test_what_is_refused_for_its_form_is_refused_by_the_schema(policy):
    assert not VALIDATOR.is_valid(policy)
    with pytest.raises(PolicyError):
        Policy.load(policy)


def test_what_a_policy_dumps_is_accepted_by_schema_and_loader(tmp_path):
    policy = Policy.load(written(tmp_path, DESIGN_YAML))

    dumped = json.loads(policy.model_dump_json())

    VALIDATOR.validate(dumped)
    assert Policy.load(dumped).digest == policy.digest


def test_a_toml_date_is_text_to_schema_and_policy(tmp_path):
    text = '[tiers]\na = "openai:x"\n[default]\ncascade = "a"\nreviewed = 2025-01-01\nwhy = 2025-01-02\n'
    path = written(tmp_path, text, "policy.toml")

    VALIDATOR.validate(read(path))
    assert Policy.load(path).default.reviewed == date(2025, 1, 1)
    assert Policy.load(path).default.why == "2025-01-02"


def test_every_key_is_described():
    objects = [policy_schema(), *policy_schema()["$defs"].values()]

    silent = [
        key for node in objects for key, field in node["properties"].items() if not field.get("description")
    ]

    assert silent == []
