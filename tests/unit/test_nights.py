"""A night goes from noon to noon at the site and is named by its evening."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.errors import ConfigurationError
from nightflow.nights import night_bounds, night_of, parse_night

NOON_2017_12_19 = 58106.5


@pytest.mark.parametrize(
    ("mjd", "longitude", "night"),
    [
        (NOON_2017_12_19, 0.0, "2017-12-19"),
        (NOON_2017_12_19 - 1e-6, 0.0, "2017-12-18"),
        (58107.06, -110.9, "2017-12-19"),  # the evening in Arizona: 01:33 UTC of the 20th
        (58107.5, -110.9, "2017-12-19"),  # before dawn there
        (58106.9, 149.0, "2017-12-19"),  # 07:30 local of the 20th in Australia, the morning after
        (60443.19, None, "2024-05-12"),
    ],
)
def test_the_evening_names_it(mjd: float, longitude: float | None, night: str) -> None:
    assert night_of(mjd, longitude) == night


@given(st.floats(40000, 80000), st.floats(-180, 180))
def test_a_time_lies_within_its_night(mjd: float, longitude: float) -> None:
    first, last = night_bounds(night_of(mjd, longitude), longitude)
    assert first - 1e-6 <= mjd <= last + 1e-6
    assert last - first == 1


def test_a_date_is_read() -> None:
    assert parse_night("2024-05-12") == datetime(2024, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "tonight", "2024-13-01", "12.05.2024", "2024-05-12T01:00"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="write it as YYYY-MM-DD"):
        parse_night(text)
