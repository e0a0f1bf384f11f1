"""Calls that are left behind, and their end: no test leaves one of them to the next."""

import threading
from collections.abc import Iterator

import pytest

from langroute.timing import ABANDONED

__all__ = ["all_calls_end", "let_go"]


@pytest.fixture
def all_calls_end() -> Iterator[None]:
    """Wait, when the test is over, for the last call that was left behind."""
    yield
    for thread in threading.enumerate():
        if thread.name == "langroute-call":
            thread.join(60)
    assert not ABANDONED.running


@pytest.fixture
def let_go(all_calls_end: None) -> Iterator[threading.Event]:
    """Hold late calls until the test is over, and wait for the last of them to end."""
    event = threading.Event()
    yield event
    event.set()
