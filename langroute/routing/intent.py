"""Which of some named examples a text is nearest to, through any LangChain `Embeddings`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import mul

from langchain_core.embeddings import Embeddings

from langroute.beside import abeside
from langroute.building import secrets
from langroute.effects import ASIDE, Flow, Io
from langroute.failures import classify, is_control_flow
from langroute.redaction import without
from langroute.request import EMPTY, Request

__all__ = ["Embedder", "Nearest", "what_failed"]

_MOST_TEXTS = 64
"""Prompts whose vectors are kept: each turn of a tool loop asks about the same question again."""

_MOST_WAITS = 10
"""Examples are embedded once, all together, and may take this many times as long as one prompt."""

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Nearest:
    """The name whose example is nearest, and the cosine between the two."""

    name: str
    similarity: float


@dataclass(frozen=True, eq=False, slots=True)
class Embedder:
    """LangChain embeddings with what routing must know of them: where they run and how long they may take.

    Vectors of the examples are kept for the embedder's life, those of the last 64 prompts too.
    """

    embeddings: Embeddings
    boundary: str = "hosted"
    """Where they run; a prompt that may not go there is never embedded."""
    timeout_s: float = 2.0
    """Seconds that one prompt may take; all examples together, the first time, ten times as long."""
    _examples: dict[tuple[str, ...], tuple[Vector, ...]] = field(default_factory=dict, init=False, repr=False)
    _texts: dict[str, Vector] = field(default_factory=dict, init=False, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message of a failure may show: their keys, and passwords of their address."""
        return secrets(self.embeddings, "", EMPTY)

    def nearest(self, text: str, examples: Mapping[str, Sequence[str]]) -> Flow[Nearest]:
        """Return the name under which the example nearest to `text` stands, as a flow.

        Raises:
            ValueError: There are no examples, or the embeddings are of no use (length, zero, not a number).
            Exception: What the embeddings raise; `TimeoutError` when they are late.
        """
        names = [name for name, texts in examples.items() for _ in texts]
        known = yield from self._example_vectors(
            tuple(example for texts in examples.values() for example in texts)
        )
        asked = yield from self.vector(text)
        if not names:
            raise ValueError("there are no examples to compare the prompt with")
        similarities = [_dot(asked, vector) for vector in known]
        best = max(range(len(names)), key=similarities.__getitem__)
        return Nearest(names[best], similarities[best])

    def _example_vectors(self, texts: tuple[str, ...]) -> Flow[tuple[Vector, ...]]:
        known = self._examples.get(texts)
        if known is None:
            wait_s = self.timeout_s * min(max(len(texts), 1), _MOST_WAITS)
            known = yield from self._embed(texts, wait_s)
            self._examples[texts] = known
        return known

    def vector(self, text: str) -> Flow[Vector]:
        """Return the vector of one text, of length 1, as a flow.

        Raises:
            ValueError: It is of no use (zero, not a number).
            Exception: What the embeddings raise; `TimeoutError` when they are late.
        """
        known = self._texts.get(text)
        if known is None:
            (known,) = yield from self._embed((text,), self.timeout_s)
            for old in list(self._texts)[: len(self._texts) + 1 - _MOST_TEXTS]:
                self._texts.pop(old, None)
            self._texts[text] = known
        return known

    def _embed(self, texts: tuple[str, ...], wait_s: float) -> Flow[tuple[Vector, ...]]:
        listed, embeddings = list(texts), self.embeddings
        embed, aembed = (
            partial(embeddings.embed_documents, listed),
            partial(embeddings.aembed_documents, listed),
        )
        if (
            type(embeddings).aembed_documents is Embeddings.aembed_documents
        ):  # it blocks the loop's own workers
            aembed = partial(abeside, embed, ASIDE)
        vectors = yield Io(embed, aembed, wait_s)
        if len(vectors) != len(listed):
            raise ValueError(f"the embeddings gave {len(vectors)} vectors for {len(listed)} texts")
        return tuple(_unit(vector) for vector in vectors)


def _unit(vector: Sequence[float]) -> Vector:
    norm = math.sqrt(_dot(vector, vector))
    if not 0 < norm < math.inf:
        raise ValueError("the embeddings gave a vector without a direction")
    return tuple(value / norm for value in vector)


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    if len(one) != len(other):
        raise ValueError(f"the embeddings gave vectors of {len(one)} and of {len(other)} numbers")
    return float(sum(map(mul, one, other)))


def what_failed(error: Exception, request: Request, secrets: Iterable[str] = ()) -> str:
    """Return one phrase on why a classifier or embeddings gave no answer; no prompt and no secret is in it.

    Args:
        error: What was raised.
        request: The request that was asked about.
        secrets: What the one who was asked may quote of its own: see `Endpoint.secrets`.

    Raises:
        Exception: `error` itself, where it steers the host (an interrupt of LangGraph's).
    """
    if is_control_flow(error):
        raise error
    failure = classify(error)
    if failure is None:
        return str(error)
    if failure.kind == "timeout":
        return "it was late"
    return f"it failed, {without(request.untold(failure).message, secrets) or type(error).__name__}"
