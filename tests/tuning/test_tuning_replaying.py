"""A whole log is replayed under another policy: the estimate holds what that policy then really comes to."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording import STEP, models, prompts, write

from langroute import Policy
from langroute.ledger.labels import labelled
from langroute.tuning.features import Features
from langroute.tuning.outcomes import Outcome
from langroute.tuning.recorded import Reading
from langroute.tuning.replay import Logged
from langroute.tuning.replaying import logs_of, replay_policy


def policy(threshold: float, **more: Any) -> dict[str, Any]:
    route = {"difficulty": {"threshold": threshold}}
    return {"steps": {STEP: {"cascade": ["small", "large"], "route": route, **more}}}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Logged]]:
    path = tmp_path_factory.mktemp("log") / "a.db"
    found = defaultdict(list)
    for record, logged in Reading(write(path, policy(0.05, explore=0.25), prompts(400))).logged():
        found[record.step].append(logged)
    return dict(found)


def test_the_interval_holds_what_the_other_policy_comes_to(
    log: dict[str, list[Logged]], tmp_path: Path
) -> None:
    other = policy(0.4)
    (found,) = replay_policy(Policy.load({"tiers": models(), **other}), log)
    assert (found.step, found.requests, found.unknown) == (STEP, 400, None)
    assert found.whatif is not None
    assert found.whatif.basis == "estimate"
    records = list(write(tmp_path / "b.db", other, prompts(400)).decisions())
    quality, cost, escalated = found.whatif.quality, found.whatif.cost_usd, found.whatif.escalated
    assert quality is not None
    worths = [label.score for record in records if (label := labelled(record)) is not None]
    assert len(worths) == 400
    assert quality.low <= np.mean(worths) <= quality.high
    assert cost is not None
    assert cost.low <= np.mean([record.cost_usd for record in records]) <= cost.high
    assert escalated is not None
    assert escalated.value == 0
    assert found.whatif.latency_s is not None


def test_a_tier_that_was_never_tried_is_unknown(log: dict[str, list[Logged]]) -> None:
    small = {STEP: [run for run in log[STEP] if run.start == "small"]}
    (found,) = replay_policy(Policy.load({"tiers": models(), **policy(0.05)}), small)
    assert found.whatif is not None
    assert found.whatif.cost_usd is None
    assert "the log never tried what the policy would, on large" in str(found.unknown)


def outcome(query: int, tier: str, score: float, difficulty: float) -> Outcome:
    usd = 0.001 if tier == "small" else 0.01
    verdicts = {"confidence": 1 - difficulty} if tier == "small" else {"confidence": 1.0}
    return Outcome(
        str(query), tier, score, Features(), verdicts=verdicts, step=STEP, cost_usd=usd, difficulty=difficulty
    )


def test_a_test_that_asked_every_tier_is_replayed_without_an_estimate() -> None:
    asked = []
    for n in range(100):
        asked += [outcome(n, "large", 1.0, n / 100), outcome(n, "small", float(n < 60), n / 100)]
    checked = policy(0.9, verify=[{"confidence": {"min": 0.3}}])
    other = Policy.load({"tiers": models(), **checked})
    (found,) = replay_policy(other, logs_of(asked, other))
    assert found.whatif is not None
    assert (found.whatif.basis, found.whatif.replayed) == ("measured", 100)
    assert found.whatif.quality is not None
    assert found.whatif.quality.value == pytest.approx(0.89)  # 60 to 70 pass and are wrong
    assert found.whatif.escalated is not None
    assert found.whatif.escalated.value == pytest.approx(0.19)  # 71 to 89; from 90 on the large tier begins
    assert found.whatif.cost_usd is not None
    assert found.whatif.cost_usd.value == pytest.approx((71 * 0.001 + 19 * 0.011 + 10 * 0.01) / 100)


def test_a_check_that_the_other_policy_does_not_have_no_longer_rejects() -> None:
    asked = [outcome(n, tier, 1.0, 0.9) for n in range(10) for tier in ("small", "large")]
    strict = Policy.load({"tiers": models(), **policy(0.95, verify=[{"confidence": {"min": 0.5}}])})
    free = Policy.load({"tiers": models(), **policy(0.95)})
    logs = logs_of(asked, strict)
    escalated = [replay_policy(other, logs)[0].whatif.escalated.value for other in (strict, free)]  # type: ignore[union-attr]  # they are known
    assert escalated == [1.0, 0.0]
