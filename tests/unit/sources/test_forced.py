"""Apertures at given places, on the simulator's stars."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nightflow.flags import Flag
from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.lightcurves.upper_limits import upper_limits
from nightflow.sources.forced import forced_fluxes, own_detections
from nightflow.sources.measure import measure_frame
from tests.unit.sources.painted import grid, painted

DETECTION, PHOTOMETRY = DetectionSettings(), PhotometrySettings()
FAR_BELOW = 60.0
"""Electrons: S/N 0.6."""


def measured_faint(seed: int, correlated: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return flux and error of stars far below the detection limit."""
    x, y = grid(28.0, 28.0, seed + 50)
    # Only those that are away from the bright stars.
    bright_x, bright_y = grid(84.0, 42.0, seed)
    away = np.hypot(x[:, None] - bright_x, y[:, None] - bright_y).min(axis=1) > 17
    x, y = x[away], y[away]
    frame = painted(x, y, np.full(len(x), FAR_BELOW), seed=seed, correlated=correlated)
    measured = measure_frame(frame, DETECTION, PHOTOMETRY)
    forced = forced_fluxes(measured, x, y)
    return forced.flux, forced.flux_err


@pytest.fixture(scope="module", params=[0.0, 4.0], ids=["white", "correlated"])
def faint(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    parts = [measured_faint(seed, request.param) for seed in range(8)]
    return np.concatenate([one[0] for one in parts]), np.concatenate([one[1] for one in parts])


def test_fluxes_far_below_the_limit_are_unbiased_and_their_errors_true(faint):
    flux, error = faint
    assert len(flux) > 900
    pulls = (flux - FAR_BELOW) / error
    assert (flux < 0).mean() > 0.15
    assert abs(np.mean(pulls)) < 3.5 / np.sqrt(len(pulls))
    assert 0.9 < np.std(pulls) < 1.1


@pytest.mark.parametrize(("level", "stated"), [(1.0, 0.8413), (1.645, 0.95), (3.0, 0.9987)])
def test_upper_limits_cover_at_their_stated_level(faint, level, stated):
    flux, error = faint
    below = flux < level * error
    limits = upper_limits(flux, error, level)
    assert np.array_equal(np.isfinite(limits), below)
    covered = np.where(below, limits > FAR_BELOW, True)
    # The binomial error of the sample is allowed for, nothing else.
    assert covered.mean() > stated - 2 * np.sqrt(stated * (1 - stated) / len(flux))


@pytest.fixture(scope="module")
def bright():
    x, y = np.array([100.0, 300.0]), np.array([110.0, 318.0])
    frame = painted(x, y, np.array([2e4, 2e4]), seed=4)
    return frame, measure_frame(frame, DETECTION, PHOTOMETRY), x, y


def test_at_a_detection_it_is_the_detection_s_own_flux(bright):
    _, measured, x, y = bright
    forced, own = forced_fluxes(measured, x, y), own_detections(measured, x, y)
    assert (own >= 0).all()
    assert forced.flux == pytest.approx(measured.sources.flux[own], rel=2e-3)
    assert forced.flux == pytest.approx(2e4, rel=0.03)
    assert (forced.flags == 0).all()


def test_bad_pixels_edges_and_neighbours_are_flagged(bright):
    frame, _, x, y = bright
    flags = frame.flags.copy()
    flags[110, 101] |= np.uint16(Flag.BAD)
    measured = measure_frame(replace(frame, flags=flags), DETECTION, PHOTOMETRY)
    at_x, at_y = np.array([x[0], 1.0, x[1] + 5.0, 200.0]), np.array([y[0], 200.0, y[1], 250.0])
    forced = forced_fluxes(measured, at_x, at_y)
    assert [int(one) for one in forced.flags] == [Flag.BAD, Flag.EDGE, Flag.NEIGHBOUR, 0]


@pytest.mark.parametrize("length", [0.0, 3.0, 6.0, 8.5, 12.0])
def test_a_trail_s_light_is_whole_and_one_longer_than_the_aperture_is_flagged(length):
    """Painted star by star along the path; the aperture is 9 pixels wide and the FWHM 3."""
    n = 60
    x = 200 + length * (np.arange(n) + 0.5) / n - 0.5 * length
    frame = painted(x, np.full(n, 250.0), np.full(n, 1e5 / n), seed=4)
    measured = measure_frame(frame, DETECTION, PHOTOMETRY)
    assert 8.5 < 2 * measured.pixels.radius < 12.0
    place, path = (np.array([200.0]), np.array([250.0])), np.array([length])
    forced = forced_fluxes(measured, *place, trail=path)
    assert forced.flux == pytest.approx(1e5, rel=0.02)
    assert bool(forced.flags[0] & Flag.TRAIL) == (length == 12.0)
    bare = forced_fluxes(measured, *place)
    assert forced.flux_err / forced.flux == pytest.approx(bare.flux_err / bare.flux)


def test_no_place_and_no_detection(bright):
    _, measured, _, _ = bright
    nothing = np.empty(0)
    assert len(forced_fluxes(measured, nothing, nothing).flux) == 0
    empty = replace(measured, sources=measured.sources.take(np.zeros(len(measured.sources), bool)))
    assert own_detections(empty, np.array([5.0]), np.array([5.0])).tolist() == [-1]
    assert forced_fluxes(empty, np.array([50.0]), np.array([250.0])).flags.tolist() == [0]
