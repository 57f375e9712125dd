"""Where stars fall: the true WCS against astropy's."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from nightflow.simulate.optics import Pointing, draw_pointings, draw_shapes, vignetting
from nightflow.simulate.plan import CameraPlan, TelescopePlan


def astropy_wcs(pointing: Pointing) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [pointing.ra, pointing.dec]
    wcs.wcs.crpix = [pointing.x + 1, pointing.y + 1]
    wcs.wcs.cd = pointing.cd
    return wcs


@given(
    ra=st.floats(0, 359.9),
    dec=st.floats(-88, 88),
    rotation=st.floats(0, 360),
    parity=st.sampled_from([-1, 1]),
    x=st.floats(-500, 1500),
    y=st.floats(-500, 1500),
)
def test_projection_agrees_with_astropy(
    ra: float, dec: float, rotation: float, parity: int, x: float, y: float
) -> None:
    pointing = Pointing(
        ra=ra, dec=dec, x=511.5, y=500.0, scale=3.0, rotation=rotation, parity=parity, flipped=False
    )
    star_ra, star_dec = astropy_wcs(pointing).all_pix2world([x], [y], 0)
    ours = pointing.to_pixels(star_ra, star_dec)
    np.testing.assert_allclose(np.ravel(ours), [x, y], atol=1e-6)


@pytest.mark.parametrize("parity", [1, -1])
def test_position_angle_of_plus_y(parity: int) -> None:
    pointing = Pointing(
        ra=30.0, dec=0.0, x=0.0, y=0.0, scale=3.6, rotation=90.0, parity=parity, flipped=False
    )
    # +y points east: a star 1 arcmin to the east is at y = 60 / 3.6, one in the north at x = parity * that.
    x, y = pointing.to_pixels(np.array([30.0 + 1 / 60, 30.0]), np.array([0.0, 1 / 60]))
    np.testing.assert_allclose(y, [60 / 3.6, 0.0], atol=1e-5)
    np.testing.assert_allclose(x, [0.0, parity * 60 / 3.6], atol=1e-5)


def test_the_far_half_of_the_sky_is_nowhere() -> None:
    pointing = Pointing(ra=30.0, dec=40.0, x=0.0, y=0.0, scale=3.0, rotation=0.0, parity=1, flipped=False)
    assert np.isnan(pointing.to_pixels(np.array([210.0]), np.array([-40.0]))[0][0])


def test_flip_turns_by_180_degrees_with_another_error() -> None:
    hours = np.linspace(-1.0, 1.0, 41)
    telescope = TelescopePlan(flip_delay_minutes=6.0, jitter=0.0, drift=0.0)
    pointings = draw_pointings(np.random.default_rng(1), telescope, CameraPlan(), (31.0, 46.7), hours)
    flipped = np.array([pointing.flipped for pointing in pointings])
    np.testing.assert_array_equal(flipped, hours > 0.1)
    assert pointings[-1].rotation - pointings[0].rotation == pytest.approx(180.0)
    assert pointings[-1].dec != pointings[0].dec
    assert len({pointing.dec for pointing in pointings}) == 2


def test_drift_is_arcsec_an_hour() -> None:
    telescope = TelescopePlan(flip=False, jitter=0.0, drift=10.0)
    first, last = draw_pointings(
        np.random.default_rng(1), telescope, CameraPlan(), (31.0, 60.0), np.array([-2.0, 1.0])
    )
    moved = 3600 * np.hypot((last.ra - first.ra) * np.cos(np.radians(60.0)), last.dec - first.dec)
    assert moved == pytest.approx(30.0, rel=1e-6)


def test_shapes_follow_seeing_and_focus() -> None:
    telescope = TelescopePlan(scale=2.0, optics_fwhm=2.0, focus_drift=0.4)
    hours = np.array([0.0, 2.0, 4.0])
    shapes = draw_shapes(np.random.default_rng(1), telescope, hours, np.array([3.0, 3.0, 3.0]))
    widths = [shape.fwhm for shape in shapes]
    np.testing.assert_allclose(widths, [np.hypot(1.8, 1.5), 2.5, np.hypot(2.2, 1.5)])
    assert all(0.0 <= shape.ellipticity < 0.2 for shape in shapes)


def test_vignetting_falls_from_axis_to_corner() -> None:
    light = vignetting(CameraPlan(shape=(101, 201)), 0.78)
    assert light[50, 100] == pytest.approx(1.0)
    assert light[0, 0] == pytest.approx(0.78, abs=0.01)
    np.testing.assert_allclose(light, light[::-1, ::-1])


def test_chip_of_a_mosaic_sees_the_side_of_the_field() -> None:
    side = CameraPlan(shape=(100, 100), center_offset=(-150.0, 0.0))
    light = vignetting(side, 0.8)
    assert light[50, 0] > light[50, 99]
    pointing = draw_pointings(
        np.random.default_rng(1), TelescopePlan(pointing_error=0.0), side, (31.0, 46.7), np.array([-1.0])
    )[0]
    assert (pointing.x, pointing.y) == (49.5 - 150.0, 49.5)
