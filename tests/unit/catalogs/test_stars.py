from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from nightflow.catalogs.stars import ReferenceStars


def stars(**columns) -> ReferenceStars:
    values = {
        "catalog": "c",
        "ra": np.array([359.9999, 120.0]),
        "dec": np.array([60.0, -75.0]),
        "pmra": np.array([800.0, -250.0]),
        "pmdec": np.array([-400.0, 90.0]),
        "epoch": 2000.0,
        "ids": np.array(["a", "b"]),
        "mags": {"V": np.array([9.0, np.nan]), "G": np.array([np.nan, np.nan]), "B": np.array([9.5, 10.0])},
    }
    return ReferenceStars(**{**values, **columns})


def test_proper_motion_agrees_with_astropy():
    moved = stars().at_epoch(2026.5)
    truth = SkyCoord(
        stars().ra * u.deg,
        stars().dec * u.deg,
        pm_ra_cosdec=stars().pmra * u.mas / u.yr,
        pm_dec=stars().pmdec * u.mas / u.yr,
        # a star without a distance would get one made up, with a warning
        distance=100 * u.pc,
        obstime=Time(2000.0, format="jyear"),
    ).apply_space_motion(Time(2026.5, format="jyear"))
    off = SkyCoord(moved.ra, moved.dec, unit="deg").separation(truth.icrs).arcsec
    assert off == pytest.approx([0.0, 0.0], abs=5e-3)
    assert 0.0 <= moved.ra[0] < 1.0


def test_brightness_takes_the_first_band_known():
    assert stars().brightness().tolist() == [9.0, 10.0]


def test_take_keeps_columns_together():
    second = stars().take(np.array([False, True]))
    assert (second.ids.tolist(), second.mags["B"].tolist()) == (["b"], [10.0])
