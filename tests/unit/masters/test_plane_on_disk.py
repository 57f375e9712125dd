"""Planes on disk give what arrays give."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from nightflow.masters.combine import combine
from nightflow.masters.plane_on_disk import PlaneOnDisk, divide


@pytest.fixture
def plane() -> np.ndarray:
    return np.random.default_rng(1).normal(100, 5, (37, 53)).astype(np.float32)


@pytest.mark.parametrize(
    "key",
    [
        slice(0, 37),
        slice(5, 9),
        slice(None, None, 4),
        slice(30, 99),
        (slice(2, 8), slice(10, 20)),
        (slice(None, None, 3), slice(0, 5)),
    ],
)
def test_rows_and_rectangles(plane: np.ndarray, key: slice | tuple[slice, slice]) -> None:
    np.testing.assert_array_equal(PlaneOnDisk(plane)[key], plane[key])


def test_threads_read_at_the_same_time(plane: np.ndarray) -> None:
    stored = PlaneOnDisk(plane)
    with ThreadPoolExecutor(4) as pool:
        for row, found in enumerate(pool.map(lambda y: stored[y : y + 1][0], range(37))):
            np.testing.assert_array_equal(found, plane[row])


def test_division_is_that_of_an_array(plane: np.ndarray) -> None:
    stored, array = PlaneOnDisk(plane), plane.copy()
    for target in (stored, array):
        divide(target, 4.0)
    np.testing.assert_array_equal(stored[0:37], array)
    np.testing.assert_array_equal(stored[0:37], plane / 4)


def test_they_combine_as_arrays_do() -> None:
    stack = np.random.default_rng(2).normal(100, 5, (5, 40, 30)).astype(np.float32)
    from_disk, from_memory = combine([PlaneOnDisk(one) for one in stack]), combine(stack)
    for name in ("data", "scatter", "n_used", "noise"):
        np.testing.assert_array_equal(getattr(from_disk, name), getattr(from_memory, name))


def test_nothing_is_left_behind(plane: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stored = PlaneOnDisk(plane)
    assert list(tmp_path.iterdir()) == []
    del stored
    assert list(tmp_path.iterdir()) == []
