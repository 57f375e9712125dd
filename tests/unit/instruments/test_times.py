"""Times as cameras write them, against astropy."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from nightflow.instruments.times import iso_from_mjd, mjd_from_iso, parse_time

MICROSECOND = 1e-6 / 86400


@pytest.mark.parametrize(
    ("value", "format", "clock", "utc"),
    [
        ("2017-12-19T18:33:43.317-0700", "", None, "2017-12-20T01:33:43.317"),
        ("2017-12-20T01:33:43.317-0000", "", None, "2017-12-20T01:33:43.317"),
        ("2017-12-20T01:33:43.317Z", "iso", None, "2017-12-20T01:33:43.317"),
        ("2018-10-13 02:03:10", "", None, "2018-10-13T02:03:10"),
        ("2018-10-13T05:33:10+05:30", "", None, "2018-10-13T00:03:10"),
        ("2018/10/13T02:03", "", None, "2018-10-13T02:03:00"),
        ("2019-03-26", "date", "02:27:31.13", "2019-03-26T02:27:31.13"),
        ("2019-03-26", "", "2019-03-26T02:27:31.13", "2019-03-26T02:27:31.13"),
        ("2019-03-26T01:00:00", "", "02:27:31.13", "2019-03-26T01:00:00"),
        ("13/05/99", "", "02:00:00", "1999-05-13T02:00:00"),
        (2458568.604179745, "jd", None, "2019-03-26T02:30:01.130"),
        ("58568.104179745", "mjd", None, "2019-03-26T02:30:01.130"),
        (1715565598.409166, "unix", None, "2024-05-13T01:59:58.409"),
    ],
)
def test_times(value: object, format: str, clock: object, utc: str) -> None:
    mjd = parse_time(value, format, clock)
    # A Julian date in a double is good to 40 microseconds.
    assert mjd == pytest.approx(Time(utc, scale="utc").mjd, abs=1e-3 / 86400)


@pytest.mark.parametrize(
    ("value", "format"),
    [
        ("2019-03-26", ""),
        ("2019-13-26T00:00:00", ""),
        ("2019-02-30T00:00:00", ""),
        ("2019-03-26T25:00:00", ""),
        ("2019-03-26T00:61:00", ""),
        ("2019-03-26T00:00:75", ""),
        ("10/12/2018 11:44:09.039 PM DST", ""),
        ("", ""),
        (None, ""),
        (58107.065, ""),
        ("soon", "jd"),
        (None, "mjd"),
    ],
)
def test_no_times(value: object, format: str) -> None:
    assert parse_time(value, format) is None


def test_a_leap_second_is_the_first_second_of_the_next_day() -> None:
    assert iso_from_mjd(mjd_from_iso("2016-12-31T23:59:60.5") or 0.0) == "2017-01-01T00:00:00.500"


moments = st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)


@given(moments)
def test_iso_there_and_back(moment: datetime) -> None:
    text = moment.isoformat(timespec="milliseconds")
    mjd = mjd_from_iso(text)
    assert mjd is not None
    assert iso_from_mjd(mjd) == text


@given(moments, st.integers(-14 * 60, 14 * 60))
def test_an_offset_is_taken_off(moment: datetime, minutes: int) -> None:
    local = (moment + timedelta(minutes=minutes)).isoformat(timespec="milliseconds")
    sign = "-" if minutes < 0 else "+"
    hours, rest = divmod(abs(minutes), 60)
    utc = mjd_from_iso(moment.isoformat(timespec="milliseconds"))
    for zone in (f"{hours:02d}{rest:02d}", f"{hours:02d}:{rest:02d}"):
        assert mjd_from_iso(f"{local}{sign}{zone}") == pytest.approx(utc, abs=2 * MICROSECOND)


@given(st.one_of(st.none(), st.text(), st.floats(), st.integers(), st.booleans()), st.text())
def test_never_raises(value: object, clock: str) -> None:
    for format in ("", "iso", "date", "jd", "mjd", "unix"):
        mjd = parse_time(value, format, clock)
        assert mjd is None or isinstance(mjd, float)
