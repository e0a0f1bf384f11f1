"""What a policy may say of shadows, and what the command line tells of them."""

from pathlib import Path
from typing import Any

import pytest
from shadowing import EXACT, kept, policy, routed
from typer.testing import CliRunner

from langroute import Ledger
from langroute.advice import warnings
from langroute.cli import app
from langroute.endpoints import Endpoints
from langroute.errors import PolicyError
from langroute.policy import Policy
from langroute.spending import budget_problems


@pytest.mark.parametrize(
    ("shadow", "problem"),
    [
        ({"step": "ansver"}, "shadow[0].step = 'ansver': unknown step. Did you mean `answer`?"),
        ({"share": 0.0}, "shadow.share = 0.0"),
        ({"share": 1.5}, "shadow.share = 1.5: must be at most 1"),
        ({"compare": {"judge": {"tier": "huge"}}}, "shadow[0].compare.judge.tier = 'huge': unknown tier"),
        ({"compare": "exactly"}, "shadow.compare = 'exactly'"),
    ],
)
def test_shadow_that_cannot_work_is_refused(shadow: dict[str, Any], problem: str) -> None:
    with pytest.raises(PolicyError) as refused:
        Policy.load(policy(shadow=shadow))
    assert problem in str(refused.value)


def test_shadow_that_measures_nothing_or_twice_is_refused() -> None:
    with pytest.raises(PolicyError, match="comes from the top tier `large`"):
        Policy.load(policy(step={"cascade": ["large"]}))
    twice = policy() | {"shadow": [EXACT, EXACT]}
    with pytest.raises(PolicyError, match=r"shadow\[1\].step = 'answer': the step is shadowed already"):
        Policy.load(twice)


@pytest.mark.parametrize(
    ("price", "usd", "problem"),
    [
        (None, 1.0, "the price of `large` is unknown"),
        ({"input": 10, "output": 20}, 0.01, "below what one call"),
    ],
)
def test_budget_that_cannot_hold_one_call_is_told(price: Any, usd: float, problem: str) -> None:
    written = policy(shadow={"per_day_usd": usd})
    written["tiers"]["large"]["models"][0]["price"] = price
    checked = Policy.load(written)
    assert problem in str(budget_problems(checked, Endpoints(checked))[0])


def test_judge_of_its_own_replies_is_warned_of_and_one_of_another_model_is_not() -> None:
    written = policy(shadow={"compare": {"judge": {}}})
    [found] = [w for w in warnings(Policy.load(written)) if w.path.startswith("shadow")]
    assert "`large` judges its own replies" in found.message
    second = policy(large="It was.")["tiers"]["large"]["models"][0] | {"name": "second"}
    written["tiers"]["large"]["models"].append(second)
    assert [w for w in warnings(Policy.load(written)) if w.path.startswith("shadow")] == []


def test_command_shows_the_measured_rate(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        model = routed(ledger)
        model.invoke("When?")
        kept(model.router)
    shown = CliRunner().invoke(
        app, ["report", "--ledger", str(tmp_path / "ledger.sqlite")], env={"COLUMNS": "200"}
    )
    assert "cheap wrong, top tier right" in shown.output
    assert "100% (21% to 100%)" in shown.output
