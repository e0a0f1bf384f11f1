"""A process that spends, or that dies with money reserved: see `tests/ledger/test_ledger_budgets.py`.

python spending.py spend URL THREADS ROUNDS SEED     prints what was served, in pico-dollars, as JSON
python spending.py hold URL                          reserves, says so, and waits to be killed
"""

import json
import random
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langroute.accounts import pico_of
from langroute.budget import Budget, Limit
from langroute.effects import run
from langroute.errors import BudgetExceeded, LedgerError
from langroute.ledger import open_store
from langroute.ledger.budgets import accounts

WORST_USD = 0.01
TENANTS = ("acme", "bolt", "core", "dyne")


def budget_at(url: str, day_usd: float, tenant_usd: float) -> Budget:
    """Return a budget of a day and of each tenant, kept at `url`."""
    limits = [
        Limit("per_day_usd", "day", pico_of(day_usd)),
        Limit("keys.tenant.per_day_usd", "key", pico_of(tenant_usd), "tenant"),
    ]
    return Budget(limits, accounts(open_store(url)))


def one_call(budget: Budget, rng: random.Random, told: Counter[str]) -> None:
    """Reserve the worst case, be served for less, settle."""
    tenant = rng.choice(TENANTS)
    try:
        reserved = run(budget.purse(run=None, thread=None, metadata={"tenant": tenant}).reserve(WORST_USD))
    except BudgetExceeded:
        told["refused"] += 1
        return
    except LedgerError:  # it waited for as long as anybody has to
        told["late"] += 1
        return
    served = rng.randrange(1, pico_of(WORST_USD))
    run(reserved.settle(served / 1e12))
    told["calls"] += 1
    told["served"] += served
    told[tenant] += served


def spend(
    url: str, threads: int, rounds: int, seed: int, day_usd: float, tenant_usd: float
) -> dict[str, Any]:
    """Make calls in threads; what was served."""
    budget = budget_at(url, day_usd, tenant_usd)

    def rounds_of(number: int) -> Counter[str]:
        rng, told = random.Random(seed * 1_000 + number), Counter[str]()  # noqa: S311 - a seeded test
        for _ in range(rounds):
            one_call(budget, rng, told)
        return told

    with ThreadPoolExecutor(threads) as pool:
        told = dict(sum(pool.map(rounds_of, range(threads)), Counter()))
    keeper = accounts(open_store(url)).keeper
    if keeper is not None:
        keeper.join(timeout=120)  # it ends when all is settled
    return told


def main() -> None:
    what, url, *rest = sys.argv[1:]
    if what == "hold":
        reserved = run(budget_at(url, 1.0, 1.0).purse(run=None, thread=None, metadata={}).reserve(0.9))
        sys.stdout.write(f"held {reserved.pico}\n")
        sys.stdout.flush()
        sys.stdin.readline()
        return
    threads, rounds, seed = map(int, rest[:3])
    open_store(url)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    sys.stdout.write(json.dumps(spend(url, threads, rounds, seed, *map(float, rest[3:]))))


if __name__ == "__main__":
    main()
