"""What one process tells of its breakers, and what the word of another makes of them, in memory."""

import math
from typing import Any

import pytest

from langroute.health import Health, Obstacle

A = "small-a"


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Told(list[tuple[str, dict[str, Any]]]):
    def __call__(self, endpoint: str, state: dict[str, Any]) -> None:
        self.append((endpoint, state))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def health(clock: Clock, told: Told) -> Health:
    return Health([A, "small-b"], clock=clock, rng=lambda: 0.0, on_change=told)


def fail(health: Health, kind: str = "timeout") -> None:
    ticket = health.admit(A)
    assert isinstance(ticket, int)
    health.failed(A, ticket, kind)


def test_opening_holding_and_closing_are_told_and_nothing_else(
    health: Health, clock: Clock, told: Told
) -> None:
    for _ in range(4):
        fail(health)
    assert told == []
    fail(health)
    assert [(name, state["state"]) for name, state in told] == [(A, "open")]
    for _ in range(2):
        clock.now_s += 31.0
        ticket = health.admit(A)
        assert isinstance(ticket, int)
        health.succeeded(A, ticket)
    assert [state["state"] for _, state in told] == ["open", "closed"]
    health.failed(A, -1, "rate_limit", retry_after_s=60.0)
    assert told[-1][1]["state"] == "held"
    health.failed(A, -1, "rate_limit", retry_after_s=0.1)
    assert len(told) == 3


def test_who_awaits_the_use_of_an_endpoint_is_called_once(health: Health) -> None:
    used: list[int] = []
    health.obstacle(A)
    health.await_use(lambda: used.append(1))
    assert used == []
    assert [health.obstacle(name) for name in (A, "small-b", A)] == [None] * 3
    assert used == [1]


def test_a_breaker_opens_on_anothers_word_and_closes_on_it(health: Health, clock: Clock) -> None:
    health.adopt(A, 20.0, "5 failures", 3)
    assert health.obstacle(A) == Obstacle("circuit open for 20 s more after 5 failures", 20.0)
    assert health.admit(A) == Obstacle("circuit open for 20 s more after 5 failures", 20.0)
    assert health.state(A)["times_opened"] == 3
    assert health.obstacle("small-b") is None
    health.adopt(A, 10.0, "less")
    assert health.obstacle(A) == Obstacle("circuit open for 20 s more after 5 failures", 20.0)
    health.adopt(A, 25.0, "more")
    assert health.obstacle(A) == Obstacle("circuit open for 25 s more after more", 25.0)
    assert health.state(A)["times_opened"] == 1
    health.close(A)
    assert (health.obstacle(A), health.state(A)["state"]) == (None, "closed")
    health.adopt(A, 0.0, "over")
    assert health.state(A)["state"] == "closed"


def test_anothers_word_leaves_a_closed_breaker_its_failures(health: Health) -> None:
    for _ in range(4):
        fail(health)
    health.close(A)
    fail(health)
    assert health.state(A)["state"] == "open"


def test_an_endpoint_is_held_on_anothers_word_for_the_longer_time(health: Health) -> None:
    for wait_s in (30.0, 20.0):
        health.hold(A, wait_s)
        assert health.obstacle(A) == Obstacle("held for 30 s more, as its provider asked", 30.0)
    assert health.state(A)["state"] == "held"


def test_a_barred_probe_waits_until_another_process_has_had_it(health: Health, clock: Clock) -> None:
    health.adopt(A, 10.0, "x")
    clock.now_s += 10.0
    health.bar(A, 5.0)
    reason = "circuit half open after x: one process at a time may probe"
    assert (health.obstacle(A), health.admit(A)) == (Obstacle(reason, 0.0), Obstacle(reason, 0.0))
    health.bar(A, 0.0)
    assert isinstance(health.admit(A), int)
    assert health.obstacle(A) == Obstacle("circuit half open after x: its probe is under way", 0.0)


def test_a_circuit_says_what_others_have_to_know(health: Health, clock: Clock) -> None:
    assert tuple(health.circuit(A)) == (False, -math.inf, -math.inf, math.inf, False, 0, 0, "")
    health.adopt(A, 10.0, "x", 2)
    health.hold(A, 8.0)
    health.obstacle(A)
    clock.now_s += 3.0
    assert tuple(health.circuit(A)) == (True, 7.0, 5.0, 3.0, False, 1, 2, "x")
    clock.now_s += 7.0
    assert isinstance(health.admit(A), int)
    found = health.circuit(A)
    assert (found.is_open, found.probing, found.generation) == (True, True, 2)
