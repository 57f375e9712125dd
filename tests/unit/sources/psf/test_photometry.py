"""PSF photometry of whole frames: lone stars whose errors are true, a cluster, and when it is done at all."""

from dataclasses import replace

import numpy as np
import pytest
import sep

from nightflow.flags import Flag
from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.simulate.plan import CameraPlan
from nightflow.simulate.render import paint_stars
from nightflow.sources.psf.crowding import crowding, is_psf_wanted, with_psf
from nightflow.sources.stellar_profile import StellarProfile
from nightflow.sources.table import no_sources
from tests.unit.sources.psf.skies import (
    EVEN,
    FWHM,
    WIDENING,
    Stars,
    frame_of,
    globular,
    lone_stars,
    measured,
    pairs,
)

DETECTION = DetectionSettings()
ALWAYS, CROWDED, NEVER = (PhotometrySettings(psf=choice) for choice in ("always", "crowded", "never"))
SIDE = 360


@pytest.fixture(scope="module")
def cluster():
    return globular(SIDE, 2, 900, 1.5 * FWHM)


@pytest.fixture(scope="module")
def of_cluster(cluster):
    return with_psf(measured(frame_of(cluster, SIDE, 52)), DETECTION, CROWDED)


def lone_pulls(seed, shape):
    """Return PSF flux less true flux of lone stars, in errors; one scale is common to the frame."""
    stars = lone_stars(SIDE, seed)
    sources = with_psf(measured(frame_of(stars, SIDE, seed, shape)), DETECTION, ALWAYS).psf.sources
    found, rows = pairs(sources.x, sources.y, stars)
    flux, true, error = sources.flux[rows], stars.flux[found], sources.flux_err[rows]
    assert len(found) > 0.98 * len(stars)
    scale = (flux * true / error**2).sum() / (true**2 / error**2).sum()
    return (flux - scale * true) / error


def test_errors_of_lone_stars_are_true():
    pulls = np.concatenate([lone_pulls(seed, EVEN) for seed in (1, 2)])
    assert np.mean(pulls**2) == pytest.approx(1, abs=0.2)  # 390 degrees of freedom: 0.07


@pytest.mark.soak
def test_errors_of_lone_stars_are_true_to_a_tenth():
    pulls = np.concatenate([lone_pulls(seed, EVEN) for seed in range(1, 17)])
    assert len(pulls) > 3000
    assert 0.9 < np.mean(pulls**2) < 1.1


def test_fluxes_are_on_the_scale_of_the_apertures():
    stars = lone_stars(SIDE, 3, faint=2e4)
    found = with_psf(measured(frame_of(stars, SIDE, 3)), DETECTION, ALWAYS)
    psf = found.psf.sources
    ratio = psf.flux / found.sources.flux[psf.detection]
    assert np.median(ratio) == pytest.approx(1, abs=0.002)
    assert found.psf.tie == pytest.approx(1, abs=0.01)
    assert 0 < found.psf.tie_err < 0.002


def test_scintillation_is_in_the_errors_once():
    frame = measured(frame_of(lone_stars(SIDE, 3), SIDE, 3))
    calm, twinkling = (
        with_psf(replace(frame, scintillation=one), DETECTION, ALWAYS).psf.sources for one in (0.0, 0.01)
    )
    np.testing.assert_allclose(twinkling.flux_err, np.hypot(calm.flux_err, 0.01 * calm.flux))


def test_nothing_is_made_up_beside_lone_stars():
    stars = lone_stars(SIDE, 3)
    sources = with_psf(measured(frame_of(stars, SIDE, 3)), DETECTION, ALWAYS).psf.sources
    assert (sources.detection >= 0).all()


def test_a_crowded_frame_is_recognised_and_said_to_be(of_cluster):
    assert of_cluster.psf is not None
    (said,) = [text for text in of_cluster.warnings if "PSF" in text]
    assert said.startswith("crowded (")
    assert "held-out" in said
    assert "tied to the apertures by" in said


def test_recovers_the_stars_of_a_cluster(cluster, of_cluster):
    """Neighbours down to 1.5 FWHM; stars 2 mag above the 5-sigma limit: 90 %, with 3 % of bias or less."""
    limit = 5 * of_cluster.aperture_noise * of_cluster.aperture_correction.factor
    inside = (np.minimum(cluster.x, cluster.y) > 5) & (np.maximum(cluster.x, cluster.y) < SIDE - 6)
    judged = inside & (cluster.flux > limit * 10**0.8)
    assert judged.sum() > 80
    found, rows = pairs(of_cluster.psf.sources.x, of_cluster.psf.sources.y, cluster)
    bright = judged[found]
    assert bright.sum() > 0.9 * judged.sum()
    ratio = of_cluster.psf.sources.flux[rows[bright]] / cluster.flux[found[bright]]
    assert abs(np.median(ratio) - 1) < 0.03
    assert abs(np.mean(ratio) - 1) < 0.03
    in_apertures, _ = pairs(of_cluster.sources.x, of_cluster.sources.y, cluster)
    assert judged[in_apertures].sum() < 0.9 * judged.sum()


def test_apertures_that_hold_2_percent_of_a_neighbour_are_flagged(cluster, of_cluster):
    sources, radius = of_cluster.sources, of_cluster.aperture_radius
    found, rows = pairs(sources.x, sources.y, cluster)
    light = paint_stars(CameraPlan(shape=(SIDE, SIDE)), cluster.x, cluster.y, cluster.flux, EVEN)
    inside = sep.sum_circle(light, sources.x[rows], sources.y[rows], radius, subpix=0)[0]
    share = inside / (cluster.flux[found] * StellarProfile(FWHM, EVEN.beta).enclosed(radius)) - 1
    assert (share > 0.04).sum() > 50
    flagged = (sources.flags[rows] & int(Flag.NEIGHBOUR)) > 0
    assert flagged[share > 0.04].mean() > 0.97
    clean = (share < 0.005) & (cluster.flux[found] > 5e3)
    assert clean.sum() > 5
    assert of_cluster.psf.contaminated[rows[clean]].mean() < 0.1


def test_a_psf_that_widens_over_the_field_is_followed():
    pulls = lone_pulls(4, WIDENING)
    assert np.median(np.abs(pulls)) < 1.0


def test_new_stars_come_last_and_detections_keep_their_rows(of_cluster):
    detection = of_cluster.psf.sources.detection
    known = detection[detection >= 0]
    assert (np.diff(known) > 0).all()
    assert (detection[len(known) :] == -1).all()
    rows = of_cluster.sources
    apart = np.hypot(
        rows.x[known] - of_cluster.psf.sources.x[: len(known)],
        rows.y[known] - of_cluster.psf.sources.y[: len(known)],
    )
    assert np.median(apart) < 0.3


def test_a_usual_frame_is_left_as_it_is():
    found = measured(frame_of(lone_stars(SIDE, 1), SIDE, 1))
    assert with_psf(found, DETECTION, CROWDED) is found


def test_never_is_never(of_cluster):
    assert with_psf(of_cluster, DETECTION, NEVER) is of_cluster


def paired(n_stars, n_pairs, share=0.5, apart=2.0, signal_to_noise=100.0):
    """Return sources on a wide grid, some with another one ``apart`` FWHM beside them."""
    x, y = 100.0 * np.arange(n_stars), np.zeros(n_stars)
    flux = np.append(np.full(n_stars, 1e4), np.full(n_pairs, 1e4 * share))
    table = no_sources()
    n = n_stars + n_pairs
    return replace(
        table,
        x=np.append(x, x[:n_pairs] + apart * FWHM),
        y=np.append(y, y[:n_pairs]),
        flux=flux,
        flux_err=np.append(np.full(n_stars, 1e4 / signal_to_noise), np.full(n_pairs, 1e4 * share)),
        flags=np.zeros(n, np.uint16),
    )


def test_crowding_is_the_fraction_of_bright_stars_with_another_beside_them():
    assert crowding(paired(100, 20), FWHM) == pytest.approx(0.2)
    assert crowding(paired(100, 20, share=0.05), FWHM) == 0
    assert crowding(paired(100, 20, apart=2.6), FWHM) == 0


def test_few_or_faint_stars_are_no_crowd():
    assert crowding(paired(49, 49), FWHM) == 0
    assert crowding(paired(100, 100, signal_to_noise=15), FWHM) == 0
    assert crowding(paired(100, 100), float("nan")) == 0


def test_the_bound_is_the_profiles(of_cluster):
    share = crowding(of_cluster.sources, of_cluster.fwhm)
    assert is_psf_wanted(of_cluster, PhotometrySettings(psf_crowding=0.9 * share))
    assert not is_psf_wanted(of_cluster, PhotometrySettings(psf_crowding=1.1 * share))


def test_a_frame_without_stars_keeps_its_apertures_and_says_why():
    nothing = Stars(*(np.empty(0) for _ in range(3)))
    found = with_psf(measured(frame_of(nothing, 200, 1)), DETECTION, ALWAYS)
    assert found.psf is None
    assert "no star whose width is known" in found.warnings[-1]


def test_a_colour_mosaic_keeps_its_apertures_and_says_why():
    frame = frame_of(lone_stars(200, 1), 200, 1)
    frame = replace(frame, header=replace(frame.header, bayer="RGGB"))
    found = with_psf(measured(frame), DETECTION, ALWAYS)
    assert found.psf is None
    assert "colour mosaic" in found.warnings[-1]


def test_saturated_stars_are_flagged_and_make_no_psf():
    stars = lone_stars(SIDE, 1)
    frame = frame_of(stars, SIDE, 1)
    brightest = int(np.argmax(stars.flux))
    x, y = round(stars.x[brightest]), round(stars.y[brightest])
    frame.data[y - 1 : y + 2, x - 1 : x + 2] = 5e3
    frame.flags[y - 1 : y + 2, x - 1 : x + 2] |= np.uint16(Flag.SATURATED)
    sources = with_psf(measured(frame), DETECTION, ALWAYS).psf.sources
    near = np.hypot(sources.x - x, sources.y - y) < 10
    assert (sources.flags[near] & int(Flag.SATURATED)).all()
    ratio = sources.flux / np.median(sources.flux)
    assert np.isfinite(ratio).all()
