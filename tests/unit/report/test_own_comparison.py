"""No target is compared with its own light, whatever source that belongs to.

A sine of known amplitude is looked for in the differential magnitudes; the comparison
stars are noisier than the target, so that one with its light in it would be the heaviest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from nightflow.flags import Flag
from nightflow.lightcurves.light_curve import LightCurve
from nightflow.report.target_curve import named_curve
from nightflow.store.database import Database
from nightflow.store.targets import add_target
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, START, add_frame, columns, record, stars

N = 40
SIGNAL = 0.02 * np.sin(np.arange(N) / 4.0)
"""Magnitudes."""
WCS = {"ra_center": 132.805, "dec_center": 11.805, "fwhm_px": 3.0, "wcs_rms_arcsec": 0.3}
RA, DEC = (float(one[0]) for one in stars(5))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'store.sqlite'}") as opened:
        opened.upgrade()
        yield opened


def observe(
    database: Database,
    place: Callable[[float], float] = lambda _: RA,
    *,
    forced_at: Callable[[float], float] | None = None,
    moving: bool = False,
    beside: tuple[float, float] | None = None,
    seen: int = 4,
) -> None:
    """Append a night: the target, other stars, and one beside with a share of the target's light.

    Parameters
    ----------
    place : callable
        Right ascension of the target at an MJD.
    forced_at : callable, optional
        That of a forced aperture; else the target's.
    beside : tuple of float, optional
        Arcsec from the target, and share; that star is flagged, as is the target.
    seen : int
        Other stars.
    """
    rng = np.random.default_rng(0)
    other_ra, other_dec = (one[1 : 1 + seen] for one in stars(5))
    for frame in range(N):
        mjd = MJD + frame / 500
        cloud = 10 ** (-0.4 * 0.1 * np.sin(frame / 7))
        light = 1000.0 * 10 ** (-0.4 * SIGNAL[frame]) * cloud * (1 + 0.002 * rng.normal())
        ra, dec = np.append(place(mjd), other_ra), np.append(DEC, other_dec)
        flux = np.append(light, 800.0 * cloud * (1 + 0.02 * rng.normal(size=seen)))
        error, flags = np.append(2.0, np.full(seen, 16.0)), np.zeros(1 + seen, int)
        if beside is not None:
            ra, dec = np.append(ra, ra[0] + beside[0] / 3600.0), np.append(dec, DEC)
            flux = np.append(flux, 250.0 * cloud + beside[1] * light)
            error, flags = np.append(error, 2.0), np.append(flags, 0)
            flags[[0, -1]] = int(Flag.NEIGHBOUR)
        forced = columns(
            np.array([(forced_at or place)(mjd)]), np.array([DEC]), mjd=mjd, flux=np.array([light]),
            flux_err=np.array([2.0]), number=np.array([-1]), kind="forced", moving=np.array([moving]),
        )  # fmt: skip
        seen_now = columns(ra, dec, mjd=mjd, flux=flux, flux_err=error, flags=flags)
        frame_id = add_frame(database, f"{frame}", mjd_mid=mjd)
        append(database, frame_id, record(f"{frame}", **WCS), seen_now.and_those(forced), now=START)


def amplitude(curve: LightCurve | None) -> float:
    """Return the amplitude in units of the true one."""
    assert curve is not None
    assert len(curve) == N
    return float(np.polyfit(SIGNAL, curve["diff_mag"], 1)[0])


def test_a_star_of_proper_motion_with_forced_apertures(database: Database) -> None:
    """2.6" from where its entry has it: the source there is found by no place of the entry."""
    years = (MJD - 51544.5) / 365.25
    moved = RA + 100e-3 * years / 3600.0 / np.cos(np.radians(DEC))
    add_target(database, "star", RA, DEC, pmra=100.0, epoch=2000.0)
    observe(database, lambda _: float(moved))
    curve = named_curve(database, "star", kind="forced")
    assert amplitude(curve) == pytest.approx(1.0, abs=0.2)
    assert curve is not None
    assert (curve["source_id"] > 0).all()


def test_an_entry_beside_its_source(database: Database) -> None:
    add_target(database, "star", RA + 1.5 / 3600.0, DEC)
    observe(database, forced_at=lambda _: RA + 1.5 / 3600.0)
    assert amplitude(named_curve(database, "star", kind="forced")) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("kind", ["aperture", "forced"])
def test_a_slow_body(database: Database, kind: str) -> None:
    """Its detections are one source, as the first frames have it."""
    rate = 12.0 / 3600.0
    add_target(database, "body", ephemeris=[(MJD - 1, RA - rate, DEC), (MJD + 1, RA + rate, DEC)])
    observe(database, lambda mjd: RA + rate * (mjd - MJD), moving=True)
    assert amplitude(named_curve(database, "body", kind=kind)) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("kind", ["aperture", "forced"])
def test_a_star_whose_aperture_holds_the_target(database: Database, kind: str) -> None:
    add_target(database, "star", RA, DEC)
    observe(database, beside=(6.0, 0.75))
    assert amplitude(named_curve(database, "star", kind=kind)) == pytest.approx(1.0, abs=0.2)


def test_stars_with_neighbours_are_taken_in_need_only_and_that_is_said(database: Database) -> None:
    """12" away, a star with a neighbour of its own, and four others."""
    add_target(database, "star", RA, DEC)
    observe(database, beside=(12.0, 0.0))
    curve = named_curve(database, "star")
    assert curve is not None
    assert curve.meta["comparison_stars"].count("%") == 4
    assert "neighbours" not in curve.meta["comparison_stars"]


def test_and_taken_where_two_others_are_left(database: Database) -> None:
    add_target(database, "star", RA, DEC)
    observe(database, beside=(12.0, 0.0), seen=2)
    curve = named_curve(database, "star")
    assert curve is not None
    assert curve.meta["comparison_stars"].count("%") == 3
    assert "too few stars without neighbours: 2" in curve.meta["comparison_stars"]
