"""A fitted score comes with what it is worth on queries that it had not seen, or is refused with figures."""

from dataclasses import replace

import numpy as np
import pytest
from worlds import TIERS, world

from langroute.tuning.outcomes import Outcome
from langroute.tuning.training import tiers_by_cost, train


def shuffled(outcomes: tuple[Outcome, ...]) -> list[Outcome]:
    """Return the outcomes with the worths of others: there is nothing to learn."""
    worths = np.random.default_rng(0).permutation([each.score for each in outcomes])
    return [replace(each, score=float(worth)) for each, worth in zip(outcomes, worths, strict=True)]


@pytest.mark.parametrize("kind", ["prompt", "reply"])
def test_what_can_be_learnt_is_ranked_and_the_chances_are_true(kind: str) -> None:
    found = train(world(400), TIERS, kind=kind, step="work")  # type: ignore[arg-type]  # it is one of two
    assert found.score is not None
    assert found.refusal is None
    lowest = found.heads[0]
    assert (lowest.tier, lowest.labels) == ("small", 400)
    assert lowest.auc is not None
    assert 0.7 < lowest.auc.low <= lowest.auc.value <= lowest.auc.high
    assert lowest.calibration_error.low <= lowest.calibration_error.value < 0.1
    assert found.as_dict()["heads"][0]["auc"]["value"] == lowest.auc.value


def test_too_few_labels_are_refused_with_how_many_more() -> None:
    found = train(world(60), TIERS, kind="prompt")
    assert found.score is None
    assert found.needed == 80
    assert "small has 60" in str(found.refusal)
    assert "large has 60" in str(found.refusal)


def test_labels_that_all_say_the_same_are_refused() -> None:
    right = [replace(each, score=1.0) for each in world(150)]
    found = train(right, TIERS, kind="prompt")
    assert found.score is None
    assert found.needed is not None
    assert found.needed > 0


def test_what_cannot_be_learnt_is_refused_with_its_figures() -> None:
    found = train(shuffled(world(200)), TIERS, kind="prompt")
    assert found.score is None
    assert "it is not shown to rank better than chance" in str(found.refusal)
    assert found.heads[0].auc is not None
    assert found.heads[0].auc.low <= 0.5


def test_tiers_stand_as_they_cost_and_unknown_costs_must_be_told_apart() -> None:
    dear = [replace(each, cost_usd=0.1 if each.tier == "large" else 0.01) for each in world(20)]
    assert tiers_by_cost(reversed(dear)) == ["small", "large"]
    with pytest.raises(ValueError, match="name the tiers, cheapest first"):
        tiers_by_cost(world(20))


def test_a_score_of_one_tier_or_of_tiers_that_no_outcome_names_is_no_score() -> None:
    small = [each for each in world(150) if each.tier == "small"]
    for kind in ("prompt", "reply"):
        with pytest.raises(ValueError, match="all outcomes are of small: a score weighs a tier against"):
            train(small, ["small"], kind=kind)  # type: ignore[arg-type]  # it is one of two
    with pytest.raises(ValueError, match="outcomes are of large, small, and the step's tiers are a, b"):
        train(world(20), ["a", "b"], kind="prompt")
