from __future__ import annotations

import numpy as np

from nightflow.astrometry.scamp.degrees import best_of

RNG = np.random.default_rng(1)
GOOD = np.abs(RNG.normal(0.0, 0.02, 200))


def test_the_lowest_that_is_as_good() -> None:
    bent = np.hypot(GOOD, np.linspace(0.0, 0.2, 200))
    assert best_of([bent, GOOD, GOOD * 0.99]) == 1
    assert best_of([GOOD, GOOD * 0.99]) == 0


def test_a_corner_that_runs_away_costs_a_degree() -> None:
    """Only few stars see it, and a median would not."""
    wild = GOOD.copy()
    wild[:3] = 0.8
    assert best_of([GOOD * 1.02, wild]) == 0


def test_stars_that_no_degree_explains_say_nothing() -> None:
    strays = np.full(40, 3.0)
    bent = np.hypot(GOOD, np.linspace(0.0, 0.06, 200))
    assert best_of([np.append(bent, strays), np.append(GOOD, strays)]) == 1


def test_nobody_left_out() -> None:
    assert best_of([np.empty(0), np.empty(0)]) == 0
