"""What LangChain and LangGraph make of a chat model: chains, batches, retries, events, agents."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField
from langchain_core.runnables.config import ContextThreadPoolExecutor
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel
from routed_models import BAD, GOOD, Runs, down, routed

from langroute import RoutedChatModel
from langroute.testing import Answer, ScriptedChatModel

CASCADE = {"verify": ["no_refusal"]}


class Date(BaseModel):
    """A date."""

    year: int


@tool
def lookup(ship: str) -> str:
    """Look up the year in which a ship laid the cable."""
    return f"{ship}: 1866"


async def test_generate_and_its_kin_give_the_routed_reply() -> None:
    model = routed({"small-a": BAD, "large-a": GOOD}, **CASCADE)
    prompt = ChatPromptTemplate.from_template("{q}").invoke({"q": "When?"})
    results = [
        model.generate([[HumanMessage("When?")], [HumanMessage("Where?")]]),
        await model.agenerate([[HumanMessage("When?")], [HumanMessage("Where?")]]),
        model.generate_prompt([prompt, prompt]),
        await model.agenerate_prompt([prompt, prompt]),
    ]
    for result in results:
        assert [generations[0].text for generations in result.generations] == [GOOD, GOOD]
        assert result.generations[0][0].message.response_metadata["langroute"]["tier"] == "large"


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_run_id_of_several_conversations_is_the_firsts(way: str) -> None:
    runs, run_id, model = Runs(), uuid4(), routed({"small-a": GOOD})
    both = [[HumanMessage("When?")], [HumanMessage("Where?")]]
    if way == "async":
        await model.agenerate(both, callbacks=[runs], run_id=run_id)
    else:
        model.generate(both, callbacks=[runs], run_id=run_id)
    assert [run["run_id"] == run_id for run in runs.models] == [True, False]


def test_step_can_be_made_configurable() -> None:
    field = ConfigurableField(id="step")
    model = routed({"small-a": GOOD}).configurable_fields(step=field)
    record = model.invoke("When?", {"configurable": {"step": "other"}}).response_metadata["langroute"]
    assert record["step"] == "other"


async def test_batches_keep_their_order() -> None:
    model = routed({"small-a": GOOD})
    assert [reply.text for reply in model.batch(["a", "b"])] == [GOOD, GOOD]
    assert [reply.text for reply in await model.abatch(["a", "b"])] == [GOOD, GOOD]
    assert {index for index, _ in model.batch_as_completed(["a", "b", "c"])} == {0, 1, 2}
    assert {index async for index, _ in model.abatch_as_completed(["a", "b"])} == {0, 1}


def test_batch_returns_exceptions_where_asked() -> None:
    (error,) = routed({"small-a": down()}).batch(["a"], return_exceptions=True)
    assert isinstance(error, ExceptionGroup)


async def test_with_retry_with_fallbacks_and_with_config_wrap_it() -> None:
    retried = routed({"small-a": [down(), GOOD]}).with_retry(
        stop_after_attempt=2, wait_exponential_jitter=False
    )
    assert retried.invoke("When?").text == GOOD
    helped = routed({"small-a": down()}).with_fallbacks([ScriptedChatModel(reply="helped")])
    assert (await helped.ainvoke("When?")).text == "helped"
    runs = Runs()
    configured = routed({"small-a": GOOD}).with_config(tags=["t"], callbacks=[runs])
    assert "".join(chunk.text for chunk in configured.stream("When?")) == GOOD
    assert "t" in runs.models[0]["tags"]


def test_bind_passes_arguments_on() -> None:
    model = routed({"small-a": GOOD})
    model.bind(stop=["1866"]).invoke("When?")
    assert model.router.endpoints.by_name["small-a"].model.calls[0].kwargs["stop"] == ["1866"]


async def test_in_a_chain_it_streams() -> None:
    chain = ChatPromptTemplate.from_template("{q}") | routed({"small-a": GOOD}) | StrOutputParser()
    assert chain.invoke({"q": "When?"}) == GOOD
    assert len(list(chain.stream({"q": "When?"}))) > 3
    assert "".join([piece async for piece in chain.astream({"q": "When?"})]) == GOOD


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_astream_events_tell_of_the_real_model(version: str) -> None:
    model = routed({"small-a": GOOD})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        events = [event async for event in model.astream_events("When?", version=version)]
    streamed = [event for event in events if event["event"] == "on_chat_model_stream"]
    assert "".join(event["data"]["chunk"].text for event in streamed) == GOOD
    if version == "v2":
        assert {event["metadata"]["langroute_endpoint"] for event in streamed} == {"small-a"}


async def test_astream_log_gives_the_reply() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patches = [patch async for patch in routed({"small-a": GOOD}).astream_log("When?")]
    log = patches[0]
    for patch in patches[1:]:
        log += patch
    assert log.state["final_output"].text == GOOD


def test_generate_hook_of_the_host_routes_too() -> None:
    result = routed({"small-a": BAD, "large-a": GOOD}, **CASCADE)._generate([HumanMessage("When?")])
    assert result.generations[0].text == GOOD


# Agents --------------------------------------------------------------------------------------------------

AGENT_POLICY = {"planning": {"cascade": ["small"]}, "tool_use": {"cascade": ["large"]}}


def agent_model() -> tuple[RoutedChatModel, ScriptedChatModel, ScriptedChatModel]:
    small = ScriptedChatModel(name="small", reply=Answer(tool_calls=(("lookup", {"ship": "Eastern"}),)))
    large = ScriptedChatModel(name="large", reply=GOOD)
    return (
        RoutedChatModel({"tiers": {"small": [small], "large": [large]}, "steps": AGENT_POLICY}),
        small,
        large,
    )


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_create_agent_routes_each_turn_as_its_own_step(way: str) -> None:
    model, small, large = agent_model()
    agent = create_agent(model, tools=[lookup])
    asked: Any = {"messages": [HumanMessage("When?")]}
    state = await agent.ainvoke(asked) if way == "async" else agent.invoke(asked)
    replies = [message for message in state["messages"] if isinstance(message, AIMessage)]
    assert [reply.response_metadata["langroute"]["step"] for reply in replies] == ["planning", "tool_use"]
    assert [message.text for message in state["messages"] if isinstance(message, ToolMessage)] == [
        "Eastern: 1866"
    ]
    assert (len(small.calls), len(large.calls)) == (1, 1)


def test_create_agent_with_response_format_gives_the_object() -> None:
    small = ScriptedChatModel(name="small", replies=[Answer(tool_calls=(("Date", {"year": 1866}),))])
    model = RoutedChatModel({"tiers": {"small": [small]}})
    state = create_agent(model, tools=[lookup], response_format=Date).invoke(
        {"messages": [HumanMessage("When?")]}
    )
    assert state["structured_response"] == Date(year=1866)


@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
def test_create_react_agent_works_with_tools_and_response_format() -> None:
    from langgraph.prebuilt import create_react_agent

    call = Answer(tool_calls=(("lookup", {"ship": "Eastern"}),))
    small = ScriptedChatModel(name="small", replies=[call, GOOD, {"year": 1866}])
    model = RoutedChatModel({"tiers": {"small": [small]}})
    agent = create_react_agent(model, tools=[lookup], response_format=Date)
    state = agent.invoke({"messages": [HumanMessage("When?")]})
    assert state["structured_response"] == Date(year=1866)


@pytest.mark.parametrize(
    ("executor", "source"), [(ContextThreadPoolExecutor, "declared"), (ThreadPoolExecutor, "default")]
)
def test_threads_of_a_node_know_it_where_they_are_given_its_context(executor: Any, source: str) -> None:
    policy = {
        "tiers": {"small": [ScriptedChatModel(name="small", reply=GOOD)]},
        "steps": {"dating": {"cascade": ["small"], "nodes": ["dating"]}},
    }
    model = RoutedChatModel(policy)

    def node(state: MessagesState) -> Any:
        with executor(1) as pool:
            return {"messages": list(pool.map(model.invoke, ["When?"]))}

    graph = StateGraph(MessagesState).add_node("dating", node).add_edge(START, "dating").compile()
    reply = graph.invoke({"messages": []})["messages"][-1]
    assert reply.response_metadata["langroute"]["step_source"] == source
