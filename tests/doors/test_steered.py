"""What steers the host passes every door, in every mode, from every place where foreign code runs."""

from itertools import product

import pytest
from modes import MODES
from steered import AS_NODES, DOORS, SIGNALS, came_of, door_to, places_of, plain

from langroute.testing import capture_decisions

CASES = [(door, place) for door in DOORS if door != "nested" for place in places_of(door)]
"""The nested step is steered in every mode from one place, and from all by the campaign."""
STREAMED = [mode for mode in MODES if mode not in ("invoke", "ainvoke")]


def check(door: str, place: str, mode: str, name: str) -> None:
    """Raise one signal, and see what came of the run, what was called, and what was recorded."""
    case = f"{name} of the {place} through {door}, {mode}"
    setup = places_of(door)[place](SIGNALS[name]())
    graph, models = door_to(door, setup, place)
    with capture_decisions() as decisions:
        assert came_of(graph, mode) == plain(name, mode), case
    calls = {endpoint: len(model.calls) for endpoint, model in models.items() if model.calls}
    assert calls == setup.calls, case
    # An interrupt in a step drawn as nodes is a pause: what was tried stands in the checkpoint.
    paused = name == "interrupt" and door in AS_NODES
    ended = ["cancelled"] if setup.planned and not paused else []
    assert [decision.outcome for decision in decisions] == ended, case


@pytest.mark.parametrize(("door", "place"), CASES, ids=lambda case: case)
def test_every_signal_passes_from_every_place(door: str, place: str) -> None:
    for mode, name in product(("invoke", "ainvoke"), SIGNALS):
        check(door, place, mode, name)


@pytest.mark.parametrize("mode", STREAMED)
@pytest.mark.parametrize("door", DOORS)
def test_every_signal_passes_in_every_mode(door: str, mode: str) -> None:
    for name in SIGNALS:
        check(door, "escalation", mode, name)


@pytest.mark.campaign
@pytest.mark.parametrize("door", DOORS)
def test_every_signal_passes_from_every_place_in_every_mode(door: str) -> None:
    cases = list(product(places_of(door), MODES, SIGNALS))
    for place, mode, name in cases:
        check(door, place, mode, name)
    print(f"\n{door}: {len(cases):,} runs steered, none swallowed, no call too many")  # noqa: T201 - the campaign's figures
