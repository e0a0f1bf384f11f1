"""A step bound to `local`: a hosted provider receives nothing of it, whatever kind of call is made."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel
from routed_models import BAD, GOOD, MODES, down, shown

from langroute import Policy, PolicyError, RoutedChatModel
from langroute.errors import NoEndpointAvailable
from langroute.testing import LoopbackProvider, ScriptedChatModel, capture_decisions

PRIVATE = "What is the diagnosis of patient 4711?"


@pytest.fixture(scope="module")
def hosted() -> Iterator[LoopbackProvider]:
    """A provider that must receive nothing."""
    with LoopbackProvider({"hosted-a": "LEAKED", "hosted-b": "LEAKED", "embedder": "LEAKED"}) as provider:
        yield provider


@cache
def client(hosted: LoopbackProvider, name: str) -> BaseChatModel:
    return hosted.chat_model(name)


def routed(
    hosted: LoopbackProvider, local: Any, *, policy: dict[str, Any] | None = None, **step: Any
) -> RoutedChatModel:
    """Return a model whose step is bound to `local`, though each of its tiers has hosted endpoints first."""

    def spec(name: str, model: BaseChatModel, boundary: str) -> dict[str, Any]:
        return {"model": model, "name": name, "boundary": boundary}

    said = {"replies": local} if isinstance(local, list) else {"reply": local}
    tiers = {
        "small": [
            spec("hosted-a", client(hosted, "hosted-a"), "hosted"),
            spec("local-a", ScriptedChatModel(name="local-a", **said), "local"),
        ],
        "large": [
            spec("hosted-b", client(hosted, "hosted-b"), "hosted"),
            spec("local-b", ScriptedChatModel(name="local-b", reply=GOOD), "local"),
        ],
        "elsewhere": [spec("hosted-c", client(hosted, "hosted-a"), "hosted")],
    }
    binding = {"cascade": ["small", "large"], "boundary": ["local"], **step}
    return RoutedChatModel({"tiers": tiers, "steps": {"answer": binding}, **(policy or {})}).for_step(
        "answer"
    )


CALLS: dict[str, Callable[[LoopbackProvider], RoutedChatModel]] = {
    "plain call": lambda hosted: routed(hosted, GOOD),
    "fallback": lambda hosted: routed(hosted, down()),
    "escalation": lambda hosted: routed(hosted, BAD, verify=["no_refusal"]),
    "repair": lambda hosted: routed(hosted, [BAD, GOOD], verify=["no_refusal"], repair=1),
    "judge": lambda hosted: routed(hosted, GOOD, verify=[{"judge": {"tier": "large", "rubric": "Good?"}}]),
    "agreement": lambda hosted: routed(hosted, GOOD, verify=[{"agreement": {"tier": "large"}}]),
    "self-rating": lambda hosted: routed(hosted, [GOOD, {"certainty": 1}], verify=[{"self_rated": 0.5}]),
    "judge inside a combinator": lambda hosted: routed(
        hosted, GOOD, verify=[{"any_of": [{"judge": {"tier": "large", "rubric": "Good?"}}]}]
    ),
    "difficulty": lambda hosted: routed(hosted, GOOD, route={"difficulty": {"threshold": 0}}),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_nothing_of_a_local_step_is_sent_to_a_hosted_provider(
    call: Callable[[LoopbackProvider], RoutedChatModel], mode: str, hosted: LoopbackProvider
) -> None:
    assert await shown(call(hosted), mode, PRIVATE) == GOOD
    assert hosted.requests == []


def test_judge_that_has_only_the_judged_endpoint_left_is_not_looked_for_elsewhere(
    hosted: LoopbackProvider,
) -> None:
    model = routed(hosted, GOOD, verify=[{"judge": {"tier": "small", "rubric": "Good?"}}], cascade=["small"])
    reply = model.invoke(PRIVATE)
    assert (
        "within boundary local"
        in reply.response_metadata["langroute"]["attempts"][0]["verdicts"][0]["reason"]
    )
    assert hosted.requests == []


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_structured_calls_and_tools_stay_inside(way: str, hosted: LoopbackProvider) -> None:
    class Diagnosis(BaseModel):
        """A diagnosis."""

        text: str

    def look(patient: int) -> str:
        """Look up a patient."""
        return str(patient)

    structured = routed(hosted, ["none", {"text": "flu"}], repair=1).with_structured_output(Diagnosis)
    tools = routed(hosted, GOOD).bind_tools([look])
    if way == "async":
        assert (await structured.ainvoke(PRIVATE)).text == "flu"
        await tools.ainvoke(PRIVATE)
    else:
        assert structured.invoke(PRIVATE).text == "flu"
        tools.invoke(PRIVATE)
    assert hosted.requests == []


STAKES = {"stakes": {"high": {"tier": "large"}, "highest": {"tier": "elsewhere"}}}


def test_stakes_above_the_cascade_are_met_inside(hosted: LoopbackProvider) -> None:
    model = routed(hosted, GOOD, cascade=["small"], policy=STAKES)
    reply = model.invoke(PRIVATE, {"metadata": {"langroute_stakes": "high"}})
    assert reply.response_metadata["langroute"]["endpoint"] == "local-b"
    assert hosted.requests == []


def test_stakes_that_only_hosted_models_meet_stop_the_call(hosted: LoopbackProvider) -> None:
    with pytest.raises(NoEndpointAvailable):
        routed(hosted, GOOD, policy=STAKES).invoke(PRIVATE, {"metadata": {"langroute_stakes": "highest"}})
    assert hosted.requests == []


@pytest.mark.parametrize(
    "check", [{"judge": {"tier": "elsewhere", "rubric": "Good?"}}, {"agreement": {"tier": "elsewhere"}}]
)
def test_judge_that_could_never_be_asked_is_found_when_the_policy_is_loaded(
    check: dict[str, Any], hosted: LoopbackProvider
) -> None:
    with pytest.raises(PolicyError, match="boundary"):
        routed(hosted, GOOD, verify=[check])


# Before the plan -----------------------------------------------------------------------------------------


class Leaky(Embeddings):
    """Embeddings that send every text to the hosted provider."""

    def __init__(self, hosted: LoopbackProvider) -> None:
        self._model = client(hosted, "embedder")

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self._model.invoke("; ".join(texts))
        return [[1.0, 0.5] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def unsaid(model: RoutedChatModel) -> RoutedChatModel:
    """Return the model as one of whose calls nobody has said the step."""
    return model.model_copy(update={"step": None})


@pytest.mark.parametrize("mode", MODES)
async def test_classifying_model_never_sees_what_may_be_a_local_steps_prompt(
    mode: str, hosted: LoopbackProvider
) -> None:
    default = {"cascade": ["small"], "boundary": ["local"]}
    model = unsaid(routed(hosted, GOOD, policy={"classify": {"model": "elsewhere"}, "default": default}))
    with capture_decisions() as decisions:
        assert await shown(model, mode, PRIVATE) == GOOD
    assert hosted.requests == []
    assert "passed over" in decisions[0].step.reason


@pytest.mark.parametrize("mode", MODES)
async def test_classifying_embeddings_never_see_it_either(mode: str, hosted: LoopbackProvider) -> None:
    default = {"cascade": ["small"], "boundary": ["local"]}
    classify = {"examples": {"answer": ["What is the diagnosis?"]}}
    built = routed(hosted, GOOD)
    written = {**dict(built.policy), "classify": classify, "default": default}
    model = RoutedChatModel(Policy(**written), embeddings=Leaky(hosted))
    assert await shown(model, mode, PRIVATE) == GOOD
    assert hosted.requests == []


@pytest.mark.parametrize("mode", MODES)
async def test_rules_on_intent_embed_nothing_of_a_local_step(mode: str, hosted: LoopbackProvider) -> None:
    policy = {
        "intents": {"medical": ["What is the diagnosis?"]},
        "rules": [{"when": {"intent": "medical"}, "start": "large"}],
    }
    built = routed(hosted, GOOD)
    model = RoutedChatModel(Policy(**{**dict(built.policy), **policy}), embeddings=Leaky(hosted)).for_step(
        "answer"
    )
    assert await shown(model, mode, PRIVATE) == GOOD
    assert hosted.requests == []


def test_local_embeddings_may_see_it(hosted: LoopbackProvider) -> None:
    class Local(Embeddings):
        seen: list[str] = []  # noqa: RUF012 - a test's own list

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            self.seen.extend(texts)
            return [[1.0, 0.0] for _ in texts]

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    policy = {
        "intents": {"medical": ["What is the diagnosis?"]},
        "rules": [{"when": {"intent": "medical"}, "start": "large"}],
    }
    local = Local()
    written = {**dict(routed(hosted, "from small").policy), **policy}
    model = RoutedChatModel(Policy(**written), embeddings=local, embeddings_boundary="local").for_step(
        "answer"
    )
    assert model.invoke(PRIVATE).response_metadata["langroute"]["tier"] == "large"
    assert PRIVATE in local.seen
