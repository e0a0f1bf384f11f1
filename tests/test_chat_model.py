"""The chat model as LangChain sees it: its runs, its tools, its settings, and everything made of it."""

import copy
import pickle
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from pydantic import BaseModel
from routed_models import BAD, GOOD, MODES, Runs, calls, down, routed, shown

from langroute import RoutedChatModel
from langroute.request import Request
from langroute.testing import Answer, LoopbackProvider, ScriptedChatModel, capture_decisions

CASCADE = {"verify": ["no_refusal"]}


class Date(BaseModel):
    """A date."""

    year: int


@tool
def lookup(ship: str) -> str:
    """Look up the year in which a ship laid the cable."""
    return f"{ship}: 1866"


def double(number: int) -> int:
    """Double a number."""
    return 2 * number


# Usage and runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_each_paid_attempt_is_counted_once_under_its_real_model(mode: str) -> None:
    counted = UsageMetadataCallbackHandler()
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    small = ScriptedChatModel(name="small", reply=BAD, usage=usage)
    large = ScriptedChatModel(name="large", reply=GOOD, usage=usage)
    model = routed({"small-a": small, "large-a": large}, **CASCADE)
    assert await shown(model, mode, config={"callbacks": [counted]}) == GOOD
    assert {name: used["total_tokens"] for name, used in counted.usage_metadata.items()} == {
        "small": 15,
        "large": 15,
    }


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_attempts_with_a_schema_are_counted_once_each(way: str) -> None:
    counted = UsageMetadataCallbackHandler()
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    small = ScriptedChatModel(name="small", reply="no date", usage=usage)
    large = ScriptedChatModel(name="large", reply={"year": 1866}, usage=usage)
    model = routed({"small-a": small, "large-a": large}).with_structured_output(Date)
    config: Any = {"callbacks": [counted]}
    answer = await model.ainvoke("When?", config) if way == "async" else model.invoke("When?", config)
    assert answer == Date(year=1866)
    assert {name: used["total_tokens"] for name, used in counted.usage_metadata.items()} == {
        "small": 15,
        "large": 15,
    }


@pytest.mark.parametrize("mode", MODES)
async def test_attempts_are_children_of_one_grouping_run(mode: str) -> None:
    runs = Runs()
    await shown(routed({"small-a": BAD, "large-a": GOOD}, **CASCADE), mode, config={"callbacks": [runs]})
    (group,) = runs.chains
    assert runs.parents() == [group["run_id"]] * 2
    assert runs.ended == [group["run_id"]]


@pytest.mark.parametrize("mode", MODES)
async def test_one_possible_call_makes_no_grouping_run(mode: str) -> None:
    runs = Runs()
    await shown(routed({"small-a": GOOD}, **CASCADE), mode, config={"callbacks": [runs], "run_name": "mine"})
    assert runs.chains == []
    assert runs.parents() == [None]
    assert runs.models[0]["name"] == "mine"


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
async def test_call_without_a_config_stands_under_the_run_around_it(mode: str) -> None:
    runs = Runs()
    model = routed({"small-a": BAD, "large-a": GOOD}, **CASCADE)

    async def inside(question: str) -> str:
        return await shown(model, mode, question)

    config: Any = {"callbacks": [runs], "metadata": {"tenant": "t1"}, "tags": ["around"]}
    assert await RunnableLambda(inside).ainvoke("When?", config) == GOOD
    around, group = runs.chains
    assert group["parent_run_id"] == around["run_id"]
    assert runs.parents() == [group["run_id"]] * 2
    assert [run["metadata"]["tenant"] for run in runs.models] == ["t1", "t1"]


def test_grouping_run_fails_with_the_step() -> None:
    runs = Runs()
    with pytest.raises(ExceptionGroup):
        routed({"small-a": down(), "large-a": down()}).invoke("When?", {"callbacks": [runs]})
    assert runs.failed == [runs.chains[0]["run_id"]]


def test_attempts_carry_the_stamp_and_the_callers_metadata() -> None:
    runs = Runs()
    model = routed({"small-a": BAD, "large-a": GOOD}, **CASCADE)
    reply = model.invoke("When?", {"callbacks": [runs], "metadata": {"tenant": "t1"}, "tags": ["mine"]})
    stamps = [run["metadata"] for run in runs.models]
    assert [stamp["langroute_endpoint"] for stamp in stamps] == ["small-a", "large-a"]
    assert [stamp["langroute_tier"] for stamp in stamps] == ["small", "large"]
    assert [stamp["langroute_attempt"] for stamp in stamps] == [0, 1]
    assert [stamp["tenant"] for stamp in stamps] == ["t1", "t1"]
    assert {stamp["langroute_step"] for stamp in stamps} == {"answer"}
    assert {stamp["langroute_call_id"] for stamp in stamps} == {
        reply.response_metadata["langroute"]["call_id"]
    }
    assert all("mine" in run["tags"] for run in runs.models)


def test_attempts_say_why_they_were_made_and_what_they_were_expected_to_cost() -> None:
    runs = Runs()
    model = routed({"small-a": BAD, "large-a": GOOD}, **CASCADE)
    model.invoke("When?", {"callbacks": [runs]})
    stamps = [run["metadata"] for run in runs.models]
    assert [stamp["langroute_why"] for stamp in stamps] == ["start", "escalation"]
    assert {stamp["langroute_policy"] for stamp in stamps} == {model.policy.digest}
    choices = [
        rung.choices[0] for rung in model.router.plan(Request((HumanMessage("When?"),), step="answer")).rungs
    ]
    assert [stamp.get("langroute_expected_usd") for stamp in stamps] == [c.expected_usd for c in choices]
    assert [run["tags"][-3:] for run in runs.models] == [
        ["langroute:step:answer", "langroute:tier:small", "langroute:why:start"],
        ["langroute:step:answer", "langroute:tier:large", "langroute:why:escalation"],
    ]


def test_run_id_and_name_go_to_the_outermost_run() -> None:
    runs, run_id = Runs(), uuid4()
    model = routed({"small-a": BAD, "large-a": GOOD}, **CASCADE)
    model.invoke("When?", {"callbacks": [runs], "run_id": run_id, "run_name": "mine"})
    assert (runs.chains[0]["run_id"], runs.chains[0]["name"]) == (run_id, "mine")
    assert run_id not in [run["run_id"] for run in runs.models]


def test_callbacks_tags_and_metadata_of_the_model_itself_reach_its_runs() -> None:
    runs = Runs()
    model = routed({"small-a": GOOD}).model_copy(
        update={"callbacks": [runs], "tags": ["own"], "metadata": {"k": "v"}}
    )
    model.invoke("When?", {"tags": ["called"]})
    assert {"own", "called"} <= set(runs.models[0]["tags"])
    assert runs.models[0]["metadata"]["k"] == "v"


# Tools ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
async def test_tools_are_replayed_on_every_endpoint(mode: str) -> None:
    bad, good = Answer(tool_calls=(("lookup", {"boat": 1}),)), Answer(tool_calls=(("lookup", {"ship": "x"}),))
    model = routed({"small-a": bad, "large-a": good}, verify=["tool_calls"])
    await shown(model.bind_tools([lookup, double]), mode)
    for endpoint in model.router.endpoints.by_name.values():
        bound = endpoint.model.calls[0].kwargs["tools"]
        assert [each["function"]["name"] for each in bound] == ["lookup", "double"]
        assert "langroute_binding" not in endpoint.model.calls[0].kwargs


def test_each_endpoint_gets_the_tools_unconverted() -> None:
    seen: list[Any] = []

    class Provider(ScriptedChatModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            seen.extend(tools)
            return super().bind_tools(tools, **kwargs)

    model = routed({"small-a": Provider(name="p", reply=GOOD)})
    bound = model.bind_tools([lookup, double])
    bound.invoke("When?")
    bound.invoke("When?")
    assert seen == [lookup, double], "bound once per endpoint, as the caller gave them"


def test_tool_choice_and_other_arguments_reach_the_endpoint() -> None:
    model = routed({"small-a": GOOD})
    bound = model.bind_tools([lookup], tool_choice="any", parallel_tool_calls=False)
    assert bound.kwargs["tool_choice"] == "any"
    bound.invoke("When?", temperature=0.5, stop=["\n"])
    kwargs = model.router.endpoints.by_name["small-a"].model.calls[0].kwargs
    assert {key: kwargs[key] for key in ("tool_choice", "parallel_tool_calls", "temperature", "stop")} == {
        "tool_choice": "any",
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "stop": ["\n"],
    }


def test_tool_choice_given_to_the_call_wins() -> None:
    model = routed({"small-a": GOOD})
    model.bind_tools([lookup], tool_choice="any").invoke("When?", tool_choice="none")
    assert model.router.endpoints.by_name["small-a"].model.calls[0].kwargs["tool_choice"] == "none"


def test_binding_shows_tools_as_openai_writes_them() -> None:
    bound = routed({"small-a": GOOD}).bind_tools([lookup, {"type": "web_search"}])
    assert [each["type"] for each in bound.kwargs["tools"]] == ["function", "web_search"]


def test_for_step_after_bind_tools_keeps_the_tools() -> None:
    model = routed({"small-a": GOOD})
    bound = model.bind_tools([lookup]).for_step("other")
    record = bound.invoke("When?").response_metadata["langroute"]
    assert record["step"] == "other"
    assert model.router.endpoints.by_name["small-a"].model.calls[0].kwargs["tools"]


def test_tools_passed_raw_to_the_call_are_seen_and_passed_on() -> None:
    spec = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
    small = ScriptedChatModel(name="small", reply=GOOD)
    steps = {"planning": {"cascade": ["small"]}}
    model = RoutedChatModel({"tiers": {"small": [small]}, "steps": steps})
    reply = model.invoke("When?", tools=[spec])
    assert reply.response_metadata["langroute"]["step"] == "planning"
    assert small.calls[0].kwargs["tools"] == [spec]


def test_endpoint_given_with_bound_arguments_keeps_them_under_tools() -> None:
    small = ScriptedChatModel(name="small", reply=GOOD)
    model = RoutedChatModel({"tiers": {"small": [small.bind(temperature=0.2)]}})
    model.invoke("When?")
    model.bind_tools([lookup]).invoke("When?")
    assert [call.kwargs["temperature"] for call in small.calls] == [0.2, 0.2]


# What the host reads of a model --------------------------------------------------------------------------


def test_profile_is_what_every_endpoint_can_do() -> None:
    small = ScriptedChatModel(
        name="s", reply=GOOD, profile={"max_input_tokens": 100, "tool_calling": True, "name": "s"}
    )
    large = ScriptedChatModel(
        name="l", reply=GOOD, profile={"max_input_tokens": 900, "tool_calling": False, "name": "l"}
    )
    model = routed({"small-a": small, "large-a": large})
    assert model.profile == {"max_input_tokens": 100, "tool_calling": False}


def test_profile_is_unknown_where_one_endpoints_is() -> None:
    known = ScriptedChatModel(name="s", reply=GOOD, profile={"max_input_tokens": 100})
    assert routed({"small-a": known, "large-a": GOOD}).profile is None


def test_token_counts_and_names_are_the_first_rungs() -> None:
    class Counting(ScriptedChatModel):
        def get_token_ids(self, text: str) -> list[int]:
            return [7] * len(text)

    small, large = Counting(name="tiny", reply=GOOD), ScriptedChatModel(name="big", reply=GOOD)
    model = routed({"small-a": small, "large-a": large})
    assert model.get_token_ids("abc") == [7, 7, 7]
    assert model.get_num_tokens("abcd") == 4
    assert model.get_num_tokens_from_messages([HumanMessage("abc")]) == small.get_num_tokens_from_messages(
        [HumanMessage("abc")]
    )
    assert model._get_ls_params()["ls_model_name"] == "tiny"
    assert model._identifying_params["step"] == "answer"
    assert model._llm_type == "langroute"


def test_token_counter_of_ones_own_is_used() -> None:
    tiers = {"small": [ScriptedChatModel(name="s", reply=GOOD)]}
    model = RoutedChatModel({"tiers": tiers}, custom_get_token_ids=lambda text: [1, 2])
    assert model.get_token_ids("abc") == [1, 2]
    assert model.get_num_tokens("abc") == 2


def test_names_follow_the_step() -> None:
    tiers = {name: [ScriptedChatModel(name=name, reply=GOOD)] for name in ("small", "large")}
    model = RoutedChatModel(
        {"tiers": tiers, "steps": {"hard": {"cascade": ["large"]}, "easy": {"cascade": ["small"]}}}
    )
    assert model._get_ls_params()["ls_model_name"] == "large"
    assert model.for_step("easy")._get_ls_params()["ls_model_name"] == "small"


# Settings set on the routed model ------------------------------------------------------------------------


def loopback_model(provider: LoopbackProvider, **settings: Any) -> RoutedChatModel:
    tiers = {"small": [provider.chat_model("small")]}
    return RoutedChatModel({"tiers": tiers}, **settings)


def test_output_version_holds_for_the_endpoints() -> None:
    with LoopbackProvider({"small": GOOD}) as provider:
        reply = loopback_model(provider, output_version="v1").invoke("When?")
    assert reply.content[0]["type"] == "text"


def test_disable_streaming_holds_for_the_endpoints() -> None:
    with LoopbackProvider({"small": GOOD}) as provider:
        chunks = list(loopback_model(provider, disable_streaming=True).stream("When?"))
        assert [request.stream for request in provider.requests] == [False]
    assert chunks[0].text == GOOD
    assert chunks[-1].response_metadata["langroute"]["tier"] == "small"


def test_rate_limiter_of_the_routed_model_lets_every_attempt_through() -> None:
    class Counting(BaseRateLimiter):
        taken = 0

        def acquire(self, *, blocking: bool = True) -> bool:
            self.taken += 1
            return True

        async def aacquire(self, *, blocking: bool = True) -> bool:
            return self.acquire()

    limiter = Counting()
    tiers = {
        "small": [ScriptedChatModel(name="s", reply=BAD)],
        "large": [ScriptedChatModel(name="l", reply=GOOD)],
    }
    policy = {"tiers": tiers, "default": {"cascade": ["small", "large"], **CASCADE}}
    RoutedChatModel(policy, rate_limiter=limiter).invoke("When?")
    assert limiter.taken == 2


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "batch"])  # the host's streams never look into a cache
async def test_cache_hit_is_free_says_so_and_is_a_message_of_its_own(mode: str) -> None:
    model = routed({"small-a": [GOOD]}).model_copy(update={"cache": InMemoryCache()})
    first = model.invoke("When?")
    with capture_decisions() as decisions:
        assert await shown(model, mode) == GOOD
    (attempt,) = decisions[0].attempts
    assert (attempt.cost_usd, attempt.cost_basis) == (0.0, "cached")
    assert calls(model) == {"small-a": 1}
    assert model.invoke("When?").id != first.id


def test_two_endpoints_never_share_a_cached_answer() -> None:
    cache = InMemoryCache()
    model = routed({"small-a": BAD, "large-a": GOOD}, **CASCADE).model_copy(update={"cache": cache})
    assert model.invoke("When?").text == GOOD
    assert model.invoke("When?").text == GOOD
    assert calls(model) == {"small-a": 1, "large-a": 1}


def test_unknown_constructor_arguments_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="ignores temperature, top_k"):
        RoutedChatModel({"tiers": {"small": [ScriptedChatModel(reply=GOOD)]}}, temperature=0, top_k=3)


# Copies --------------------------------------------------------------------------------------------------


def test_copies_share_the_router_and_nothing_of_a_call() -> None:
    model = routed({"small-a": GOOD})
    for other in (copy.copy(model), model.model_copy(), model.for_step("answer")):
        assert other.router is model.router
        assert other.invoke("When?").text == GOOD


def test_pickling_and_deep_copies_fail_or_work_as_those_of_chat_openai() -> None:
    with LoopbackProvider({"small": GOOD}) as provider:
        bare, model = provider.chat_model("small"), loopback_model(provider)
        for duplicate in (pickle.dumps, copy.deepcopy):
            assert outcome(duplicate, bare) == outcome(duplicate, model)


def outcome(operation: Any, value: Any) -> type:
    try:
        operation(value)
    except Exception as error:
        return type(error)
    return type(None)


def test_dump_never_holds_the_policy() -> None:
    model = routed({"small-a": GOOD})
    assert "policy" not in model.model_dump()
    assert "tiers" not in repr(model)


# Steps ---------------------------------------------------------------------------------------------------


def test_for_step_gives_documents_to_the_verifiers() -> None:
    model = routed({"small-a": "1866 [log]"}, verify=["citations"], on_exhausted="raise")
    assert (
        model.for_step("answer", documents=[{"id": "log", "text": "Laid in 1866."}]).invoke("When?").text
        == "1866 [log]"
    )
    with pytest.raises(ExceptionGroup):
        model.for_step("answer", documents=[{"id": "other", "text": "Laid in 1866."}]).invoke("When?")


def test_step_said_in_the_metadata_binds_the_call() -> None:
    tiers = {name: [ScriptedChatModel(name=name, reply=name)] for name in ("small", "large")}
    model = RoutedChatModel({"tiers": tiers, "steps": {"easy": {"cascade": ["small"]}}})
    assert model.invoke("When?", {"metadata": {"langroute_step": "easy"}}).text == "small"
    assert model.invoke("When?").text == "large"


def test_reply_says_how_it_came_about() -> None:
    record = (
        routed({"small-a": BAD, "large-a": GOOD}, **CASCADE).invoke("When?").response_metadata["langroute"]
    )
    assert {key: record[key] for key in ("step", "tier", "endpoint", "outcome", "chosen")} == {
        "step": "answer",
        "tier": "large",
        "endpoint": "large-a",
        "outcome": "accepted",
        "chosen": 1,
    }
    assert record["attempts"][0]["verdicts"][0]["accepted"] is False
    assert record["cost_usd"] == pytest.approx(sum(attempt["cost_usd"] for attempt in record["attempts"]))
