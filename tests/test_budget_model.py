"""Budgets against a model of what is promised, over random histories of calls, endings and days."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from langroute.accounts import pico_of
from langroute.budget import Budget, Limit
from langroute.effects import run
from langroute.errors import BudgetExceeded

DAY_S = 86_400.0
CAPS = {
    "per_call_usd": 4,
    "per_run_usd": 6,
    "per_thread_usd": 9,
    "per_day_usd": 14,
    "keys.tenant.per_day_usd": 8,
}
SCOPES = {"per_call_usd": "call", "per_run_usd": "run", "per_thread_usd": "thread", "per_day_usd": "day"}


class Model:
    """What may be spent, in whole dollars, as the page tells it: sums over a list of calls."""

    def __init__(self) -> None:
        self.day, self.names = 0, 0
        self.calls: list[dict[str, Any]] = []

    def owners(self, run: Any, thread: Any, tenant: Any) -> dict[str, Any]:
        self.names += 1
        own = {"per_run_usd": run or f"own {self.names}", "per_day_usd": self.day}
        own["keys.tenant.per_day_usd"] = (tenant, self.day)
        return {**own, "per_thread_usd": thread} if thread else own

    def taken(self, limit: str, owner: Any) -> int:
        return sum(call["usd"] for call in self.calls if call["owners"].get(limit) == owner)

    def start(self, worst: int, owners: dict[str, Any]) -> dict[str, Any] | None:
        if worst > CAPS["per_call_usd"]:
            return None
        if any(self.taken(limit, owner) + worst > CAPS[limit] for limit, owner in owners.items()):
            return None
        call = {"usd": worst, "worst": worst, "owners": owners, "open": True}
        self.calls.append(call)
        return call

    def end(self, call: dict[str, Any], usd: int | None) -> None:
        if call["open"]:
            call["usd"] = call["worst"] if usd is None else usd
        call["open"] = False

    @property
    def overruns(self) -> list[int]:
        return [call["usd"] - call["worst"] for call in self.calls if call["usd"] > call["worst"]]


class Budgets(RuleBasedStateMachine):
    """Every history of starts, ends and days, on both."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        limits = [Limit(name, SCOPES.get(name, "key"), pico_of(cap), "tenant") for name, cap in CAPS.items()]  # type: ignore[arg-type]
        self.budget = Budget(limits, clock=lambda: self.model.day * DAY_S)
        self.runs = {name: object() for name in ("r1", "r2")}
        self.known: list[tuple[Any, dict[str, Any]]] = []
        self.flying: list[tuple[Any, dict[str, Any]]] = []

    @rule()
    def a_day_passes(self) -> None:
        self.model.day += 1

    @rule(
        worst=st.integers(0, 5),
        name=st.sampled_from([None, "r1", "r2"]),
        thread=st.sampled_from([None, "t1", "t2"]),
        tenant=st.sampled_from([None, "acme", "bolt"]),
    )
    def a_call_starts(self, worst: int, name: Any, thread: Any, tenant: Any) -> None:
        metadata = {} if tenant is None else {"tenant": tenant}
        purse = self.budget.purse(run=self.runs.get(name), thread=thread, metadata=metadata)
        owners = self.model.owners(name, thread, tenant)
        room = run(purse.look()).refusal(float(worst))
        call = self.model.start(worst, owners)
        try:
            reservation = run(purse.reserve(float(worst)))
        except BudgetExceeded as refusal:
            same = str(refusal) == str(room)
            assert (call, same) == (None, True)
            return
        assert (call is not None, room) == (True, None)
        self.flying.append((reservation, call))
        self.known.append((purse, owners))

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), usd=st.sampled_from([None, 0, 1, 2, 3, 7]), soon=st.booleans(), again=st.booleans())
    def a_call_ends(self, data: Any, usd: int | None, soon: Any, again: Any) -> None:
        at = data.draw(st.integers(0, len(self.flying) - 1))
        reservation, call = self.flying[at] if again else self.flying.pop(at)
        self.model.end(call, usd)
        if soon:
            reservation.settle_soon(usd)
        else:
            run(reservation.settle(usd))

    @invariant()
    def both_say_the_same(self) -> None:
        for purse, owners in self.known:
            for claim, balance in run(purse.look()).left:
                assert sum(balance) == pico_of(self.model.taken(claim.limit, owners[claim.limit]))
        overruns = self.model.overruns
        assert (self.budget.overruns, self.budget.overrun_usd) == (len(overruns), sum(overruns))


Budgets.TestCase.settings = settings(stateful_step_count=40, deadline=None)
TestBudgets = Budgets.TestCase
