"""Tuning from a log: 2,000 requests are simulated, and the policy that `tune` finds is tried on fresh ones.

    python examples/tuning.py

Runs offline. The models are stand-ins behind a real HTTP server on 127.0.0.1, and how often each is right is
known; nothing else is pretended: the requests are routed, logged and given feedback, and the threshold is
found with the same command that you would type. Needs `langroute[testing,tune]`.
"""

import argparse
import os
import random
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend import keep_everything_here, keep_loopback_direct

from langroute import Ledger, Policy, RoutedChatModel
from langroute.cli import app
from langroute.ledger.feedback import feedback_of, give
from langroute.testing import LoopbackProvider

STEP = "sums"
POLICY = """\
# Sums in words. Nobody knows yet which of them the small model can do, so all start at the large one.
tiers:
  small: {{models: [{{model: "openai:small", settings: {at}, price: {{input: 0.1, output: 0.4}}}}]}}
  large: {{models: [{{model: "openai:large", settings: {at}, price: {{input: 2.0, output: 8.0}}}}]}}
steps:
  sums:
    cascade: [small, large]
    route: {{difficulty: {{threshold: 0.0}}}}   # no threshold yet: every request starts at the large tier
    explore: 0.25                           # but a quarter, drawn by chance, starts at the small one
"""
RIGHT = {"small": (0.97, 0.97, 0.97, 0.97, 0.97, 0.8, 0.6, 0.4, 0.3, 0.2), "large": (0.97,) * 10}
"""How often each model is right, by how many things happen in the story."""


def story(seed: int) -> str:
    """Return a sum in words: one thing happens in it, or up to ten."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    events = [f"Then {draw.randint(2, 99)} more apples are put into it." for _ in range(draw.randint(1, 10))]
    return " ".join([f"Basket {seed} is empty.", *events, "How many apples are in it?"])


def total(question: str) -> int:
    """Return the right answer."""
    return sum(map(int, re.findall(r"Then (\d+)", question)))


def model(name: str) -> Any:
    """Return a stand-in that is right as often as `RIGHT` says, and always the same on one question."""

    def answer(body: dict[str, Any]) -> str:
        question = body["messages"][-1]["content"]
        things = question.count("Then ")
        lucky = random.Random(f"{name} {question}").random()  # noqa: S311 - no secret
        return f"There are {total(question) + (lucky >= RIGHT[name][things - 1])} apples."

    return answer


def ask(policy: Policy, ledger: Ledger, questions: Sequence[str]) -> tuple[float, float]:
    """Ask every question, give feedback by what is true; return the USD spent, and the share right."""
    routed = RoutedChatModel(policy=policy, ledger=ledger).for_step(STEP)
    said, spent_usd = [], 0.0
    for question, reply in zip(questions, routed.batch(questions, {"max_concurrency": 8}), strict=True):
        record = reply.response_metadata["langroute"]
        worth = float(f" {total(question)} " in reply.text)
        said.append(feedback_of(worth, "test", decision=record["call_id"]))
        spent_usd += record["cost_usd"]
    ledger.flush()
    give(ledger.store, said)
    return spent_usd, sum(each.score for each in said) / len(said)


def unexplored(path: Path) -> Policy:
    """Return a policy as it routes when it no longer explores."""
    written = Policy.load(path).model_dump(mode="json", exclude_unset=True)
    del written["steps"][STEP]["explore"]
    return Policy.load(written)


def run(folder: Path, requests: int, floor: float) -> int:
    """Log, tune, and try both policies on fresh questions; return the exit code."""
    keep_loopback_direct()
    keep_everything_here()
    os.environ["OPENAI_API_KEY"] = "none"  # the client wants one, the stand-ins do not
    os.environ["LANGCHAIN_OPENAI_TCP_KEEPALIVE"] = "0"  # or it warns where the environment names a proxy
    before, after, log = (folder / name for name in ("before.yaml", "after.yaml", "log.db"))
    models = {name: model(name) for name in RIGHT}
    with LoopbackProvider(models) as server, Ledger(log) as ledger:
        before.write_text(POLICY.format(at=f'{{base_url: "{server.base_url}"}}'))
        print(f"{requests:,} requests under {before.name}, a quarter of them explored ...")
        ask(Policy.load(before), ledger, [story(seed) for seed in range(requests)])
        asked = ["tune", "--policy", before, "--ledger", log, "--floor", floor, "--out", after]
        # All were made today, by nobody in particular: who and when are not looked at.
        command = [*map(str, asked), "--overwrite", "--most-share", "1"]
        print(f"$ langroute {' '.join(command)}")
        if code := app(command, standalone_mode=False):
            print("Nothing is changed. With more requests (--requests) more can be shown.")
            return int(code)
        fresh = [story(requests + seed) for seed in range(max(requests // 4, 100))]
        print(f"{len(fresh):,} fresh requests under either policy, without exploring ...")
        tried = [ask(unexplored(path), ledger, fresh) for path in (before, after)]
    for name, (usd, right) in zip(("before", "after"), tried, strict=True):
        print(f"{name:>6}: ${usd:.6f}, {right:.1%} right")
    print(f"The tuned policy costs {1 - tried[1][0] / tried[0][0]:.0%} less.")
    print(f"The report shows both, where --folder keeps the ledger: langroute report --ledger {log}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example and return its exit code."""
    parser = argparse.ArgumentParser(prog="tuning.py", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2_000, help="how many are logged (default: 2,000)")
    parser.add_argument("--floor", type=float, default=0.98, help="share of quality to keep (default: 0.98)")
    parser.add_argument("--folder", type=Path, help="keep policies and ledger in this folder")
    options = parser.parse_args(argv)
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
        return run(options.folder, options.requests, options.floor)
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), options.requests, options.floor)


if __name__ == "__main__":
    sys.exit(main())
