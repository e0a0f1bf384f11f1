"""A call that langroute makes of its own: paid for, marked, parsed, bounded, the same in sync and async."""

import asyncio
import threading

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel, Field

from langroute.accounts import pico_of
from langroute.asking import UnreadableOpinion, ask
from langroute.budget import Budget, Limit
from langroute.cost import Spend
from langroute.effects import arun, run
from langroute.endpoints import Endpoint
from langroute.errors import NoReply
from langroute.policy import ModelSpec
from langroute.testing import LoopbackProvider, ScriptedChatModel

USAGE = {"input_tokens": 1_000, "output_tokens": 100, "total_tokens": 1_100}


class Grade(BaseModel):
    """A grade."""

    score: float


class Bounded(BaseModel):
    """A grade within its bounds."""

    score: float = Field(ge=0, le=1)


class Many(BaseModel):
    """More fields than a sentence names."""

    first: int = Field(le=0)
    second: int = Field(le=0)
    third: int
    fourth: int


class Runs(BaseCallbackHandler):
    """Keeps what each model run was started with."""

    def __init__(self):
        self.started = []

    def on_chat_model_start(self, serialized, messages, *, tags=None, metadata=None, **kwargs):
        self.started.append((tags, metadata))


def endpoint(*replies, bind=None, **spec):
    model = ScriptedChatModel(name="judge", replies=list(replies), usage=USAGE)
    spec = {"price": {"input": 1.0, "output": 10.0}, "name": "j"} | spec
    return Endpoint(ModelSpec(model=model.bind(**bind) if bind else model, **spec), "small")


def drive(flow, mode):
    return run(flow) if mode == "sync" else asyncio.run(arun(flow))


both = pytest.mark.parametrize("mode", ["sync", "async"])


@both
def test_an_answer_comes_with_its_cost_on_the_bill(mode):
    opinion = drive(ask(endpoint("yes"), "Is it?", purpose="judge"), mode)

    assert (opinion.message.text, opinion.parsed) == ("yes", None)
    assert opinion.spend == Spend("judge", "j", opinion.spend.usage, pytest.approx(0.002))
    assert opinion.spend.usage.input_tokens == 1_000


@both
def test_an_answer_is_parsed_into_the_schema(mode):
    opinion = drive(ask(endpoint({"score": 0.5}), "Grade it", purpose="judge", schema=Grade), mode)

    assert opinion.parsed == Grade(score=0.5)
    assert opinion.spend.cost_usd == pytest.approx(0.002)


@both
@pytest.mark.parametrize("answer", [{"mark": "good"}, "I would rather not"])
def test_an_answer_that_does_not_parse_is_an_error_that_is_paid_for(mode, answer):
    with pytest.raises(UnreadableOpinion, match="j gave no readable judge answer") as caught:
        drive(ask(endpoint(answer), "Grade it", purpose="judge", schema=Grade), mode)

    assert caught.value.spend.cost_usd == pytest.approx(0.002)


UNREADABLE = [
    ('{"mark": "hunter2"}', "score is missing"),
    ('{"score": 7}', "score must be at most 1"),
    ('{"score": "hunter2"}', "score is not what was asked for"),
    ("hunter2", "it is no JSON"),
    ('{"score": 0.5', "it is no JSON"),
    ("[0.5]", "it is not what was asked for"),
]


@pytest.mark.parametrize(("answer", "said"), UNREADABLE)
def test_why_an_answer_cannot_be_read_is_said_in_our_words_and_quotes_nothing_of_it(answer, said):
    with LoopbackProvider({"judge": answer}) as provider:
        subject = Endpoint(ModelSpec(model=provider.chat_model("judge"), name="j"), "small")
        with pytest.raises(UnreadableOpinion) as caught:
            run(ask(subject, "Grade it", purpose="judge", schema=Bounded))

    assert str(caught.value) == f"j gave no readable judge answer: {said}"


def test_of_many_fields_that_cannot_be_read_three_are_named():
    with pytest.raises(UnreadableOpinion) as caught:
        run(ask(endpoint({"first": 1, "second": 2}), "Grade it", purpose="judge", schema=Many))

    said = "first must be at most 0, second must be at most 0, third is missing, and 1 more"
    assert str(caught.value).endswith(f": {said}")


def test_an_answer_without_an_object_is_called_so():
    with pytest.raises(UnreadableOpinion, match="j gave no readable judge answer: it holds no object"):
        run(ask(endpoint("hunter2"), "Grade it", purpose="judge", schema=Bounded))


@pytest.mark.parametrize("schema", [None, Grade])
def test_the_run_says_what_it_is_for_and_stays_out_of_the_graphs_tokens(schema):
    runs = Runs()

    run(
        ask(
            endpoint({"score": 1}),
            "?",
            purpose="judge",
            schema=schema,
            config={"callbacks": [runs], "tags": ["t"]},
        )
    )

    ((tags, metadata),) = runs.started
    assert {"nostream", "t"} <= set(tags)
    assert metadata["langroute_purpose"] == "judge"


@both
def test_the_callers_callbacks_are_inherited_from_where_it_runs(mode):
    runs, subject = Runs(), endpoint("yes")

    def step(_):
        return run(ask(subject, "?", purpose="classifier", timeout_s=5.0))

    async def astep(_):
        return await arun(ask(subject, "?", purpose="classifier", timeout_s=5.0))

    outer = RunnableLambda(step, afunc=astep)
    config = {"callbacks": [runs]}
    outer.invoke("x", config) if mode == "sync" else asyncio.run(outer.ainvoke("x", config))

    assert len(runs.started) == 1


@pytest.mark.parametrize("schema", [None, Grade])
def test_what_is_bound_to_the_asked_model_is_passed_on(schema):
    subject = endpoint({"score": 1}, bind={"seed": 7})

    run(ask(subject, "?", purpose="judge", schema=schema))

    assert subject.model.calls[0].kwargs["seed"] == 7


def test_an_unknown_price_is_unknown_on_the_bill():
    opinion = run(ask(endpoint("yes", price=None), "?", purpose="judge"))

    assert opinion.spend.cost_usd is None


@pytest.mark.parametrize("limit", [{"timeout_s": 0.02}, {}])
def test_a_late_answer_is_a_timeout(limit):
    release = threading.Event()

    class Slow(ScriptedChatModel):
        def _generate(self, *args, **kwargs):
            release.wait(5)  # bounded, so that a missing limit fails the test and does not hang it
            return super()._generate(*args, **kwargs)

    spec = ModelSpec(model=Slow(reply="yes"), timeout_s=None if limit else 0.02)
    with pytest.raises(TimeoutError):
        run(ask(Endpoint(spec, "small"), "?", purpose="judge", **limit))
    release.set()


@both
def test_an_error_of_the_asked_model_is_raised(mode):
    with pytest.raises(ConnectionError):
        drive(ask(endpoint(ConnectionError("down")), "?", purpose="judge"), mode)


class Speechless(ScriptedChatModel):
    """Gives a message of another role, which is no answer."""

    def _generate(self, messages, *args, **kwargs):
        generation = ChatGeneration.model_construct(message=HumanMessage("yes"), text="")
        return ChatResult(generations=[generation])


@both
def test_an_answer_that_is_none_leaves_nothing_held(mode):
    purse = Budget([Limit("per_day_usd", "day", pico_of(1.0))]).purse(run=None, thread=None, metadata={})
    asked = Endpoint(ModelSpec(model=Speechless(reply=""), price={"input": 1.0, "output": 10.0}), "small")
    with pytest.raises(NoReply):
        drive(ask(asked, "Is it?", purpose="judge", purse=purse), mode)

    ((_, balance),) = run(purse.look()).left
    assert balance.held == 0
