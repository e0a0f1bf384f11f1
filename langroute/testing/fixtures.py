"""The loopback provider as a pytest fixture: `pytest_plugins = ["langroute.testing.fixtures"]`."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Protocol

import pytest

from langroute.testing.desk import ModelSpec
from langroute.testing.loopback import LoopbackProvider

__all__ = ["StartProvider", "loopback_provider"]


class StartProvider(Protocol):
    """What the fixture `loopback_provider` gives a test."""

    def __call__(
        self,
        models: Mapping[str, ModelSpec],
        *,
        windows: Mapping[str, int] | None = None,
        api_key: str | None = None,
    ) -> LoopbackProvider:
        """Return a started provider; its arguments are those of `LoopbackProvider`."""
        ...


@pytest.fixture
def loopback_provider() -> Iterator[StartProvider]:
    """Start as many providers as the test asks for, and stop them all when it ends.

    ```python
    def test_says_hello(loopback_provider):
        provider = loopback_provider({"small": "Hello!"})
        assert provider.chat_model("small").invoke("Hi").text == "Hello!"
    ```
    """
    with ExitStack() as running:

        def start(
            models: Mapping[str, ModelSpec],
            *,
            windows: Mapping[str, int] | None = None,
            api_key: str | None = None,
        ) -> LoopbackProvider:
            return running.enter_context(LoopbackProvider(models, windows=windows, api_key=api_key))

        yield start
