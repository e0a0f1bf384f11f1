"""With an answer store a run that is killed and resumed pays for no reply twice; its record is the same."""

import operator
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from databases import KINDS, fresh_url
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send
from pydantic import BaseModel
from typing_extensions import TypedDict

from langroute import add_routed_step, routed_step
from langroute.errors import LedgerError
from langroute.ledger import Store, open_store
from langroute.testing import Answer, ScriptedChatModel, capture_decisions

PROCESS = Path(__file__).parent / "processes" / "answered.py"
PRICE = {"input": 1_000.0, "output": 1_000.0}
GOOD = "The cable was laid in 1866."
BAD = "I cannot help with that."
THREAD = {"configurable": {"thread_id": "1"}}
ASKED = {"messages": [HumanMessage("When was the cable laid?")]}


# Killed processes ----------------------------------------------------------------------------------------


def lived(folder: Path, url: str, mode: str, die_at: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    arguments = [sys.executable, str(PROCESS), str(folder), url, mode, die_at]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("kind", KINDS)
def test_run_killed_after_each_reply_was_kept_pays_once_and_leaves_the_same_record(
    kind: str, mode: str, tmp_path: Path
) -> None:
    with fresh_url(kind, tmp_path) as url:
        killed = lived(tmp_path / "killed", url, mode, "kept")
        assert killed.returncode == -9, killed.stderr
        again = lived(tmp_path / "killed", url, mode, "kept")
        assert again.returncode == -9, "found, and killed before the graph has the reply"
        resumed = lived(tmp_path / "killed", url, mode, "never")
        assert resumed.returncode == 0, resumed.stderr
        assert (tmp_path / "killed" / "calls").read_text().split() == ["small", "large"]
    with fresh_url(kind, tmp_path) as url:
        whole = lived(tmp_path / "whole", f"{url}2" if kind == "sqlite" else url, mode, "never")
    assert resumed.stdout == whole.stdout != ""


# Lives in one process ------------------------------------------------------------------------------------


class Killed(Exception):
    """The end of a life: nothing of it reaches the checkpoint any more."""


@dataclass
class Fate:
    """How a saver's life goes; an object of its own, for LangGraph compiles a copy of the saver."""

    dies_with: str | None = None
    """What a node's writes contain when the process dies, its writes unsaved."""
    dead: bool = False


class Saver(InMemorySaver):
    """A saver that from a chosen moment on saves nothing, as if its process had died."""

    def __init__(self) -> None:
        super().__init__()
        self.fate = Fate()

    def put_writes(self, config: Any, writes: Any, *args: Any, **kwargs: Any) -> None:
        if self.fate.dies_with is not None and self.fate.dies_with in str(writes):
            self.fate.dies_with, self.fate.dead = None, True
        if self.fate.dead:
            raise Killed
        super().put_writes(config, writes, *args, **kwargs)

    def put(self, *args: Any, **kwargs: Any) -> Any:
        if self.fate.dead:
            raise Killed
        return super().put(*args, **kwargs)


class State(TypedDict, total=False):
    messages: Annotated[list[BaseMessage], add_messages]
    question: str
    answer: Any
    answers: Annotated[list[str], operator.add]
    rounds: Annotated[int, operator.add]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'answers.db'}")
    yield opened
    opened.close()


def model(name: str, *replies: Any) -> ScriptedChatModel:
    """Return a model that has each reply once: a second call for the same is an error."""
    return ScriptedChatModel(name=name, replies=replies)


def policy(*given: ScriptedChatModel, verify: Any = ("no_refusal",)) -> dict[str, Any]:
    tiers = {str(m.name): {"models": [{"model": m, "name": str(m.name), "price": PRICE}]} for m in given}
    return {"tiers": tiers, "steps": {"answer": {"cascade": list(tiers), "verify": list(verify)}}}


def one_step(written: Any, store: Any, saver: Any, **how: Any) -> Any:
    builder = StateGraph(State)
    add_routed_step(builder, "answer", written, **{"output": "answer", **how}, answer_store=store)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=saver)


def killed_then_resumed(graph: Any, saver: Saver, dies_with: str, given: Any = ASKED) -> Any:
    """Run until a node's writes hold `dies_with`, lose them, and resume."""
    saver.fate.dies_with = dies_with
    with pytest.raises(Killed):
        graph.invoke(given, THREAD, durability="sync")
    saver.fate.dead = False
    return graph.invoke(None, THREAD, durability="sync")


def untimed(decisions: list[Any]) -> list[dict[str, Any]]:
    """Return the records without their ids and without what is measured anew."""
    records = [decision.as_dict() for decision in decisions]
    for record in records:
        for timed in (record, *record["attempts"]):
            for key in ("call_id", "latency_s", "judged_s", "first_token_s"):
                timed.pop(key, None)
    return records


def test_without_a_store_the_reply_is_paid_for_twice() -> None:
    small, saver = model("small", GOOD, GOOD), Saver()
    killed_then_resumed(one_step(policy(small), None, saver), saver, GOOD)
    assert len(small.calls) == 2


@pytest.mark.parametrize("verify", [["no_refusal"], []], ids=["judged", "plain"])
def test_record_of_a_restored_reply_is_that_of_an_uninterrupted_run(store: Store, verify: Any) -> None:
    answer, saver = Answer(GOOD, probability=0.9), Saver()
    with capture_decisions() as resumed:
        graph = one_step(policy(model("small", answer), verify=verify), store, saver)
        done = killed_then_resumed(graph, saver, GOOD)
    with capture_decisions() as whole:
        one_step(policy(model("small", answer), verify=verify), None, Saver()).invoke(ASKED, THREAD)
    assert done["answer"] == GOOD
    assert untimed(resumed) == untimed(whole)
    assert resumed[0].attempts[0].cost_usd is not None


def test_restored_attempt_keeps_the_time_its_call_took(store: Store) -> None:
    saver = Saver()
    graph = one_step(policy(model("small", GOOD)), store, saver)
    with capture_decisions() as decisions:
        killed_then_resumed(graph, saver, GOOD)
    with store.statements() as connection:
        kept = connection.exec_driver_sql("SELECT reply FROM langroute_answers").scalar()
    assert f'"latency_s": {decisions[0].attempts[0].latency_s!r}' in str(kept)


async def test_async_run_takes_the_kept_reply(store: Store) -> None:
    small, saver = model("small", GOOD), Saver()
    graph = one_step(policy(small), store, saver)
    saver.fate.dies_with = GOOD
    with pytest.raises(Killed):
        await graph.ainvoke(ASKED, THREAD, durability="sync")
    saver.fate.dead = False
    assert (await graph.ainvoke(None, THREAD, durability="sync"))["answer"] == GOOD
    assert len(small.calls) == 1


class Invoice(BaseModel):
    """An invoice."""

    total: float


def test_object_of_a_kept_reply_is_an_object_again(store: Store) -> None:
    saver = Saver()
    graph = one_step(policy(model("small", {"total": 3.5}), verify=["schema"]), store, saver, schema=Invoice)
    assert killed_then_resumed(graph, saver, "3.5")["answer"] == Invoice(total=3.5)


def test_tool_calls_of_a_kept_reply_are_there(store: Store) -> None:
    def look(at: str) -> str:
        """Look at something."""
        return at

    saver, small = Saver(), model("small", Answer(tool_calls=(("look", {"at": "the log"}),)))
    graph = one_step(policy(small, verify=["tool_calls"]), store, saver, tools=[look], output="messages")
    done = killed_then_resumed(graph, saver, "the log")
    assert done["messages"][-1].tool_calls[0]["args"] == {"at": "the log"}


def test_failed_call_is_not_kept(store: Store) -> None:
    small, large = (
        model("small", ConnectionError("refused"), ConnectionError("refused")),
        model("large", GOOD),
    )
    saver = Saver()
    killed_then_resumed(one_step(policy(small, large), store, saver), saver, "refused")
    assert (len(small.calls), len(large.calls)) == (2, 1)


def test_rejected_reply_and_the_next_are_kept_apart(store: Store) -> None:
    small, large, saver = model("small", BAD), model("large", GOOD), Saver()
    assert killed_then_resumed(one_step(policy(small, large), store, saver), saver, GOOD)["answer"] == GOOD


# Which reply is whose ------------------------------------------------------------------------------------


def test_tasks_of_a_fan_out_do_not_mix(store: Store) -> None:
    """Each packet's step asks its own question, and is given the reply to that question."""
    questions = ["one?", "two?", "three?"]
    small = Echo(name="small", reply="unused")
    step = routed_step(
        "answer", policy(small), state_schema=State, prompt="{question}", output="answer", answer_store=store
    )
    builder, saver = StateGraph(State), Saver()

    def ask(state: State) -> State:
        return {"answers": [step.invoke({"question": state["question"]})["answer"]]}

    builder.add_node("ask", ask)
    builder.add_conditional_edges(START, lambda state: [Send("ask", {"question": q}) for q in questions])
    graph = builder.compile(checkpointer=saver)
    done = killed_then_resumed(graph, saver, "re: two?", {"question": ""})
    assert done["answers"] == ["re: one?", "re: two?", "re: three?"]
    assert sorted(call.messages[0].text for call in small.calls) == sorted(questions)


class Echo(ScriptedChatModel):
    """A model whose reply tells what it was asked."""

    def _next(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AIMessage:
        super()._next(messages, *args, **kwargs)
        return AIMessage(f"re: {messages[-1].text}", response_metadata={"finish_reason": "stop"})


def test_two_steps_of_a_graph_have_their_own_replies(store: Store) -> None:
    first, second, saver = model("small", "one"), model("small", "two"), Saver()
    builder = StateGraph(State)
    for name, given, output in (("first", first, "question"), ("second", second, "answer")):
        add_routed_step(builder, name, policy(given), step="answer", output=output, answer_store=store)
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    done = killed_then_resumed(builder.compile(checkpointer=saver), saver, "two")
    assert (done["question"], done["answer"]) == ("one", "two")


def test_loop_that_comes_back_to_the_step_is_given_a_fresh_reply(store: Store) -> None:
    builder, saver = StateGraph(State), Saver()
    small = model("small", "one", "two", "three")
    add_routed_step(builder, "answer", policy(small), output="answer", answer_store=store)
    builder.add_node("note", lambda state: {"answers": [state["answer"]], "rounds": 1})
    builder.add_edge(START, "answer")
    builder.add_edge("answer", "note")
    builder.add_conditional_edges("note", lambda state: "answer" if state["rounds"] < 3 else END)
    done = killed_then_resumed(builder.compile(checkpointer=saver), saver, "two", {**ASKED, "rounds": 0})
    assert done["answers"] == ["one", "two", "three"]


def test_next_turn_of_a_thread_is_given_a_fresh_reply(store: Store) -> None:
    graph = one_step(policy(model("small", "one", "two")), store, Saver())
    assert [graph.invoke(ASKED, THREAD)["answer"] for _ in range(2)] == ["one", "two"]


def test_step_of_a_subgraph_finds_its_reply(store: Store) -> None:
    builder, saver = StateGraph(State), Saver()
    inner = policy(model("small", GOOD))
    builder.add_node(
        "inner", routed_step("answer", inner, state_schema=State, output="answer", answer_store=store)
    )
    builder.add_edge(START, "inner")
    graph = builder.compile(checkpointer=saver)
    assert killed_then_resumed(graph, saver, GOOD)["answer"] == GOOD


def test_changed_state_is_asked_about_anew(store: Store) -> None:
    """A person who edits the state of a killed run wants a reply to the new question."""
    small, saver = Echo(name="small", reply="unused"), Saver()
    graph = one_step(policy(small), store, saver, prompt="{question}")
    saver.fate.dies_with = "re: old?"
    with pytest.raises(Killed):
        graph.invoke({"question": "old?"}, THREAD, durability="sync")
    saver.fate.dead = False
    graph.update_state(THREAD, {"question": "new?"}, as_node=START)
    assert graph.invoke(None, THREAD)["answer"] == "re: new?"


def test_update_sent_along_with_the_resume_comes_too_late_for_a_kept_reply(store: Store) -> None:
    """As it does in LangGraph for a node that had finished: the task is the same."""
    saver = Saver()
    graph = one_step(policy(Echo(name="small", reply="unused")), store, saver, prompt="{question}")
    saver.fate.dies_with = "re: old?"
    with pytest.raises(Killed):
        graph.invoke({"question": "old?"}, THREAD, durability="sync")
    saver.fate.dead = False
    assert graph.invoke(Command(update={"question": "new?"}), THREAD)["answer"] == "re: old?"


def test_old_checkpoint_that_is_addressed_begins_a_branch_that_calls_anew(store: Store) -> None:
    """LangGraph writes a fork first, whose tasks have ids of their own; the thread's id alone resumes."""
    small = model("small", "one", "two")
    graph = one_step(policy(small), store, Saver())
    graph.invoke(ASKED, THREAD)
    before = next(state for state in graph.get_state_history(THREAD) if state.next == ("answer.small.small",))
    assert graph.invoke(None, before.config)["answer"] == "two"


# What is shown, and what is not kept ---------------------------------------------------------------------


@pytest.mark.parametrize("output", ["answer", "messages"])
@pytest.mark.parametrize("verify", [["no_refusal"], []], ids=["judged", "plain"])
def test_stream_of_the_resumed_run_shows_the_kept_reply_once(store: Store, output: str, verify: Any) -> None:
    saver = Saver()
    graph = one_step(policy(model("small", GOOD), verify=verify), store, saver, output=output)
    saver.fate.dies_with = "1866"
    with pytest.raises(Killed):
        list(graph.stream(ASKED, THREAD, stream_mode="messages", durability="sync"))
    saver.fate.dead = False
    shown = list(graph.stream(None, THREAD, stream_mode="messages", durability="sync"))
    assert "".join(message.text for message, _ in shown) == GOOD


def test_run_without_a_thread_keeps_nothing(store: Store) -> None:
    assert one_step(policy(model("small", GOOD)), store, None).invoke(ASKED)["answer"] == GOOD
    with store.statements() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM langroute_answers").scalar() == 0


def test_store_that_is_gone_breaks_no_step(store: Store) -> None:
    graph = one_step(policy(model("small", GOOD)), store, Saver())
    with store.statements() as connection:
        connection.exec_driver_sql("DROP TABLE langroute_answers")
    assert graph.invoke(ASKED, THREAD)["answer"] == GOOD
    assert store.failures.count == 2


def test_store_that_cannot_be_opened_is_told_when_the_step_is_drawn() -> None:
    with pytest.raises(LedgerError, match="sqlite:///"):
        one_step(policy(model("small", GOOD)), "answers.db", None)


def test_step_without_a_store_imports_no_sqlalchemy() -> None:
    code = (
        "import sys; from langgraph.graph import MessagesState, StateGraph\n"
        "from langroute import add_routed_step; from langroute.testing import ScriptedChatModel\n"
        "policy = {'tiers': {'small': {'models': [ScriptedChatModel(reply='a')]}},\n"
        "'steps': {'a': {'cascade': ['small']}}}\n"
        "add_routed_step(StateGraph(MessagesState), 'a', policy)\n"
        "print('sqlalchemy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
