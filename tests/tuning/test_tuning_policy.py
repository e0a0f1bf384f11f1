"""A learned score in a policy: where a step starts, which replies are accepted, what is refused at load."""

import json

import pytest
from langchain_core.embeddings import Embeddings as LangChainEmbeddings
from langchain_core.messages import AIMessage, HumanMessage
from typer.testing import CliRunner
from worlds import EASY, HARD, TIERS, prompt_score, reply_score

from langroute import Policy, RoutedChatModel
from langroute.cascade import Verdict
from langroute.cli import app
from langroute.errors import PolicyError
from langroute.explain import explain
from langroute.request import Request
from langroute.testing import ScriptedChatModel
from langroute.tuning.files import save_score
from langroute.tuning.outcomes import outcome_of
from langroute.tuning.scores import cold_score, fit_prompt_score
from langroute.verifiers import Case, Learned

EASY_PROMPT, HARD_PROMPT = " ".join(EASY * 2), " ".join(HARD * 3)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    save_score(prompt_score().score, folder / "prompts.json")
    save_score(reply_score().score, folder / "replies.json")
    return folder


def policy(step, **tiers):
    models = {
        tier: {"models": [ScriptedChatModel(name=tier, reply=tiers.get(tier, "It is 7."))]} for tier in TIERS
    }
    return {"tiers": models, "steps": {"work": {"cascade": list(TIERS), **step}}}


def routed(files, threshold=0.3, **kwargs):
    learned = {"model": str(files / "prompts.json"), "threshold": threshold}
    return policy({"route": {"learned": learned}}, **kwargs)


def verified(files, least=0.7, **kwargs):
    return policy({"verify": [{"learned": {"model": str(files / "replies.json"), "min": least}}]}, **kwargs)


def attempts(model, prompt):
    record = model.for_step("work").invoke(prompt).response_metadata["langroute"]
    return [(attempt["tier"], attempt["outcome"]) for attempt in record["attempts"]], record


def test_prompts_that_the_small_tier_would_fail_start_at_the_large_one(files):
    model = RoutedChatModel(routed(files))
    (easy, _), (hard, _) = attempts(model, EASY_PROMPT), attempts(model, HARD_PROMPT)
    assert ([name for name, _ in easy], [name for name, _ in hard]) == (["small"], ["large"])
    plan = model.router.plan(Request((HumanMessage(HARD_PROMPT),), step="work"))
    (reason,) = [reason for reason in plan.reasons if "learned gain" in reason]
    assert "reaches 0.3: starts at large" in reason
    assert "theorem" not in reason


def test_replies_that_look_wrong_escalate_and_the_top_tier_is_taken(files):
    vague = "I am sorry, maybe it is so."
    found, record = attempts(RoutedChatModel(verified(files, small=vague, large=vague)), HARD_PROMPT)
    assert found == [("small", "rejected"), ("large", "accepted")]
    verdict = record["attempts"][0]["verdicts"][0]
    assert verdict["verifier"] == "learned"
    assert "below 0.70" in verdict["reason"]
    assert 0 <= verdict["score"] < 0.7


def test_replies_that_look_right_are_accepted(files):
    written = verified(files, least=0.3)
    written["steps"]["work"]["verify"].insert(0, agreeing)
    found, _ = attempts(RoutedChatModel(written), EASY_PROMPT)
    assert found == [("small", "accepted")]


def agreeing(case):
    return Verdict("agreement", accepted=True, reason="the same", score=1.0)


def test_a_score_that_reads_another_models_opinion_is_asked_after_it(files):
    (verifier,) = Policy.load(verified(files)).step("work").verify
    assert verifier.asks
    assert verifier.model.score.needs_verdicts


def test_a_reply_of_a_tier_that_the_score_does_not_know_is_rejected_unsure(files):
    case = Case(Request(()), AIMessage("x"), "other", "other/one", ask=None)
    verdict = Learned(model=files / "replies.json", min=0.5).check(case)
    assert (verdict.accepted, verdict.unsure) == (False, True)


def test_paths_start_at_the_policy_file(files):
    path = files / "langroute.json"
    written = {
        "tiers": {"small": "openai:gpt-5-nano", "large": "openai:gpt-5"},
        "steps": {
            "work": {
                "cascade": list(TIERS),
                "route": {"learned": {"model": "prompts.json", "threshold": 0.1}},
                "verify": [{"learned": {"model": "replies.json", "min": 0.8}}],
            }
        },
    }
    path.write_text(json.dumps(written))
    read = Policy.load(path)
    assert read.step("work").route.learned.model.score.step == "work"
    dumped = read.model_dump(mode="json")["steps"]["work"]
    assert dumped["verify"] == [{"learned": {"model": "replies.json", "min": 0.8}}]
    assert dumped["route"]["learned"] == {"model": "prompts.json", "threshold": 0.1}


def test_the_digest_of_a_policy_changes_with_the_score_that_it_names(tmp_path):
    digests = []
    for tiers in (TIERS, (*TIERS, "huge")):
        save_score(cold_score(tiers), tmp_path / "prompts.json")
        digests.append(Policy.load(routed(tmp_path)).digest)
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("step", "path", "message"),
    [
        (
            {"route": {"learned": {"model": "replies.json", "threshold": 0.1}}},
            "steps.work.route.learned.model",
            "is a score of replies, and here one of prompts is read",
        ),
        (
            {"verify": [{"all_of": [{"learned": {"model": "prompts.json", "min": 0.1}}]}]},
            "steps.work.verify[0].all_of.learned.model",
            "is a score of prompts, and here one of replies is read",
        ),
        (
            {"route": {"learned": {"model": "none.json", "threshold": 0.1}}},
            "steps.work.route.learned.model",
            "cannot be read",
        ),
        (
            {"route": {"learned": {"model": "prompts.json", "threshold": 2}}},
            "steps.work.route.learned.threshold",
            "at most 1",
        ),
        (
            {
                "route": {
                    "learned": {"model": "prompts.json", "threshold": 0.1},
                    "difficulty": {"threshold": 0.4},
                }
            },
            "steps.work.route.difficulty",
            "`learned` takes the place of `difficulty`",
        ),
        (
            {"route": {"learned": {"model": "huge.json", "threshold": 0.1}}},
            "steps.work.route.learned.model",
            "the score does not judge `large`",
        ),
    ],
)
def test_a_score_that_cannot_work_is_refused_at_load(step, path, message, files, monkeypatch):
    monkeypatch.chdir(files)
    save_score(cold_score(("small", "huge")), files / "huge.json")
    with pytest.raises(PolicyError) as caught:
        Policy.load(policy(step))
    assert [(problem.path, message in problem.message) for problem in caught.value.problems] == [(path, True)]


def test_explain_names_what_moves_the_score(files, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    written = routed(files)
    written["tiers"] = {"small": "openai:gpt-5-nano", "large": "openai:gpt-5"}
    told = explain(Policy.load(written), HARD_PROMPT, "work").as_dict()["learned"]
    assert [part["tier"] for part in told] == list(TIERS)
    assert told[0]["probability"] < 0.5 < told[1]["probability"]
    assert told[0]["contributions"][0]["points"] != 0
    assert any(word["word"] in HARD and word["points"] < 0 for word in told[0]["words"])
    path = files / "explained.json"
    path.write_text(json.dumps(written))
    ran = CliRunner().invoke(app, ["explain", str(path), HARD_PROMPT, "--step", "work"])
    assert "learned: small is right with 0." in ran.stdout
    assert "'theorem' -" in ran.stdout


class Embeddings(LangChainEmbeddings):
    def __init__(self, vector):
        self.vector = vector

    def embed_documents(self, texts):
        return [self.vector for _ in texts]

    def embed_query(self, text):
        return self.vector


@pytest.mark.parametrize(
    ("vector", "start"),
    [([0.0, 1.0], "large"), ([1.0, 0.0], "small"), ([0.0, 0.0], "large"), ([1.0], "large"), (None, "large")],
)
def test_a_score_on_embeddings_routes_and_starts_at_the_top_without_them(vector, start, tmp_path):
    rows = []
    for query in range(400):
        hard = query % 2
        for tier in TIERS:
            row = {"query": query, "tier": tier, "score": 1 - hard * (tier == "small"), "prompt": "x"}
            rows.append(outcome_of(row, embeddings=Embeddings([1.0 - hard, float(hard)])))
    save_score(fit_prompt_score(rows, TIERS).score, tmp_path / "prompts.json")
    given = {} if vector is None else {"embeddings": Embeddings(vector)}
    found, _ = attempts(RoutedChatModel(routed(tmp_path), **given), "x")
    assert [name for name, _ in found] == [start]
