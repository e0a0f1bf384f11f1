"""Feedback, and the decisions that it reaches; retention, which takes it along."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from scenes import routed
from synthetic import START_S, decisions, fill

from langroute import Ledger


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with Ledger(database_url, writing="sync") as opened:
        yield opened


def said_of(ledger: Ledger, **wanted: Any) -> list[list[tuple[float, str]]]:
    return [[(f.score, f.source) for f in record.feedback] for record in ledger.decisions(**wanted)]


def test_feedback_on_a_reply_stands_with_its_decision(ledger: Ledger) -> None:
    model = routed(ledger)
    reply, _ = model.invoke("Hi"), model.invoke("Hi")
    given = ledger.feedback(reply, score=0.25, source="user", comment="too short")
    [record] = ledger.decisions(id=reply.response_metadata["langroute"]["call_id"])
    assert record.feedback == (given,)
    assert (given.decision, given.comment) == (record.id, "too short")
    assert said_of(ledger) == [[(0.25, "user")], []]


def test_score_of_a_run_reaches_its_steps_and_no_others(ledger: Ledger) -> None:
    model = routed(ledger)
    for run in ("a", "a", "b"):
        model.invoke("Hi", {"metadata": {"langroute_run": run, "thread_id": "t"}})
    ledger.feedback(run="a", score=1, source="test")
    assert said_of(ledger) == [[(1.0, "test")]] * 2 + [[]]
    ledger.feedback(thread="t", score=0, source="judge")
    assert said_of(ledger, run="b") == [[(0.0, "judge")]]
    assert said_of(ledger, run="a") == [[(1.0, "test"), (0.0, "judge")]] * 2


def test_scored_decisions_can_be_asked_for(ledger: Ledger) -> None:
    fill(ledger, 300, seed=1)
    chosen = list(decisions(300, seed=1))[100]
    ledger.feedback(run=chosen.run, score=1)
    assert {record.run for record in ledger.decisions(scored=True)} == {chosen.run}
    assert len(list(ledger.decisions(scored=False))) == 300 - len(list(ledger.decisions(scored=True)))


def test_the_same_feedback_given_twice_counts_once(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.feedback(run="a", score=1, id="once")
    routed(ledger).invoke("Hi", {"metadata": {"langroute_run": "a"}})
    assert said_of(ledger) == [[(1.0, "user")]]


@pytest.mark.parametrize(
    ("about", "score", "told"),
    [
        ({}, 1, "about one decision, run or thread, and this is about nothing"),
        ({"run": "a", "thread": "b"}, 1, "this is about run and thread"),
        ({"thread": ""}, 1, "the name of the thread is empty"),
        ({"run": "a"}, 1.5, "the score is 1.5: give a number from 0"),
        ({"run": "a"}, float("nan"), "the score is nan"),
        ({"run": "a"}, "good", "the score is 'good'"),
    ],
)
def test_feedback_that_says_nothing_is_refused(about: Any, score: Any, told: str, ledger: Ledger) -> None:
    with pytest.raises(ValueError, match=told):
        ledger.feedback(**about, score=score)


@dataclass
class LangSmiths:
    """What `langsmith.Client().list_feedback()` yields, as far as it is read."""

    id: str
    run_id: str
    score: float | None
    trace_id: str | None = None
    key: str = "correctness"
    comment: str | None = None
    created_at: datetime = datetime(2026, 11, 1, tzinfo=UTC)


def test_langsmith_feedback_reaches_the_run_of_its_trace_once(ledger: Ledger) -> None:
    routed(ledger).invoke("Hi", {"metadata": {"langroute_run": "trace-1"}})
    given = [LangSmiths("f1", "child", 1.0, "trace-1", comment="right"), LangSmiths("f2", "child", None)]
    assert ledger.langsmith_feedback(given) == ledger.langsmith_feedback(given) == 1
    [record] = ledger.decisions()
    [feedback] = record.feedback
    assert (feedback.score, feedback.source, feedback.comment) == (1.0, "langsmith", "correctness: right")
    assert feedback.given_at_s == datetime(2026, 11, 1, tzinfo=UTC).timestamp()


# Retention -----------------------------------------------------------------------------------------------


def test_pruning_deletes_what_is_older_with_all_that_belongs_to_it(ledger: Ledger) -> None:
    fill(ledger, 1_200, seed=2)
    records = list(ledger.decisions())
    middle_s = records[700].decided_at_s
    for record in (records[0], records[1_000]):
        ledger.feedback(record.id, score=1)
    assert ledger.prune(middle_s) == 700
    left = list(ledger.decisions())
    assert [record.id for record in left] == [record.id for record in records[700:]]
    assert [bool(record.feedback) for record in left].index(True) == 300
    [bill] = ledger.costs()
    assert bill.calls == sum(len(record.attempts) for record in records[700:])


def test_policy_says_how_long_decisions_are_kept(ledger: Ledger) -> None:
    fill(ledger, 5, seed=3)
    assert datetime(2026, 10, 1, tzinfo=UTC).timestamp() > START_S
    routed(ledger, ledger={"keep_days": 1}).invoke("Hi")
    pruner = ledger._writer.pruner
    assert pruner is not None
    pruner.join(30)
    assert len(list(ledger.decisions())) == 1
