"""How often a tuned threshold breaks its floor, on recorded outcomes of real models; no model is called.

    LANGROUTE_BENCH_DATA=FOLDER python tests/benchmarks/floor.py

For every set, 200 resamples of 1,000 queries are drawn with replacement, a threshold is tuned on each, and
its quality is that of all queries of the set. The scores are simple, and fitted on other folds.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from langroute.tuning.evidence import Rows
from langroute.tuning.guarantee import Floats
from langroute.tuning.sweep import Kind, sweep
from langroute.tuning.thresholds import tune

RESAMPLES, ROWS, CONFIDENCE, SEED = 200, 1_000, 0.9, 0
FLOORS = (0.95, 0.98)
BFCL_PAIRS = (
    ("claude-3-haiku-20240307", "claude-3-5-sonnet-20240620"),
    ("gpt-3.5-turbo-0125", "gpt-4-turbo-2024-04-09"),
    ("gpt-3.5-turbo-0125-FC", "gpt-4-1106-preview"),
    ("meta-llama_Meta-Llama-3-8B-Instruct", "claude-3-5-sonnet-20240620"),
)
GSM_PAIRS = (
    ("claude-3-haiku-20240307", "claude-3-5-sonnet-20241022"),
    ("Meta-Llama-3.1-8B-Instruct", "Llama-3.1-405B-Inst@sambanova"),
)
SECOND_CHEAP = "gpt-3.5-turbo-0125"


def floor_kept(rows: Rows, kind: Kind, floor: float) -> dict[str, float]:
    """Return in which share of the resamples plain tuning and ours break the floor, and what they save."""
    rng = np.random.default_rng(SEED)
    told: dict[str, list[float]] = {"plain": [], "plain_saving": [], "ours": [], "ours_saving": []}
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, len(rows), ROWS)
        columns = [getattr(rows, n)[drawn] for n in ("score", "cheap", "strong", "cheap_usd", "strong_usd")]
        thresholds = {
            "plain": plainly(Rows.read(*columns), kind, floor),
            "ours": tune(*columns, kind=kind, floor=floor, confidence=CONFIDENCE).threshold,
        }
        for name, threshold in thresholds.items():
            broken, saved = truth(rows, kind, threshold, floor)
            told[name].append(broken)
            told[f"{name}_saving"].append(saved)
    return {name: float(np.mean(values)) for name, values in told.items()}


def plainly(seen: Rows, kind: Kind, floor: float) -> float | None:
    """Return the threshold that saves most while the rows seen keep the floor on average."""
    every = np.unique(seen.score)
    every = every[::-1] if kind == "verify" else np.append(every[1:], every[-1] + 1)
    swept = sweep(seen, kind, floor, every)
    saving = np.where(swept.table.mean >= 0, swept.saving, -np.inf)
    best = int(np.argmax(saving))
    return float(swept.thresholds[best]) if saving[best] > 0 else None


def truth(rows: Rows, kind: Kind, threshold: float | None, floor: float) -> tuple[bool, float]:
    """Return whether the threshold breaks the floor on all rows, and the share that it saves there."""
    if threshold is None:
        return False, 0.0
    kept = rows.score >= threshold if kind == "verify" else rows.score < threshold
    quality = np.where(kept, rows.cheap, rows.strong).mean()
    drafted = rows.cheap_usd if kind == "verify" else 0.0
    spent = np.where(kept, rows.cheap_usd, drafted + rows.strong_usd).mean()
    return quality < floor * rows.strong.mean() - 1e-12, 1 - spent / rows.strong_usd.mean()


def sets(folder: Path) -> Iterator[tuple[str, Kind, Rows]]:
    """Yield each set's name, what its threshold does, and its rows."""
    for dataset in ("routellm_mmlu", "routellm_gsm8k"):
        cheap, strong = pair(
            folder / "routellm.parquet", dataset, "mixtral-8x7b-instruct-v0.1", "gpt-4-1106-preview"
        )
        yield f"{dataset}, prompt length", "route", rows_of(cheap, strong, lengths(cheap))
    for weak, better in BFCL_PAIRS:
        cheap, strong = pair(folder / "bfcl.parquet", "bfcl_v1_2024-08", weak, better)
        yield f"bfcl {weak}, kind and length of the call", "verify", rows_of(cheap, strong, by_kind(cheap))
    for weak, better in GSM_PAIRS:
        cheap, strong = pair(folder / "zeroeval.parquet", "zeroeval_gsm", weak, better)
        other = table(folder / "zeroeval.parquet", "zeroeval_gsm", SECOND_CHEAP)
        yield f"zeroeval_gsm {weak}, agreement", "verify", rows_of(cheap, strong, agreement(cheap, other))


Answers = dict[str, dict[str, Any]]


def table(path: Path, dataset: str, model: str) -> Answers:
    """Return the rows of one model by query id."""
    from pyarrow import parquet

    filters = [("dataset", "=", dataset), ("model", "=", model)]
    return {row["query_id"]: row for row in parquet.read_table(path, filters=filters).to_pylist()}


def pair(path: Path, dataset: str, weak: str, better: str) -> tuple[Answers, Answers]:
    """Return the rows of both models, of the queries that both have."""
    cheap, strong = table(path, dataset, weak), table(path, dataset, better)
    ids = [query for query in cheap if query in strong]
    return {query: cheap[query] for query in ids}, {query: strong[query] for query in ids}


def rows_of(cheap: Answers, strong: Answers, score: Floats) -> Rows:
    """Return the rows of a pair with this score."""
    columns = [
        [row[name] for row in side.values()] for name in ("score", "cost_usd") for side in (cheap, strong)
    ]
    return Rows.read(score, *columns)


def lengths(cheap: Answers) -> Floats:
    """Return the length of each prompt."""
    return np.array([float(len(row["prompt"])) for row in cheap.values()])


def by_kind(cheap: Answers) -> Floats:
    """Return how often like replies are right in the other four of five folds, by kind of call and length."""
    rows = list(cheap.values())
    size = np.array([len(row["response"] or "") for row in rows])
    third = np.searchsorted(np.quantile(size, (1 / 3, 2 / 3)), size)
    kinds = np.array([f"{row['category']} {at}" for row, at in zip(rows, third, strict=True)])
    right = np.array([float(row["score"]) for row in rows])
    fold = np.random.default_rng(SEED).integers(0, 5, len(rows))
    score = np.zeros(len(rows))
    for kind in np.unique(kinds):
        for out in range(5):
            seen = (kinds == kind) & (fold != out)
            # As if one more row of each outcome had been seen.
            score[(kinds == kind) & (fold == out)] = (right[seen].sum() + 1) / (seen.sum() + 2)
    return score - size / (size.max() + 1) * 1e-3


def agreement(cheap: Answers, other: Answers) -> Floats:
    """Return whether a second cheap model gave the same answer; of equals, shorter replies score higher."""

    def answer(row: dict[str, Any] | None) -> Any:
        return None if row is None else json.loads(row["meta"]).get("answer")

    agrees = [
        answer(row) is not None and answer(row) == answer(other.get(query)) for query, row in cheap.items()
    ]
    size = np.array([len(row["response"] or "") for row in cheap.values()])
    return (np.array(agrees, dtype=float) + 1 - size / (size.max() + 1)) / 2


def main(say: Callable[[str], None] = print) -> int:
    """Print the table; return 1 where there are no data, 2 where the floor is broken too often."""
    folder = os.environ.get("LANGROUTE_BENCH_DATA")
    if not folder or not Path(folder, "routellm.parquet").exists():
        files = "routellm.parquet, bfcl.parquet and zeroeval.parquet"
        say(f"Set LANGROUTE_BENCH_DATA to the folder that holds {files}.")
        return 1
    say(f"{RESAMPLES} resamples of {ROWS:,}, confidence {CONFIDENCE:.0%}, seed {SEED}")
    say(f"{'set':64} floor  broken plain / ours   saved plain / ours")
    found = []
    for name, kind, rows in sets(Path(folder)):
        for floor in FLOORS:
            told = floor_kept(rows, kind, floor)
            found.append(told)
            broken = f"{told['plain']:6.1%} / {told['ours']:5.1%}"
            saved = f"{told['plain_saving']:6.1%} / {told['ours_saving']:6.1%}"
            say(f"{name:64} {floor:.2f}  {broken:>20}   {saved}")
    lost = np.mean([told["plain_saving"] - told["ours_saving"] for told in found])
    most = max(told["ours"] for told in found)
    say(f"broken at most {most:.1%}; saving lost {lost:.1%} on average")
    return 0 if most <= 1 - CONFIDENCE else 2


if __name__ == "__main__":
    sys.exit(main())
