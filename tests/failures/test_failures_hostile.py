"""Whatever is raised is classified: no error, however odd, long or cyclic, breaks or stops the classifier."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langroute.failures import KINDS, classify
from langroute.failures.signs import REMEDIES

KEYS = [
    *("error", "message", "code", "type", "status", "details", "detail", "metadata", "raw", "errors"),
    *("innererror", "violations", "headers", "retryDelay", "quotaId", "reason", "Error", "ResponseMetadata"),
]
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50)
BODIES = st.recursive(
    PLAIN | st.sampled_from(["insufficient_quota", "429", "{}", '{"error": {"code": 503}}', "rate limit"]),
    lambda inside: (
        st.lists(inside, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inside)
    ),
    max_leaves=20,
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(
        ["body", "response", "status_code", "status", "code", "details", "headers", "error", "type"]
    ),
    BODIES,
)


class Raises:
    """Raises on every look at it."""

    def __getattribute__(self, name):
        raise RuntimeError(name)


class Mean(Exception):
    """Raises on every look at what providers' errors have."""

    def __getattribute__(self, name):
        raise RuntimeError(name)

    def __str__(self):
        raise RuntimeError


def whole(failure):
    """Whether a failure has all its parts, each in its bounds."""
    assert failure.kind in KINDS
    assert failure.remedy == REMEDIES.get(failure.kind, "next_endpoint") or failure.kind == "unknown"
    assert 0 < len(failure.message) <= 300
    assert failure.retry_after_s is None or 0 <= failure.retry_after_s <= 86_400
    return True


@given(ATTRIBUTES, st.lists(BODIES, max_size=2))
def test_any_error_is_classified_whatever_its_attributes_hold(attributes, args):
    error = Exception(*args)
    for name, value in attributes.items():
        setattr(error, name, value)

    assert whole(classify(error))


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["a", "b", "c"])), max_size=6))
def test_causes_and_groups_may_run_in_circles(links):
    errors = {"a": ValueError("x"), "b": ExceptionGroup("g", [OSError("y")]), "c": RuntimeError("z")}
    for effect, cause in links:
        errors[effect].__cause__ = errors[cause]

    assert all(whole(classify(error)) for error in errors.values())


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_header_is_a_wait_within_a_day_or_none(name, value):
    error = RuntimeError("x")
    error.headers = {name: value, "retry-after": value, "x-ratelimit-reset-tokens": value, "date": value}
    error.status_code = 429

    assert whole(classify(error, now_s=0.0))


@pytest.mark.parametrize("name", ["body", "response", "status_code", "code", "headers", "details"])
def test_an_attribute_that_raises_says_nothing_and_hides_nothing(name):
    error = RuntimeError("x")
    error.status_code = error.status = 429
    error.body = error.details = {"error": {"message": "insufficient balance"}}
    setattr(error, name, Raises())

    assert classify(error).kind == "quota"


def test_an_error_that_raises_on_every_look_is_unknown():
    failure = classify(Mean("x"))

    assert (failure.kind, failure.message) == ("unknown", "Mean")


def test_a_body_that_cannot_be_looked_into_leaves_the_class_and_the_text():
    class Trap(dict):
        def get(self, *_):
            raise RuntimeError

        def __getitem__(self, _):
            raise RuntimeError

    error = TimeoutError("x")
    error.body = Trap(error={"code": "insufficient_quota"})

    assert classify(error).kind == "timeout"


def test_a_deep_body_is_no_obstacle():
    body = {"message": "deep"}
    for _ in range(100_000):
        body = {"error": body}
    error = RuntimeError("x")
    error.body = body

    assert classify(error).kind == "unknown"
    error.body = "[" * 10_000
    assert classify(error).kind == "unknown"
    while body:  # taken apart, or Python recurses to free it
        body = body.pop("error", None)


UNITS = [
    *(
        "x",
        "-a",
        "://a:b",
        "api_key-",
        "context ",
        "eyJ",
        "a1",
        "Bearer ",
        "too ",
        "exceed ",
        "model ",
        "'",
        '"',
    ),
    *(
        '{"error":',
        "[{",
        "\\",
        "429 ",
        "http://",
        "prompt exceeds ",
        "'a b",
        "https://a ",
        "1m",
        "key=",
        "\n",
    ),
]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("where", ["text", "body", "message"])
def test_a_megabyte_of_anything_takes_no_longer_than_a_thousand_characters(unit, where):
    def took_s(times):
        error = ValueError(unit * times if where == "text" else "x")
        error.status_code = 400
        error.body = unit * times if where == "body" else {"error": {"message": unit * times}}
        best_s = float("inf")
        for _ in range(5):
            started_s = time.thread_time()
            classify(error)
            best_s = min(best_s, time.thread_time() - started_s)
        return best_s

    many = 1_000_000 // len(unit)

    assert took_s(many) < 3 * took_s(3_000 // len(unit)) + 0.002
