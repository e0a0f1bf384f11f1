"""Breakers against a model of what is promised, over random histories: no ticket numbers, only lists."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from langroute.health import Health, Obstacle

KINDS = ("timeout", "server", "rate_limit", "auth", "quota", "invalid_request", "refusal")


class Model:
    """One breaker, as the page tells it; a call is a dict that remembers in which era it started."""

    def __init__(self, jitter: float) -> None:
        self.now, self.held, self.jitter = 0.0, 0.0, jitter
        self.era: list[
            tuple[float, bool]
        ] = []  # (when, failed) since it closed last; None of it counts later
        self.until: float | None = None  # end of the open time; None while closed
        self.probe: dict[str, Any] | None = None
        self.times, self.good, self.closed_at = 0, 0, -1e9

    def may_start(self) -> bool:
        busy = self.probe is not None and self.now < self.probe["at"] + 300
        return self.now >= self.held and (self.until is None or (self.now >= self.until and not busy))

    def start(self) -> dict[str, Any]:
        call = {"at": self.now, "era": self.era}
        if self.until is not None:
            self.probe = call
        return call

    def end(self, call: dict[str, Any], kind: str, retry_after: float) -> None:
        if kind not in ("good", "released") and retry_after > 2:
            self.held = max(self.held, self.now + min(retry_after, 3600))
        if call is not self.probe and (self.until is not None or call["era"] is not self.era):
            return
        was_probe, self.probe = call is self.probe, None
        if kind in ("released", "invalid_request", "refusal"):
            return
        if not was_probe:
            self.era.append((self.now, kind != "good"))
        row = [failed for _, failed in self.era][-5:]
        window = [failed for at, failed in self.era if at > self.now - 30]
        if kind == "good":
            self.good += was_probe
            if self.good == 2:
                self.until, self.good, self.era, self.closed_at = None, 0, [], self.now
        elif (
            was_probe
            or kind in ("auth", "quota")
            or row == [True] * 5
            or 2 * sum(window) >= len(window) >= 10
        ):
            self.times = 1 if not was_probe and self.now - self.closed_at > 300 else self.times + 1
            long = 600 if kind in ("auth", "quota") else min(30 * self.times, 300)
            self.until, self.good, self.era = self.now + long * (1 - 0.1 * self.jitter), 0, []


class Breakers(RuleBasedStateMachine):
    """Every history of starts, ends and passing time, on both."""

    def __init__(self) -> None:
        super().__init__()
        self.jitter = 0.5
        self.model = Model(self.jitter)
        self.health = Health(["a"], clock=lambda: self.model.now, rng=lambda: self.jitter)
        self.flying: list[tuple[int, dict[str, Any]]] = []

    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0, 28.5, 57.0, 300.0, 600.0]))
    def time_passes(self, seconds: float) -> None:
        self.model.now += seconds

    @rule()
    def a_call_starts(self) -> None:
        allowed = self.model.may_start()
        ticket = self.health.admit("a")
        assert isinstance(ticket, int) is allowed, ticket
        if isinstance(ticket, int):
            self.flying.append((ticket, self.model.start()))

    @precondition(lambda self: self.flying)
    @rule(
        data=st.data(),
        kind=st.sampled_from(("good", "released", *KINDS)),
        retry=st.sampled_from([0.0, 0.0, 2.0, 9.0, 1e6]),
    )
    def a_call_ends(self, data: Any, kind: str, retry: float) -> None:
        ticket, call = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        self.hand_in(ticket, call, kind, retry)

    @rule(kind=st.sampled_from(("good", "timeout", "server")), times=st.integers(1, 12))
    def some_calls_come_and_go(self, kind: str, times: int) -> None:
        for _ in range(times):
            ticket = self.health.admit("a")
            if isinstance(ticket, int):
                self.hand_in(ticket, self.model.start(), kind, 0.0)

    def hand_in(self, ticket: int, call: dict[str, Any], kind: str, retry: float) -> None:
        self.model.end(call, kind, retry)
        if kind == "good":
            self.health.succeeded("a", ticket)
        elif kind == "released":
            self.health.released("a", ticket)
        else:
            self.health.failed("a", ticket, kind, retry or None)

    @invariant()
    def both_say_the_same(self) -> None:
        model, told = self.model, self.health.state("a")
        assert isinstance(self.health.obstacle("a"), Obstacle) is not model.may_start()
        window = [failed for at, failed in model.era if at > model.now - 30]
        assert (told["good"], told["failed"]) == (len(window) - sum(window), sum(window))
        assert (told["state"] in ("open", "half_open")) is (model.until is not None)
        assert abs(told["wait_s"] - max(model.held - model.now, (model.until or 0) - model.now, 0)) < 1e-6
        assert told["reason"] is None or told["state"] != "closed"


Breakers.TestCase.settings = settings(stateful_step_count=40, deadline=None)
TestBreakers = Breakers.TestCase
