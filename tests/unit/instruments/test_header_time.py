"""Start and middle of exposures."""

from __future__ import annotations

from typing import Any

import pytest
from astropy.time import Time

from nightflow.instruments.header_time import exposure_time, exposure_times
from tests.unit.instruments.profiles import reader

SECOND = 1 / 86400


def mjd(utc: str) -> float:
    return float(Time(utc, scale="utc").mjd)


def middle(cards: dict[str, object], keywords: dict[str, Any], exptime: float) -> float | None:
    return exposure_times(reader(cards, keywords), exptime).middle


def test_start_plus_half() -> None:
    times = exposure_times(reader({"DATE-OBS": "2018-10-13T02:03:10.984"}, {"date_obs": "DATE-OBS"}), 180.0)
    assert times.middle == pytest.approx(mjd("2018-10-13T02:04:40.984"), abs=1e-5 * SECOND)
    assert times.date_obs == "2018-10-13T02:03:10.984"


def test_date_and_clock_apart() -> None:
    keywords = {"date_obs": {"keys": ["DATE-OBS"], "format": "date"}, "clock": ["UTSTART", "UTCSTART"]}
    cards: dict[str, object] = {"DATE-OBS": "2019-03-26", "UTSTART": "later", "UTCSTART": "02:27:31.13"}
    assert middle(cards, keywords, 300.0) == pytest.approx(mjd("2019-03-26T02:30:01.13"), abs=1e-5 * SECOND)


def test_the_middle_of_the_header_wins_and_is_compared() -> None:
    keywords = {"date_obs": "DATE-OBS", "date_mid": {"keys": ["MJD-MID"], "format": "mjd"}}
    start = "2019-03-26T02:00:00"
    agreeing = reader({"DATE-OBS": start, "MJD-MID": mjd("2019-03-26T02:01:01")}, keywords)
    assert exposure_times(agreeing, 120.0).middle == pytest.approx(mjd("2019-03-26T02:01:01"))
    assert agreeing.warnings == []
    late = reader({"DATE-OBS": start, "MJD-MID": mjd("2019-03-26T02:01:30")}, keywords)
    exposure_times(late, 120.0)
    assert late.warnings == ["the header's middle is +30.0 s from start + exptime / 2; it is used"]


def test_only_a_middle() -> None:
    keywords = {"date_mid": {"keys": ["JD"], "format": "jd"}}
    times = exposure_times(reader({"JD": mjd("2019-03-26T02:01:00") + 2400000.5}, keywords), 120.0)
    assert times.start == pytest.approx(mjd("2019-03-26T02:00:00"), abs=1e-3 * SECOND)


def test_only_an_end_is_a_guess() -> None:
    one = reader({"DATE-END": "2019-03-26T02:02:00"}, {"date_end": "DATE-END"})
    times = exposure_times(one, 120.0)
    assert times.middle == pytest.approx(mjd("2019-03-26T02:01:00"), abs=1e-5 * SECOND)
    assert times.start == pytest.approx(mjd("2019-03-26T02:00:00"), abs=1e-5 * SECOND)
    assert "readout not considered" in one.warnings[0]


def test_a_camera_without_a_clock() -> None:
    one = reader({"DATE-OBS": "1900-01-01T00:00:00"}, {"date_obs": "DATE-OBS"})
    times = exposure_times(one, 1.0)
    assert (times.start, times.middle, times.date_obs) == (None, None, "")
    assert "DATE-OBS = '1900-01-01T00:00:00' discarded" in one.warnings[0]


@pytest.mark.parametrize(
    ("value", "unit", "seconds"),
    [("060.00", "", 60.0), (250, "ms", 0.25), (-1, "", None), ("", "", None), (1e9, "", None)],
)
def test_exposure_times(value: object, unit: str, seconds: float | None) -> None:
    assert exposure_time(reader({"T": value}, {"exptime": {"keys": ["T"], "unit": unit}})) == seconds
