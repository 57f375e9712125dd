import numpy as np
import pytest
from astropy.wcs import WCS

from nightflow.catalogs.stars import ReferenceStars
from nightflow.photcal.match import match_catalog
from nightflow.sources.table import SourceTable


@pytest.fixture
def wcs():
    header = WCS(naxis=2)
    header.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    header.wcs.crval = [120.0, 30.0]
    header.wcs.crpix = [501, 501]
    header.wcs.cdelt = [-2 / 3600, 2 / 3600]
    return header


def sources_at(x, y):
    n = len(x)
    zeros = np.zeros(n)
    return SourceTable(
        x=np.asarray(x, float),
        y=np.asarray(y, float),
        x_err=zeros,
        y_err=zeros,
        flux=zeros + 1,
        flux_err=zeros,
        peak=zeros,
        background=zeros,
        fwhm=zeros,
        ellipticity=zeros,
        theta=zeros,
        flags=np.zeros(n, np.uint16),
    )


def stars_at(wcs, x, y):
    ra, dec = wcs.all_pix2world(x, y, 0)
    zeros = np.zeros(len(ra))
    return ReferenceStars(
        catalog="c", ra=ra, dec=dec, pmra=zeros, pmdec=zeros, epoch=2000.0, ids=np.array([""] * len(ra))
    )


def test_pairs_are_mutual_and_0_based(wcs):
    x, y = np.array([100.0, 400.0, 900.0]), np.array([50.0, 500.0, 800.0])
    match = match_catalog(sources_at(x + 0.2, y), stars_at(wcs, x, y), wcs, 2.0, 3.0)
    assert match.source.tolist() == [0, 1, 2]
    assert match.star.tolist() == [0, 1, 2]
    np.testing.assert_allclose(match.distance, 0.2, atol=1e-6)


def test_one_star_pairs_with_its_nearest_source_only(wcs):
    match = match_catalog(
        sources_at([500.0, 501.0], [500.0, 500.0]), stars_at(wcs, [500.2], [500.0]), wcs, 2.0, 3.0
    )
    assert match.source.tolist() == [0]


def test_far_is_no_pair_but_a_pixel_and_a_half_always_is(wcs):
    near = match_catalog(sources_at([500.0], [501.4]), stars_at(wcs, [500.0], [500.0]), wcs, 2.0, 0.1)
    far = match_catalog(sources_at([500.0], [502.0]), stars_at(wcs, [500.0], [500.0]), wcs, 2.0, 3.0)
    assert len(near) == 1
    assert len(far) == 0


def test_stars_behind_the_sky_are_passed_over(wcs):
    stars = stars_at(wcs, [500.0], [500.0])
    opposite = ReferenceStars(
        catalog="c",
        ra=np.array([300.0]),
        dec=np.array([-30.0]),
        pmra=stars.pmra,
        pmdec=stars.pmdec,
        epoch=2000.0,
        ids=stars.ids,
    )
    assert len(match_catalog(sources_at([500.0], [500.0]), opposite, wcs, 2.0, 3.0)) == 0
    assert len(match_catalog(sources_at([], []), stars, wcs, 2.0, 3.0)) == 0
