"""Rows of kind psf: numbers, magnitudes and names, and the light curve of that kind from the store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.wcs import WCS

from nightflow.astrometry.solution import Quality, Solution
from nightflow.instruments.profile import CameraProfile, DetectionSettings, PhotometrySettings
from nightflow.photcal.instrumental import instrumental_magnitudes
from nightflow.photcal.solution import FluxCalibration, PhotometricSolution
from nightflow.pipeline.append import append
from nightflow.pipeline.psf_rows import with_psf_rows
from nightflow.pipeline.work import Work
from nightflow.sources.psf.crowding import with_psf
from nightflow.sources.psf.photometry import PsfSources
from nightflow.store.database import Database
from nightflow.store.queries import find_source, light_curve
from nightflow.store.records import CatalogIdentity, MeasurementColumns
from tests.unit.sources.psf.skies import frame_of, lone_stars, measured
from tests.unit.store.builders import MJD, START, add_frame, header

SIDE = 160
ZERO_POINT = 22.5


def sky() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [30.0, 20.0], [80.0, 80.0]
    wcs.wcs.cd = np.array([[-3e-4, 0.0], [0.0, 3e-4]])
    return wcs


@pytest.fixture(scope="module")
def work() -> Work:
    """A reduced frame; the last two stars of the PSF are new, and star 3 is its own only reference."""
    frame = frame_of(lone_stars(SIDE, 1, faint=1e4), SIDE, 1)
    found = with_psf(
        replace(measured(frame), scintillation=0.003), DetectionSettings(), PhotometrySettings(psf="always")
    )
    assert found.psf is not None
    stars = found.psf.sources
    assert len(stars) == len(found.sources)
    new = PsfSources(
        **{
            name: np.append(values, values[:2] if name != "detection" else [-1, -1])
            for name, values in vars(stars).items()
        }
    )
    new = replace(new, x=np.append(stars.x, stars.x[:2] + 9), flags=new.flags.astype(np.uint16))
    found = replace(found, psf=replace(found.psf, sources=new))
    n = len(found.sources)
    mag, mag_err = instrumental_magnitudes(found.sources.flux, found.sources.flux_err, 30.0)
    mag = mag + ZERO_POINT + np.linspace(-0.05, 0.05, n)
    mag[3] = np.nan
    solution = PhotometricSolution(
        zero_point=ZERO_POINT, zero_point_adu=ZERO_POINT, error=0.01, scatter=0.02, n_stars=9, catalog="test",
        band="V", system="Vega", color_term=None, color=None, depth_5sigma=19.0,
    )  # fmt: skip
    return Work(
        frame_id=1,
        exposure_id=1,
        path=Path("a.fits"),
        profile=CameraProfile(name="test"),
        header=header(shape=(SIDE, SIDE)),
        measured=found,
        solution=Solution(
            wcs=sky(),
            backend="hint",
            quality=Quality.VERIFIED,
            rms_arcsec=0.2,
            heldout_rms_arcsec=0.2,
            n_matched=20,
            ra_center=30.0,
            dec_center=20.0,
            scale=1.08,
            rotation=0.0,
            parity=1,
            catalog="test",
        ),
        calibration=FluxCalibration(solution=solution, mag=mag, mag_err=mag_err),
        identity=CatalogIdentity(
            catalog="test",
            known=np.arange(n) == 4,
            ids=np.where(np.arange(n) == 4, "star 4", "").astype(object),
            pmra=np.zeros(n),
            pmdec=np.zeros(n),
        ),
    )


@pytest.fixture(scope="module")
def columns(work: Work) -> MeasurementColumns:
    assert work.measured is not None
    sources = work.measured.sources
    n = len(sources)
    apertures = MeasurementColumns(
        number=np.arange(n), kind="aperture", flux=sources.flux / 30, flux_err=sources.flux_err / 30,
        mag=work.calibration.mag, mag_err=work.calibration.mag_err, x=sources.x, y=sources.y, ra=sources.x,
        dec=sources.y, fwhm_px=sources.fwhm, flags=sources.flags, bjd_tdb=np.full(n, 2.4e6),
        position_err=np.full(n, 0.1), mjd_mid=MJD, filter="V", catalog=work.identity,
    )  # fmt: skip
    return with_psf_rows(apertures, work)


def psf_rows(columns: MeasurementColumns) -> np.ndarray:
    return np.flatnonzero(columns.kinds() == "psf")


def test_a_detection_keeps_its_number_and_new_stars_are_counted_on(work, columns) -> None:
    n = len(work.measured.sources)
    rows = psf_rows(columns)
    assert list(columns.number[:n]) == list(range(n))
    assert list(columns.number[rows]) == [*work.measured.psf.sources.detection[:-2], n, n + 1]
    assert columns.catalog.known.sum() == 2
    assert columns.catalog.ids[rows][columns.number[rows] == 4] == ["star 4"]
    assert not columns.catalog.known[rows[-2:]].any()
    np.testing.assert_allclose(columns.flux_err[rows], work.measured.psf.sources.flux_err / 30)


def test_magnitudes_are_by_the_detection_s_own_offset(work, columns) -> None:
    rows = psf_rows(columns)
    sources, stars = work.measured.sources, work.measured.psf.sources
    known = rows[:-2][columns.number[rows[:-2]] != 3]
    number = columns.number[known]
    expected = work.calibration.mag[number] - 2.5 * np.log10(
        columns.flux[known] / (sources.flux[number] / 30)
    )
    np.testing.assert_allclose(columns.mag[known], expected)
    np.testing.assert_allclose(
        columns.mag_err[known], 1.0857 * columns.flux_err[known] / columns.flux[known], rtol=1e-4
    )
    new = rows[-2:]
    assert columns.mag[new] == pytest.approx(ZERO_POINT - 2.5 * np.log10(stars.flux[-2:] / 30), abs=0.01)


def test_what_has_no_zero_point_but_its_own_has_no_psf_magnitude(columns) -> None:
    rows = psf_rows(columns)
    three = rows[columns.number[rows] == 3]
    assert np.isnan(columns.mag[three]).all()
    assert np.isfinite(columns.flux[three]).all()


def test_without_calibration_there_are_fluxes_alone(work, columns) -> None:
    n = len(work.measured.sources)
    apertures = columns_without_psf(columns, n)
    bare = with_psf_rows(apertures, replace(work, calibration=None, solution=None))
    rows = psf_rows(bare)
    assert np.isnan(bare.mag[rows]).all()
    assert np.isnan(bare.ra[rows]).all()
    assert np.isfinite(bare.flux[rows]).all()


def columns_without_psf(columns: MeasurementColumns, n: int) -> MeasurementColumns:
    names = [name for name in columns.__dataclass_fields__ if isinstance(getattr(columns, name), np.ndarray)]
    return replace(columns, catalog=None, **{name: getattr(columns, name)[:n] for name in names})


def test_a_frame_without_psf_photometry_has_its_apertures_alone(work, columns) -> None:
    apertures = columns_without_psf(columns, len(work.measured.sources))
    assert with_psf_rows(apertures, replace(work, measured=replace(work.measured, psf=None))) is apertures


def test_the_store_answers_with_the_light_curve_of_that_kind(work: Work, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'store.sqlite'}")
    database.upgrade()
    frame_id = add_frame(database)
    append(replace(work, frame_id=frame_id), database, "plan", now=START)
    stars = work.measured.psf.sources
    ra, dec = sky().all_pix2world(stars.x, stars.y, 0)
    known, new = 0, len(stars) - 1
    source = find_source(database, float(ra[known]), float(dec[known])).source.id
    curves = {kind: light_curve(database, source, kind=kind) for kind in ("aperture", "psf")}
    assert [len(curve) for curve in curves.values()] == [1, 1]
    assert curves["psf"]["mag"][0] == pytest.approx(curves["aperture"]["mag"][0], abs=0.02)
    assert curves["psf"]["flux"][0] == pytest.approx(stars.flux[known] / 30)
    only = find_source(database, float(ra[new]), float(dec[new])).source.id
    assert only != source
    assert len(light_curve(database, only, kind="psf")) == 1
    assert len(light_curve(database, only)) == 0
    database.close()
