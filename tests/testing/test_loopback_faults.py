"""What the loopback provider does when it is told to fail, as clients see it."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from langroute.testing import Fault, LoopbackProvider, closed_port

TEXT = "one two three four five six"


@pytest.fixture
def provider():
    with LoopbackProvider({"small": TEXT, "other": "fine"}) as running:
        yield running


def streamed(model):
    """Return the texts that arrived, and the error that ended them, if one did."""
    texts = []
    try:
        for chunk in model.stream("Hi"):
            texts.append(chunk.text)  # noqa: PERF401 (what came before the error counts)
    except Exception as error:
        return "".join(texts), error
    return "".join(texts), None


def test_status_carries_code_message_and_headers(provider):
    fault = Fault("status", status=429, code="insufficient_quota", message="no", headers={"retry-after": "7"})
    provider.fail("small", fault)
    with pytest.raises(openai.RateLimitError) as caught:
        provider.chat_model("small").invoke("Hi")
    assert caught.value.code == "insufficient_quota"
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.body["message"] == "no"


def test_status_with_a_body_sends_it_as_it_stands(provider):
    provider.fail("small", Fault("status", status=502, body="<h1>Bad gateway</h1>"))
    with pytest.raises(openai.InternalServerError) as caught:
        provider.chat_model("small").invoke("Hi")
    assert caught.value.response.text == "<h1>Bad gateway</h1>"


def test_fault_lasts_as_many_calls_as_told_and_the_next_one_follows(provider):
    provider.fail("small", Fault("status", status=500), times=2)
    provider.fail("small", Fault("empty"), times=1)
    model, seen = provider.chat_model("small"), []
    for _ in range(4):
        try:
            seen.append(model.invoke("Hi").text)
        except openai.InternalServerError:
            seen.append("500")
    assert seen == ["500", "500", "", TEXT]


def test_fault_hits_its_model_alone_until_healed(provider):
    provider.fail("small", Fault("status"))
    assert provider.chat_model("other").invoke("Hi").text == "fine"
    with pytest.raises(openai.InternalServerError):
        provider.chat_model("small").invoke("Hi")
    provider.heal("small")
    assert provider.chat_model("small").invoke("Hi").text == TEXT


def test_hang_ends_with_the_clients_timeout(provider):
    provider.fail("small", Fault("hang"))
    with pytest.raises(openai.APITimeoutError):
        provider.chat_model("small", timeout=0.1).invoke("Hi")


def test_delay_is_kept_and_the_reply_still_comes(provider):
    provider.fail("small", Fault(delay_s=1.0))
    with pytest.raises(openai.APITimeoutError):
        provider.chat_model("small", timeout=0.05).invoke("Hi")
    assert provider.chat_model("small", timeout=30).invoke("Hi").text == TEXT


@pytest.mark.parametrize("stream", [False, True])
def test_drop_closes_the_connection_before_any_header(provider, stream):
    provider.fail("small", Fault("drop"))
    model = provider.chat_model("small", streaming=stream)
    with pytest.raises(openai.APIConnectionError):
        model.invoke("Hi")


def test_cut_stream_ends_cleanly_without_finish_reason(provider):
    provider.fail("small", Fault("cut", after_chunks=3))
    chunks = list(provider.chat_model("small").stream("Hi"))
    assert "".join(chunk.text for chunk in chunks) == "one two "
    assert all("finish_reason" not in chunk.response_metadata for chunk in chunks)


def test_reset_stream_delivers_its_chunks_and_then_an_error(provider):
    provider.fail("small", Fault("reset", after_chunks=3))
    text, error = streamed(provider.chat_model("small"))
    assert text == "one two "
    assert isinstance(error, openai.APIConnectionError)


def test_reply_that_is_not_streamed_is_cut_in_the_middle_of_its_json(provider):
    provider.fail("small", Fault("cut"), times=1)
    with pytest.raises(json.JSONDecodeError):
        provider.chat_model("small").invoke("Hi")
    provider.fail("small", Fault("reset"), times=1)
    with pytest.raises(openai.APIConnectionError):
        provider.chat_model("small").invoke("Hi")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["malformed", "html"])
def test_useless_200_raises_at_the_client(provider, kind, stream):
    provider.fail("small", Fault(kind))
    with pytest.raises(ValueError, match=r"Unterminated string|Unexpected response type|No generation"):
        provider.chat_model("small", streaming=stream).invoke("Hi")


def test_stop_is_quick_while_requests_hang():
    provider = LoopbackProvider({"small": TEXT}).start()
    provider.fail("small", Fault("hang"))
    model = provider.chat_model("small")
    with ThreadPoolExecutor(3) as pool:
        hanging = [pool.submit(model.invoke, "Hi") for _ in range(3)]
        while provider.calls("small") < 3 and not any(each.done() for each in hanging):
            pass
        provider.stop()
        assert all(isinstance(each.exception(timeout=20), openai.APIConnectionError) for each in hanging)


def test_stop_leaves_a_brain_that_blocks_behind_and_logs_nothing(caplog):
    entered, released = threading.Event(), threading.Event()

    def block(_body):
        entered.set()
        released.wait()
        return "late"

    provider = LoopbackProvider({"small": block}).start()
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(provider.chat_model("small").invoke, "Hi")
        entered.wait()
        started_s = time.monotonic()
        provider.stop()
        assert time.monotonic() - started_s < 10  # it gives up after a second; the brain would block for ever
        assert isinstance(blocked.exception(timeout=20), openai.APIConnectionError)
        released.set()
    assert caplog.text == ""


def test_unknown_fault_and_unknown_model_are_refused(provider):
    with pytest.raises(ValueError, match=r"no fault 'explode'; there are: bad_gzip, blank"):
        Fault("explode")
    with pytest.raises(KeyError, match=r"no model 'huge' is served here; there are: small, other"):
        provider.fail("huge", Fault("drop"))


def test_closed_port_refuses(provider):
    with pytest.raises(openai.APIConnectionError):
        provider.chat_model("small", base_url=closed_port()).invoke("Hi")
