"""`tune`, `train` and `replay` say what the Python functions say; a refusal has figures and exit code 3."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from langroute import Ledger, Policy
from langroute.cli import app
from langroute.loading import read
from langroute.tuning.benching import bench
from langroute.tuning.dials import dials_of
from langroute.tuning.files import load_score
from langroute.tuning.outcomes import read_outcomes
from langroute.tuning.recorded import Reading
from langroute.tuning.replaying import replay_policy
from langroute.tuning.training import train
from langroute.tuning.tuned import Asked, tune_policy

POLICY = """\
# Ours.
tiers:
  small: {models: [{model: "openai:small", price: {input: 1, output: 1}}]}
  large: {models: [{model: "openai:large", price: {input: 10, output: 10}}]}
steps:
  work:
    cascade: [small, large]
    explore: 0.25
    route: {difficulty: {threshold: 0.05}}   # a guess
"""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "tuning"))
    from recording import prompts, write

    path = tmp_path_factory.mktemp("learning") / "a.db"
    bound = {"cascade": ["small", "large"], "explore": 0.25, "route": {"difficulty": {"threshold": 0.05}}}
    write(path, {"steps": {"work": bound}}, prompts(800)).close()
    monkeypatch.undo()
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command in a folder with the policy; gives exit code, output, and what was said on the side."""
    monkeypatch.delenv("LANGROUTE_LEDGER", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(POLICY)

    def call(*args: Any) -> Any:
        return CliRunner().invoke(app, [str(arg) for arg in args])

    return call


TUNE = ("tune", "--policy", "p.yaml", "--floor", 0.9, "--most-share", 1)


def test_tune_writes_a_policy_whose_numbers_are_the_functions(run: Any, ledger: Path) -> None:
    ran = run(*TUNE, "--ledger", ledger, "--out", "new.yaml", "--json")
    assert (ran.exit_code, ran.stderr) == (0, "")
    (told,) = json.loads(ran.stdout)["thresholds"]
    policy = Policy.load("p.yaml")
    with Ledger(ledger) as opened:
        outcomes = list(Reading(opened).outcomes())
    (found,) = tune_policy(dials_of(policy, read(Path("p.yaml"))), outcomes, Asked(floor=0.9, most_share=1))
    assert told == json.loads(json.dumps(found.as_dict()))
    text = Path("new.yaml").read_text()
    assert text.startswith("# Ours.\n")
    assert f"# tuned {_day(text)}, {found.dial.place} = {found.threshold}: {found.evidence}" in text
    tuned = Policy.load("new.yaml").step("work").route.difficulty
    assert tuned is not None
    assert 0.05 < tuned.threshold == found.threshold
    assert json.loads(ran.stdout)["read"]["work"]["decisions"] == 800


def _day(text: str) -> str:
    return text.split("# tuned ")[1][:10]


def test_tune_tells_a_person_the_same_in_a_table(run: Any, ledger: Path) -> None:
    ran = run(*TUNE, "--ledger", ledger, "--out", "new.yaml", "--plot", "curve.html")
    assert ran.exit_code == 0, ran.output
    assert "800 decisions, 800 with feedback" in ran.stdout
    for said in (
        "steps.work.route",
        "explored",
        "moves, with 90% confidence for 90%",
        "new.yaml: its comments are kept",
    ):
        assert said in ran.stdout
    page = Path("curve.html").read_text()
    assert "steps.work.route.difficulty.threshold" in page
    assert "<script src=" not in page


def test_what_cannot_be_shown_is_refused_with_exit_code_3_and_writes_nothing(run: Any, ledger: Path) -> None:
    ran = run("tune", "--policy", "p.yaml", "--ledger", ledger, "--out", "new.yaml")
    assert ran.exit_code == 3
    assert "refused: the rows come from 1 day" in ran.stdout
    assert "rows from 10 are needed" in ran.stdout
    assert not Path("new.yaml").exists()
    few = run("tune", "--policy", "p.yaml", "--most-share", 1, "--floor", 1, "--ledger", ledger)
    assert few.exit_code == 3
    assert "refused" in few.stdout


def test_train_writes_the_score_of_the_function_and_tune_then_judges_it_unseen(
    run: Any, ledger: Path
) -> None:
    ran = run("train", "--ledger", ledger, "--step", "work", "--kind", "prompt", "--out", "s.json", "--json")
    assert (ran.exit_code, ran.stderr) == (0, "")
    told = json.loads(ran.stdout)
    with Ledger(ledger) as opened:
        found = train(Reading(opened).outcomes(), ["small", "large"], kind="prompt", step="work")
    assert told["heads"] == json.loads(json.dumps(found.as_dict()["heads"]))
    assert told["tiers"] == ["small", "large"]
    assert told["digest"] == load_score("s.json").digest
    Path("p.yaml").write_text(POLICY.replace("difficulty: {", "learned: {model: s.json, "))
    tuned = run(*TUNE, "--ledger", ledger, "--json")
    assert json.loads(tuned.stdout)["thresholds"][0]["refusal"] != "its score was fitted on other outcomes"
    assert json.loads(tuned.stdout)["thresholds"][0]["rows"] > 150


def test_train_says_how_many_labels_are_lacking(run: Any, ledger: Path) -> None:
    more = ("--since", "1m", "--until", "2026-01-01")
    none = run("train", "--ledger", ledger, "--step", "work", "--kind", "reply", "--out", "s.json", *more)
    assert none.exit_code == 2
    assert "no reply of step work whose worth is known" in none.stderr
    Path("few.jsonl").write_text("\n".join(json.dumps(row) for row in rows(30)))
    few = run("train", "few.jsonl", "--step", "work", "--kind", "prompt", "--out", "s.json")
    assert few.exit_code == 3
    assert "small has 30" in few.stdout
    assert not Path("s.json").exists()


def rows(count: int) -> list[dict[str, Any]]:
    both = (("small", 0.001), ("large", 0.01))
    return [
        {
            "query": n,
            "tier": tier,
            "score": int(tier == "large" or n % 2),
            "prompt": f"Why {n}?",
            "cost_usd": usd,
        }
        for n in range(count)
        for tier, usd in both
    ]


def test_replay_says_what_the_function_says(run: Any, ledger: Path) -> None:
    Path("p.yaml").write_text(POLICY.replace("0.05", "0.4"))
    ran = run("replay", "p.yaml", "--ledger", ledger, "--json")
    assert (ran.exit_code, ran.stderr) == (0, "")
    with Ledger(ledger) as opened:
        logs = {"work": [logged for _, logged in Reading(opened).logged()]}
    (found,) = replay_policy(Policy.load("p.yaml"), logs)
    assert json.loads(ran.stdout)["steps"] == json.loads(json.dumps([found.as_dict()]))
    table = run("replay", "p.yaml", "--ledger", ledger).stdout
    for said in ("estimate", "cost a request", "quality", "escalated", "latency", "logged:"):
        assert said in table


def test_a_file_of_outcomes_may_take_the_ledgers_place(run: Any) -> None:
    Path("asked.jsonl").write_text("\n".join(json.dumps(row) for row in rows(40)))
    ran = run("replay", "p.yaml", "asked.jsonl", "--step", "work", "--json")
    assert ran.exit_code == 0, ran.output
    (step,) = json.loads(ran.stdout)["steps"]
    assert (step["basis"], step["requests"], step["step"]) == ("measured", 40, "work")
    assert json.loads(ran.stdout)["read"] == {"file": "asked.jsonl", "outcomes": 80}
    assert (step["latency_s"], step["logged_quality"], step["logged_usd"]) == (None,) * 3
    assert "(default)" in run("replay", "p.yaml", "asked.jsonl").stdout
    assert len(list(read_outcomes("asked.jsonl"))) == 80
    assert run("tune", "asked.jsonl", "--policy", "p.yaml").exit_code == 3


def test_bench_says_what_the_function_says_and_hindsight_is_best(run: Any) -> None:
    Path("asked.jsonl").write_text("\n".join(json.dumps(row) for row in rows(200)))
    ran = run("bench", "asked.jsonl", "--json")
    assert (ran.exit_code, ran.stderr) == (0, "")
    found = bench(read_outcomes("asked.jsonl"), "small", "large")
    assert json.loads(ran.stdout) == json.loads(json.dumps(found.as_dict()))
    hindsight, chance = found.rows["hindsight"]["APGR"], found.rows["random"]["APGR"]
    assert hindsight.value == pytest.approx(0.75)  # half are worth it: (0 + 1) / 2 of one half, then 1
    assert chance.low < 0.5 < chance.high
    assert found.quality == {"small": 0.5, "large": 1.0}
    assert "always strong (large): quality 1.000, $0.010000" in run("bench", "asked.jsonl").stdout


def test_bench_ranks_by_a_score_that_train_wrote(run: Any, ledger: Path) -> None:
    told = ("--ledger", ledger, "--step", "work", "--kind", "prompt", "--out", "s.json")
    assert run("train", *told).exit_code == 0
    hard = "Explain why, prove, compare and derive whether the theorem holds before you conclude: number {}?"
    prompts = ("Name it.", hard.format(1))
    asked = [{**row, "prompt": prompts[row["query"] % 2 == 0]} for row in rows(60)]
    Path("fresh.jsonl").write_text("\n".join(json.dumps(row) for row in asked))
    figures = json.loads(run("bench", "fresh.jsonl", "--score", "s.json", "--json").stdout)["rows"]
    assert figures["score"]["APGR"] == figures["hindsight"]["APGR"]  # what looks hard is wrong here


def test_bench_without_two_tiers_or_a_gap_is_bad_input(run: Any) -> None:
    for made, said in (
        (rows(3)[::2], "has one tier"),
        ([{**row, "score": 1} for row in rows(3)], "no better"),
        ([{**row, "cost_usd": None} for row in rows(3)], "no cost of small, large is known: write"),
    ):
        Path("x.jsonl").write_text("\n".join(json.dumps(row) for row in made))
        ran = run("bench", "x.jsonl")
        assert (ran.exit_code, ran.stdout) == (2, "")
        assert said in ran.stderr


def traces(file: str) -> dict[str, Any]:
    """Return the traces of a page by name; the page holds plotly.js itself."""
    page = Path(file).read_text()
    assert "<script src=" not in page
    assert page.rstrip().endswith("</html>")
    drawn = page[page.rindex("Plotly.newPlot(") :]
    found, _ = json.JSONDecoder().raw_decode(drawn, drawn.index("["))
    return {trace["name"]: trace for trace in found}


def test_train_draws_what_was_said_beside_what_was_right(run: Any, ledger: Path) -> None:
    told = ("--ledger", ledger, "--step", "work", "--kind", "prompt", "--out", "s.json", "--json")
    ran = run("train", *told, "--plot", "true.html")
    diagonal, *drawn = traces("true.html").items()
    assert diagonal[0] == "chances that are true"
    heads = json.loads(ran.stdout)["heads"]
    assert len(heads) == len(drawn) == 2
    for head, (name, trace) in zip(heads, drawn, strict=True):
        assert name.startswith(
            f"{head['tier']}: calibration error {head['calibration_error']['value']:.3f} ("
        )
        assert [list(at) for at in zip(trace["x"], trace["y"], trace["customdata"], strict=True)] == head[
            "bins"
        ]
        assert sum(trace["customdata"]) == head["labels"]
        assert trace["x"] == sorted(trace["x"])


def test_train_draws_a_refusal_with_its_reason(run: Any) -> None:
    Path("few.jsonl").write_text("\n".join(json.dumps(row) for row in rows(30)))
    few = run("train", "few.jsonl", "--step", "work", "--kind", "prompt", "--out", "s", "--plot", "a.html")
    assert few.exit_code == 3
    assert list(traces("a.html")) == ["chances that are true"]
    assert "refused: 100 labels of each tier" in Path("a.html").read_text()


def test_replay_draws_the_log_beside_what_it_would_have_come_to(run: Any, ledger: Path) -> None:
    Path("p.yaml").write_text(POLICY.replace("0.05", "0.4"))
    ran = run("replay", "p.yaml", "--ledger", ledger, "--plot", "both.html", "--json")
    (step,) = json.loads(ran.stdout)["steps"]
    drawn = traces("both.html")
    for what, logged, field in (
        ("cost a request, USD", "logged_usd", "cost_usd"),
        ("quality", "logged_quality", "quality"),
        ("escalated", "logged_escalated", "escalated"),
    ):
        was, would = drawn.pop(f"{what}: logged"), drawn.pop(f"{what}: replayed")
        assert (was["x"], was["y"]) == (["work<br>estimate"], [step[logged]])
        assert would["y"] == [step[field]["value"]]
        assert would["y"][0] + would["error_y"]["array"][0] == pytest.approx(step[field]["high"])
        assert would["y"][0] - would["error_y"]["arrayminus"][0] == pytest.approx(step[field]["low"])
    assert not drawn


def test_bench_draws_each_score_and_what_it_saves_at_the_floors(run: Any) -> None:
    Path("asked.jsonl").write_text("\n".join(json.dumps(row) for row in rows(300)))
    ran = run("bench", "asked.jsonl", "--plot", "curves.html", "--json")
    drawn = traces("curves.html")
    for name, figures in json.loads(ran.stdout)["rows"].items():
        curve, points = drawn.pop(name), drawn.pop(f"{name}, saved at 95, 98, 100 %")
        assert (curve["x"][0], curve["y"][0]) == pytest.approx((0.9, 0.5))  # always small
        assert (curve["x"][-1], curve["y"][-1]) == pytest.approx((0, 1))  # always large
        assert points["y"] == [0.95, 0.98, 1.0]
        assert points["text"] == ["saved at 95 %", "saved at 98 %", "saved at 100 %"]
        saved = [figures[what] for what in points["text"]]
        assert points["x"] == [each["value"] / 100 for each in saved]
        lows = [(each["value"] - each["low"]) / 100 for each in saved]
        assert points["error_x"]["arrayminus"] == pytest.approx(lows)
    assert not drawn


TRAIN = ("train", "x.csv", "--step", "work", "--kind", "prompt", "--out", "s.json")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("tune", "--policy", "p.yaml"), "say what to learn from: --ledger, or a file of outcomes"),
        (("tune", "none.csv", "--policy", "p.yaml"), "there is no file none.csv"),
        (("tune", "--policy", "p.yaml", "--ledger", "none.db"), "there is no ledger at none.db"),
        (("tune", "p.yaml", "--policy", "p.yaml"), "p.yaml is none of .parquet, .jsonl, .csv"),
        (
            ("tune", "x.csv", "--policy", "p.yaml", "--step", "plan"),
            "the policy has no step plan; it has work",
        ),
        (("tune", "x.csv", "--policy", "p.yaml", "--floor", "2"), "floor: 2.0. Give the share"),
        (("tune", "x.csv", "--policy", "p.yaml", "--plot", "a.png"), "Name it `a.html`"),
        (("tune", "x.csv", "--policy", "p.yaml", "--plot", "none/a.html"), "none/a.html cannot be written"),
        (("replay", "p.yaml", "x.csv", "--plot", "none/a.html"), "none/a.html cannot be written"),
        (("replay", "p.yaml", "x.csv", "--plot", "a.png"), "Name it `a.html`"),
        (("bench", "x.csv", "--plot", "a.png"), "Name it `a.html`"),
        ((*TRAIN, "--plot", "a.png"), "saves it as a PNG. Name it `a.html`"),
        (("replay", "p.yaml", "x.csv", "--since", "soon"), "'soon' is no moment"),
        (("replay", "p.yaml", "x.csv", "--confidence", "90"), "confidence: 90.0. Give a chance between"),
        ((*TRAIN, "--confidence", "90"), "confidence: 90.0. Give a chance between"),
        ((*TRAIN, "--tiers", "small,huge"), "outcomes are of large, and the step's tiers are small, huge"),
        (("bench", "x.csv", "--tiers", "small"), "--tiers names one tier"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    run: Any, args: tuple[str, ...], said: str, capsys: Any
) -> None:
    from langroute.cli import main

    Path("x.csv").write_text("query,tier,score,prompt,cost_usd\n1,small,1,a,1\n1,large,1,a,2\n")
    with pytest.raises(SystemExit) as end:
        main(list(args))
    assert end.value.code == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


WITHOUT = """
import sys
sys.modules |= dict.fromkeys(["numpy", "scipy", "sklearn", "joblib", "pyarrow"])  # as if not installed
from langroute.cli import main
main(sys.argv[1:])
"""
INSTALL = "pip install 'langroute[tune]'"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("tune x.csv --policy p.yaml", INSTALL),
        ("train x.csv --step work --kind reply --out a.json", INSTALL),
        ("replay p.yaml x.csv", INSTALL),
        ("bench x.csv", INSTALL),
        ("estimate p.yaml --worksheet x.csv", "x.csv cannot be read"),
    ],
)
def test_without_the_extras_a_command_works_or_says_what_to_install(
    tmp_path: Path, command: str, said: str
) -> None:
    (tmp_path / "p.yaml").write_text(POLICY)
    args = [sys.executable, "-c", WITHOUT, *command.split()]
    ran = subprocess.run(args, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, said in ran.stderr) == (2, True), ran.stderr
