"""Structured output over the OpenAI client: a reply that does not parse is rejected, paid for and told of."""

from typing import Any

import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from langroute import RoutedChatModel
from langroute.errors import AllAttemptsFailed
from langroute.testing import LoopbackProvider, capture_decisions

GOOD = '{"number": "17", "total": 3.5}'


class Invoice(BaseModel):
    """An invoice."""

    number: str
    total: float = Field(ge=0)


class TypedInvoice(TypedDict):
    """An invoice."""

    number: str
    total: float


def routed(provider: LoopbackProvider, **step: Any) -> RoutedChatModel:
    tiers = {
        tier: {
            "models": [{"model": provider.chat_model(tier), "name": tier, "price": {"input": 1, "output": 2}}]
        }
        for tier in ("small", "large")
    }
    return RoutedChatModel({"tiers": tiers, "steps": {"answer": {"cascade": ["small", "large"], **step}}})


@pytest.mark.parametrize("bad", ["The total is 3.5.", '{"number": "17", "total": -3}', '{"number": "17"}'])
async def test_reply_that_does_not_parse_is_rejected_and_escalates(bad: str) -> None:
    with LoopbackProvider({"small": bad, "large": GOOD}) as provider:
        model = routed(provider).for_step("answer").with_structured_output(Invoice)
        usage = UsageMetadataCallbackHandler()
        with capture_decisions() as decisions:
            assert model.invoke("?", {"callbacks": [usage]}) == Invoice(number="17", total=3.5)
            assert await model.ainvoke("?") == Invoice(number="17", total=3.5)
    for decision in decisions:
        assert [(a.outcome, a.cost_basis) for a in decision.attempts] == [
            ("rejected", "priced"),
            ("accepted", "priced"),
        ]
        assert "structured" in decision.attempts[0].findings[0]
    assert set(usage.usage_metadata) == {"small", "large"}


def test_repair_is_told_what_does_not_parse() -> None:
    with LoopbackProvider({"small": ["nope", GOOD], "large": GOOD}) as provider:
        model = routed(provider, repair=1).for_step("answer").with_structured_output(Invoice)
        assert model.invoke("?").total == 3.5
        told = provider.requests[1].body["messages"][-1]["content"]
    assert "does not parse" in told


def test_fenced_json_is_read() -> None:
    with LoopbackProvider({"small": f"```json\n{GOOD}\n```", "large": GOOD}) as provider:
        model = routed(provider).for_step("answer").with_structured_output(Invoice)
        assert model.invoke("?").number == "17"
        assert provider.calls("large") == 0


def test_schema_reaches_the_provider_as_strictly_as_the_client_would_send_it() -> None:
    with LoopbackProvider({"small": GOOD, "large": GOOD}) as provider:
        routed(provider).for_step("answer").with_structured_output(Invoice).invoke("?")
        sent = provider.requests[0].body["response_format"]["json_schema"]
    assert (sent["name"], sent["strict"]) == ("Invoice", True)
    assert sent["schema"]["additionalProperties"] is False


@pytest.mark.parametrize(
    "schema", [Invoice, TypedInvoice, Invoice.model_json_schema()], ids=["pydantic", "typed", "json"]
)
def test_object_that_lacks_a_required_field_is_rejected_whatever_the_schema_is_written_in(
    schema: Any,
) -> None:
    replies = {"small": '{"number": "17"}', "large": GOOD}
    with LoopbackProvider(replies) as provider, capture_decisions() as decisions:
        routed(provider).for_step("answer").with_structured_output(schema).invoke("?")
    assert [attempt.outcome for attempt in decisions[0].attempts] == ["rejected", "accepted"]


def test_when_none_parses_the_error_says_what_every_attempt_came_to() -> None:
    with LoopbackProvider({"small": "no", "large": "neither"}) as provider:
        model = routed(provider).for_step("answer").with_structured_output(Invoice)
        with pytest.raises(AllAttemptsFailed) as caught:
            model.invoke("?")
    assert "small: structured: the reply does not parse" in str(caught.value)
    assert "large: structured: the reply does not parse" in str(caught.value)


def test_judge_whose_grade_cannot_be_read_is_on_the_bill() -> None:
    judged = {"judge": {"rubric": "true", "tier": "large"}}
    with LoopbackProvider({"small": "It was 1866.", "large": "I like it."}) as provider:
        with capture_decisions() as decisions:
            routed(provider, verify=[judged], cascade=["small"]).for_step("answer").invoke("?")
        assert provider.calls("large") == 1
    verdict = decisions[0].attempts[0].verdicts[0]
    assert verdict.unsure
    assert [spend.endpoint for spend in verdict.spend] == ["large"]
    assert verdict.spend[0].cost_usd
