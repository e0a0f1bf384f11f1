"""`langroute report`: tables, JSON and a page from a ledger; what is wrong is one message and exit code 2."""

import dataclasses
import json
import sqlite3
import sys
from datetime import UTC, datetime

import pytest
from hostile_texts import poisoned
from made_decisions import DAY_S, START_S
from made_ledger import feedback, write_ledger
from rich.console import Console

from langroute.cli import main
from langroute.errors import LangrouteError
from langroute.ledger import open_store
from langroute.ledger.labels import Label, labelled
from langroute.policy import Policy
from langroute.report.data import Saving
from langroute.report.figures import Figures
from langroute.report.making import moment, settings_of
from langroute.report.tables import explored, tables
from langroute.report.wording import day, percent, rate, seconds, too_few, usd
from langroute.tuning.exploring import ThresholdExplorer

POLICY = """\
tiers: {small: 'openai:nano', large: 'openai:big'}
steps:
  synthesis:
    {cascade: [small, large], verify: [{confidence: {min: 0.7}}], route: {difficulty: {threshold: 0.42}}}
  planning: {cascade: large, reviewed: 2026-10-01}
"""


@pytest.fixture
def report(ledger, capsys, monkeypatch):
    """Run `langroute report` on the ledger; gives exit code, standard output and standard error."""
    monkeypatch.delenv("LANGROUTE_LEDGER", raising=False)

    def run(*args, where=ledger):
        with pytest.raises(SystemExit) as end:
            main(["report", *(("--ledger", where) if where else ()), *map(str, args)])
        return end.value.code or 0, *capsys.readouterr()

    return run


def test_the_tables_say_what_the_figures_do(report, data):
    code, out, err = report()
    assert (code, err) == (0, "")
    assert out.startswith(data.headline)
    assert data.lately in " ".join(out.split())
    for said in ("what was paid", "routing worksheet", "endpoints", "verifiers", "drift since", "how often"):
        assert said in out
    assert rate(data.totals.escalated) in out
    assert all(row.step in out for row in data.steps)


def test_json_is_every_figure(report, data):
    code, out, _ = report("--json")
    assert code == 0
    read_back = json.loads(out)
    assert read_back["explorer"]["steps"][0]["step"] == "synthesis"
    assert read_back == json.loads(json.dumps(dataclasses.asdict(data))) | {"explorer": read_back["explorer"]}


def test_the_page_is_written_and_said(report, tmp_path):
    code, out, err = report("--html", tmp_path / "report.html", "--decisions", 10)
    assert (code, err) == (0, "")
    assert "report.html: " in out
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert len(page) > 4_000_000


def test_the_ledger_of_the_environment_is_the_default(report, ledger, monkeypatch):
    monkeypatch.setenv("LANGROUTE_LEDGER", ledger)
    assert report(where=None)[0] == 0


def test_only_decisions_of_the_time_count(report, made):
    middle_s = START_S + 30 * DAY_S
    written = datetime.fromtimestamp(middle_s, UTC).isoformat()
    earlier = json.loads(report("--until", written, "--json")[1])["totals"]["decisions"]
    later = json.loads(report("--since", written, "--json")[1])["totals"]["decisions"]
    assert earlier == sum(record.decided_at_s < middle_s for record, _ in made)
    assert earlier + later == len(made)


def test_a_ledger_on_either_database_gives_what_its_decisions_give(database_url, made, report):
    write_ledger(database_url, made[:600])
    figures = Figures()
    for record, label in made[:600]:
        figures.add(record, label)
    code, out, _ = report("--json", where=database_url)
    read_back = json.loads(out)
    assert (code, "ostgres" in read_back["ledger"]) == (0, "ostgres" in database_url)
    expected = json.loads(json.dumps(dataclasses.asdict(figures.data())))
    explored = ThresholdExplorer()
    for record, label in made[:600]:
        explored.add(record, label)
    expected["explorer"] = json.loads(json.dumps(dataclasses.asdict(explored.data())))
    assert read_back | {"ledger": ""} == expected


def test_the_policy_fills_the_worksheet(report, tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    steps = {row["step"]: row for row in json.loads(report("--policy", path, "--json")[1])["steps"]}
    assert steps["synthesis"]["threshold"] == "difficulty below 0.42, confidence at least 0.7"
    assert steps["planning"]["reviewed"] == "2026-10-01"
    assert steps["extraction"]["threshold"] == ""
    assert set(settings_of(Policy.load(path))) == {"synthesis", "planning", ""}


def test_a_threshold_shows_three_ways_side_by_side(report):
    asked = ("--threshold", "synthesis.difficulty=0.42", "--threshold", "synthesis.judge=0.5")
    code, out, err = report(*asked)
    assert (code, err) == (0, "")
    assert "synthesis: large from difficulty 0.42, accepted from judge 0.5 (" in out
    step = json.loads(report(*asked, "--json")[1])["explorer"]["steps"][0]
    start, accept = step["start_at"], step["accept_at"]
    assert (step["starts"][start], step["accepts"][accept]) == (0.42, 0.5)
    for way in step["ways"]:
        line = way["cost_usd"][min(start, len(way["cost_usd"]) - 1)]
        assert usd(line[min(accept, len(line) - 1)]) in out
    assert "what was paid" not in out


def test_the_explorer_begins_with_the_policy_and_a_threshold_overrides_it(report, tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(
        POLICY.replace("confidence: {min: 0.7}", "judge: {rubric: Right?, tier: large, min: 0.7}")
    )
    for asked, expected in (((), (0.42, 0.7)), (("--threshold", "synthesis.judge=0.31"), (0.42, 0.31))):
        out = report("--policy", path, "--json", *asked)[1]
        step = json.loads(out)["explorer"]["steps"][0]
        assert (step["step"], step["score"]) == ("synthesis", "judge")
        assert (step["starts"][step["start_at"]], step["accepts"][step["accept_at"]]) == expected


def test_without_scipy_the_report_is_whole_but_for_the_explorer(report, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("langroute.tuning.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy", None)
    code, out, _ = report("--json")
    assert (code, json.loads(out)["explorer"]) == (0, None)
    code, _, err = report("--threshold", "synthesis.difficulty=0.4")
    assert code == 2
    assert "pip install 'langroute[report]'" in err


# What is wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--since", "2030-01-01"), "has no decision in that time: say another --since or --until"),
        (("--since", "yesterday"), "'yesterday' is no moment: write a date"),
        (("--policy", "missing.yaml"), "missing.yaml"),
        (("--threshold", "synthesis=0.4"), "write STEP.SCORE=VALUE"),
        (("--threshold", "synthesis.difficulty=4"), "the value from 0 to 1"),
        (("--threshold", "synthesis.difficulty=nan"), "the value from 0 to 1"),
        (("--threshold", "synthesis.difficulty=high"), "write STEP.SCORE=VALUE"),
        (("--threshold", "synthesis.colour=0.4"), "thresholds can be set on difficulty and"),
        (("--threshold", "planning.difficulty=0.4"), "it is bound to large alone"),
    ],
)
def test_what_is_wrong_is_one_message(report, args, said):
    code, out, err = report(*args)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_no_ledger_named_missing_empty_or_newer_is_said(report, tmp_path):
    assert "LANGROUTE_LEDGER" in report(where=None)[2]
    code, _, err = report(where=str(tmp_path / "missing.db"))
    assert (code, list(tmp_path.iterdir())) == (2, [])
    assert "there is no ledger at" in err
    empty = tmp_path / "empty.db"
    open_store(f"sqlite:///{empty}").close()
    assert "has no decision" in report(where=str(empty))[2]
    with sqlite3.connect(empty) as connection:
        connection.execute("INSERT INTO langroute_migrations VALUES (999)")
    assert "written by a newer langroute" in report(where=str(empty))[2]
    (tmp_path / "text.db").write_text("no database" * 500)
    assert report(where=str(tmp_path / "text.db"))[0] == 2


def test_without_plotly_the_install_line_is_said_before_anything_is_written(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    code, _, err = report("--html", tmp_path / "report.html")
    assert code == 2
    assert "pip install 'langroute[report]'" in err
    assert list(tmp_path.iterdir()) == []
    assert report()[0] == 0


def test_a_page_that_cannot_be_written_is_said(report, tmp_path):
    assert "cannot be written" in report("--html", tmp_path / "no" / "report.html")[2]


def test_no_name_steers_the_terminal():
    figures = Figures("\x1b[31m")
    for record, label in poisoned():
        figures.add(record, label)
    console = Console(width=200, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(tables(figures.data()))
    explorer = ThresholdExplorer()
    for record, label in poisoned():
        explorer.add(record, label)
    found = explorer.data()
    with console.capture() as more:
        console.print(explored(found, {step.step for step in found.steps}))
    assert found.steps
    for shown in (captured.get(), more.get()):
        assert not {"\x1b]", "\x9b", "\u202e", "\x07", "\x00"} & set(shown)
    assert "\x1b]0;" not in captured.get()
    assert "\x1b[31m" not in captured.get()


# Words ---------------------------------------------------------------------------------------------------


def test_moments_are_dates_times_and_how_long_ago():
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert moment("2026-11-01", now) == datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    assert moment("2026-11-01T08:30+02:00", now) == datetime(2026, 11, 1, 6, 30, tzinfo=UTC).timestamp()
    assert now.timestamp() - moment("7d", now) == 7 * DAY_S
    assert now.timestamp() - moment("90m", now) == 5_400
    assert moment(None, now) is None
    for wrong in ("", "7", "7y", "2026-13-01", "999999w", "now"):
        with pytest.raises(LangrouteError, match="is no moment"):
            moment(wrong, now)


def test_slices_shorter_than_a_minute_are_told_apart():
    assert (day(START_S), day(START_S, 5.0)) == ("2026-09-21 14:13", "2026-09-21 14:13:20")


def test_numbers_are_written_for_people():
    assert [usd(x) for x in (None, 0, 1234.5, 0.5, 0.01234, 0.000049, -2.5, -0.0123)] == [
        *("unknown", "$0.00", "$1,234.50", "$0.500", "$0.0123", "$0.0000490", "-$2.50", "-$0.0123"),
    ]
    assert [usd(x) for x in (0.00997, 0.009996, 0.0996, 0.9996)] == [
        "$0.00997",
        "$0.0100",
        "$0.0996",
        "$1.00",
    ]
    assert [percent(x) for x in (None, 0, 0.004, 0.0999, 0.5, 0.993, 0.9999, 1, -0.0001, -4.56)] == [
        *("unknown", "0.0%", "0.4%", "10%", "50%", "99.3%", "> 99.9%", "100%", "0.0%", "-456%"),
    ]
    assert [usd(x) for x in (0.00997259, 0.99951, 0.0001235, 1.005)] == [
        "$0.00997",
        "$1.00",
        "$0.000124",
        "$1.00",
    ]
    assert [seconds(x) for x in (None, 0.34, 1.25, 250)] == ["", "340 ms", "1.2 s", "250 s"]
    assert (too_few(0, 20), too_few(3, 20)) == ("no labels yet", "too few labels (3 of 20)")
    assert Saving("large", 1, 0, 2.0, 4.0).share == 0.5


def test_the_nearest_feedback_is_the_label(made):
    record = made[0][0]
    assert labelled(record) is None
    said = [feedback("t", 0.0, thread="t"), feedback("r", 0.2, run="r"), feedback("s", 0.4, run="r")]
    assert labelled(dataclasses.replace(record, feedback=tuple(said))).score == pytest.approx(0.3)
    own = feedback("d", 1.0, decision=record.id)
    assert labelled(dataclasses.replace(record, feedback=(*said, own))) == Label(1.0)
