"""Where the small stand-in fails and the large one does not, as real verifiers see it."""

import json

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langroute.request import Request
from langroute.testing.standins import LARGE, SMALL, Bm25, large, small
from langroute.verifiers.base import Case
from langroute.verifiers.citations import Citations
from langroute.verifiers.exchange import fenced_exchange
from langroute.verifiers.grounded import Grounded

LIBRARY = {
    "dams:1": "The Orrin dam was opened in 1931. It holds back the river Glass.",
    "rivers:4": "The Glass rises in the Hale hills. It meets the sea at Port Fenn.",
    "towns:2": "Port Fenn is a fishing town. The harbour of Port Fenn was built by the Dutch.",
    "people:9": "The Dutch came in 1702. They left after a storm.",
}
ONE_HOP = "Question: When was the Orrin dam opened?"
HOPS = "Question: The Orrin dam holds back a river; where does that river meet the sea?"
CITE = "Answer the question from the documents. Cite each sentence as [id]."
FACT = {"type": "object", "properties": {name: {"type": "string"} for name in ("claim", "quote", "document")}}
FACTS = {"type": "object", "properties": {"facts": {"type": "array", "items": FACT}}, "required": ["facts"]}


def documents(*names):
    return "\n".join(f'<document id="{name}">{LIBRARY[name]}</document>' for name in names)


def reply(model, prompt, schema=None):
    body = {"messages": [{"role": "system", "content": CITE}, {"role": "user", "content": prompt}]}
    if schema:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "Facts", "schema": schema}}
    return model(body)


def verdict(verifier, model, prompt, schema=None):
    return verifier.check(a_case(prompt, reply(model, prompt, schema).text))


def a_case(prompt, said):
    return Case(Request((HumanMessage(prompt),)), AIMessage(said), "tier", "endpoint", ask=None)


EASY = f"{documents('dams:1')}\n\n{ONE_HOP}"
HARD = f"{documents(*LIBRARY)}\n\n{HOPS}"
QUOTES = Grounded.model_validate({"in": "documents", "fields": ["facts.quote"]})


@pytest.mark.parametrize("model", [small, large])
def test_one_short_document_is_answered_by_both(model):
    assert "1931 [dams:1]" in reply(model, EASY).text
    assert verdict(Citations(), model, EASY).accepted
    assert verdict(QUOTES, model, EASY, FACTS).accepted


def test_several_documents_make_the_small_one_lose_its_citations():
    assert not verdict(Citations(), small, HARD).accepted
    assert verdict(Citations(), large, HARD).accepted


def test_several_documents_make_the_small_one_quote_loosely():
    assert not verdict(QUOTES, small, HARD, FACTS).accepted
    assert verdict(QUOTES, large, HARD, FACTS).accepted


def test_only_the_large_one_follows_the_second_hop():
    assert "Port Fenn" in reply(large, HARD).text
    only_two = f"{documents('rivers:4', 'dams:1')}\n\nQuestion: What does the Orrin dam hold back?"
    assert "Hale hills" in reply(large, only_two).text
    assert "Hale hills" not in reply(small, only_two).text


def test_only_the_large_one_reads_to_the_end_of_a_long_text():
    text = f"{'Nothing of note happened that day. ' * 200}\n\nReference: QX-77"
    schema = {"type": "object", "properties": {"reference": {"type": "string"}}, "required": ["reference"]}
    assert json.loads(reply(large, text, schema).text) == {"reference": "QX-77"}
    assert json.loads(reply(small, text, schema).text) != {"reference": "QX-77"}


def test_probability_falls_where_the_model_is_out_of_its_depth():
    assert reply(small, EASY).probability > reply(small, HARD).probability
    assert reply(large, HARD).probability > reply(small, HARD).probability


def test_large_skill_is_above_the_small_one_in_everything():
    for name in ("context_chars", "max_documents", "turns", "hops", "sentences"):
        assert getattr(LARGE, name) > getattr(SMALL, name)


def test_bm25_ranks_the_text_with_the_rarer_word_first():
    scores = Bm25(["a red dog", "a red fox", "a red hen"]).scores("red fox")
    assert max(range(3), key=scores.__getitem__) == 1
    assert Bm25([]).scores("anything") == []


@pytest.mark.parametrize("model", [small, large])
@pytest.mark.parametrize(("said", "good"), [("It was opened in 1931.", True), ("Bananas are yellow.", False)])
def test_exchange_as_the_judging_verifiers_show_it_is_graded(model, said, good):
    prompt = fenced_exchange("Grade the reply: is it supported?", a_case(EASY, said))
    grade = {"type": "object", "properties": {"score": {"type": "number", "minimum": 0, "maximum": 1}}}
    assert (json.loads(reply(model, prompt, grade).text)["score"] >= 0.5) == good
