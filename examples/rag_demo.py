"""The main job, end to end: a RAG pipeline in which each step runs on the cheapest tier that clears its bar.

Some replies are rejected and escalate, one provider is down and its tier falls back, and a table says why.
Offline and without a key by default; see `--help`.
"""

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend import Backend, backend
from corpus import CorpusError, Library, folder, reference, suggested_questions
from pipeline import Pipeline
from report import bill, failed_calls, offer, open_console, steps_view
from rich.console import Console

from langroute import LangrouteError, Ledger, PolicyError, RoutedChatModel
from langroute.errors import AllAttemptsFailed
from langroute.redaction import redact
from langroute.testing import capture_decisions

QUESTIONS = (
    "What does the pass statement do?",
    "What happens when return is executed in the try suite of a try statement with a finally clause?",
    "When are decorators and default parameter values evaluated, and how does a with statement end?",
)
MAX_QUESTION_CHARS = 20_000
_MAX_REASON_CHARS = 300
_MADE_UP = "No question was given: these were made from the documents' own words. Ask yours with Q='...'."
_NO_ANSWER, _BAD_INPUT = 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code: 0, 1 where a question got no answer, 2 for bad input."""
    options = _options(argv)
    print_anything()
    try:
        asked = [_question(options.question)] if options.question.strip() else []
        library = _library(options.docs)
        questions = asked or _questions(library, own=bool(options.docs))
        names = {tier: name for tier, name in (("small", options.small), ("large", options.large)) if name}
        with backend(names) as models:
            return _run(models, library, questions)
    except (CorpusError, PolicyError, _BadInputError, ImportError) as error:
        print(f"rag_demo: {error}", file=sys.stderr)
        return _BAD_INPUT
    except LangrouteError as error:
        print(f"rag_demo: {error}", file=sys.stderr)
        return _NO_ANSWER


class _BadInputError(Exception):
    """What the demo does not begin with: no question, or nowhere to write."""


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="rag_demo.py",
        description="A routed RAG pipeline over the Python Language Reference, or over a folder of your own.",
        epilog="Without OPENAI_API_KEY, stand-in models answer and nothing leaves this machine; with it, the "
        "models of langroute.yaml do. OPENAI_BASE_URL names another server, --small and --large its models. "
        "A question too long for a command line comes from a file: make demo Q=- < file.",
    )
    env = os.environ.get
    parser.add_argument(
        "--question", default=env("Q", ""), help="ask this; - reads standard input (default: $Q)"
    )
    parser.add_argument(
        "--docs", default=env("DOCS", ""), help="folder of .txt and .md files (default: $DOCS)"
    )
    parser.add_argument("--small", default=env("SMALL", ""), help="model of the small tier (default: $SMALL)")
    parser.add_argument("--large", default=env("LARGE", ""), help="model of the large tier (default: $LARGE)")
    return parser.parse_args(argv)


def _library(docs: str) -> Library:
    # Not Path.expanduser, which raises where it knows no home: "~nobody" is then simply not there.
    return folder(Path(os.path.expanduser(docs))) if docs else reference()  # noqa: PTH111


def _questions(library: Library, *, own: bool) -> Sequence[str]:
    """Return what to ask where nobody said: about the manual, or about what the documents are about.

    Raises:
        _BadInputError: The documents have no words to ask about.
    """
    if not own:
        return QUESTIONS
    questions = suggested_questions(library)
    if not questions:
        raise _BadInputError(f"Nothing in {library.name} suggests a question. Ask one: Q='...'")
    library.notes.append(_MADE_UP)
    return questions


def _question(given: str) -> str:
    """Return the question as it can be asked.

    Raises:
        _BadInputError: It is empty, no text, or longer than any question.
    """
    if given == "-":
        given = sys.stdin.buffer.read(4 * MAX_QUESTION_CHARS + 1).decode("utf-8", "surrogateescape")
    question = given.strip()
    if not question:
        raise _BadInputError("The question is empty.")
    if len(question) > MAX_QUESTION_CHARS:
        limit = f"{MAX_QUESTION_CHARS:,} characters"
        raise _BadInputError(f"The question has more than {limit}. Put long text into a folder: DOCS=folder")
    if any("\ud800" <= char <= "\udfff" for char in question):
        raise _BadInputError("The question is not UTF-8 text.")
    return question


def _run(models: Backend, library: Library, questions: Sequence[str]) -> int:
    """Ask every question, show each answer and the steps that led to it, the bill, and how to see more."""
    console = open_console()
    console.print(models.notice)
    console.print(f"Documents: {library.name}, {len(library.passages)} passages.", *library.notes, sep="\n")
    kept = _new_ledger()
    answered = True
    with Ledger(kept) as ledger, capture_decisions() as run:
        pipeline = Pipeline(RoutedChatModel(policy=models.policy, ledger=ledger), library).graph()
        for question in questions:
            answered &= _ask(pipeline, question, models, console)
    console.print(bill(models.policy, run))
    console.print(offer(kept), soft_wrap=True)  # commands are for copying
    return 0 if answered else _NO_ANSWER


def _new_ledger() -> Path:
    """Return where this run's ledger goes: a folder of its own, so that no run finds another's open circuits.

    Raises:
        _BadInputError: There is no folder for temporary files.
    """
    try:
        return Path(tempfile.mkdtemp(prefix="langroute-demo-")) / "ledger.db"
    except OSError as error:
        raise _BadInputError(f"The ledger cannot be kept: {error}. Set TMPDIR to a folder for it.") from None


def _ask(pipeline: Any, question: str, models: Backend, console: Console) -> bool:
    """Put one question to the pipeline and show what came of it; False where no answer did."""
    console.print(f"\nQuestion: {question}", style="bold")
    with capture_decisions() as decisions:
        try:
            state = pipeline.invoke({"question": question})
        except Exception as error:  # whatever a provider or a policy throws, the reader gets a message
            state = {"answer": f"none, because {reason(error)}"}
    console.print(f"Search query: {state.get('query', '')}")
    console.print(
        f"Passages read: {', '.join(passage.id for passage in state.get('passages', ())) or 'none'}"
    )
    console.print(f"Answer: {state['answer']}\n")
    console.print(steps_view(decisions, console.width))
    for line in failed_calls(models.policy, decisions):
        console.print(line)
    return "question" in state


def reason(error: Exception) -> str:
    """Return what ended a question, short and without secrets; failed calls are told below the steps."""
    # The group's own words: its text repeats the reason of every call.
    said = error.message if isinstance(error, AllAttemptsFailed) else str(error)
    line = redact(" ".join(f"{type(error).__name__}: {said}".split()))
    return line if len(line) <= _MAX_REASON_CHARS else f"{line[: _MAX_REASON_CHARS - 1]}…"


def print_anything() -> None:
    """Let a terminal that cannot show a character show a question mark instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
