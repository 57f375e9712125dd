"""L.A.Cosmic on simulated fields of sharp, usual and blurred stars: what it finds, what it spares."""

from __future__ import annotations

from dataclasses import dataclass

import astroscrappy
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from nightflow.detector.chain import calibrate
from nightflow.detector.cosmic_rays import excluded_pixels
from nightflow.flags import Flag
from nightflow.simulate.atmosphere import sky_rate
from nightflow.simulate.cosmic_rays import CosmicRays
from nightflow.simulate.night import expected_light, render_frame
from nightflow.simulate.plan import AtmospherePlan, CameraPlan, NightPlan, TelescopePlan
from nightflow.simulate.prepare import Night, prepare_night
from nightflow.simulate.render import star_rates
from tests.unit.detector.test_simulated_night import SIMULATOR, build_masters, raw

WIDTHS = (1.5, 2.3, 4.0)
SETTINGS = SIMULATOR.cosmic_rays


@dataclass
class Field:
    """One frame in electrons before its cosmic rays are flagged, and who is who on it."""

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    excluded: NDArray[np.bool_]
    found: NDArray[np.bool_]
    cosmic_rays: CosmicRays
    cores: tuple[NDArray[np.intp], NDArray[np.intp]]
    """Rows and columns of stars whose peak stands 10 sigma above the sky, unsaturated."""

    def by_astroscrappy(self) -> NDArray[np.bool_]:
        hit, _ = astroscrappy.detect_cosmics(
            self.data,
            inmask=self.excluded,
            invar=self.variance,
            sigclip=SETTINGS.sigclip,
            sigfrac=SETTINGS.sigfrac,
            objlim=SETTINGS.objlim,
            niter=SETTINGS.niter,
            gain=1.0,
            satlevel=np.inf,
            sepmed=False,
            cleantype="meanmask",
        )
        return np.asarray(hit, bool)


def star_cores(
    night: Night, number: int, usable: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pixels of the stars' peaks, of those that stand 10 sigma above the sky."""
    plan = night.plan
    frame = next(one for one in night.schedule if one.number == number)
    light, band = night.lights[number], plan.passbands[frame.filter]
    _, sources = expected_light(night, frame)
    x, y = light.pointing.to_pixels(sources.ra, sources.dec)
    electrons = star_rates(sources, band, light.airmass, light.cloud) * frame.exptime
    sky = sky_rate(band, plan.telescope.scale, light.sky_factor) * frame.exptime
    peak = electrons * 0.8 / light.shape.fwhm**2
    inside = (x > 5) & (y > 5) & (x < usable.shape[1] - 6) & (y < usable.shape[0] - 6)
    rows, columns = np.rint(y[inside]).astype(np.intp), np.rint(x[inside]).astype(np.intp)
    bright = (peak[inside] > 10 * np.sqrt(sky + plan.camera.read_noise**2)) & usable[rows, columns]
    return rows[bright], columns[bright]


@pytest.fixture(scope="module", params=WIDTHS, ids=lambda width: f"fwhm {width}")
def field(request: pytest.FixtureRequest) -> Field:
    # Half of the width is the optics', half the seeing's, in quadrature.
    width = request.param / np.sqrt(2)
    plan = NightPlan.small(
        n_lights=1,
        telescope=TelescopePlan(optics_fwhm=width, ellipticity=0.02, focus_drift=0.0),
        atmosphere=AtmospherePlan(seeing=width * TelescopePlan().scale, seeing_scatter=0.0),
        camera=CameraPlan(shape=(1024, 1024), cosmic_rate=250.0),
    )
    night = prepare_night(plan)
    scheduled = next(one for one in night.schedule if one.kind == "light")
    assert night.lights[scheduled.number].shape.fwhm == pytest.approx(request.param, rel=0.15)
    rendered = render_frame(night, scheduled)
    frame = calibrate(raw(rendered), SIMULATOR, build_masters(night))
    assert frame.flags is not None
    assert frame.variance is not None
    found = (frame.flags & int(Flag.COSMIC_RAY)) != 0
    excluded = excluded_pixels(frame.flags & ~np.uint16(Flag.COSMIC_RAY))
    cores = star_cores(night, scheduled.number, ~excluded)
    return Field(frame.data, frame.variance, excluded, found, rendered.cosmic_rays, cores)


def test_the_mask_is_astroscrappys(field: Field) -> None:
    theirs = field.by_astroscrappy()
    either = np.count_nonzero(field.found | theirs)
    assert either > 500
    assert np.mean(field.found == theirs) >= 0.9999
    assert np.count_nonzero(field.found & theirs) / either >= 0.995


def test_hits_with_a_peak_above_ten_sigma_are_found(field: Field) -> None:
    """Any pixel of the hit will do; hits that touch what is not looked at, or each other, count as one."""
    charge = np.zeros(field.data.shape)
    charge[field.cosmic_rays.y, field.cosmic_rays.x] = field.cosmic_rays.electrons
    labels, count = ndimage.label(charge > 0, np.ones((3, 3)))
    index = np.arange(1, count + 1)
    sigma = np.sqrt(np.median(field.variance))
    significant = ndimage.maximum(charge, labels, index) > 10 * sigma
    hidden = ndimage.maximum(ndimage.binary_dilation(field.excluded, np.ones((3, 3))), labels, index) > 0
    seen = ndimage.maximum(field.found, labels, index) > 0
    wanted = significant & ~hidden
    assert np.count_nonzero(wanted) > 150
    assert np.mean(seen[wanted]) >= 0.96, f"{np.mean(seen[wanted]):.1%} of {np.count_nonzero(wanted)}"


def test_star_cores_are_taken_no_more_often_than_by_astroscrappy(field: Field) -> None:
    rows, columns = field.cores
    assert len(rows) > 100
    hit_cores = np.zeros(field.data.shape, bool)
    hit_cores[field.cosmic_rays.y, field.cosmic_rays.x] = True
    alone = ~ndimage.binary_dilation(hit_cores, np.ones((5, 5)))[rows, columns]
    ours, theirs = (mask[rows, columns][alone].mean() for mask in (field.found, field.by_astroscrappy()))
    assert ours <= theirs, f"ours {ours:.2%}, astroscrappy's {theirs:.2%} of {alone.sum()}"
