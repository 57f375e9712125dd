"""Light of bright stars' wings in the apertures around them."""

from __future__ import annotations

import numpy as np
import pytest
import sep
from scipy.spatial import cKDTree

from nightflow.flags import Flag
from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.simulate.plan import CameraPlan
from nightflow.simulate.render import paint_stars
from nightflow.sources.forced import forced_fluxes
from nightflow.sources.measure import MeasuredFrame, measure_frame
from nightflow.sources.neighbours import has_neighbours, neighbour_light, neighbour_shares
from nightflow.sources.stellar_profile import StellarProfile
from tests.unit.sources.painted import SHAPE, STAR, grid, painted

FAINT = 3000.0
NOTHING = np.empty(0)


def beside(bright: float, apart: float, seed: int) -> tuple[MeasuredFrame, np.ndarray, np.ndarray]:
    """Return a frame with faint stars ``apart`` pixels from bright ones, and the faint ones' places."""
    rng = np.random.default_rng(seed)
    y, x = (one.ravel() for one in np.mgrid[84:340:84.0, 84:340:84.0])
    angle = rng.uniform(0, 2 * np.pi, len(x))
    at_x, at_y = x + apart * np.cos(angle), y + apart * np.sin(angle)
    electrons = np.repeat([bright, FAINT], len(x))
    frame = painted(np.append(x, at_x), np.append(y, at_y), electrons, seed=seed)
    return measure_frame(frame, DetectionSettings(), PhotometrySettings()), at_x, at_y


@pytest.mark.parametrize(
    ("bright", "apart", "flagged"),
    [(4e5, 10.0, True), (2e6, 14.0, True), (2e6, 24.0, False), (4e4, 15.0, False)],
)
def test_wings_that_matter_are_flagged_and_no_others(bright, apart, flagged):
    """At 10 and 14 pixels they are 11 and 4 sigma, far beyond the aperture of 4.5."""
    pulls, flags = [], []
    for seed in range(3):
        measured, x, y = beside(bright, apart, seed)
        forced = forced_fluxes(measured, x, y)
        pulls.append((forced.flux - FAINT) / forced.flux_err)
        flags.append((forced.flags & int(Flag.NEIGHBOUR)) > 0)
    assert np.mean(flags) == pytest.approx(float(flagged), abs=0.1)
    assert (np.median(pulls) > 1) == flagged
    assert flagged or abs(np.median(pulls)) < 0.7


def test_detections_beside_bright_stars_are_flagged():
    measured, x, y = beside(4e5, 12.0, 3)
    sources = measured.sources
    distance, row = cKDTree(np.column_stack([sources.x, sources.y])).query(np.column_stack([x, y]))
    near_bright, _ = grid(84.0, 42.0, 3)
    assert (sources.flags[row[distance < 1.0]] & int(Flag.NEIGHBOUR)).all()
    # Those of 4e4 electrons that stand alone are not.
    alone = (sources.flux > 3e4) & (sources.flux < 5e4)
    assert alone.sum() == len(near_bright)
    assert (sources.flags[alone] == 0).all()


@pytest.mark.parametrize("apart", [0.0, 4.0, 6.0, 8.0, 11.0, 14.0])
def test_the_light_is_what_the_aperture_gets_of_the_star(apart):
    one, _, _ = beside(1e6, 24.0, 2)
    star = np.array([200.3]), np.array([210.8])
    place = star[0] + apart, star[1]
    image = paint_stars(CameraPlan(shape=SHAPE), *star, np.array([1e6]), STAR)
    radius, ring = one.pixels.radius, one.pixels.annulus
    true = sep.sum_circle(image, *place, radius, subpix=0)[0]
    # The annulus has the star itself masked, and clips.
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    away = np.hypot(x - place[0], y - place[1])
    level = np.median(image[(away >= ring[0]) & (away <= ring[1])])
    true = true - np.pi * radius**2 * level
    light = neighbour_light(
        one.neighbour_shares, place, np.array([100.0]), np.array([-1]), star, np.array([1e6])
    )
    assert light == pytest.approx(true, rel=0.25, abs=100.0)
    of_itself = neighbour_light(
        one.neighbour_shares, place, np.array([100.0]), np.array([0]), star, np.array([1e6])
    )
    assert of_itself == 0


def test_two_per_cent_or_the_error_whichever_is_more():
    flux, error = np.array([1e4, 1e4, 1e6, 1e6, -50.0, 0.0]), np.array([150.0, 150.0, 1e3, 1e3, 100.0, 100.0])
    light = np.array([190.0, 210.0, 1.9e4, 2.1e4, 110.0, 90.0])
    assert has_neighbours(flux, error, light).tolist() == [False, True, False, True, True, False]


def test_without_stars_or_their_width_there_is_nothing():
    one = measure_frame(painted(NOTHING, NOTHING, NOTHING, seed=1), DetectionSettings(), PhotometrySettings())
    place, error, nobody = (np.array([50.0]), np.array([50.0])), np.array([100.0]), np.array([-1])
    shares = one.neighbour_shares
    assert neighbour_light(shares, place, error, nobody, (NOTHING, NOTHING), NOTHING).tolist() == [0.0]
    nowhere = neighbour_light(
        shares, (NOTHING, NOTHING), NOTHING, np.empty(0, np.intp), place, np.array([1e5])
    )
    assert len(nowhere) == 0
    unknown = neighbour_shares(one.pixels, StellarProfile(np.nan), NOTHING, NOTHING, NOTHING)
    assert neighbour_light(unknown, place, error, nobody, place, np.array([1e5])).tolist() == [0.0]
