"""Noise that neighbouring pixels share, and noise that differs over the frame: which errors are larger."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.robust import robust_sigma
from nightflow.sources.empty_apertures import EmptyApertures
from nightflow.sources.forced import forced_fluxes
from nightflow.sources.measure import MeasuredFrame, measure_frame
from nightflow.sources.psf.crowding import with_psf
from tests.unit.sources.painted import SHAPE, grid, painted

ELECTRONS = 3000.0
"""S/N 22 where noise is white."""
NOTHING = np.empty(0)
PSF = PhotometrySettings(psf="always")


def places(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return places that are away from the bright stars of `painted`."""
    x, y = grid(28.0, 28.0, seed + 50)
    bright_x, bright_y = grid(84.0, 42.0, seed)
    away = np.hypot(x[:, None] - bright_x, y[:, None] - bright_y).min(axis=1) > 17
    return x[away], y[away]


def measured(seed: int, correlated: float) -> tuple[MeasuredFrame, np.ndarray, np.ndarray]:
    x, y = places(seed)
    frame = painted(x, y, np.full(len(x), ELECTRONS), seed=seed, correlated=correlated)
    return measure_frame(frame, DetectionSettings(), PhotometrySettings()), x, y


def pulls(sources, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    distance, row = cKDTree(np.column_stack([sources.x, sources.y])).query(np.column_stack([x, y]))
    return ((sources.flux[row] - ELECTRONS) / sources.flux_err[row])[distance < 1.0]


@pytest.mark.parametrize("correlated", [0.0, 8.0])
def test_errors_of_detections_know_of_shared_noise(correlated):
    """Without it the pulls of apertures are 3.3, those of PSF rows 2.4."""
    frames = [measured(seed, correlated) for seed in range(3)]
    apertures = np.concatenate([pulls(one.sources, x, y) for one, x, y in frames])
    crowded, x, y = with_psf(frames[0][0], DetectionSettings(), PSF), *frames[0][1:]
    assert crowded.psf is not None
    psf = pulls(crowded.psf.sources, x, y)
    assert len(apertures) > 550
    assert len(psf) > 190
    assert 0.85 < robust_sigma(apertures) < 1.25
    assert 0.85 < robust_sigma(psf) < 1.25


@pytest.mark.parametrize("read_noise", [25.0, 40.0])
def test_a_noisier_amplifier_does_not_make_the_errors_of_the_other_larger(read_noise):
    """Taken as a scatter of the whole frame it does: pulls of the quiet part are then 0.6 to 0.7."""
    quiet, noisy = [], []
    border = int(0.6 * SHAPE[1])
    for seed in range(4):
        frame = painted(NOTHING, NOTHING, NOTHING, seed=seed)
        data, variance = frame.data.copy(), frame.variance.copy()
        other = np.random.default_rng(seed + 100).normal(0, read_noise, (SHAPE[0], SHAPE[1] - border))
        data[:, border:] += other.astype(np.float32)
        variance[:, border:] += read_noise**2
        one = measure_frame(
            replace(frame, data=data, variance=variance), DetectionSettings(), PhotometrySettings()
        )
        x, y = places(seed)
        forced = forced_fluxes(one, x, y)
        pull = forced.flux / forced.flux_err
        quiet.append(pull[x < border - 25])
        noisy.append(pull[x > border + 25])
        assert one.empty_apertures.factor == pytest.approx(1.0, abs=0.06)
    assert 0.85 < robust_sigma(np.concatenate(quiet)) < 1.15
    assert 0.85 < robust_sigma(np.concatenate(noisy)) < 1.2


def test_only_the_sky_s_part_of_an_error_is_larger():
    empty = EmptyApertures(ratio=2.0, expected=100.0, range=(95.0, 110.0), n=900)
    flux = np.array([0.0, 1e6, 1e6, 1e6])
    # The photons of a star of 1e6 electrons, exactly, and where the flat was 10 % off either way.
    variance = 100.0**2 + np.array([0.0, 1e6, 0.9e6, 1.1e6])
    added = empty.full_error(flux, np.sqrt(variance)) ** 2 - variance
    assert added[:2] == pytest.approx(3.0 * 100.0**2, rel=0.01)
    assert added[2:] == pytest.approx(3.0 * np.array([95.0, 110.0]) ** 2, rel=0.01)


@pytest.mark.parametrize(("true", "n", "off"), [(1.0, 30, 0.025), (1.0, 900, 0.005), (1.5, 900, 0.005)])
def test_chance_makes_no_errors_larger(true, n, off):
    rng = np.random.default_rng(n)
    ratios = np.std(rng.normal(0.0, true, (4000, n)), axis=1)
    empty = (EmptyApertures(ratio=float(one), expected=1.0, range=(1.0, 1.0), n=n) for one in ratios)
    assert np.mean([one.factor for one in empty]) == pytest.approx(true, rel=off)
