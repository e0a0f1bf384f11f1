"""What raises the difficulty score, and that length always does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from langroute.difficulty import difficulty
from langroute.request import Document, Request


def scored(text, **kwargs):
    return difficulty(Request((HumanMessage(text),), **kwargs))


@pytest.mark.parametrize(
    ("feature", "text"),
    [
        ("reasoning", "Explain it."),
        ("reasoning", "为什么天是蓝的"),
        ("reasoning", "Erkläre das bitte."),
        ("hops", "Compare the two."),
        ("hops", "Quelle est la différence ?"),
        ("code", "Fix this:\n```\nx\n```"),
        ("math", "Solve x^2 for x"),
        ("shape", "As JSON please."),
        ("questions", "Who? When?"),
    ],
)
def test_marker_adds_points_under_its_name(feature, text):
    assert feature in [part[0] for part in scored(text).contributions]


def test_words_within_words_are_no_markers():
    assert [part[0] for part in scored("whyever listless tables").contributions] == ["length"]


def test_documents_count_whether_given_or_tagged():
    given_ones = scored("x", given_documents=(Document("1", "a"), Document("2", "b"))).contributions
    tagged = scored("<doc id=1>a</doc><doc id=2>b</doc>").contributions
    assert [part[1] for part in given_ones if part[0] == "documents"] == [2.0]
    assert [part[1] for part in tagged if part[0] == "documents"] == [2.0]


@given(short=st.integers(0, 200_000), more=st.integers(4, 200_000))
def test_longer_prompt_never_scores_lower_all_else_equal(short, more):
    assert scored("z" * (short + more)).score >= scored("z" * short).score


def test_words_of_the_documents_make_no_question_harder():
    sourced = scored("<doc id=1>Explain, prove and compare the two: x^2</doc> Who?").contributions
    assert [part[0] for part in sourced] == ["length", "documents"]


def test_length_alone_raises_the_score_strictly():
    scores = [scored("z" * length).score for length in (0, 40, 400, 4_000, 40_000, 400_000)]
    assert scores == sorted(set(scores))


def test_score_is_the_logistic_of_the_points():
    judged = scored("Explain why the two differ.")
    assert 0 < judged.score < 1
    assert all(points > 0 for _, _, points in judged.contributions)
    assert judged.leading == "reasoning 1.0, hops 0.3"


def test_greeting_is_easy_and_long_question_of_several_hops_is_hard():
    hard = "Compare both treaties and explain why the former lapsed before the latter. Prove each step. " * 10
    assert scored("Hello!").score < 0.15
    assert scored(hard).score > 0.7
