"""Planes of hand-computed values, and a cache that never answers for other masters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nightflow.detector.fused_masters import PreparedCache, PreparedMasters, prepare_masters
from nightflow.detector.master_frame import MasterFrame, MasterSet
from nightflow.flags import Flag
from tests.unit.detector.frames import make_master

BOUNDS = (0.2, 5.0)


def set_of(response: object = ((0.5, 2.0), (0.1, 8.0)), side: int = 2) -> MasterSet:
    flags = np.zeros((side, side), np.uint16)
    flags[0, 0] = Flag.HOT
    return MasterSet(
        bias=make_master("bias", np.full((side, side), 5.0), 3.0),
        dark=make_master("dark", np.full((side, side), 7.0), 2.0, flags),
        flat=make_master("flat", response, 0.01),
    )


def prepared(cache: PreparedCache, masters: MasterSet, scale: float = 1.0) -> PreparedMasters:
    return cache.get(masters, scale, 1.0, *BOUNDS)


def test_planes_are_those_of_the_formulae() -> None:
    found = prepare_masters(set_of(), 2.0, 1.0, *BOUNDS)
    np.testing.assert_allclose(found.inverse, [[2, 0.5], [10, 0.125]], rtol=1e-6)
    np.testing.assert_allclose(found.flat_error, [[0.02, 0.005], [0.1, 0.00125]], rtol=1e-6)
    np.testing.assert_array_equal(found.variance, np.full((2, 2), 3.0**2 + (2 * 2.0) ** 2))
    assert found.flags.tolist() == [[Flag.HOT, 0], [Flag.DEAD, Flag.BAD]]
    assert (found.n_dead, found.n_bad) == (1, 1)


def test_nothing_is_divided_where_there_is_no_response() -> None:
    found = prepare_masters(set_of(((1.0, 0.0), (-3.0, 1.0))), 1.0, 1.0, *BOUNDS)
    assert found.inverse.tolist() == [[1, 1], [1, 1]]
    assert found.n_dead == 2


def test_without_dark_and_flat_one_row_is_enough() -> None:
    found = prepare_masters(replace(set_of(), dark=None, flat=None), 1.0, 1.0, *BOUNDS)
    assert found.inverse.tolist() == [[1, 1]]
    assert found.flat_error.tolist() == [[0, 0]]
    assert (found.variance == 9).all()
    assert not found.flags.any()


def test_masters_are_not_changed() -> None:
    masters = set_of()
    assert masters.bias is not None
    prepare_masters(masters, 1.0, 1.0, *BOUNDS)
    assert not masters.bias.flags.any()
    assert (masters.bias.uncertainty == 3).all()


def test_the_same_masters_are_prepared_once() -> None:
    cache, masters = PreparedCache(), set_of()
    first = prepared(cache, masters)
    assert prepared(cache, replace(masters)) is first
    assert prepared(cache, masters, 2.0) is not first
    assert cache.get(masters, 1.0, 1.0, 0.6, 5.0).n_dead == 2
    assert prepared(cache, masters) is first


def other(master: MasterFrame | None, **changes: object) -> MasterFrame:
    assert master is not None
    return replace(master, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("plane", ["data", "uncertainty", "flags"])
def test_other_pixels_under_the_same_fingerprint_are_other_masters(plane: str) -> None:
    cache, masters = PreparedCache(), set_of()
    assert masters.flat is not None
    first = prepared(cache, masters)
    changed = replace(masters, flat=other(masters.flat, **{plane: getattr(masters.flat, plane) * 0 + 1}))
    second = prepared(cache, changed)
    assert second is not first
    assert not np.array_equal(
        np.stack([second.inverse, second.flat_error, second.flags]),
        np.stack([first.inverse, first.flat_error, first.flags]),
    )


def test_a_dark_and_a_flat_are_not_taken_for_each_other() -> None:
    cache, masters = PreparedCache(), set_of(np.full((2, 2), 2.0))
    assert masters.dark is not None
    as_flat = replace(masters, dark=None, flat=masters.dark)
    without_flat = replace(masters, flat=None)
    assert prepared(cache, as_flat).inverse.shape == (2, 2)
    assert prepared(cache, without_flat).inverse.shape == (1, 2)


def test_planes_of_masters_that_are_gone_are_forgotten() -> None:
    cache, masters = PreparedCache(), set_of()
    prepared(cache, masters)
    del masters
    kept = set_of()
    prepared(cache, kept)
    assert len(cache) == 1


def test_there_is_a_bound_on_the_memory() -> None:
    masters = [set_of(np.ones((16, 16)), 16) for _ in range(4)]
    one = prepare_masters(masters[0], 1.0, 1.0, *BOUNDS)
    cache = PreparedCache(most_bytes=2 * one.nbytes)
    found = [prepared(cache, each) for each in masters]
    assert len(cache) == 2
    assert prepared(cache, masters[3]) is found[3]
    assert prepared(cache, masters[0]) is not found[0]
    small = PreparedCache(most_bytes=1)
    assert prepared(small, masters[1]) is prepared(small, masters[1])
