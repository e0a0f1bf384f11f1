"""An agent with four tools, routed step by step: who plans, who reads which result, who may delete a file.

    python examples/agent_tools.py

Runs offline: the models are scripted; the agent, its tools and the routing are real. It needs
`langroute[agents]`.
"""

from collections.abc import Mapping
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import ToolException, tool

from langroute.middleware import StepRoutingMiddleware
from langroute.testing import Answer, ScriptedChatModel

QUESTION = "How many orders are overdue? And remove the export that is older than a year."


@tool
def search_docs(query: str) -> str:
    """Search the handbook."""
    return f"{query}: the table orders has the columns id, due and paid_on."


@tool
def run_sql(query: str) -> str:
    """Run a query."""
    if "due_date" in query:
        raise ToolException("no such column: due_date")
    return "3"


@tool
def list_files() -> str:
    """List the exports and their age."""
    return "orders-2024.csv (14 months), orders-2026.csv (1 month)"


@tool
def delete_file(path: str) -> str:
    """Delete an export."""
    return f"{path} was deleted"


run_sql.handle_tool_error = True  # an error is a result that the next turn reads
TOOLS = [search_docs, run_sql, list_files, delete_file]


def policy() -> dict[str, Any]:
    """Return the policy: a small model for the legwork, a large one for what matters."""
    small: list[Answer | str] = [
        _calls("run_sql", query="select count(*) from orders where due_date < now()"),
        _calls("delete_file", path="orders-2026.csv"),  # the wrong one; it is never run
        "3 overdue. File gone.",
    ]
    large: list[Answer | str] = [
        _calls("search_docs", query="orders"),
        _calls("run_sql", query="select count(*) from orders where due < now() and paid_on is null"),
        _calls("list_files"),
        _calls("delete_file", path="orders-2024.csv"),
        "Three orders are overdue. I deleted orders-2024.csv, which was 14 months old.",
    ]
    return {
        "tiers": {
            "small": {"models": [_model("small", small, {"input": 0.05, "output": 0.40})]},
            "large": {"models": [_model("large", large, {"input": 0.25, "output": 2.00})]},
        },
        "steps": {
            "planning": {"cascade": "large"},
            "tool_use": {
                "cascade": ["small", "large"],
                "after_tool": {"run_sql": "large"},
                "on_tool_error": "large",
                "verify": ["tool_calls", "not_repeating"],
            },
            "synthesis": {"cascade": "large"},
        },
        "stakes": {"high": {"tier": "large"}, "tools": {"delete_file": "high"}},
    }


def build() -> Any:
    """Return the agent; its own model is never called, for the policy names the models."""
    never = ScriptedChatModel(name="never", replies=[AssertionError("the agent's own model was called")])
    return create_agent(never, TOOLS, middleware=[StepRoutingMiddleware(policy())])


def main() -> None:
    """Ask, and show for each model call which step it was, which tier and model answered, and why."""
    done = build().invoke({"messages": QUESTION})
    print(f"{QUESTION}\n\nEach call of a model: which step it was, on which tier; why; what became of it.")
    for turn, record in enumerate(done["langroute"], start=1):
        print(f"{turn}. {record['step']} on {record['tier']} ({record['model']})")
        print(f"   {record['step_reason']}; {record['reason']}")
        for attempt in record["attempts"]:
            print(f"   {attempt['endpoint']} {attempt['outcome']}{_findings(attempt)}")
    print(f"\n{done['messages'][-1].text}")


def _model(tier: str, replies: list[Answer | str], price: dict[str, float]) -> dict[str, Any]:
    model = ScriptedChatModel(name=f"{tier}-model", replies=replies)
    return {"model": model, "name": tier, "price": price}


def _calls(name: str, **arguments: str) -> Answer:
    return Answer(tool_calls=((name, arguments),))


def _findings(attempt: Mapping[str, Any]) -> str:
    found = [verdict["reason"] for verdict in attempt["verdicts"] if not verdict["accepted"]]
    return f": {'; '.join(found)}" if found else ""


if __name__ == "__main__":
    main()
