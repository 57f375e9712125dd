"""Apertures at given places, on the simulator's stars."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import norm

from nightflow.flags import Flag
from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.lightcurves.upper_limits import upper_limits
from nightflow.sources.forced import forced_fluxes, own_detections
from nightflow.sources.measure import measure_frame
from tests.unit.sources.painted import grid, painted

DETECTION, PHOTOMETRY = DetectionSettings(), PhotometrySettings()
SIGMA = {0.0: 135.0, 4.0: 240.0}
"""Electrons: about the noise of an aperture, by the rms of what neighbouring pixels share."""


@dataclass(frozen=True)
class Faint:
    """Stars of 0 to 6 times the noise, at known places."""

    true: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray

    def disagreement(self, level: float) -> tuple[float, float]:
        """Return chi-squared, for each true flux, of how many limits there are and how many are false.

        A limit is given with the probability that a Gaussian about the true flux is below ``level``. It is
        false with P(-level), that of one tail, where the true flux is between one and two times ``level``
        sigma; fainter, none can be; brighter, the flux itself must be low by more to give a limit at all.
        Sigma is the scatter about the true fluxes, and knows nothing of the errors that are tested.
        """
        limits = upper_limits(self.flux, self.flux_err, level)
        signal = self.true / np.std(self.flux - self.true)
        given = norm.cdf(level - signal)
        false = np.where(signal < level, 0.0, norm.cdf(-np.maximum(level, signal - level)))
        # Where that jumps, a sigma that is off by some per cent would decide.
        clear = np.abs(signal / level - 1) > 0.15
        return (
            self._chi2(np.isfinite(limits), given, np.ones(len(signal), bool)),
            self._chi2(limits < self.true, false, clear),
        )

    def _chi2(self, found: np.ndarray, expected: np.ndarray, used: np.ndarray) -> float:
        values = np.unique(self.true[used])
        off = np.array([(found.astype(float) - expected)[self.true == one].sum() for one in values])
        variance = np.array([(expected * (1 - expected))[self.true == one].sum() for one in values])
        return float(np.mean(off**2 / np.maximum(variance, 1.0)))


def measured_faint(seed: int, correlated: float) -> Faint:
    x, y = grid(28.0, 28.0, seed + 50)
    # Only those that are away from the bright stars.
    bright_x, bright_y = grid(84.0, 42.0, seed)
    away = np.hypot(x[:, None] - bright_x, y[:, None] - bright_y).min(axis=1) > 17
    x, y = x[away], y[away]
    true = SIGMA[correlated] * np.random.default_rng(seed).choice(np.arange(0.0, 6.1, 0.5), len(x))
    measured = measure_frame(painted(x, y, true, seed=seed, correlated=correlated), DETECTION, PHOTOMETRY)
    forced = forced_fluxes(measured, x, y)
    return Faint(true, forced.flux, forced.flux_err)


@pytest.fixture(scope="module", params=[0.0, 4.0], ids=["white", "correlated"])
def faint(request: pytest.FixtureRequest) -> Faint:
    parts = [measured_faint(seed, request.param) for seed in range(8)]
    return Faint(
        *(np.concatenate([getattr(one, name) for one in parts]) for name in ("true", "flux", "flux_err"))
    )


def test_fluxes_about_the_limit_are_unbiased_and_their_errors_true(faint):
    assert len(faint.flux) > 900
    pulls = (faint.flux - faint.true) / faint.flux_err
    assert 0.35 < (faint.flux[faint.true == 0] < 0).mean() < 0.65
    assert abs(np.mean(pulls)) < 3.5 / np.sqrt(len(pulls))
    assert 0.9 < np.std(pulls) < 1.1


@pytest.mark.parametrize("level", [1.0, 1.645, 3.0])
def test_upper_limits_are_given_and_false_as_often_as_is_said_no_more_and_no_less(faint, level):
    limits = upper_limits(faint.flux, faint.flux_err, level)
    assert np.array_equal(np.isfinite(limits), faint.flux < level * faint.flux_err)
    assert max(faint.disagreement(level)) < 2.5


@pytest.mark.parametrize("scale", [0.5, 0.7, 1.4, 3.0, 100.0])
def test_wrong_errors_would_show(faint, scale):
    wrong = replace(faint, flux_err=scale * faint.flux_err)
    assert max(wrong.disagreement(3.0)) > 5.0


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
