"""`langroute label`: a sample with known chances to be drawn, and the scores that people gave it."""

import csv
import dataclasses
import json
import shlex
import shutil
from collections import Counter

import pandas as pd
import pytest
from databases import database_url
from made_decisions import decisions
from made_ledger import write_ledger
from typer.testing import CliRunner

from langroute import Ledger
from langroute.cli import app
from langroute.ledger.reading import Filter
from langroute.ledger.store import open_store
from langroute.ledger.verdicts import bounds
from langroute.report.drawing import STRATA, draw, stratum_of

__all__ = ["database_url"]


@pytest.fixture(scope="module")
def plain():
    """Two thousand decisions without labels, whose judge accepts from a score of 0.5 on."""
    return [(judged(record), None) for record, _ in decisions(2_000)]


def judged(record):
    def with_scores(attempt):
        verdicts = [
            one
            | {"score": round(0.5 + (one["score"] / 2 if one["accepted"] else -one["score"] / 2 - 0.01), 3)}
            for one in attempt.verdicts
        ]
        return dataclasses.replace(attempt, verdicts=verdicts)

    return dataclasses.replace(record, attempts=tuple(map(with_scores, record.attempts)))


@pytest.fixture(scope="module")
def filled_once(plain, tmp_path_factory):
    path = tmp_path_factory.mktemp("ledger") / "a.db"
    open_store(write_ledger(path, plain)).close()
    return path


@pytest.fixture
def ledger(filled_once, tmp_path):
    shutil.copy(filled_once, tmp_path / "a.db")
    return f"sqlite:///{tmp_path / 'a.db'}"


def run(*args, **said):
    return CliRunner().invoke(app, ["label", *map(str, args)], **said)


def rows_of(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def filled(path, scores, target=None):
    """Write the file again with these scores: a list in the order of its rows, or id to score."""
    rows = rows_of(path)
    for number, row in enumerate(rows):
        row["score"] = scores[number] if isinstance(scores, list) else scores.get(row["id"], "")
    with (target or path).open("w", encoding="utf-8", newline="") as file:
        lines = csv.DictWriter(file, rows[0])
        lines.writeheader()
        lines.writerows(rows)
    return target or path


# Drawing -------------------------------------------------------------------------------------------------


def test_thresholds_are_read_off_the_verdicts_on_either_database(database_url, plain):
    write_ledger(database_url, plain)
    with Ledger(database_url) as ledger:
        found = bounds(ledger.store, Filter())
    near = {key: bound for key, bound in found.items() if key[1:] == ("synthesis", "judge")}
    assert len(near) == 2
    assert list(near.values()) == pytest.approx([0.5, 0.5], abs=0.03)


def test_each_stratum_is_drawn_with_the_chance_that_is_told(ledger, plain, tmp_path):
    assert run("draw", tmp_path / "o.csv", "--ledger", ledger).exit_code == 0
    drawn = pd.read_csv(tmp_path / "o.csv")
    with Ledger(ledger) as opened:
        near = bounds(opened.store, Filter())
    sizes = Counter(stratum_of(record, near, {}) for record, _ in plain)
    sizes.pop(None, None)
    assert len(drawn) == drawn.id.nunique() == 200
    assert drawn.groupby("stratum").size().to_dict() == {
        "uncertain": 60,
        "accepted cheap": 60,
        "escalated": 60,
        "rest": 20,
    }
    for stratum, part in drawn.groupby("stratum"):
        assert set(part.propensity) == {len(part) / sizes[stratum]}
    assert (1 / drawn.propensity).sum() == pytest.approx(sizes.total())


def test_strata_are_what_they_are_called(ledger, plain, tmp_path):
    run("draw", tmp_path / "o.csv", "--ledger", ledger)
    records = {record.id: record for record, _ in plain}
    for row in rows_of(tmp_path / "o.csv"):
        record = records[row["id"]]
        whys = [attempt.why for attempt in record.attempts]
        if row["stratum"] == "escalated":
            assert "escalation" in whys
        if row["stratum"] == "accepted cheap":
            assert (record.outcome, "escalation" in whys, record.tier != "large") == ("accepted", False, True)
        if row["stratum"] == "uncertain":
            said = [v["score"] for a in record.attempts if a.returned for v in a.verdicts]
            assert min(abs(score - 0.5) for score in said) <= 0.12


def test_the_same_seed_draws_the_same_and_another_draws_others(ledger, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("draw", tmp_path / f"{name}.csv", "--ledger", ledger, "--seed", seed)
    found = [(tmp_path / f"{name}.csv").read_bytes() for name in "abc"]
    assert found[0] == found[1] != found[2]


def test_every_decision_is_drawn_as_often_as_any_other_of_its_stratum(ledger):
    with Ledger(ledger) as opened:
        found = Counter(
            one.record.id
            for seed in range(25)
            for one in draw(opened.store, 40, wanted=Filter(step="synthesis"), seed=seed)[0]
            if one.stratum == "uncertain"
        )
        _, sizes = draw(opened.store, 40, wanted=Filter(step="synthesis"))
    mean = found.total() / sizes["uncertain"]
    variance = sum((found[one] - mean) ** 2 for one in found) / sizes["uncertain"]
    assert variance == pytest.approx(mean, rel=0.6)


def test_what_one_stratum_lacks_the_others_give(ledger, plain, tmp_path):
    run("draw", tmp_path / "o.csv", "--ledger", ledger, "--step", "planning", "--count", 5_000)
    drawn = rows_of(tmp_path / "o.csv")
    answered = [r for r, _ in plain if r.step == "planning" and any(a.returned for a in r.attempts)]
    assert len(drawn) == len(answered)
    assert {row["propensity"] for row in drawn} == {"1.0"}


def test_difficulty_near_the_policys_threshold_is_uncertain(ledger, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("""
tiers: {small: 'openai:nano', large: 'openai:big'}
steps: {query_rewrite: {cascade: [small, large], route: {difficulty: {threshold: 0.4}}}}
""")
    where = ("--ledger", ledger, "--step", "query_rewrite")
    run("draw", tmp_path / "a.csv", *where)
    run("draw", tmp_path / "b.csv", *where, "--policy", path)
    assert "uncertain" not in {row["stratum"] for row in rows_of(tmp_path / "a.csv")}
    assert "uncertain" in {row["stratum"] for row in rows_of(tmp_path / "b.csv")}


def test_texts_are_in_the_file_where_the_ledger_has_them_and_else_it_is_said(plain, tmp_path):
    kept = {
        "text_kept": "full",
        "prompt": [{"role": "human", "text": "=cmd|' /C calc'!A0"}],
        "reply": {"text": "@SUM(1)", "tool_calls": [{"name": "run", "args": '{"q": 1}'}]},
    }
    whole = write_ledger(tmp_path / "t.db", [(dataclasses.replace(plain[0][0], **kept), None)])
    ran = run("draw", tmp_path / "o.csv", "--ledger", whole)
    assert "does not hold" not in ran.output
    [row] = rows_of(tmp_path / "o.csv")
    assert row["prompt"] == "human: =cmd|' /C calc'!A0"
    assert row["reply"] == '\'@SUM(1)\ncalls run({"q": 1})'
    without = write_ledger(tmp_path / "n.db", plain[:10])
    ran = run("draw", tmp_path / "n.csv", "--ledger", without)
    assert "does not hold the texts of 10 of them" in ran.output
    assert {row["prompt"] for row in rows_of(tmp_path / "n.csv")} == {"(not kept)"}


def test_a_file_that_may_hold_scores_is_not_overwritten(ledger, tmp_path):
    (tmp_path / "o.csv").write_text("mine")
    ran = run("draw", tmp_path / "o.csv", "--ledger", ledger)
    assert (ran.exit_code, (tmp_path / "o.csv").read_text()) == (2, "mine")
    ran = run("draw", tmp_path / "p.csv", "--ledger", ledger, "--since", "2030-01-01")
    assert (ran.exit_code, "nothing can be drawn" in ran.output) == (2, True)


# Reading back --------------------------------------------------------------------------------------------


@pytest.fixture
def sample(ledger, tmp_path):
    run("draw", tmp_path / "o.csv", "--ledger", ledger)
    return tmp_path / "o.csv"


def feedback_in(ledger):
    with Ledger(ledger) as opened:
        return {f.id: f for record in opened.decisions(scored=True) for f in record.feedback}


def test_scores_become_feedback_with_their_propensity_once(ledger, sample):
    propensity = {row["id"]: float(row["propensity"]) for row in rows_of(sample)}
    filled(sample, ["1", "0", "0,5", " 0.25 ", *[""] * 196])
    ran = run("read", sample, "--ledger", ledger)
    assert (ran.exit_code, "4 labels kept, 0 changed, 0 were" in ran.output) == (0, True), ran.output
    assert "196 rows have no score" in ran.output
    first = feedback_in(ledger)
    assert "0 labels kept, 0 changed, 4 were" in run("read", sample, "--ledger", ledger).output
    assert feedback_in(ledger) == first
    assert sorted(given.score for given in first.values()) == [0, 0.25, 0.5, 1]
    assert {given.source for given in first.values()} == {"person"}
    assert all(given.propensity == propensity[given.decision] for given in first.values())


def test_a_score_that_was_corrected_takes_the_place_of_the_old_one(ledger, sample):
    run("read", filled(sample, ["1", "1", *[""] * 198]), "--ledger", ledger)
    ran = run("read", filled(sample, ["1", "0", *[""] * 198]), "--ledger", ledger)
    assert "0 labels kept, 1 changed, 1 were" in ran.output
    assert sorted(given.score for given in feedback_in(ledger).values()) == [0, 1]


def test_the_command_that_reads_the_sample_back_is_printed_as_it_runs(ledger, tmp_path):
    path = tmp_path / "to label.csv"
    printed = run("draw", path, "--ledger", ledger).output.partition("then: ")[2].splitlines()[0]
    ran = CliRunner().invoke(app, shlex.split(printed)[1:])
    assert (ran.exit_code, "200 rows have no score" in ran.output) == (0, True), ran.output


def test_no_password_of_a_server_is_in_the_command_that_is_printed(database_url, plain, tmp_path):
    url = write_ledger(database_url, plain[:300])
    printed = run("draw", tmp_path / "o.csv", "--ledger", url).output
    assert (url in printed) == url.startswith("sqlite")


def test_two_people_both_count(ledger, sample):
    for name, score in (("anna", "1"), ("ben", "0")):
        run("read", filled(sample, [score, *[""] * 199]), "--ledger", ledger, "--source", name)
    assert sorted((f.source, f.score) for f in feedback_in(ledger).values()) == [("anna", 1), ("ben", 0)]


def test_wrong_rows_are_named_and_nothing_is_kept(ledger, sample):
    rows = rows_of(sample)[:7]
    for row, score in zip(rows, ("1", "2", "good", "nan", "1", "1", "1"), strict=True):
        row["score"] = score
    rows[4]["id"], rows[5]["id"], rows[6]["propensity"] = rows[0]["id"], "no-such-call", "7"
    with sample.open("w", newline="") as file:
        lines = csv.DictWriter(file, rows[0])
        lines.writeheader()
        lines.writerows(rows)
    ran = run("read", sample, "--ledger", ledger)
    assert ran.exit_code != 0
    told = str(ran.exception)
    assert "6 rows are wrong, and nothing was kept" in told
    for line in (
        "row 3: the score is '2': write a number from 0 (wrong) to 1 (right)",
        "row 4: the score is 'good'",
        "row 5: the score is 'nan'",
        "row 6: row 2 has the same id",
        "row 7: the ledger has no decision 'no-such-call'",
        "row 8: the propensity is '7'",
    ):
        assert line in told
    assert feedback_in(ledger) == {}


def test_a_file_of_ids_and_scores_alone_is_read(ledger, plain, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(f"id,score\n{plain[5][0].id},1\n")
    assert "1 labels kept" in run("read", path, "--ledger", ledger).output
    [given] = feedback_in(ledger).values()
    assert (given.decision, given.propensity) == (plain[5][0].id, None)


def test_a_judge_is_no_person(ledger, sample):
    ran = run("read", sample, "--ledger", ledger, "--source", "judge")
    assert (ran.exit_code, "is no person" in ran.output) == (2, True)


def test_the_report_tells_what_the_sample_says_of_all_replies(ledger, sample, plain):
    rows = rows_of(sample)
    scores = ["0" if row["stratum"] == "uncertain" else "1" for row in rows]
    run("read", filled(sample, scores), "--ledger", ledger)
    told = json.loads(CliRunner().invoke(app, ["report", "--ledger", ledger, "--json"]).output)
    frame = pd.DataFrame(rows).assign(
        weight=lambda f: 1 / f.propensity.astype(float), wrong=[score == "0" for score in scores]
    )
    records = {record.id: record for record, _ in plain}
    accepted = [records[row.id].outcome == "accepted" for row in frame.itertuples()]
    cheap = frame[pd.Series(accepted) & (frame.tier != "large")]
    assert told["totals"]["misrouted"]["rate"] == pytest.approx(
        (cheap.weight * cheap.wrong).sum() / cheap.weight.sum()
    )
    assert (told["labels"], told["drawn_labels"]) == (200, 200)
    assert set(STRATA) >= set(frame.stratum)
