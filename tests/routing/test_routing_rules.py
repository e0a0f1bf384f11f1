"""Conditions of rules, and intents that need embeddings."""

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from langroute.request import Document, Request
from langroute.routing.intent import Embedder


class ByFirstLetter(Embeddings):
    """Puts texts on axes by their first letter and notes what it saw."""

    def __init__(self, error=None):
        self.seen = []
        self.error = error

    def embed_documents(self, texts):
        self.seen.extend(texts)
        if self.error is not None:
            raise self.error
        return [[float(text[0] == letter) for letter in "lc"] + [0.1] for text in texts]

    def embed_query(self, text):
        return self.embed_documents([text])[0]


INTENTS = {"legal": ["law"], "chat": ["chit"]}


@tool
def delete_file(path: str) -> str:
    """Delete a file."""
    return path


def asked(text, **kwargs):
    return Request((HumanMessage(text),), **kwargs)


TWO_DOCUMENTS = (Document("1", "a"), Document("2", "b"))


@pytest.mark.parametrize(
    ("when", "request_", "phrase"),
    [
        ({"step": "work"}, asked("x"), "step work"),
        ({"metadata": {"tenant": ["a", "b"]}}, asked("x", metadata={"tenant": "b"}), "metadata tenant"),
        ({"keywords": ["refund", "money back"]}, asked("My MONEY BACK, please"), "keyword money back"),
        ({"keywords": ["分析"]}, asked("请分析这个问题"), "keyword 分析"),
        ({"patterns": [r"\bINV-\d+"]}, asked("About INV-42"), r"pattern \bINV-\d+"),
        ({"min_tokens": 100}, asked("x" * 400), "103 tokens >= 100"),
        ({"max_tokens": 10}, asked("x"), "3 tokens <= 10"),
        ({"min_documents": 2}, asked("x", given_documents=TWO_DOCUMENTS), "2 documents >= 2"),
        ({"max_documents": 0}, asked("x"), "0 documents <= 0"),
        ({"tools": ["delete_*"]}, asked("x", tools=(delete_file,)), "tool delete_file"),
        ({"language": "de"}, asked("Wann wird der Vertrag verlängert, und wer kündigt ihn?"), "language de"),
        ({"step": "work", "max_tokens": 10}, asked("x"), "step work, 3 tokens <= 10"),
        ({}, asked("x"), "always"),
    ],
)
def test_condition_that_holds_is_named_in_the_reason(make_policy, plan, when, request_, phrase):
    policy = make_policy("small", "large", rules=[{"name": "r", "when": when, "start": "large"}])
    made = plan(policy, request_)
    assert made.rungs[0].tier == "large"
    assert made.reasons[-1] == f"rule r ({phrase}): starts at large"


@pytest.mark.parametrize(
    ("when", "request_"),
    [
        ({"metadata": {"tenant": "a"}}, asked("x")),
        ({"metadata": {"tenant": "a", "risk": "low"}}, asked("x", metadata={"tenant": "a"})),
        ({"keywords": ["sum"]}, asked("in summer, assume nothing")),
        ({"patterns": ["^secret$"]}, asked("no secret")),
        ({"min_tokens": 100}, asked("x")),
        ({"max_documents": 1}, asked("x", given_documents=TWO_DOCUMENTS)),
        ({"tools": ["delete_*"]}, asked("x", tools=({"name": "read_file"},))),
        ({"language": "de"}, asked("When does the contract end, and who may renew it?")),
        ({"step": "work", "keywords": ["refund"]}, asked("x")),
    ],
)
def test_condition_that_does_not_hold_leaves_the_start(make_policy, plan, when, request_):
    made = plan(make_policy("small", "large", rules=[{"when": when, "start": "large"}]), request_)
    assert made.rungs[0].tier == "small"


def test_first_rule_that_matches_wins(make_policy, plan):
    rules = [
        {"when": {"keywords": ["absent"]}, "start": "large"},
        {"when": {"keywords": ["pay"]}, "start": "medium"},
        {"when": {}, "start": "large"},
    ]
    made = plan(make_policy(rules=rules), asked("pay"))
    assert made.reasons[-1] == "rule #2 (keyword pay): starts at medium"


def test_keywords_and_patterns_look_at_head_and_tail_alone(make_policy, plan):
    rules = [{"when": {"patterns": ["needle"]}, "start": "large"}]
    texts = ("x" * 9_000 + " needle", "x " * 4_500 + " needle " + "x " * 4_500)
    starts = [plan(make_policy("small", "large", rules=rules), asked(text)).rungs[0].tier for text in texts]
    assert starts == ["large", "small"]


@pytest.fixture
def by_intent(make_policy):
    rules = [{"name": "law", "when": {"intent": "legal"}, "start": "large"}]

    def make(*cascade, **step):
        return make_policy(*(cascade or ("small", "large")), rules=rules, intents=INTENTS, step=step)

    return make


@pytest.mark.parametrize(("text", "tier"), [("lease", "large"), ("cat", "small"), ("zebra", "small")])
def test_intent_is_that_of_the_nearest_example(by_intent, plan, text, tier):
    assert plan(by_intent(), asked(text), embedder=Embedder(ByFirstLetter())).rungs[0].tier == tier


def test_failing_embeddings_send_the_step_to_its_top(by_intent, plan):
    made = plan(by_intent(), asked("cat"), embedder=Embedder(ByFirstLetter(ConnectionError("no route"))))
    assert made.rungs[0].tier == "large"
    assert made.reasons[-1].startswith("rule law could not be decided: it failed, ")
    assert "no route" in made.reasons[-1]


def test_embeddings_outside_the_boundary_never_see_the_prompt(by_intent, plan, endpoint, make_policy):
    tiers = {tier: {"models": [endpoint(tier, boundary="local")]} for tier in ("small", "large")}
    rules = [{"name": "law", "when": {"intent": "legal"}, "start": "large"}]
    policy = make_policy(
        "small", "large", rules=rules, intents=INTENTS, tiers=tiers, step={"boundary": ["local"]}
    )
    embeddings = ByFirstLetter()
    made = plan(policy, asked("lease"), embedder=Embedder(embeddings, "hosted"))
    assert (made.rungs[0].tier, embeddings.seen) == ("small", [])
    assert "rule law passed over: its embeddings run in boundary hosted" in made.reasons[-1]
    assert plan(policy, asked("lease"), embedder=Embedder(embeddings, "local")).rungs[0].tier == "large"


def test_intent_without_embeddings_or_without_a_choice_is_passed_over(by_intent, plan):
    assert "no embeddings were given" in plan(by_intent(), asked("lease")).reasons[-1]
    embeddings = ByFirstLetter()
    made = plan(by_intent("small"), asked("lease"), embedder=Embedder(embeddings))
    assert embeddings.seen == []
    assert made.reasons[-1] == "rule law passed over: the step has one tier"
