from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import nightflow.lightcurves.dbscan as module
from nightflow.lightcurves.dbscan import NOISE, dbscan


def _by_definition(points: NDArray[np.float64], radius: float, least: int) -> tuple[list[int], list[bool]]:
    """Return the cluster of each core point, walked from neighbour to neighbour, and which are cores."""
    near = np.linalg.norm(points[:, None] - points[None], axis=-1) <= radius
    core = near.sum(axis=1) >= least
    label = [NOISE] * len(points)
    number = 0
    for start in range(len(points)):
        if not core[start] or label[start] != NOISE:
            continue
        stack = [start]
        while stack:
            one = stack.pop()
            if label[one] == NOISE and core[one]:
                label[one] = number
                stack += np.flatnonzero(near[one]).tolist()
        number += 1
    return label, core.tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 5))
def test_it_is_the_clustering_of_the_definition(seed: int, n: int, least: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 6, (n, 2))
    label = dbscan(points, 1.0, least)
    expected, core = _by_definition(points, 1.0, least)
    for row in range(n):
        if core[row]:
            assert label[row] == expected[row]
            continue
        distance = np.linalg.norm(points - points[row], axis=1)
        cores = [one for one in np.argsort(distance) if core[one] and distance[one] <= 1.0]
        assert label[row] == (expected[cores[0]] if cores else NOISE)


def test_piece_by_piece_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(3).uniform(0, 12, (800, 3))
    whole = dbscan(points, 1.2, 3)
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", 50)
    np.testing.assert_array_equal(dbscan(points, 1.2, 3), whole)
    assert len(np.unique(whole)) > 5


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_points_are_noise(n: int) -> None:
    assert (dbscan(np.zeros((n, 3)), 1.0, 3) == NOISE).all()
