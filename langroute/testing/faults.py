"""What the loopback provider can be told to do wrong."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, get_args

__all__ = ["Fault", "FaultKind"]

FaultKind = Literal[
    "bad_gzip",
    "blank",
    "broken_arguments",
    "comments",
    "cut",
    "cut_arguments",
    "delay",
    "doubled",
    "drip",
    "drop",
    "empty",
    "error_object",
    "filtered",
    "garbage",
    "hang",
    "html",
    "interleaved",
    "length",
    "malformed",
    "no_choices",
    "no_done",
    "no_usage",
    "null",
    "null_choices",
    "oversize",
    "redirect",
    "refusal",
    "repeated_ends",
    "reset",
    "short",
    "slow_headers",
    "stall",
    "status",
    "trickle",
    "unfinished",
    "wrong_type",
]
"""What can go wrong. Before any reply:

- `delay`: answers as ever, but `delay_s` late.
- `status`: an error with `status`, `code` and `message`, or with `body` as it stands.
- `redirect`: the address has moved, to itself.
- `hang`: no answer until the client leaves or the provider stops.
- `drop`: the connection closes before any header.
- `slow_headers`: one header after the other, a `pause_s` apart, without end.
- `garbage`: bytes that are no HTTP.
- `html`: status 200 and a web page, as a proxy sends it.

In the middle: after `after_chunks` events of a stream, and inside the JSON of a reply that is not streamed:

- `cut`: a clean end, without finish reason and `[DONE]`.
- `reset`: the connection is reset.
- `short`: the connection closes although the reply's `content-length` promised more.
- `stall`: nothing more comes.
- `comments`: keep-alive comments come a `pause_s` apart, without end; outside streams white space does.
- `malformed`: broken JSON; a stream goes on after it.
- `error_object`: an `error` object in place of the reply, with `code` and `message`.

All along:

- `drip`: one byte each `pause_s`.
- `trickle`: one event each `pause_s`; a reply that is not streamed comes in ten pieces.
- `bad_gzip`: said to be compressed, and is not.
- `wrong_type`: the right body as `text/plain`.

Whole replies that are none, or odd:

- `empty`, `blank`, `null`: content "", white space alone, or null, and no tool calls.
- `refusal`: a refusal in place of the content.
- `length`, `filtered`: half the content and half of each tool call's arguments, and that finish reason.
- `cut_arguments`, `broken_arguments`: half of each tool call's arguments, or no JSON, as if all were well.
- `unfinished`: the whole content without finish reason.
- `no_choices`, `null_choices`: an empty list of choices, or null.
- `oversize`: content and arguments of `size` characters, in large pieces.
- `no_usage`, `no_done`: the right reply without its usage, or a stream without `[DONE]`.
- `repeated_ends`: a stream's first and last chunks come twice.
- `doubled`: every chunk of a stream comes twice.
- `interleaved`: the pieces of several tool calls come in turns.
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail, as data: `Fault("status", status=429)`, `Fault("cut", after_chunks=3)`."""

    kind: FaultKind = "delay"
    _: KW_ONLY
    delay_s: float = 0.0
    """Seconds before the fault shows, for every kind."""
    status: int = 500
    """HTTP status of kind `status`."""
    code: str | None = None
    """OpenAI's error code of the kinds `status` and `error_object`, e.g. `insufficient_quota`."""
    message: str = "The loopback provider was told to fail."
    """The error's text, of the same kinds."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of kind `status`, e.g. `{"retry-after": "2"}`."""
    body: str | None = None
    """The whole body of kind `status`, in place of OpenAI's error object; None sends that object."""
    after_chunks: int = 0
    """Stream events that still arrive, the role chunk being the first, of the kinds in the middle."""
    pause_s: float = 0.05
    """Seconds between the pieces of the kinds that are slow."""
    size: int = 8_000_000
    """Characters of kind `oversize`."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"there is no fault {self.kind!r}; there are: {', '.join(get_args(FaultKind))}")
