from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from nightflow.astrometry.plate import fit_plate, plate_from_wcs, sip_powers
from nightflow.astrometry.projection import from_plane, to_plane
from tests.unit.astrometry.synthetic import SHAPE, make_wcs, worst_error

RNG = np.random.default_rng(4)
X, Y = RNG.uniform(0, SHAPE[1] - 1, 80), RNG.uniform(0, SHAPE[0] - 1, 80)


@given(st.floats(0, 359.99), st.floats(-89.9, 89.9), st.floats(-3.0, 3.0), st.floats(-3.0, 3.0))
def test_projection_agrees_with_astropy(ra0, dec0, xi, eta):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra0, dec0]
    wcs.wcs.crpix = [1.0, 1.0]
    wcs.wcs.cdelt = [1.0, 1.0]
    expected = wcs.all_pix2world([[xi, eta]], 0)[0]
    ra, dec = from_plane(np.array([xi]), np.array([eta]), ra0, dec0)
    assert dec[0] == pytest.approx(expected[1], abs=1e-9)
    off = (ra[0] - expected[0] + 180.0) % 360.0 - 180.0
    assert off * np.cos(np.radians(dec[0])) == pytest.approx(0.0, abs=1e-9)
    back = to_plane(ra, dec, ra0, dec0)
    assert back[0][0] == pytest.approx(xi, abs=1e-9)
    assert back[1][0] == pytest.approx(eta, abs=1e-9)


def test_the_far_side_of_the_sky_has_no_place_on_the_plane():
    xi, eta = to_plane(np.array([180.0]), np.array([0.0]), 0.0, 0.0)
    assert np.isnan(xi[0])
    assert np.isnan(eta[0])


@pytest.mark.parametrize("distortion", [0.0, 4.0])
@pytest.mark.parametrize("place", [(0.01, 0.0), (359.99, 60.0), (100.0, 89.9), (10.0, -89.7)])
def test_follows_a_wcs(place, distortion):
    wcs = make_wcs(*place, rotation=40.0, distortion=distortion)
    plate = plate_from_wcs(wcs, SHAPE)
    assert worst_error(plate.to_wcs(), wcs) < 1e-2
    x, y = plate.pixels(*plate.sky(X, Y))
    np.testing.assert_allclose(x, X, atol=1e-3)
    np.testing.assert_allclose(y, Y, atol=1e-3)


def test_follows_tpv():
    header = make_wcs(120.0, 30.0).to_header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TPV", "DEC--TPV"
    for key, value in {"PV1_1": 1.0, "PV2_1": 1.0, "PV1_7": 3.0, "PV2_10": 2.0, "PV1_4": 0.01}.items():
        header[key] = value
    wcs = WCS(fits.Header(header))
    assert worst_error(plate_from_wcs(wcs, SHAPE).to_wcs(), wcs) < 0.01


@pytest.mark.parametrize(("order", "distortion"), [(0, 0.0), (1, 0.0), (3, 3.0)])
def test_fit_recovers_the_truth(order, distortion):
    wcs = make_wcs(33.0, -47.0, rotation=200.0, parity=-1, distortion=distortion)
    ra, dec = wcs.all_pix2world(X, Y, 0)
    # the first guess: a tenth of a degree and five degrees off
    start = plate_from_wcs(make_wcs(33.1, -47.05, rotation=205.0, parity=-1), SHAPE)
    plate = fit_plate(X, Y, ra, dec, start=start, order=order)
    assert worst_error(plate.to_wcs(), wcs) < 1e-3


def test_weights_count():
    wcs = make_wcs(33.0, 47.0)
    ra, dec = wcs.all_pix2world(X, Y, 0)
    x = X.copy()
    x[:20] += 5.0
    weights = np.ones(len(X))
    weights[:20] = 1e-12
    plate = fit_plate(x, Y, ra, dec, start=plate_from_wcs(wcs, SHAPE), order=1, weights=weights)
    assert worst_error(plate.to_wcs(), wcs) < 1e-3


@given(st.integers(2, 6))
def test_sip_has_every_power_once(order):
    powers = sip_powers(order)
    assert len(powers) == len(set(powers)) == (order + 1) * (order + 2) // 2 - 3
    assert all(2 <= p + q <= order for p, q in powers)


@pytest.mark.parametrize("distortion", [0.5, -3.0, 8.0])
def test_the_inverse_that_is_written_inverts(distortion):
    true = make_wcs(50.0, -20.0, rotation=70.0, distortion=distortion)
    header = plate_from_wcs(true, SHAPE).to_wcs(SHAPE).to_header(relax=True)
    assert header["AP_ORDER"] >= 3
    y, x = np.meshgrid(np.linspace(0, SHAPE[0] - 1, 23), np.linspace(0, SHAPE[1] - 1, 29))
    x, y = x.ravel(), y.ravel()
    ra, dec = true.all_pix2world(x, y, 0)
    exact = WCS(header).all_world2pix(ra, dec, 0)
    # as a reader does that knows SIP by its definition only
    linear = WCS(header).wcs_world2pix(ra, dec, 1) - np.array([[header["CRPIX1"]], [header["CRPIX2"]]])
    by_polynomial = np.array([x, y]) - linear - np.array([[header["CRPIX1"]], [header["CRPIX2"]]]) + 1.0
    for row, name in enumerate(("AP", "BP")):
        for p in range(10):
            for q in range(10):
                by_polynomial[row] -= header.get(f"{name}_{p}_{q}", 0.0) * linear[0] ** p * linear[1] ** q
    np.testing.assert_allclose(exact, [x, y], atol=0.02)
    np.testing.assert_allclose(by_polynomial, 0.0, atol=0.02)


def test_no_inverse_without_distortion():
    assert plate_from_wcs(make_wcs(50.0, -20.0), SHAPE).to_wcs(SHAPE).sip is None
