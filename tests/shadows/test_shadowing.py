"""Shadows: a share of cheap replies, the top tier asked as well, and what must not notice."""

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from routed_models import MODES, Runs, calls, down, shown
from shadowing import CHEAP, OTHER, PATIENCE_S, Gated, kept, policy, routed, shadows_of

from langroute import Ledger, RoutedChatModel
from langroute.errors import PolicyError
from langroute.ledger.aside import Aside
from langroute.ledger.writer import writer
from langroute.shadowing import drawn
from langroute.testing import capture_decisions

JUDGED = {"compare": {"judge": {}}}
REFUSAL = "I cannot help with that."


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


@pytest.fixture
def any_ledger(database_url: str) -> Iterator[Ledger]:
    with Ledger(database_url) as opened:
        yield opened


def judge(*right: str) -> list[Any]:
    """Return the script of a top tier that replies, and then judges twice."""
    return [OTHER, *({"reason": "so it is", "right": each} for each in right)]


# What is compared ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("large", "verdict"), [(OTHER, "misrouted"), ("the cable  was laid in 1866", "good"), (CHEAP, "good")]
)
def test_exact_comparison_takes_the_top_tier_at_its_word(large: str, verdict: str, ledger: Ledger) -> None:
    model = routed(ledger, large=large)
    reply = model.invoke("When?")
    [shadow] = shadows_of(model)
    assert (shadow.decision, shadow.verdict) == (reply.response_metadata["langroute"]["call_id"], verdict)
    assert (shadow.tier, shadow.strong_tier, shadow.propensity) == ("small", "large", 1.0)
    assert (shadow.call_usd, shadow.judge_usd) == (pytest.approx(0.012), 0.0)


@pytest.mark.parametrize(
    ("right", "verdict"),
    [
        (("second", "first"), "misrouted"),
        (("first", "second"), "good"),
        (("both", "both"), "good"),
        (("neither", "neither"), "neither"),
        (("first", "first"), "unsure"),
        (("second", "both"), "unsure"),
    ],
)
def test_judge_is_asked_in_both_orders(right: tuple[str, str], verdict: str, any_ledger: Ledger) -> None:
    model = routed(any_ledger, large=judge(*right), shadow={"compare": {"judge": {"rubric": "Is it 1857?"}}})
    model.invoke("When?")
    [shadow] = shadows_of(model)
    assert (shadow.verdict, shadow.compared_by) == (verdict, "judge")
    assert shadow.judge_usd == pytest.approx(0.024)
    first, second = (call.messages[-1].text for call in large_of(model).calls[1:])
    assert first.index(CHEAP) < first.index(OTHER)
    assert second.index(OTHER) < second.index(CHEAP)
    assert "Is it 1857?" in first


def large_of(model: RoutedChatModel) -> Any:
    return model.router.endpoints.by_name["large"].model


def test_equal_replies_need_no_judge(ledger: Ledger) -> None:
    model = routed(ledger, large=[CHEAP], shadow=JUDGED)
    model.invoke("When?")
    assert [shadow.verdict for shadow in shadows_of(model)] == ["good"]


def test_tool_calls_are_compared_with_the_callers_tools_bound(ledger: Ledger) -> None:
    def find(text: str) -> str:
        """Find."""
        return text

    model = routed(ledger, small={"text": "a"}, large=[{"text": "a"}, {"text": "b"}], step={"verify": []})
    with_tools: Any = model.bind_tools([find])
    for _ in range(2):
        with_tools.invoke("Look it up.")
        assert model.router.shadows.flush(PATIENCE_S)
    assert [shadow.verdict for shadow in shadows_of(model)] == ["good", "misrouted"]
    assert "find" in str(large_of(model).calls[0].kwargs["tools"])


def test_objects_are_compared_as_data(ledger: Ledger) -> None:
    schema = {"title": "Date", "type": "object", "properties": {"year": {"type": "integer"}}}
    model = routed(ledger, small={"year": 1866}, large=[{"year": 1866}, {"year": 1857}])
    for _ in range(2):
        model.with_structured_output(schema).invoke("When?")
        assert model.router.shadows.flush(PATIENCE_S)
    assert [shadow.verdict for shadow in shadows_of(model)] == ["good", "misrouted"]


@pytest.mark.parametrize(
    ("of_policy", "why"),
    [
        ({"step": {"cascade": ["small"]}, "small": REFUSAL}, "a reply that no check accepted"),
        ({"small": REFUSAL}, "a reply of the top tier itself"),
    ],
)
def test_accepted_replies_below_the_top_alone_are_shadowed(
    of_policy: dict[str, Any], why: str, ledger: Ledger
) -> None:
    model = routed(ledger, **of_policy)
    model.invoke("When?")
    assert shadows_of(model) == [], why


# Which are drawn -----------------------------------------------------------------------------------------


def test_draw_hangs_on_the_call_id_alone_and_on_nothing_by_chance() -> None:
    dice = random.Random(7)  # noqa: S311 - no secret
    ids = [f"{dice.getrandbits(128):032x}" for _ in range(40_000)]
    chosen = [each for each in ids if drawn(each, 0.05)]
    by_hand = [
        each
        for each in ids
        if int(hashlib.blake2b(each.encode(), digest_size=8, person=b"shadow").hexdigest(), 16) / 2**64 < 0.05
    ]
    assert chosen == by_hand
    assert abs(len(chosen) - 2_000) < 5 * (40_000 * 0.05 * 0.95) ** 0.5
    assert all(drawn(each, 0.2) for each in chosen), "a larger share holds the smaller one"
    assert all(drawn(each, 1.0) for each in ids)


def test_those_drawn_are_shadowed_and_no_others(any_ledger: Ledger) -> None:
    model = routed(any_ledger, shadow={"share": 0.3})
    replies = [model.invoke("When?").response_metadata["langroute"]["call_id"] for _ in range(60)]
    assert {shadow.decision for shadow in shadows_of(model)} == {each for each in replies if drawn(each, 0.3)}
    assert {shadow.propensity for shadow in shadows_of(model)} == {0.3}


# What must not notice ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_every_mode_is_shadowed_and_shows_nothing_of_it(mode: str, ledger: Ledger) -> None:
    model, runs = routed(ledger), Runs()
    with capture_decisions() as seen:
        assert await shown(model, mode, config={"callbacks": [runs]}) == CHEAP
    [shadow] = shadows_of(model)
    assert shadow.verdict == "misrouted"
    assert [decision.call_id for decision in seen] == [shadow.decision]
    assert len(runs.models) == 1
    assert calls(model) == {"small": 1, "large": 1}


def test_reply_returns_while_the_top_tier_thinks(ledger: Ledger) -> None:
    slow = Gated(name="large", reply=OTHER)
    model = routed(ledger, large=slow)
    assert model.invoke("When?").text == CHEAP
    assert slow.entered.wait(PATIENCE_S)
    assert not model.router.shadows.flush(0)
    assert model.invoke("When?").text == CHEAP
    slow.let()
    assert len(shadows_of(model)) == 2


def test_queue_that_is_full_drops_what_comes_and_says_so(ledger: Ledger) -> None:
    slow = Gated(name="large", reply=OTHER)
    model = routed(ledger, large=slow)
    model.router.shadows._aside = Aside(most_jobs=2)
    model.invoke("When?")
    assert slow.entered.wait(PATIENCE_S)
    for _ in range(5):
        assert model.invoke("When?").text == CHEAP
    slow.let()
    outcomes = sorted(shadow.outcome for shadow in shadows_of(model))
    assert outcomes == ["compared"] * 3 + ["dropped"] * 3
    assert model.router.shadows.counts == {"compared": 3, "dropped": 3}
    assert sum(record.cost_usd or 9 for record in kept(model.router)) < 9


def test_program_that_ends_drops_what_waits(ledger: Ledger) -> None:
    slow = Gated(name="large", reply=OTHER)
    model, own = routed(ledger, large=slow), Aside()
    model.router.shadows._aside = own
    for _ in range(3):
        model.invoke("When?")
    assert slow.entered.wait(PATIENCE_S)
    slow.let()
    own.end()
    model.invoke("When?")
    outcomes = [shadow.outcome for shadow in shadows_of(model)]
    assert outcomes.count("dropped") >= 1
    assert len(outcomes) == 4


FORKING = """
import os, sys
from shadowing import PATIENCE_S, Gated, OTHER, routed, shadows_of
slow = Gated(name="large", reply=OTHER)
model = routed(sys.argv[1], large=slow)
model.invoke("When?")
assert slow.entered.wait(PATIENCE_S)
child = os.fork()
if not child:
    assert model.router.shadows.flush(0), "what waited is the parent's"
    slow.let()
    model.invoke("When?")
    done = model.router.shadows.flush(PATIENCE_S) and model.router.ledger.flush(PATIENCE_S)
    os._exit(0 if done else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
slow.let()
print(sorted(shadow.verdict for shadow in shadows_of(model)))
"""


def test_fork_shadows_by_a_thread_of_its_own_and_leaves_to_its_parent_what_waited(tmp_path: Path) -> None:
    where = [str(Path(__file__).parent), *sys.path]
    ended = subprocess.run(
        [sys.executable, "-c", FORKING, f"sqlite:///{tmp_path / 'ledger.sqlite'}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(where)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert ended.stdout == "['misrouted', 'misrouted']\n", ended.stderr


# Money, health and boundaries ----------------------------------------------------------------------------


def test_shadows_spend_their_own_money_and_stop_where_it_ends(any_ledger: Ledger) -> None:
    tight = {"shadow": {"per_day_usd": 0.1}, "budget": {"per_day_usd": 0.09}}
    model = routed(any_ledger, step={"expected_output_tokens": 100}, **tight)
    for _ in range(12):
        assert model.invoke("When?").text == CHEAP
        assert model.router.shadows.flush(PATIENCE_S)
    outcomes = [shadow.outcome for shadow in shadows_of(model)]
    assert 0 < outcomes.count("compared") < 10
    assert outcomes.count("unpaid") == 12 - outcomes.count("compared")
    assert sum(shadow.cost_usd or 0 for shadow in shadows_of(model)) <= 0.1
    assert {shadow.cost_usd for shadow in shadows_of(model) if shadow.outcome == "unpaid"} == {0.0}


def test_provider_that_is_down_is_told_of_and_its_circuit_counts(ledger: Ledger) -> None:
    model = routed(ledger, large=[down()] * 20)
    for _ in range(8):
        assert model.invoke("When?").text == CHEAP
        assert model.router.shadows.flush(PATIENCE_S)
    outcomes = [shadow.outcome for shadow in shadows_of(model)]
    assert outcomes == ["failed"] * 5 + ["unavailable"] * 3
    assert calls(model)["large"] == 5
    assert model.router.health()["large"]["state"] == "open"


def test_a_probe_is_never_the_shadows(ledger: Ledger) -> None:
    now = [0.0]
    model = routed(ledger)
    model.router.breakers._clock = lambda: now[0]
    for _ in range(5):
        model.router.breakers.failed("large", model.router.breakers.admit("large"), "server_error")
    now[0] = 10_000.0
    assert model.router.health()["large"]["state"] == "half_open"
    model.invoke("When?")
    assert [shadow.outcome for shadow in shadows_of(model)] == ["unavailable"]
    assert model.router.health()["large"]["state"] == "half_open"
    assert calls(model)["large"] == 0


def test_judge_that_fails_leaves_nothing_compared_and_its_cost_unknown(ledger: Ledger) -> None:
    model = routed(ledger, large=[OTHER, TimeoutError("late")], shadow=JUDGED)
    model.invoke("When?")
    [shadow] = shadows_of(model)
    assert (shadow.outcome, shadow.verdict, shadow.judge_usd) == ("failed", None, None)
    assert shadow.call_usd == pytest.approx(0.012)


def test_step_that_may_not_leave_the_house_is_not_shadowed_outside() -> None:
    written = policy(step={"cascade": ["small"], "boundary": ["local"]})
    written["tiers"]["small"]["models"][0]["boundary"] = "local"
    with pytest.raises(PolicyError, match="boundary leaves tier `large` without endpoints"):
        RoutedChatModel(written)


def test_endpoints_inside_the_boundary_alone_are_asked(ledger: Ledger) -> None:
    written = policy(step={"cascade": ["small"], "boundary": ["local"]})
    inside = policy(large=CHEAP)["tiers"]["large"]["models"][0] | {"name": "inside", "boundary": "local"}
    written["tiers"]["small"]["models"][0]["boundary"] = "local"
    written["tiers"]["large"]["models"].append(inside)
    model = RoutedChatModel(written, ledger=ledger).for_step("answer")
    model.invoke("When?")
    assert [shadow.strong_endpoint for shadow in shadows_of(model)] == ["inside"]
    assert calls(model) == {"small": 1, "large": 0, "inside": 1}


# What is kept --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["off", "digest", "full"])
def test_text_of_the_top_tier_is_kept_as_the_policy_says(text: str, ledger: Ledger) -> None:
    model = routed(ledger, large=judge("first", "first"), ledger={"text": text}, shadow=JUDGED)
    model.invoke("When?")
    [shadow] = shadows_of(model)
    expected = {
        "off": None,
        "digest": hashlib.sha256(f'{{"text": "{OTHER}"}}'.encode()).hexdigest(),
        "full": {"text": OTHER},
    }
    assert shadow.reply == expected[text]
    assert OTHER not in shadow.reason
    assert "so it is" not in shadow.reason, "a judge may quote"


def test_shadows_are_on_the_bill_and_in_the_saving(any_ledger: Ledger) -> None:
    model = routed(any_ledger)
    model.invoke("When?")
    [record] = kept(model.router)
    assert record.cost_usd == pytest.approx(0.0012 + 0.012)
    [bill] = any_ledger.costs(by="step")
    assert (bill.shadows_usd, bill.known_usd) == (pytest.approx(0.012), pytest.approx(0.0132))
    assert bill.saved_usd == pytest.approx(0.012 - 0.0132), "measuring everything costs more than it saves"


def test_shadow_of_unknown_cost_leaves_its_decision_out_of_the_saving(any_ledger: Ledger) -> None:
    model = routed(any_ledger, large=[OTHER, TimeoutError()], shadow=JUDGED)
    model.invoke("When?")
    [record] = kept(model.router)
    [bill] = any_ledger.costs()
    assert (record.cost_usd, bill.cost_usd, bill.unknown, bill.compared) == (None, None, 1, 0)
    assert bill.compared_usd == pytest.approx(0.0)


def test_pruning_takes_shadows_along(any_ledger: Ledger) -> None:
    model = routed(any_ledger)
    model.invoke("When?")
    assert len(shadows_of(model)) == 1
    assert any_ledger.prune(4e9) == 1
    with any_ledger.store.statements() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM langroute_shadows").scalar() == 0


def test_shadow_without_a_ledger_is_refused() -> None:
    with pytest.raises(PolicyError, match="needs a ledger"):
        RoutedChatModel(policy())


def test_row_is_written_by_the_ledgers_own_writer(ledger: Ledger) -> None:
    model = routed(ledger)
    model.invoke("When?")
    kept(model.router)
    assert writer(ledger.store).counts.written == 2


def test_fault_of_the_provider_reaches_no_caller(ledger: Ledger) -> None:
    model = routed(ledger, large=[ValueError("a bug")])
    assert model.invoke("When?").text == CHEAP
    assert [shadow.outcome for shadow in shadows_of(model)] == ["failed"]
