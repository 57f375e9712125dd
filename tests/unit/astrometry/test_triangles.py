from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.astrometry.triangles import make_triangles, match_triangles

RNG = np.random.default_rng(5)
POINTS = RNG.uniform(-500, 500, 12) + 1j * RNG.uniform(-500, 500, 12)


def all_of(points):
    return make_triangles(points, shortest=0.0, longest=1e9)


def test_every_triple_but_the_flat_ones():
    triangles = all_of(POINTS)
    assert 0.7 * 220 < len(triangles) <= 220
    assert len({tuple(sorted(row)) for row in triangles.vertices.tolist()}) == len(triangles)


@given(st.floats(0, 2 * np.pi), st.floats(0.1, 10.0), st.floats(-1e3, 1e3))
def test_code_does_not_feel_shift_turn_or_scale(turn, scale, shift):
    moved = POINTS * scale * np.exp(1j * turn) + shift
    before, after = all_of(POINTS), all_of(moved)
    np.testing.assert_allclose(after.code, before.code, atol=1e-6)
    np.testing.assert_allclose(after.size, before.size * scale, rtol=1e-6)
    np.testing.assert_array_equal(after.sense, before.sense)


def test_mirror_turns_the_sense_only():
    before, after = all_of(POINTS), all_of(np.conj(POINTS))
    np.testing.assert_allclose(after.code, before.code)
    np.testing.assert_array_equal(after.sense, -before.sense)


def test_side_limits():
    triangles = make_triangles(POINTS, shortest=200.0, longest=600.0)
    assert triangles.size.min() >= 200.0
    assert triangles.size.max() <= 600.0
    assert len(triangles) == np.sum((all_of(POINTS).size >= 200.0) & (all_of(POINTS).size <= 600.0))


def test_matches_find_their_own():
    image = all_of(POINTS)
    sky = all_of(POINTS * 0.001 * np.exp(0.3j))
    rows, partners = match_triangles(image, sky, scale=0.00103, scale_tolerance=0.05, position_error=0.5)
    own = {(row, row) for row in range(len(image))}
    assert own <= set(zip(rows.tolist(), partners.tolist(), strict=True))


def test_scale_sorts_out():
    image, sky = all_of(POINTS), all_of(POINTS * 0.001)
    rows, partners = match_triangles(image, sky, scale=0.0012, scale_tolerance=0.02, position_error=0.0)
    assert not np.any(rows == partners)


@pytest.mark.parametrize("factor", [0.851, 1.149])
def test_the_tolerance_holds_on_either_side(factor):
    image, sky = all_of(POINTS), all_of(POINTS * factor)
    rows, partners = match_triangles(image, sky, scale=1.0, scale_tolerance=0.15, position_error=0.0)
    assert np.sum(rows == partners) == len(image)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_points(n):
    few = all_of(POINTS[:n])
    assert len(few) == 0
    rows, _ = match_triangles(few, all_of(POINTS), scale=1.0, scale_tolerance=0.1, position_error=1.0)
    assert len(rows) == 0


def test_check_may_end_the_work():
    def stop() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        make_triangles(POINTS, shortest=0.0, longest=1e9, check=stop)
