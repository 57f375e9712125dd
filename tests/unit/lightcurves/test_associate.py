from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightflow.lightcurves.associate import associate, match_radius
from nightflow.sphere import unit_vectors

ARCSEC = 1.0 / 3600.0


def _field(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return 10.0 + rng.uniform(-0.2, 0.2, n), 20.0 + rng.uniform(-0.2, 0.2, n)


@pytest.mark.parametrize(("scale", "radius"), [(None, 3.0), (0.4, 3.0), (2.0, 3.0), (5.164, 7.746)])
def test_match_radius(scale: float | None, radius: float) -> None:
    assert match_radius(scale) == pytest.approx(radius)


def test_a_shuffled_field_finds_itself() -> None:
    ra, dec = _field(500)
    order = np.random.default_rng(2).permutation(500)
    found = associate(ra[order], dec[order], ra, dec, 1.0)
    assert np.array_equal(found.source, order)
    assert np.nanmax(found.separation) == pytest.approx(0.0, abs=1e-3)


def test_separation_is_in_arcsec() -> None:
    found = associate(
        np.array([10.0]), np.array([60.0 + 2 * ARCSEC]), np.array([10.0]), np.array([60.0]), 3.0
    )
    assert found.separation[0] == pytest.approx(2.0, abs=1e-6)


def test_beyond_the_radius_is_nothing() -> None:
    found = associate(
        np.array([10.0]), np.array([0.0 + 3.1 * ARCSEC]), np.array([10.0]), np.array([0.0]), 3.0
    )
    assert found.source.tolist() == [-1]
    assert np.isnan(found.separation[0])


def test_two_detections_of_one_object_the_nearer_wins() -> None:
    dec = np.array([1.0, 0.5]) * ARCSEC
    assert associate(np.zeros(2), dec, np.zeros(1), np.zeros(1), 3.0).source.tolist() == [-1, 0]


def test_who_lost_gets_the_next_that_is_free() -> None:
    # Both detections are nearest to object 0; the second of them still has object 1 within reach.
    detections = np.array([0.1, 1.0]) * ARCSEC
    objects = np.array([0.0, 3.0]) * ARCSEC
    assert associate(np.zeros(2), detections, np.zeros(2), objects, 3.0).source.tolist() == [0, 1]


def test_a_close_pair_keeps_its_order() -> None:
    objects, shift = np.array([0.0, 2.0]) * ARCSEC, 0.6 * ARCSEC
    assert associate(np.zeros(2), objects + shift, np.zeros(2), objects, 3.0).source.tolist() == [0, 1]


def test_over_right_ascension_zero_and_the_pole() -> None:
    zero = associate(np.array([359.9999]), np.array([0.0]), np.array([0.0001]), np.array([0.0]), 1.0)
    pole = associate(np.array([10.0]), np.array([89.9999]), np.array([190.0]), np.array([89.9999]), 1.0)
    assert (zero.source[0], pole.source[0]) == (0, 0)


def test_nothing_and_nan() -> None:
    none, one = np.empty(0), np.array([1.0])
    assert associate(none, none, one, one, 3.0).source.tolist() == []
    assert associate(one, one, none, none, 3.0).source.tolist() == [-1]
    assert associate(np.array([np.nan, 1.0]), np.array([1.0, 1.0]), one, one, 3.0).source.tolist() == [-1, 0]


@settings(max_examples=80, deadline=None)
@given(
    detections=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20)), max_size=25),
    objects=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20)), max_size=25),
)
def test_one_to_one_within_the_radius_and_nothing_left_that_could_be_paired(
    detections: list[tuple[float, float]], objects: list[tuple[float, float]]
) -> None:
    a, b = np.array(detections).reshape(-1, 2) * ARCSEC, np.array(objects).reshape(-1, 2) * ARCSEC
    found = associate(a[:, 0], a[:, 1], b[:, 0], b[:, 1], 3.0).source
    used = found[found >= 0]
    assert len(set(used.tolist())) == len(used)
    chord = np.linalg.norm(
        unit_vectors(a[:, 0], a[:, 1])[:, None] - unit_vectors(b[:, 0], b[:, 1])[None], axis=-1
    )
    apart = np.degrees(2 * np.arcsin(chord / 2)) * 3600
    assert np.all(apart[np.flatnonzero(found >= 0), used] <= 3.0 + 1e-6)
    free = np.setdiff1d(np.arange(len(b)), used)
    assert np.all(apart[np.ix_(found < 0, free)] > 3.0 - 1e-6)
