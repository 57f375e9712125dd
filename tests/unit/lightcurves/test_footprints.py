"""Which frames cover a place, and that those that do not are not counted against what is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.wcs import WCS

from nightflow.lightcurves.footprints import footprints
from nightflow.lightcurves.night import NONE, AssociatedNight, associate_night
from nightflow.sphere import unit_vectors
from tests.unit.lightcurves.pointings import Window, cut
from tests.unit.lightcurves.sky_lists import Body, Observed, Sky
from tests.unit.lightcurves.test_night import NOBODY, row_of, rules

SKY = Sky(
    n_stars=160, n_frames=24, false_a_frame=10, dropout=0.05,
    bodies=(Body(x=-600, y=0, rate_x=60, rate_y=20), Body(x=500, y=-300, rate_x=-45, rate_y=30)),
)  # fmt: skip
STRIPES: list[Window] = [(-900 + 450 * k, -460 + 450 * k, -900, 900) for k in range(4)]
"""Chips, side by side with gaps of 10"."""
HALVES: list[Window] = [(-900, 150, -900, 900), (-150, 900, -900, 900)]
"""Pointings that overlap by a sixth."""


@pytest.mark.parametrize("center", [(132.8, 41.8), (0.01, -5.0), (200.0, 89.9)])
@pytest.mark.parametrize(("rotation", "parity"), [(0.0, 1), (33.0, 1), (250.0, -1)])
def test_a_frame_covers_what_lies_on_its_pixels(
    center: tuple[float, float], rotation: float, parity: int
) -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = center, (150.5, 100.5)
    angle = np.radians(rotation)
    up = np.array([np.sin(angle), np.cos(angle)])
    along = parity * np.array([-np.cos(angle), np.sin(angle)])
    wcs.wcs.cd = np.column_stack([along, up]) * 5.0 / 3600.0
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-100, 400, 3000), rng.uniform(-100, 300, 3000)
    ra, dec = wcs.pixel_to_world_values(x, y)
    inside = (x > -0.5) & (x < 299.5) & (y > -0.5) & (y < 199.5)
    one = footprints(*(np.array([v]) for v in (0.0, *center, rotation, 1000.0, 1500.0)))
    vectors = unit_vectors(ra, dec)
    assert np.array_equal(one.covers(0, vectors), inside)
    assert np.array_equal(one.count(vectors), inside.astype(int))
    assert (one.coverage(ra, dec, 20.0) == inside).mean() > 0.97


def seen_as(observed: Observed, **changes: float) -> AssociatedNight:
    return associate_night(observed.night, NOBODY, replace(rules(SKY), **changes))


def check_stars(observed: Observed, found: AssociatedNight) -> None:
    """Stars are sources of their own, but for what lies on an edge; none is part of a body."""
    moving = np.concatenate([body.rows for body in found.bodies])
    assert (observed.truth[moving] < -1).all()
    star = observed.truth >= 0
    assert (found.source[star] != NONE).mean() > 0.98
    counts = [len(set(found.source[observed.truth == one])) for one in np.unique(observed.truth[star])]
    assert np.mean(np.array(counts) == 1) > 0.97


def check_bodies(observed: Observed, found: AssociatedNight) -> None:
    """Both are found, whole, at their rates."""
    assert len(found.bodies) == len(SKY.bodies)
    for body in found.bodies:
        (number,) = set(observed.truth[body.rows])
        true = SKY.bodies[-2 - number]
        assert body.line.rate_x == pytest.approx(true.rate_x, abs=0.5)
        assert body.line.rate_y == pytest.approx(true.rate_y, abs=0.5)
        assert len(body.rows) >= 0.9 * (observed.truth == number).sum()


def test_a_body_on_one_of_four_chips_is_found_and_stars_stay() -> None:
    observed = cut(SKY, [STRIPES] * SKY.n_frames)
    found = seen_as(observed)
    check_bodies(observed, found)
    check_stars(observed, found)
    for body in found.bodies:
        # Each exposure has one chip, or a gap, where the body was.
        assert len(body.rows) <= body.n_frames <= SKY.n_frames


def test_a_body_on_one_of_two_pointings_by_turns_is_found_and_stars_stay() -> None:
    observed = cut(SKY, [[HALVES[number % 2]] for number in range(SKY.n_frames)])
    found = seen_as(observed)
    check_bodies(observed, found)
    check_stars(observed, found)


def test_a_body_on_a_pointing_that_comes_back_after_ten_others_is_found() -> None:
    sky = replace(SKY, n_frames=110, cadence=0.01, dropout=0.0)
    tiles: list[Window] = [(-900 + 180 * k, -700 + 180 * k, -900, 900) for k in range(10)]
    observed = cut(sky, [[tiles[number % 10]] for number in range(sky.n_frames)])
    found = associate_night(observed.night, NOBODY, rules(sky))
    assert len(found.bodies) == 2
    for body in found.bodies:
        assert len(set(observed.truth[body.rows])) == 1
    check_stars(observed, found)


def test_the_part_of_the_frames_that_a_source_must_be_on_is_of_those_that_covered_it() -> None:
    observed = cut(SKY, [STRIPES] * SKY.n_frames)
    found = seen_as(observed, fraction=0.5)
    assert (found.source[observed.truth >= 0] != NONE).mean() > 0.98


def test_one_exposure_of_a_mosaic_gives_unconfirmed_sources() -> None:
    sky = replace(SKY, n_frames=1, dropout=0.0, bodies=())
    observed = cut(sky, [STRIPES])
    assert observed.night.n_frames == 4
    found = associate_night(observed.night, NOBODY, rules(sky))
    assert (found.source != NONE).all()


@pytest.mark.parametrize("known", [True, False])
def test_frames_that_show_nothing_loose_have_missed_a_body_as_others_have(known: bool) -> None:
    """Four detections on four of forty frames, and nothing but stars on the others, are no body."""
    sky = replace(SKY, n_stars=60, n_frames=40, false_a_frame=0, dropout=0.0, bodies=SKY.bodies[:1])
    observed = cut(sky, [[(-900, 900, -900, 900)]] * sky.n_frames)
    night, seen = observed.night if known else replace(observed.night, footprints=None), observed.truth
    few = (seen != -2) | np.isin(night.frame, [0, 13, 26, 39])
    assert associate_night(row_of(night, np.flatnonzero(few)), NOBODY, rules(sky)).bodies == ()
    # On two of three frames it is one.
    most = (seen != -2) | (night.frame % 3 != 2)
    (body,) = associate_night(row_of(night, np.flatnonzero(most)), NOBODY, rules(sky)).bodies
    assert (len(body.rows), body.n_frames) == (27, 40)
