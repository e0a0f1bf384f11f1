"""Many calls at once, some of them failing: each gets the answer to its own question."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fault_answers import brain, primary_and_backup, spoken

from langroute import RoutedChatModel
from langroute.testing import Fault, LoopbackProvider

FAULTS = (
    Fault("status", status=500),
    Fault("drop"),
    Fault("cut", after_chunks=1),
    Fault("error_object", after_chunks=1),
    Fault("empty"),
)
WORKERS = 50


def failing(fault: Fault) -> LoopbackProvider:
    provider = LoopbackProvider({"primary": brain("primary"), "backup": brain("backup")}).start()
    provider.fail("primary", fault, share=0.3, seed=11)
    return provider


def right(question: str, answer: str) -> bool:
    return answer in (spoken("primary", question), spoken("backup", question))


def by_threads(model: RoutedChatModel, questions: list[str]) -> list[str]:
    def ask(question: str) -> str:
        if int(question[1:]) % 2:
            return model.invoke(question).text
        return "".join(chunk.text for chunk in model.stream(question))

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(ask, questions))


async def by_tasks(model: RoutedChatModel, questions: list[str]) -> list[str]:
    async def ask(question: str) -> str:
        if int(question[1:]) % 2:
            return (await model.ainvoke(question)).text
        return "".join([chunk.text async for chunk in model.astream(question)])

    return await asyncio.gather(*map(ask, questions))


def crossed(fault: Fault, count: int) -> dict[str, int]:
    """Ask so many questions, by threads and by tasks; return how many were answered wrongly."""
    questions = [f"Q{number}" for number in range(count)]
    with failing(fault) as provider:
        model = primary_and_backup(provider, 300)
        given = {
            "threads": by_threads(model, questions),
            "tasks": asyncio.run(by_tasks(model, questions)),
        }
        assert provider.calls("backup"), "the fault was never met"
    return {
        name: sum(not right(*pair) for pair in zip(questions, answers, strict=True))
        for name, answers in given.items()
    }


EACH_FAULT = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind)


@EACH_FAULT
def test_parallel_calls_get_their_own_answers(fault: Fault) -> None:
    assert not any(crossed(fault, 10).values())


@pytest.mark.campaign
@EACH_FAULT
def test_thousand_parallel_calls_get_their_own_answers(fault: Fault) -> None:
    started_s, started_cpu_s = time.monotonic(), time.process_time()
    wrong = crossed(fault, 1_000)
    took_s, took_cpu_s = time.monotonic() - started_s, time.process_time() - started_cpu_s
    told = f"{fault.kind}: 1,000 in {WORKERS} threads and 1,000 tasks at once, crossed: {wrong}"
    print(f"\n{told}, {took_s:.0f} s, {took_cpu_s:.0f} s of CPU")  # noqa: T201 - the figures
    assert not any(wrong.values())
