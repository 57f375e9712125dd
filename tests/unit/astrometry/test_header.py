from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.wcs import WCS

from nightflow.astrometry.header import solve_header
from nightflow.astrometry.solution import Quality, SolveRequest
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings
from tests.unit.astrometry.synthetic import make_wcs, store, worst_error

SHAPE = (1024, 1024)
SCALE = 0.37
SETTINGS = AstrometrySettings(scale=SCALE, trust_header="scale_rotation", ladder=["header"])
TRUE = make_wcs(200.0, -8.8, scale=SCALE, rotation=178.0, shape=SHAPE)
COARSE = 20.0
"""Arcsec per pixel of a wide-field camera, on which 2" are a tenth of a pixel and 180" are nine."""
MAGNITUDES = np.array([12.1, 13.4, 13.9, 14.6])


def standards(n: int, true: WCS = TRUE) -> ReferenceStars:
    x = np.array([120.0, 560.0, 700.0, 240.0])[:n]
    y = np.array([700.0, 450.0, 830.0, 160.0])[:n]
    ra, dec = true.all_pix2world(x, y, 0)
    return ReferenceStars(
        catalog="standards",
        ra=ra,
        dec=dec,
        pmra=np.zeros(n),
        pmdec=np.zeros(n),
        epoch=2000.0,
        ids=np.array([f"s{i}" for i in range(n)]),
        mags={"V": MAGNITUDES[:n]},
    )


def frame(
    n: int, others: int, *, seed: int = 1, position_error: float = 1.0, true: WCS = TRUE, scale: float = SCALE
) -> SolveRequest:
    """Return a frame with ``n`` standards and ``others`` fainter stars; the header is 40 px off."""
    rng = np.random.default_rng(seed)
    stars = standards(n, true)
    x, y = true.all_world2pix(stars.ra, stars.dec, 0)
    x = np.concatenate([x + rng.normal(0, position_error, n), rng.uniform(0, 1023, others)])
    y = np.concatenate([y + rng.normal(0, position_error, n), rng.uniform(0, 1023, others)])
    magnitude = np.concatenate([MAGNITUDES[:n], rng.uniform(14.5, 19.0, others)])
    magnitude = magnitude + rng.normal(0, 0.05, len(magnitude))
    order = np.argsort(magnitude)
    header_wcs = true.deepcopy()
    header_wcs.wcs.crpix += [33.0, -24.0]
    return SolveRequest(
        x=x[order],
        y=y[order],
        flux=10 ** (-0.4 * (magnitude[order] - 25.0)),
        shape=SHAPE,
        ra=None,
        dec=None,
        hint_error=1.0,
        scale=scale,
        scale_tolerance=0.05,
        parity=0,
        epoch=2024.0,
        header_wcs=header_wcs,
    )


@pytest.fixture
def catalogs(tmp_path) -> LocalCatalogs:
    return store(tmp_path, standards(4))


@pytest.mark.parametrize("seed", range(8))
def test_shift_from_four_standards(catalogs, seed):
    solution = solve_header(frame(4, 60, seed=seed), catalogs, SETTINGS)
    assert solution.quality is Quality.PROVISIONAL
    assert solution.n_matched >= 3
    assert worst_error(solution.wcs, TRUE, SHAPE) < 2.0
    assert np.isnan(solution.heldout_rms_arcsec)
    assert "no claim on positions" in solution.warnings[0]


@pytest.mark.parametrize("seed", range(8))
def test_a_coarse_camera_is_off_by_as_many_pixels(tmp_path, seed):
    """41 pixels are 820", and a tenth of a pixel of noise puts stars more than 2" apart."""
    true = make_wcs(200.0, -8.8, scale=COARSE, rotation=178.0, shape=SHAPE)
    request = frame(4, 60, seed=seed, position_error=0.1, true=true, scale=COARSE)
    solution = solve_header(request, store(tmp_path, standards(4, true)), SETTINGS)
    assert solution.quality is Quality.PROVISIONAL
    assert solution.n_matched == 4
    assert worst_error(solution.wcs, true, SHAPE) < 0.3 * COARSE


def test_no_false_alarm_of_a_coarse_camera(tmp_path):
    true = make_wcs(200.0, -8.8, scale=COARSE, rotation=178.0, shape=SHAPE)
    catalogs, found = store(tmp_path, standards(4, true)), []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        request = frame(0, 150, seed=seed, true=true, scale=COARSE)
        request = replace(request, flux=np.sort(10 ** (2.5 + rng.exponential(0.6, 150)))[::-1])
        try:
            found.append(solve_header(request, catalogs, SETTINGS))
        except NoSolution:
            continue
    assert found == []


def test_three_standards_are_enough(tmp_path):
    solution = solve_header(frame(3, 40), store(tmp_path, standards(3)), SETTINGS)
    assert solution.n_matched == 3


def test_two_are_not(tmp_path):
    with pytest.raises(NoSolution, match="fewer than 3 catalogue stars"):
        solve_header(frame(2, 40), store(tmp_path, standards(2)), SETTINGS)


@pytest.mark.parametrize("others", [40, 150, 300])
def test_no_false_alarm_on_strangers(catalogs, others):
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        flux = np.sort(10 ** (2.5 + rng.exponential(0.6, others)))[::-1]
        request = replace(
            frame(0, 0), x=rng.uniform(0, 1023, others), y=rng.uniform(0, 1023, others), flux=flux
        )
        try:
            found.append(solve_header(request, catalogs, SETTINGS))
        except NoSolution:
            continue
    assert found == []


def test_brightness_must_agree(catalogs):
    request = frame(4, 0, position_error=0.3)
    jumbled = replace(request, flux=request.flux * np.array([1.0, 30.0, 0.02, 5.0]))
    with pytest.raises(NoSolution, match="consistent brightness"):
        solve_header(jumbled, catalogs, SETTINGS)


def test_two_equal_shifts_are_ambiguous(catalogs):
    request = frame(4, 0, position_error=0.1)
    twice = replace(
        request,
        x=np.concatenate([request.x, request.x + 60.0]),
        y=np.concatenate([request.y, request.y + 20.0]),
        flux=np.concatenate([request.flux, request.flux]),
    )
    with pytest.raises(NoSolution, match="ambiguous"):
        solve_header(twice, catalogs, SETTINGS)


def test_shift_beyond_the_limit(catalogs):
    request = frame(4, 40)
    far = request.header_wcs.deepcopy()
    far.wcs.crpix += [600.0, 0.0]
    with pytest.raises(NoSolution, match="no shift within 180"):
        solve_header(replace(request, header_wcs=far), catalogs, SETTINGS)


def test_catalogue_without_magnitudes(tmp_path):
    nameless = replace(standards(4), mags={})
    with pytest.raises(NoSolution, match="of 0 stars"):
        solve_header(frame(4, 40), store(tmp_path, nameless), SETTINGS)


def test_says_why_the_header_is_not_used(catalogs):
    request = frame(4, 0)
    with pytest.raises(NoSolution, match="does not trust"):
        solve_header(request, catalogs, SETTINGS.model_copy(update={"trust_header": "none"}))
    with pytest.raises(NoSolution, match="no WCS that reads"):
        solve_header(replace(request, header_wcs=None), catalogs, SETTINGS)
    with pytest.raises(NoSolution, match=r'scale of 0\.370"/px is not the camera\'s 0\.500"/px'):
        solve_header(replace(request, scale=0.5), catalogs, SETTINGS)
