"""Apertures in a field full of faint stars: what these leave in the annuli."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.robust import robust_sigma
from nightflow.sources.forced import forced_fluxes
from nightflow.sources.measure import MeasuredFrame
from nightflow.sources.psf.crowding import with_psf
from tests.unit.sources.psf.skies import Stars, frame_of, measured

SIDE, FAINT = 400, 400.0
SAID = "light of undetected stars counts as sky"


def _sky(seed: int) -> Stars:
    """Return 1,500 stars, 0.08 in a square FWHM."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(5, SIDE - 5, (2, 1500))
    return Stars(x, y, FAINT * (1 - rng.uniform(0, 1, 1500) * (1 - (FAINT / 1e5) ** 0.6)) ** (-1 / 0.6))


def _alone(stars: Stars) -> np.ndarray:
    """Return which stars have no other of 1 % of their flux within 1.5 FWHM."""
    alone = np.ones(len(stars), bool)
    for pair in cKDTree(np.column_stack([stars.x, stars.y])).query_pairs(4.5):
        for star, other in (pair, pair[::-1]):
            alone[star] &= stars.flux[other] < 0.01 * stars.flux[star]
    return alone


def _pulls(one: MeasuredFrame, stars: Stars) -> np.ndarray:
    """Return pulls of unflagged stars that are alone, against the bright."""
    found = one.sources
    distance, row = cKDTree(np.column_stack([found.x, found.y])).query(np.column_stack([stars.x, stars.y]))
    alone = _alone(stars) & (distance < 1.0)
    ratio = found.flux[row] / stars.flux
    common = np.median(ratio[alone & (stars.flux > 1e4)])
    used = alone & (stars.flux > 1500) & (stars.flux < 2e4) & (found.flags[row] == 0)
    return ((found.flux[row] / common - stars.flux) / found.flux_err[row])[used]


def _forced(one: MeasuredFrame, stars: Stars) -> np.ndarray:
    x, y = np.random.default_rng(1).uniform(20, SIDE - 20, (2, 4000))
    away = cKDTree(np.column_stack([stars.x, stars.y])).query(np.column_stack([x, y]))[0] > 7.5
    forced = forced_fluxes(one, x[away], y[away])
    return (forced.flux / forced.flux_err)[forced.flags == 0]


@pytest.fixture(scope="module")
def fields() -> list[tuple[Stars, MeasuredFrame, MeasuredFrame]]:
    found = []
    for seed in range(2):
        stars = _sky(seed)
        bare = measured(frame_of(stars, SIDE, seed))
        found.append((stars, bare, with_psf(bare, DetectionSettings(), PhotometrySettings(psf="always"))))
    return found


def test_freed_from_their_neighbours_apertures_are_not_too_faint(fields):
    """With the light of unseen stars in the annuli, the median pull of both is -1.3 to -2.5."""
    stars = np.concatenate([_pulls(freed, sky) for sky, _, freed in fields])
    places = np.concatenate([_forced(freed, sky) for sky, _, freed in fields])
    assert len(stars) > 50
    assert abs(np.median(stars)) < 0.4
    assert 0.7 < robust_sigma(stars) < 1.3
    assert len(places) > 400
    assert abs(np.median(places)) < 0.3
    assert 0.85 < robust_sigma(places) < 1.15
    assert not any(SAID in warning for _, _, freed in fields for warning in freed.warnings)


def test_at_a_star_of_its_own_a_forced_aperture_has_the_star_s_light(fields):
    stars, _, freed = fields[0]
    bright = np.flatnonzero(_alone(stars) & (stars.flux > 1e4))
    forced = forced_fluxes(freed, stars.x[bright], stars.y[bright])
    assert len(bright) > 20
    assert forced.flux == pytest.approx(stars.flux[bright], rel=0.08)


def test_without_psf_photometry_the_bias_is_in_the_errors_and_said(fields):
    for stars, bare, _ in fields:
        assert bare.empty_apertures.bias < 0
        assert any(SAID in warning for warning in bare.warnings)
        assert abs(np.median(_forced(bare, stars))) < 0.8
        assert np.mean(np.abs(_pulls(bare, stars)) < 2) > 0.9


def test_a_sparse_field_has_no_bias():
    rng = np.random.default_rng(3)
    x, y = rng.uniform(20, SIDE - 20, (2, 40))
    one = measured(frame_of(Stars(x, y, np.full(40, 5e3)), SIDE, 3))
    assert one.empty_apertures.bias == 0
    assert not any(SAID in warning for warning in one.warnings)
