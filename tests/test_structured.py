"""Structured output: a reply without an object is rejected inside the cascade, whatever the schema."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel
from routed_models import calls, down, routed
from typing_extensions import TypedDict

from langroute import RoutedChatModel
from langroute.cascade import Attempt
from langroute.errors import AllAttemptsFailed
from langroute.testing import Answer, LoopbackProvider, ScriptedChatModel, capture_decisions


class Date(BaseModel):
    """A date."""

    year: int


class DateDict(TypedDict):
    """A date."""

    year: int


DATE_JSON = {
    "title": "Date",
    "description": "A date.",
    "type": "object",
    "properties": {"year": {"type": "integer"}},
    "required": ["year"],
}

SCHEMAS = [(Date, Date(year=1866)), (DateDict, {"year": 1866}), (DATE_JSON, {"year": 1866})]


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize(("schema", "wanted"), SCHEMAS, ids=["pydantic", "typeddict", "json"])
async def test_every_kind_of_schema_gives_its_object(schema: Any, wanted: Any, way: str) -> None:
    model = routed({"small-a": {"year": 1866}}).with_structured_output(schema)
    assert (await model.ainvoke("When?") if way == "async" else model.invoke("When?")) == wanted


NO_OBJECT = {
    "a parse error": {"year": "long ago"},
    "no tool call at all": "It was 1866.",
    "broken arguments": Answer(tool_calls=(("Date", '{"year": 18'),)),
}
NO_REPLY = {"a refusal": Answer(refusal="I cannot say."), "nothing": Answer("")}


async def two_attempts(said: Any, way: str) -> tuple[Attempt, ...]:
    """Return the attempts of a call whose first endpoint says this, and whose second gives the object."""
    structured = routed({"small-a": said, "large-a": {"year": 1866}}).with_structured_output(Date)
    with capture_decisions() as decisions:
        answer = await structured.ainvoke("When?") if way == "async" else structured.invoke("When?")
    assert answer == Date(year=1866)
    return decisions[0].attempts


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("said", NO_OBJECT.values(), ids=NO_OBJECT.keys())
async def test_reply_without_an_object_escalates(said: Any, way: str) -> None:
    first, second = await two_attempts(said, way)
    assert (first.outcome, second.why, second.outcome) == ("rejected", "escalation", "accepted")
    assert [verdict.verifier for verdict in first.verdicts if not verdict.accepted] == ["structured"]


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("said", NO_REPLY.values(), ids=NO_REPLY.keys())
async def test_refusal_and_silence_fall_back(said: Any, way: str) -> None:
    first, second = await two_attempts(said, way)
    assert (first.outcome, second.why, second.outcome) == ("failed", "fallback", "accepted")


METHODS = ["function_calling", "json_schema", "json_mode"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "said", [Answer(refusal="I cannot say."), Answer("no date here")], ids=["refusal", "prose"]
)
def test_real_client_without_an_object_escalates_by_every_method(method: str, said: Answer) -> None:
    def large(body: dict[str, Any]) -> Answer:
        return (
            Answer(tool_calls=(("Date", {"year": 1866}),)) if body.get("tools") else Answer('{"year": 1866}')
        )

    with LoopbackProvider({"small": said, "large": large}) as provider:
        model = routed({name: provider.chat_model(name) for name in ("small", "large")})
        answer = model.with_structured_output(Date, method=method).invoke("When? Answer as json.")
    assert answer == Date(year=1866)


def test_include_raw_gives_what_langchains_own_gives() -> None:
    answer = (
        routed({"small-a": {"year": 1866}}).with_structured_output(Date, include_raw=True).invoke("When?")
    )
    assert set(answer) == {"raw", "parsed", "parsing_error"}
    assert answer["parsed"] == Date(year=1866)
    assert answer["raw"].response_metadata["langroute"]["outcome"] == "accepted"


def test_include_raw_returns_the_best_reply_where_none_has_an_object() -> None:
    model = routed({"small-a": {"year": "long ago"}, "large-a": {"year": "never"}})
    answer = model.with_structured_output(Date, include_raw=True).invoke("When?")
    assert answer["parsed"] is None
    assert answer["parsing_error"] is not None
    assert isinstance(answer["raw"], AIMessage)
    assert answer["raw"].response_metadata["langroute"]["outcome"] == "best"
    assert calls(model) == {"small-a": 1, "large-a": 1}


def test_no_object_from_anyone_raises_every_attempt() -> None:
    model = routed({"small-a": "none", "large-a": down()}).with_structured_output(Date)
    with pytest.raises(AllAttemptsFailed) as raised:
        model.invoke("When?")
    assert [type(error).__name__ for error in raised.value.exceptions] == [
        "RejectedReply",
        "ModelConnectionError",
    ]
    assert [attempt.outcome for attempt in raised.value.decision.attempts] == ["rejected", "failed"]


def test_a_repair_is_told_what_did_not_parse() -> None:
    model = routed({"small-a": [{"year": "long ago"}, {"year": 1866}]}, repair=1)
    assert model.with_structured_output(Date).invoke("When?") == Date(year=1866)
    *_, tool_result, told = model.router.endpoints.by_name["small-a"].model.calls[1].messages
    assert tool_result.status == "error"
    assert "year" in told.text


def test_verifiers_see_the_parsed_object() -> None:
    def after_1850(case: Any) -> bool:
        return bool(case.parsed.year > 1850)

    model = routed({"small-a": {"year": 1801}, "large-a": {"year": 1866}}, verify=[after_1850])
    assert model.with_structured_output(Date).invoke("When?") == Date(year=1866)


def test_schema_makes_the_call_an_extraction_and_for_step_overrules_it() -> None:
    tiers = {
        name: [ScriptedChatModel(name=name, reply={"year": year})]
        for name, year in (("small", 1), ("large", 2))
    }
    steps = {"extraction": {"cascade": ["small"]}, "planning": {"cascade": ["large"]}}
    structured = RoutedChatModel({"tiers": tiers, "steps": steps}).with_structured_output(Date)
    assert structured.invoke("When?").year == 1
    assert structured.for_step("planning").invoke("When?").year == 2


def test_arguments_go_to_the_endpoints_own_method() -> None:
    with LoopbackProvider({"small": '{"year": 1866}'}) as provider:
        model = routed({"small": provider.chat_model("small")})
        model.with_structured_output(Date, method="json_schema", strict=True).invoke("When?")
        sent = provider.requests[0].body["response_format"]["json_schema"]
    assert sent["strict"] is True


def test_arguments_of_the_call_itself_are_refused_by_name() -> None:
    structured = routed({"small-a": {"year": 1}}).with_structured_output(Date)
    with pytest.raises(TypeError, match="temperature"):
        structured.invoke("When?", temperature=0)


async def test_structured_model_composes_streams_and_batches() -> None:
    structured = routed({"small-a": {"year": 1866}}).with_structured_output(Date)
    chain = structured | RunnableLambda(lambda date: date.year)
    assert chain.invoke("When?") == 1866
    assert list(structured.stream("When?")) == [Date(year=1866)]
    assert [date async for date in structured.astream("When?")] == [Date(year=1866)]
    assert structured.batch(["a", "b"]) == [Date(year=1866)] * 2
    assert structured.with_retry().invoke("When?") == Date(year=1866)
