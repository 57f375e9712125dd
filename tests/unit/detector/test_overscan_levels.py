"""Curves through the overscan: against known levels, ccdproc, and simulated noise."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.modeling.models import Polynomial1D
from astropy.nddata import CCDData
from ccdproc import subtract_overscan as ccdproc_subtract_overscan
from numpy.typing import NDArray

from nightflow.detector.overscan_levels import LevelCurve, line_levels, strip_variance

NY, WIDTH, NOISE = 600, 16, 4.0
STRIP = (slice(0, NY), slice(40, 40 + WIDTH))
PLACE = np.linspace(-1, 1, NY)
CUBIC = 1000 + 12 * PLACE - 5 * PLACE**2 + 8 * PLACE**3
WAVE = 1000 + 6 * np.sin(4 * PLACE)


def frame_of(levels: NDArray[np.float64], seed: int = 1, noise: float = NOISE) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    data = levels[:, np.newaxis] + random.normal(0, noise, (NY, 40 + WIDTH))
    data[:, :40] += 500
    return data.astype(np.float32)


@pytest.mark.parametrize(("mode", "levels"), [("polynomial", CUBIC), ("spline", CUBIC), ("spline", WAVE)])
def test_a_level_without_noise_is_found(mode: str, levels: NDArray[np.float64]) -> None:
    found = line_levels(frame_of(levels, noise=0.0), STRIP, mode)
    np.testing.assert_allclose(found, levels, atol=0.02)  # how well eight cubic pieces follow a sine


def test_a_polynomial_is_ccdprocs() -> None:
    """Apart from the weights that keep outliers off: far below the noise of one line's median."""
    data = frame_of(CUBIC)
    theirs = ccdproc_subtract_overscan(
        CCDData(data, unit=u.adu),
        overscan=CCDData(data[STRIP], unit=u.adu),
        overscan_axis=1,
        median=True,
        model=Polynomial1D(3),
    )
    ours = data - line_levels(data, STRIP, "polynomial")[:, np.newaxis]
    of_a_line = np.sqrt(np.pi / 2 / WIDTH) * NOISE
    assert np.abs(ours - theirs.data).max() < 0.15 * of_a_line


@pytest.mark.parametrize(
    ("mode", "curve"),
    [
        ("row_median", LevelCurve()),
        ("polynomial", LevelCurve(order=0)),
        ("polynomial", LevelCurve(order=5)),
        ("spline", LevelCurve(knots=20)),
    ],
)
def test_the_variance_of_the_level_is_the_one_that_is_claimed(mode: str, curve: LevelCurve) -> None:
    level = np.full(NY, 1000.0)
    errors = [line_levels(frame_of(level, seed), STRIP, mode, curve) - 1000 for seed in range(60)]
    assert np.var(errors) == pytest.approx(strip_variance(STRIP, NOISE, mode, curve), rel=0.2)


def test_one_level_or_none_brings_no_variance_that_counts() -> None:
    assert strip_variance(STRIP, NOISE, "median") == 0
    assert strip_variance(STRIP, NOISE, "off") == 0


@pytest.mark.parametrize("mode", ["polynomial", "spline"])
def test_the_charge_behind_saturated_stars_does_not_bend_the_curve(mode: str) -> None:
    data = frame_of(WAVE)
    clean = line_levels(data, STRIP, mode, LevelCurve(order=5))
    data[100:130, 40:] += np.linspace(400, 50, WIDTH)
    data[400:412, 40:] += 60
    data[250, 40:52] += 5000
    found = line_levels(data, STRIP, mode, LevelCurve(order=5))
    assert np.abs(found - clean).max() < 1.0
    assert np.abs(line_levels(data, STRIP, "row_median") - clean).max() > 40


def test_lines_without_a_level_are_bridged() -> None:
    data = frame_of(WAVE)
    data[200:290, 40:] = np.nan
    found = line_levels(data, STRIP, "spline")
    assert np.abs(found - WAVE).max() < 2.0


@pytest.mark.parametrize("mode", ["polynomial", "spline"])
def test_beyond_the_strip_the_curve_stays_level(mode: str) -> None:
    data = frame_of(CUBIC)
    part = (slice(100, 500), STRIP[1])
    found = line_levels(data, part, mode)
    assert np.ptp(found[:101]) == 0
    assert np.ptp(found[499:]) == 0
    np.testing.assert_allclose(found[100:500], CUBIC[100:500], atol=1.0)


@pytest.mark.parametrize("mode", ["median", "row_median", "polynomial", "spline"])
def test_a_strip_of_rows_is_the_same_turned_round(mode: str) -> None:
    data = frame_of(WAVE)
    turned = line_levels(np.ascontiguousarray(data.T), STRIP[::-1], mode)
    np.testing.assert_allclose(turned, line_levels(data, STRIP, mode), rtol=1e-6)


@pytest.mark.parametrize("mode", ["polynomial", "spline"])
def test_whole_numbers_without_noise_are_no_outliers(mode: str) -> None:
    data = np.rint(frame_of(np.linspace(1000, 1003, NY), noise=0.0))
    found = line_levels(data, STRIP, mode, LevelCurve(order=1, knots=2))
    assert np.abs(found - np.linspace(1000, 1003, NY)).max() < 0.5


def test_off_is_zero() -> None:
    assert not line_levels(frame_of(WAVE), STRIP, "off").any()
