"""Half a surrogate pair, which no encoder takes, passes through every call, the ledger and the report."""

import json
from pathlib import Path
from typing import Any

import pytest
from routed_models import GOOD, MODES, shown
from test_wire import EVENTS, JSON, serving

from langroute import Ledger, RoutedChatModel
from langroute.cli import main
from langroute.testing import ScriptedChatModel

HALF = "The cable \ud800 was laid."


def quotes(case: Any) -> str:
    return f"it says {case.text}"


def asked_in_halves(ledger: Ledger, model: Any) -> RoutedChatModel:
    """Return a model whose ledger keeps its text, and a check's reason that quotes it."""
    step = {"cascade": ["small"], "verify": [quotes], "on_exhausted": "best"}
    policy = {"tiers": {"small": {"models": [model]}}, "default": step, "ledger": {"text": "full"}}
    return RoutedChatModel(policy, ledger=ledger)


@pytest.mark.parametrize("mode", MODES)
async def test_half_a_pair_passes_through_call_ledger_and_report(
    mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    assert await shown(asked_in_halves(ledger, ScriptedChatModel(reply=HALF)), mode, HALF) == HALF
    ledger.flush()
    assert ledger.counts.dropped == 0
    assert [record.outcome for record in ledger.decisions()] == ["best"]
    ledger.close()
    where = ["--ledger", str(tmp_path / "ledger.db")]
    for command in (
        ["report", "--html", str(tmp_path / "page.html")],
        ["export", str(tmp_path / "all.jsonl")],
    ):
        with pytest.raises(SystemExit) as end:
            main([*command, *where])
        assert end.value.code in (0, None), capsys.readouterr()


@pytest.mark.parametrize("mode", MODES)
async def test_half_a_pair_escaped_on_the_wire_is_read(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a key for loopback")
    said = {"role": "assistant", "content": HALF}
    about = {"id": "1", "created": 0, "model": "m"}
    choice = {"index": 0, "finish_reason": "stop"}
    whole = json.dumps({**about, "object": "chat.completion", "choices": [{**choice, "message": said}]})
    piece = json.dumps({**about, "object": "chat.completion.chunk", "choices": [{**choice, "delta": said}]})

    def say(connection: Any, asked: bytes) -> None:
        while b"}" not in asked:  # the head alone says nothing
            asked += connection.recv(65_536)
        streamed = b'"stream":true' in asked
        connection.sendall(EVENTS + f"data: {piece}\n\n".encode() if streamed else JSON + whole.encode())

    with serving(say) as server:
        chain = [{"model": "openai:m", "settings": {"base_url": server.url}}, ScriptedChatModel(reply=GOOD)]
        model = RoutedChatModel({"tiers": {"small": {"models": chain}}})
        assert await shown(model, mode) == HALF
