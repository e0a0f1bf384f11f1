"""Every fault in every mode through every door: the right answer, or a typed error in time."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from fault_cases import CASES, Case
from fault_doors import DOORS, Door, cell
from fault_modes import Mode
from fault_outcomes import GOOD

SEED = 20261122
SAMPLE = 96
WORKERS = 4

Cell = tuple[Case, Door, Mode]

CELLS: list[Cell] = [
    (case, door, mode) for door in DOORS.values() for case in CASES.values() for mode in door.modes
]


def played(cells: Sequence[Cell], tell: Callable[..., None] = lambda _: None) -> list[tuple[Cell, str]]:
    """Play the cells, several at a time, for most of them wait; tell how far it is and what was missed."""
    results: list[tuple[Cell, str]] = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for result in zip(cells, pool.map(lambda each: cell(*each)[0], cells), strict=True):
            results.append(result)
            for line in bad([result]):
                tell(f"missed: {line}")
            if len(results) % 500 == 0:
                tell(f"{len(results)} of {len(cells)} cells")
    return results


def bad(results: Iterable[tuple[Cell, str]]) -> list[str]:
    return [
        f"{door.name} | {case.name} | {mode.name} | {told}"
        for (case, door, mode), told in results
        if told not in GOOD
    ]


def again(results: list[tuple[Cell, str]]) -> list[tuple[Cell, str]]:
    """Play what was bad once more, one at a time: on a busy machine the healthy backup may be late too."""
    return [(each, told if told in GOOD else cell(*each)[0]) for each, told in results]


def table(results: Iterable[tuple[Cell, str]]) -> str:
    """Return the share of kept promises, fault by door, and how they were kept."""
    kept: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for (case, door, _), told in results:
        kept[case.name][door.name].append(told in GOOD)
    lines = [f"{'fault':30}" + "".join(f"{name:>14}" for name in DOORS)]
    for case, by_door in kept.items():
        shares = [by_door.get(name) for name in DOORS]
        lines.append(
            f"{case:30}" + "".join(f"{sum(s) / len(s):>14.0%}" if s else f"{'':>14}" for s in shares)
        )
    return "\n".join(lines)


def test_sample_of_the_matrix_keeps_the_promise() -> None:
    cells = random.Random(SEED).sample(CELLS, SAMPLE)  # noqa: S311 - no secret
    results = again(played(cells))
    assert {door.name for (_, door, _), _ in results} == set(DOORS), "the sample must reach every door"
    assert bad(results) == []


@pytest.mark.campaign
def test_whole_matrix_keeps_the_promise() -> None:
    results = again(played(CELLS, partial(print, flush=True)))
    counts = Counter(told.partition(":")[0] for _, told in results)
    summary = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    print(f"\n{table(results)}\n{len(results)} cells: {summary}")  # noqa: T201 - the figures
    assert bad(results) == []
