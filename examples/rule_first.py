"""A rule before the models: what a function can answer costs nothing, and the rest goes the usual way.

    python examples/rule_first.py

Runs offline: the models are scripted; the rule, its check and the routing are real.
"""

import re
from typing import Any

from langroute import RoutedChatModel
from langroute.request import Request
from langroute.testing import ScriptedChatModel
from langroute.verifiers import Case

DIGITS = 12
PRODUCT = re.compile(r"What is (\d+) times (\d+)\?")


def multiply(request: Request) -> str | None:
    """Return the product that is asked for; None, no answer, for any other question."""
    asked = PRODUCT.search(request.question)
    return None if asked is None else str(int(asked[1]) * int(asked[2]))


def short_number(case: Case) -> bool | str:
    """Accept a number that a person can read."""
    return len(case.text) <= DIGITS or f"a number of {len(case.text)} digits is for nobody"


def model() -> RoutedChatModel:
    """Return the routed model; a policy file would name both functions in the same words."""
    policy: dict[str, Any] = {
        "tiers": {
            name: ScriptedChatModel(name=name, reply=f"({name} answers)") for name in ("small", "large")
        },
        "steps": {
            "answer": {
                "cascade": [
                    {"function": "multiply", "verify": [{"function": "short_number"}]},
                    "small",
                    "large",
                ],
                "verify": ["no_refusal"],
            }
        },
    }
    return RoutedChatModel(policy, functions={"multiply": multiply, "short_number": short_number})


def main() -> None:
    """Ask what the rule knows, what it gets too long, and what it does not know."""
    routed = model().for_step("answer")
    for question in ("What is 6 times 7?", "What is 99999999 times 99999999?", "Who laid the cable?"):
        reply = routed.invoke(question)
        print(f"{question}  {reply.text}")
        for attempt in reply.response_metadata["langroute"]["attempts"]:
            found = "; ".join(verdict["reason"] for verdict in attempt["verdicts"] if not verdict["accepted"])
            print(f"  {attempt['endpoint']}: {attempt['outcome']} {found}".rstrip())


if __name__ == "__main__":
    main()
