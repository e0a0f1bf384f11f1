"""How a policy writes verifiers: every form is read, written back, described, and refused with help."""

import jsonschema
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from langroute.verifiers import VERIFIERS, Confidence, Custom, Grounded, NoRefusal, Schema, VerifierSpec

SPEC = TypeAdapter(VerifierSpec)

FORMS = [
    "schema",
    "tool_calls",
    "not_repeating",
    "citations",
    "no_refusal",
    {"grounded": {"in": "documents"}},
    {"grounded": {"in": "prompt", "fields": ["a.b"], "min": 0.5}},
    {"confidence": {"min": 0.7}},
    {"required_fields": ["a", "b"]},
    {"schema": {"json_schema": {"type": "object"}}},
    {"tool_calls": {"required": True}},
    {"length": {"min_chars": 3, "max_chars": 9}},
    {"patterns": {"forbidden": ["x+"], "required": ["y"]}},
    {"language": {"is": "same"}},
    {"judge": {"rubric": "Good?", "tier": "large", "min": 0.6}},
    {"agreement": {"tier": "small"}},
    {"all_of": ["schema", {"any_of": ["citations", {"grounded": {"in": "documents"}}]}]},
    {"sampled": {"share": 0.1, "verify": [{"judge": {"rubric": "Good?", "tier": "large"}}]}},
]
SHORT = [
    ({"confidence": 0.7}, {"confidence": {"min": 0.7}}),
    ({"grounded": "documents"}, {"grounded": {"in": "documents"}}),
    ({"not_repeating": 2}, {"not_repeating": {"max": 2}}),
    ({"language": "en"}, {"language": {"is": "en"}}),
    ({"self_rated": 0.5}, {"self_rated": {"min": 0.5}}),
    ({"not_duplicate": 0.8}, {"not_duplicate": {"max_similarity": 0.8}}),
    ({"all_of": "schema"}, {"all_of": ["schema"]}),
    ({"sampled": {"share": 0.1, "verify": "schema"}}, {"sampled": {"share": 0.1, "verify": ["schema"]}}),
    ({"schema": {}}, "schema"),
]


class Step(BaseModel):
    verify: tuple[VerifierSpec, ...] = ()


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_is_read_and_written_back_as_it_was(form):
    assert SPEC.dump_python(SPEC.validate_python(form), mode="json") == form


@pytest.mark.parametrize(("short", "full"), SHORT, ids=str)
def test_short_form_is_read_and_written_back_in_full(short, full):
    verifier = SPEC.validate_python(short)
    assert SPEC.dump_python(verifier, mode="json") == full
    assert SPEC.validate_python(full) == verifier


@pytest.fixture(scope="module")
def schemas():
    return {mode: Step.model_json_schema(mode=mode) for mode in ("validation", "serialization")}


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_json_schema_is_one(schemas, mode):
    jsonschema.Draft202012Validator.check_schema(schemas[mode])


@pytest.mark.parametrize("form", [*FORMS, *(short for short, _ in SHORT)], ids=str)
@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_json_schema_accepts_every_form(schemas, form, mode):
    assert jsonschema.Draft202012Validator(schemas[mode]).is_valid({"verify": [form]})


WRONG = [
    ("shema", "did you mean 'schema'"),
    ("no-refusal", "did you mean 'no_refusal'"),
    ("xyz", "there is no verifier 'xyz': The verifiers are: agreement, all_of"),
    ("confidence", "`confidence` needs a mapping with its settings: settings: `min`, `of`"),
    (
        {"schema": {}, "citations": {}},
        "this mapping has 2 (schema, citations): write each as an entry of its own",
    ),
    ({}, "this mapping has 0"),
    (3, "not int"),
    (["schema"], "not list"),
    ({"confidence": {"min": 2}}, "confidence.min"),
    ({"confidence": {"max": 0.2, "min": 0.1}}, "confidence.max"),
    ({"grounded": {"in": "docs"}}, "grounded.in"),
    ({"all_of": [{"any_of": ["shema"]}]}, "all_of.verify.0.any_of.verify.0"),
    ({"all_of": []}, "at least 1 item"),
    ({"citations": 3}, "`citations` has no settings, so it takes no 3: write it alone"),
    ({"language": "xx"}, "language"),
    ({"schema": {"json_schema": {"type": "nope"}}}, "this is no JSON Schema"),
]


@pytest.mark.parametrize(("form", "message"), WRONG, ids=str)
def test_form_that_cannot_work_is_refused_with_what_is_wrong(form, message):
    with pytest.raises(ValidationError) as error:
        SPEC.validate_python(form)
    told = " ".join(".".join(map(str, e["loc"])) + " " + e["msg"] for e in error.value.errors())
    assert message in told


@pytest.mark.parametrize(
    "form", ["shema", "confidence", {"schema": {}, "citations": {}}, {}, 3, {"grounded": {"in": "x"}}]
)
def test_json_schema_refuses_it_too(schemas, form):
    assert not jsonschema.Draft202012Validator(schemas["validation"]).is_valid({"verify": [form]})


def no_prices(case):
    return "$" not in case.text


def test_objects_from_python_are_taken_as_they_are():
    verifiers = Step(verify=(Confidence(min=0.5), NoRefusal, no_prices)).verify
    assert verifiers == (Confidence(min=0.5), NoRefusal(), Custom(function=no_prices))
    assert Step(verify=verifiers).model_dump()["verify"][2] == f"{__name__}.no_prices"


def test_registry_names_every_verifier_once():
    assert all(verifier.name == name for name, verifier in VERIFIERS.items())
    assert list(VERIFIERS) == sorted(VERIFIERS)
    assert VERIFIERS["schema"] is Schema
    assert VERIFIERS["grounded"] is Grounded


@pytest.mark.parametrize("spec", [{"confidence": True}, {"length": {"min_chars": True}}])
def test_true_is_no_number(spec):
    with pytest.raises(ValidationError, match="should be a number"):
        TypeAdapter(VerifierSpec).validate_python(spec)
