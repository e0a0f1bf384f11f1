"""Text of others is printed, and a terminal obeys none of it."""

import io
from pathlib import Path
from typing import Any

import pytest
from hostile import ATTACKS, Hostile, prompts
from scene import printed

from langroute.redaction import printable

EXAMPLES = Path(__file__).parents[2] / "examples"

POLICY = {
    "tiers": {"small": "openai:small", "large": "openai:large"},
    "steps": {"synthesis": {"cascade": ["small", "large"], "verify": ["citations"]}},
    "rules": [{"when": {"keywords": ["urgent"]}, "start": "large"}],
}

SAMPLE = [hostile for hostile in prompts(2_000) if "ANSI" in hostile.attack][:12]


def obeyed(text: str) -> str:
    return "".join(sign for sign in text if sign != "\n" and printable(sign) != sign)


@pytest.mark.parametrize("hostile", SAMPLE, ids=lambda hostile: hostile.carrier)
def test_explain_prints_nothing_that_a_terminal_obeys(tmp_path: Any, hostile: Hostile) -> None:
    said = printed("explain", "POLICY", f"{hostile.text} urgent", policy=POLICY, folder=tmp_path)
    assert "step: " in said
    assert obeyed(said) == ""


def test_explain_shows_a_hostile_step_in_printable_signs(tmp_path: Any) -> None:
    said = printed("explain", "POLICY", "Hi", "--step", ATTACKS["ANSI"], policy=POLICY, folder=tmp_path)
    assert "said by the caller" in said
    assert obeyed(said) == ""


def test_the_demo_prints_nothing_that_a_terminal_obeys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from report import open_console
    from rich.table import Table

    console = open_console()
    console.file = io.StringIO()
    table = Table("what", "said")
    table.add_row("reply", ATTACKS["ANSI"])
    console.print(f"Question: {ATTACKS['ANSI']}", ATTACKS["markup"], table)

    said = console.file.getvalue()
    assert "start: large" in said
    assert "[bold red]" in said
    assert obeyed(said) == ""


@pytest.mark.parametrize(
    "sign", ["\x00", "\x07", "\x1b", "\x7f", "\x9b", "\u200b", "\u202e", "\u2028", "\ud800"]
)
def test_signs_that_are_obeyed_or_unseen_are_replaced(sign: str) -> None:
    assert printable(f"a{sign}b") == "a\ufffdb"


@pytest.mark.parametrize("text", ["plain", "two\nlines\tand a tab", "ünïcödé 大型 🙂", "“quoted” – dash"])
def test_ordinary_text_is_printed_as_it_is(text: str) -> None:
    assert printable(text) == text
