"""The answer store: what it gives back, how long, and that its failure is nobody else's."""

import asyncio
import logging
import math
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from pydantic import BaseModel
from sqlalchemy import text

from langroute.cascade import Call
from langroute.effects import arun, run
from langroute.following import Answered
from langroute.ledger import Store, open_store
from langroute.ledger.answers import Answers, Place
from langroute.replies import Reply
from langroute.saved import Saved

DAY_S = 24 * 3600.0


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = open_store(database_url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'a.db'}?timeout=0.01")
    yield opened
    opened.close()


def place(
    answers: Answers, thread: Any = "t", task: str = "answer:1", step: str = "s", attempt: int = 0
) -> Place:
    found = answers.place({"configurable": {"thread_id": thread, "checkpoint_ns": task}}, step, attempt)
    assert found is not None
    return found


def pending(message: AIMessage, parsed: Any = None, error: Any = None) -> dict[str, Any]:
    move = Call("small", "small", "planned")
    saved = Saved().answered(Answered(move, Reply(message, parsed, error), 1.25, 0.1, {}))
    return dict(saved.pending or {})


def kept(given: Place, wanted: dict[str, Any]) -> Any:
    """Return what the store gives back of a reply."""
    run(given.keep(wanted))
    settle(given.answers)
    return run(given.find(dict))


def settle(answers: Answers) -> None:
    if answers.sweeper is not None:
        answers.sweeper.join(30)


def rows(store: Store) -> int:
    with store.statements() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM langroute_answers")) or 0)


class Invoice(BaseModel):
    """An invoice."""

    total: float


WHOLE = AIMessage(
    content=[
        {"type": "text", "text": "Laid in 1866 \U0001f30a \x00 \ud800"},
        {"type": "reasoning", "reasoning": "hm"},
    ],
    id="lc_run--1",
    name="small",
    tool_calls=[{"name": "look", "args": {"at": ["log", 1, 2.5, None]}, "id": "call_1", "type": "tool_call"}],
    invalid_tool_calls=[
        {"name": "look", "args": "{", "id": "call_2", "error": "cut", "type": "invalid_tool_call"}
    ],
    additional_kwargs={"refusal": None},
    response_metadata={"model_name": "small-1", "logprobs": {"content": [{"token": "a", "logprob": -0.1}]}},
    usage_metadata={
        "input_tokens": 7,
        "output_tokens": 5,
        "total_tokens": 12,
        "input_token_details": {"cache_read": 3},
    },
)


@pytest.mark.parametrize(
    "message",
    [
        WHOLE,
        AIMessage(""),
        AIMessage("x" * 1_000_000),
        AIMessageChunk(content="a", id="1", chunk_position="last"),
        AIMessage("a", response_metadata={"logprob": -math.inf}),
    ],
    ids=["everything", "empty", "a million characters", "chunk", "infinity"],
)
def test_message_comes_back_as_it_went(store: Store, message: AIMessage) -> None:
    wanted = pending(message)
    found = kept(place(Answers(store)), wanted)
    assert found == wanted
    assert type(found["reply"]["message"]) is type(message)


def test_parsed_object_and_parsing_error_come_back_as_saved_has_them(store: Store) -> None:
    answers = Answers(store)
    parsed = pending(AIMessage("{}"), Invoice(total=3.5))
    assert kept(place(answers), parsed) == parsed
    assert parsed["reply"]["parsed"] == {"total": 3.5}
    broken = pending(AIMessage("{"), None, ValueError("no JSON"))
    assert kept(place(answers, attempt=1), broken)["reply"]["parsing_error"] == "no JSON"


HOSTILE = [
    "'; DROP TABLE langroute_answers; --",
    "\x00",
    "\ud800",
    "",
    "ключ " * 5_000,
    "%s :id {0}",
    "1",
    1.5,
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_is_an_id_and_no_two_are_confused(store: Store, hostile: Any) -> None:
    answers = Answers(store)
    places = [
        place(answers, thread=hostile),
        place(answers, task=str(hostile)),
        place(answers, step=str(hostile)),
        place(answers, attempt=7),
    ]
    for index, each in enumerate(places):
        run(each.keep(pending(AIMessage(str(index)))))
    found = [run(each.find(dict))["reply"]["message"].text for each in places]
    assert found == ["0", "1", "2", "3"]
    assert store.failures.count == 0
    settle(answers)


def test_replies_of_a_thread_can_be_deleted_by_its_id(store: Store) -> None:
    answers = Answers(store)
    kept(place(answers, "order-17"), pending(AIMessage("a")))
    kept(place(answers, "order-18"), pending(AIMessage("b")))
    with store.statements() as connection:
        connection.execute(text("DELETE FROM langroute_answers WHERE thread = 'order-17'"))
    assert run(place(answers, "order-17").find(dict)) is None
    assert run(place(answers, "order-18").find(dict)) is not None


def test_first_reply_of_an_attempt_stays(store: Store) -> None:
    given = place(Answers(store))
    kept(given, pending(AIMessage("first")))
    assert kept(given, pending(AIMessage("second")))["reply"]["message"].text == "first"


def test_run_without_a_thread_has_no_place(store: Store) -> None:
    assert Answers(store).place({"configurable": {}}, "s", 0) is None
    assert Answers(store).place({}, "s", 0) is None


async def test_async_flow_finds_what_a_sync_flow_kept(store: Store) -> None:
    given = place(Answers(store))
    assert await arun(given.find(dict)) is None
    kept(given, pending(AIMessage("a")))
    assert (await arun(given.find(dict)))["reply"]["message"].text == "a"


async def test_busy_workers_of_the_loop_do_not_keep_a_reply_from_the_store(store: Store) -> None:
    given, free = place(Answers(store)), threading.Event()
    loop = asyncio.get_running_loop()
    busy = [loop.run_in_executor(None, free.wait, 60) for _ in range(64)]
    try:
        await arun(given.keep(pending(AIMessage("a"))))
        assert await arun(given.find(dict)) is not None
    finally:
        free.set()
        await asyncio.gather(*busy)
    settle(given.answers)


# Retention -----------------------------------------------------------------------------------------------


def test_reply_is_deleted_after_a_week_when_another_is_kept(store: Store) -> None:
    now_s = [0.0]
    answers = Answers(store, clock=lambda: now_s[0])
    kept(place(answers, "old"), pending(AIMessage("a")))
    now_s[0] = 6.9 * DAY_S
    kept(place(answers, "young"), pending(AIMessage("b")))
    assert rows(store) == 2
    now_s[0] = 7.1 * DAY_S
    kept(place(answers, "new"), pending(AIMessage("c")))
    assert rows(store) == 2
    assert run(place(answers, "old").find(dict)) is None


def test_sweep_of_many_rows_takes_several_statements_and_leaves_none(store: Store) -> None:
    with store.transaction() as connection:
        connection.execute(
            text("INSERT INTO langroute_answers VALUES (:id, 't', 0.0, '{}')"),
            [{"id": str(n)} for n in range(1_201)],
        )
    answers = Answers(store, clock=lambda: 8 * DAY_S)
    kept(place(answers), pending(AIMessage("a")))
    assert rows(store) == 1


def test_store_is_swept_once_a_minute_and_not_with_every_reply(store: Store) -> None:
    now_s = [100.0]
    answers = Answers(store, clock=lambda: now_s[0])
    sweepers = []
    for later_s in (0.0, 59.0, 1.0):
        now_s[0] += later_s
        kept(place(answers, later_s), pending(AIMessage("a")))
        sweepers.append(answers.sweeper)
    assert sweepers[0] is sweepers[1]
    assert sweepers[1] is not sweepers[2]


# Failure -------------------------------------------------------------------------------------------------


def locked(store: Store, folder: Path) -> Callable[[], None]:
    other = sqlite3.connect(folder / "a.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other.close


def dropped(store: Store, folder: Path) -> Callable[[], None]:
    with store.statements() as connection:
        connection.execute(text("DROP TABLE langroute_answers"))
    return lambda: None


def full(store: Store, folder: Path) -> Callable[[], None]:
    with store.statements() as connection:
        connection.execute(text("PRAGMA max_page_count = 1"))
    return lambda: None


@pytest.mark.parametrize("broken", [locked, dropped, full])
def test_store_that_fails_is_counted_and_warned_of_once(
    sqlite_store: Store, tmp_path: Path, broken: Any, caplog: pytest.LogCaptureFixture
) -> None:
    given = place(Answers(sqlite_store))
    mended = broken(sqlite_store, tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            run(given.keep(pending(AIMessage("a private matter" * 10_000))))
    mended()
    assert run(given.find(dict)) is None
    assert sqlite_store.failures.count >= 3
    assert len(caplog.records) == 1
    assert sqlite_store.name in caplog.text
    assert "private" not in caplog.text


def test_what_cannot_be_written_as_json_is_not_kept_and_breaks_nothing(sqlite_store: Store) -> None:
    given = place(Answers(sqlite_store))
    assert kept(given, pending(AIMessage("a", response_metadata={"thing": object()}))) is None
    assert sqlite_store.failures.count == 1


@pytest.mark.parametrize("written", ["", "{", "{}", '{"reply": {"message": {"type": "ai", "data": 7}}}'])
def test_row_that_cannot_be_read_is_as_none(sqlite_store: Store, written: str) -> None:
    given = place(Answers(sqlite_store))
    with sqlite_store.statements() as connection:
        row = {"id": given.key, "reply": written}
        connection.execute(text("INSERT INTO langroute_answers VALUES (:id, 't', 1.0, :reply)"), row)
    assert run(given.find(dict)) is None
    assert sqlite_store.failures.count == 1


def test_reply_that_no_longer_fits_its_schema_is_as_none(sqlite_store: Store) -> None:
    given = place(Answers(sqlite_store))
    kept(given, pending(AIMessage("{}"), {"sum": 3.5}))
    assert run(given.find(lambda found: Invoice.model_validate(found["reply"]["parsed"]))) is None
    assert sqlite_store.failures.count == 1
