"""The provider as an object: its life, its key, what it records, windows, the prompt cache, scripts."""

import gc
import json
import socket
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urlsplit

import openai
import pytest

from langroute.testing import Answer, LoopbackProvider

pytest_plugins = ["langroute.testing.fixtures"]


def client(provider, key="any"):
    return openai.OpenAI(base_url=provider.base_url, api_key=key, max_retries=0)


def ask(provider, model, *texts, **settings):
    messages = [{"role": "user", "content": text} for text in texts]
    with client(provider) as api:
        return api.chat.completions.create(model=model, messages=messages, **settings)


def test_models_are_listed_and_other_paths_are_404(loopback_provider):
    provider = loopback_provider({"small": "a", "large": "b"})
    with client(provider) as api:
        assert [model.id for model in api.models.list()] == ["small", "large"]
        with pytest.raises(openai.NotFoundError, match=r"Invalid URL \(POST /v1/embeddings\)"):
            api.embeddings.create(model="small", input="text")


def test_unknown_model_is_404_with_openais_code(loopback_provider):
    with pytest.raises(openai.NotFoundError) as caught:
        ask(loopback_provider({"small": "a"}), "huge", "Hi")
    assert caught.value.code == "model_not_found"


def test_wrong_key_is_401_and_the_own_model_has_the_right_one(loopback_provider):
    provider = loopback_provider({"small": "a"}, api_key="right")
    with client(provider, "wrong") as api, pytest.raises(openai.AuthenticationError) as caught:
        api.models.list()
    assert caught.value.code == "invalid_api_key"
    assert provider.chat_model("small").invoke("Hi").text == "a"


def test_every_request_is_recorded_without_its_key(loopback_provider):
    provider = loopback_provider({"small": "a"}, api_key="secret-key")
    provider.chat_model("small").invoke("Hi")
    list(provider.chat_model("small").stream("Hi"))
    with pytest.raises(openai.AuthenticationError):
        ask(provider, "small", "Hi")
    assert [request.stream for request in provider.requests] == [False, True, False]
    assert {request.path for request in provider.requests} == {"/v1/chat/completions"}
    assert provider.requests[0].body["messages"] == [{"role": "user", "content": "Hi"}]
    assert "secret-key" not in str(provider.requests)
    assert (provider.calls("small"), provider.calls("large")) == (3, 0)


def test_script_gives_its_answers_in_turn_and_then_says_that_it_ended(loopback_provider):
    model = loopback_provider({"small": ["one", Answer("two")]}).chat_model("small")
    assert [model.invoke("Hi").text, model.invoke("Hi").text] == ["one", "two"]
    with pytest.raises(
        openai.InternalServerError, match=r"the script of 'small' has 2 answers and all were given"
    ):
        model.invoke("Hi")


def test_broken_brain_is_a_500_with_its_error(loopback_provider):
    provider = loopback_provider({"small": lambda body: Answer(body["nothing"])})
    with pytest.raises(openai.InternalServerError, match=r"brain of 'small' failed: KeyError: 'nothing'"):
        provider.chat_model("small").invoke("Hi")


def test_prompt_beyond_the_window_is_context_length_exceeded(loopback_provider):
    provider = loopback_provider({"small": "a" * 400, "large": "a" * 400}, windows={"small": 100})
    with pytest.raises(openai.BadRequestError, match=r"maximum context length is 100 tokens") as caught:
        ask(provider, "small", "word " * 100)
    assert caught.value.code == "context_length_exceeded"
    assert ask(provider, "large", "word " * 100).choices[0].finish_reason == "stop"


def test_reply_ends_where_the_window_does(loopback_provider):
    provider = loopback_provider({"small": "a" * 400}, windows={"small": 50})
    reply = ask(provider, "small", "Hi")
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.total_tokens == 50


def test_cached_tokens_are_the_blocks_of_the_shared_prefix(loopback_provider):
    provider = loopback_provider({"small": "a", "large": "b"})
    document, question = "x" * 2000, "y" * 300

    def cached(model, *texts):
        return ask(provider, model, *texts).usage.prompt_tokens_details.cached_tokens

    assert cached("small", document) == 0
    assert cached("small", document, question) == 448  # 7 blocks of 64 in the 501 tokens of the document
    assert cached("small", document, question) == 576  # 9 blocks in the 577 tokens of both
    assert cached("small", question, document) == 0
    assert cached("large", document) == 0


def test_reasoning_tokens_are_billed_as_output(loopback_provider):
    usage = ask(loopback_provider({"small": Answer("four", reasoning_tokens=30)}), "small", "Hi").usage
    assert (usage.completion_tokens, usage.completion_tokens_details.reasoning_tokens) == (31, 30)


def test_parallel_calls_keep_their_answers_apart(loopback_provider):
    provider = loopback_provider({"echo": lambda body: Answer(body["messages"][-1]["content"])})
    model = provider.chat_model("echo")
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda number: model.invoke(f"number {number}").text, range(32)))
    assert replies == [f"number {number}" for number in range(32)]
    assert provider.calls("echo") == 32


async def test_events_are_clean_server_sent_events(loopback_provider):
    provider = loopback_provider({"small": "Hello"})
    async with openai.AsyncOpenAI(base_url=provider.base_url, api_key="any") as api:
        asked = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        reply = await api.chat.completions.with_raw_response.create(**asked)
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line async for line in reply.http_response.aiter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    first, last = json.loads(lines[0][6:]), json.loads(lines[-2][6:])
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert last["choices"][0]["finish_reason"] == "stop"


def test_provider_can_be_started_again_and_says_when_it_is_not_running():
    provider = LoopbackProvider({"small": "a"})
    with pytest.raises(RuntimeError, match=r"not running; call start\(\)"):
        _ = provider.base_url
    for _ in range(2):
        with provider:
            assert provider.start().chat_model("small").invoke("Hi").text == "a"
    provider.stop()
    assert provider.calls("small") == 2


@pytest.mark.parametrize("said", [5, None, {"text": "Hi"}])
def test_brain_that_says_no_answer_is_a_500_that_says_so(loopback_provider, said):
    provider = loopback_provider({"small": lambda _body: said})
    with pytest.raises(openai.InternalServerError, match=r"answers with an Answer or a text, not with"):
        provider.chat_model("small").invoke("Hi")


def test_lone_surrogates_and_line_separators_survive_both_modes(loopback_provider):
    text = "a\u2028b\x85c\ud800d 👩‍💻"
    model = loopback_provider({"small": text}).chat_model("small")
    assert model.invoke("Hi").text == text
    assert "".join(chunk.text for chunk in model.stream("Hi")) == text


def test_probability_is_checked_where_it_is_written():
    with pytest.raises(ValueError, match=r"probability is 0\.0; a token's probability is in \(0, 1\]"):
        Answer("Hi", probability=0.0)


def test_window_of_a_model_that_is_not_served_is_refused():
    with pytest.raises(ValueError, match=r"windows names big, which models does not"):
        LoopbackProvider({"small": "a"}, windows={"big": 10})


def _connect_until(ended, port):
    while not ended.is_set():
        with socket.socket() as client, suppress(OSError):
            client.connect(("127.0.0.1", port))


def test_stop_closes_what_connects_at_that_moment(monkeypatch):
    left_open = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: left_open.append(str(told.exc_value)))
    for _ in range(5):
        with LoopbackProvider({"small": "a"}) as provider, ThreadPoolExecutor(2) as pool:
            port, ended = urlsplit(provider.base_url).port, threading.Event()
            for _ in range(2):
                pool.submit(_connect_until, ended, port)
            time.sleep(0.02)  # the clients are at it
            provider.stop()
            ended.set()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        gc.collect()
    assert left_open == []


def test_missing_extra_is_told_with_the_line_that_installs_it():
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from langroute.testing import LoopbackProvider\n"
        "LoopbackProvider({'small': 'a'}).start()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stderr.splitlines()[-1].endswith("pip install 'langroute[testing]'")
