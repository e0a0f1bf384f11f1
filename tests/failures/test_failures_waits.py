"""When a provider may be called again: every spelling of its headers, and nothing that cannot be believed."""

import time

import httpx
import pytest
from raising import shaped

from langroute.failures import classify
from langroute.failures.waits import limit_reset_s, retry_after_s

NOW_S = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1m30s"}, 90.0),
        ({"retry-after": "980ms"}, 0.98),
        ({"retry-after": "1h0m0.5s"}, 3600.5),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, 30.0),
        ({"retry-after": "2027-01-15T08:00:41Z"}, 41.0),
        ({"retry-after": "1800000010"}, 10.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
        ({"retry-after": "Fri, 15 Jan 2027 09:00:30 GMT", "date": "Fri, 15 Jan 2027 09:00:00 GMT"}, 30.0),
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "86400"}, 86_400.0),
        ({"retry-after": "86401"}, 86_400.0),
        ({"retry-after": "30d"}, 86_400.0),
        ({"retry-after": "1m30"}, None),
        ({"retry-after": "Fri, 15 Jan 2027 07:59:00 GMT"}, None),
        ({"retry-after": "Fri, 99 Jan 2027 07:59:00 GMT"}, None),
        ({"retry-after": "9" * 100}, None),
        ({"retry-after": "1s" * 100}, None),
        ({"retry-after": "1d"}, 86_400.0),
        ({"retry-after": "2h"}, 7_200.0),
        ({"retry-after": "500000us"}, 0.5),
        ({"retry-after": "1m30s "}, 90.0),
        ({"retry-after": "1m 30s"}, None),
        ({"retry-after": "x1m30s"}, None),
        ({"retry-after": "1s" * 32}, 32.0),
        ({"retry-after": "1s" * 33}, None),
        ({"retry-after": "999999999"}, 86_400.0),
        ({"retry-after": "1000000000"}, None),
        ({"retry-after": "1800000000"}, 0.0),
        ({"retry-after": "1800086400"}, 86_400.0),
        ({"retry-after": "1800000010500"}, 10.5),
        ({"retry-after-ms": " 250 "}, 0.25),
        ({"retry-after-ms": "86400001", "retry-after": "1"}, 86_400.0),
        ({"retry-after-ms": "1", "x-ms-retry-after-ms": "2"}, 0.001),
        ({"retry-after-ms": "x", "x-ms-retry-after-ms": "2"}, 0.002),
        ({"retry-after": "2027-01-15T08:00:41"}, 41.0),
        ({"retry-after": "2027-01-15T09:00:41+01:00"}, 41.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30"}, 30.0),
        ({"retry-after": "Fri, 15 Jan 2027 09:00:30 +0100"}, 30.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT" + " " * 40}, 30.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT (" + "x" * 32 + ")"}, 30.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT (" + "x" * 33 + ")"}, None),
        ({"retry-after": "9999-12-31T23:59:59-23:59"}, 86_400.0),
        ({"retry-after": "30", "date": "Fri, 15 Jan 2027 09:00:00 GMT"}, 30.0),
        ({"retry-after": "1800003610", "date": "Fri, 15 Jan 2027 09:00:00 GMT"}, 10.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT", "date": "today"}, 30.0),
    ],
)
def test_a_stated_wait_is_read_or_not_believed(headers, wait_s):
    assert retry_after_s(headers, NOW_S) == pytest.approx(wait_s)


@pytest.mark.parametrize("moment", ["1000000000", "1000000000000"])
def test_the_first_number_that_is_a_moment_is_one(moment):
    assert retry_after_s({"retry-after": moment}, 999_999_990.0) == 10.0


def test_a_date_without_a_zone_is_utc_wherever_the_program_runs(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert retry_after_s({"retry-after": "2027-01-15T08:00:41"}, NOW_S) == 41.0
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        (
            {
                "x-ratelimit-reset-requests": "6m0s",
                "x-ratelimit-remaining-requests": "12",
                "x-ratelimit-reset-tokens": "7.66s",
                "x-ratelimit-remaining-tokens": "0",
            },
            7.66,
        ),
        (
            {
                "x-ratelimit-reset-requests": "6m0s",
                "x-ratelimit-remaining-requests": "12",
                "x-ratelimit-reset-tokens": "7.66s",
                "x-ratelimit-remaining-tokens": "300",
            },
            7.66,
        ),
        (
            {
                "x-ratelimit-limit-requests": "9s",
                "x-ratelimit-reset-requests": "soon",
                "x-ratelimit-reset-tokens": "7s",
                "x-ratelimit-remaining-tokens": " 0 ",
                "x-ratelimit-reset": "8s",
                "x-ratelimit-remaining": "00",
            },
            7.0,
        ),
        ({"x-ratelimit-reset-requests": "2s", "x-ratelimit-remaining-requests": "1"}, 2.0),
        ({"X-RateLimit-Reset": "2s"}, None),
        ({"x-ratelimit-reset-a": "2s", "x-ratelimit-remaining-a": "1", "x-ratelimit-reset-b": "5s"}, 5.0),
        ({"x-ratelimit-reset": "1800003605", "date": "Fri, 15 Jan 2027 09:00:00 GMT"}, 5.0),
        ({"x-ratelimit-reset": "1800000005000"}, 5.0),
        ({"x-rate-limit-reset": "1800000005"}, 5.0),
        ({"ratelimit-reset": "7"}, 7.0),
        ({"anthropic-ratelimit-input-tokens-reset": "2027-01-15T08:00:12Z"}, 12.0),
        ({"x-ratelimit-reset-tokens": "never"}, None),
        ({"x-ratelimit-limit-tokens": "30000"}, None),
    ],
)
def test_the_reset_of_the_limit_that_is_used_up_is_the_wait(headers, wait_s):
    assert limit_reset_s(headers, NOW_S) == pytest.approx(wait_s)


def limited(status=429, **attributes):
    return shaped("RateLimitError", status_code=status, **attributes)


RESETS = {"x-ratelimit-reset-tokens": "6ms", "x-ratelimit-remaining-tokens": "29000"}


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        (limited(headers={"Retry-After": "3"}), 3.0),
        (limited(response=httpx.Response(429, headers={"Retry-After": "4"})), 4.0),
        (limited(response={"ResponseMetadata": {"HTTPHeaders": {"retry-after": "5"}}}), 5.0),
        (limited(body={"error": {"metadata": {"headers": {"X-RateLimit-Reset": "1800000006000"}}}}), 6.0),
        (limited(details={"error": {"details": [{"retryDelay": "7s"}]}}), 7.0),
        (limited(headers=RESETS), 0.006),
        (limited(status=500, headers=RESETS), None),  # OpenAI sends them with every response
        (limited(status=503, headers={"retry-after": "8"}), 8.0),
        (limited(headers="Retry-After: 9"), None),
        (limited(), None),
    ],
)
def test_a_failure_says_when_its_provider_wants_to_be_called_again(error, wait_s):
    assert classify(error, now_s=NOW_S).retry_after_s == pytest.approx(wait_s)


def test_the_headers_of_a_cause_count_too():
    error = RuntimeError("the call failed")
    error.__cause__ = limited(headers={"retry-after": "3"})

    assert classify(error).retry_after_s == 3.0


def test_without_a_clock_given_a_date_is_measured_against_now():
    error = limited(headers={"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"})

    assert classify(error).retry_after_s is None
