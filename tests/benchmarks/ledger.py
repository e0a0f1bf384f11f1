"""What keeping decisions costs: the calling thread's time, rows a second, and the price of a commit.

    make bench        # or: python tests/benchmarks/ledger.py [sqlite|postgresql]

The hand-over is measured in CPU time of the calling thread (`time.thread_time_ns`), at 1,000 decisions a
second, around the hand-over of a routed call and, for the clock's own part, around one that does nothing; the
call's wall clock stands beside a run without a ledger.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from langroute import Ledger, RoutedChatModel

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "ledger")]

from databases import fresh_url  # noqa: E402 - the tests' own helpers
from scenes import Made, policy  # noqa: E402
from synthetic import decisions  # noqa: E402

SECONDS = 10.0
RATE = 1_000
"""Decisions a second that the hand-over is measured at."""
ROWS = 60_000
"""Rows of a sustained run."""
RUNS = 5


def percentile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=1_000)[round(share * 1_000) - 1]


class Timed:
    """Stands in a router's keeper, and takes the time of every hand-over: CPU of its thread, and wall."""

    def __init__(self, keep: Callable[..., Any]) -> None:
        self.keep = keep
        self.cpu_us: list[float] = []
        self.wall_us: list[float] = []

    def __call__(self, *args: Any) -> Any:
        began, began_cpu = time.perf_counter_ns(), time.thread_time_ns()
        effect = self.keep(*args)
        self.cpu_us.append((time.thread_time_ns() - began_cpu) / 1e3)
        self.wall_us.append((time.perf_counter_ns() - began) / 1e3)
        return effect


def called(model: RoutedChatModel) -> list[float]:
    """Call a model RATE times a second, and return the microseconds of each call by the clock."""
    taken = []
    due = time.perf_counter()
    for _ in range(int(SECONDS * RATE)):
        due += 1 / RATE
        if (left := due - time.perf_counter()) > 0:
            time.sleep(left)
        began = time.perf_counter_ns()
        model.invoke("Why was the cable laid in 1866, and by whom?")
        taken.append((time.perf_counter_ns() - began) / 1e3)
    return taken


def calmest(values: list[float]) -> float:
    """Return the 99th percentile of the calmest second: what else runs on the machine is no cost of ours."""
    seconds = [values[at : at + RATE] for at in range(0, len(values) - RATE + 1, RATE)]
    return min(percentile(second, 0.99) for second in seconds)


def hand_over(url: str) -> Iterator[tuple[str, str]]:
    """Yield what a caller is charged for handing a decision over."""
    without = called(RoutedChatModel(policy()).for_step("answer"))
    with Ledger(url) as ledger:
        model = RoutedChatModel(policy(), ledger=ledger).for_step("answer")
        keeper: Any = model.router.keeper
        keep, keeper.keep = keeper.keep, Timed(lambda *_: None)
        nothing = keeper.keep
        called(model)
        timed = keeper.keep = Timed(keep)
        with_it = called(model)
        ledger.flush()
        dropped = ledger.counts.dropped
    cpu, bare = timed.cpu_us, nothing.cpu_us
    yield (
        "hand-over, CPU, median",
        f"{statistics.median(cpu):.1f} us (of that the clock's own {statistics.median(bare):.1f})",
    )
    of_these = f"the clock's own {percentile(bare, 0.99):.1f}; in the calmest second {calmest(cpu):.1f} us"
    yield "hand-over, CPU, p99", f"{percentile(cpu, 0.99):.1f} us ({of_these})"
    yield "hand-over, wall, p99", f"{percentile(timed.wall_us, 0.99):.1f} us"
    yield (
        "call, wall, p99",
        f"{percentile(with_it, 0.99):,.0f} us; without a ledger {percentile(without, 0.99):,.0f}",
    )
    yield "dropped", f"{dropped} of {len(cpu):,}"


def sustained(url: str) -> Iterator[tuple[str, str]]:
    """Yield how many rows a second the background writer takes, from decision to commit."""
    by_clock, by_cpu = zip(*(_sustained(url, seed) for seed in range(RUNS)), strict=True)
    clock, cpu = f"{statistics.median(by_clock):,.0f}", f"{statistics.median(by_cpu):,.0f}"
    said = f"{clock} rows/s by the clock, {cpu} rows a second of this process's CPU"
    yield f"sustained, median of {RUNS}", said


def _sustained(url: str, seed: int) -> tuple[float, float]:
    """Return rows a second by the clock and by the CPU time of this process."""
    made, rows = [], 0
    for record in decisions(ROWS, seed):
        made.append(Made(record))
        rows += made[-1].rows
        if rows >= ROWS:
            break
    with Ledger(url) as ledger:
        began, began_cpu = time.perf_counter(), time.process_time()
        for entry in made:
            while ledger.counts.waiting > 15_000:
                time.sleep(0.005)
            ledger.keep(entry)
        ledger.flush()
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        assert ledger.counts.dropped == 0
    return rows / wall_s, rows / cpu_s


def committed(url: str) -> Iterator[tuple[str, str]]:
    """Yield what a decision costs that is committed before its reply is returned."""
    with Ledger(url, writing="sync") as ledger:
        taken = []
        for record in decisions(300, seed=1):
            effect = ledger.keep(Made(record))
            began = time.perf_counter()
            effect.perform()
            taken.append((time.perf_counter() - began) * 1e3)
        with ledger.store.statements() as connection:
            bare = list(_bare_commits(connection))
    yield (
        "sync, median",
        f"{statistics.median(taken):.2f} ms (a bare one-row commit: {statistics.median(bare):.2f} ms)",
    )


def _bare_commits(connection: Any) -> Iterator[float]:
    connection.exec_driver_sql("CREATE TABLE bare (id INTEGER)")
    for number in range(300):
        began = time.perf_counter()
        connection.exec_driver_sql(f"INSERT INTO bare VALUES ({number})")  # noqa: S608 - a number
        yield (time.perf_counter() - began) * 1e3


@contextmanager
def fresh(kind: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder, fresh_url(kind, Path(folder)) as url:
        yield url


def main() -> None:
    """Measure, and print a table for each database."""
    for kind in sys.argv[1:] or ["sqlite", "postgresql"]:
        table = Table("what", "figure", title=f"the ledger on {kind}", title_justify="left")
        for measure in (hand_over, sustained, committed):
            with fresh(kind) as url:
                for row in measure(url):
                    table.add_row(*row)
        Console(width=110).print(table)


if __name__ == "__main__":
    main()
