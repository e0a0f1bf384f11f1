"""The demo as a person runs it: offline, without a key; bad input ends in one clear line."""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from langroute.testing import LoopbackProvider, closed_port
from langroute.testing.standins import large, small

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NOT_OURS = ("OPENAI_", "LANGSMITH_", "LANGCHAIN_", "Q", "DOCS", "SMALL", "LARGE")
WIDE = {"COLUMNS": "500"}


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory) -> Iterator[None]:
    """A folder for the demos' ledgers that goes with the tests' own."""
    folder = str(tmp_path_factory.mktemp("ledgers"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TMPDIR", folder)
        patched.setattr(tempfile, "tempdir", folder)
        yield


def run_process(**variables: str) -> SimpleNamespace:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(NOT_OURS)}
    command = [sys.executable, str(EXAMPLES / "rag_demo.py")]
    done = subprocess.run(
        command, env=clean | WIDE | variables, capture_output=True, timeout=600, check=False
    )
    return SimpleNamespace(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())


@pytest.fixture
def run(monkeypatch, capsys) -> Iterator[object]:
    """The demo's `main` in this process, which is far quicker; the environment is as it was afterwards."""
    before = dict(os.environ)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from rag_demo import main

    def run_main(*arguments: str, stdin: bytes = b"", **variables: str) -> SimpleNamespace:
        for name in [name for name in os.environ if name.startswith(NOT_OURS)]:
            del os.environ[name]
        os.environ.update(WIDE | variables)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(arguments)
        shown = capsys.readouterr()
        return SimpleNamespace(code=code, out=shown.out, err=shown.err)

    yield run_main
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def default_run() -> SimpleNamespace:
    return run_process()


def test_default_run_answers_every_question_with_citations(default_run):
    assert default_run.code == 0, default_run.err
    answers = re.findall(r"^Answer: (.+)$", default_run.out, re.MULTILINE)
    assert len(answers) == 3
    assert all(re.search(r"\[[\w-]+:\d+\]", answer) for answer in answers)


def test_default_run_shows_acceptance_escalation_and_fallback(default_run):
    assert "│ small accepted " in default_run.out
    escalated = "│ small rejected → large-primary failed (connection) → large-backup accepted "
    assert escalated in default_run.out
    assert "│ large-primary failed (connection) → large-backup accepted " in default_run.out
    assert (
        "does not occur in the documents" in default_run.out
        or "do not occur in the documents" in default_run.out
    )
    assert "large-primary is down on purpose" in default_run.out


def test_table_tells_step_tier_model_why_attempts_verdicts_latency_and_cost(default_run):
    header = next(line for line in default_run.out.splitlines() if line.startswith("┃"))
    columns = [cell.strip() for cell in header.strip("┃").split("┃")]
    assert columns == ["step", "tier", "model", "why", "attempts", "verdicts", "latency", "cost"]
    steps = re.findall(r"^│(\w+) ", default_run.out, re.MULTILINE)
    assert steps == ["query_rewrite", "extraction", "planning", "synthesis"] * 3


def test_default_run_shows_both_totals_and_says_what_they_compare(default_run):
    assert re.search(r"^Cost of this run.*: \$0\.\d{6}$", default_run.out, re.MULTILINE)
    top = r"^Cost with tier large everywhere: \$0\.\d{6} \(an estimate: .+\)$"
    assert re.search(top, default_run.out, re.MULTILINE)
    assert re.search(r"^Routing (saved|cost) ", default_run.out, re.MULTILINE)


def test_default_run_says_that_models_and_prices_are_not_real(default_run):
    assert "the models are STAND-INS" in default_run.out
    assert "example prices" in default_run.out
    assert default_run.err == ""


def test_the_commands_that_the_demo_ends_with_report_its_run(default_run, tmp_path):
    commands = re.findall(r"^    (.+ report --ledger .+)$", default_run.out, re.MULTILINE)
    assert len(commands) == 2
    assert commands[1] == f"{commands[0]} --html report.html"
    page = commands[1].replace("report.html", str(tmp_path / "report.html"))
    for command in (commands[0], page):
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)  # noqa: S602 - as a person does
        assert "12 decisions" in done.stdout or "report.html" in done.stdout
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_every_run_has_a_ledger_of_its_own_whatever_ledger_the_environment_names(run, tmp_path):
    elsewhere = tmp_path / "mine.db"
    asked = {"Q": "What does the pass statement do?", "LANGROUTE_LEDGER": f"sqlite:///{elsewhere}"}
    done = [run(**asked) for _ in range(2)]
    ledgers = {re.search(r"--ledger (\S+)$", each.out, re.MULTILINE)[1] for each in done}
    assert len(ledgers) == 2
    assert all(Path(ledger).is_file() for ledger in ledgers)
    assert all("large-primary failed (connection)" in each.out for each in done)
    assert not elsewhere.exists()


def test_nowhere_to_keep_the_ledger_is_said(run, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    done = run(Q="What does the pass statement do?")
    assert done.code == 2
    assert "Set TMPDIR" in done.err


def test_folder_of_text_files_replaces_the_corpus_and_names_what_it_leaves_out(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "bees.md").write_text(
        "# Bees\n\nA colony keeps one queen. Worker bees live for six weeks in summer."
    )
    (tmp_path / "sub" / "moss.txt").write_text("Moss has no roots. It drinks through its leaves.")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\0\0")
    done = run_process(DOCS=str(tmp_path), Q="How long do worker bees live?")
    assert done.code == 0, done.err
    assert "six weeks in summer [bees.md:1]." in done.out
    assert "bad.txt is no text: left out" in done.out


def test_without_a_key_nothing_goes_to_a_proxy_or_another_address():
    with LoopbackProvider({"gpt-5-nano": small}) as elsewhere:
        address = elsewhere.base_url.removesuffix("/v1")
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OPENAI_PROXY"), address)
        tracing = {"LANGSMITH_TRACING": "true", "LANGSMITH_API_KEY": "x", "LANGSMITH_ENDPOINT": address}
        done = run_process(Q="What does pass do?", OPENAI_BASE_URL=elsewhere.base_url, **proxies, **tracing)
        assert elsewhere.requests == []
    assert done.code == 0, done.err


def test_question_in_the_environment_replaces_the_default_ones(run):
    done = run(Q="What does the nonlocal statement do?")
    assert done.code == 0
    assert re.findall(r"^Question: (.+)$", done.out, re.MULTILINE) == ["What does the nonlocal statement do?"]
    assert "[nonlocal:1]" in done.out


def test_question_that_the_documents_do_not_answer_ends_cleanly(run):
    done = run(Q="zzzqqq xylophonist?")
    assert done.code == 0
    assert "Answer: The documents have nothing on this question." in done.out


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data.bin", b"\0\1", "holds no .txt or .md file"),
        ("photo.txt", b"\x89PNG\0\0\xff", "photo.txt is no text"),
        ("latin.md", "Stra\xdfe".encode("latin-1"), "latin.md is not UTF-8 text"),
        ("empty.txt", b"  \n", "empty.txt holds no text"),
        ("huge.txt", b"a " * 1_100_000, "huge.txt is 2.2 MB"),
    ],
)
def test_folder_without_readable_text_is_refused_by_name(run, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    done = run(DOCS=str(tmp_path))
    assert done.code == 2
    assert said in done.err


def test_tilde_is_the_home_folder(run, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "moss.txt").write_text("Moss drinks through its leaves.")
    done = run(DOCS="~/notes", Q="How does moss drink?", HOME=str(tmp_path))
    assert "Moss drinks through its leaves [moss.txt:1]." in done.out
    assert "DOCS=~nobody-here/notes is not there" in run(DOCS="~nobody-here/notes").err


def test_folder_without_a_question_is_asked_about_its_own_words(run, tmp_path):
    (tmp_path / "bees.md").write_text("# Bees\n\nWorker bees live six weeks.\n\n## Honey\n\nIt keeps.")
    (tmp_path / "moss.txt").write_text("Moss (wet) has no roots. It drinks through its leaves.")
    done = run(DOCS=str(tmp_path))
    asked = ['What is there to know about "Bees"?', 'What is there to know about "Moss (wet) has no roots"?']
    assert re.findall(r"^Question: (.+)$", done.out, re.MULTILINE) == asked
    assert "these were made from the documents' own words. Ask yours with Q='...'" in done.out
    assert "six weeks [bees.md:1]" in done.out
    assert "no roots [moss.txt:1]" in done.out


def test_folder_without_words_wants_a_question(run, tmp_path):
    (tmp_path / "table.txt").write_text("1 2 3\n4 5 6")
    done = run(DOCS=str(tmp_path))
    assert done.code == 2
    assert "suggests a question. Ask one: Q='...'" in done.err


@pytest.mark.parametrize("columns", [80, 120])
def test_no_terminal_width_breaks_a_step_or_a_sum_of_money(run, columns):
    done = run(Q="What does the pass statement do?", COLUMNS=str(columns))
    shown, _, _ = done.out.partition("Every decision of this run")
    assert max(map(len, shown.splitlines())) <= columns
    steps = re.findall(r"^│?(query_rewrite|extraction|planning|synthesis)\b", done.out, re.MULTILINE)
    assert steps == ["query_rewrite", "extraction", "planning", "synthesis"]
    assert len(re.findall(r"\d+ ms\W+\$0\.\d{6}\b", done.out)) == 4


def test_empty_folder_missing_folder_and_file_instead_of_folder_are_refused(run, tmp_path):
    assert "nothing to read" in run(DOCS=str(tmp_path)).err
    assert "is not there" in run(DOCS=str(tmp_path / "none")).err
    assert "is a file" in run(DOCS=__file__).err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"why? " * 200_000, "more than 20,000 characters"),
        (b"what is \xff\xfe", "not UTF-8"),
        (b" \n", "empty"),
    ],
    ids=["megabyte", "binary", "blank"],
)
def test_question_that_cannot_be_asked_is_refused(run, given, said):
    done = run("--question", "-", stdin=given)
    assert done.code == 2
    assert said in done.err


def test_long_question_below_the_limit_is_answered(run):
    done = run("--question", "-", stdin=b"What does the pass statement do? " * 500)
    assert done.code == 0
    assert "[pass:1]" in done.out


def test_with_a_key_the_named_models_are_called_and_unknown_prices_stay_unknown(run):
    with LoopbackProvider({"gpt-5-nano": small, "gpt-5-mini": large}, api_key="sk-test") as server:
        done = run(Q="What does pass do?", OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=server.base_url)
        assert done.code == 0, done.err
        assert server.calls("gpt-5-nano") > 0
        assert server.calls("gpt-5-mini") > 0
    assert "STAND-INS" not in done.out
    assert "OPENAI_API_KEY is set" in done.out
    assert "large-primary is down on purpose" in done.out
    assert "Cost with tier large everywhere: unknown" in done.out


def test_small_and_large_replace_the_names_for_another_server(run):
    with LoopbackProvider({"tiny": small, "big:7b": large}) as server:
        names = {"SMALL": "tiny", "LARGE": "big:7b"}
        done = run(Q="What does pass do?", OPENAI_API_KEY="any", OPENAI_BASE_URL=server.base_url, **names)
        assert done.code == 0, done.err
        assert server.calls("tiny") > 0
        assert server.calls("big:7b") > 0


def test_refused_key_is_a_message_and_no_answer(run):
    with LoopbackProvider({"gpt-5-nano": small, "gpt-5-mini": large}, api_key="sk-right") as server:
        done = run(Q="What does pass do?", OPENAI_API_KEY="sk-wrong", OPENAI_BASE_URL=server.base_url)
    assert done.code == 1
    assert "Answer: none, because" in done.out
    assert "small failed: auth: " in done.out
    assert "sk-wrong" not in done.out


def test_reason_of_a_failed_call_is_told_once(run):
    with LoopbackProvider({"gpt-5-nano": small}) as server:
        done = run(Q="Why?", SMALL="nope", OPENAI_API_KEY="any", OPENAI_BASE_URL=server.base_url)
    assert done.code == 1
    assert re.search(r"^small failed: not_found: .*The model `nope` does not exist", done.out, re.MULTILINE)
    assert done.out.count("`nope`") == 1


def test_dead_server_is_named_without_the_password_in_its_address(run):
    port = closed_port().removeprefix("http://")
    done = run(Q="Why?", OPENAI_API_KEY="any", OPENAI_BASE_URL=f"http://ada:pa55@{port}")
    assert done.code == 1
    assert re.search(
        rf"^small failed: connection at http://{port}: .*Connection error.*\(\w+: ", done.out, re.MULTILINE
    )
    assert f"go to openai:gpt-5-mini and openai:gpt-5-nano at http://{port}." in done.out
    assert "ada" not in done.out
    assert "pa55" not in done.out


@pytest.fixture
def make(tmp_path):
    """`make` in a folder of its own, where the demo shows its question, its folder and what it reads."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    demo = tmp_path / "langroute"
    demo.write_text('#!/bin/sh\nprintf "%s|%s|" "$Q" "$DOCS"\ncat\n')
    demo.chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith((*NOT_OURS, "MAKE"))}

    def run_make(*arguments: str, stdin: str = "", **environment: str) -> str:
        command = ["make", "-s", "-f", str(ROOT / "Makefile"), f"BIN={tmp_path}", *arguments]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=clean | environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    return run_make


@pytest.mark.parametrize("question", ["Is it $500 or $(5)00?", '`ls` "x" # it\'s', "a\nb"])
def test_make_hands_question_and_folder_on_as_written(make, question):
    demo = ("-o", ".venv/ready", "demo")
    assert make(*demo, f"Q={question}", "DOCS=~/my $notes") == f"{question}|~/my $notes|"
    assert make(*demo, Q=question, DOCS="~/my $notes") == f"{question}|~/my $notes|"


def test_make_hands_standard_input_on_however_long(make):
    long = "why? " * 200_000
    assert make("-o", ".venv/ready", "demo", "Q=-", stdin=long) == f"-||{long}"


def test_make_says_what_takes_a_minute_before_it_does(make, tmp_path):
    (tmp_path / "pyproject.toml").touch()
    assert "Setting up .venv, which takes about a minute" in make("-n", "demo").splitlines()[0]


def test_help_names_every_variable(run, capsys):
    with pytest.raises(SystemExit, match="0"):
        run("--help")
    shown = capsys.readouterr().out
    assert all(f"${name}" in shown for name in ("Q", "DOCS", "SMALL", "LARGE"))
    assert "make demo Q=- < file" in " ".join(shown.split())
