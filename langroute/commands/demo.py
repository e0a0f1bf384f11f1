"""`demo`: the pipeline of `examples/`, run."""

import runpy
import sys
from pathlib import Path

import typer

from langroute.commands.terminal import bad_input

__all__ = ["demo"]

DEMO = "rag_demo.py"


def demo(context: typer.Context) -> None:
    """Run the demo: a RAG pipeline, each step routed. `langroute demo --help` tells more."""
    folder = next((path for path in _demo_folders() if (path / DEMO).is_file()), None)
    if folder is None:
        raise bad_input("the demo's files are not installed; run it from a checkout")
    sys.argv = ["langroute demo", *context.args]
    sys.path.insert(0, str(folder))
    runpy.run_path(str(folder / DEMO), run_name="__main__")


def _demo_folders() -> tuple[Path, ...]:
    """Return where the demo may be: inside an installed wheel, or beside the package in a checkout."""
    package = Path(__file__).parent.parent
    return package / "_examples", package.parent / "examples"
