"""Failures are told apart by real errors: the OpenAI client's, the transports', LangChain's, Python's own."""

import asyncio
import concurrent.futures
import json
import time
from types import SimpleNamespace

import httpx
import httpx2
import pytest
from langchain_core import exceptions as core
from langgraph.errors import GraphBubbleUp, GraphInterrupt, ParentCommand
from langgraph.types import Command

from langroute.errors import EndpointError, NoEndpointAvailable
from langroute.failures import KINDS, charged, classify, is_control_flow
from langroute.testing import Fault, LoopbackProvider, closed_port


@pytest.fixture(scope="module")
def provider():
    with LoopbackProvider({"m": "Hello there, this is a reply of a few words."}) as running:
        yield running


def failure_of(provider, fault, *, stream=False, **settings):
    """Make one real call that goes wrong, and return what it is classified as."""
    provider.heal("m")
    provider.fail("m", fault)
    model = provider.chat_model("m", **settings)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - what is raised is the question
        list(model.stream("hi")) if stream else model.invoke("hi")
    return classify(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, None, "invalid_request"),
        (400, "context_length_exceeded", "context_overflow"),
        (400, "content_filter", "content_filter"),
        (401, "invalid_api_key", "auth"),
        (402, None, "quota"),
        (403, None, "permission"),
        (404, "model_not_found", "not_found"),
        (408, None, "timeout"),
        (409, None, "server"),
        (413, None, "context_overflow"),
        (422, None, "invalid_request"),
        (429, "rate_limit_exceeded", "rate_limit"),
        (429, "insufficient_quota", "quota"),
        (500, None, "server"),
        (502, None, "server"),
        (503, None, "overloaded"),
        (504, None, "timeout"),
        (529, None, "overloaded"),
    ],
)
def test_a_status_of_the_real_client_is_told_by_its_number_and_code(provider, status, code, kind):
    failure = failure_of(provider, Fault("status", status=status, code=code))

    assert failure.kind == kind


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "This model's maximum context length is 4096 tokens, you asked for 5000", "context_overflow"),
        (400, "prompt is too long: 210000 tokens > 200000 maximum", "context_overflow"),
        (400, "the request exceeds the available context size", "context_overflow"),
        (400, "max_tokens is too large: 100000. This model supports at most 16384", "invalid_request"),
        (400, "Your credit balance is too low to access the API", "quota"),
        (400, "API key not valid. Please pass a valid API key.", "auth"),
        (400, "The model `llama3` has been decommissioned", "not_found"),
        (429, "You exceeded your current quota, please check your plan", "quota"),
        (429, "You exceeded your current quota. Please retry in 12s", "rate_limit"),
        (401, "billing is not active", "auth"),
    ],
)
def test_the_text_refines_what_a_status_leaves_open(provider, status, message, kind):
    failure = failure_of(provider, Fault("status", status=status, message=message))

    assert failure.kind == kind


@pytest.mark.parametrize(
    ("fault", "stream", "kind"),
    [
        (Fault("drop"), False, "cut_stream"),
        (Fault("reset", after_chunks=2), True, "cut_stream"),
        (Fault("html"), False, "bad_response"),
        (Fault("html"), True, "bad_response"),
        (Fault("malformed"), False, "bad_response"),
    ],
)
def test_a_broken_reply_of_the_real_client_is_told_from_a_refused_connection(provider, fault, stream, kind):
    assert failure_of(provider, fault, stream=stream).kind == kind


def test_a_provider_that_hangs_is_a_timeout(provider):
    assert failure_of(provider, Fault("hang"), timeout=0.05).kind == "timeout"


def test_a_closed_port_is_a_connection_and_the_message_says_why(provider):
    model = provider.chat_model("m", base_url=closed_port())
    with pytest.raises(core.ModelConnectionError) as caught:
        model.invoke("hi")

    failure = classify(caught.value)

    assert failure.kind == "connection"
    assert "refused" in failure.message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (core.ContextOverflowError("x"), "context_overflow"),
        (core.ModelAPIError("x"), "server"),
        (core.ModelAuthenticationError("x"), "auth"),
        (core.ModelConnectionError("x"), "connection"),
        (core.ModelInvalidRequestError("x"), "invalid_request"),
        (core.ModelNotFoundError("x"), "not_found"),
        (core.ModelPermissionDeniedError("x"), "permission"),
        (core.ModelRateLimitError("x"), "rate_limit"),
        (core.ModelTimeoutError("x"), "timeout"),
        (core.OutputParserException("x"), "bad_response"),
    ],
)
def test_langchains_own_errors_are_told_by_their_type(error, kind):
    assert classify(error).kind == kind


@pytest.mark.parametrize("http", [httpx, httpx2])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ConnectError", "connection"),
        ("ConnectTimeout", "connection"),
        ("PoolTimeout", "connection"),
        ("ReadTimeout", "timeout"),
        ("WriteTimeout", "timeout"),
        ("ReadError", "cut_stream"),
        ("RemoteProtocolError", "cut_stream"),
        ("DecodingError", "bad_response"),
    ],
)
def test_a_transports_errors_are_told_by_the_name_of_their_class(http, name, kind):
    assert classify(getattr(http, name)("x")).kind == kind


@pytest.mark.parametrize("http", [httpx, httpx2])
def test_a_transports_status_error_is_told_by_its_response(http):
    response = http.Response(429, request=http.Request("POST", "http://127.0.0.1/"))

    assert (
        classify(http.HTTPStatusError("x", request=response.request, response=response)).kind == "rate_limit"
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), "timeout"),
        (ConnectionRefusedError(), "connection"),
        (ConnectionResetError(), "cut_stream"),
        (BrokenPipeError(), "cut_stream"),
        (json.JSONDecodeError("x", "{", 0), "bad_response"),
        (concurrent.futures.TimeoutError(), "timeout"),
        (ZeroDivisionError("x"), "unknown"),
        (RuntimeError("upstream: too many requests"), "rate_limit"),
        (RuntimeError("the engine is overloaded"), "overloaded"),
        (ValueError("request timed out"), "timeout"),
    ],
)
def test_pythons_own_errors_are_told_by_class_and_then_by_text(error, kind):
    assert classify(error).kind == kind


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ThrottlingException", 429, "rate_limit"),
        ("ModelTimeoutException", 408, "timeout"),
        ("AccessDeniedException", 403, "permission"),
        ("ValidationException", 400, "invalid_request"),
        ("ServiceUnavailableException", 503, "overloaded"),
    ],
)
def test_an_aws_error_is_told_by_its_response(code, status, kind):
    class ClientError(Exception):
        response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}  # noqa: RUF012 - as botocore has it

    assert classify(ClientError("x")).kind == kind


def test_an_error_in_a_nested_body_is_told_by_its_type():
    error = RuntimeError("stream error")
    error.body = {"type": "error", "error": {"type": "overloaded_error"}}

    assert classify(error).kind == "overloaded"


def test_a_response_that_is_no_http_response_is_no_obstacle():
    error = RuntimeError("x")
    error.response, error.code, error.status, error.body = SimpleNamespace(), object(), "odd", [1]

    assert classify(error).kind == "unknown"


def test_a_refusal_is_told_by_its_name():
    assert classify(type("OpenAIRefusalError", (Exception,), {})("I cannot help")).kind == "refusal"


@pytest.mark.parametrize(
    "error",
    [
        GraphInterrupt(()),
        GraphBubbleUp(),
        ParentCommand(Command()),
        asyncio.CancelledError(),
        concurrent.futures.CancelledError(),
        KeyboardInterrupt(),
        SystemExit(),
        GeneratorExit(),
    ],
)
def test_what_steers_the_host_is_never_a_failure(error):
    assert is_control_flow(error)
    assert classify(error) is None


@pytest.mark.parametrize("error", [NoEndpointAvailable("x"), EndpointError("x")])
def test_our_own_errors_are_raised_untouched_but_steer_nothing(error):
    assert classify(error) is None
    assert not is_control_flow(error)


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (Fault("status", status=400), "stop"),
        (Fault("status", status=400, code="context_length_exceeded"), "larger_context"),
        (Fault("status", status=400, code="content_filter"), "next_endpoint"),
        (Fault("status", status=401), "next_endpoint"),
        (Fault("status", status=500), "next_endpoint"),
    ],
)
def test_the_remedy_follows_the_kind(provider, fault, remedy):
    assert failure_of(provider, fault).remedy == remedy


def test_a_client_of_a_closed_event_loop_is_the_programs_fault():
    error = core.ModelConnectionError("Connection error.")
    error.__cause__ = RuntimeError("Event loop is closed")

    failure = classify(error)

    assert (failure.kind, failure.remedy) == ("unknown", "stop")
    assert "Event loop is closed" in failure.message


def test_the_error_of_an_earlier_attempt_does_not_colour_the_next():
    error = core.ModelConnectionError("refused")
    error.__context__ = ConnectionResetError()

    assert classify(error).kind == "connection"


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_costs_nothing_only_where_the_provider_did_no_work(kind):
    unknown = {"bad_response", "content_filter", "cut_stream", "refusal", "server", "timeout", "unknown"}

    assert charged(kind) == (None if kind in unknown else 0.0)


def test_the_message_is_one_short_line():
    failure = classify(RuntimeError("<html>\n" + "long " * 10_000))

    assert len(failure.message) <= 300
    assert "\n" not in failure.message
    assert failure.message.startswith("RuntimeError: <html> long")


@pytest.mark.parametrize("unit", ["x", "-a", "://a:b", "api_key-", "context ", "eyJ", "a1", "Bearer "])
def test_a_hostile_text_is_read_in_no_time(unit):
    error = RuntimeError(unit * 1_000_000)
    best_s = float("inf")
    for _ in range(3):
        started_s = time.thread_time()
        classify(error)
        best_s = min(best_s, time.thread_time() - started_s)

    assert best_s < 0.5


def test_the_message_of_a_real_client_holds_no_key(provider):
    said = "Incorrect API key provided: sk-proj-abcDEF0123456789abcDEF"

    failure = failure_of(provider, Fault("status", status=401, message=said))

    assert "Incorrect API key provided" in failure.message
    assert "abcDEF" not in failure.message


def test_an_error_that_cannot_be_printed_is_classified_all_the_same():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    assert classify(Mute()).message == "Mute"
