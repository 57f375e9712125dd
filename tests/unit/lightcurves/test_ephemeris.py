"""Places between the rows of an ephemeris, against astropy's own places of planets, and its error."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import EarthLocation, get_body, solar_system_ephemeris
from astropy.time import Time

from nightflow.lightcurves.associate import separation
from nightflow.lightcurves.ephemeris import ephemeris_error, ephemeris_place

TUCSON = EarthLocation.from_geodetic(-110.0, 32.0, 2000.0)
# Near the Earth, where the parallax over a day is largest: October 2020 and August 2015.
NEAREST = {"mars": 59128.0, "venus": 57250.0}


def seen(body: str, mjd: np.ndarray) -> np.ndarray:
    """Return rows of (mjd, ra, dec) as seen from the ground."""
    with solar_system_ephemeris.set("builtin"):
        found = get_body(body, Time(mjd, format="mjd"), TUCSON).transform_to("gcrs")
    return np.column_stack([mjd, found.ra.deg, found.dec.deg])


def off(rows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return by how many arcsec the rows' places are off at the times of the truth."""
    places = [ephemeris_place(rows, mjd) for mjd in truth[:, 0]]
    return np.array(
        [
            float(separation(one.ra, one.dec, *row[1:]))
            for one, row in zip(places, truth, strict=True)
            if one is not None
        ]
    )


@pytest.mark.parametrize(("hours", "at_most"), [(6.0, 0.7), (2.0, 0.02), (1.0, 0.002)])
@pytest.mark.parametrize("body", NEAREST)
def test_between_rows_it_is_where_the_planet_is(body: str, hours: float, at_most: float) -> None:
    rows = seen(body, NEAREST[body] + hours / 24.0 * np.arange(-8, 9))
    truth = seen(body, NEAREST[body] + np.linspace(-0.5, 0.5, 11) * hours / 24.0)
    errors = off(rows, truth)
    assert len(errors) == 11
    assert errors.max() < at_most
    assert errors.max() <= ephemeris_error(rows, NEAREST[body]) < 10 * errors.max() + 1e-3


def test_daily_rows_do_not_follow_the_parallax_and_their_spacing_says_so() -> None:
    rows = seen("mars", NEAREST["mars"] + np.arange(-8.0, 9.0))
    truth = seen("mars", np.array([NEAREST["mars"] + 0.5]))
    assert off(rows, truth)[0] > 5.0
    place = ephemeris_place(rows.tolist(), NEAREST["mars"] + 0.5)
    assert place is not None
    assert place.spacing == 1.0


def test_rates_are_those_of_the_planet() -> None:
    mjd = NEAREST["venus"]
    place = ephemeris_place(seen("venus", mjd + np.arange(-8, 9) / 24.0), mjd + 0.01)
    before, after = seen("venus", mjd + 0.01 + np.array([-30.0, 30.0]) / 86400.0)[:, 1:]
    assert place is not None
    dec = (after[1] - before[1]) * 60.0
    ra = (after[0] - before[0]) * 60.0 * np.cos(np.radians(after[1]))
    assert [place.rate_ra, place.rate_dec] == pytest.approx([ra, dec], rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("n", [2, 3])
def test_few_rows_are_joined_by_straight_lines(n: int) -> None:
    rows = [[100.0 + k, (359.9 + 0.2 * k) % 360.0, 0.0] for k in range(n)]
    place = ephemeris_place(rows, 100.25)
    assert place is not None
    assert (place.ra, place.dec) == pytest.approx((359.95, 0.0), abs=1e-6)
    assert place.rate_ra == pytest.approx(720.0 / 86400.0, rel=1e-3)
    assert ephemeris_place(rows, 99.9) is None
    assert ephemeris_place(rows, 100.0 + n) is None


def test_the_error_of_straight_lines_is_that_of_a_bent_path() -> None:
    """A parabola of 8" a day squared: between rows a day apart, 1" at most."""
    dec = [4.0 * day**2 / 3600.0 for day in range(3)]
    rows = [[100.0 + day, 10.0, one] for day, one in enumerate(dec)]
    assert ephemeris_error(rows, 100.5) == pytest.approx(1.0, rel=0.01)
    assert np.isnan(ephemeris_error(rows[:2], 100.5))


def test_a_time_that_stands_twice_is_taken_once() -> None:
    rows = [[100.0 + k // 2, 10.0 + k // 2, 0.0] for k in range(12)]
    place = ephemeris_place(rows, 102.5)
    assert place is not None
    assert place.ra == pytest.approx(12.5, abs=1e-4)
