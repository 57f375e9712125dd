"""The depth against stars of known light: where does their S/N reach 5?"""

from __future__ import annotations

import numpy as np
import pytest

from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.photcal.depth import limiting_magnitude
from nightflow.sources.forced import forced_fluxes
from nightflow.sources.measure import MeasuredFrame, measure_frame
from tests.unit.sources.painted import grid, painted

ZERO_POINT, EXPTIME = 25.0, 10.0
TRIED = np.array([-0.3, 0.3])


@pytest.mark.parametrize("correlated", [0.0, 4.0])
def test_it_is_where_injected_stars_have_a_signal_to_noise_of_five(correlated):
    depths, fluxes = [], [[], []]
    for seed in range(12):
        bare = measured(*np.empty((3, 0)), seed=seed, correlated=correlated)
        factor = bare.aperture_correction.factor
        depths.append(
            limiting_magnitude(ZERO_POINT, EXPTIME, bare.aperture_noise, aperture_correction=factor)
        )
        x, y = grid(28.0, 28.0, seed + 90)
        bright_x, bright_y = grid(84.0, 42.0, seed)
        away = np.hypot(x[:, None] - bright_x, y[:, None] - bright_y).min(axis=1) > 17
        mag = depths[0] + TRIED[seed % 2]
        electrons = np.full(away.sum(), EXPTIME * 10 ** (0.4 * (ZERO_POINT - mag)))
        injected = measured(x[away], y[away], electrons, seed=seed, correlated=correlated)
        fluxes[seed % 2].append(forced_fluxes(injected, x[away], y[away]).flux)
    ratio = np.array([np.mean(np.concatenate(one)) / np.std(np.concatenate(one)) for one in fluxes])
    # Between the two magnitudes the logarithm of S/N is as good as straight.
    true = float(np.interp(np.log10(5.0), np.log10(ratio)[::-1], (depths[0] + TRIED)[::-1]))
    assert ratio[1] < 5.0 < ratio[0]
    assert np.median(depths) == pytest.approx(true, abs=0.06)
    assert max(abs(one - true) for one in depths) < 0.1


def measured(x: np.ndarray, y: np.ndarray, electrons: np.ndarray, **options: float) -> MeasuredFrame:
    return measure_frame(painted(x, y, electrons, **options), DetectionSettings(), PhotometrySettings())


def test_a_bright_limit_is_one_of_photons():
    assert limiting_magnitude(0.0, 1.0, 0.0) == pytest.approx(-2.5 * np.log10(25.0))
