"""What learning is made from: one record for each reply whose worth is known, wherever it was written."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from langroute.difficulty import difficulty
from langroute.errors import LangrouteError
from langroute.request import EMPTY, Request
from langroute.tuning.features import Features, prompt_features, request_values
from langroute.tuning.signals import reply_values

__all__ = ["SHADOW", "Outcome", "OutcomeError", "outcome_of", "read_outcomes"]

SHADOW = "shadow"
"""What chose the tiers of replies that a shadow compared."""

_TOLD = ("step", "model", "chosen_by", "start", "tenant", "day")


class OutcomeError(LangrouteError, ValueError):
    """A file of outcomes that cannot be read: which row, what is wrong, what to write."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One reply of one tier to one query, and how good it was."""

    query: str
    """Names the query: outcomes of several tiers on one query share it, and are never split apart."""
    tier: str
    score: float
    """How good the reply was, in [0, 1]; most often 0 or 1."""
    prompt: Features = field(repr=False)
    """The query as numbers; no text is kept."""
    reply: Mapping[str, float] = field(default_factory=lambda: EMPTY, repr=False)
    """The reply as named values (`langroute.tuning.signals`); empty where it is not known."""
    verdicts: Mapping[str, float] = field(default_factory=lambda: EMPTY)
    """Verifier to its score in [0, 1]; 1 or 0 where it gives none."""
    step: str = ""
    model: str = ""
    cost_usd: float | None = None
    chosen_by: str = ""
    """What chose the tier: `plan`, `explore`, `escalation` …; `shadow` of two replies that a shadow compared,
    whose worths are what it found; "" for a test that asked them all."""
    propensity: float | None = None
    """Probability in (0, 1] with which the step started where it did; None where it is not known."""
    start: str = ""
    """Tier at which the step started, where this is the reply that it returned; "" where it is not."""
    spent_usd: float | None = None
    """USD of the whole step, earlier drafts and checks included; likewise."""
    difficulty: float | None = None
    """Difficulty score of the query in [0, 1]."""
    tenant: str = ""
    day: str = ""
    """Day of the call, `2026-11-22`."""

    def after(self) -> Features:
        """Return what is known after the reply: prompt, reply and verdicts together."""
        # What a score said itself is no news to it.
        found = {f"verdict={name}": score for name, score in self.verdicts.items() if name != "learned"}
        return Features({**self.prompt.values, **self.reply, **found}, self.prompt.text, self.prompt.vector)


def outcome_of(
    row: Mapping[str, Any], place: str = "the row", embeddings: Embeddings | None = None
) -> Outcome:
    """Return the outcome that a row of a file holds.

    Args:
        row: `query` (or `query_id`), `tier` (or `model`), `score` and `prompt`; where they are known also
            `response`, `verdicts` (a mapping, or JSON of one), `tools` (a list, or JSON of one), `step`,
            `model`, `cost_usd`, `chosen_by`, `propensity`, `start`, `spent_usd`, `tenant`, `day`.
        place: Where the row stands, for errors.
        embeddings: Embed the prompts, in place of their hashed text; the same must be given to what routes.

    Raises:
        OutcomeError: A column is missing or holds something else.
    """
    query, tier = row.get("query", row.get("query_id")), row.get("tier") or row.get("model")
    prompt = row.get("prompt")
    if query is None or not tier or not isinstance(prompt, str):
        needed = "`query`, `tier`, `score` and `prompt`"
        raise OutcomeError(f"{place} has not all of {needed}: it has {', '.join(map(str, row)) or 'nothing'}")
    score = _number(row.get("score"), "score", place)
    if score is None or not 0 <= score <= 1:
        raise OutcomeError(f"{place} has the score {row.get('score')!r}: write a number from 0 to 1")
    propensity = _number(row.get("propensity"), "propensity", place)
    if propensity is not None and not 0 < propensity <= 1:
        raise OutcomeError(f"{place} has the propensity {propensity:g}: it is a probability above 0, up to 1")
    cost_usd = _number(row.get("cost_usd"), "cost_usd", place)
    if cost_usd is not None and not 0 <= cost_usd < math.inf:
        raise OutcomeError(f"{place} has the cost_usd {cost_usd:g}: write USD from 0 up, or nothing")
    request = Request((HumanMessage(prompt),), tools=_tools(row, place))
    response = row.get("response")
    reply = reply_values(request, AIMessage(response)) if isinstance(response, str) else EMPTY
    told = {key: str(row[key]) for key in _TOLD if row.get(key)}
    return Outcome(
        query=str(query),
        tier=str(tier),
        score=score,
        prompt=_prompt(request, embeddings),
        reply=reply,
        verdicts=_verdicts(row, place),
        cost_usd=cost_usd,
        propensity=propensity,
        spent_usd=_number(row.get("spent_usd"), "spent_usd", place),
        difficulty=difficulty(request).score,
        **told,
    )


def _tools(row: Mapping[str, Any], place: str) -> tuple[Any, ...]:
    tools = _json(row.get("tools"), list, "tools", place) or []
    for tool in tools:
        try:
            convert_to_openai_tool(tool)
        except (ValueError, TypeError):
            raise OutcomeError(f"{place} has the tool {tool!r}: write its schema as OpenAI has it") from None
    return tuple(tools)


def _verdicts(row: Mapping[str, Any], place: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in (_json(row.get("verdicts"), dict, "verdicts", place) or {}).items():
        score = _number(value, f"verdict {name}", place)
        if score is None:  # a struct of Parquet has every name in every row
            continue
        if not 0 <= score <= 1:
            raise OutcomeError(f"{place} has the verdict {name} {value!r}: write a number from 0 to 1")
        found[str(name)] = score
    return found


def _prompt(request: Request, embeddings: Embeddings | None) -> Features:
    if embeddings is None:
        return prompt_features(request)
    # As `Embedder` of routing has it, which embeds the question when it routes.
    (vector,) = embeddings.embed_documents([request.asked])
    length = math.hypot(*vector)
    return Features(request_values(request), vector=tuple(value / length for value in vector))


def read_outcomes(path: str | Path, *, embeddings: Embeddings | None = None) -> Iterator[Outcome]:
    """Yield the outcomes of a `.parquet`, `.jsonl` or `.csv` file, one row at a time; see `outcome_of`.

    Raises:
        OutcomeError: The file is of another kind, or a row cannot be read; the message names the row.
        ImportError: Parquet without pyarrow; the message is the install line.
    """
    file = Path(path)
    readers = {".parquet": _parquet, ".jsonl": _jsonl, ".csv": _csv}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise OutcomeError(f"{file} is none of {', '.join(readers)}: write the outcomes as one of them")
    for number, row in enumerate(_readable(reader(file), file), 1):
        yield outcome_of(row, f"row {number} of {file}", embeddings)


def _readable(rows: Iterable[Mapping[str, Any]], file: Path) -> Iterator[Mapping[str, Any]]:
    try:
        yield from rows
    except UnicodeDecodeError:
        raise OutcomeError(f"{file} is not in UTF-8: write it anew as UTF-8") from None
    except csv.Error as error:
        raise OutcomeError(f"{file} cannot be read as CSV: {error}") from None


def _parquet(file: Path) -> Iterable[Mapping[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ImportError("outcomes in Parquet need pyarrow: pip install 'langroute[tune]'") from None
    try:
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=1_000):
            yield from batch.to_pylist()
    except ArrowException as error:
        raise OutcomeError(f"{file} cannot be read as Parquet: {error}") from None


def _jsonl(file: Path) -> Iterable[Mapping[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _json(line, dict, "line", f"line {number} of {file}") or {}


def _csv(file: Path) -> Iterable[Mapping[str, Any]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        for row in csv.DictReader(lines):
            yield {name: value for name, value in row.items() if value != ""}  # CSV has no other nothing


def _number(value: Any, name: str, place: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise OutcomeError(f"{place} has the {name} {value!r}, which is no number") from None
    return None if number != number else number  # noqa: PLR0124 - pandas writes NaN for what is missing


def _json(value: Any, kind: type, name: str, place: str) -> Any:
    if value is None or value == "" or isinstance(value, kind):
        return value
    try:
        read = json.loads(value)
    except (TypeError, ValueError):
        read = None
    if not isinstance(read, kind):
        wanted = "an object" if kind is dict else "a list"
        raise OutcomeError(f"{place} has no JSON of {wanted} for {name}")
    return read
