"""Comparison stars of a light curve, frame by frame, and what they know of trends."""

from __future__ import annotations

import numpy as np
import pytest

from nightflow.lightcurves.detrend import detrended_curve
from nightflow.lightcurves.field_trends import field_trends
from nightflow.store.database import Database
from nightflow.store.field_curves import field_curves
from nightflow.store.queries import find_source, light_curve
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, START, add_frame, columns, record, stars

FRAMES, STARS, NOISE = 20, 12, 0.002
TARGET_SLOPE, SPREAD = 0.03, 0.02


@pytest.fixture
def night(database: Database) -> Database:
    """Two chips look in turn; stars follow the airmass, each as its colour will."""
    rng = np.random.default_rng(2)
    ra, dec = stars(STARS)
    slope = np.append(TARGET_SLOPE, rng.normal(0.0, SPREAD, STARS - 1))
    for frame in range(2 * FRAMES):
        mjd, chip = MJD + frame / 300, frame % 2
        airmass = 1.0 + 0.5 * (frame / FRAMES - 1.0) ** 2
        mag = slope * airmass + rng.normal(0.0, NOISE, STARS)
        flux = 1e4 * 10 ** (-0.4 * mag)
        row = add_frame(
            database, f"{frame}", mjd_mid=mjd, airmass=airmass, detector=str(1 + chip), instrument="cam"
        )
        place = 100.0 + 1000.0 * chip + np.arange(STARS) + 0.1 * frame
        measured = columns(ra, dec, mjd=mjd, flux=flux, flux_err=flux * NOISE / 1.0857, x=place)
        append(database, row, record(f"{frame}"), measured, now=START)
    return database


def test_stars_are_measured_against_the_others_chip_by_chip(night: Database) -> None:
    ra, dec = stars(STARS)
    found = find_source(night, float(ra[0]), float(dec[0]))
    assert found is not None
    assert found.source.id is not None
    curve = light_curve(night, found.source.id)
    field = field_curves(night, curve, "aperture")
    assert set(field) == {("cam", "1", "V"), ("cam", "2", "V")}
    for (_, detector, _), one in field.items():
        # The stars that follow it most are no comparison stars: they scatter.
        assert one.residual.shape[0] == FRAMES
        assert 8 <= one.residual.shape[1] <= STARS - 1
        assert np.ptp(one.columns["x"]) < 30
        assert (np.min(one.columns["x"]) > 1000) == (detector == "2")
        assert field_trends(one, ["airmass"])["airmass"].spread == pytest.approx(SPREAD, rel=0.6)
    done = detrended_curve(curve, ["airmass"], field)
    assert np.std(curve["diff_mag"]) > 2 * NOISE
    assert np.std(done["diff_mag"]) < 1.5 * NOISE


def test_a_curve_without_points_has_none(database: Database) -> None:
    assert field_curves(database, light_curve(database, 0), "aperture") == {}
