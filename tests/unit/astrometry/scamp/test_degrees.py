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
    bent = np.hypot(GOOD, np.linspace(0.0, 0.06, 200))
    for strays in (np.full(40, 3.0), np.full(900, np.inf)):
        assert best_of([np.append(bent, strays), np.append(GOOD, strays)]) == 1
        assert best_of([np.append(GOOD, strays), np.append(GOOD * 0.99, strays)]) == 0


def test_a_degree_that_loses_stars_is_no_better() -> None:
    lost = np.where(np.arange(200) < 30, np.inf, GOOD * 0.9)
    assert best_of([GOOD, lost]) == 0
    bent = np.hypot(GOOD, np.linspace(0.0, 4.0, 200))
    assert best_of([np.where(bent < 3.0, bent, np.inf), GOOD]) == 1


def test_few_stars_may_gain_by_chance() -> None:
    simple = np.array([0.05, 0.06, 0.04, 0.05, 0.12])
    lucky = np.array([0.05, 0.06, 0.05, 0.05, 0.05])
    assert best_of([simple, lucky]) == 0


def test_nobody_left_out() -> None:
    assert best_of([np.empty(0), np.empty(0)]) == 0
    assert best_of([np.full(5, np.inf), np.full(5, np.inf)]) == 0
