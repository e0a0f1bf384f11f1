"""Upstream repair: a rejection that blames the input goes back, once, a tier higher, to the step before."""

import operator
from typing import Annotated, Any

import pytest
from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import InvalidUpdateError
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send
from typing_extensions import TypedDict
from upstream_graphs import ASKED, CITES, FULL, STATES, THIN, THREAD, Pipeline, Typed, facts, question, value

from langroute import RoutedChatModel, add_routed_step, routed_step
from langroute.cascade import Verdict
from langroute.decision import Decision
from langroute.testing import ScriptedChatModel, capture_decisions

LONE = "It was laid by a ship."


def told(decisions: list[Decision]) -> list[tuple[str, str]]:
    return [(decision.step.step, decision.outcome) for decision in decisions]


def invoked(pipeline: Pipeline, **how: Any) -> tuple[dict[str, Any], list[Decision]]:
    with capture_decisions() as decisions:
        done = pipeline.builder(**how).compile().invoke(ASKED)
    return done, decisions


def test_fact_that_extraction_missed_is_found_by_its_next_tier_and_synthesis_stays_cheap() -> None:
    pipeline = Pipeline()
    done, _ = invoked(pipeline)
    assert (done["facts"], done["answer"]) == (FULL, CITES)
    assert pipeline.calls == [1, 1, 2, 0]


def test_every_visit_is_told_of_with_its_attempts_and_its_cost() -> None:
    _, decisions = invoked(Pipeline())
    assert told(decisions) == [
        ("extraction", "accepted"),
        ("synthesis", "blamed"),
        ("extraction", "accepted"),
        ("synthesis", "accepted"),
    ]
    assert [[a.endpoint for a in d.attempts] for d in decisions] == [
        ["small-x"],
        ["small-w"],
        ["large-x"],
        ["small-w"],
    ]
    assert all(decision.cost_usd for decision in decisions)
    blamed = decisions[1].as_dict()
    assert (blamed["blame"], blamed["chosen"], blamed["tier"]) == ("extraction", None, None)
    assert blamed["attempts"][0]["verdicts"][0]["blames_input"]


def test_plans_say_why_they_start_where_they_start() -> None:
    _, decisions = invoked(Pipeline())
    assert "may go back to extraction, to be done again at large_x" in decisions[1].plan.reasons
    again = "synthesis blames its input (the reply cites [d2], but only [d1] was supplied): starts at large_x"
    assert again in decisions[2].plan.reasons
    assert decisions[3].plan.blame is None
    assert f"it did so once, in call {decisions[1].call_id}" in decisions[3].plan.reasons[-1]


@pytest.mark.parametrize("state", STATES)
def test_any_state_goes_back(state: Any) -> None:
    pipeline = Pipeline()
    done, _ = invoked(pipeline, state=state)
    assert (done["answer"], pipeline.calls) == (CITES, [1, 1, 2, 0])


@pytest.mark.parametrize("state", STATES)
async def test_async_runs_go_back(state: Any) -> None:
    pipeline = Pipeline()
    done = await pipeline.builder(state).compile().ainvoke(ASKED)
    assert (done["answer"], pipeline.calls) == (CITES, [1, 1, 2, 0])


def test_way_back_is_drawn_as_an_edge() -> None:
    drawn = Pipeline().builder().compile().get_graph().draw_mermaid().replace("\\2e", ".")
    for tier in ("small_w", "large_w"):
        assert f"synthesize.verify.{tier} -. &nbsp;blamed&nbsp; .-> extract;" in drawn


def test_nodes_between_run_again() -> None:
    runs: list[str] = []

    def between(state: Any) -> dict[str, Any]:
        runs.append(state["facts"])
        return {}

    invoked(Pipeline(), between=between)
    assert runs == [THIN, FULL]


# Bounds ------------------------------------------------------------------------------------------------


def test_step_goes_back_once_and_then_escalates_by_itself() -> None:
    pipeline = Pipeline(extract=dict.fromkeys(("small", "middle", "large"), THIN))
    done, decisions = invoked(pipeline)
    assert pipeline.calls == [1, 1, 0, 2, 1]
    assert told(decisions)[-1] == ("synthesis", "best")
    assert done["answer"] == CITES


def test_step_that_answered_at_its_top_tier_is_not_gone_back_to() -> None:
    pipeline = Pipeline(
        extract={"small": "I cannot help with that.", "large": THIN}, extraction={"verify": ["no_refusal"]}
    )
    _, decisions = invoked(pipeline)
    assert pipeline.calls == [1, 1, 1, 1]
    assert decisions[1].plan.reasons[-1] == "does not go back to extraction: it has no tier above large_x"


def test_repair_comes_before_going_back() -> None:
    pipeline = Pipeline(synthesis={"repair": 1})
    _, decisions = invoked(pipeline)
    assert [attempt.why for attempt in decisions[1].attempts] == ["start", "repair"]
    assert told(decisions)[1] == ("synthesis", "blamed")


def test_reply_without_citations_blames_nobody() -> None:
    pipeline = Pipeline(write={"small": LONE, "large": LONE})
    invoked(pipeline)
    assert pipeline.calls == [1, 0, 1, 1]


def test_extraction_that_found_nothing_is_blamed() -> None:
    pipeline = Pipeline(extract={"small": "Nothing.", "large": FULL})
    done, _ = invoked(pipeline)
    assert (done["answer"], pipeline.calls) == (CITES, [1, 1, 2, 0])


def test_plain_synthesis_of_one_tier_holds_its_reply_back_while_it_may_go_back() -> None:
    pipeline = Pipeline(write={"small": CITES})
    graph = pipeline.builder(writes="messages").compile()
    shown = [
        m.text for m, meta in graph.stream(ASKED, stream_mode="messages") if "synth" in meta["langgraph_node"]
    ]
    assert "".join(shown) == CITES
    assert pipeline.calls == [1, 1, 2]


def test_new_question_on_the_same_thread_may_go_back_again() -> None:
    pipeline = Pipeline()
    graph = pipeline.builder().compile(checkpointer=InMemorySaver())
    graph.invoke(ASKED, THREAD)
    graph.invoke(ASKED, THREAD)
    assert pipeline.calls == [2, 2, 4, 0]


def test_run_after_one_that_broke_off_on_its_way_back_stays_and_the_next_may_go_back_again() -> None:
    pipeline = Pipeline()
    broken: list[BaseException] = [KeyboardInterrupt()]

    def between(state: Any) -> dict[str, Any]:
        if state["facts"] == FULL and broken:
            raise broken.pop()
        return {}

    graph = pipeline.builder(between=between).compile(checkpointer=InMemorySaver())
    with pytest.raises(KeyboardInterrupt):
        graph.invoke(ASKED, THREAD)
    assert graph.invoke(ASKED, THREAD)["answer"] == CITES
    assert pipeline.calls == [2, 1, 2, 1]
    assert graph.invoke(ASKED, THREAD)["facts"] == FULL
    assert pipeline.calls == [3, 2, 4, 1]


# When the earlier step can do no better ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("large", "verify", "outcome"),
    [
        (ConnectionError("down"), [], "failed"),
        (ModelInvalidRequestError("no such setting"), [], "stopped"),
        ("I cannot help with that.", ["no_refusal"], "exhausted"),
    ],
    ids=["provider down", "refused by the provider", "rejected"],
)
def test_answer_that_cannot_be_bettered_stands_and_the_run_goes_on(
    large: Any, verify: list[str], outcome: str
) -> None:
    pipeline = Pipeline(extract={"small": THIN, "large": large}, extraction={"verify": verify})
    done, decisions = invoked(pipeline)
    assert (done["facts"], done["answer"]) == (THIN, CITES)
    assert told(decisions)[1:] == [("synthesis", "blamed"), ("extraction", outcome), ("synthesis", "best")]
    assert pipeline.calls == [1, 1, 2, 1]


@pytest.mark.parametrize("too_small", [["large_x"], ["small_x", "large_x"]])
def test_answer_stands_where_no_higher_tier_can_take_the_prompt_any_more(too_small: list[str]) -> None:
    pipeline = Pipeline()
    for tier in too_small:
        pipeline.policy["tiers"][tier]["models"][0]["context_tokens"] = 600
    graph = pipeline.builder(between=lambda state: {"question": "why? " * 2_000}).compile()
    done = graph.invoke(ASKED)
    assert (done["facts"], pipeline.calls) == (THIN, [1, 0, 2, 1])


# Money -------------------------------------------------------------------------------------------------


class TestApproval:
    """Going back is an escalation of the earlier step: above the limit a person is asked."""

    @staticmethod
    def stopped() -> tuple[Pipeline, Any, dict[str, Any]]:
        pipeline = Pipeline(budget={"approve_above_usd": 0.001})
        graph = pipeline.builder().compile(checkpointer=InMemorySaver())
        return pipeline, graph, graph.invoke(ASKED, THREAD)["__interrupt__"][0].value

    def test_interrupt_shows_what_would_be_done_again(self) -> None:
        pipeline, _, asked = self.stopped()
        assert asked["step"] == "synthesis"
        assert asked["call"] == {"tier": "large_x", "endpoint": "large-x", "model": "large-x"}
        assert asked["reason"] == "going back to extraction, to be done again by large-x"
        assert asked["expected_usd"] > 0.001
        assert pipeline.calls == [1, 0, 1, 0]

    def test_approved_way_back_is_gone_without_a_second_question(self) -> None:
        pipeline, graph, _ = self.stopped()
        assert graph.invoke(Command(resume="approve"), THREAD)["answer"] == CITES
        assert pipeline.calls == [1, 1, 2, 0]

    def test_way_back_that_is_asked_for_is_drawn(self) -> None:
        drawn = self.stopped()[1].get_graph().draw_mermaid().replace("\\2e", ".")
        assert "synthesize.approve -. &nbsp;approved&nbsp; .-> extract;" in drawn

    def test_refused_way_back_gives_the_best_reply_so_far(self) -> None:
        pipeline, graph, _ = self.stopped()
        assert graph.invoke(Command(resume="refuse"), THREAD)["answer"] == CITES
        assert pipeline.calls == [1, 0, 1, 0]

    def test_escalation_below_the_limit_is_made_rather_than_a_dear_way_back_asked_for(self) -> None:
        pipeline = Pipeline(budget={"approve_above_usd": 0.01})
        for tier in ("small_w", "large_w"):
            pipeline.policy["tiers"][tier]["models"][0]["price"] = {"input": 0.1, "output": 0.1}
        invoked(pipeline)
        assert pipeline.calls == [1, 0, 1, 1]


# Messages and streams ----------------------------------------------------------------------------------


def test_better_message_takes_the_place_of_the_one_before() -> None:
    pipeline = Pipeline()
    done = pipeline.builder(extracts="messages").compile().invoke(question())
    assert [message.text for message in done["messages"]] == [ASKED["question"], FULL]


def test_step_that_answers_again_does_not_read_its_own_answer() -> None:
    pipeline = Pipeline()
    pipeline.builder(extracts="messages").compile().invoke(question())
    assert [m.text for m in pipeline.extract["large"].calls[0].messages] == [ASKED["question"]]


@pytest.mark.parametrize("writes", ["messages", "answer"])
@pytest.mark.parametrize("extracts", ["messages", "facts"])
def test_stream_shows_every_accepted_reply_once_and_no_rejected_one(extracts: str, writes: str) -> None:
    pipeline = Pipeline(write={"small": CITES, "large": CITES})
    graph = pipeline.builder(extracts=extracts, writes=writes).compile()
    events = graph.stream(question(), stream_mode="messages")
    shown = "".join(message.text for message, _ in events if isinstance(message, AIMessage))
    assert shown == THIN + FULL + CITES


@pytest.mark.parametrize("extracts", ["messages", "facts"])
async def test_v3_stream_shows_every_accepted_reply_once(extracts: str) -> None:
    graph = Pipeline().builder(extracts=extracts).compile()
    run = await graph.astream_events(question(), version="v3")
    assert [await message.text async for message in run.messages] == [THIN, FULL, CITES]


# Graphs of other shapes --------------------------------------------------------------------------------


def test_steps_may_blame_each_other_in_a_chain() -> None:
    models = {name: ScriptedChatModel(name=name, reply=name) for name in ("r1", "r2")}
    pipeline = Pipeline(extraction={"verify": [knows_r2], "blame": "rewrite"})
    for name, model in models.items():
        pipeline.policy["tiers"][name] = {"models": [{"model": model, "name": name}]}
    pipeline.policy["steps"]["rewrite"] = {"cascade": ["r1", "r2"]}
    builder = StateGraph(Typed)
    add_routed_step(builder, "rewrite", pipeline.policy, prompt="Rewrite", output="question")
    add_routed_step(
        builder, "extract", pipeline.policy, step="extraction", prompt="{question}", output="facts"
    )
    how = {"step": "synthesis", "prompt": "{facts}", "output": "answer", "documents": facts}
    add_routed_step(builder, "synthesize", pipeline.policy, **how)
    for source, target in ((START, "rewrite"), ("rewrite", "extract"), ("extract", "synthesize")):
        builder.add_edge(source, target)
    with capture_decisions() as decisions:
        done = builder.compile().invoke({})
    assert (done["question"], done["answer"]) == ("r2", CITES)
    assert told(decisions) == [
        ("rewrite", "accepted"),
        ("extraction", "blamed"),
        ("rewrite", "accepted"),
        ("extraction", "accepted"),
        ("synthesis", "blamed"),
        ("extraction", "accepted"),
        ("synthesis", "accepted"),
    ]


def knows_r2(case: Any) -> Verdict:
    """Accept what is drawn from the better rewriting."""
    accepted = case.request.messages[-1].text == "r2"
    return Verdict("knows_r2", accepted=accepted, reason="looked at", blames_input=not accepted)


def test_way_round_ends_although_the_persons_own_loop_asks_the_earlier_step_anew() -> None:
    pipeline = Pipeline()
    builder = pipeline.builder()
    builder.edges = {edge for edge in builder.edges if edge[1] != "synthesize"}
    turns: list[str] = []

    def once_more(state: Any) -> str:
        turns.append(state["facts"])
        return "extract" if len(turns) % 2 else "synthesize"

    builder.add_conditional_edges("extract", once_more, ["extract", "synthesize"])
    assert builder.compile().invoke(ASKED)["answer"] == CITES
    assert turns == [THIN, THIN, FULL, THIN]
    assert pipeline.calls == [3, 1, 2, 1]


def test_joined_edge_that_would_wait_for_ever_is_not_gone_back_over() -> None:
    pipeline = Pipeline()
    builder = StateGraph(Typed)
    add_routed_step(
        builder, "extract", pipeline.policy, step="extraction", prompt="{question}", output="facts"
    )
    builder.add_node("other", lambda state: {})
    how = {"step": "synthesis", "prompt": "{facts}", "output": "answer", "documents": facts}
    add_routed_step(builder, "synthesize", pipeline.policy, **how)
    builder.add_edge(START, "extract")
    builder.add_edge(START, "other")
    builder.add_edge(["extract", "other"], "synthesize")
    with capture_decisions() as decisions:
        done = builder.compile().invoke(ASKED)
    assert done["answer"] == CITES
    assert pipeline.calls == [1, 0, 1, 1]
    assert "waits for nodes that would not run again" in decisions[1].plan.reasons[-1]


def test_join_behind_the_step_does_not_keep_it_from_going_back() -> None:
    pipeline = Pipeline()
    builder = pipeline.builder()
    builder.add_node("beside", lambda state: {})
    builder.add_node("last", lambda state: {"question": "last"})
    builder.add_edge("extract", "beside")
    builder.add_edge(["synthesize", "beside"], "last")
    done = builder.compile().invoke(ASKED)
    assert (done["answer"], done["question"]) == (CITES, "last")
    assert pipeline.calls == [1, 1, 2, 0]


def test_each_run_of_a_fan_out_goes_back_on_its_own() -> None:
    class Outer(TypedDict, total=False):
        answers: Annotated[list[str], operator.add]

    pipeline = Pipeline()
    worker = pipeline.builder().compile()
    builder = StateGraph(Outer)
    builder.add_node("work", lambda state: {"answers": [worker.invoke(state)["answer"]]})
    builder.add_conditional_edges(START, lambda state: [Send("work", ASKED) for _ in range(3)])
    assert builder.compile().invoke({})["answers"] == [CITES] * 3
    assert pipeline.calls == [3, 3, 6, 0]


def test_fan_out_into_the_nodes_of_a_step_is_refused_by_the_host_so_that_no_answer_is_ambiguous() -> None:
    builder = Pipeline().builder()
    builder.edges = {edge for edge in builder.edges if edge[0] != START}
    builder.add_conditional_edges(START, lambda state: [Send("extract", ASKED)] * 2, ["extract"])
    with pytest.raises(InvalidUpdateError, match="langroute_extract"):
        builder.compile().invoke(ASKED)


def test_step_of_the_default_binding_may_be_blamed() -> None:
    pipeline = Pipeline()
    binding = pipeline.policy["steps"].pop("extraction")
    pipeline.policy["default"] = binding
    invoked(pipeline)
    assert pipeline.calls == [1, 1, 2, 0]


# Doors and drawings that cannot go back ----------------------------------------------------------------


def test_step_that_blames_one_that_is_not_drawn_yet_is_refused() -> None:
    builder = StateGraph(Typed)
    with pytest.raises(ValueError, match=r"not drawn yet: draw it .*step='extraction'\) before 'synthesize'"):
        add_routed_step(builder, "synthesize", Pipeline().policy, step="synthesis")


def test_step_that_blames_one_that_is_drawn_twice_is_refused() -> None:
    pipeline, builder = Pipeline(), StateGraph(Typed)
    add_routed_step(builder, "one", pipeline.policy, step="extraction")
    add_routed_step(builder, "two", pipeline.policy, step="extraction")
    with pytest.raises(ValueError, match=r"more than once \(one, two\): draw it once"):
        add_routed_step(builder, "synthesize", pipeline.policy, step="synthesis")


def test_step_compiled_on_its_own_stays_and_says_so() -> None:
    pipeline = Pipeline()
    step = routed_step(
        "synthesis", pipeline.policy, state_schema=Typed, prompt="{facts}", output="answer", documents=facts
    )
    with capture_decisions() as decisions:
        step.invoke({"facts": THIN})
    assert pipeline.calls == [0, 0, 1, 1]
    assert "compiled into" in decisions[0].plan.reasons[-1]


def test_chat_model_stays_where_it_is() -> None:
    pipeline = Pipeline()
    model = RoutedChatModel(pipeline.policy).for_step("synthesis", documents=["one"])
    with capture_decisions() as decisions:
        model.invoke("Which ship?")
    assert decisions[0].plan.blame is None
    assert decisions[0].plan.reasons[0].endswith("in a graph it may go back to extraction")
    assert pipeline.calls == [0, 0, 1, 1]


# Resuming ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("extracts", ["messages", "facts"])
def test_run_that_is_stopped_before_every_node_goes_on_as_it_would_have(state: Any, extracts: str) -> None:
    pipeline, saver = Pipeline(), InMemorySaver()
    given: Any = question()
    for _ in range(40):
        graph = pipeline.builder(state, extracts=extracts).compile(checkpointer=saver, interrupt_before="*")
        done = graph.invoke(given, THREAD)
        given = None
        if not graph.get_state(THREAD).next:
            break
    assert value(done, "answer") == CITES
    assert pipeline.calls == [1, 1, 2, 0]
