"""A provider whose error quotes the secrets of the call: they stand in no message of ours."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from langroute import RoutedChatModel
from langroute.errors import AllAttemptsFailed, PartialStream
from langroute.redaction import without
from langroute.testing import capture_decisions

HEADER, PASSWORD, KEY = "team blue of the north", "pass phrase", "a plain key"


class Quoting(BaseHTTPRequestHandler):
    """Refuses every call and says which headers it came with."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        asked = f"{self.headers['x-team']} {self.headers['authorization']} {PASSWORD}"
        body = json.dumps({"error": {"message": f"I do not know {asked}", "type": "t"}}).encode()
        self.send_response(self.server.status)  # type: ignore[attr-defined]  # set below
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = HTTPServer(("127.0.0.1", 0), Quoting)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def refused(server: HTTPServer, status: int, patch: pytest.MonkeyPatch) -> tuple[AllAttemptsFailed, Any]:
    server.status = status  # type: ignore[attr-defined]  # read by the handler
    url = f"http://user:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{server.server_port}/v1"
    patch.setenv("OPENAI_BASE_URL", url)
    settings = {"default_headers": {"X-Team": HEADER}}
    model = RoutedChatModel({"tiers": {"small": [{"model": "openai:m", "settings": settings}]}})
    with capture_decisions() as decisions, pytest.raises(AllAttemptsFailed) as raised:
        model.invoke("a prompt of no great length, but long enough to be told")
    return raised.value, decisions[0]


def test_failure_shows_no_secret_that_the_provider_quoted(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, decision = refused(server, 500, monkeypatch)
    assert "I do not know" in str(error)
    for shown in (str(error), repr(error), repr(decision), repr(error.decision)):
        assert [secret for secret in (HEADER, PASSWORD, KEY) if secret in shown] == []


def test_refused_key_says_where_it_is(server: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "look at the key in the environment variable OPENAI_API_KEY" in str(
        refused(server, 401, monkeypatch)[0]
    )


def test_repr_of_an_error_shows_its_message_alone() -> None:
    inside = ValueError("sk-proj-0123456789abcdef and the prompt")
    assert repr(AllAttemptsFailed("step a: it failed", [inside])) == (
        "AllAttemptsFailed('step a: it failed', 1 inside)"
    )
    assert repr(PartialStream("it broke off", "what was shown")) == "PartialStream('it broke off')"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("I know abcdefgh.", "I know [redacted]."),
        ("I know abcdef…", "I know [redacted]…"),
        ("I know abc…", "I know abc…"),
        ("I know abcdef", "I know abcdef"),
    ],
)
def test_secret_is_taken_out_even_where_it_is_cut(text: str, left: str) -> None:
    assert without(text, ["abcdefgh"]) == left
