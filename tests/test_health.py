"""What opens a breaker, for how long, who may probe, and what closes it: time and chance are given."""

import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import pytest

from langroute.breaker import _MENDED_BY_A_PERSON, NOT_ITS_FAULT, WINDOW_S, Breaker
from langroute.failures import Kind
from langroute.health import NO_TICKET, Health, Obstacle

A = "small-a"


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s

    def passes(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    """Without jitter: an open time is exactly what it says."""
    return Health([A, "small-b"], clock=clock, rng=lambda: 0.0)


def fail(health: Health, times: int = 1, kind: str = "timeout", **told: Any) -> None:
    """Let calls fail, one after the other."""
    for _ in range(times):
        health.failed(A, entered(health), kind, **told)


def serve(health: Health, times: int = 1) -> None:
    for _ in range(times):
        health.succeeded(A, entered(health))


def entered(health: Health) -> int:
    ticket = health.admit(A)
    assert isinstance(ticket, int), ticket
    return ticket


def state(health: Health) -> str:
    return str(health.state(A)["state"])


# Opening -------------------------------------------------------------------------------------------------


def test_five_failures_in_a_row_open_it_and_the_reason_tells(health: Health, clock: Clock) -> None:
    fail(health, 4)
    assert health.obstacle(A) is None
    fail(health, kind="connection")
    assert health.admit(A) == Obstacle(
        "circuit open for 30 s more after 5 failures in a row (connection, timeout)", 30.0
    )
    clock.passes(17.5)
    assert health.obstacle(A) == (
        "circuit open for 13 s more after 5 failures in a row (connection, timeout)",
        12.5,
    )
    assert health.obstacle("small-b") is None


def test_a_good_call_ends_the_row(health: Health) -> None:
    fail(health, 4)
    serve(health, 9)
    fail(health, 4)
    assert state(health) == "closed"


def test_half_of_ten_outcomes_open_it(health: Health) -> None:
    for _ in range(4):
        serve(health)
        fail(health)
    serve(health)
    assert state(health) == "closed"
    fail(health)
    assert "after 5 of 10 calls failed in 30 s, the last: timeout" in health.state(A)["reason"]


def test_more_than_half_of_nine_open_nothing_nor_does_a_good_call(health: Health) -> None:
    for _ in range(4):
        fail(health)
        serve(health)
    fail(health)
    assert state(health) == "closed"
    serve(health)
    assert (state(health), health.state(A)["failed"], health.state(A)["good"]) == ("closed", 5, 5)


def test_good_calls_are_forgotten_with_the_next_one_after_their_window() -> None:
    breaker = Breaker()
    for now_s in range(1_000):  # one a second, and never a failure that would look for old ones
        breaker.succeed(float(now_s))
    assert len(breaker.outcomes) == WINDOW_S


def test_fewer_than_half_open_nothing(health: Health, clock: Clock) -> None:
    serve(health, 20)
    for _ in range(10):
        serve(health)
        fail(health)
    assert health.state(A) == {
        "state": "closed",
        "reason": None,
        "wait_s": 0.0,
        "times_opened": 0,
        "good": 30,
        "failed": 10,
    }
    clock.passes(30)
    assert (health.state(A)["good"], health.state(A)["failed"]) == (0, 0)


def test_outcomes_older_than_the_window_are_forgotten(health: Health, clock: Clock) -> None:
    for _ in range(4):
        fail(health)
        serve(health)
    clock.passes(30)
    fail(health)
    serve(health)
    fail(health)
    assert (health.state(A)["state"], health.state(A)["failed"]) == ("closed", 2)


@pytest.mark.parametrize("kind", sorted(_MENDED_BY_A_PERSON))
def test_what_a_person_must_mend_opens_it_at_once_for_long(health: Health, clock: Clock, kind: str) -> None:
    fail(health, kind=kind)
    assert health.obstacle(A) == (
        f"circuit open for 600 s more after a failure that a person must mend ({kind})",
        600.0,
    )
    clock.passes(600.0)
    assert health.obstacle(A) is None


@pytest.mark.parametrize("kind", sorted(NOT_ITS_FAULT))
def test_a_fault_of_the_request_is_neither_good_nor_bad(health: Health, kind: str) -> None:
    fail(health, 4)
    fail(health, 20, kind)
    assert (health.state(A)["failed"], health.state(A)["good"]) == (4, 0)
    fail(health)
    assert state(health) == "open", "nor does it end a row"


def test_every_kind_of_failure_is_known_and_those_that_are_the_endpoints_own_count(clock: Clock) -> None:
    own = set(get_args(Kind)) - _MENDED_BY_A_PERSON - NOT_ITS_FAULT
    assert own == {
        "bad_response",
        "connection",
        "cut_stream",
        "overloaded",
        "rate_limit",
        "server",
        "timeout",
        "unknown",
    }
    assert set(get_args(Kind)) >= _MENDED_BY_A_PERSON | NOT_ITS_FAULT
    for kind in own:
        health = Health([A], clock=clock)
        fail(health, 5, kind)
        assert state(health) == "open"


def test_a_released_call_leaves_no_trace(health: Health) -> None:
    fail(health, 4)
    for _ in range(20):
        health.released(A, entered(health))
    assert health.state(A) == health.state("small-b") | {"failed": 4}


def test_a_released_call_takes_nothing_from_those_beside_it(health: Health) -> None:
    flying = [entered(health) for _ in range(6)]
    health.released(A, flying[0])
    for ticket in flying[1:]:
        health.failed(A, ticket, "timeout")
    assert state(health) == "open"


def test_calls_in_flight_when_it_opens_change_nothing_any_more(health: Health, clock: Clock) -> None:
    flying = [entered(health) for _ in range(40)]
    fail(health, 5)
    before = health.state(A)
    for ticket in flying[:20]:
        health.failed(A, ticket, "auth")
    for ticket in flying[20:]:
        health.succeeded(A, ticket)
    assert health.state(A) == before
    clock.passes(30)
    probe = entered(health)
    health.succeeded(A, flying[0])
    assert isinstance(health.admit(A), Obstacle), "the probe is still out"
    health.failed(A, probe, "timeout")
    assert state(health) == "open"


# Open times ----------------------------------------------------------------------------------------------


def test_open_times_grow_by_thirty_seconds_up_to_three_hundred(health: Health, clock: Clock) -> None:
    fail(health, 5)
    waits = []
    for _ in range(12):
        waits.append(health.state(A)["wait_s"])
        clock.passes(waits[-1])
        fail(health)
    assert waits == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]


@pytest.mark.parametrize(("chance", "wait_s"), [(0.0, 30.0), (0.5, 28.5), (0.999, 27.003)])
def test_chance_makes_an_open_time_up_to_a_tenth_shorter(clock: Clock, chance: float, wait_s: float) -> None:
    health = Health([A], clock=clock, rng=lambda: chance)
    fail(health, 5)
    assert health.state(A)["wait_s"] == pytest.approx(wait_s)


@pytest.mark.parametrize(("kind", "wait_s"), [("auth", 570.0), ("timeout", 57.0)])
def test_chance_shortens_what_a_person_must_mend_and_what_a_probe_finds(
    clock: Clock, kind: str, wait_s: float
) -> None:
    health = Health([A], clock=clock, rng=lambda: 0.5)
    fail(health, 5)
    clock.passes(30)
    fail(health, kind=kind)
    assert health.state(A)["wait_s"] == pytest.approx(wait_s)


def test_one_that_flaps_stays_open_longer_and_one_that_held_out_starts_again(
    health: Health, clock: Clock
) -> None:
    fail(health, 5)
    clock.passes(30)
    serve(health, 2)
    fail(health, 5)
    assert health.state(A)["wait_s"] == 60
    clock.passes(60)
    serve(health, 2)
    clock.passes(300)
    fail(health, 5)
    assert (health.state(A)["wait_s"], health.state(A)["times_opened"]) == (90, 3)
    clock.passes(90)
    serve(health, 2)
    clock.passes(301)
    fail(health, 5)
    assert (health.state(A)["wait_s"], health.state(A)["times_opened"]) == (30, 1)


# Half open -----------------------------------------------------------------------------------------------


def test_one_call_probes_while_the_others_stay_out(health: Health, clock: Clock) -> None:
    fail(health, 5)
    clock.passes(30)
    assert health.obstacle(A) is None
    assert (state(health), health.state(A)["reason"]) == ("half_open", None)
    entered(health)
    under_way = "circuit half open after 5 failures in a row (timeout): its probe is under way"
    assert [health.admit(A) for _ in range(3)] == [Obstacle(under_way, 0.0)] * 3
    assert state(health) == "half_open"


def test_two_good_probes_close_it(health: Health, clock: Clock) -> None:
    fail(health, 5)
    clock.passes(30)
    serve(health)
    assert state(health) == "half_open"
    serve(health)
    assert (state(health), health.state(A)["good"]) == ("closed", 0)
    fail(health, 4)
    assert state(health) == "closed", "the row starts anew"


def test_a_good_probe_and_a_bad_one_open_it_for_longer(health: Health, clock: Clock) -> None:
    fail(health, 5)
    clock.passes(30)
    serve(health)
    fail(health, kind="server")
    assert health.obstacle(A) == ("circuit open for 60 s more after its probe failed (server)", 60.0)
    clock.passes(60)
    serve(health)
    assert state(health) == "half_open", "the good one of before does not count"


@pytest.mark.parametrize("ending", ["released", "invalid_request", "context_overflow"])
def test_a_probe_that_says_nothing_frees_its_place_at_once(health: Health, clock: Clock, ending: str) -> None:
    fail(health, 5)
    clock.passes(30)
    probe = entered(health)
    if ending == "released":
        health.released(A, probe)
    else:
        health.failed(A, probe, ending)
    second = entered(health)
    health.succeeded(A, probe)
    assert isinstance(health.admit(A), Obstacle), "the first has nothing to say any more"
    health.succeeded(A, second)
    assert state(health) == "half_open"


def test_a_probe_never_heard_of_again_is_given_up_in_time(health: Health, clock: Clock) -> None:
    fail(health, 5)
    clock.passes(30)
    lost = entered(health)
    clock.passes(300 - 0.001)
    assert isinstance(health.admit(A), Obstacle)
    clock.passes(0.001)
    entered(health)
    health.failed(A, lost, "timeout")
    assert state(health) == "half_open"


def test_a_probe_that_was_given_up_never_speaks_for_a_later_one(health: Health, clock: Clock) -> None:
    fail(health, 5)
    clock.passes(30)
    lost = entered(health)
    clock.passes(300)
    fail(health)
    clock.passes(60)
    for _ in range(4):
        entered(health)
        health.failed(A, lost, "timeout")
        assert state(health) == "half_open"
        clock.passes(300)


def test_a_probe_that_may_take_longer_is_waited_for(health: Health, clock: Clock) -> None:
    fail(health, 5)
    clock.passes(30)
    health.admit(A, limit_s=900.0)
    clock.passes(899)
    assert isinstance(health.admit(A), Obstacle)
    clock.passes(1)
    entered(health)


def test_a_probe_with_a_bad_key_opens_it_for_long(health: Health, clock: Clock) -> None:
    fail(health, 5)
    clock.passes(30)
    fail(health, kind="auth")
    assert health.state(A)["wait_s"] == 600.0


def test_handing_a_ticket_in_twice_counts_once(health: Health, clock: Clock) -> None:
    fail(health, 5)
    clock.passes(30)
    probe = entered(health)
    health.succeeded(A, probe)
    health.succeeded(A, probe)
    assert state(health) == "half_open"


def test_a_call_without_a_ticket_counts_for_nothing(health: Health) -> None:
    for kind in ("timeout", "auth"):
        health.failed(A, NO_TICKET, kind)
    health.succeeded(A, NO_TICKET)
    health.released(A, NO_TICKET)
    assert health.state(A) == health.state("small-b")


# Told to wait --------------------------------------------------------------------------------------------


def test_a_provider_that_asks_for_more_than_two_seconds_is_left_alone_until_then(
    health: Health, clock: Clock
) -> None:
    fail(health, kind="rate_limit", retry_after_s=2.0)
    assert state(health) == "closed"
    fail(health, kind="rate_limit", retry_after_s=2.5)
    assert health.state(A)["wait_s"] == 2.5
    clock.passes(2.5)
    fail(health, kind="rate_limit", retry_after_s=7.25)
    assert health.admit(A) == Obstacle("held for 8 s more, as its provider asked", 7.25)
    assert state(health) == "held"
    clock.passes(7.25)
    assert state(health) == "closed"
    assert [entered(health) for _ in range(3)] == [0, 0, 0], "no probe: it was never open"
    serve(health)
    assert health.state(A)["good"] == 1


def test_a_shorter_wait_never_cuts_a_longer_one_and_late_calls_may_ask_for_more(
    health: Health, clock: Clock
) -> None:
    flying = [entered(health) for _ in range(3)]
    health.failed(A, flying[0], "rate_limit", 60.0)
    health.failed(A, flying[1], "rate_limit", 5.0)
    assert health.state(A)["wait_s"] == 60
    clock.passes(10)
    health.failed(A, flying[2], "rate_limit", 60.0)
    assert health.state(A)["wait_s"] == 60
    health.failed(A, NO_TICKET, "rate_limit", 90.0)
    assert health.state(A)["wait_s"] == 90


def test_a_wait_beyond_the_open_time_goes_before_the_probe(health: Health, clock: Clock) -> None:
    fail(health, 4)
    fail(health, kind="overloaded", retry_after_s=100.0)
    assert health.obstacle(A) == ("held for 100 s more, as its provider asked", 100.0)
    assert state(health) == "open"
    clock.passes(99)
    assert isinstance(health.admit(A), Obstacle)
    clock.passes(1)
    serve(health, 2)
    assert state(health) == "closed"


def test_one_that_is_told_to_wait_by_its_last_probe_closes_and_stays_held(
    health: Health, clock: Clock
) -> None:
    flying = entered(health)
    fail(health, 5)
    clock.passes(30)
    serve(health)
    probe = entered(health)
    health.failed(A, flying, "rate_limit", 50.0)
    health.succeeded(A, probe)
    assert state(health) == "held"
    clock.passes(50)
    assert [entered(health), entered(health)] == [entered(health)] * 2


@pytest.mark.parametrize(
    ("told_s", "held_s"),
    [(86_400.0, 3_600.0), (float("inf"), 3_600.0), (float("nan"), 0.0), (-5.0, 0.0)],
)
def test_an_absurd_wait_is_not_believed(health: Health, told_s: float, held_s: float) -> None:
    fail(health, kind="rate_limit", retry_after_s=told_s)
    assert health.state(A)["wait_s"] == held_s


# Sharing -------------------------------------------------------------------------------------------------


def test_changes_are_told_and_another_process_takes_them_over(health: Health, clock: Clock) -> None:
    there = Health([A], clock=clock, rng=lambda: 0.0)
    told: list[tuple[str, str]] = []

    def tell(endpoint: str, now: dict[str, Any]) -> None:
        told.append((endpoint, now["state"]))
        json.dumps(now, allow_nan=False)
        if now["wait_s"]:
            there.adopt(endpoint, now["wait_s"], "5 timeouts elsewhere")

    health.on_change = tell
    fail(health, 5)
    assert there.admit(A) == Obstacle("circuit open for 30 s more after 5 timeouts elsewhere", 30.0)
    clock.passes(30)
    serve(health, 2)
    assert isinstance(there.admit(A), int), "each process probes for itself"
    fail(health, kind="rate_limit", retry_after_s=9.0)
    assert told == [(A, "open"), (A, "closed"), (A, "held")]


def test_what_changes_nothing_is_not_told(clock: Clock) -> None:
    told: list[str] = []
    health = Health([A], clock=clock, rng=lambda: 0.0, on_change=lambda _, now: told.append(now["state"]))
    serve(health, 2)
    flying = [entered(health) for _ in range(3)]
    for ticket, wait_s in zip(flying, (60.0, 60.0, 5.0), strict=True):
        health.failed(A, ticket, "rate_limit", wait_s)
    assert told == ["held"]


def test_an_adopted_opening_never_shortens_ones_own(health: Health) -> None:
    fail(health, kind="auth")
    health.adopt(A, 30.0, "5 timeouts elsewhere")
    health.adopt("small-b", 0.0, "nothing any more")
    assert (health.state(A)["wait_s"], health.state("small-b")["state"]) == (600.0, "closed")


def test_another_process_may_say_how_often_it_opened(health: Health, clock: Clock) -> None:
    health.adopt(A, 20.0, "5 timeouts elsewhere", 3)
    clock.passes(20)
    fail(health)
    assert (health.state(A)["times_opened"], health.state(A)["wait_s"]) == (4, 120.0)


def test_another_process_closes_it_and_the_probe_under_way_says_nothing_any_more(
    health: Health, clock: Clock
) -> None:
    health.close(A)
    fail(health, 5)
    clock.passes(30)
    probe = entered(health)
    health.close(A)
    health.failed(A, probe, "timeout")
    assert health.state(A)["state"] == "closed"
    assert (health.state(A)["failed"], health.obstacle(A)) == (0, None)
    fail(health, 4)
    assert state(health) == "closed"


def test_another_process_holds_it_and_never_shortens_a_wait(health: Health, clock: Clock) -> None:
    health.hold(A, 9.0)
    health.hold(A, 3.0)
    assert (state(health), health.state(A)["wait_s"]) == ("held", 9.0)
    clock.passes(9)
    assert isinstance(health.admit(A), int)


def test_no_probe_starts_while_another_process_may_have_it(health: Health, clock: Clock) -> None:
    fail(health, 5)
    health.bar(A, 33.0)
    clock.passes(30)
    why = "circuit half open after 5 failures in a row (timeout): one process at a time may probe"
    assert health.admit(A) == health.obstacle(A) == Obstacle(why, 0.0)
    assert state(health) == "half_open"
    clock.passes(3)
    assert isinstance(health.admit(A), int), "it is not heard of any more"
    health.bar("small-b", 33.0)
    assert isinstance(health.admit("small-b"), int), "it is closed"


def test_what_other_processes_have_to_know(health: Health, clock: Clock) -> None:
    before = health.circuit(A)
    assert (before.is_open, before.probing, before.asked_s, before.times_opened) == (
        False,
        False,
        math.inf,
        0,
    )
    assert max(before.open_s, before.held_s) < 0
    fail(health, 4)
    fail(health, retry_after_s=40.0)
    opened = health.circuit(A)
    cause = "5 failures in a row (timeout)"
    assert opened == (True, 30.0, 40.0, 0.0, False, opened.generation, 1, cause)
    clock.passes(12)
    assert health.circuit(A).asked_s == 12.0
    health.obstacle(A)
    assert health.circuit(A) == (True, 18.0, 28.0, 0.0, False, opened.generation, 1, cause)
    clock.passes(28)
    health.state(A)
    assert health.circuit(A).asked_s == 28.0, "to look is not to ask"
    entered(health)
    assert (health.circuit(A).probing, health.circuit(A).generation) == (True, opened.generation + 1)


def test_the_first_use_is_told_once(health: Health) -> None:
    told: list[str] = []
    health.await_use(lambda: told.append("used"))
    assert told == []
    for endpoint in (A, "small-b", A):
        assert health.obstacle(endpoint) is None
    assert told == ["used"]
    assert all(breaker.calm for breaker in health._breakers.values())


# Threads -------------------------------------------------------------------------------------------------

THREADS = 32


def test_of_thirty_two_threads_exactly_one_probes_every_time(health: Health, clock: Clock) -> None:
    rounds = 60
    line = threading.Barrier(THREADS)
    fail(health, 5)

    def knock(_: int) -> list[int | Obstacle]:
        answers = []
        for _ in range(rounds):
            if line.wait() == 0:
                clock.passes(health.state(A)["wait_s"])
            line.wait()
            answers.append(health.admit(A))
            line.wait()
            if isinstance(answers[-1], int):
                health.failed(A, answers[-1], "timeout")
        return answers

    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(knock, range(THREADS)))
    probes = [sum(isinstance(answer, int) for answer in together) for together in zip(*answers, strict=True)]
    assert probes == [1] * rounds
    assert health.state(A)["times_opened"] == rounds + 1


def test_threads_that_hammer_a_dead_endpoint_never_probe_in_twos(health: Health, clock: Clock) -> None:
    line, lock = threading.Barrier(THREADS), threading.Lock()
    at_once, most, probes = 0, 0, 0
    fail(health, 5)  # from here on every ticket is a probe's
    breaker = health._breakers[A]

    def hammer(_: int) -> None:
        nonlocal at_once, most, probes
        line.wait()
        for _ in range(300):
            ticket = health.admit(A)
            if isinstance(ticket, Obstacle):
                clock.now_s = max(clock.now_s, breaker.open_until)
                continue
            with lock:
                at_once += 1
                most, probes = max(most, at_once), probes + 1
            threading.Event().wait(0)  # lets the others knock meanwhile
            with lock:
                at_once -= 1
            health.failed(A, ticket, "server")

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(hammer, range(THREADS)))
    assert most == 1
    assert probes > 20
    assert health.state(A)["times_opened"] == probes + 1


def test_outcomes_of_many_threads_are_all_counted(clock: Clock) -> None:
    health = Health([A], clock=clock)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: serve(health, 100), range(THREADS)))
    assert health.state(A)["good"] == 100 * THREADS


# Shared --------------------------------------------------------------------------------------------------


def test_a_shared_breaker_is_one_for_both_routers_and_others_stay_their_own(
    health: Health, clock: Clock
) -> None:
    other = Health([A, "small-b"], clock=clock, rng=lambda: 0.0)
    other.share(A, health)
    fail(health, 5)
    assert [known.state(A)["state"] for known in (health, other)] == ["open", "open"]
    for _ in range(5):
        other.failed("small-b", ticket_of(other, "small-b"), "timeout")
    assert [known.state("small-b")["state"] for known in (health, other)] == ["closed", "open"]


def ticket_of(health: Health, endpoint: str) -> int:
    ticket = health.admit(endpoint)
    assert isinstance(ticket, int)
    return ticket
