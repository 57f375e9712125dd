"""The order of a night."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nightflow.errors import ConfigurationError
from nightflow.simulate import ephemeris
from nightflow.simulate.plan import FieldPlan, NightPlan
from nightflow.simulate.schedule import run_middle, schedule_night

PLAN = NightPlan(filters=("V", "R"), n_lights=9)


def test_calibrations_come_first_and_time_never_runs_back() -> None:
    frames = schedule_night(PLAN)
    assert [frame.kind for frame in frames] == ["bias"] * 7 + ["dark"] * 5 + ["flat"] * 10 + ["light"] * 9
    ends = [frame.mjd_start + frame.exptime / 86400 for frame in frames]
    assert all(end < frame.mjd_start for end, frame in zip(ends[:-1], frames[1:], strict=True))
    assert [frame.number for frame in frames] == list(range(1, 32))


def test_filters_are_taken_in_turn_with_flats_for_each() -> None:
    frames = schedule_night(PLAN)
    assert [frame.filter for frame in frames if frame.kind == "light"][:4] == ["V", "R", "V", "R"]
    assert [frame.filter for frame in frames if frame.kind == "flat"] == ["V"] * 5 + ["R"] * 5
    assert {frame.filter for frame in frames if frame.kind in {"bias", "dark"}} == {""}


def test_darks_last_as_long_as_the_lights() -> None:
    frames = schedule_night(PLAN)
    assert {frame.exptime for frame in frames if frame.kind == "dark"} == {PLAN.exptime}
    assert {frame.exptime for frame in frames if frame.kind == "bias"} == {0.0}


def test_run_straddles_the_meridian_around_midnight() -> None:
    lights = [frame for frame in schedule_night(NightPlan()) if frame.kind == "light"]
    angle = ephemeris.hour_angle(31.0427, 46.6878, np.array([f.mjd_mid for f in lights]), -111.60)
    assert angle[0] < -25
    assert angle[-1] > 15
    assert (lights[-1].mjd_mid - lights[0].mjd_mid) * 24 == pytest.approx(71 * 200 / 3600)
    # Local midnight in Arizona is 7 h UTC.
    assert 6.0 < run_middle(NightPlan()) % 1 * 24 < 8.0


def test_flats_are_taken_at_dusk() -> None:
    first_flat = next(frame for frame in schedule_night(PLAN) if frame.kind == "flat")
    sun = ephemeris.sun_position(first_flat.mjd_mid)
    height = ephemeris.altitude(*sun, first_flat.mjd_mid, PLAN.site.latitude, PLAN.site.longitude)
    assert -5.0 < height < -3.0


@pytest.mark.parametrize(
    "plan",
    [
        replace(PLAN, date="2025-05-01"),
        replace(PLAN, n_lights=300),
        replace(PLAN, field=FieldPlan(dec=-65.0, bright_file=None)),
    ],
    ids=["field up by day", "run into the morning", "field below the horizon"],
)
def test_impossible_nights_are_refused_with_a_mend(plan: NightPlan) -> None:
    with pytest.raises(ConfigurationError, match="choose a date on which the field culminates"):
        schedule_night(plan)
