from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

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


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(0.01, 0.6))
def test_dense_places_that_nearly_touch_are_those_of_the_definition(
    seed: int, least: int, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    points = np.repeat(rng.uniform(0, 4, (12, 3)), 12, axis=0) + rng.normal(0, spread, (144, 3))
    wanted = rng.integers(least, least + 9, 144)
    near = np.linalg.norm(points[:, None] - points[None], axis=-1) <= 1.0
    core = near.sum(axis=1) >= wanted
    graph = connected_components(near[np.ix_(core, core)], directed=False)[1]
    _, first = np.unique(graph, return_index=True)
    expected = np.argsort(np.argsort(first))[graph]
    assert np.array_equal(dbscan(points, 1.0, wanted)[core], expected)


def test_numbers_of_cells_too_large_for_one_integer_are_no_matter() -> None:
    points = np.random.default_rng(3).uniform(0, 12, (400, 3))
    near = dbscan(points, 1.2, 3)
    far = np.concatenate([points, points + 1e8, points - 1e8])
    label = dbscan(far, 1.2, 3)
    assert len(np.unique(near)) > 5
    assert (label[:400] == near).all()
    assert len(np.unique(label)) == 3 * (len(np.unique(near)) - 1) + 1


def test_a_place_seen_many_thousand_times_takes_no_time() -> None:
    # All pairs of these were ten thousand million: minutes.
    rng = np.random.default_rng(4)
    points = np.concatenate([rng.normal(0, 0.1, (100_000, 3)), rng.uniform(-20, 20, (2000, 3))])
    start = time.process_time()
    label = dbscan(points, 1.0, 3)
    assert time.process_time() - start < 3.0
    assert (label[:100_000] == 0).all()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_points_are_noise(n: int) -> None:
    assert (dbscan(np.zeros((n, 3)), 1.0, 3) == NOISE).all()
