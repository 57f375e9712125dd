"""Whole frames: what was put in can be found again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.wcs import WCS

from nightflow.errors import ConfigurationError
from nightflow.simulate.cameras import four_chips
from nightflow.simulate.night import SimulatedFrame, expected_light, render_frame, simulate_night
from nightflow.simulate.plan import (
    AtmospherePlan,
    CameraPlan,
    FieldPlan,
    NightPlan,
    TelescopePlan,
    chip_plans,
)
from nightflow.simulate.prepare import Night, prepare_night
from nightflow.simulate.scene import Asteroid, Sinusoid
from nightflow.simulate.schedule import ScheduledFrame

TINY = NightPlan.small(n_bias=1, n_dark=1, n_flat=1, n_lights=2, camera=CameraPlan(shape=(200, 220)))


def lights(night: Night) -> list[ScheduledFrame]:
    return [frame for frame in night.schedule if frame.kind == "light"]


def true_wcs(frame: SimulatedFrame) -> WCS:
    truth = frame.truth
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [truth.crval1, truth.crval2]
    wcs.wcs.crpix = [truth.crpix1, truth.crpix2]
    wcs.wcs.cd = [[truth.cd1_1, truth.cd1_2], [truth.cd2_1, truth.cd2_2]]
    return wcs


def test_same_seed_same_pixels_and_another_seed_others() -> None:
    first, again = list(simulate_night(TINY)), list(simulate_night(TINY))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert repr(one.truth) == repr(other.truth)
    changed = next(iter(simulate_night(replace(TINY, seed=2))))
    assert not np.array_equal(changed.pixels, first[0].pixels)


def test_a_frame_does_not_depend_on_what_was_rendered_before() -> None:
    night = prepare_night(TINY)
    last_alone = render_frame(night, night.schedule[-1])
    last_in_turn = list(simulate_night(TINY))[-1]
    np.testing.assert_array_equal(last_alone.pixels, last_in_turn.pixels)


def test_names_sort_by_time() -> None:
    frames = list(simulate_night(TINY))
    assert [frame.name for frame in frames] == sorted(frame.name for frame in frames)
    assert frames[0].name == "0001-bias.fits"
    assert frames[-1].name == "0005-light-R.fits"


@pytest.mark.parametrize("which", [0, -1], ids=["before the flip", "after the flip"])
def test_stars_stand_where_the_true_wcs_says(small_night: Night, which: int) -> None:
    scheduled = lights(small_night)[which]
    frame = render_frame(small_night, scheduled)
    image, _ = expected_light(small_night, scheduled)
    stars = small_night.scene.stars
    bright = (stars.v > 10.5) & (stars.v < 12.5)
    x, y = true_wcs(frame).all_world2pix(stars.ra[bright], stars.dec[bright], 0)
    inside = (x > 15) & (x < 752) & (y > 15) & (y < 752)
    image = image - np.median(image)
    found_x, found_y, _ = sep.winpos(image, x[inside], y[inside], 1.2)
    assert inside.sum() > 15
    assert np.median(np.hypot(found_x - x[inside], found_y - y[inside])) < 0.02
    assert frame.truth.flipped == (which == -1)


def caught(fwhm: float, radius: float, annulus: tuple[float, float]) -> float:
    """Return the share of a Moffat star (beta 3.2) that an aperture gets after sky subtraction."""
    core = fwhm / (2 * np.sqrt(2 ** (1 / 3.2) - 1))
    beyond_radius, beyond_inner, beyond_outer = (1 + (np.array([radius, *annulus]) / core) ** 2) ** -2.2
    taken_for_sky = (beyond_inner - beyond_outer) * radius**2 / (annulus[1] ** 2 - annulus[0] ** 2)
    return float(1 - beyond_radius - taken_for_sky)


def test_noiseless_flux_gives_the_zero_point_and_the_transit(small_night: Night) -> None:
    stars = small_night.scene.stars
    target = stars.is_target
    dimming, expected = [], []
    for scheduled in lights(small_night):
        image, _ = expected_light(small_night, scheduled)
        frame = render_frame(small_night, scheduled)
        x, y = true_wcs(frame).all_world2pix(stars.ra[target], stars.dec[target], 0)
        flux, _, _ = sep.sum_circle(image, x, y, 8.0, bkgann=(15.0, 20.0), subpix=0)
        total = flux[0] / caught(frame.truth.fwhm_px, 8.0, (15.0, 20.0))
        mag = -2.5 * np.log10(total / 60.0) + frame.truth.zero_point + frame.truth.color_term * 0.30
        dimming.append(mag - (11.482 - 0.30))
        expected.append(-2.5 * np.log10(frame.truth.target_flux))
    np.testing.assert_allclose(dimming, expected, atol=1.5e-3)
    assert max(expected) == pytest.approx(-2.5 * np.log10(1 - 0.023), abs=3e-4)
    assert min(expected) == 0.0


def test_dark_and_bias_have_the_levels_of_the_truth(small_night: Night) -> None:
    bias, dark = (
        next(frame for frame in small_night.schedule if frame.kind == kind) for kind in ("bias", "dark")
    )
    for scheduled in (bias, dark):
        frame = render_frame(small_night, scheduled)
        assert frame.pixels[:, 768:].mean() == pytest.approx(frame.truth.bias_level, abs=0.2)
    electrons = 1.5 * (frame.pixels[:, :768] - frame.truth.bias_level - small_night.detector.bias)
    hot = small_night.detector.hot
    np.testing.assert_allclose(
        np.median(electrons[hot] / small_night.detector.dark_rate[hot]), 60.0, rtol=0.1
    )


def test_bias_level_drifts_over_the_night(small_night: Night) -> None:
    assert np.ptp(small_night.bias_levels) > 3.0


def test_flats_show_the_flat(small_night: Night) -> None:
    flats = [render_frame(small_night, frame) for frame in small_night.schedule if frame.kind == "flat"]
    normalised = []
    for flat in flats:
        light = flat.pixels[:, :768] - flat.truth.bias_level - small_night.detector.bias
        normalised.append(light / np.median(light))
    residual = np.mean(normalised, axis=0)[~small_night.detector.dead]
    residual -= small_night.detector.flat[~small_night.detector.dead]
    # About 27,000 ADU a frame: 0.5 % of shot noise, over three frames.
    assert np.std(residual) < 0.005
    assert abs(np.median(residual)) < 1e-3


def test_brightest_stars_saturate(small_night: Night) -> None:
    frame = render_frame(small_night, lights(small_night)[3])
    assert frame.truth.n_saturated > 10
    above = np.count_nonzero(frame.pixels[:, :768] >= frame.header["SATURATE"])
    assert above == pytest.approx(frame.truth.n_saturated, rel=0.1)


def test_header_says_what_a_camera_knows_and_no_more(small_night: Night) -> None:
    frame = render_frame(small_night, lights(small_night)[0])
    header = frame.hdu().header
    assert (header["INSTRUME"], header["IMAGETYP"], header["OBJECT"]) == (
        "nightflow-sim",
        "object",
        "HAT-P-32",
    )
    assert (header["BIASSEC"], header["TRIMSEC"]) == ("[769:800,1:768]", "[1:768,1:768]")
    assert (header["RA"], header["DEC"]) == (31.0427, 46.6878)
    assert header["AIRMASS"] == pytest.approx(frame.truth.airmass, abs=1e-3)
    assert not [key for key in header if key.startswith(("CRVAL", "CTYPE", "CD1", "CRPIX"))]
    assert frame.pixels.dtype == np.uint16


def test_header_time_is_the_start_of_the_exposure(small_night: Night) -> None:
    from astropy.time import Time

    frame = render_frame(small_night, lights(small_night)[0])
    start = Time(frame.header["DATE-OBS"], scale="utc").mjd
    assert (frame.truth.mjd_mid - start) * 86400 == pytest.approx(30.0, abs=0.001)


def test_calibrations_name_neither_target_nor_filter(small_night: Night) -> None:
    header = render_frame(small_night, small_night.schedule[0]).header
    assert not {"OBJECT", "FILTER", "RA", "DEC", "AIRMASS"} & set(header)


def test_cosmic_rays_are_in_the_pixels() -> None:
    calm = AtmospherePlan(cloud=0.0)
    plan = replace(TINY, atmosphere=calm, camera=replace(TINY.camera, cosmic_rate=200.0, n_dead_columns=0))
    night = prepare_night(plan)
    dark = render_frame(night, night.schedule[1])
    electrons = 1.5 * (dark.pixels[:, :220] - dark.truth.bias_level - night.detector.bias)
    electrons -= night.detector.dark_rate * 60.0
    rays = dark.cosmic_rays
    strong = rays.electrons > 300
    assert strong.sum() > 100
    np.testing.assert_allclose(electrons[rays.y[strong], rays.x[strong]], rays.electrons[strong], atol=120)


def test_variables_and_asteroids_are_part_of_the_scene() -> None:
    mjd = lights(prepare_night(TINY))[0].mjd_mid
    asteroid = Asteroid(name="2025 AA", ra=31.05, dec=46.69, mjd=mjd, rate=40.0, position_angle=70.0, v=12.0)
    plan = replace(
        TINY, field=FieldPlan(n_variables=2, asteroids=(asteroid,)), telescope=TelescopePlan(flip=False)
    )
    night, empty = prepare_night(plan), prepare_night(replace(plan, field=FieldPlan(n_variables=2)))
    assert len(night.scene.light_curves) == 3
    difference = expected_light(night, lights(night)[0])[0] - expected_light(empty, lights(empty)[0])[0]
    band = plan.passbands["R"]
    airmass = night.lights[lights(night)[0].number].airmass
    instrumental = 12.0 - 0.36 + band.extinction * airmass + night.lights[lights(night)[0].number].cloud
    expected = 60 * 10 ** (-0.4 * (instrumental - band.zero_point - 0.36 * (band.color_term)))
    assert difference.sum() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("chips", [1, 4])
def test_variables_are_on_every_light(chips: int) -> None:
    plan = NightPlan.small(field=FieldPlan(n_variables=5))
    plans = chip_plans(replace(plan, mosaic=four_chips(plan.camera))) if chips > 1 else [plan]
    nights = [prepare_night(one) for one in plans]
    stars, curves = nights[0].scene.stars, nights[0].scene.light_curves
    varying = [row for row, curve in curves.items() if isinstance(curve, Sinusoid)]
    assert len(varying) == 5
    assert all(night.scene.light_curves.keys() == curves.keys() for night in nights)
    for light in lights(nights[0]):
        seen = np.zeros(5, bool)
        for night in nights:
            x, y = night.lights[light.number].pointing.to_pixels(stars.ra[varying], stars.dec[varying])
            seen |= (x > 10) & (x < 757) & (y > 10) & (y < 757)
        assert seen.all()


def test_more_variables_than_the_chip_has_stars_are_refused() -> None:
    plan = NightPlan.small(field=FieldPlan(n_variables=500))
    with pytest.raises(ConfigurationError, match=r"n_variables = 500: 58 stars .* ask for no more"):
        prepare_night(plan)


def test_frames_survive_a_round_trip_through_fits(tmp_path) -> None:  # type: ignore[no-untyped-def]
    frame = next(iter(simulate_night(TINY)))
    frame.hdu().writeto(tmp_path / frame.name)
    np.testing.assert_array_equal(fits.getdata(tmp_path / frame.name), frame.pixels)
