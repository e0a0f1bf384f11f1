"""Shared breakers over random histories: never two probes at once, and in the end all are back."""

from fleets import Process, World
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from langroute.ledger.breakers import LEASE_S
from langroute.ledger.fleet import FRESH_S, POLL_S

WHO = st.integers(0, 2)


class Fleets(RuleBasedStateMachine):
    """Three processes that call, look, are cut off, die and are born."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.flying: list[tuple[Process, int]] = []
        self.strict_after_s = 0.0
        """Before then each process may have gone on by itself."""

    def is_probing(self, process: Process) -> bool:
        return process.health.circuit("small-a").probing

    @rule(
        who=WHO, kinds=st.lists(st.sampled_from([None, "timeout", "server", "auth"]), min_size=1, max_size=6)
    )
    def calls_come_and_go(self, who: int, kinds: list[str | None]) -> None:
        for kind in kinds:
            self.world.processes[who].calls(kind)

    @rule(who=WHO, times=st.just(5))
    def a_process_meets_an_outage(self, who: int, times: int) -> None:
        for _ in range(times):
            self.world.processes[who].calls("timeout")

    @rule(who=WHO)
    def a_call_starts(self, who: int) -> None:
        process = self.world.processes[who]
        ticket = process.starts()
        if ticket is not None:
            self.flying.append((process, ticket))

    @rule(kind=st.sampled_from([None, "timeout", "released"]), data=st.data())
    def a_call_ends(self, kind: str | None, data: st.DataObject) -> None:
        if not self.flying:
            return
        process, ticket = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        if kind is None:
            process.health.succeeded("small-a", ticket)
        elif kind == "released":
            process.health.released("small-a", ticket)
        else:
            process.health.failed("small-a", ticket, kind)

    @rule(seconds=st.sampled_from([0.3, 1.0, 5.0, 29.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.passes(seconds)

    @rule(seconds=st.sampled_from([0.4, 2.0, 40.0]))
    def the_database_is_gone(self, seconds: float) -> None:
        self.world.memory.gone = True
        until_s = self.world.clock.now_s + seconds
        while self.world.clock.now_s < until_s:
            self.world.clock.now_s += POLL_S
            for process in self.world.processes:
                assert not process.fleet.round()
        self.world.memory.gone = False
        if seconds > FRESH_S - POLL_S:
            self.strict_after_s = self.world.clock.now_s + 1_000.0  # their probes may last as long
        self.world.look()

    @rule(who=WHO)
    def a_process_dies_and_another_is_born(self, who: int) -> None:
        dead = self.world.processes[who]
        self.flying = [(process, ticket) for process, ticket in self.flying if process is not dead]
        self.world.processes[who] = Process(self.world.memory, self.world.clock)
        self.world.processes[who].fleet.round()

    @invariant()
    def one_process_probes(self) -> None:
        if self.world.clock.now_s >= self.strict_after_s:
            assert sum(map(self.is_probing, self.world.processes)) <= 1

    def teardown(self) -> None:
        """Let the endpoint be well again: every process has calls, and soon all reach it."""
        for process, ticket in self.flying:
            process.health.released("small-a", ticket)
        self.world.look()
        self.world.look()
        wait_s = max(process.health.state("small-a")["wait_s"] for process in self.world.processes)
        self.world.passes(wait_s)
        for _ in range(int((5.0 + LEASE_S) / POLL_S)):
            for process in self.world.processes:
                process.calls()
            self.world.passes(POLL_S)
        assert self.world.states == ["closed"] * 3


Fleets.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestFleets = Fleets.TestCase


def test_an_idle_process_that_dies_with_the_probe_gives_it_up() -> None:
    history = Fleets()
    history.a_process_meets_an_outage(times=5, who=0)
    history.the_database_is_gone(seconds=0.4)
    history.the_database_is_gone(seconds=40.0)
    history.the_database_is_gone(seconds=40.0)  # nobody called meanwhile: the lease is the long one
    history.a_process_dies_and_another_is_born(who=0)
    history.teardown()
