"""What the loopback provider can be told to do wrong."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, get_args

__all__ = ["Fault", "FaultKind"]

FaultKind = Literal["delay", "status", "hang", "drop", "cut", "reset", "empty", "malformed", "html"]
"""What can go wrong:

- `delay`: answers as ever, but `delay_s` late.
- `status`: an error with `status`, `code` and `message`, or with `body` as it stands.
- `hang`: no answer until the client leaves or the provider stops.
- `drop`: the connection closes before any header.
- `cut`: the stream ends cleanly after `after_chunks` events, without finish reason and `[DONE]`; a reply that
  is not streamed ends in the middle of its JSON.
- `reset`: as `cut`, but the connection is reset there.
- `empty`: a good reply with empty content.
- `malformed`: status 200 and broken JSON.
- `html`: status 200 and a web page, as a proxy sends it.
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
    """OpenAI's error code of kind `status`, e.g. `insufficient_quota`."""
    message: str = "The loopback provider was told to fail."
    """The error's text, of kind `status`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of kind `status`, e.g. `{"retry-after": "2"}`."""
    body: str | None = None
    """The whole body of kind `status`, in place of OpenAI's error object; None sends that object."""
    after_chunks: int = 0
    """Stream events that still arrive, the role chunk being the first, of the kinds `cut` and `reset`."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"there is no fault {self.kind!r}; there are: {', '.join(get_args(FaultKind))}")
