"""The recorded outcomes of real models, as the requests and replies that langroute would have seen.

The folder that `LANGROUTE_BENCH_DATA` names holds them as Parquet files, one row a query and model; the
README says how they are made from public repositories. None is part of this one.
"""

import ast
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from langchain_core.messages import AIMessage, HumanMessage

from langroute.request import Request
from langroute.tuning.metrics import Pair

__all__ = [
    "BFCL_PAIRS",
    "FILES",
    "GSM_PAIRS",
    "STRONG",
    "WEAK",
    "Answers",
    "DataMissing",
    "Set",
    "bfcl",
    "routellm",
    "zeroeval",
]

FILES = ("routellm.parquet", "zeroeval.parquet", "bfcl.parquet")
VARIABLE = "LANGROUTE_BENCH_DATA"

WEAK, STRONG = "mixtral-8x7b-instruct-v0.1", "gpt-4-1106-preview"
"""RouteLLM's pair."""
BFCL_PAIRS = {
    "haiku → sonnet": ("claude-3-haiku-20240307", "claude-3-5-sonnet-20240620"),
    "gpt-3.5 → gpt-4-turbo": ("gpt-3.5-turbo-0125", "gpt-4-turbo-2024-04-09"),
    "gpt-3.5 FC → gpt-4": ("gpt-3.5-turbo-0125-FC", "gpt-4-1106-preview"),
    "llama-3-8B → sonnet": ("meta-llama_Meta-Llama-3-8B-Instruct", "claude-3-5-sonnet-20240620"),
}
GSM_PAIRS = {
    "haiku → sonnet": ("claude-3-haiku-20240307", "claude-3-5-sonnet-20241022"),
    "llama-8B → 405B": ("Meta-Llama-3.1-8B-Instruct", "Llama-3.1-405B-Inst@sambanova"),
}


class DataMissing(Exception):
    """The recorded outcomes are not where they should be; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What one model did on every query of a set."""

    score: Any
    cost: Any
    replies: Sequence[AIMessage]
    answers: Sequence[str]
    """The final answer that was read off each reply; "" where there is none."""


@dataclass(frozen=True, eq=False)
class Set:
    """Queries in one fixed order, and what each model made of them."""

    name: str
    requests: Sequence[Request]
    kinds: Any
    split: Any
    models: Mapping[str, Answers]

    def __len__(self) -> int:
        return len(self.requests)

    def rows(self, *splits: str) -> Any:
        """Return the positions of the queries in these splits."""
        return np.flatnonzero(np.isin(self.split, splits))

    def pair(self, weak: str, strong: str, *, cascade: bool = False, extra: Any = 0.0) -> Pair:
        """Return two of the models side by side."""
        w, s = self.models[weak], self.models[strong]
        return Pair(w.score, s.score, w.cost, s.cost, cascade, extra)


def folder() -> Path:
    """Return the folder of the recorded outcomes.

    Raises:
        DataMissing: The variable is not set, or a file is not there.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        raise DataMissing(
            f"{VARIABLE} is not set: it names the folder of {', '.join(FILES)}. None of them is part of"
            " langroute; the README, under “Learned scores”, says how to obtain them."
        )
    missing = [name for name in FILES if not (Path(named) / name).is_file()]
    if missing:
        raise DataMissing(f"{VARIABLE} names {named}, which has no {', '.join(missing)}")
    return Path(named)


def routellm(name: str) -> Set:
    """Return `routellm_mmlu` or `routellm_gsm8k`."""
    return _set(name, "routellm.parquet", lambda row: Request((HumanMessage(row.prompt),)), _plain)


def zeroeval(name: str) -> Set:
    """Return `zeroeval_gsm`, `zeroeval_crux` or `zeroeval_math-l5`."""
    return _set(name, "zeroeval.parquet", lambda row: Request((HumanMessage(row.prompt),)), _plain)


def bfcl() -> Set:
    """Return the tool calls of BFCL, the tools bound in the request and the calls read off the replies."""
    return _set("bfcl_v1_2024-08", "bfcl.parquet", _tool_request, _tool_reply)


@cache
def _file(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path)


def _set(name: str, file: str, request: Any, reply: Any) -> Set:
    rows = _file(folder() / file)
    rows = rows[rows.dataset == name]
    queries = rows.drop_duplicates("query_id").sort_values("query_id").set_index("query_id")
    models = {}
    for model, group in rows.groupby("model"):
        own = group.set_index("query_id").loc[queries.index]
        models[str(model)] = Answers(
            own.score.to_numpy(float),
            own.cost_usd.to_numpy(float),
            [reply(text) for text in own.response],
            [str(json.loads(meta).get("answer") or "") if isinstance(meta, str) else "" for meta in own.meta],
        )
    requests = [request(row) for row in queries.itertuples()]
    return Set(name, requests, queries.category.to_numpy(), queries.split.to_numpy(), models)


def _plain(text: Any) -> AIMessage:
    return AIMessage(text if isinstance(text, str) else "")


# Tool calls ----------------------------------------------------------------------------------------------

_TYPES = {
    "dict": "object", "HashMap": "object", "tuple": "array", "ArrayList": "array", "Array": "array",
    "float": "number", "double": "number", "long": "integer", "String": "string", "char": "string",
    "Boolean": "boolean", "any": "", "": "",
}  # fmt: skip
"""BFCL's names of types, as JSON Schema has them; "" is any."""


def _tool_request(row: Any) -> Request:
    told = json.loads(row.meta)["tools"]
    tools = told if isinstance(told, list) else [told]
    bound = tuple({"type": "function", "function": _named(_schema(tool))} for tool in tools)
    return Request((HumanMessage(row.prompt),), tools=bound)


def _named(tool: dict[str, Any]) -> dict[str, Any]:
    return {**tool, "name": tool["name"].replace(".", "_")}


def _schema(value: Any) -> Any:
    """Return a schema with its types spelt as in JSON Schema."""
    if isinstance(value, list):
        return [_schema(item) for item in value]
    if not isinstance(value, dict):
        return value
    read = {key: _schema(inner) for key, inner in value.items()}
    if isinstance(value.get("type"), str):
        read["type"] = _TYPES.get(value["type"], value["type"])
    return read


def _tool_reply(recorded: Any) -> AIMessage:
    """Return a recorded reply as a message with its calls; what cannot be read as calls is text alone."""
    try:
        told = json.loads(recorded)
    except (TypeError, ValueError):  # cut at the length that the set keeps
        told = recorded if isinstance(recorded, str) else ""
    if isinstance(told, list):
        return _called([_native(item) for item in told], "")
    text = str(told)
    calls = _python_calls(text)
    return AIMessage(text) if calls is None else _called(calls, text)


def _native(item: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(item, dict) or len(item) != 1:
        return "", {}
    ((name, arguments),) = item.items()
    try:
        args = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        args = {}
    return str(name), args if isinstance(args, dict) else {}


def _python_calls(text: str) -> list[tuple[str, dict[str, Any]]] | None:
    """Return the calls that a reply writes as Python, `[f(a=1), g()]`; None where it is no such thing."""
    body = re.sub(r"^```\w*|```$", "", text.strip()).strip()
    try:
        tree = ast.parse(body, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    nodes = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
    if not all(isinstance(node, ast.Call) for node in nodes):
        return None
    return [_python_call(node) for node in nodes if isinstance(node, ast.Call)]


def _python_call(node: ast.Call) -> tuple[str, dict[str, Any]]:
    placed = {str(place): _literal(value) for place, value in enumerate(node.args)}
    return ast.unparse(node.func), placed | {str(word.arg): _literal(word.value) for word in node.keywords}


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return ast.unparse(node)


def _called(calls: list[tuple[str, dict[str, Any]]], text: str) -> AIMessage:
    made = [
        {"name": name.replace(".", "_"), "args": args, "id": f"call_{place}"}
        for place, (name, args) in enumerate(calls)
    ]
    return AIMessage(text, tool_calls=made)
