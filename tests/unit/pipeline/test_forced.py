"""Forced apertures on targets that move: past stars, on painted frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from astropy.wcs import WCS

from nightflow.astrometry.solution import Quality, Solution
from nightflow.flags import Flag
from nightflow.instruments.profile import CameraProfile, DetectionSettings, PhotometrySettings
from nightflow.photcal.solution import PhotometricSolution
from nightflow.photcal.zero_point import FluxCalibration, instrumental_magnitudes
from nightflow.pipeline.forced import forced
from nightflow.pipeline.work import Context, Work
from nightflow.sources.measure import measure_frame
from nightflow.store.database import Database
from nightflow.store.records import CatalogIdentity, MeasurementColumns
from nightflow.store.targets import add_target
from nightflow.store.writer import append
from tests.unit.sources.painted import painted
from tests.unit.store.builders import START, add_frame, columns, header, record

STAR = (200.0, 250.0)
MJD = 61100.0
EXPTIME = 10.0
SCALE = 1.08
ZERO_POINT, REDDER = 22.5, 0.3
"""Magnitudes; the star's colour makes its own offset larger."""


def sky() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [30.0, 0.0], [220.0, 210.0]
    wcs.wcs.cd = np.diag([-SCALE / 3600.0, SCALE / 3600.0])
    return wcs


def place(x: float, y: float) -> tuple[float, float]:
    ra, dec = sky().all_pix2world(x, y, 0)
    return float(ra), float(dec)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'store.sqlite'}") as opened:
        opened.upgrade()
        yield opened


def frame_with(x: np.ndarray, y: np.ndarray, electrons: np.ndarray, **changes: Any) -> Work:
    """Return a frame up to its zero point, with these stars beside those that tell its profile."""
    found = measure_frame(painted(x, y, electrons, seed=3), DetectionSettings(), PhotometrySettings())
    n = len(found.sources)
    mag, mag_err = instrumental_magnitudes(found.sources.flux, found.sources.flux_err, EXPTIME)
    star = np.hypot(found.sources.x - STAR[0], found.sources.y - STAR[1]) < 2.0
    solution = PhotometricSolution(
        zero_point=ZERO_POINT, zero_point_adu=ZERO_POINT, error=0.01, scatter=0.02, n_stars=9, catalog="test",
        band="V", system="Vega", color_term=None, color=None, depth_5sigma=19.0,
    )  # fmt: skip
    values = {
        "identity": CatalogIdentity(
            catalog="test", known=star, ids=np.full(n, ""), pmra=np.zeros(n), pmdec=np.zeros(n)
        )
    }
    ra, dec = place(219.0, 209.0)
    return Work(
        frame_id=1, exposure_id=1, path=Path("a.fits"), profile=CameraProfile(name="test"),
        header=header(shape=found.pixels.data.shape, mjd_mid=MJD, exptime=EXPTIME), measured=found,
        solution=Solution(
            wcs=sky(), backend="hint", quality=Quality.VERIFIED, rms_arcsec=0.2, heldout_rms_arcsec=0.2,
            n_matched=20, ra_center=ra, dec_center=dec, scale=SCALE, rotation=0.0, parity=1, catalog="test",
        ),
        calibration=FluxCalibration(
            solution=solution, mag=mag + ZERO_POINT + np.where(star, REDDER, 0.0), mag_err=mag_err
        ),
        **(values | changes),
    )  # fmt: skip


def measured(work: Work, database: Database) -> MeasurementColumns:
    forced(work, cast(Context, SimpleNamespace(database=database)))
    assert work.forced is not None
    return work.forced


def moving(
    database: Database, x: float, y: float, *, rate: float = 20.0, hours: float = 1.0, bend: float = 0.0
) -> None:
    """Enter a target that is at a pixel at mid-exposure.

    ``rate`` is pixels an hour, ``hours`` between rows; every second row lies ``bend`` pixels to one side.
    """
    rows = [(MJD + k * hours / 24.0, *place(x + k * hours * rate, y + bend * (k % 2))) for k in range(-6, 7)]
    add_target(database, "body", ephemeris=rows)


def offset(rows: MeasurementColumns) -> float:
    return float(rows.mag[0] + 2.5 * np.log10(rows.flux[0]))


@pytest.mark.parametrize("distance", [0.2, 1.4])
def test_a_star_that_a_body_passes_is_not_its_detection(database: Database, distance: float) -> None:
    moving(database, STAR[0] + distance, STAR[1])
    both = np.array([STAR[0], STAR[0] + distance]), np.full(2, STAR[1]), np.array([2e4, 3e3])
    rows = measured(frame_with(*both), database)
    assert rows.flags.tolist() == [int(Flag.NEIGHBOUR)]
    assert offset(rows) == pytest.approx(ZERO_POINT, abs=0.01)


def test_nor_is_a_source_that_a_night_has_settled(database: Database) -> None:
    moving(database, STAR[0] + 1.4, STAR[1])
    ra, dec = (np.array([one]) for one in place(*STAR))
    append(database, add_frame(database, mjd_mid=MJD), record(), columns(ra, dec, mjd=MJD), now=START)
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE source SET n_position = 6")
    both = np.array([STAR[0], STAR[0] + 1.4]), np.full(2, STAR[1]), np.array([2e4, 3e3])
    rows = measured(frame_with(*both, identity=None), database)
    assert rows.flags.tolist() == [int(Flag.NEIGHBOUR)]


def test_its_own_detection_and_that_of_a_target_that_stands_are_theirs(database: Database) -> None:
    moving(database, STAR[0] + 40.0, STAR[1])
    add_target(database, "star", *place(*STAR))
    both = np.array([STAR[0], STAR[0] + 40.0]), np.full(2, STAR[1]), np.array([2e4, 3e3])
    rows = measured(frame_with(*both), database)
    assert rows.flags.tolist() == [0, 0]
    assert rows.mag + 2.5 * np.log10(rows.flux) == pytest.approx([ZERO_POINT, ZERO_POINT + REDDER], abs=0.01)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ({}, None),
        ({"hours": 24.0, "rate": 1.0}, "ephemeris has rows 24 h apart, which do not follow"),
        ({"bend": 60.0}, "ephemeris has rows 1 h apart, between which it may be wrong by"),
    ],
)
def test_an_ephemeris_that_is_too_coarse_is_named(
    database: Database, path: dict[str, float], said: str | None
) -> None:
    moving(database, 150.0, 150.0, **path)
    work = frame_with(np.array([STAR[0]]), np.array([STAR[1]]), np.array([2e4]))
    measured(work, database)
    if said is None:
        assert work.warnings == []
    else:
        (warning,) = work.warnings
        assert "target 'body'" in warning
        assert said in warning
        assert "Give it rows of every hour" in warning


@pytest.mark.parametrize(("pixels", "said"), [(2.0, 0), (6.0, 1), (12.0, 2)])
def test_a_trail_is_measured_whole_and_named_where_it_is_long(
    database: Database, pixels: float, said: int
) -> None:
    """West to east through 100, 150, painted star by star."""
    moving(database, 100.0, 150.0, rate=pixels * 3600.0 / EXPTIME, hours=0.05)
    x = 100.0 + pixels * ((np.arange(60) + 0.5) / 60 - 0.5)
    work = frame_with(x, np.full(60, 150.0), np.full(60, 1e5 / 60))
    rows = measured(work, database)
    assert rows.flux[0] * EXPTIME == pytest.approx(1e5, rel=0.02)
    assert bool(rows.flags[0] & Flag.TRAIL) == (said == 2)
    words = [f"'body' moves {pixels:.1f} pixels during the exposure", "beyond its aperture: it is flagged"]
    assert len(work.warnings) == min(said, 1)
    for warning in work.warnings:
        assert [one in warning for one in words] == [True, said == 2]
