"""The loopback provider without its HTTP: what was asked, what is to fail, what the models answer."""

import json
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langroute.testing.faults import Fault
from langroute.testing.prompt import PrefixCache, prompt_text
from langroute.testing.refusals import check_request
from langroute.testing.wire import Answer, Usage, WireError, completion, tokens

__all__ = ["Brain", "Desk", "ModelSpec", "RecordedRequest"]

Brain = Callable[[dict[str, Any]], Answer | str]
"""What answers a request, given its JSON body. An error that it raises becomes a status 500."""

ModelSpec = Brain | Answer | str | Sequence[Answer | str]
"""A brain, one answer for every request, or a script: a list of answers, one a request."""


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request as it arrived, whatever became of it."""

    model: str
    """The model asked for; "" where the request names none."""
    body: Mapping[str, Any]
    """The JSON body; empty where there was none, or none that could be read."""
    path: str
    stream: bool
    headers: Mapping[str, str]
    """Lower-case names, without the key."""


@dataclass(slots=True)
class _Told:
    """A fault that a model was told, and of which calls."""

    fault: Fault
    left: int | None
    """Calls that it still lasts; None for every call."""
    share: float
    chance: random.Random


class Desk:
    """All that a provider knows and remembers; safe to use from several threads."""

    def __init__(
        self, models: Mapping[str, ModelSpec], windows: Mapping[str, int], api_key: str | None
    ) -> None:
        unknown = sorted(set(windows) - set(models))
        if unknown:
            raise ValueError(
                f"windows names {', '.join(unknown)}, which models does not; name only its models"
            )
        self.models = {name: _as_brain(name, spec) for name, spec in models.items()}
        self.api_key = api_key
        self._windows = dict(windows)
        self._caches = {name: PrefixCache() for name in models}
        self._faults: dict[str, list[_Told]] = {name: [] for name in models}
        self._requests: list[RecordedRequest] = []
        self._lock = threading.Lock()

    @property
    def requests(self) -> list[RecordedRequest]:
        """A copy of everything that arrived so far, in order."""
        with self._lock:
            return list(self._requests)

    def add_fault(
        self, model: str, fault: Fault, times: int | None, share: float = 1.0, seed: int = 0
    ) -> None:
        """Queue a fault behind those the model was told before."""
        queue = self._told(model)
        if times is not None and times < 1:
            raise ValueError(f"times is {times}; a fault lasts at least one call, or None for every call")
        if not 0 < share <= 1:
            raise ValueError(f"share is {share}; it is the part of the calls that fail, in (0, 1]")
        with self._lock:
            queue.append(_Told(fault, times, share, random.Random(seed)))  # noqa: S311 - no secret

    def clear_faults(self, model: str) -> None:
        """Forget every fault the model was told."""
        queue = self._told(model)
        with self._lock:
            queue.clear()

    def _told(self, model: str) -> list[_Told]:
        if model not in self._faults:
            raise KeyError(f"no model {model!r} is served here; there are: {', '.join(self.models)}")
        return self._faults[model]

    def take_fault(self, model: str) -> Fault | None:
        """Return the fault of this call, if any, and count it off."""
        with self._lock:
            queue = self._faults[model]
            if not queue:
                return None
            told = queue[0]
            if told.left is not None:
                told.left -= 1
                if not told.left:
                    queue.pop(0)
            return told.fault if told.chance.random() < told.share else None

    def record(self, path: str, headers: Mapping[str, str], raw: bytes) -> RecordedRequest:
        """Note what arrived, before anything is checked."""
        body = _read_json(raw)
        model = body.get("model")
        shown = {name: value for name, value in headers.items() if name not in ("authorization", "api-key")}
        asked = RecordedRequest(
            model=model if isinstance(model, str) else "",
            body=body,
            path=path,
            stream=body.get("stream") is True,
            headers=shown,
        )
        with self._lock:
            self._requests.append(asked)
        return asked

    def require_key(self, authorization: str | None) -> None:
        """Refuse a request with another key than the provider's, where it has one."""
        if self.api_key is not None and authorization != f"Bearer {self.api_key}":
            raise WireError(401, "Incorrect API key provided.", code="invalid_api_key")

    def require_model(self, model: str) -> None:
        """Refuse a model that is not served here."""
        if not model:
            raise WireError(400, "The request is no JSON object with a 'model'.", param="model")
        if model not in self.models:
            message = f"The model `{model}` does not exist or you do not have access to it."
            raise WireError(404, message, code="model_not_found", param="model")

    def complete(self, asked: RecordedRequest, answer: Answer | None = None) -> dict[str, Any]:
        """Return the whole completion for a request; `answer` stands in for the brain's own.

        Raises:
            WireError: the request is malformed or too long for the model's window, or the brain failed.
        """
        body = dict(asked.body)
        check_request(body)
        prompt = prompt_text(body)
        prompt_tokens = len(tokens(prompt))
        room_tokens = self._room_tokens(asked.model, body, prompt_tokens)
        said = answer or self._ask(asked.model, body)
        with self._lock:
            usage = Usage(prompt_tokens, self._caches[asked.model].read(prompt))
        return completion(body, said, usage, room_tokens=room_tokens)

    def _room_tokens(self, model: str, body: Mapping[str, Any], prompt_tokens: int) -> int | None:
        """Return how many tokens the reply may take; None for any number."""
        wanted: int | None = body.get("max_completion_tokens") or body.get("max_tokens")
        window = self._windows.get(model)
        if window is None:
            return wanted
        if prompt_tokens >= window:
            limit = f"This model's maximum context length is {window} tokens."
            message = f"{limit} However, your messages resulted in {prompt_tokens} tokens."
            raise WireError(400, message, code="context_length_exceeded", param="messages")
        return min(wanted or window, window - prompt_tokens)

    def _ask(self, model: str, body: dict[str, Any]) -> Answer:
        try:
            return _as_answer(self.models[model](body))
        except Exception as error:
            raise WireError(500, f"The brain of {model!r} failed: {type(error).__name__}: {error}") from error


def _read_json(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _as_brain(model: str, spec: ModelSpec) -> Brain:
    if callable(spec):
        return spec
    if isinstance(spec, str | Answer):
        return lambda _body: _as_answer(spec)
    return _script(model, [_as_answer(answer) for answer in spec])


def _as_answer(said: Answer | str) -> Answer:
    answer = Answer(said) if isinstance(said, str) else said
    if not isinstance(answer, Answer):
        raise TypeError(f"a model answers with an Answer or a text, not with {said!r}")
    return answer


def _script(model: str, answers: Sequence[Answer]) -> Brain:
    lock, left = threading.Lock(), iter(answers)

    def next_answer(_body: dict[str, Any]) -> Answer:
        with lock:
            answer = next(left, None)
        if answer is None:
            raise LookupError(f"the script of {model!r} has {len(answers)} answers and all were given")
        return answer

    return next_answer
