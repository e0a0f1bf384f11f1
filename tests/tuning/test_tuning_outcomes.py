"""Outcomes are read alike from every kind of file, and a row that cannot be read is named."""

import csv
import json

import pandas as pd
import pytest

from langroute.tuning.outcomes import OutcomeError, outcome_of, read_outcomes

ROWS = [
    {
        "query": "q1",
        "tier": "small",
        "score": 0.5,
        "prompt": "Name a river.",
        "response": "The Rhine.",
        "verdicts": '{"schema": 1.0}',
        "cost_usd": 0.001,
        "propensity": 0.2,
        "chosen_by": "explore",
        "day": "2026-11-22",
    },
    {"query": "q2", "tier": "large", "score": 1.0, "prompt": "And a city?", "model": "openai:gpt-5"},
]


def write(path):
    if path.suffix == ".parquet":
        pd.DataFrame(ROWS).to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n")
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(ROWS[0] | ROWS[1]))
            writer.writeheader()
            writer.writerows(ROWS)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_every_kind_of_file_gives_the_same_outcomes(suffix, tmp_path):
    first, second = read_outcomes(write(tmp_path / f"outcomes{suffix}"))
    assert (first.query, first.tier, first.score, first.propensity) == ("q1", "small", 0.5, 0.2)
    assert (first.chosen_by, first.day, first.cost_usd) == ("explore", "2026-11-22", 0.001)
    assert first.verdicts == {"schema": 1.0}
    assert dict(first.after().values.items())["verdict=schema"] == 1.0  # noqa: PD011 - no frame of pandas
    assert first.reply["reply_words"] > 0
    assert (second.model, second.reply, second.propensity, second.cost_usd) == (
        "openai:gpt-5",
        {},
        None,
        None,
    )


def test_an_outcome_keeps_no_text():
    outcome = outcome_of({**ROWS[0], "prompt": "SECRET words", "response": "SECRET reply"})
    assert "secret" not in repr((outcome, outcome.prompt, outcome.reply)).lower()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": 2}, "has the score 2: write a number from 0 to 1"),
        ({"score": "good"}, "has the score 'good', which is no number"),
        ({"score": None}, "has the score None"),
        ({"prompt": None}, "has not all of `query`, `tier`, `score` and `prompt`"),
        ({"propensity": 0}, "has the propensity 0: it is a probability above 0"),
        ({"verdicts": "[]"}, "has no JSON of an object for verdicts"),
        ({"tools": "{"}, "has no JSON of a list for tools"),
        ({"tools": ["sum"]}, "has the tool 'sum': write its schema"),
        ({"verdicts": {"judge": "high"}}, "has the verdict judge 'high', which is no number"),
        ({"verdicts": {"judge": 7}}, "has the verdict judge 7: write a number from 0 to 1"),
        ({"cost_usd": -1}, "has the cost_usd -1: write USD from 0 up"),
        ({"cost_usd": "inf"}, "has the cost_usd inf"),
    ],
)
def test_a_row_that_cannot_be_read_says_why(change, message):
    with pytest.raises(OutcomeError, match=message):
        outcome_of({**ROWS[0], **change})


def test_the_row_of_a_file_is_named(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{json.dumps(ROWS[0])}\n{json.dumps({**ROWS[1], 'score': 7})}\n")
    with pytest.raises(OutcomeError, match=r"row 2 of .*bad\.jsonl has the score 7"):
        list(read_outcomes(path))
    path.write_text("no json\n")
    with pytest.raises(OutcomeError, match=r"line 1 of .*bad\.jsonl"):
        list(read_outcomes(path))
    with pytest.raises(OutcomeError, match=r"none of \.parquet, \.jsonl, \.csv"):
        list(read_outcomes(tmp_path / "outcomes.xlsx"))


def test_a_verdict_that_a_row_does_not_have_is_left_out():
    verdicts = {"schema": None, "judge": 0.5}  # as a struct of Parquet has it
    assert outcome_of({**ROWS[0], "verdicts": verdicts}).verdicts == {"judge": 0.5}


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_a_file_that_holds_something_else_is_named(suffix, tmp_path):
    path = tmp_path / f"outcomes{suffix}"
    path.write_bytes(b"\xff\xfe\x00 neither text nor a table")
    with pytest.raises(OutcomeError, match=rf"outcomes\{suffix} (is not in UTF-8|cannot be read as Parquet)"):
        list(read_outcomes(path))
