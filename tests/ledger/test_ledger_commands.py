"""`langroute export` and `langroute feedback`, and what other tools read of an exported file."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from synthetic import decisions, fill
from typer.testing import CliRunner

from langroute import Ledger
from langroute.cli import app

COUNT = 400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Ledger(tmp_path / "a.db") as ledger:
        fill(ledger, COUNT, seed=8)
    return tmp_path / "a.db"


def run(*args: Any) -> Any:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_export_is_read_by_duckdb_with_attempts_in_it(ending: str, path: Path, tmp_path: Path) -> None:
    target = tmp_path / f"out.{ending}"
    ran = run("export", target, "--ledger", path)
    assert (ran.exit_code, f"{COUNT} decisions written" in ran.output) == (0, True), ran.output
    read = f"read_json_auto('{target}')" if ending == "jsonl" else f"'{target}'"
    asked = f"SELECT count(*), sum(len(attempts)), min(id), sum(top_usd) FROM {read}"  # noqa: S608 - our own file
    count, calls, first, top = duckdb.sql(asked).fetchall()[0]
    records = list(decisions(COUNT, seed=8))
    assert (count, calls) == (COUNT, sum(len(record.attempts) for record in records))
    assert first == min(record.id for record in records)
    assert top == pytest.approx(sum(record.top_usd for record in records))
    assert sorted(p.name for p in tmp_path.iterdir() if "part" in p.name) == []


def test_parquet_and_json_lines_say_the_same(path: Path, tmp_path: Path) -> None:
    for ending in ("jsonl", "parquet"):
        run("export", tmp_path / f"out.{ending}", "--ledger", path)
    columns = "id, decided_at_s, step, thread, spend_usd, latency_s, json_extract_string(plan, '$.step')"
    same = [
        duckdb.sql(f"SELECT {columns} FROM {read} ORDER BY id").fetchall()  # noqa: S608 - our own file
        for read in (f"read_json('{tmp_path}/out.jsonl')", f"'{tmp_path}/out.parquet'")
    ]
    assert same[0] == same[1]


def test_export_takes_a_window_and_a_step(path: Path, tmp_path: Path) -> None:
    with Ledger(path) as ledger:
        records = list(ledger.decisions(step="planning"))
    ran = run("export", tmp_path / "o.jsonl", "--ledger", path, "--step", "planning", "--since", "2026-01-01")
    assert ran.exit_code == 0, ran.output
    lines = [json.loads(line)["id"] for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert lines == [record.id for record in records]
    run("export", tmp_path / "n.jsonl", "--ledger", path, "--until", "520w")
    assert (tmp_path / "n.jsonl").read_text() == ""


def test_export_takes_how_long_ago_as_the_report_does(path: Path, tmp_path: Path) -> None:
    ran = run("export", tmp_path / "o.jsonl", "--ledger", path, "--since", "5200w", "--until", "5199w")
    assert (ran.exit_code, ran.stdout[:11]) == (0, "0 decisions"), ran.output


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_an_export_that_cannot_be_written_names_the_file_and_why(
    ending: str, path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "none" / f"out.{ending}"
    ran = run("export", target, "--ledger", path)
    said = f"langroute: {target} cannot be written: No such file or directory\n"
    assert (ran.exit_code, said in ran.stderr) == (2, True), ran.output


def test_feedback_is_kept_and_says_what_it_reaches(path: Path) -> None:
    ran = run("feedback", "0.5", "--ledger", path, "--run", "run-3", "--source", "judge")
    assert (ran.exit_code, "it reaches 5 decisions" in ran.output) == (0, True), ran.output
    with Ledger(path) as ledger:
        assert {f.source for record in ledger.decisions(run="run-3") for f in record.feedback} == {"judge"}


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["export", "o.csv"], "end it with .jsonl or .parquet"),
        (["feedback", "1"], "about one decision, run or thread"),
        (["feedback", "2", "--run", "a"], "give a number from 0"),
    ],
)
def test_bad_input_is_told_and_exits_with_2(args: list[str], told: str, path: Path) -> None:
    ran = run(*args, "--ledger", path)
    assert (ran.exit_code, told in ran.output) == (2, True), ran.output


def test_a_ledger_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    ran = run("export", tmp_path / "o.jsonl", "--ledger", tmp_path / "none.db")
    assert (ran.exit_code, "there is no ledger at" in ran.output) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_export_that_breaks_leaves_the_old_file(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "o.jsonl"
    target.parent.mkdir()
    target.write_text("old")

    def broken(_: int) -> None:
        raise KeyError

    with Ledger(path) as ledger, pytest.raises(KeyError):
        ledger.export(target, progress=broken)
    assert (target.read_text(), [*target.parent.iterdir()]) == ("old", [target])
