from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from nightflow.errors import FrameRejected
from nightflow.flags import Flag
from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.sources.measure import measure_frame
from tests.unit.sources.fields import gaussian_field

DETECTION = DetectionSettings()
PHOTOMETRY = PhotometrySettings(aperture_fwhm=2.0)
FLUXES = np.geomspace(3e3, 3e5, 60)


@pytest.fixture(scope="module")
def field():
    return gaussian_field(FLUXES)


@pytest.fixture(scope="module")
def measured(field):
    return measure_frame(field.frame, DETECTION, PHOTOMETRY)


def pair(field, sources):
    distance, row = cKDTree(np.column_stack([sources.x, sources.y])).query(
        np.column_stack([field.x, field.y])
    )
    assert (distance < 1).all(), "a star was not found"
    return row


def test_finds_every_star_and_nothing_else(field, measured):
    assert len(measured.sources) == len(FLUXES)
    pair(field, measured.sources)


def test_positions_are_0_based_and_unbiased(field, measured):
    rows = pair(field, measured.sources)
    bright = FLUXES > 3e4
    assert abs(np.mean(measured.sources.x[rows][bright] - field.x[bright])) < 0.01
    assert abs(np.mean(measured.sources.y[rows][bright] - field.y[bright])) < 0.01


def test_position_errors_are_true(field, measured):
    rows = pair(field, measured.sources)
    pulls = (measured.sources.x[rows] - field.x) / measured.sources.x_err[rows]
    assert 0.6 < np.std(pulls) < 1.5


@pytest.mark.parametrize("aperture_fwhm", [1.0, 1.5, 2.0])
def test_fluxes_are_those_of_the_whole_star(field, aperture_fwhm):
    measured = measure_frame(field.frame, DETECTION, PhotometrySettings(aperture_fwhm=aperture_fwhm))
    rows = pair(field, measured.sources)
    ratio = measured.sources.flux[rows] / field.flux
    assert np.average(ratio, weights=FLUXES) == pytest.approx(1, abs=0.004)


def test_aperture_correction_is_the_light_outside(field):
    measured = measure_frame(field.frame, DETECTION, PhotometrySettings(aperture_fwhm=1.0))
    # A circle of radius r holds 1 - exp(-r^2 / 2 sigma^2) of a Gaussian; a sum over square pixels sees
    # each of them spread out, which adds 1/12 px^2 to the variance of the profile.
    inside = 1 - np.exp(-(measured.aperture_radius**2) / (2 * ((field.fwhm / 2.3548) ** 2 + 1 / 12)))
    assert measured.aperture_correction.factor == pytest.approx(1 / inside, abs=0.005)


def test_flux_errors_are_true():
    pulls = []
    for seed in range(12):
        field = gaussian_field(np.full(60, 2e4), seed=seed)
        measured = measure_frame(field.frame, DETECTION, PHOTOMETRY)
        rows = pair(field, measured.sources)
        pulls.append((measured.sources.flux[rows] - 2e4) / measured.sources.flux_err[rows])
    width = 1.4826 * np.median(np.abs(np.concatenate(pulls) - np.median(np.concatenate(pulls))))
    assert 0.9 < width < 1.12


def test_fwhm_sky_and_ellipticity(field, measured):
    assert measured.fwhm == pytest.approx(field.fwhm, rel=0.05)
    assert measured.sky == pytest.approx(field.sky, rel=0.01)
    assert measured.sky_rms == pytest.approx(np.hypot(np.sqrt(field.sky), 5), rel=0.05)
    assert measured.ellipticity < 0.1


def test_saturated_star_is_one_source_and_flagged(field):
    frame = field.frame
    flags = frame.flags.copy()
    brightest = int(np.argmax(field.flux))
    x, y = round(field.x[brightest]), round(field.y[brightest])
    flags[y - 1 : y + 2, x - 1 : x + 2] |= np.uint16(Flag.SATURATED)
    measured = measure_frame(replace(frame, flags=flags), DETECTION, PHOTOMETRY)
    near = np.hypot(measured.sources.x - x, measured.sources.y - y) < 8
    assert near.sum() == 1
    assert measured.sources.flags[near][0] & Flag.SATURATED


def test_bad_column_is_no_star(field):
    data, flags = field.frame.data.copy(), field.frame.flags.copy()
    data[:, 200] = 60000
    flags[:, 200] |= np.uint16(Flag.BAD | Flag.SATURATED)
    measured = measure_frame(replace(field.frame, data=data, flags=flags), DETECTION, PHOTOMETRY)
    assert not (np.abs(measured.sources.x - 200) < 0.05).any()
    assert len(measured.sources) <= len(FLUXES)


def test_unflagged_hot_row_is_no_star(field):
    data = field.frame.data.copy()
    data[14, :] += 5000
    measured = measure_frame(replace(field.frame, data=data), DETECTION, PHOTOMETRY)
    assert not (np.abs(measured.sources.y - 14) < 0.5).any()


def test_edge_and_neighbour_are_flagged():
    field = gaussian_field(np.array([2e5, 2e5]), spacing=30.0)
    data = field.frame.data.copy()
    yy, xx = np.mgrid[: data.shape[0], : data.shape[1]]
    for x, y in [(field.x[0] + 7, field.y[0]), (2.0, 150.0)]:
        data += (1e5 / 10.2 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 3.25)).astype(np.float32)
    sources = measure_frame(replace(field.frame, data=data), DETECTION, PHOTOMETRY).sources
    by_edge = sources.flags[np.abs(sources.x - 2) < 2]
    assert (by_edge & Flag.EDGE).all()
    crowded = np.hypot(sources.x - field.x[0], sources.y - field.y[0]) < 10
    assert (sources.flags[crowded] & Flag.NEIGHBOUR).all()
    alone = np.hypot(sources.x - field.x[1], sources.y - field.y[1]) < 3
    assert not (sources.flags[alone] & Flag.NEIGHBOUR).any()


def test_bayer_positions_are_those_of_the_mosaic():
    field = gaussian_field(FLUXES, fwhm=4.0, bayer="RGGB")
    measured = measure_frame(field.frame, DETECTION, PHOTOMETRY)
    rows = pair(field, measured.sources)
    assert abs(np.median(measured.sources.x[rows] - field.x)) < 0.03


def test_errors_on_a_mosaic_are_true():
    pulls = []
    for seed in range(12):
        field = gaussian_field(np.full(60, 2e4), seed=seed, fwhm=4.0, bayer="RGGB")
        measured = measure_frame(field.frame, DETECTION, PHOTOMETRY)
        rows = pair(field, measured.sources)
        pulls.append((measured.sources.flux[rows] - 2e4) / measured.sources.flux_err[rows])
    width = 1.4826 * np.median(np.abs(np.concatenate(pulls) - np.median(np.concatenate(pulls))))
    assert 0.85 < width < 1.12


def test_sky_noise_of_a_mosaic_is_that_of_its_pixels():
    field = gaussian_field(FLUXES, fwhm=4.0, bayer="RGGB")
    measured = measure_frame(field.frame, DETECTION, PHOTOMETRY)
    assert measured.sky_rms == pytest.approx(np.hypot(np.sqrt(field.sky), 5), rel=0.05)


@pytest.mark.parametrize("bayer", ["", "RGGB"])
def test_an_unknown_read_noise_is_measured_with_the_sky(bayer):
    """A noisy chip whose header does not say so: the error bars are those of a header that does."""
    field = gaussian_field(np.full(60, 5e3), fwhm=4.0, read_noise=30.0, bayer=bayer)
    silent = replace(
        field.frame,
        header=replace(field.frame.header, read_noise_known=False),
        variance=np.maximum(field.frame.data, 0),
    )
    said, measured = (measure_frame(frame, DETECTION, PHOTOMETRY) for frame in (field.frame, silent))
    np.testing.assert_allclose(measured.sources.flux_err, said.sources.flux_err, rtol=0.05)


def test_few_bright_stars_give_a_steady_aperture_correction():
    """All stars are below 20 sigma in the peak; the truth is that of the same field without noise."""
    faint = np.full(60, 2500.0)
    found = [measure_frame(gaussian_field(faint, seed=n).frame, DETECTION, PHOTOMETRY) for n in range(8)]
    bright = measure_frame(gaussian_field(100 * faint).frame, DETECTION, PHOTOMETRY)
    factors = [one.aperture_correction.factor for one in found]
    assert all("aperture correction" in one.warnings[0] for one in found)
    assert bright.warnings == ()
    assert np.std(factors) < 0.02
    assert np.mean(factors) == pytest.approx(bright.aperture_correction.factor, abs=0.02)


@pytest.mark.parametrize("value", [0.0, 100.0])
def test_constant_frame_is_rejected(field, value):
    data = np.full_like(field.frame.data, value)
    with pytest.raises(FrameRejected, match="no noise"):
        measure_frame(replace(field.frame, data=data), DETECTION, PHOTOMETRY)


def test_wholly_flagged_frame_is_rejected(field):
    flags = np.full_like(field.frame.flags, int(Flag.BAD))
    with pytest.raises(FrameRejected, match="no usable pixel"):
        measure_frame(replace(field.frame, flags=flags), DETECTION, PHOTOMETRY)


def test_frame_without_a_star_has_no_fwhm():
    rng = np.random.default_rng(5)
    empty = gaussian_field(np.array([1e4])).frame
    sky = replace(empty, data=rng.normal(100, 10, empty.data.shape).astype(np.float32))
    measured = measure_frame(sky, DetectionSettings(threshold=8), PHOTOMETRY)
    assert len(measured.sources) == 0
    assert np.isnan(measured.fwhm)


def test_raw_counts_are_refused(field):
    with pytest.raises(ValueError, match="electrons"):
        measure_frame(replace(field.frame, unit="adu"), DETECTION, PHOTOMETRY)
