"""The command line prints results to standard output; bad input is one message and exit code 2."""

import json
import subprocess
import sys

import jsonschema
import pytest

from langroute.cli import main

GOOD = """\
tiers: {small: 'openai:nano', large: 'openai:big'}
steps: {plan: {cascade: [small, large], verify: not_empty, why: Why not.}}
"""
BAD = "tiers: {small: 'openai:nano'}\nsteps: {plan: {cascade: smal, api_key: hunter2}}\n"


@pytest.fixture
def langroute(capsys, tmp_path):
    """Run a command on a policy file; gives exit code, standard output and standard error."""

    def run(*args, policy=GOOD):
        path = tmp_path / "policy.yaml"
        path.write_text(policy)
        with pytest.raises(SystemExit) as end:
            main([str(path) if arg == "POLICY" else arg for arg in args])
        return end.value.code, *capsys.readouterr()

    return run


def test_check_says_that_a_good_policy_is_good(langroute):
    code, out, err = langroute("check", "POLICY")

    assert (code, err) == (0, "")
    assert "policy.yaml can be used: tiers small, large; steps plan." in out
    assert "warning" not in out


def test_check_tells_what_may_surprise_and_still_ends_well(langroute):
    code, out, err = langroute(
        "check", "POLICY", policy=GOOD + "default: {cascade: large, verify: not_empty}\n"
    )

    assert (code, err) == (0, "")
    assert "warning: default.verify" in out


BUDGETS = {
    "unpriced": (
        "tiers: {small: [{model: 'openai:in-house', name: own}]}\nbudget: {per_day_usd: 5}\n",
        "tiers.small.models[0].price = null",
        "the price of `own` is unknown",
        "State `price: {input: …, output: …}`",
    ),
    "too low": (
        """
tiers: {small: [{model: 'openai:m', price: {input: 1, output: 1000}}]}
budget: {keys: {tenant: {per_day_usd: 0.001}}}
""",
        "budget.keys.tenant.per_day_usd = 0.001",
        "below what one call of default may cost: 4.000000 USD",
        "Raise it, or limit the replies",
    ),
}


@pytest.mark.parametrize(("policy", "path", "message", "remedy"), BUDGETS.values(), ids=BUDGETS)
def test_check_tells_of_a_budget_that_cannot_work(langroute, policy, path, message, remedy):
    code, out, err = langroute("check", "POLICY", policy=policy)

    assert (code, out) == (2, "")
    assert "policy.yaml cannot be used" in err
    assert f"  {path}: " in err
    assert message in err
    assert remedy in err
    code, out, _ = langroute("check", "POLICY", "--json", policy=policy)
    report = json.loads(out)
    assert (code, len(report["errors"])) == (2, 1)
    assert message in report["errors"][0]["message"]


def test_check_of_a_bad_policy_is_a_message_and_exit_code_2(langroute):
    code, out, err = langroute("check", "POLICY", policy=BAD)

    assert (code, out) == (2, "")
    assert "policy.yaml cannot be used" in err
    assert "steps.plan.api_key = ***: unknown key" in err
    assert "Did you mean `small`?" in err
    assert "Traceback" not in err
    assert "hunter2" not in err


def test_check_as_json_is_for_machines(langroute):
    code, out, _ = langroute("check", "POLICY", "--json", "--spec")

    report = json.loads(out)
    assert code == 0
    assert (report["errors"], report["warnings"]) == ([], [])
    assert [row["step"] for row in report["spec"]["steps"]] == ["plan", "default"]
    assert (report["spec"]["rules"], report["spec"]["stakes"]) == ([], [])


def test_check_of_a_bad_policy_as_json_lists_the_errors(langroute):
    code, out, _ = langroute("check", "POLICY", "--json", policy=BAD)

    assert code == 2
    assert [error["path"] for error in json.loads(out)["errors"]] == [
        "steps.plan.api_key",
        "steps.plan.cascade[0]",
    ]


def test_the_spec_is_a_table_without_columns_that_say_nothing(langroute):
    code, out, _ = langroute("check", "POLICY", "--spec")

    assert code == 0
    assert "small: openai:nano" in out
    assert "Why not." in out
    assert "reviewed" not in out
    assert "rules" not in out


def test_the_spec_shows_rules_stakes_and_budget_where_there_are_some(langroute):
    more = (
        "rules: [{name: gold, when: {metadata: {user: gold}}, start: large}]\n"
        "stakes: {high: {tier: large}, tools: {rm: high}}\nbudget: {approve_above_usd: 0.05}\n"
    )

    code, out, _ = langroute("check", "POLICY", "--spec", policy=GOOD + more)

    assert code == 0
    assert [line.strip() for line in out.splitlines() if line.startswith(("rules", "stakes", "budget"))] == [
        "rules",
        "stakes",
        "budget: an escalation expected to cost more than 0.05 USD needs approval",
    ]
    assert "metadata user: gold" in out


@pytest.mark.parametrize(
    ("prompt", "says"),
    [("", "is empty"), (" \n", "is empty"), ("\udcff", "is not UTF-8")],
)
def test_a_prompt_that_cannot_be_read_is_a_message_and_exit_code_2(langroute, prompt, says):
    code, out, err = langroute("explain", "POLICY", prompt)

    assert (code, out) == (2, "")
    assert f"langroute: the prompt {says}" in err


@pytest.mark.parametrize(("sent", "says"), [(b"\xe4\x00\xff", "is not UTF-8"), (b"", "is empty")])
def test_standard_input_that_is_no_prompt_is_a_message_and_exit_code_2(tmp_path, sent, says):
    (tmp_path / "policy.yaml").write_text(GOOD)

    command = [sys.executable, "-m", "langroute.cli", "explain", str(tmp_path / "policy.yaml"), "-"]
    done = subprocess.run(command, input=sent, capture_output=True, check=False)

    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(f"langroute: the prompt {says}")
    assert b"Traceback" not in done.stderr


def test_the_schema_is_one_that_accepts_the_policy(langroute):
    code, out, _ = langroute("schema")

    assert code == 0
    jsonschema.Draft202012Validator(json.loads(out)).validate({"tiers": {"small": "openai:nano"}})


@pytest.mark.parametrize(
    "args", [("check",), ("check", "absent.yaml"), ("check", "."), ("chck",), ("schema", "x")]
)
def test_bad_input_is_exit_code_2_and_a_message(langroute, args):
    code, out, err = langroute(*args)

    assert (code, out) == (2, "")
    assert err
    assert "Traceback" not in err


def test_the_module_runs_as_a_program(tmp_path):
    path = tmp_path / "policy.json"
    path.write_text('{"tiers": {"small": "openai:nano"}}')

    command = [sys.executable, "-m", "langroute.cli", "check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "tiers small; steps none." in done.stdout


BLAMING = """\
tiers: {small: 'openai:nano', large: 'openai:big'}
steps:
  extraction: {cascade: [small, large], verify: schema}
  synthesis: {cascade: [small, large], verify: citations, blame: extraction}
"""


def test_explain_and_the_spec_say_whom_a_step_may_blame(langroute):
    _, said, _ = langroute("explain", "POLICY", "Why?", "--step", "synthesis", policy=BLAMING)
    _, plain, _ = langroute("explain", "POLICY", "Why?", "--step", "synthesis", "--json", policy=BLAMING)
    _, spec, _ = langroute("check", "POLICY", "--spec", "--json", policy=BLAMING)

    assert "in a graph, goes back to extraction when a check blames its input" in said
    assert json.loads(plain)["blame"] == "extraction"
    assert [row["blame"] for row in json.loads(spec)["spec"]["steps"]] == ["", "extraction", ""]


def test_the_schema_describes_whom_a_step_may_blame(langroute):
    _, out, _ = langroute("schema")

    assert "Earlier step" in json.loads(out)["$defs"]["StepPolicy"]["properties"]["blame"]["description"]
