"""Whatever a policy file holds, loading it gives a policy or a `PolicyError`, each within a second.

The full campaign: `pytest -m campaign -s tests/policy/test_fuzz_policy.py`, some minutes, figures printed.
"""

import copy
import datetime as dt
import json
import random
import time
from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest
import yaml

from langroute.errors import PolicyError
from langroute.loading import read
from langroute.policy import Policy, policy_schema

SEED = 20_251_122
SAMPLE = 1_500
CAMPAIGN = 100_000
LIMIT_S = 1.0
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

WRITTEN: dict[str, Any] = {
    "version": 1,
    "tiers": {
        "small": {
            "models": ["openai:nano", {"model": "anthropic:haiku", "boundary": "local", "expected_s": 0.8}]
        },
        "middle": "openai:mini",
        "large": {
            "models": [
                {
                    "model": "openai:big",
                    "name": "big",
                    "settings": {"reasoning_effort": "high", "temperature": 0, "logprobs": True},
                    "price": {"input": 1.25, "output": 10, "cache_read": 0.125},
                    "timeout_s": 60,
                    "context_tokens": 400_000,
                    "capabilities": {"tools": True, "images": False},
                }
            ]
        },
    },
    "steps": {
        "query_rewrite": {
            "cascade": "small",
            "nodes": ["rewrite*"],
            "latency_budget_s": 1.5,
            "boundary": "local",
        },
        "extraction": {
            "cascade": ["small", "large"],
            "verify": [
                "schema",
                {"grounded": {"in": "documents"}},
                {"judge": {"tier": "large", "rubric": "Is it true?"}},
            ],
            "repair": 1,
        },
        "tool_use": {
            "cascade": ["small", "middle", "large"],
            "after_tool": {"run_sql": "large"},
            "on_tool_error": "large",
            "stakes": "high",
        },
        "synthesis": {
            "cascade": ["small", "large"],
            "route": {"difficulty": {"threshold": 0.42}},
            "verify": ["citations", {"confidence": {"min": 0.7}}],
            "on_exhausted": "raise",
            "blame": "extraction",
            "why": "Readers check the sources.",
            "reviewed": "2025-11-01",
        },
    },
    "rules": [
        {
            "name": "gold",
            "when": {"metadata": {"user_tier": ["gold"]}, "step": "synthesis"},
            "start": "large",
        },
        {
            "when": {"keywords": ["refund"], "patterns": ["v\\d+"], "min_tokens": 10, "max_tokens": 900},
            "start": "middle",
        },
        {"when": {"intent": "complaint", "language": "de", "min_documents": 2}, "start": "large"},
    ],
    "intents": {"complaint": ["This is broken.", "I want my money back."]},
    "stakes": {"high": {"tier": "large"}, "tools": {"delete_file": "high"}},
    "classify": {"keywords": {"extraction": ["extract"]}, "examples": {"synthesis": "Answer with sources."}},
    "budget": {"approve_above_usd": 0.05},
    "cache_margin": 0.2,
    "review_every_days": 90,
}
POISON: list[Any] = [
    None, True, False, 0, -1, 1, 3.5, 1e308, float("inf"), float("nan"), 10**30, -(2**64), "", " ", "large",
    "nan", "openai:", ":x", "~", "no", "1", "é" * 300, "x" * 4_000, "\x00", "\ud800", "(", "a{99999999999}", "https://u:p@h",
    [], {}, [[]], [None], {"": ""}, {"models": {}}, {"a": {"b": {}}}, dt.date(2025, 1, 1), b"\xff\x00",
    dt.datetime(2025, 1, 1, 1, 1, tzinfo=dt.UTC),
]  # fmt: skip
JUNK = [
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"- ", b"[" * 400, b"{" * 400, b"&a ", b"*a", b"<<: ", b"? ", b"---\n",
    b"!!python/name:os.x ", b"%YAML 9\n", b"'", b'"', b"\t", b"9" * 5_000, b"a." * 400, b"\\u0000", b": ",
    b"\n", b"#", b"[[x]]\n", b"\r", b"\xe2\x80\xa8", b"1e999", b"|\n", b"=", b",",
]  # fmt: skip


@dataclass
class Figures:
    """What a run of mutated files came to."""

    files: int = 0
    accepted: int = 0
    refused: int = 0
    unhelpful: int = 0
    """Refusals that do not name the file or what to do, and policies that the JSON Schema would refuse."""
    slowest_s: float = 0.0


def places(data: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) in `data`."""
    keys = list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    found = [(data, key) for key in keys]
    return found + [place for key in keys for place in places(data[key])]


def mutate(data: Any, rng: random.Random) -> None:
    """Change one thing somewhere in `data`."""
    container, key = rng.choice(places(data))
    other, other_key = rng.choice(places(data))
    match rng.randrange(7):
        case 0:
            del container[key]
        case 1:
            container[key] = copy.deepcopy(other[other_key])
        case 2 | 3:
            container[key] = copy.deepcopy(rng.choice(POISON))
        case 4 if isinstance(container, dict):
            name = str(key)
            container[rng.choice([f"{name}s", name[1:], name.upper(), "api_key", "models", 7])] = (
                container.pop(key)
            )
        case 5 if isinstance(container, list):
            container.append(container[key])
        case 6:
            for _ in range(rng.choice([3, 40, 90])):
                container[key] = rng.choice([[container[key]], {"a": container[key]}])


def bomb(data: Any, rng: random.Random) -> None:
    """Put lists of lists somewhere into `data`, which YAML writes with aliases."""
    container, key = rng.choice(places(data))
    for _ in range(rng.choice([2, 4, 9])):
        container[key] = [container[key]] * 9


def as_toml(value: Any) -> str:
    """Return `value` as inline TOML."""
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(str(key))} = {as_toml(inner)}" for key, inner in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, dt.date):
        return value.isoformat()
    return (
        json.dumps(value, default=str)
        .replace("NaN", "nan")
        .replace("Infinity", "inf")
        .replace("null", '"null"')
    )


def text_of(data: Any, suffix: str) -> str:
    if suffix == ".yaml":
        try:
            return yaml.dump(data, Dumper=DUMPER, sort_keys=False, default_flow_style=None)
        except UnicodeEncodeError:  # half a surrogate pair, which only the slow dumper writes
            return yaml.safe_dump(data, sort_keys=False, default_flow_style=None)
    if suffix == ".json":
        return json.dumps(data, default=str)
    return "\n".join(f"{json.dumps(str(key))} = {as_toml(value)}" for key, value in data.items())


def garble(content: bytes, rng: random.Random) -> bytes:
    """Change a few bytes somewhere in a file."""
    at, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    match rng.randrange(5):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + content[min(end, at + 40) :]
        case 2:
            return content[:end] + content[at:]
        case 3:
            return content[:at] + rng.choice(JUNK) + content[at:]
    flipped = bytearray(content or b" ")
    for _ in range(rng.randrange(1, 6)):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def mutated_file(rng: random.Random) -> tuple[str, bytes]:
    suffix = rng.choice([".yaml", ".toml", ".json"])
    data = copy.deepcopy(WRITTEN)
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        if data:
            mutate(data, rng)
    if suffix == ".yaml" and data and rng.random() < 0.1:
        bomb(data, rng)
    content = text_of(data, suffix).encode("utf-8", "surrogatepass")
    for _ in range(rng.choice([0, 0, 1, 3])):
        content = garble(content, rng)
    return suffix, content


def load_all(count: int, seed: int, folder: Any) -> Figures:
    """Load `count` mutated files; what is neither policy nor `PolicyError` leaves as it was raised."""
    rng = random.Random(seed)  # noqa: S311 - mutations, no secrets
    figures = Figures()
    validator = jsonschema.Draft202012Validator(policy_schema())
    for number in range(count):
        suffix, content = mutated_file(rng)
        path = folder / f"policy{suffix}"
        path.write_bytes(content)
        start_s = time.thread_time()
        try:
            policy = Policy.load(path)
        except PolicyError as error:
            figures.refused += 1
            figures.unhelpful += not all(problem.message and problem.remedy for problem in error.problems)
            figures.unhelpful += str(path) not in str(error)
        else:
            figures.accepted += 1
            assert policy.digest
            figures.unhelpful += figures.accepted % 10 == 0 and not validator.is_valid(read(path))
        spent_s = time.thread_time() - start_s
        figures.slowest_s = max(figures.slowest_s, spent_s)
        assert spent_s < LIMIT_S, f"file {number} of seed {seed} took {spent_s:.2f} s"
    figures.files = count
    return figures


def test_a_sample_of_mutated_files_gives_policies_or_policy_errors(tmp_path):
    figures = load_all(SAMPLE, SEED, tmp_path)

    assert figures.accepted > SAMPLE // 50
    assert figures.refused > SAMPLE // 2
    assert figures.unhelpful == 0


@pytest.mark.campaign
def test_a_hundred_thousand_mutated_files_give_policies_or_policy_errors(tmp_path):
    figures = load_all(CAMPAIGN, SEED + 1, tmp_path)

    print(f"\npolicy fuzz, seed {SEED + 1}: {figures}")  # noqa: T201 - the campaign's figures are its result
    assert figures.refused + figures.accepted == CAMPAIGN
    assert figures.unhelpful == 0
