from __future__ import annotations

import numpy as np
import pytest

from nightflow.astrometry.matching import mutual_pairs, vote_shift

RNG = np.random.default_rng(3)


def test_pairs_are_mutual():
    seen = np.array([[0.0, 0.0], [10.0, 0.0]])
    predicted = np.array([[0.4, 0.0], [0.1, 0.0], [10.2, 0.0], [50.0, 50.0]])
    rows, refs = mutual_pairs(seen, predicted, 1.0)
    assert list(zip(rows.tolist(), refs.tolist(), strict=True)) == [(0, 1), (1, 2)]


def test_no_pairs_without_points():
    nothing = np.empty((0, 2))
    for seen, predicted in [(nothing, nothing), (nothing, np.ones((3, 2))), (np.ones((3, 2)), nothing)]:
        assert len(mutual_pairs(seen, predicted, 1.0)[0]) == 0
        assert vote_shift(seen, predicted, limit=10.0, radius=1.0) is None


def test_vote_finds_the_shift_among_strangers():
    stars = RNG.uniform(0, 1000, (30, 2))
    seen = np.vstack(
        [stars + np.array([80.0, -33.0]) + RNG.normal(0, 0.3, (30, 2)), RNG.uniform(0, 1000, (50, 2))]
    )
    shift = vote_shift(seen, stars, limit=200.0, radius=3.0)
    assert (shift.dx, shift.dy) == pytest.approx((80.0, -33.0), abs=0.3)
    assert shift.support >= 30
    assert shift.runner_up < 10


def test_vote_ignores_shifts_beyond_the_limit():
    stars = RNG.uniform(0, 1000, (30, 2))
    shift = vote_shift(stars + np.array([80.0, 0.0]), stars, limit=50.0, radius=2.0)
    assert shift.support < 10
