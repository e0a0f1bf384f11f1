"""The demo's pipeline with every routed step drawn into one graph: tiers, verdicts, escalations, fallbacks.

    python examples/rag_graph.py
    python examples/rag_graph.py "What does the nonlocal statement do?"

Offline, stand-in models answer and one provider is down on purpose; with OPENAI_API_KEY the models of
`langroute.yaml` do. It prints the answer, the way that each step took through its nodes, and the bill.
"""

import sys
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

from backend import Backend, backend
from corpus import CorpusError, Library, reference
from langgraph.graph import StateGraph
from pipeline import (
    Facts,
    Pipeline,
    State,
    connect,
    extract_prompt,
    plan_prompt,
    rewrite_prompt,
    synthesis_prompt,
)
from rag_demo import QUESTIONS, print_anything, reason
from report import bill, failed_calls, open_console

from langroute import LangrouteError, RoutedChatModel, add_routed_step
from langroute.decision import Decision
from langroute.testing import capture_decisions

_NO_ANSWER, _BAD_INPUT = 1, 2


def build(model: RoutedChatModel, library: Library) -> Any:
    """Return the compiled graph: give it `{"question": ...}`, read `answer`."""
    builder = StateGraph(State)
    add_routed_step(builder, "rewrite", model, step="query_rewrite", prompt=rewrite_prompt, output="query")
    builder.add_node("retrieve", Pipeline(model, library).retrieve)
    add_routed_step(
        builder, "extract", model, step="extraction", prompt=extract_prompt, output="facts", schema=Facts
    )
    add_routed_step(builder, "plan", model, step="planning", prompt=plan_prompt, output="outline")
    add_routed_step(builder, "synthesize", model, step="synthesis", prompt=synthesis_prompt, output="answer")
    connect(builder)
    return builder.compile()


def main(argv: Sequence[str] | None = None) -> int:
    """Ask one question; return 0, 1 where it got no answer, 2 where it could not be asked."""
    print_anything()
    question = " ".join(sys.argv[1:] if argv is None else argv).strip() or QUESTIONS[-1]
    try:
        library = reference()
        with backend({}) as models:
            return _run(models, library, question)
    except (CorpusError, LangrouteError, ImportError) as error:
        print(f"rag_graph: {error}", file=sys.stderr)
        return _BAD_INPUT


def _run(models: Backend, library: Library, question: str) -> int:
    """Put the question to the graph, and show the answer, the way there and what it cost."""
    graph = build(RoutedChatModel(policy=models.policy), library)
    console = open_console()
    console.print(models.notice)
    console.print(f"\nQuestion: {question}", style="bold")
    visited: list[str] = []
    answer = ""
    with capture_decisions() as decisions:
        try:
            for mode, shown in graph.stream({"question": question}, stream_mode=["tasks", "values"]):
                if mode == "values":
                    answer = shown.get("answer", "")
                elif "input" in shown:  # a node starts
                    visited.append(shown["name"])
        except Exception as error:  # whatever a provider throws, the reader gets a message
            console.print(f"Answer: none, because {reason(error)}")
    if answer:
        console.print(f"Answer: {answer}")
    console.print("\nThe way through the graph, node by node:")
    console.print(*ways_taken(graph, visited, decisions), sep="\n")
    console.print(*failed_calls(models.policy, decisions), "", sep="\n")
    console.print(bill(models.policy, decisions))
    return 0 if answer else _NO_ANSWER


def ways_taken(graph: Any, visited: Sequence[str], decisions: Sequence[Decision]) -> list[str]:
    """Return a line for each part of the pipeline, and below it why a reply of it was rejected.

    What became of a node is the label of the edge that was taken from it, as `draw_mermaid` draws it.
    """
    drawn = {(edge.source, edge.target): edge.data for edge in graph.get_graph().edges}
    told = iter(decisions)
    lines = []
    for part, nodes in groupby(visited, lambda node: node.partition(".")[0]):
        way = list(nodes)
        decision = next(told, None) if len(way) > 1 else None
        text = "".join(
            f" {_taken(drawn.get(edge, 'led on'), decision)} → {edge[1][len(part) + 1 :]}"
            for edge in pairwise(way)
        )
        lines.append(f"  {part}{text}")
        attempts = decision.attempts if decision else ()
        lines += [f"      {attempt.account}" for attempt in attempts if attempt.outcome == "rejected"]
    return lines


def _taken(label: str, decision: Decision | None) -> str:
    """Return which of an edge's labels was taken: one edge may stand for `accepted or best`."""
    return decision.outcome if decision and decision.outcome in label.split(" or ") else label


if __name__ == "__main__":
    sys.exit(main())
