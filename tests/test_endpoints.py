"""What an endpoint is: its model, what it can do, how much it holds, what it costs, where it runs."""

import sys
import threading

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableBinding, RunnableLambda
from langchain_openai import ChatOpenAI

from langroute.cost import Usage
from langroute.endpoints import Endpoint, Endpoints
from langroute.errors import EndpointError
from langroute.policy import ModelSpec, Policy
from langroute.request import Request
from langroute.testing import LoopbackProvider, ScriptedChatModel

KEYS = ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE", "AZURE_OPENAI_API_KEY")
STATED = {"input": 2.0, "output": 10.0, "cache_read": 0.5, "cache_write": 4.0}


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test")


def endpoint(model="openai:gpt-5-nano", **spec):
    return Endpoint(ModelSpec(model=model, **spec), "small")


def request(text="hi", **kwargs):
    return Request((HumanMessage(text),), **kwargs)


def reply(input_tokens=1_000, output_tokens=100, details=None, reasoning=0, **extra):
    usage = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    usage["total_tokens"] = input_tokens + output_tokens
    usage["input_token_details"] = details or {}
    usage["output_token_details"] = {"reasoning": reasoning}
    return AIMessage("ok", usage_metadata=usage | extra)


@pytest.mark.usefixtures("key")
def test_a_string_becomes_a_model_that_does_not_retry_and_tells_its_usage():
    settings = {"base_url": "http://127.0.0.1:1/v1", "temperature": 0}

    model = endpoint("openai:small", timeout_s=7.0, settings=settings).model

    assert isinstance(model, ChatOpenAI)
    assert (model.max_retries, model.request_timeout, model.stream_usage) == (0, 7.0, True)
    assert (model.model_name, model.temperature) == ("small", 0)


@pytest.mark.usefixtures("key")
def test_settings_have_the_last_word():
    model = endpoint(settings={"max_retries": 2, "stream_usage": False}).model

    assert (model.max_retries, model.stream_usage) == (2, False)


def test_another_providers_string_gets_the_same_limits(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "test")
    settings = {"azure_endpoint": "http://127.0.0.1:1", "api_version": "2024-10-21"}

    model = endpoint("azure_openai:gpt-5", settings=settings, timeout_s=3.0).model

    assert (type(model).__name__, model.max_retries, model.request_timeout) == ("AzureChatOpenAI", 0, 3.0)


@pytest.mark.usefixtures("key")
def test_many_threads_get_one_model():
    subject, models = endpoint(), []
    threads = [threading.Thread(target=lambda: models.append(subject.model)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(models) == 8
    assert len({id(model) for model in models}) == 1


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("openai:gpt-5", "endpoint openai:gpt-5: no key: set the environment variable OPENAI_API_KEY"),
        ("azure_openai:gpt-5", "set the environment variable AZURE_OPENAI_API_KEY"),
        ("anthropic:claude-haiku-4-5", "pip install langchain-anthropic"),
        ("nosuch:model", "endpoint nosuch:model: the model cannot be built"),
    ],
)
def test_a_model_that_cannot_be_built_says_what_it_lacks(model, said):
    settings = {"azure_endpoint": "http://127.0.0.1:1", "api_version": "1"} if "azure" in model else {}

    with pytest.raises(EndpointError) as caught:
        _ = endpoint(model, settings=settings).model

    assert said in str(caught.value)


def test_a_blank_key_is_no_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "  \n")

    with pytest.raises(EndpointError, match="no key: the environment variable OPENAI_API_KEY is blank"):
        _ = endpoint("openai:gpt-5").model


def test_without_langchain_other_providers_name_the_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "langchain", None)

    with pytest.raises(EndpointError, match=r"langroute\[agents\]"):
        _ = endpoint("anthropic:claude-haiku-4-5").model


@pytest.mark.usefixtures("key")
def test_settings_that_do_not_fit_are_told_with_the_endpoint():
    with pytest.raises(EndpointError, match=r"endpoint openai:m: the model cannot be built: .*temperature"):
        _ = endpoint("openai:m", settings={"temperature": "warm"}).model


def test_connecting_tells_of_every_model_that_cannot_be_built():
    policy = Policy(tiers={"small": {"models": ["openai:a", "anthropic:b"]}}, default={"cascade": ["small"]})

    with pytest.raises(EndpointError, match=r"(?s)openai:a: no key.*anthropic:b: .*pip install"):
        Endpoints(policy).connect()


def test_a_model_used_twice_has_two_names():
    tiers = {
        "small": {"models": ["openai:m", {"model": "openai:m", "boundary": "local"}]},
        "large": {"models": ["openai:m"]},
    }
    endpoints = Endpoints(Policy(tiers=tiers, default={"cascade": ["small"]}))

    assert list(endpoints.by_name) == ["openai:m", "openai:m#2", "openai:m#3"]
    assert [e.name for e in endpoints.tier("large")] == ["openai:m#3"]
    assert [e.name for e in endpoints.allowed("small", {"local"})] == ["openai:m#2"]
    assert len(endpoints.allowed("small", None)) == 2


def test_a_given_model_is_named_by_its_provider_and_model():
    given = endpoint(ScriptedChatModel(name="tiny", reply="hi"))

    assert (given.name, given.provider, given.model_name) == ("langroute:tiny", "langroute", "tiny")
    assert endpoint(ScriptedChatModel(reply="hi"), name="mine").name == "mine"


def test_what_was_bound_to_a_given_model_is_kept():
    model = ScriptedChatModel(reply="hi")
    inner = model.bind(seed=1, top_p=0.5).with_config(tags=["mine"], metadata={"a": 1})

    subject = endpoint(RunnableBinding(bound=inner, kwargs={"seed": 2}, config={"tags": ["outer"]}))

    assert subject.model is model
    assert subject.bound_kwargs == {"seed": 2, "top_p": 0.5}
    assert set(subject.bound_config["tags"]) == {"mine", "outer"}
    assert subject.bound_config["metadata"] == {"a": 1}


def test_a_runnable_that_is_no_chat_model_is_refused():
    with pytest.raises(EndpointError, match="RunnableLambda is no chat model"):
        endpoint(RunnableLambda(str))


def test_a_given_client_that_retries_by_itself_is_warned_of():
    with pytest.warns(UserWarning, match=r"endpoint openai:m: the client retries by itself .*max_retries=0"):
        endpoint(ChatOpenAI(model="m", api_key="test"))


def test_the_representation_holds_no_settings():
    assert "hunter22" not in repr(endpoint(settings={"default_headers": {"x-secret": "hunter22"}}))


def test_the_profile_of_an_openai_string_is_known_without_a_key():
    subject = endpoint("openai:gpt-5")

    assert subject.capabilities["tools"]
    assert subject.context_tokens > 100_000


def test_the_profile_of_a_model_that_cannot_be_built_is_unknown():
    subject = endpoint("anthropic:claude-haiku-4-5")

    assert subject.capabilities == {}
    assert subject.context_tokens is None
    assert subject.lacks(request(tools=("any",))) is None


@pytest.mark.parametrize(
    ("capabilities", "asked", "reason"),
    [
        ({"tools": False}, request(tools=({"name": "f"},)), "cannot call tools"),
        ({"tools": False, "structured_output": False}, request(schema=dict), "can give no structured output"),
        ({"tools": True, "structured_output": False}, request(schema=dict), None),
        ({"tools": False}, request(schema=dict), None),
        (
            {"images": False},
            request([{"type": "image_url", "image_url": {"url": "x"}}]),
            "cannot read images",
        ),
        ({"audio": False}, request([{"type": "input_audio"}]), "cannot read audio"),
        (
            {"files": False, "images": False},
            request([{"type": "image"}, {"type": "file"}]),
            "cannot read files and images",
        ),
        ({"images": False}, request([{"type": "text", "text": "a picture"}]), None),
        ({"images": False}, request("a picture"), None),
    ],
)
def test_a_request_is_held_against_what_the_model_can_do(capabilities, asked, reason):
    subject = endpoint(ScriptedChatModel(reply="hi"), name="e", capabilities=capabilities)

    assert subject.lacks(asked) == (reason and f"e {reason}")


def test_the_policy_overrides_the_profile():
    model = ScriptedChatModel(reply="hi", profile={"tool_calling": False, "max_input_tokens": 100})

    assert endpoint(model).lacks(request(tools=({"name": "f"},)))
    assert not endpoint(model, capabilities={"tools": True}).lacks(request(tools=({"name": "f"},)))
    assert (endpoint(model).context_tokens, endpoint(model, context_tokens=500).context_tokens) == (100, 500)


def test_a_window_must_hold_the_prompt_and_the_reply():
    subject = endpoint(ScriptedChatModel(reply="hi"), name="e", context_tokens=1_000)
    asked = request("word " * 400)  # some 500 tokens

    assert subject.too_small(asked, 1_000 - asked.estimated_tokens) is None
    assert subject.too_small(asked, 600) == "e holds 1,000 tokens and the call needs about 1,103"


def test_an_unknown_window_holds_anything():
    assert endpoint(ScriptedChatModel(reply="hi")).too_small(request("x" * 10_000_000), 500) is None


def test_the_stated_price_is_taken_with_cache_reads_and_writes():
    subject = endpoint(price=STATED)
    details = {"cache_read": 400, "cache_creation": 100}

    usage, cost_usd, basis = subject.cost_of(reply(1_000, 100, details, reasoning=60))

    assert usage == Usage(1_000, 100, 400, 100, 60)
    assert cost_usd == pytest.approx((500 * 2.0 + 400 * 0.5 + 100 * 4.0 + 100 * 10.0) / 1e6)
    assert basis == "priced"


def test_the_price_list_is_used_where_the_policy_states_none():
    subject = endpoint("openai:gpt-5-nano-2025-08-07")

    _, cost_usd, basis = subject.cost_of(reply(1_000, 100))

    assert cost_usd == pytest.approx(subject.expected_usd(1_000, 100))
    assert cost_usd > 0
    assert basis == "priced"


def test_cache_writes_under_their_lifetimes_are_counted():
    usage, cost_usd, _ = endpoint(price=STATED).cost_of(reply(1_000, 0, {"ephemeral_5m_input_tokens": 200}))

    assert usage.cache_write_tokens == 200
    assert cost_usd == pytest.approx((800 * 2.0 + 200 * 4.0) / 1e6)


@pytest.mark.parametrize("details", [{"audio": 10}, {"ephemeral_1h_input_tokens": 10}])
def test_tokens_that_the_list_price_does_not_cover_leave_the_cost_unknown(details):
    _, cost_usd, basis = endpoint("anthropic:claude-haiku-4-5").cost_of(reply(details=details))

    assert (cost_usd, basis) == (None, "unknown")


@pytest.mark.parametrize(
    "subject",
    [
        endpoint("openai:no-such-model"),
        endpoint("openai:gpt-5", settings={"base_url": "http://127.0.0.1:11434/v1"}),
        endpoint("ollama:gpt-oss"),
        endpoint(ScriptedChatModel(reply="hi")),
    ],
    ids=lambda subject: subject.name,
)
def test_an_unknown_price_is_none_and_never_zero(subject):
    assert subject.price() is None
    assert subject.expected_usd(1_000, 100) is None
    assert subject.cost_of(reply())[1:] == (None, "unknown")


def test_an_address_in_the_environment_is_not_openais(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")

    assert endpoint("openai:gpt-5").price() is None


def test_an_address_that_the_price_list_knows_has_its_providers_price():
    subject = endpoint("openai:openai/gpt-5", settings={"base_url": "https://openrouter.ai/api/v1"})

    assert subject.price() is not None


@pytest.mark.parametrize("message", [AIMessage("ok"), reply(0, 0)])
def test_a_reply_without_usage_is_unknown(message):
    assert endpoint(price=STATED).cost_of(message) == (None, None, "unknown")


def test_a_reply_out_of_langchains_cache_cost_nothing():
    model = ScriptedChatModel(replies=["hi"], cache=InMemoryCache())
    subject = endpoint(model, price=STATED)

    paid, free = (subject.cost_of(model.invoke("hello")) for _ in range(2))

    assert paid[1] > 0
    assert free == (paid[0], 0.0, "cached")


def test_cached_tokens_make_a_call_cheaper():
    subject = endpoint(price=STATED)

    assert subject.expected_usd(1_000, 100, 800) == pytest.approx(
        subject.expected_usd(1_000, 100) - 800 * 1.5e-6
    )


def test_a_real_reply_of_an_endpoint_is_priced(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    with LoopbackProvider({"m": "Hello there."}) as provider:
        subject = endpoint("openai:m", settings={"base_url": provider.base_url}, price=STATED)
        streamed = None
        for chunk in subject.model.stream("hi"):
            streamed = chunk if streamed is None else streamed + chunk

    usage, cost_usd, _ = subject.cost_of(streamed)

    assert usage.output_tokens > 0
    assert cost_usd == pytest.approx((usage.input_tokens * 2.0 + usage.output_tokens * 10.0) / 1e6)
