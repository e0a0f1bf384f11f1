"""Every fault of the matrix by name, and what may come of it."""

from dataclasses import dataclass

from langroute.testing import Fault

__all__ = ["CASES", "LIMIT_S", "Case"]

LIMIT_S = 1.0
"""Seconds that a call on the primary may take; the backup has any time."""

NEVER_S = 60.0


@dataclass(frozen=True)
class Case:
    """One fault, and how long the primary has it."""

    name: str
    fault: Fault
    callers: bool = False
    """Whether the request itself is at fault: one call and the original error."""
    hops: int = 1
    """Requests that one call may make."""
    flagged: str | None = None
    """The provider's word on a reply that may be returned with it, where nothing better can come."""


def _status(name: str, status: int, code: str | None = None, **more) -> Case:
    callers, hops = more.pop("callers", False), more.pop("hops", 1)
    return Case(name, Fault("status", status=status, code=code, **more), callers=callers, hops=hops)


_STATUSES = [
    _status("400 of the caller", 400, "invalid_value", message="Invalid value for 'x'.", callers=True),
    _status("422 of the caller", 422, message="Unprocessable.", callers=True),
    _status("400 context", 400, "context_length_exceeded"),
    _status("400 content filter", 400, "content_filter"),
    _status(
        "400 billing, Anthropic",
        400,
        body='{"type":"error","error":{"type":"invalid_request_error",'
        '"message":"Your credit balance is too low to access the Anthropic API."}}',
    ),
    _status("401", 401, "invalid_api_key"),
    _status("402", 402, message="Insufficient credits"),
    _status("403", 403),
    _status("404", 404, "model_not_found"),
    _status("408", 408),
    _status("409", 409),
    _status("413", 413, message="Request too large"),
    _status("429", 429, "rate_limit_exceeded"),
    _status("429 quota", 429, "insufficient_quota"),
    _status("429, back in 1 s", 429, headers={"retry-after": "1"}, hops=2),
    _status("429, back in an hour", 429, headers={"retry-after": "3600"}),
    _status("429, back at no time", 429, headers={"retry-after": "soon"}),
    _status("429, back in ms", 429, headers={"retry-after-ms": "50"}, hops=2),
    _status("500", 500),
    _status("500, no JSON", 500, body="<h1>Oops</h1>"),
    _status("502 page", 502, body="<h1>Bad gateway</h1>"),
    _status("503", 503, message="The model is overloaded"),
    _status("504", 504),
    _status("529", 529, body='{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'),
]

_BEFORE = [
    Case("late", Fault(delay_s=NEVER_S)),
    Case("a little late", Fault(delay_s=0.05)),
    Case("hang", Fault("hang")),
    Case("drop", Fault("drop")),
    Case("slow headers", Fault("slow_headers")),
    Case("no HTTP", Fault("garbage")),
    Case("redirected for ever", Fault("redirect"), hops=30),
    Case("HTML", Fault("html")),
    Case("compressed, it says", Fault("bad_gzip")),
    Case("text/plain", Fault("wrong_type")),
]

_MIDDLE = [
    Case(f"{kind} {where}", Fault(kind, after_chunks=after, message="The upstream provider failed."))
    for kind in ("cut", "reset", "short", "stall", "comments", "malformed", "error_object")
    for where, after in (("at once", 0), ("after the role", 1), ("after 3 chunks", 3), ("after 5 chunks", 5))
]

_SLOW = [
    Case("one byte at a time", Fault("drip")),
    Case("slow words", Fault("trickle", pause_s=0.1)),
    Case("very slow words", Fault("trickle", pause_s=0.8)),
    Case("slow words, in time", Fault("trickle", pause_s=0.005)),
]

_ODD = [
    Case("empty", Fault("empty")),
    Case("blank", Fault("blank")),
    Case("null content", Fault("null")),
    Case("refusal", Fault("refusal"), flagged="refusal"),
    Case("length", Fault("length"), flagged="length"),
    Case("content filter", Fault("filtered")),
    Case("cut arguments", Fault("cut_arguments")),
    Case("broken arguments", Fault("broken_arguments")),
    Case("no finish reason", Fault("unfinished")),
    Case("no choices", Fault("no_choices")),
    Case("null choices", Fault("null_choices")),
    Case("oversize", Fault("oversize")),
    Case("no usage", Fault("no_usage")),
    Case("no [DONE]", Fault("no_done")),
    Case("all twice", Fault("doubled")),
    Case("ends twice", Fault("repeated_ends")),
    Case("interleaved", Fault("interleaved")),
]

CASES = {case.name: case for case in (*_STATUSES, *_BEFORE, *_MIDDLE, *_SLOW, *_ODD)}
