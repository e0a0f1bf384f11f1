"""A whole policy is tuned from outcomes: each threshold with its evidence, or with the reason why not."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording import STEP, models, prompts, right, write
from simulated import WORLDS
from worlds import TIERS, prompt_score, world

from langroute import LangrouteError, Policy
from langroute.testing import Answer, ScriptedChatModel
from langroute.tuning.dials import Dial, dials_of
from langroute.tuning.features import Features
from langroute.tuning.files import save_score
from langroute.tuning.outcomes import Outcome
from langroute.tuning.recorded import Reading
from langroute.tuning.sweep import candidates
from langroute.tuning.tuned import Asked, tune_policy
from langroute.tuning.writing import tuned_places, write_tuned

MODELS = {tier: {"models": [f"openai:{tier}"]} for tier in ("small", "middle", "large")}
ANYONE = Asked(most_share=1)


def dials(**steps: Any) -> list[Dial]:
    written = {"tiers": MODELS, "steps": steps}
    return dials_of(Policy.load(written), written)


def checked(minimum: float = 0.1, **more: Any) -> dict[str, Any]:
    return {"cascade": ["small", "large"], "verify": [{"confidence": {"min": minimum}}], **more}


def simulated(count: int = 2_000, seed: int = 0) -> list[Outcome]:
    """Return a world of which the truth is known: confidence is its score, difficulty what is left to 1."""
    drawn = WORLDS["steep"].draw(count, np.random.default_rng(seed))
    found = []
    for query, (score, cheap, strong) in enumerate(
        zip(*(drawn[name].tolist() for name in ("score", "cheap", "strong")), strict=True)
    ):
        bare = Outcome(str(query), "small", cheap, Features(), cost_usd=0.001, difficulty=1 - score)
        found.append(replace(bare, verdicts={"confidence": score}))
        found.append(replace(bare, tier="large", score=strong, cost_usd=0.01))
    return found


def test_each_threshold_is_looked_at_and_says_what_it_rests_on() -> None:
    (found,) = tune_policy(dials(work=checked()), simulated(), ANYONE)
    assert found.threshold is not None
    assert found.moved
    assert WORLDS["steep"].kept(found.threshold) >= 0.98
    assert found.change is not None
    assert found.change.loc == ("steps", "work", "verify", 0, "confidence", "min")
    told = found.as_dict()
    assert told["saving"] == found.tuning.saving > 0.2  # type: ignore[union-attr]  # there is one
    assert [at for at in told["curve"] if at[0] == found.threshold]


def test_of_a_step_one_threshold_moves_at_a_time() -> None:
    both = dials(work=checked(route={"difficulty": {"threshold": 0.99}}))
    first, second = tune_policy(both, simulated(), ANYONE)
    assert first.threshold is not None
    assert second.threshold is None
    assert "steps.work.verify.0.confidence.min moves" in str(second.refusal)
    settled = dials(work=checked(first.threshold, route={"difficulty": {"threshold": 0.99}}))
    assert [each.threshold is None for each in tune_policy(settled, simulated(), ANYONE)] == [False, False]


def test_steps_are_told_apart_by_their_outcomes() -> None:
    named = [replace(each, step="one") for each in simulated()]
    one, other = tune_policy(dials(one=checked(), other=checked()), named, ANYONE)
    assert one.threshold is not None
    assert "0 requests have a reply of small" in str(other.refusal)


def test_too_few_requests_are_refused_with_how_many_more_would_do() -> None:
    (found,) = tune_policy(dials(work=checked()), simulated(40), ANYONE)
    assert found.threshold is None
    assert found.more is not None
    assert found.tuning is not None
    assert found.more == found.tuning.needed - 40  # type: ignore[operator]  # it is known
    (again,) = tune_policy(dials(work=checked()), simulated(40 + found.more, 3), ANYONE)
    assert again.threshold is not None


def test_a_threshold_from_an_earlier_tuning_stays_unless_the_gain_is_sure(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    checks = "cascade: [small, large], verify: [{confidence: {min: 0.7}}]"
    path.write_text(f"tiers: {{small: 'openai:s', large: 'openai:l'}}\nsteps: {{work: {{{checks}}}}}\n")
    assert tuned_places(path) == frozenset()
    (first,) = tune_policy(dials(work=checked(0.7)), simulated(), ANYONE)
    assert first.change is not None
    write_tuned(path, path, [first.change], day=date(2026, 11, 22), overwrite=True)
    assert tuned_places(path) == {first.dial.place}
    again = dials(work=checked(first.threshold))  # type: ignore[arg-type]  # there is one
    (second,) = tune_policy(again, simulated(seed=1), ANYONE, tuned_before=tuned_places(path))
    assert second.threshold == first.threshold
    assert not second.moved


def test_three_tiers_are_refused_and_an_unknown_step_is_an_error() -> None:
    three = checked() | {"cascade": ["small", "middle", "large"]}
    (found,) = tune_policy(dials(work=three), simulated(), ANYONE)
    assert "its cascade has 3 tiers (small, middle, large), and this one number decides" in str(found.refusal)
    written = {"tiers": MODELS, "steps": {"work": checked()}}
    with pytest.raises(LangrouteError, match="no step plan; it has work"):
        dials_of(Policy.load(written), written, ["plan"])


@pytest.fixture
def learned(tmp_path: Path) -> list[Dial]:
    save_score(prompt_score(800).score, tmp_path / "score.json")
    route = {"learned": {"model": str(tmp_path / "score.json"), "threshold": 0.1}}
    return dials(work={"cascade": list(TIERS), "route": route})


def priced(outcomes: tuple[Outcome, ...]) -> list[Outcome]:
    return [replace(each, cost_usd=0.001 if each.tier == "small" else 0.01) for each in outcomes]


def test_a_score_is_judged_by_what_it_said_of_queries_that_it_had_not_seen(learned: list[Dial]) -> None:
    (found,) = tune_policy(learned, priced(world(800)), replace(ANYONE, floor=0.9))
    fitted = prompt_score(800)
    seen = [fitted.score.gain(each.prompt, "small") for each in world(800) if each.tier == "small"]
    tried = [at for at, _, _ in found.curve]
    assert tried == candidates(fitted.gain("small"), "route").tolist()
    assert tried != candidates(np.array(seen), "route").tolist()


def test_a_score_is_not_judged_by_outcomes_that_it_may_have_seen(learned: list[Dial]) -> None:
    (found,) = tune_policy(learned, priced(world(400, seed=5)), ANYONE)
    assert "nobody knows which of these it has seen" in str(found.refusal)
    later = [replace(each, day="2026-11-22") for each in priced(world(400, seed=5))]
    (found,) = tune_policy(learned, later, replace(ANYONE, floor=0.9))
    assert found.tuning is not None
    assert found.tuning.rows == 400


def test_a_check_is_tuned_on_real_runs_of_either_tier_alone(tmp_path: Path) -> None:
    """As the README says it: the same requests, each tier alone in a cascade, one ledger, feedback on all."""
    asked = prompts(300)
    sure = [0.9 if right(prompt, "small") else 0.3 for prompt in asked]
    replies = [Answer("It is so.", probability=chance) for chance in sure]
    small = {"model": ScriptedChatModel(name="small", replies=replies), "price": {"input": 1, "output": 1}}
    check = {"verify": [{"confidence": {"min": 0.0}}]}
    alone = {"cascade": ["small"], **check}
    tiers = {**models(), "small": {"models": [small]}}
    write(tmp_path / "a.db", {"tiers": tiers, "steps": {STEP: alone}}, asked).close()
    ledger = write(tmp_path / "a.db", {"steps": {STEP: {"cascade": ["large"]}}}, asked)
    (found,) = tune_policy(dials(work=checked(0.05)), Reading(ledger).outcomes(), ANYONE)
    assert found.basis == "both asked"
    assert found.threshold is not None
    assert 0.3 < found.threshold <= 0.9
