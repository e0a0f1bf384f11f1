"""The pictures in the READMEs are those that the graphs draw today."""

import os
import re

import pytest
from pictures import PLACES, ROOT, drawn, shown

RENEW = "renew the pictures: python tests/pictures.py"
LABELS = ("planned", "answered", "accepted", "rejected", "failed", "approved", "refused")


@pytest.fixture(autouse=True)
def _environment_put_back():
    """`backend` takes settings of OpenAI and LangSmith out of it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def edges(picture: str) -> set[str]:
    """The lines that are edges: header and style are the host's and differ between its versions."""
    return {line.strip() for line in picture.splitlines() if "->" in line}


@pytest.mark.parametrize(("file", "example"), PLACES)
def test_picture_is_what_the_graph_draws(file, example, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert edges(shown(file, example)) == edges(drawn(example)), RENEW


def test_every_picture_is_checked():
    files = ("README.md", "examples/README.md")
    marked = [
        (file, name) for file in files for name in re.findall(r"picture: (\w+)", (ROOT / file).read_text())
    ]
    assert sorted(marked) == sorted(PLACES)
    assert sum((ROOT / file).read_text().count("```mermaid") for file in files) == len(PLACES)


def test_readme_shows_every_kind_of_edge():
    picture = shown("README.md", "approval")
    assert [label for label in LABELS if f"&nbsp;{label}" not in picture] == []
