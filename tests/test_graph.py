"""A routed step drawn into a graph: its branches, its approvals, its prompts, and how it resumes."""

import operator
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send
from pydantic import BaseModel
from typing_extensions import TypedDict

from langroute import add_routed_step, route_node, routed_step, tier_edge
from langroute.cascade import Verdict
from langroute.errors import AllAttemptsFailed, FailedCall, NoEndpointAvailable, RejectedReply
from langroute.testing import ScriptedChatModel, capture_decisions

GOOD = "The cable was laid in 1866."
BAD = "I cannot help with that."
PRICE = {"input": 1_000.0, "output": 1_000.0}


class State(TypedDict, total=False):
    messages: Annotated[list[BaseMessage], add_messages]
    question: str
    answer: Any
    answers: Annotated[list[Any], operator.add]


def models(**replies: Any) -> dict[str, ScriptedChatModel]:
    return {name: ScriptedChatModel(name=name, reply=reply) for name, reply in replies.items()}


def policy(given: dict[str, ScriptedChatModel], *, budget: Any = None, **step: Any) -> dict[str, Any]:
    tiers = {
        name: {"models": [{"model": model, "name": name, "price": PRICE}]} for name, model in given.items()
    }
    binding = {"cascade": list(given), "verify": ["no_refusal"], **step}
    return {"tiers": tiers, "steps": {"answer": binding}, **({"budget": budget} if budget else {})}


def compiled(written: dict[str, Any], **how: Any) -> Any:
    builder = StateGraph(State)
    add_routed_step(builder, "answer", written, **{"output": "answer", **how})
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=InMemorySaver())


ASKED = {"messages": [HumanMessage("When was the cable laid?")]}
THREAD = {"configurable": {"thread_id": "1"}}


def test_branches_are_drawn_with_their_labels() -> None:
    written = policy(models(small=BAD, large=GOOD), budget={"approve_above_usd": 1.0}, repair=1)
    drawn = compiled(written).get_graph().draw_mermaid().replace("\\2e", ".")
    for edge in (
        "answer.small.small -. &nbsp;failed&nbsp; .-> answer.large.large",
        "answer.verify.small -. &nbsp;rejected&nbsp; .-> answer.large.large",
        "answer.verify.small -. &nbsp;rejected&nbsp; .-> answer.repair.small",
        "answer.verify.small -. &nbsp;accepted&nbsp; .-> answer.accept",
        "answer.verify.small -. &nbsp;rejected&nbsp; .-> answer.approve",
        "answer.approve -. &nbsp;approved&nbsp; .-> answer.large.large",
        "answer.approve -. &nbsp;refused&nbsp; .-> answer.accept",
        "answer.verify.large -. &nbsp;rejected&nbsp; .-> answer.fail",
        "answer.accept --> __end__",
    ):
        assert edge in drawn


def test_subgraph_form_is_drawn_when_the_graph_is_looked_into() -> None:
    builder = StateGraph(State)
    step = routed_step("answer", policy(models(small=GOOD)), state_schema=State, output="answer")
    builder.add_node("answer", step)
    builder.add_edge(START, "answer")
    drawn = builder.compile().get_graph(xray=True).draw_mermaid()
    assert "verify" in drawn


def test_edges_drawn_before_and_after_lead_out_of_the_steps_last_node() -> None:
    builder = StateGraph(State)
    builder.add_node("after", lambda state: {"question": f"after {state['answer']}"})
    builder.add_edge("answer", "after")
    add_routed_step(builder, "answer", policy(models(small=GOOD)), output="answer")
    builder.add_edge(START, "answer")
    builder.add_conditional_edges("after", lambda state: END)
    assert builder.compile().invoke(ASKED)["question"] == f"after {GOOD}"


def test_conditional_edge_out_of_a_step_sees_its_answer() -> None:
    builder = StateGraph(State)
    add_routed_step(builder, "answer", policy(models(small=GOOD)), output="answer")
    builder.add_node("yes", lambda state: {"question": "yes"})
    builder.add_edge(START, "answer")
    builder.add_conditional_edges("answer", lambda state: "yes" if "1866" in state["answer"] else END)
    assert builder.compile().invoke(ASKED)["question"] == "yes"


@pytest.mark.parametrize(
    "prompt",
    [
        "Answer: {question}",
        ChatPromptTemplate.from_messages([("human", "Answer: {question}")]),
        lambda state: f"Answer: {state['question']}",
        lambda state: [HumanMessage(f"Answer: {state['question']}")],
    ],
    ids=["format string", "template", "text", "messages"],
)
def test_prompt_may_be_a_string_a_template_or_a_function_of_the_state(prompt: Any) -> None:
    given = models(small=GOOD)
    compiled(policy(given), prompt=prompt).invoke({"question": "when?"}, THREAD)
    assert given["small"].calls[0].messages[0].text == "Answer: when?"


def test_documents_come_from_the_state() -> None:
    builder = StateGraph(State)
    written = policy(models(small="It was laid in 1866 [log].", large="nothing"), verify=["citations"])
    add_routed_step(
        builder,
        "answer",
        written,
        output="answer",
        documents=lambda state: [{"id": "log", "text": "It was laid in 1866."}],
    )
    builder.add_edge(START, "answer")
    assert builder.compile().invoke(ASKED)["answer"] == "It was laid in 1866 [log]."


def test_steps_fan_out_with_send() -> None:
    builder = StateGraph(State)
    step = routed_step("answer", policy(models(small=BAD, large=GOOD)), state_schema=State, output="answer")

    def ask(state: State) -> State:
        return {"answers": [step.invoke(state)["answer"]]}

    builder.add_node("ask", ask)
    builder.add_conditional_edges(START, lambda state: [Send("ask", ASKED) for _ in range(3)])
    assert builder.compile().invoke({})["answers"] == [GOOD] * 3


def test_two_steps_in_one_graph_keep_apart() -> None:
    builder = StateGraph(State)
    add_routed_step(builder, "first", policy(models(small="one")), step="answer", output="question")
    add_routed_step(builder, "second", policy(models(small="two")), step="answer", output="answer")
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    done = builder.compile().invoke(ASKED)
    assert (done["question"], done["answer"]) == ("one", "two")


def test_models_name_that_is_no_text_is_kept_in_no_state() -> None:
    odd = AIMessage(GOOD, response_metadata={"model_name": {"id": 1}})
    with capture_decisions() as decisions:
        assert compiled(policy(models(small=odd))).invoke(ASKED, THREAD)["answer"] == GOOD
    assert decisions[0].attempts[0].model == "small"


def test_failing_step_raises_one_error_an_attempt() -> None:
    given = models(small=BAD, large=ConnectionError("refused"))
    with pytest.raises(AllAttemptsFailed) as caught:
        compiled(policy(given, on_exhausted="raise")).invoke(ASKED, THREAD)
    assert [type(error) for error in caught.value.exceptions] == [RejectedReply, FailedCall]
    assert caught.value.decision.outcome == "exhausted"


class TestApproval:
    """An escalation above the limit stops at an interrupt that shows what is asked."""

    @staticmethod
    def stopped(**step: Any) -> tuple[Any, dict[str, ScriptedChatModel], dict[str, Any]]:
        given = models(small=BAD, middle=GOOD, large=GOOD)
        cascade = {"cascade": ["small", "large"], **step}
        graph = compiled(policy(given, budget={"approve_above_usd": 0.001}, **cascade))
        asked = graph.invoke(ASKED, THREAD)["__interrupt__"][0].value
        return graph, given, asked

    def test_interrupt_shows_step_models_estimate_spend_and_findings(self) -> None:
        _, given, asked = self.stopped()
        assert asked["step"] == "answer"
        assert asked["call"] == {"tier": "large", "endpoint": "large", "model": "large"}
        assert asked["expected_usd"] > 0.001
        assert asked["spent_usd"] > 0
        assert "refus" in asked["findings"][0]
        assert given["large"].calls == []

    def test_approved_escalation_is_made_once(self) -> None:
        graph, given, _ = self.stopped()
        done = graph.invoke(Command(resume="approve"), THREAD)
        assert done["answer"] == GOOD
        assert (len(given["small"].calls), len(given["large"].calls)) == (1, 1)

    def test_approval_is_used_once(self) -> None:
        graph, given, _ = self.stopped()
        graph.invoke(Command(resume="approve"), THREAD)
        again = graph.invoke(ASKED, THREAD)
        assert "__interrupt__" in again
        assert len(given["large"].calls) == 1

    def test_refused_escalation_gives_the_best_reply_so_far(self) -> None:
        graph, given, _ = self.stopped()
        assert graph.invoke(Command(resume="refuse"), THREAD)["answer"] == BAD
        assert given["large"].calls == []

    def test_refused_escalation_raises_where_the_policy_says_so(self) -> None:
        graph, _, _ = self.stopped(on_exhausted="raise")
        with pytest.raises(AllAttemptsFailed):
            graph.invoke(Command(resume="refuse"), THREAD)

    def test_answer_that_was_not_offered_is_asked_for_again(self) -> None:
        graph, given, _ = self.stopped()
        again = graph.invoke(Command(resume="sure"), THREAD)["__interrupt__"][0].value
        assert again["not_an_answer"] == "sure"
        assert given["large"].calls == []
        assert graph.invoke(Command(resume="approve"), THREAD)["answer"] == GOOD

    def test_approval_holds_for_the_amount_that_was_shown(self) -> None:
        given = models(small=BAD, large=GOOD)
        graph = compiled(policy(given, budget={"approve_above_usd": 0.001}), prompt=lambda s: s["messages"])
        told = graph.invoke(ASKED, THREAD)["__interrupt__"][0].value
        longer = Command(resume="approve", update={"messages": [HumanMessage("And why? " * 10_000)]})
        again = graph.invoke(longer, THREAD)["__interrupt__"][0].value
        assert again["expected_usd"] > told["expected_usd"]
        assert "dearer" in again["reason"]
        assert given["large"].calls == []
        assert graph.invoke(Command(resume="approve"), THREAD)["answer"] == GOOD

    def test_question_names_the_model_and_the_reply_that_would_be_kept(self) -> None:
        graph, _, _ = self.stopped()
        told = graph.invoke(ASKED, THREAD)["__interrupt__"][0].value
        assert told["call"]["model"]
        assert told["best"] == BAD

    def test_person_may_name_a_cheaper_tier_where_there_is_one(self) -> None:
        given = models(small=BAD, large=GOOD, huge="The cable was laid in 1866, says the ship's log.")
        written = policy(given, cascade=["small", "large", "huge"], budget={"approve_above_usd": 0.001})
        written["tiers"]["large"]["models"][0]["price"] = {"input": 50, "output": 200}
        written["tiers"]["huge"]["models"][0]["price"] = {"input": 20, "output": 80}
        graph = compiled(written)
        asked = graph.invoke(ASKED, THREAD)["__interrupt__"][0].value
        (offer,) = asked["cheaper"]
        assert (asked["call"]["tier"], offer["tier"]) == ("large", "huge")
        assert offer["expected_usd"] < asked["expected_usd"]
        assert asked["answers"] == ["approve", "refuse", "huge"]
        assert "ship's log" in graph.invoke(Command(resume="huge"), THREAD)["answer"]
        assert given["large"].calls == []

    async def test_approval_works_in_async_runs(self) -> None:
        given = models(small=BAD, large=GOOD)
        graph = compiled(policy(given, budget={"approve_above_usd": 0.001}))
        assert "__interrupt__" in await graph.ainvoke(ASKED, THREAD)
        assert (await graph.ainvoke(Command(resume="approve"), THREAD))["answer"] == GOOD

    def test_person_is_asked_when_no_reply_was_accepted(self) -> None:
        graph = compiled(policy(models(small=BAD), on_exhausted="ask"))
        asked = graph.invoke(ASKED, THREAD)["__interrupt__"][0].value
        assert asked["replies"] == [BAD]
        assert graph.invoke(Command(resume="approve"), THREAD)["answer"] == BAD


def test_step_is_that_whose_nodes_match_the_name() -> None:
    written = policy(models(small=BAD, large=GOOD))
    written["steps"] = {"synthesis": {**written["steps"]["answer"], "nodes": ["ans*"]}}
    with capture_decisions() as decisions:
        assert compiled(written).invoke(ASKED, THREAD)["answer"] == GOOD
    assert decisions[0].plan.step == "synthesis"
    assert len(decisions[0].attempts) == 2


def test_key_that_the_state_does_not_have_is_told_when_drawn() -> None:
    with pytest.raises(ValueError, match=r"no key 'anwser' for the reply; say `output=` one of: .*answer"):
        compiled(policy(models(small=GOOD)), output="anwser")


class Gathered(TypedDict, total=False):
    question: str
    answers: Annotated[list[str], operator.add]


def test_texts_are_gathered_in_a_list_from_a_fan_out() -> None:
    step = routed_step(
        "answer", policy(models(small=GOOD)), state_schema=Gathered, prompt="{question}", output="answers"
    )
    builder = StateGraph(Gathered)
    builder.add_node("answer", step)
    builder.add_conditional_edges(START, lambda _: [Send("answer", {"question": q}) for q in ("a?", "b?")])
    builder.add_edge("answer", END)
    answers = builder.compile().invoke({"question": "both"})["answers"]
    assert answers == [GOOD, GOOD]
    assert all(type(answer) is str for answer in answers)


def test_run_that_wants_an_endpoint_which_is_gone_says_so() -> None:
    given, saver, dear = models(small=BAD, large=GOOD), InMemorySaver(), {"approve_above_usd": 0.001}

    def graph(large: str) -> Any:
        written = policy({"small": given["small"], large: given["large"]}, budget=dear)
        builder = StateGraph(State)
        add_routed_step(builder, "answer", written, output="answer")
        builder.add_edge(START, "answer")
        builder.add_edge("answer", END)
        return builder.compile(checkpointer=saver)

    assert "__interrupt__" in graph("large").invoke(ASKED, THREAD)
    with pytest.raises(NoEndpointAvailable, match="large of tier large, which the policy no longer has"):
        graph("other").invoke(Command(resume="approve"), THREAD)


def routing_graph() -> tuple[Any, dict[str, ScriptedChatModel]]:
    given = models(small="short", large="long")
    written = policy(given, verify=[]) | {"rules": [{"when": {"keywords": "prove"}, "start": "large"}]}
    builder = StateGraph(State)
    builder.add_node("route", route_node(written, step="answer", output="answer"))
    for tier, model in given.items():
        builder.add_node(tier, lambda state, model=model: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "route")
    builder.add_conditional_edges("route", tier_edge("answer"), {"small": "small", "large": "large"})
    return builder.compile(), given


@pytest.mark.parametrize(("asked", "tier"), [("when?", "small"), ("prove it", "large")])
def test_graph_of_ones_own_branches_on_the_tier_that_the_route_node_wrote(asked: str, tier: str) -> None:
    graph, given = routing_graph()
    done = graph.invoke({"messages": [HumanMessage(asked)]})
    assert (done["answer"]["step"], done["answer"]["tier"]) == ("answer", tier)
    assert [len(model.calls) for model in given.values()] == [int(name == tier) for name in given]


async def test_route_node_works_in_async_runs() -> None:
    graph, _ = routing_graph()
    done = await graph.ainvoke({"messages": [HumanMessage("when?")]})
    assert done["answer"]["endpoint"] == "small"


def test_resumed_run_does_not_pay_again_for_a_reply_it_has() -> None:
    broken = [True]

    def breaks_once(case: Any) -> Verdict:
        if broken.pop() if broken else False:
            raise KeyboardInterrupt
        return Verdict("breaks_once", accepted=True, reason="fine")

    given = models(small=GOOD)
    graph = compiled(policy(given, verify=[breaks_once]))
    with pytest.raises(KeyboardInterrupt):
        graph.invoke(ASKED, THREAD)
    assert graph.invoke(None, THREAD)["answer"] == GOOD
    assert len(given["small"].calls) == 1


class Invoice(BaseModel):
    """An invoice."""

    total: float


def test_object_survives_the_way_through_the_state() -> None:
    graph = compiled(policy(models(small={"total": 3.5}), verify=["schema"]), schema=Invoice)
    assert graph.invoke(ASKED, THREAD)["answer"] == Invoice(total=3.5)


def test_tools_and_schema_together_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        compiled(policy(models(small=GOOD)), schema=Invoice, tools=[print])


def test_every_node_of_a_step_tells_one_decision() -> None:
    with capture_decisions() as decisions:
        compiled(policy(models(small=BAD, large=GOOD))).invoke(ASKED, THREAD)
    assert [decision.outcome for decision in decisions] == ["accepted"]
