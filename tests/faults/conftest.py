"""What every test of faults needs: a key for the clients, and a server that keeps quiet."""

import logging

import pytest


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a key for loopback")
    # The provider goes on writing to clients that have left, which asyncio remarks upon.
    caplog.set_level(logging.CRITICAL, "asyncio")
