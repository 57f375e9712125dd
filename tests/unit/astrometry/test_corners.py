"""What is said of the corners, against where they are: by astropy's own WCS."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from nightflow.astrometry.ladder import solve
from nightflow.astrometry.solution import SolveRequest
from nightflow.catalogs.stars import ReferenceStars
from nightflow.instruments.profile import AstrometrySettings
from tests.unit.astrometry.torture import Sky

SIDE = 1000
SCALE = 1.5
NOISE = 0.05
"""Pixels, each coordinate."""
SETTINGS = AstrometrySettings(scale=SCALE, ladder=["hint"])


def chip(off_axis: float) -> WCS:
    """Return the WCS of a chip whose middle is ``off_axis`` degrees from where the telescope points."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 20.0]
    wcs.wcs.cd = np.array([[-SCALE, 0.0], [0.0, SCALE]]) / 3600.0
    wcs.wcs.crpix = [SIDE / 2 - off_axis * 3600.0 / SCALE, SIDE / 2]
    return wcs


def corners(wcs: WCS) -> np.ndarray:
    x, y = np.array([0, SIDE - 1, 0, SIDE - 1]), np.array([0, 0, SIDE - 1, SIDE - 1])
    return np.array(wcs.all_pix2world(x, y, 0))


def off_and_said(off_axis: float, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the four corners are off, and how far they are said to be, arcsec."""
    rng, true = np.random.default_rng(seed), chip(off_axis)
    x, y = rng.uniform(0, SIDE - 1, (2, n))
    ra, dec = true.all_pix2world(x, y, 0)
    mag = rng.uniform(8, 13, n)
    stars = ReferenceStars(
        catalog="made-up",
        ra=ra,
        dec=dec,
        pmra=np.zeros(n),
        pmdec=np.zeros(n),
        epoch=2016.0,
        ids=np.arange(n).astype(str),
        mags={"G": mag},
    )
    request = SolveRequest(
        x=x + rng.normal(0, NOISE, n),
        y=y + rng.normal(0, NOISE, n),
        flux=10 ** (-0.4 * (mag - 20)),
        position_error=np.full(n, NOISE),
        shape=(SIDE, SIDE),
        ra=float(ra.mean()),
        dec=float(dec.mean()),
        hint_error=0.5,
        scale=SCALE,
        scale_tolerance=0.05,
        parity=0,
        epoch=2016.0,
    )
    found = solve(request, Sky(stars), SETTINGS, [])
    assert found.evidence is not None
    (ra, dec), (true_ra, true_dec) = corners(found.wcs), corners(true)
    off = np.hypot((ra - true_ra) * np.cos(np.radians(true_dec)), dec - true_dec) * 3600.0
    return off, np.array(found.evidence.corner_errors_arcsec)


@pytest.mark.parametrize("n", [25, 70])
@pytest.mark.parametrize("off_axis", [0.0, 1.0, 2.0])
def test_corners_are_as_far_off_as_they_are_said_to_be(off_axis: float, n: int) -> None:
    """A straight model off the axis is wrong by the projection: no star left out shows it clearly."""
    off, said = np.array([off_and_said(off_axis, n, seed) for seed in range(10)]).transpose(1, 0, 2)
    pulls = np.sqrt(np.mean((off / said) ** 2))
    assert 0.3 < pulls < 1.7
    assert np.sqrt(np.mean(said**2)) < 0.25
