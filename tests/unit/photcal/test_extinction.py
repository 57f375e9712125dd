import numpy as np
import pytest

from nightflow.photcal.extinction import expect_zero_point, solve_air
from nightflow.photcal.lent import KnownZeroPoint, lend_zero_point

HOURS = np.linspace(0, 4, 40)
AIRMASS = 1 / np.cos(np.radians(20 * np.abs(HOURS - 0.5)))
OWN, COMMON = 0.002, 0.004


def night(seed=1, cloud=0.0, common=0.0):
    rng = np.random.default_rng(seed)
    return 22.0 - 0.15 * AIRMASS - cloud + common + rng.normal(0, OWN, len(HOURS))


def solved(zero_points):
    count = len(zero_points)
    return solve_air(zero_points, COMMON**2 + OWN**2 * np.eye(count), AIRMASS[:count], HOURS[:count])


def test_extinction_and_its_error():
    found = [solved(night(seed)) for seed in range(60)]
    pulls = np.array([(air.extinction - 0.15) / air.extinction_error for air in found])
    assert abs(np.median(pulls)) < 0.4
    assert 0.3 < np.std(pulls) < 1.2


def test_what_all_frames_share_is_in_the_zero_point_only():
    one, other = solved(night()), solved(night(common=0.05))
    assert other.extinction == pytest.approx(one.extinction, abs=1e-6)
    assert other.zero_point == pytest.approx(one.zero_point + 0.05, abs=1e-6)
    assert one.zero_point_error > COMMON


def test_a_cloud_that_comes_as_the_field_sinks_is_no_extinction():
    passing = 0.08 * np.clip((HOURS - 2.8) / 1.2, 0, 1)
    air = solved(night(cloud=passing))
    plain = -np.polyfit(AIRMASS, night(cloud=passing), 1)[0]
    assert plain > 0.18
    assert air.extinction == pytest.approx(0.15, abs=0.02)
    assert abs(air.extinction - 0.15) < 3 * air.extinction_error
    assert not air.clear[HOURS > 3.5].any()


def test_a_night_of_moving_cloud_is_not_photometric():
    rng = np.random.default_rng(2)
    air = solved(night(cloud=rng.uniform(0, 0.3, len(HOURS))))
    assert air.extinction is None
    assert "not photometric" in air.reason


def test_without_a_range_of_airmass_there_is_none():
    count = 12
    zero_points = night()[:count]
    air = solve_air(zero_points, OWN**2 * np.eye(count), AIRMASS[:count], HOURS[:count])
    assert air.extinction is None
    assert "airmass changes by 0." in air.reason
    unknown = solve_air(zero_points, OWN**2 * np.eye(count), np.full(count, np.nan), HOURS[:count])
    assert "0 frames of known airmass" in unknown.reason


def test_what_is_expected_of_a_frame_holds_the_transparency():
    steady, clouds = solved(night()), solved(night(cloud=np.where(HOURS > 2.4, 0.1, 0.0)))
    assert expect_zero_point(steady, 1.3).zero_point == pytest.approx(22.0 - 0.15 * 1.3, abs=0.003)
    assert expect_zero_point(steady, 1.3).error < 0.01
    assert expect_zero_point(clouds, 1.3).error > 0.04
    assert expect_zero_point(steady, None).error > 0.1


def test_expectations_of_the_next_frame_are_within_their_errors():
    """Nights of drifting cloud: each frame against what the frames before it let expect."""
    pulls = []
    for seed in range(25):
        rng = np.random.default_rng(100 + seed)
        values = night(seed, cloud=np.clip(np.cumsum(rng.normal(0, 0.01, len(HOURS))), 0, None))
        for row in (8, 20, 36):
            known = [
                KnownZeroPoint(values[n], 0.004, AIRMASS[n], HOURS[n], np.nan, np.nan) for n in range(row)
            ]
            lent = lend_zero_point(known, AIRMASS[row])
            pulls.append((values[row] - lent.zero_point) / lent.error)
    assert np.mean(np.abs(pulls) < 1) > 0.5
    assert np.mean(np.abs(pulls) < 3) > 0.93


def test_two_frames_lend_nothing():
    known = [KnownZeroPoint(21.0, 0.01, 1.2, hour, np.nan, np.nan) for hour in range(2)]
    assert lend_zero_point(known, 1.2) is None


def test_zero_points_with_and_without_a_color_term_do_not_mix():
    """Those without one are of the mean colour of the stars, here 0.6: 0.03 more at a term of 0.05."""
    colored = [KnownZeroPoint(21.0, 0.01, 1.2, hour, 0.05, 0.01) for hour in range(4)]
    plain = [KnownZeroPoint(21.03, 0.07, 1.2, hour + 4, np.nan, np.nan) for hour in range(6)]
    most = lend_zero_point([*colored, *plain[:3]], 1.2)
    assert (most.zero_point, most.color_term) == (pytest.approx(21.0), pytest.approx(0.05))
    assert most.color_term_error == pytest.approx(0.01)
    most = lend_zero_point([*colored, *plain], 1.2)
    assert (most.zero_point, most.color_term, most.color_term_error) == (pytest.approx(21.03), None, None)
    assert most.error >= 0.07
    assert lend_zero_point([*colored[:2], *plain[:2]], 1.2) is None
