"""The pictures of README.md and examples/README.md, drawn by the graphs themselves.

python tests/pictures.py      # draws them anew
"""

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PLACES = (("README.md", "approval"), ("examples/README.md", "rag_graph"), ("examples/README.md", "own_graph"))
"""File and example; the picture stands in the mermaid block below the comment `<!-- picture: example -->`."""


def drawn(example: str) -> str:
    """Return the picture of an example's graph."""
    if str(ROOT / "examples") not in sys.path:
        sys.path.append(str(ROOT / "examples"))
    module: Any = __import__(example)
    graph = _rag_graph(module) if example == "rag_graph" else module.build()
    return str(graph.get_graph().draw_mermaid()).strip()


def shown(file: str, example: str) -> str:
    """Return the picture of an example as it stands in a file, "" where none does."""
    found = _block(example).search((ROOT / file).read_text())
    return found.group(2).strip() if found else ""


def renew() -> None:
    """Write every picture into its place."""
    for file, example in PLACES:
        text, picture = (ROOT / file).read_text(), drawn(example)
        written = _block(example).sub(lambda found, now=picture: f"{found.group(1)}{now}\n```", text)
        (ROOT / file).write_text(written)


def _rag_graph(module: Any) -> Any:
    from backend import backend
    from corpus import Library

    from langroute import RoutedChatModel

    with backend({}) as models:
        return module.build(RoutedChatModel(policy=models.policy), Library("none", [], []))


def _block(example: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- picture: {example} -->\s*```mermaid\n)(.*?)```", re.DOTALL)


if __name__ == "__main__":
    renew()
