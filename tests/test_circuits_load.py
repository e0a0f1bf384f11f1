"""A dead primary under load, over real HTTP: everybody is answered, and next to nobody waits for it.

The full load: `pytest -m campaign -s tests/test_circuits_load.py`, some minutes, figures printed.
"""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from langroute import RoutedChatModel
from langroute.testing import LoopbackProvider
from langroute.testing.faults import Fault

DEAD = Fault("status", status=500)
WORKER = Path(__file__).parent / "processes" / "loaded.py"


def served(provider: LoopbackProvider, fault: Fault) -> RoutedChatModel:
    """Return a model whose primary fails every call."""
    provider.fail("primary", fault)
    models = [{"model": provider.chat_model(name), "name": name} for name in ("primary", "secondary")]
    return RoutedChatModel({"tiers": {"small": {"models": models}}, "default": {"cascade": ["small"]}})


async def all_answered(call: Callable[[str], Awaitable[str]], at_once: int, requests: int) -> Counter[str]:
    """Make so many requests, so many at once, and count the answers."""
    asked = iter(range(requests))

    async def caller() -> list[str]:
        return [await call(str(number)) for number in asked]

    return Counter(
        text for texts in await asyncio.gather(*(caller() for _ in range(at_once))) for text in texts
    )


def by_awaiting(model: RoutedChatModel) -> Callable[[str], Awaitable[str]]:
    async def call(prompt: str) -> str:
        return (await model.ainvoke(prompt)).text

    return call


def by_streaming(model: RoutedChatModel) -> Callable[[str], Awaitable[str]]:
    async def call(prompt: str) -> str:
        return "".join([chunk.text async for chunk in model.astream(prompt)])

    return call


@pytest.mark.parametrize(
    ("way", "fault"),
    [
        (by_awaiting, DEAD),
        (by_awaiting, Fault("status", status=500, delay_s=0.1)),
        (by_awaiting, Fault("drop")),
        (by_streaming, Fault("status", status=429)),
        (by_streaming, Fault("cut")),
    ],
    ids=["500", "late 500", "drop", "429 streamed", "cut streamed"],
)
async def test_of_300_requests_50_at_once_at_most_60_reach_a_dead_primary(way: Any, fault: Fault) -> None:
    with LoopbackProvider({"primary": "never", "secondary": "Hello!"}) as provider:
        model = served(provider, fault)
        assert await all_answered(way(model), 50, 300) == {"Hello!": 300}
        assert provider.calls("primary") <= 60
        assert provider.calls("secondary") == 300
        assert model.router.health()["primary"]["state"] == "open"


def test_of_300_requests_in_50_threads_at_most_60_reach_a_dead_primary() -> None:
    with LoopbackProvider({"primary": "never", "secondary": "Hello!"}) as provider:
        model = served(provider, DEAD)
        with ThreadPoolExecutor(50) as pool:
            replies = pool.map(lambda number: model.invoke(str(number)).text, range(300))
            assert Counter(replies) == {"Hello!": 300}
        assert provider.calls("primary") <= 60


@pytest.mark.campaign
async def test_of_10_000_requests_1_000_at_once_at_most_1_050_reach_a_dead_primary() -> None:
    with LoopbackProvider({"primary": "never", "secondary": "Hello!"}) as provider:
        model = served(provider, DEAD)
        started_s = time.perf_counter()
        assert await all_answered(by_awaiting(model), 1_000, 10_000) == {"Hello!": 10_000}
        took_s = time.perf_counter() - started_s
        reached, calls = provider.calls("primary"), len(provider.requests)
        print(f"10,000 requests: {reached} reached the dead primary, {calls} calls, {took_s:.0f} s")  # noqa: T201
        assert reached <= 1_050
        assert calls <= 11_100


# Several processes ---------------------------------------------------------------------------------------


def reached_by(url: str, processes: int, at_once: int, requests: int) -> tuple[int, float]:
    """Let processes that share breakers make requests; what reached the dead primary, and in what time."""
    with LoopbackProvider({"primary": "never", "secondary": "Hello!"}) as provider:
        provider.fail("primary", DEAD)
        how = [url, provider.base_url, str(at_once), str(requests)]
        started = [
            subprocess.Popen(
                [sys.executable, str(WORKER), *how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(processes)
        ]
        assert [worker.stdout.readline() for worker in started if worker.stdout] == ["ready\n"] * processes
        began_s = time.perf_counter()
        for worker in started:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        answered = [worker.communicate(timeout=900)[0] for worker in started]
        assert answered == [str(requests)] * processes
        return provider.calls("primary"), time.perf_counter() - began_s


def test_of_two_processes_next_to_nothing_reaches_a_dead_primary(tmp_path: Path) -> None:
    reached, took_s = reached_by(f"sqlite:///{tmp_path / 'store.sqlite'}", 2, 10, 100)
    probes = took_s / 25 + 1  # an open time is 27 s at least
    assert reached <= 2 * 10 + probes


@pytest.mark.campaign
def test_of_4_processes_with_25_at_once_at_most_those_in_flight_reach_it(database_url: str) -> None:
    reached, took_s = reached_by(database_url, 4, 25, 300)
    kind = database_url.partition(":")[0]
    print(f"\n{kind}, 4 processes x 25 at once, 1,200 requests: {reached} reached it, {took_s:.0f} s")  # noqa: T201
    assert reached <= 4 * 25 + took_s / 25 + 1
