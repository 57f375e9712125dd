"""The solver ladder on real frames, with star lists made here by sep and nothing of nightflow's own."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sep
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from nightflow.astrometry.astrometry_net import solve_astrometry_net
from nightflow.astrometry.hint import solve_hint
from nightflow.astrometry.ladder import solve
from nightflow.astrometry.previous import solve_previous
from nightflow.astrometry.solution import Quality, SolveRequest
from nightflow.astrometry.solve_field import solve_with_solve_field
from nightflow.astrometry.spread import evenly
from nightflow.catalogs.importer import import_catalog
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings
from tests.real.own_stars import detect

pytestmark = pytest.mark.real

HATP32 = AstrometrySettings(scale=5.21, catalogs=["tycho2_hatp32"])
NICKEL = AstrometrySettings(
    scale=0.37, ladder=["header"], trust_header="scale_rotation", catalogs=["landolt"]
)
WCS_CARDS = ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")


@pytest.fixture(scope="module")
def catalogs(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> LocalCatalogs:
    folder = tmp_path_factory.mktemp("catalogs")
    for name in ("tycho2_hatp32", "landolt"):
        import_catalog(shared_data / "catalogues" / f"{name}.csv", name, folder)
    return LocalCatalogs(folder)


@pytest.fixture(scope="module")
def hatp32(shared_data: Path) -> list[SolveRequest]:
    return [hatp32_request(file) for file in sorted((shared_data / "hatp32_subset").glob("*.FITS.gz"))]


def hatp32_request(file: Path) -> SolveRequest:
    with fits.open(file) as hdus:
        header, data = hdus[0].header, hdus[0].data
    return request(
        *detect(data),
        data.shape,
        ra=header["RA"],
        dec=header["DEC"],
        scale=5.21,
        epoch=2017.97,
    )


def request(x: NDArray, y: NDArray, flux: NDArray, shape: tuple[int, int], **known) -> SolveRequest:
    good = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & (flux > 0))
    good = good[evenly(x[good], y[good], flux[good], max(shape) / 4.0, 300)]
    good = good[np.argsort(-flux[good])]
    facts = {"ra": None, "dec": None, "hint_error": 1.0, "scale_tolerance": 0.05, "parity": 0}
    return SolveRequest(x=x[good], y=y[good], flux=flux[good], shape=shape, **{**facts, **known})


def check_hatp32(solution) -> None:
    assert solution.quality is Quality.VERIFIED
    assert solution.heldout_rms_arcsec < 0.35 * 5.164
    assert solution.scale == pytest.approx(5.164, abs=0.01)
    assert solution.parity == -1


def test_hatp32_by_hint(hatp32, catalogs):
    solved, seconds = [], []
    for frame in hatp32:
        started = time.process_time()  # a busy machine is not the solver's fault
        solved.append(solve_hint(frame, catalogs, HATP32))
        seconds.append(time.process_time() - started)
        check_hatp32(solved[-1])
    assert len(solved) == 36
    assert np.median(seconds) < 0.2
    # the night drifts slowly: neighbours in time are neighbours on the sky, or one of them is false
    centres = SkyCoord([s.ra_center for s in solved], [s.dec_center for s in solved], unit="deg")
    assert centres[:-1].separation(centres[1:]).arcmin.max() < 3.0


def test_hatp32_from_the_frame_before(hatp32, catalogs):
    previous = solve_hint(hatp32[0], catalogs, HATP32).wcs
    solved = 0
    for frame in hatp32[1:]:
        solution = solve_previous(replace(frame, previous_wcs=previous), catalogs, HATP32)
        check_hatp32(solution)
        previous = solution.wcs
        solved += 1
    assert solved == 35


@pytest.mark.parametrize("blind", [False, True])
def test_hatp32_by_astrometry_net(hatp32, catalogs, blind):
    for frame in hatp32[::3]:
        asked = replace(frame, ra=None, dec=None, scale=None) if blind else frame
        by_hint = solve_hint(frame, catalogs, HATP32)
        solution = solve_astrometry_net(asked, catalogs, HATP32, [])
        check_hatp32(solution)
        ours = SkyCoord(by_hint.ra_center, by_hint.dec_center, unit="deg")
        assert ours.separation(SkyCoord(solution.ra_center, solution.dec_center, unit="deg")).arcsec < 1.0


@pytest.mark.system
@pytest.mark.parametrize("blind", [False, True])
def test_hatp32_by_solve_field(hatp32, catalogs, blind):
    if shutil.which("solve-field") is None:
        pytest.skip("solve-field is not installed")
    for frame in hatp32[::6]:
        asked = replace(frame, ra=None, dec=None, scale=None) if blind else frame
        by_hint = solve_hint(frame, catalogs, HATP32)
        solution = solve_with_solve_field(asked, catalogs, HATP32, [])
        check_hatp32(solution)
        ours = SkyCoord(by_hint.ra_center, by_hint.dec_center, unit="deg")
        assert ours.separation(SkyCoord(solution.ra_center, solution.dec_center, unit="deg")).arcsec < 1.0


@pytest.mark.parametrize(("file", "standards"), [("d1047", 4), ("d1083", 3)])
def test_nickel_by_a_shift_of_the_header(shared_data, catalogs, file, standards):
    frame, data = nickel(shared_data / "nickel_2024-05-12" / f"{file}.fits.gz")
    solution = solve(frame, catalogs, NICKEL)
    assert solution.quality is Quality.PROVISIONAL
    assert solution.n_matched == standards
    assert solution.rms_arcsec < 1.0
    # what proves the identification: Landolt's V is reproduced by the known zero point
    stars = catalogs.cone("landolt", solution.ra_center, solution.dec_center, 0.1)
    x, y = solution.wcs.all_world2pix(stars.ra, stars.dec, 0)
    flux, _, _ = sep.sum_circle(data - sep.Background(data).back(), x, y, 12.0)
    zero_points = stars.mags["V"] + 2.5 * np.log10(flux / 60.0)
    assert np.median(zero_points) == pytest.approx(22.82, abs=0.15)


def test_nickel_without_standards_is_held(shared_data, catalogs):
    frame, _ = nickel(shared_data / "nickel_2024-05-12" / "d1059.fits.gz")
    with pytest.raises(NoSolution, match="fewer than 3 catalogue stars"):
        solve(frame, catalogs, NICKEL)


def nickel(file: Path) -> tuple[SolveRequest, NDArray]:
    with fits.open(file) as hdus:
        header, raw = hdus[0].header, hdus[0].data.astype(np.float32)
    data = np.ascontiguousarray(raw[:, :1024] - np.median(raw[:, 1026:], axis=1)[:, None])
    wcs = WCS(fits.Header([(key, header[key]) for key in WCS_CARDS]))
    frame = request(*detect(data), data.shape, scale=0.37, epoch=2024.36, header_wcs=wcs)
    return frame, data
