"""Pixels without information."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nightflow.errors import FrameRejected
from nightflow.instruments.pixels import check_pixels

PATH = Path("night/a.fits")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nothing_finite(bad: float) -> None:
    with pytest.raises(
        FrameRejected, match=r"night/a\.fits: HDU 2: none of the 600 pixels is a finite number"
    ):
        check_pixels(np.full((20, 30), bad, np.float32), PATH, 2)


def test_constant() -> None:
    with pytest.raises(FrameRejected, match=r"a\.fits: HDU 0: constant: all 600 finite pixels hold 7"):
        check_pixels(np.full((20, 30), 7, np.float32), PATH)


def test_constant_where_finite() -> None:
    data = np.full((20, 30), 7, np.float32)
    data[:10] = np.nan
    with pytest.raises(FrameRejected, match="all 300 finite pixels hold 7"):
        check_pixels(data, PATH)


@pytest.mark.parametrize("at", [(0, 0), (13, 17), (1999, 1999)])
def test_one_other_pixel_is_enough(at: tuple[int, int]) -> None:
    data = np.full((2000, 2000), 7, np.float32)
    data[at] = 8
    check_pixels(data, PATH)


def test_a_sky_with_dead_columns_passes() -> None:
    data = np.random.default_rng(1).normal(100, 5, (50, 50)).astype(np.float32)
    data[:, 3:9] = np.nan
    check_pixels(data, PATH)
