"""A process that makes many requests at once, its primary dead: see `tests/test_circuits_load.py`.

python loaded.py STORE_URL PROVIDER_URL AT_ONCE REQUESTS     waits for a line; prints how many were answered
"""

import asyncio
import sys

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langroute import RoutedChatModel

STORE, PROVIDER, AT_ONCE, REQUESTS = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


def client(name: str) -> ChatOpenAI:
    return ChatOpenAI(model=name, base_url=PROVIDER, api_key=SecretStr("loopback"), max_retries=0)


async def load(model: RoutedChatModel) -> int:
    """Make the requests, so many at once; how many were answered."""
    asked = iter(range(REQUESTS))

    async def caller() -> int:
        return sum([(await model.ainvoke(str(number))).text == "Hello!" for number in asked])

    return sum(await asyncio.gather(*(caller() for _ in range(AT_ONCE))))


def main() -> None:
    models = [{"model": client(name), "name": name} for name in ("primary", "secondary")]
    model = RoutedChatModel({"tiers": {"small": {"models": models}}}, ledger=STORE)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    sys.stdout.write(str(asyncio.run(load(model))))


main()
