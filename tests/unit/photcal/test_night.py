"""A night's solution against its truth.

All frames of a night see the same stars, so the catalogue's errors shift all its zero points together: the
pulls of one night are one draw, and not as many as there are frames. They are therefore taken over nights.
"""

from dataclasses import replace

import numpy as np
import pytest

from nightflow.photcal.night import solve_night
from tests.unit.photcal.night_lists import ABOVE, EXTINCTION, SECOND, TERM, simulate

N_NIGHTS = 120


@pytest.fixture(scope="module")
def clear_nights():
    nights = [simulate(seed, n_frames=8) for seed in range(N_NIGHTS)]
    return [(night, solve_night(night.frames, night.stars, night.reference)) for night in nights]


def width(values):
    return 1.4826 * np.median(np.abs(values - np.median(values)))


def test_zero_points(clear_nights):
    off = np.array([found.zero_point - night.zero_point for night, found in clear_nights])
    error = np.array([found.error for _, found in clear_nights])
    assert abs(off.mean()) < 0.003
    assert np.mean(np.abs(off)) < 0.005
    pulls = off / error
    assert abs(np.median(pulls)) < 0.3
    assert 0.8 < width(pulls) < 1.25


def test_frames_among_each_other_are_known_better_than_the_catalogue(clear_nights):
    """Their differences average down with the stars' photons, what they share does not."""
    for night, found in clear_nights:
        off = found.zero_point - night.zero_point
        assert np.std(off) < 0.0015
        assert found.error.min() > 2 * found.own_error.max()
    off = np.array([found.zero_point - night.zero_point for night, found in clear_nights])
    own = np.array([found.own_error for _, found in clear_nights])
    assert 0.8 < np.std((off - off.mean(axis=1, keepdims=True)) / own) < 1.2


def test_more_frames_make_the_catalogue_no_better():
    few, many = (simulate(3, n_frames=count) for count in (10, 80))
    errors = [solve_night(one.frames, one.stars, one.reference).error.mean() for one in (few, many)]
    assert errors[1] == pytest.approx(errors[0], rel=0.1)


def test_color_term(clear_nights):
    off = np.array([found.color_term - TERM - SECOND * found.pivot for _, found in clear_nights])
    pulls = off / np.array([found.color_term_error for _, found in clear_nights])
    assert abs(off.mean()) < 0.005
    assert np.mean(np.abs(off)) < 0.01
    assert 0.75 < width(pulls) < 1.3


@pytest.mark.parametrize("airmass", [1.0, 2.2])
def test_color_term_of_a_frame_is_that_of_its_airmass(clear_nights, airmass):
    term, error = np.array([found.color_term_at(airmass) for _, found in clear_nights]).T
    off = term - TERM - SECOND * airmass
    assert abs(off.mean()) < 0.005
    assert 0.75 < width(off / error) < 1.3
    assert clear_nights[0][1].color_term_at(None)[0] == clear_nights[0][1].color_term


def test_a_color_term_that_is_not_taken_is_in_the_error():
    """Without colours the zero points are those of the mean colour, 0.48; the term is 0 +- 0.1."""
    night = simulate(5, n_frames=8)
    unwanted = solve_night(night.frames, night.stars, night.reference, with_color=False)
    assert (unwanted.color_term, unwanted.color_term_at(1.2)) == (None, None)
    assert np.median(unwanted.error) == pytest.approx(0.1 * np.hypot(0.48, 0.12), rel=0.15)
    assert np.all(np.abs(unwanted.zero_point - night.zero_point) < 3 * unwanted.error)
    assert abs(unwanted.above - ABOVE) < 3 * unwanted.above_error
    few = np.where(np.arange(120) < 40, night.reference.color, np.nan)
    unknown = solve_night(night.frames, night.stars, replace(night.reference, color=few))
    assert unknown.color_term is None
    assert np.median(unknown.error) == pytest.approx(0.07, rel=0.1)
    np.testing.assert_allclose(unknown.own_error, unwanted.own_error)


def test_extinction_of_first_and_second_order(clear_nights):
    first = np.array([found.extinction - EXTINCTION for _, found in clear_nights])
    second = np.array([found.color_extinction - SECOND for _, found in clear_nights])
    assert np.abs(first).max() < 0.01
    assert np.abs(second).mean() < 0.005
    for off, errors in ((first, "extinction_error"), (second, "color_extinction_error")):
        assert 0.5 < width(off / np.array([getattr(found, errors) for _, found in clear_nights])) < 1.6


def test_zero_point_above_the_atmosphere(clear_nights):
    pulls = np.array([(found.above - ABOVE) / found.above_error for _, found in clear_nights])
    assert abs(np.median(pulls)) < 0.7
    assert 0.6 < width(pulls) < 1.5


def test_thin_cloud_is_no_extinction():
    """Either the extinction holds, or its error covers it, or there is none, with a reason."""
    good, given = 0, 0
    for seed in range(30):
        night = simulate(seed, cloud=0.05, n_stars=40)
        found = solve_night(night.frames, night.stars, night.reference)
        if found.extinction is None:
            assert found.air.reason
            continue
        given += 1
        good += abs(found.extinction - EXTINCTION) < max(0.01, 3 * found.extinction_error)
    assert given > 15
    assert good / given > 0.95


def test_a_short_run_gives_no_extinction():
    night = simulate(1, hours=1.5, center=0.7)
    found = solve_night(night.frames, night.stars, night.reference)
    assert found.extinction is None
    assert "airmass changes" in found.air.reason
    assert found.color_extinction is None
    assert np.abs(found.zero_point - night.zero_point).mean() < 0.01


def test_a_wrong_star_is_dropped():
    night = simulate(2, n_stars=12)
    wrong = night.reference.mag.copy()
    wrong[5] += 0.2
    found = solve_night(night.frames, night.stars, replace(night.reference, mag=wrong))
    assert found.rejected == (5,)
    assert found.n_stars == 11


def test_wrong_measurements_are_clipped():
    night = simulate(2)
    mag = night.stars.mag.copy()
    mag[::40] += 0.5
    found = solve_night(night.frames, replace(night.stars, mag=mag), night.reference)
    assert np.abs(found.zero_point - night.zero_point).mean() < 0.01
    assert found.n_measurements == pytest.approx(len(mag) * 39 / 40, rel=0.01)


def test_a_catalogue_worse_than_it_says_is_found_out():
    night = simulate(4, noise=0.03)
    boast = replace(night.reference, error=np.full(120, 0.005), color_variance=np.full(120, 5e-5),
                    covariance=np.full(120, -2.5e-5))  # fmt: skip
    found = solve_night(night.frames, night.stars, boast)
    assert found.star_scatter == pytest.approx(0.03, rel=0.3)
    assert found.error.mean() > 0.008


def test_a_frame_of_two_stars_leans_on_the_others():
    """Its stars' own offsets are known from the other frames, and so is the colour term."""
    night = simulate(6)
    few = (night.stars.frame != 7) | (night.stars.star < 2)
    found = solve_night(night.frames, night.stars.take(few), night.reference)
    assert found.zero_point[7] == pytest.approx(night.zero_point[7], abs=4 * found.error[7])
    assert found.zero_point[7] - night.zero_point[7] == pytest.approx(
        np.mean(found.zero_point - night.zero_point), abs=0.01
    )


def test_no_star_no_solution():
    night = simulate(1, n_stars=3)
    nothing = night.stars.take(np.zeros(len(night.stars.mag), bool))
    assert solve_night(night.frames, nothing, night.reference) is None
