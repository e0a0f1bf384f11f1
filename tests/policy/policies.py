"""Policies that the tests of this folder write to files, in each syntax."""

from pathlib import Path
from typing import Any

import pytest

from langroute.errors import PolicyError, PolicyProblem
from langroute.policy import Policy

__all__ = ["DESIGN_YAML", "TIERS", "problem_at", "problems_of", "refused", "written"]

TIERS: dict[str, Any] = {"small": "openai:nano", "large": "openai:big"}

DESIGN_YAML = """\
version: 1
tiers:                                   # cheapest first
  small:  {models: ["openai:gpt-5-nano", "anthropic:claude-haiku-4-5"]}
  large:
    models:
      - {model: "openai:gpt-5", settings: {reasoning_effort: high}, timeout_s: 60}
      - {model: "anthropic:claude-opus-4-5", boundary: hosted}
steps:
  query_rewrite: {cascade: [small], nodes: ["rewrite*"], latency_budget_s: 1.5}
  extraction:    {cascade: [small, large], verify: [schema, {grounded: {in: documents}}], repair: 1}
  planning:      {cascade: [large], verify: [tool_calls]}
  tool_use:
    cascade: [small, large]
    after_tool: {run_sql: large}
    on_tool_error: large
    verify: [tool_calls, not_repeating]
  synthesis:
    cascade: [small, large]
    route: {difficulty: {threshold: 0.42}}
    verify: [citations, no_refusal, {confidence: {min: 0.7}}]
    on_exhausted: best
default: {cascade: [large]}
budget: {approve_above_usd: 0.05}
"""


def written(folder: Path, text: str | bytes, name: str = "policy.yaml") -> Path:
    """Write a policy file and return its path."""
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(source: Any) -> PolicyError:
    """Return the error with which a policy is refused."""
    with pytest.raises(PolicyError) as caught:
        Policy.load(source)
    return caught.value


def problems_of(source: Any) -> dict[str, PolicyProblem]:
    """Return what is wrong with a policy by key path."""
    return {problem.path: problem for problem in refused(source).problems}


def problem_at(path: str, **policy: Any) -> PolicyProblem:
    """Return what is wrong at `path` in a policy of two tiers and what is given."""
    return problems_of({"tiers": TIERS, **policy})[path]
