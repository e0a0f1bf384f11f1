"""Everything the routers decided inside a `with` block, in a list."""

from collections.abc import Iterator
from contextlib import contextmanager

from langroute.decision import Decision
from langroute.observe import OBSERVERS

__all__ = ["capture_decisions"]


@contextmanager
def capture_decisions() -> Iterator[list[Decision]]:
    """Return a list that fills with every decision finished in this context, in the order they finish.

    Tasks and the threads of LangChain and LangGraph belong to the context in which they were started; a
    bare `threading.Thread` does not, unless it runs in a copy of it. Blocks may be nested: each hears all
    that is decided inside it. After the block the list stays and no longer grows.

    ```python
    with capture_decisions() as decisions:
        model.invoke("Hi")
    assert decisions[0].step.step == "synthesis"
    ```
    """
    decisions: list[Decision] = []
    token = OBSERVERS.set((*OBSERVERS.get(), decisions.append))
    try:
        yield decisions
    finally:
        OBSERVERS.reset(token)
