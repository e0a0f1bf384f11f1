"""What decides between the answers that an error gives, and what its message and its wait are made of."""

import httpx
import pytest
from langchain_core import exceptions as core
from raising import shape, shaped

from langroute.errors import AbandonedCalls, CallFault
from langroute.failures import classify

NOW_S = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


def kind_of(error):
    return classify(error).kind


def message_of(error):
    return classify(error).message


def caused(error, *causes):
    below = error
    for cause in causes:
        below.__cause__ = cause
        below = cause
    return error


# Messages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("No."), "RuntimeError: No."),
        (RuntimeError(), "RuntimeError"),
        (caused(RuntimeError("x" * 20), ValueError("why")), f"RuntimeError: {'x' * 20} (ValueError: why)"),
        (caused(RuntimeError("x" * 21), ValueError("why")), f"RuntimeError: {'x' * 21}"),
        (caused(RuntimeError("x"), ValueError("x")), "RuntimeError: x"),
        (caused(RuntimeError("x"), ValueError("x"), KeyError(7)), "RuntimeError: x (KeyError: 7)"),
        (caused(RuntimeError("x"), KeyError(7), KeyError(8)), "RuntimeError: x (KeyError: 7)"),
        (caused(RuntimeError(), ValueError("why")), "RuntimeError (ValueError: why)"),
        (RuntimeError("two\n  lines\there"), "RuntimeError: two lines here"),
        (RuntimeError("bell \x07 rings"), "RuntimeError: bell \ufffd rings"),
        (shaped("E", text="Error", body={"message": "No."}), "E: No."),
    ],
)
def test_a_message_is_one_line_of_class_and_sentence_with_the_cause_of_a_terse_one(error, message):
    assert message_of(error) == message


def test_a_message_of_three_hundred_characters_is_whole_and_a_longer_one_ends_in_an_ellipsis():
    class_and_colon = len("RuntimeError: ")
    assert message_of(RuntimeError("x" * (300 - class_and_colon))).endswith("x")
    longer = message_of(RuntimeError("x" * (301 - class_and_colon)))
    assert (len(longer), longer[-2:]) == (300, "x…")


def test_of_a_long_text_the_words_that_are_read_whole_are_told():
    secret = "sk-proj-" + "a1" * 20  # taken out, it leaves a line short enough to see where it ends
    words = f"{secret} " * 19 + "y" * 60
    assert message_of(shaped("E", body={"message": words, "msg": "z" * 60})).endswith("y" * 60)
    exact = f"{words} {'z' * 5}"
    assert len(f"E: {exact}") == 1_000
    assert message_of(shaped("E", body={"message": exact})).endswith("y zzzzz")
    assert message_of(shaped("E", body={"message": words, "msg": "z" * 6})).endswith("y" * 60)


def test_a_broken_event_loop_is_the_programs_fault_however_it_is_said():
    for said in (
        "Event loop is closed",
        "got Future attached to a different loop",
        "<Queue> is bound to a different event loop",
    ):
        failure = classify(RuntimeError(said))
        assert (failure.kind, failure.remedy, failure.message) == ("unknown", "stop", f"RuntimeError: {said}")
    assert classify(ValueError("Event loop is closed")).remedy == "next_endpoint"
    assert classify(RuntimeError("closed")).remedy == "next_endpoint"
    below = caused(core.ModelConnectionError("x"), ValueError("y"), RuntimeError("Event loop is closed"))
    assert classify(below).remedy == "stop"


# Kinds ---------------------------------------------------------------------------------------------------


def test_what_langroute_found_wrong_first_is_what_is_told():
    first, second = AbandonedCalls("x"), shaped("Other", CallFault, text="y", kind="bad_response")
    assert kind_of(caused(RuntimeError("x"), first, second)) == "overloaded"
    assert kind_of(caused(RuntimeError("x"), second, first)) == "bad_response"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        # A plain code of any error in the chain comes before types and statuses, a refusal's name likewise.
        (caused(shaped("E", status_code=429), shaped("F", code="insufficient_quota")), "quota"),
        (caused(core.ModelAPIError("x"), shaped("ContentRefusalError")), "refusal"),
        (caused(shaped("RefusalError"), shaped("F", code="insufficient_quota")), "refusal"),
        (shaped("RefusalError", code="insufficient_quota"), "quota"),
        (shaped("E", code="other", type="insufficient_quota"), "quota"),
        (shaped("E", code="api_key_invalid", type="insufficient_quota"), "auth"),
        # Of errors that say nothing for certain the outermost tells.
        (caused(shaped("E", status_code=429), shaped("F", status_code=401)), "rate_limit"),
        (caused(RuntimeError("x"), shaped("F", status_code=401)), "auth"),
        # Precise before vague; of the precise type, code, status; of the vague type, status, code, class.
        (type("E", (core.ModelTimeoutError,), {"status_code": 429, "code": "forbidden"})("x"), "timeout"),
        (shaped("E", status_code=429, code="forbidden"), "permission"),
        (shaped("E", status_code=500, code="forbidden"), "permission"),
        (shaped("E", status_code=429, code="server_error"), "rate_limit"),
        (shaped("E", code="server_error", type="forbidden"), "permission"),
        (shaped("E", code="forbidden", type="timeout"), "permission"),
        (shaped("E", code="server_error", type="bad_request"), "server"),
        (type("E", (core.ModelAPIError,), {"status_code": 400, "code": "bad_request"})("x"), "server"),
        (shaped("E", status_code=500, code="bad_request"), "server"),
        (shaped("E", status_code=499), "server"),
        (shaped("E", status_code=418), "invalid_request"),
        (shaped("E", status_code=431), "invalid_request"),
        (shaped("E", status_code=444), "server"),
        (shaped("E", status_code=494), "server"),
        (shaped("E", status_code=500), "server"),
        (shaped("E", status_code=599), "server"),
        (shaped("TimeoutError", code="server_error"), "server"),
        (shaped("Own", shape("TimeoutError")), "timeout"),
        (shaped("RateLimitError", shape("TimeoutError")), "rate_limit"),
    ],
)
def test_of_many_answers_one_comes_first(error, kind):
    assert kind_of(error) == kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (caused(core.ModelTimeoutError("x"), httpx.ConnectTimeout("y")), "connection"),
        (caused(core.ModelTimeoutError("x"), httpx.ReadError("y")), "timeout"),
        (caused(core.ModelConnectionError("x"), httpx.ReadError("y")), "cut_stream"),
        (caused(core.ModelConnectionError("x"), httpx.ConnectTimeout("y")), "connection"),
        (caused(core.ModelRateLimitError("x"), httpx.ConnectError("y")), "rate_limit"),
        (caused(core.ModelRateLimitError("x"), httpx.ReadError("y")), "rate_limit"),
        (caused(core.ModelConnectionError("x"), ValueError("peer closed")), "cut_stream"),
    ],
)
def test_causes_tell_a_provider_that_was_never_reached_from_one_that_went_away(error, kind):
    assert kind_of(error) == kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (shaped("E", text="no quota exceeded here", status_code=401), "auth"),
        (shaped("E", text="insufficient quota", status_code=400), "quota"),
        (shaped("E", text="Insufficient QUOTA", status_code=400), "quota"),
        (shaped("E", text="see https://x.test/insufficient_quota", status_code=400), "invalid_request"),
        (shaped("E", text="see http://x.test/insufficient_quota !", status_code=400), "invalid_request"),
        (shaped("E", text="insufficient 1234567 https://x.test quota", status_code=400), "quota"),
        (shaped("E", body={"message": "insufficient 1234567 'x' quota"}, status_code=400), "quota"),
        # What a provider quotes may be the caller's; what only a text quotes may be the provider's.
        (shaped("E", status_code=400, body={"message": "bad 'insufficient quota'"}), "invalid_request"),
        (shaped("E", status_code=400, body={"message": 'bad "insufficient quota"'}), "invalid_request"),
        (shaped("E", status_code=400, body={"message": "bad `insufficient quota`"}), "invalid_request"),
        (shaped("E", status_code=400, body={"message": "don't, insufficient quota, don't"}), "quota"),
        (shaped("E", status_code=400, text="bad 'insufficient quota'"), "quota"),
        (caused(shaped("E", text="x", status_code=400), ValueError("insufficient quota")), "quota"),
        (
            caused(shaped("E", text="api key not valid", status_code=400), ValueError("no quota exceeded")),
            "auth",
        ),
        # Two kinds in one sentence: the first of the table that the status leaves open.
        (shaped("E", status_code=400, text="overloaded, or insufficient quota"), "quota"),
        (shaped("E", status_code=429, text="the model is overloaded"), "overloaded"),
        (shaped("E", status_code=429, text="the connection was reset"), "rate_limit"),
    ],
)
def test_sentences_refine_a_kind_within_what_it_leaves_open(error, kind):
    assert kind_of(error) == kind


GONE = "You exceeded your current quota"


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (429, GONE, "quota"),
        (429, f"{GONE}: 5 requests per minute", "rate_limit"),
        (429, f"{GONE}: RequestsPerMinute", "rate_limit"),
        (429, f"{GONE}. Please retry in 12s", "rate_limit"),
        (429, f"{GONE}. Try again after 3 s", "rate_limit"),
        (429, f"{GONE}. Please retry in 12s. limit: 0", "quota"),
        (429, f"{GONE}. Please retry in 12s. limit: 0.5", "rate_limit"),
        (429, f"{GONE}. Please retry in 12s. GenerateRequestsPerDayPerProject", "quota"),
        (429, f"{GONE}. Please 'retry in 12s'", "rate_limit"),
        (None, f"{GONE}. Please retry in 12s", "rate_limit"),
        (400, f"{GONE}. Please retry in 12s", "quota"),
        (503, f"{GONE}. Please retry in 12s", "overloaded"),
    ],
)
def test_a_quota_that_comes_back_within_the_minute_is_a_limit_of_the_rate(status, said, kind):
    known = {} if status is None else {"status_code": status}
    assert kind_of(shaped("E", text="x", body={"message": said}, **known)) == kind


# Text alone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("An error occurred (ThrottlingException) when calling X: timed out", "rate_limit"),
        ("An error occurred (ExpiredTokenException) when calling X: timed out", "auth"),
        ("An error occurred (NoSuchThing) when calling X: timed out", "timeout"),
        ("So an error occurred (ExpiredTokenException)", "unknown"),
        ("litellm.RateLimitError: timed out", "rate_limit"),
        ("litellm.RateLimitError: insufficient quota", "quota"),
        ("openai.a.b.APITimeoutError: x", "timeout"),
        ("httpx.PoolTimeout: timed out", "connection"),
        ("Timeout: x", "timeout"),
        ("NoSuchError: the engine is overloaded", "overloaded"),
        ("Error code: 404 - timed out", "not_found"),
        ("Error code: 400 - insufficient quota", "quota"),
        ("HTTP 503", "overloaded"),
        ("http status 503", "overloaded"),
        ("response: 401", "auth"),
        ("503", "overloaded"),
        ("503,000 tokens", "unknown"),
        ("the server said 429 Too Many", "rate_limit"),
        ("got 404 NOT_FOUND", "not_found"),
        ("got 404 tokens", "unknown"),
        ("a" * 189 + " error: 404", "not_found"),
        ("a" * 190 + " error: 404", "unknown"),
        ("anything else", "unknown"),
    ],
)
def test_text_alone_is_told_by_code_class_status_and_words_in_this_order(text, kind):
    assert kind_of(RuntimeError(text)) == kind


def test_the_text_of_a_cause_tells_where_the_error_itself_says_nothing():
    assert kind_of(caused(RuntimeError("x"), ValueError("Error code: 404"))) == "not_found"
    assert kind_of(caused(RuntimeError("timed out"), ValueError("Error code: 404"))) == "timeout"


# Waits ---------------------------------------------------------------------------------------------------


def wait_of(*errors):
    return classify(caused(*errors), now_s=NOW_S).retry_after_s


def limited(status=429, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return shaped("E", text="x", status_code=status, headers=named)


@pytest.mark.parametrize(
    ("errors", "wait_s"),
    [
        ((limited(retry_after="3", x_ratelimit_reset="7", retrydelay="9s"),), 3.0),
        ((limited(x_ratelimit_reset="7", retrydelay="9s"),), 7.0),
        ((limited(retrydelay="9s"),), 9.0),
        ((limited(503, retry_after="3"),), 3.0),
        ((limited(503, x_ratelimit_reset="7", retrydelay="9s"),), None),
        ((limited(retry_after="0", retrydelay="9s"),), 0.0),
        ((limited(), limited(retry_after="4")), 4.0),
        ((limited(retry_after="3"), limited(retry_after="4")), 3.0),
        ((limited(retry_after="Fri, 15 Jan 2027 08:00:30 GMT"),), 30.0),
        ((limited(x_ratelimit_reset="1800000005"),), 5.0),
        ((limited(retrydelay="Fri, 15 Jan 2027 08:00:30 GMT"),), 30.0),
    ],
)
def test_the_wait_is_the_first_that_is_stated_by_the_outermost_error(errors, wait_s):
    assert wait_of(*errors) == pytest.approx(wait_s)


def test_a_body_that_cannot_be_read_leaves_the_waits_of_the_other_errors():
    class Trap(dict):
        def get(self, *_):
            raise RuntimeError

    assert wait_of(shaped("E", body=Trap(a=1)), limited(retry_after="4")) == 4.0
    assert wait_of(shaped("E", body=Trap(a=1))) is None
