"""Classifiers: keywords, then examples, then a small model; what fails is unsure, what is barred is blind."""

import asyncio
import threading

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.messages import HumanMessage

from langroute.effects import arun, run
from langroute.endpoints import Endpoints
from langroute.policy import Policy
from langroute.request import Request
from langroute.routing.intent import Embedder
from langroute.steps import StepFinder
from langroute.testing import ScriptedChatModel


class ByFirstLetter(Embeddings):
    """Puts texts on two axes by their first letter and notes what it saw."""

    def __init__(self, error=None):
        self.seen = []
        self.error = error

    def embed_documents(self, texts):
        self.seen.extend(texts)
        if self.error is not None:
            raise self.error
        return [[float(text[0] == letter) for letter in "et"] + [0.1] for text in texts]

    def embed_query(self, text):
        return self.embed_documents([text])[0]


class Stuck(ScriptedChatModel):
    """Answers once it is let go."""

    def _generate(self, *args, **kwargs):
        RELEASED.wait(5)
        return super()._generate(*args, **kwargs)


RELEASED = threading.Event()
EXAMPLES = {"extraction": ["extract the names"], "tickets": ["ticket, open one"]}
KEYWORDS = {"extraction": ["extract", "names"], "tickets": ["ticket"]}


def policy(chat=None, *, boundary="hosted", default=None, tickets=None, **classify):
    """Two steps; the tier `asked` holds the classifying model and nothing else uses it."""
    tiers = {
        "asked": {
            "models": [
                {"model": chat or ScriptedChatModel(reply="ok"), "name": "asked", "boundary": boundary}
            ]
        },
        "local": {"models": [{"model": ScriptedChatModel(reply="ok"), "name": "local", "boundary": "local"}]},
    }
    steps = {"extraction": {"cascade": ["local"]}, "tickets": {"cascade": ["local"], **(tickets or {})}}
    default = {"cascade": ["local"], **(default or {})}
    return Policy(tiers=tiers, steps=steps, default=default, classify=classify)


def finding(written, text, embedder=None):
    request = Request((HumanMessage(text),))
    return StepFinder(written, Endpoints(written), embedder).find(request)


def find(written, text, embedder=None):
    return run(finding(written, text, embedder))


@pytest.mark.parametrize(
    ("text", "step", "reason"),
    [
        ("Extract all NAMES of the ticket", "extraction", "2 of its keywords in the prompt"),
        ("extract the ticket", "default", "keywords of extraction and tickets alike"),
        ("hello", "default", "no keyword in the prompt"),
    ],
)
def test_most_keywords_win_and_a_tie_is_no_answer(text, step, reason):
    answer = find(policy(keywords=KEYWORDS), text)
    assert (answer.step, answer.reason, answer.unsure) == (step, reason, False)
    assert answer.source == ("default" if step == "default" else "classified")


@pytest.mark.parametrize(
    ("text", "step", "reason"),
    [
        ("tell them", "tickets", "nearest to its examples, similarity 1.00"),
        ("zebra", "default", "nearest examples are extraction's, similarity 0.10 < 0.5"),
    ],
)
def test_nearest_example_must_be_near_enough(text, step, reason):
    answer = find(policy(examples=EXAMPLES), text, Embedder(ByFirstLetter()))
    assert (answer.step, answer.reason, answer.unsure) == (step, reason, False)


def test_small_model_names_the_step_and_is_on_the_bill():
    model = ScriptedChatModel(reply={"step": "tickets"})
    answer = find(policy(model, model="asked"), "something else")
    assert (answer.step, answer.source, answer.reason) == ("tickets", "classified", "named by asked")
    assert [(spend.purpose, spend.endpoint) for spend in answer.spend] == [("classifier", "asked")]
    assert "- extraction\n- tickets\n- default" in model.calls[0].messages[0].content


def test_classifiers_are_tried_in_order_and_only_as_far_as_needed():
    model = ScriptedChatModel(reply={"step": "tickets"})
    embeddings = ByFirstLetter()
    written = policy(model, model="asked", keywords=KEYWORDS, examples=EXAMPLES)
    assert find(written, "names", Embedder(embeddings)).step == "extraction"
    assert (embeddings.seen, model.calls) == ([], [])
    assert find(written, "eh?", Embedder(embeddings)).step == "extraction"
    assert model.calls == []
    assert find(written, "zebra", Embedder(embeddings)).step == "tickets"


def test_model_that_finds_none_of_the_steps_is_sure_of_it():
    answer = find(policy(ScriptedChatModel(reply={"step": "default"}), model="asked"), "hello")
    assert (answer.step, answer.source, answer.unsure) == ("default", "classified", False)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({"step": "delete_everything"}, "asked named 'delete_everything', which is no step of the policy"),
        ({"stage": "tickets"}, "asked gave no answer"),
        (ConnectionError("no route to host"), "no route to host"),
    ],
)
def test_nonsense_and_errors_leave_the_step_unsure(reply, reason):
    answer = find(policy(ScriptedChatModel(reply=reply), model="asked"), "hello")
    assert (answer.step, answer.source, answer.unsure) == ("default", "classified", True)
    assert reason in answer.reason


def test_late_model_leaves_the_step_unsure_and_the_bill_open():
    RELEASED.clear()
    answer = find(policy(Stuck(reply={"step": "tickets"}), model="asked", timeout_s=0.05), "hello")
    RELEASED.set()
    assert (answer.unsure, answer.reason) == (True, "asked gave no answer: it was late")
    assert [spend.cost_usd for spend in answer.spend] == [None]


def test_failed_embeddings_leave_the_word_to_the_model():
    broken = Embedder(ByFirstLetter(ConnectionError("down")))
    written = policy(ScriptedChatModel(reply={"step": "tickets"}), model="asked", examples=EXAMPLES)
    assert find(written, "hello", broken).step == "tickets"
    alone = find(policy(examples=EXAMPLES), "hello", broken)
    assert (alone.step, alone.unsure) == ("default", True)
    assert "the embeddings gave no answer: it failed, " in alone.reason


@pytest.mark.parametrize("who", ["default", "tickets"])
def test_model_outside_any_possible_steps_boundary_never_sees_the_prompt(who):
    model = ScriptedChatModel(reply={"step": "extraction"})
    answer = find(policy(model, model="asked", **{who: {"boundary": ["local"]}}), "hello")
    assert model.calls == []
    assert (answer.step, answer.source, answer.unsure) == ("default", "default", False)
    assert (
        answer.reason == f"asked passed over: the prompt may be {who}'s, which does not allow boundary hosted"
    )


def test_model_inside_every_boundary_is_asked():
    model = ScriptedChatModel(reply={"step": "extraction"})
    written = policy(model, boundary="local", model="asked", tickets={"boundary": ["local"]})
    assert find(written, "hello").step == "extraction"


def test_embeddings_are_barred_by_the_steps_of_the_examples_and_the_default_alone():
    embeddings = ByFirstLetter()
    local_tickets = {"boundary": ["local"]}
    barred = find(policy(examples=EXAMPLES, tickets=local_tickets), "eh?", Embedder(embeddings))
    assert (barred.step, embeddings.seen) == ("default", [])
    assert "examples passed over: the prompt may be tickets's" in barred.reason
    fewer = {"extraction": EXAMPLES["extraction"]}
    allowed = find(policy(examples=fewer, tickets=local_tickets), "eh?", Embedder(embeddings))
    assert allowed.step == "extraction"


def test_async_classifying_gives_the_same_answer():
    written = policy(ScriptedChatModel(reply={"step": "tickets"}), model="asked", examples=EXAMPLES)
    embedder = Embedder(ByFirstLetter())
    assert asyncio.run(arun(finding(written, "zebra", embedder))) == find(written, "zebra", embedder)


def test_interrupt_of_the_host_passes_through_a_classifier():
    class GraphBubbleUp(Exception):
        pass

    with pytest.raises(GraphBubbleUp):
        find(policy(examples=EXAMPLES), "hello", Embedder(ByFirstLetter(GraphBubbleUp())))
