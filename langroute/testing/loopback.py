"""A model provider on 127.0.0.1: OpenAI's chat completions over real HTTP, and failures when told to."""

import functools
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from langroute.testing.desk import Desk, ModelSpec, RecordedRequest
from langroute.testing.faults import Fault

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI

    from langroute.testing.server import LoopbackServer

__all__ = ["LoopbackProvider", "closed_port"]

_ANY_KEY = "loopback"


class LoopbackProvider:
    """An OpenAI-compatible provider: JSON and SSE, tools, schemas, logprobs, usage, errors.

    A model is a brain (a callable from the request's body to an `Answer`), one answer for every request (a
    string or an `Answer`), or a list of answers, one a request; past the list's end the status is 500. What a
    brain says is sent as it is, but for `stop`, `max_tokens` and the model's window: a brain that ignores
    `tool_choice` or a schema shows what a careless model does.

    Tokens are estimated at four characters each. `prompt_tokens_details.cached_tokens` counts the blocks of
    64 tokens that an earlier prompt to the same model began with.

    ```python
    with LoopbackProvider({"small": "Hello!"}) as provider:
        reply = provider.chat_model("small").invoke("Hi")
    ```

    Args:
        models: The models by name.
        windows: Context windows in tokens by model; a prompt that does not fit is refused with
            `context_length_exceeded`. A model without one takes any prompt.
        api_key: The only key that is taken; None takes any.

    Raises:
        ValueError: `windows` names a model that `models` does not.
    """

    def __init__(
        self,
        models: Mapping[str, ModelSpec],
        *,
        windows: Mapping[str, int] | None = None,
        api_key: str | None = None,
    ) -> None:
        self._desk = Desk(models, windows or {}, api_key)
        self._server: LoopbackServer | None = None

    def start(self) -> Self:
        """Listen on a free port; returns at once when already started.

        Raises:
            ImportError: starlette or uvicorn is not installed; the message is the line that installs them.
        """
        if self._server is None:
            try:
                from langroute.testing.server import LoopbackServer
            except ImportError as error:
                raise ImportError(
                    f"LoopbackProvider needs {error.name}. Run: pip install 'langroute[testing]'",
                    name=error.name,
                ) from error
            self._server = LoopbackServer(self._desk)
        return self

    def stop(self) -> None:
        """Drop every open connection and stop listening, within two seconds; what was recorded stays."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """What a client's `base_url` is set to, `/v1` included.

        Raises:
            RuntimeError: The provider is not running.
        """
        if self._server is None:
            raise RuntimeError(
                "the loopback provider is not running; call start(), or use it in a with statement"
            )
        return f"http://127.0.0.1:{self._server.port}/v1"

    @property
    def requests(self) -> list[RecordedRequest]:
        """Everything that arrived so far, in order, refused requests too; a copy."""
        return self._desk.requests

    @property
    def connections(self) -> int:
        """How many connections are open now; none when it is not running."""
        return 0 if self._server is None else self._server.connections

    def calls(self, model: str) -> int:
        """Return how many requests named this model, failed ones too."""
        return sum(request.model == model for request in self.requests)

    def fail(
        self, model: str, fault: Fault, times: int | None = None, *, share: float = 1.0, seed: int = 0
    ) -> None:
        """Tell a model to fail `times` calls (None: from now on); faults told one after the other queue up.

        Args:
            model: The model.
            fault: How.
            times: How many of its next calls.
            share: The part of those calls that fail, drawn call by call.
            seed: Of the draws.

        Raises:
            KeyError: The model is not served here.
            ValueError: `times` is less than one, or `share` is not in (0, 1].
        """
        self._desk.add_fault(model, fault, times, share, seed)

    def heal(self, model: str) -> None:
        """Forget every fault that the model was told.

        Raises:
            KeyError: The model is not served here.
        """
        self._desk.clear_faults(model)

    def chat_model(self, model: str, **settings: Any) -> "ChatOpenAI":
        """Return a `ChatOpenAI` of this model: no client retries, usage in streams, and `settings` on top."""
        from langchain_openai import ChatOpenAI

        key = self._desk.api_key or _ANY_KEY
        defaults: dict[str, Any] = {"base_url": self.base_url, "api_key": key, "stream_usage": True}
        return ChatOpenAI(model=model, **(defaults | {"max_retries": 0} | settings))


@functools.cache
def closed_port() -> str:
    """Return the `base_url` of a loopback port on which nothing listens, nor can while the process lives."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    holder.detach()  # bound and never listening: the port refuses, and no other server can be given it
    return f"http://127.0.0.1:{port}/v1"
