"""An error is read wherever its package keeps what it says: causes, groups, bodies as text, class names."""

import asyncio
import http.client
import json
import ssl
import urllib.error
from types import SimpleNamespace

import httpx
import pytest
from langchain_core import exceptions as core
from langgraph.errors import GraphInterrupt
from raising import shape, shaped

from langroute.errors import AbandonedCalls
from langroute.failures import classify, is_control_flow

OVERFLOW = {"error": {"code": "context_length_exceeded", "message": "too big"}}


def kind_of(error):
    return classify(error).kind


def caused(error, *causes):
    """Return `error` with a chain of causes below it."""
    for effect, cause in zip((error, *causes), causes, strict=False):
        effect.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (caused(ValueError("failed"), httpx.ReadTimeout("x")), "timeout"),
        (caused(RuntimeError("x"), ValueError("y"), shaped("E", status_code=429)), "rate_limit"),
        (caused(core.ModelInvalidRequestError("x"), shaped("E", body=OVERFLOW)), "context_overflow"),
        (caused(core.ModelConnectionError("x"), httpx.ReadError("y")), "cut_stream"),
        (caused(core.ModelTimeoutError("x"), httpx.ConnectTimeout("y")), "connection"),
        (caused(core.ModelRateLimitError("x"), RuntimeError("insufficient balance")), "quota"),
        (ExceptionGroup("g", [ValueError("x"), httpx.ReadTimeout("y")]), "timeout"),
        (ExceptionGroup("g", [ExceptionGroup("h", [shaped("E", status_code=503)])]), "overloaded"),
        (caused(ValueError("x"), ExceptionGroup("g", [ConnectionResetError()])), "cut_stream"),
    ],
)
def test_what_an_error_does_not_say_its_causes_do(error, kind):
    assert kind_of(error) == kind


def test_an_object_inside_a_text_is_read_whole():
    text = 'the gateway said {"status": 429, "error": {"message": "slow"}} and closed'

    assert kind_of(RuntimeError(text)) == "rate_limit"


def raise_it(error):
    raise error


def raised_while_handling(first, second, *, suppress=False):
    try:
        try:
            raise_it(first)
        except Exception:
            if suppress:
                raise second from None
            raise_it(second)
    except Exception as error:
        return error


def test_an_error_that_says_nothing_is_told_by_the_one_that_was_being_handled():
    told = raised_while_handling(httpx.ReadTimeout("x"), RuntimeError("the model failed"))

    assert kind_of(told) == "timeout"
    limited = raised_while_handling(core.ModelRateLimitError("x"), RuntimeError("the model failed"))
    assert kind_of(limited) == "rate_limit"
    assert kind_of(raised_while_handling(ValueError("x"), RuntimeError("the model failed"))) == "unknown"


def test_an_error_whose_context_was_suppressed_is_not():
    error = raised_while_handling(httpx.ReadTimeout("x"), RuntimeError("the model failed"), suppress=True)

    assert kind_of(error) == "unknown"


def test_an_error_that_the_caller_was_handling_before_the_call_does_not_colour_it():
    def call():
        try:
            raise_it(RuntimeError("the model failed"))
        except RuntimeError as error:
            return error

    try:
        raise_it(httpx.ConnectError("the first endpoint"))
    except httpx.ConnectError:
        error = call()

    assert isinstance(error.__context__, httpx.ConnectError)
    assert kind_of(error) == "unknown"


@pytest.mark.parametrize(
    "error",
    [
        AbandonedCalls("too many late calls"),
        caused(shaped("E", body=OVERFLOW), AbandonedCalls("x")),
    ],
)
def test_what_langroute_found_wrong_itself_comes_first(error):
    assert kind_of(error) == "overloaded"


@pytest.mark.parametrize("error", [GraphInterrupt(()), asyncio.CancelledError(), KeyboardInterrupt()])
def test_a_group_that_holds_what_steers_the_host_is_raised_untouched(error):
    group = BaseExceptionGroup("g", [ValueError("x"), BaseExceptionGroup("h", [error])])

    assert is_control_flow(group)
    assert classify(group) is None


def test_a_wide_group_without_any_is_a_failure():
    group = ExceptionGroup("g", [TimeoutError() for _ in range(500)])

    assert not is_control_flow(group)
    assert kind_of(group) == "timeout"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (shaped("APIError", body=json.dumps(OVERFLOW)), "context_overflow"),
        (shaped("APIError", body=json.dumps([OVERFLOW])), "context_overflow"),
        (shaped("SDKError", raw=1, status_code=400, body='{"message": "Invalid model: m"}'), "not_found"),
        (shaped("HTTPError", response=httpx.Response(400, json=OVERFLOW)), "context_overflow"),
        (shaped("HTTPError", response=httpx.Response(400, text="{not json")), "invalid_request"),
        (ValueError({"message": "x", "code": 429}), "rate_limit"),
        (ValueError(shaped("ResponseError", code="server_error", message="x")), "server"),
        (ValueError(OVERFLOW, "and more"), "context_overflow"),
        (RuntimeError(f"Error: {json.dumps(OVERFLOW)}"), "context_overflow"),
        (shaped("E", body={"__type": "com.amazon.coral.service#ThrottlingException"}), "rate_limit"),
        (shaped("E", body={"error": {"code": "503"}}), "overloaded"),
        (shaped("E", body={"error": {"code": "1503"}}), "unknown"),
        (shaped("E", body={"message": json.dumps(OVERFLOW)}), "context_overflow"),
        (shaped("E", body={"message": "x.BadRequestError: YException - {no json"}), "invalid_request"),
        (shaped("E", body=b'{"error": {"code": "insufficient_quota"}}'), "quota"),
        (shaped("E", body={"errors": [{}] * 100 + [OVERFLOW]}), "unknown"),
    ],
)
def test_a_body_is_read_in_whatever_shape_it_comes(error, kind):
    assert kind_of(error) == kind


def test_a_response_that_was_not_read_is_not_waited_for():
    def slow():
        raise AssertionError("the body was asked for")
        yield b""

    response = httpx.Response(429, content=slow())

    assert kind_of(shaped("E", response=response)) == "rate_limit"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NoCredentialsError", "auth"),
        ("EndpointConnectionError", "connection"),
        ("ReadTimeoutError", "timeout"),
        ("ConnectionClosedError", "cut_stream"),
        ("ResponseStreamingError", "cut_stream"),
        ("ClientPayloadError", "cut_stream"),
        ("ServerDisconnectedError", "cut_stream"),
        ("ResourceExhausted", "rate_limit"),
        ("DeadlineExceeded", "timeout"),
        ("RateLimitError", "rate_limit"),
        ("ContextWindowExceededError", "context_overflow"),
        ("StopCandidateException", "content_filter"),
        ("ValidationError", "bad_response"),
    ],
)
def test_an_error_with_nothing_but_its_class_is_told_by_that(name, kind):
    assert kind_of(shaped(name, text="x")) == kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ssl.SSLCertVerificationError("x"), "connection"),
        (urllib.error.URLError("x"), "connection"),
        (urllib.error.HTTPError("http://127.0.0.1/", 529, "x", {"retry-after": "2"}, None), "overloaded"),
        (http.client.IncompleteRead(b""), "cut_stream"),
        (http.client.RemoteDisconnected("x"), "cut_stream"),
        (httpx.LocalProtocolError("Illegal header value b'Bearer '"), "auth"),
        (httpx.UnsupportedProtocol("x"), "connection"),
        (httpx.TooManyRedirects("x"), "bad_response"),
        (shaped("ClientResponseError", status=429, message="Too Many Requests"), "rate_limit"),
    ],
)
def test_a_transports_own_errors_are_told(error, kind):
    assert kind_of(error) == kind


def test_a_grpc_error_is_told_by_the_name_of_its_status():
    class AioRpcError(Exception):
        def code(self):
            return SimpleNamespace(name="RESOURCE_EXHAUSTED")

        def details(self):
            return "Your team has used all available credits"

    assert kind_of(AioRpcError()) == "quota"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("An error occurred (ThrottlingException) when calling the Converse operation: x", "rate_limit"),
        ("An error occurred (ExpiredTokenException) when calling the Converse operation: x", "auth"),
        ("An error occurred (NoSuchThing) when calling the Converse operation: x", "unknown"),
        ("litellm.RateLimitError: x", "rate_limit"),
        ("NoSuchError: x", "unknown"),
        ("Error code: 404", "not_found"),
        ("HTTP 503", "overloaded"),
        ("429 Too Many Requests", "rate_limit"),
        ("gave up after 429 tokens", "unknown"),
        (f"{'x' * 300} Error code: 404", "unknown"),
        ("Error code: 400 - {'message': 'prompt is too long: 9 tokens > 8 maximum'}", "context_overflow"),
    ],
)
def test_text_alone_is_told_by_how_it_begins(text, kind):
    assert kind_of(RuntimeError(text)) == kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (core.ModelRateLimitError("Error code: 500"), "rate_limit"),
        (type("E", (core.ModelInvalidRequestError,), {"status_code": 402})("x"), "quota"),
        (type("E", (core.ModelAPIError,), {"status_code": 503})("x"), "overloaded"),
        (type("E", (core.ModelAPIError,), {})("x"), "server"),
        (shaped("TimeoutError", status_code=400), "invalid_request"),
        (shaped("E", status_code=421), "server"),
        (shaped("E", status_code=423), "overloaded"),
        (shaped("E", status_code=426), "server"),
        (shaped("E", status_code=409, type="invalid_request_error"), "server"),
        (shaped("E", type="invalid_request_error"), "invalid_request"),
    ],
)
def test_of_type_code_status_and_class_the_more_precise_comes_first(error, kind):
    assert kind_of(error) == kind


SECRETS = ["sk-proj-abcDEF0123456789abcDEF", "hunter2hunter2", "AKIAIOSFODNN7EXAMPLE"]
LEAKS = [
    f"Incorrect API key provided: {SECRETS[0]}.",
    f"Illegal header value b'Bearer {SECRETS[0]}'",
    f"proxy http://user:{SECRETS[1]}@127.0.0.1:8080 refused",
    f"Authorization: Bearer {SECRETS[0]} rejected; key={SECRETS[1]}",
    f"{'word ' * 190}the key {SECRETS[2]} {'word ' * 50}",
]


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("where", ["text", "body", "cause"])
def test_the_message_of_a_failure_holds_no_secret(leak, where):
    error = RuntimeError(leak if where == "text" else "x")
    if where == "body":
        error.status_code, error.body = 401, {"error": {"message": leak}}
    if where == "cause":
        error.__cause__ = ValueError(leak)

    told = repr(classify(error))

    assert [secret for secret in SECRETS if secret[:12] in told] == []


def test_the_message_tells_the_providers_sentence_and_not_the_wrapping():
    error = shaped("BadRequestError", text="Error code: 400", body={"error": {"message": "No such tool."}})

    assert classify(error).message == "BadRequestError: No such tool."


def test_a_class_without_any_text_is_told_by_its_name():
    assert classify(shape("Odd")()).message == "Odd"
