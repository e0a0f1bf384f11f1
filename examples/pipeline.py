"""A RAG pipeline as a LangGraph: plain nodes around one routed model; the node's name is the step.

rewrite -> retrieve -> extract -> plan -> synthesize
"""

from collections.abc import Sequence
from typing import Any, TypedDict

from corpus import Library, Passage
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel, Field

_REWRITE = "Rewrite the question as a search query: its key terms, nothing else."
_EXTRACT = (
    "Extract the facts that answer the question. Give each fact with a quote, copied word for word from a "
    "document, and the id of that document."
)
_PLAN = (
    "Draft a numbered outline of an answer, one line a point; name the documents a point rests on as [id]."
)
_SYNTHESIZE = (
    "Answer the question from the documents alone, along the outline, in at most five sentences. "
    "End each sentence with the id of its document in brackets: [id]."
)
_NOTHING = "The documents have nothing on this question."


class Fact(BaseModel):
    """One thing that a document says."""

    claim: str = Field(description="what the document says, in one sentence")
    quote: str = Field(description="the words that say it, copied exactly")
    document: str = Field(description="id of the document")


class Facts(BaseModel):
    """What the documents say that answers the question."""

    facts: list[Fact]


class State(TypedDict, total=False):
    """What the nodes hand on."""

    question: str
    query: str
    passages: list[Passage]
    facts: Facts
    outline: str
    answer: str


class Pipeline:
    """The nodes. None of them knows a model, a tier or a price: the policy does."""

    def __init__(self, model: BaseChatModel, library: Library) -> None:
        self._model = model
        self._library = library

    def graph(self) -> Any:
        """Return the compiled graph: give it `{"question": ...}`, read `answer`."""
        builder = StateGraph(State)
        for name in ("rewrite", "retrieve", "extract", "plan", "synthesize"):
            builder.add_node(name, getattr(self, name))
        connect(builder)
        return builder.compile()

    def rewrite(self, state: State) -> State:
        """Turn the question into a search query."""
        return {"query": self._ask(rewrite_prompt(state))}

    def retrieve(self, state: State) -> State:
        """Search the documents; no model is called."""
        passages = self._library.search(state["query"])
        return {"passages": passages} if passages else {"passages": [], "answer": _NOTHING}

    def extract(self, state: State) -> State:
        """Draw the facts out of the passages, each with its quotation."""
        found = self._model.with_structured_output(Facts).invoke(extract_prompt(state))
        return {"facts": found if isinstance(found, Facts) else Facts(facts=[])}

    def plan(self, state: State) -> State:
        """Outline the answer from the facts."""
        return {"outline": self._ask(plan_prompt(state))}

    def synthesize(self, state: State) -> State:
        """Write the answer from the passages that facts were found in."""
        return {"answer": self._ask(synthesis_prompt(state))}

    def _ask(self, prompt: list[BaseMessage]) -> str:
        return str(self._model.invoke(prompt).text)


def connect(builder: StateGraph[Any, Any, Any, Any]) -> None:
    """Draw the edges between the pipeline's nodes."""
    builder.add_edge(START, "rewrite")
    builder.add_edge("rewrite", "retrieve")
    builder.add_conditional_edges("retrieve", _found, {"found": "extract", "nothing": END})
    builder.add_edge("extract", "plan")
    builder.add_edge("plan", "synthesize")
    builder.add_edge("synthesize", END)


def rewrite_prompt(state: State) -> list[BaseMessage]:
    """Return what asks for a search query."""
    return _prompt(_REWRITE, f"Question: {state['question']}")


def extract_prompt(state: State) -> list[BaseMessage]:
    """Return what asks for the facts in the passages found."""
    return _prompt(_EXTRACT, f"{_documents(state['passages'])}\n\nQuestion: {state['question']}")


def plan_prompt(state: State) -> list[BaseMessage]:
    """Return what asks for an outline from the facts."""
    facts = "\n".join(_document(fact.document, fact.claim) for fact in state["facts"].facts)
    return _prompt(_PLAN, f"{facts}\n\nQuestion: {state['question']}")


def synthesis_prompt(state: State) -> list[BaseMessage]:
    """Return what asks for the answer, from the passages that facts were found in."""
    cited = {fact.document for fact in state["facts"].facts}
    passages = [passage for passage in state["passages"] if passage.id in cited] or state["passages"]
    outline = f"Question: {state['question']}\n\nOutline:\n{state['outline']}"
    return _prompt(_SYNTHESIZE, f"{_documents(passages)}\n\n{outline}")


def _prompt(instruction: str, text: str) -> list[BaseMessage]:
    return [SystemMessage(instruction), HumanMessage(text)]


def _documents(passages: Sequence[Passage]) -> str:
    return "\n\n".join(_document(p.id, f"{p.title}\n\n{p.text}") for p in passages)


def _document(name: str, text: str) -> str:
    return f'<document id="{name}">\n{text}\n</document>'


def _found(state: State) -> str:
    return "found" if state["passages"] else "nothing"
