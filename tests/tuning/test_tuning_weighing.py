"""What each logged request stands for adds up to the requests of its part of a side, whoever chance chose."""

import numpy as np
import pytest

from langroute.tuning.weighing import Began, Ends, Sides

ROWS = 500


def test_the_weights_of_each_part_of_a_side_add_up_to_its_requests() -> None:
    rng = np.random.default_rng(0)
    own, moved = rng.random(ROWS) < 0.5, rng.random(ROWS) < 0.1
    began = Began((own != moved) / np.where(moved, 0.1, 0.9), own)
    at_top = rng.random((4, ROWS)) < 0.5
    sides = Sides.weighed(at_top, began, began)
    for stand_for, side in ((sides.top, at_top), (sides.first, ~at_top)):
        for part in (own, ~own):
            assert (stand_for * part).sum(axis=1) == pytest.approx((side & part).sum(axis=1))


def test_a_side_where_none_was_sent_is_told_by_the_other_and_by_nobody_where_there_is_none() -> None:
    at_top = np.arange(ROWS)[None, :] < ROWS // 2
    below = Began((~at_top[0]).astype(float), np.full(ROWS, fill_value=True))
    values = Ends(np.ones(ROWS), np.full((1, ROWS), 0.5))
    assert Sides.weighed(at_top, below, below).means(values) == pytest.approx(0.75)
    nobody = Began(np.zeros(ROWS), below.own)
    assert np.isnan(Sides.weighed(at_top, nobody, below).means(values)).all()
