"""Examples are embedded once; embeddings of no use are errors."""

import asyncio
import threading

import pytest
from langchain_core.embeddings import Embeddings

from langroute.effects import arun, run
from langroute.routing.intent import Embedder


class Noted(Embeddings):
    """Gives each text the vector it is told to, and notes the batches."""

    def __init__(self, vectors):
        self.vectors = vectors
        self.batches = []

    def embed_documents(self, texts):
        self.batches.append(list(texts))
        return [self.vectors[text] for text in texts]

    def embed_query(self, text):
        return self.embed_documents([text])[0]


VECTORS = {"sue": [3.0, 0.0], "bye": [0.0, 2.0], "court": [4.0, 3.0], "ciao": [0.0, 1.0]}
EXAMPLES = {"legal": ("sue",), "chat": ("bye",)}


def test_nearest_is_by_angle_not_by_length():
    nearest = run(Embedder(Noted(VECTORS)).nearest("court", EXAMPLES))
    assert (nearest.name, nearest.similarity) == ("legal", pytest.approx(0.8))


def test_examples_and_repeated_prompts_are_embedded_once():
    embeddings = Noted(VECTORS)
    embedder = Embedder(embeddings)
    for text in ("court", "ciao", "court"):
        run(embedder.nearest(text, EXAMPLES))
    assert embeddings.batches == [["sue", "bye"], ["court"], ["ciao"]]


def test_sync_and_async_give_the_same_answer():
    both = run(Embedder(Noted(VECTORS)).nearest("ciao", EXAMPLES))
    assert asyncio.run(arun(Embedder(Noted(VECTORS)).nearest("ciao", EXAMPLES))) == both


@pytest.mark.parametrize("vector", [[0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0], [1.0]])
def test_useless_vector_is_an_error(vector):
    with pytest.raises(ValueError, match="the embeddings gave"):
        run(Embedder(Noted({**VECTORS, "odd": vector})).nearest("odd", EXAMPLES))


def test_late_embeddings_are_not_waited_for():
    release = threading.Event()

    class Stuck(Noted):
        def embed_documents(self, texts):
            release.wait(5)
            return super().embed_documents(texts)

    with pytest.raises(TimeoutError):
        run(Embedder(Stuck(VECTORS), timeout_s=0.01).nearest("court", EXAMPLES))
    release.set()


def test_only_the_last_prompts_are_kept():
    embeddings = Noted({**VECTORS, **{str(n): [1.0, float(n)] for n in range(65)}})
    embedder = Embedder(embeddings)
    for n in [*range(65), 64, 0]:
        run(embedder.nearest(str(n), EXAMPLES))
    assert embeddings.batches[-2:] == [["64"], ["0"]]
