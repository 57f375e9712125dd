"""Pointing, site and airmass, against spherical trigonometry done by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from nightflow.instruments.header import Site
from nightflow.instruments.pointing import airmass_of, frame_airmass, pointing_hint, site_of
from tests.unit.instruments.profiles import profile, reader

WHIPPLE = Site(latitude=31.68, longitude=-110.88)
POINTING = {"ra": ["RA", "OBJCTRA"], "dec": ["DEC", "OBJCTDEC"]}


def sine_of_altitude(site: Site, ra: float, dec: float, mjd: float) -> float:
    """Return sin(altitude) for coordinates of date, with mean sidereal time (Meeus 1998, eq. 12.4)."""
    sidereal = 280.46061837 + 360.98564736629 * (mjd - 51544.5)
    hour_angle = math.radians(sidereal + site.longitude - ra)
    latitude, declination = math.radians(site.latitude), math.radians(dec)
    return math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * math.cos(
        hour_angle
    )


@given(
    st.floats(0, 359.99),
    st.floats(-85, 85),
    st.floats(51544, 61000),
    st.floats(-80, 80),
    st.floats(-180, 180),
)
def test_airmass_is_the_secant_of_the_zenith_distance(
    ra: float, dec: float, mjd: float, latitude: float, longitude: float
) -> None:
    """Precession since 2000, left out by hand, moves a star by up to 0.15 deg until 2026."""
    site = Site(latitude=latitude, longitude=longitude)
    sine = sine_of_altitude(site, ra, dec, mjd)
    airmass = airmass_of(site, ra, dec, mjd)
    if sine > math.sin(math.radians(15)):
        assert airmass == pytest.approx(1 / sine, rel=math.radians(0.4) / math.tan(math.asin(sine)) + 1e-4)
    elif sine < math.sin(math.radians(2)):
        assert airmass is None


def test_a_star_in_the_zenith() -> None:
    site = Site(latitude=0.0, longitude=0.0)
    mjd = 51544.5
    zenith = (280.46061837) % 360.0
    assert airmass_of(site, zenith, 0.0, mjd) == pytest.approx(1.0, abs=1e-4)


def test_beyond_the_earth_rotation_tables() -> None:
    """A date in the far future neither warns nor downloads."""
    assert airmass_of(WHIPPLE, 0.0, 80.0, 75_000.0) == pytest.approx(
        1 / sine_of_altitude(WHIPPLE, 0.0, 80.0, 75_000.0), rel=0.02
    )


def test_tables_that_nobody_brought_up_to_date_for_years(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Time, "now", classmethod(lambda cls: Time(80_000.0, format="mjd")))
    tonight = 79_999.9
    assert airmass_of(WHIPPLE, 0.0, 80.0, tonight) == pytest.approx(
        1 / sine_of_altitude(WHIPPLE, 0.0, 80.0, tonight), rel=0.02
    )


def test_hint_in_sexagesimal_and_degrees() -> None:
    assert pointing_hint(reader({"RA": "08:18:29.9", "DEC": "+25:19:59"}, POINTING)) == pytest.approx(
        (124.6245833, 25.3330556)
    )
    assert pointing_hint(reader({"RA": 31.312, "DEC": "46.769"}, POINTING)) == (31.312, 46.769)
    assert pointing_hint(reader({"RA": 360.0, "DEC": 0.0}, POINTING)) == (0.0, 0.0)


def test_an_absurd_hint_is_discarded_with_a_warning() -> None:
    one = reader({"RA": 654.476, "DEC": 95.0}, POINTING)
    assert pointing_hint(one) == (None, None)
    discarded = [warning.split(" discarded")[0] for warning in one.warnings]
    assert discarded == ["ra: RA = '654.476'", "dec: DEC = '95.0'"]


def test_after_an_absurd_value_the_next_keyword_counts() -> None:
    one = reader({"RA": 654.476, "OBJCTRA": "21 38 21.9984", "DEC": 30.6}, POINTING)
    assert pointing_hint(one) == pytest.approx((324.59166, 30.6))
    assert len(one.warnings) == 1


@pytest.mark.parametrize(
    ("value", "sense", "east"),
    [
        (110.88, "west", -110.88),
        ("+71 29 06.00", "west", -71.485),
        (-111.5355, "", -111.5355),
        (248.4645, "", -111.5355),
        (-10.0, "west", 10.0),
        (400.0, "", None),
    ],
)
def test_longitudes(value: object, sense: str, east: float | None) -> None:
    keywords: dict[str, Any] = {"latitude": "LAT", "longitude": {"keys": ["LONG"], "sense": sense}}
    site = site_of(reader({"LAT": 30.0, "LONG": value}, keywords), profile())
    assert (None if site is None else site.longitude) == (None if east is None else pytest.approx(east))


def test_the_header_wins_over_the_profile_but_for_the_height() -> None:
    keywords = {"latitude": "LAT", "longitude": "LONG", "height": "ALT"}
    fixed = profile(site={"latitude": 1.0, "longitude": 2.0, "height": 3.0})
    assert site_of(reader({"LAT": 30, "LONG": 40}, keywords), fixed) == Site(
        latitude=30, longitude=40, height=3
    )
    assert site_of(reader({"LAT": 30, "LONG": 40, "ALT": 50}, keywords), fixed) == Site(
        latitude=30, longitude=40, height=50
    )
    assert site_of(reader({"LAT": 30}, keywords), fixed) == Site(latitude=1, longitude=2, height=3)
    assert site_of(reader({}, keywords), profile()) is None


def test_airmass_from_what_is_there() -> None:
    keywords = {"altitude": "ALT", "airmass": "AIRMASS"}
    cards: dict[str, object] = {"ALT": 30.0, "AIRMASS": 1.9}
    assert frame_airmass(reader(cards, keywords), WHIPPLE, 0.0, 80.0, 58000.0) == airmass_of(
        WHIPPLE, 0.0, 80.0, 58000.0
    )
    assert frame_airmass(reader(cards, keywords), None, 0.0, 80.0, 58000.0) == pytest.approx(2.0)
    assert frame_airmass(reader({"AIRMASS": 1.9}, keywords), None, None, None, None) == 1.9
    assert frame_airmass(reader({"AIRMASS": 0.0}, keywords), None, None, None, None) is None


def test_a_pointing_below_the_horizon_is_said() -> None:
    one = reader({"AIRMASS": 1.9}, {"airmass": "AIRMASS"})
    assert frame_airmass(one, WHIPPLE, 0.0, -80.0, 58000.0) == 1.9
    assert one.warnings == ["the pointing is below the horizon of the site: no airmass computed"]
