"""The Sun's altitude against almanac and geometry."""

import numpy as np
import pytest

from nightflow.epochs import mjd_of
from nightflow.nights import parse_night
from nightflow.sun import dark_hours, sun_altitude

SOLSTICE = 61212.35
"""2026-06-21 08:25 UTC."""


def test_at_the_pole_it_stands_at_its_declination():
    for hours in (0.0, 6.0, 13.0):
        assert sun_altitude(90.0, 0.0, SOLSTICE + hours / 24.0) == pytest.approx(23.44, abs=0.02)
    assert sun_altitude(-90.0, 0.0, SOLSTICE) == pytest.approx(-23.44, abs=0.02)


def test_noon_is_where_the_longitude_says():
    """The equation of time moves it by a quarter of an hour at most."""
    day = mjd_of(parse_night("2026-03-20"))
    times = day + np.arange(0.0, 1.0, 1.0 / 1440.0)
    for longitude, noon in ((0.0, 12.0), (-118.06, 19.87), (148.98, 2.07)):
        highest = 24.0 * (times[np.argmax(sun_altitude(31.0, longitude, times))] - day)
        assert highest == pytest.approx(noon, abs=0.3)


def test_dark_hours_of_a_winter_night_in_greenwich():
    """Nautical twilight of 2026-01-15 by the almanac: ends 17:37, begins 06:43 (to some minutes)."""
    begin, end = dark_hours(51.48, 0.0, "2026-01-15")
    night = mjd_of(parse_night("2026-01-15"))
    assert 24.0 * (begin - night) == pytest.approx(17.6, abs=0.15)
    assert 24.0 * (end - night) == pytest.approx(30.7, abs=0.15)


def test_where_it_does_not_get_dark_there_are_none():
    assert dark_hours(65.0, 20.0, "2026-06-21") is None
    begin, end = dark_hours(85.0, 20.0, "2026-12-21")
    assert end - begin > 0.999
