"""A camera's distortion, learned on frames of many stars and lent: the optics are the simulator's."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from astropy.coordinates import SkyCoord, SkyOffsetFrame
from astropy.wcs import WCS
from scipy.optimize import brentq

from nightflow.astrometry.distortion import Distortion, StarField, bent, learn_distortion, straight
from nightflow.astrometry.ladder import solve
from nightflow.astrometry.plate import fit_plate, plate_from_wcs
from nightflow.astrometry.solution import Quality, Solution, SolveRequest
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings
from nightflow.simulate.optics import Pointing
from tests.unit.astrometry.synthetic import SCALE, SHAPE, make_stars, make_wcs
from tests.unit.astrometry.torture import Sky

NY, NX = SHAPE
CORNER = 0.5 * float(np.hypot(NX, NY))
BENT = 0.03
SETTINGS = AstrometrySettings(scale=SCALE, ladder=["hint"])
NOISE = 0.05
"""Pixels, each coordinate."""


def pointing(
    ra: float, dec: float, rotation: float, *, distortion: float = BENT, parity: int = 1
) -> Pointing:
    return Pointing(
        ra=ra, dec=dec, x=0.5 * (NX - 1) + 12.0, y=0.5 * (NY - 1) - 9.0, scale=SCALE, rotation=rotation,
        parity=parity, flipped=False, distortion=distortion, corner=CORNER,
    )  # fmt: skip


def true_sky(optics: Pointing, x: np.ndarray, y: np.ndarray) -> SkyCoord:
    """Return where pixels look: the cubic undone star by star, the rest by astropy."""
    u, v = x - optics.x, y - optics.y
    seen = np.hypot(u, v)
    real = np.array([
        brentq(lambda r, s=s: r * (1 + optics.distortion * (r / optics.corner) ** 2) - s, 0.0, 2.0 * s + 1.0)
        for s in seen
    ])  # fmt: skip
    shrunk = np.divide(real, seen, out=np.ones_like(seen), where=seen > 0)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [optics.ra, optics.dec]
    wcs.wcs.crpix, wcs.wcs.cd = [optics.x + 1, optics.y + 1], optics.cd
    return SkyCoord(*wcs.all_pix2world(optics.x + u * shrunk, optics.y + v * shrunk, 0), unit="deg")


def corner_error(solution: Solution, optics: Pointing) -> float:
    """Return the largest error in the four corners, pixels."""
    x, y = np.array([0.0, NX - 1.0, 0.0, NX - 1.0]), np.array([0.0, 0.0, NY - 1.0, NY - 1.0])
    found = SkyCoord(*solution.wcs.all_pix2world(x, y, 0), unit="deg")
    return float(found.separation(true_sky(optics, x, y)).arcsec.max() / SCALE)


def frame(optics: Pointing, n_stars: int, seed: int, **known: object) -> tuple[SolveRequest, Sky]:
    """Return the brightest ``n_stars`` of a frame and the sky that they are of."""
    stars = make_stars(optics.ra, optics.dec, 1.5, round(n_stars * 13), seed=seed)
    rng = np.random.default_rng(seed)
    x, y = optics.to_pixels(stars.ra, stars.dec)
    inside = np.flatnonzero((x > 0) & (x < NX - 1) & (y > 0) & (y < NY - 1))
    inside = inside[np.argsort(stars.mags["G"][inside])][:n_stars]
    scatter = rng.normal(0.0, NOISE, (2, len(inside)))
    request = SolveRequest(
        x=x[inside] + scatter[0], y=y[inside] + scatter[1],
        flux=10 ** (-0.4 * (stars.mags["G"][inside] - 20.0)), position_error=np.full(len(inside), NOISE),
        shape=SHAPE, ra=optics.ra, dec=optics.dec + 0.1, hint_error=0.5, scale=SCALE, scale_tolerance=0.05,
        parity=0, epoch=2016.0,
    )  # fmt: skip
    return replace(request, **known), Sky(stars)  # type: ignore[arg-type]


def star_field(solution: Solution) -> StarField:
    """Return what a solved frame teaches: where its stars are on the chip and, by astropy, on the plane."""
    assert solution.stars is not None
    centre = SkyCoord(solution.ra_center, solution.dec_center, unit="deg")
    plane = SkyCoord(solution.stars.ra, solution.stars.dec, unit="deg").transform_to(
        SkyOffsetFrame(origin=centre)
    ).cartesian  # fmt: skip
    return StarField(
        u=solution.stars.x - 0.5 * (NX - 1), v=solution.stars.y - 0.5 * (NY - 1),
        xi=plane.y.value / plane.x.value, eta=plane.z.value / plane.x.value,
    )  # fmt: skip


@pytest.fixture(scope="module")
def taught() -> list[StarField]:
    """What five frames of 300 stars teach, on both sides of the meridian."""
    found = []
    for seed in range(5):
        optics = pointing(40.0 + 30 * seed, -20.0 + 15 * seed, 20.0 + 180.0 * (seed % 2))
        found.append(star_field(solve(*frame(optics, 300, seed), SETTINGS)))
    return found


@pytest.fixture(scope="module")
def learned(taught: list[StarField]) -> Distortion:
    found = learn_distortion(taught, SHAPE, 1)
    assert found is not None
    return found


def test_frames_of_one_camera_teach_the_same(learned: Distortion) -> None:
    assert learned.n_frames == 5
    assert learned.parity == 1
    assert learned.error_px < learned.scatter_px < 0.1


@pytest.mark.parametrize("seed", [11, 12, 13, 14])
def test_twelve_stars_have_right_corners(learned: Distortion, seed: int) -> None:
    optics = pointing(200.0, 35.0, 77.0)
    request, sky = frame(optics, 12, seed)
    with_it = solve(replace(request, distortions=(learned,)), sky, SETTINGS)
    assert with_it.quality is Quality.VERIFIED
    assert with_it.lent == learned
    assert with_it.n_matched >= 10
    assert corner_error(with_it, optics) < 0.2
    assert with_it.evidence is not None
    assert corner_error(with_it, optics) * SCALE < 4.0 * with_it.evidence.corner_error_arcsec
    try:
        without = solve(request, sky, SETTINGS)
    except NoSolution:
        return
    assert corner_error(without, optics) > 5.0 * corner_error(with_it, optics)


def test_many_stars_profit_too(learned: Distortion) -> None:
    """An inverted cubic has a fifth order, which 300 stars of one frame cannot fix, and all frames can."""
    optics = pointing(200.0, 35.0, 77.0)
    request, sky = frame(optics, 300, 15)
    alone = solve(request, sky, SETTINGS)
    together = solve(replace(request, distortions=(learned,)), sky, SETTINGS)
    assert together.lent is not None
    assert corner_error(together, optics) < 0.1
    assert corner_error(together, optics) < 0.5 * corner_error(alone, optics)


def test_a_distortion_that_does_not_fit_is_left_alone(learned: Distortion) -> None:
    """The corrector was taken out: stars left out of the fit say so."""
    optics = pointing(200.0, 35.0, 77.0, distortion=0.0)
    request, sky = frame(optics, 12, 16)
    solution = solve(replace(request, distortions=(learned,)), sky, SETTINGS)
    assert solution.lent is None
    assert corner_error(solution, optics) < 0.3


def test_a_distortion_that_fits_worse_is_left_alone(learned: Distortion) -> None:
    """A twentieth of it would pass every bar; left-out stars prefer none at all."""
    optics = pointing(200.0, 35.0, 77.0, distortion=0.0)
    request, sky = frame(optics, 40, 17)
    slight = replace(
        learned, a=tuple(0.05 * one for one in learned.a), b=tuple(0.05 * one for one in learned.b)
    )
    solution = solve(replace(request, distortions=(slight,)), sky, SETTINGS)
    assert solution.lent is None
    assert corner_error(solution, optics) < 0.1


@pytest.mark.parametrize("other", [{"parity": -1}, {"shape": (NX, NY)}])
def test_another_orientation_is_not_this_camera(learned: Distortion, other: dict[str, object]) -> None:
    optics = pointing(200.0, 35.0, 77.0)
    request, sky = frame(optics, 12, 11)
    foreign = replace(learned, **other)  # type: ignore[arg-type]
    with contextlib.suppress(NoSolution):
        assert solve(replace(request, distortions=(foreign,)), sky, SETTINGS).lent is None


def test_order_of_the_frames_means_nothing(taught: list[StarField], learned: Distortion) -> None:
    assert learn_distortion(taught[::-1], SHAPE, 1) == learned


def test_one_wrong_frame_changes_little(taught: list[StarField], learned: Distortion) -> None:
    radius = np.hypot(taught[0].u, taught[0].v) / CORNER
    wrong = replace(taught[0], xi=taught[0].xi * (1.0 + 0.1 * radius**2))
    spoilt = learn_distortion([*taught, wrong], SHAPE, 1)
    assert spoilt is not None
    assert spoilt.n_frames == 5
    u, v = np.array([-499.5, 499.5]), np.array([-399.5, 399.5])
    moved = np.hypot(*(np.array(spoilt.flattened(u, v)) - np.array(learned.flattened(u, v))))
    assert moved.max() < 0.1


def test_wrong_matches_change_little(taught: list[StarField], learned: Distortion) -> None:
    """One star in twenty is another one, pixels away."""
    rng = np.random.default_rng(4)
    wrong = []
    for one in taught:
        u = one.u.copy()
        u[::20] += rng.choice([-3.0, 3.0], len(u[::20]))
        wrong.append(replace(one, u=u))
    spoilt = learn_distortion(wrong, SHAPE, 1)
    assert spoilt is not None
    u, v = np.array([-499.5, 499.5]), np.array([-399.5, 399.5])
    moved = np.hypot(*(np.array(spoilt.flattened(u, v)) - np.array(learned.flattened(u, v))))
    assert moved.max() < 0.1


def test_two_frames_are_too_few(taught: list[StarField]) -> None:
    assert learn_distortion(taught[:2], SHAPE, 1) is None


def test_frames_of_few_stars_teach_nothing(taught: list[StarField]) -> None:
    few = [one.take(np.arange(len(one)) < 49) for one in taught]
    assert learn_distortion(few, SHAPE, 1) is None


def test_straight_optics_teach_nothing() -> None:
    rng = np.random.default_rng(2)
    fields = []
    for _ in range(4):
        u, v = rng.uniform(-500, 500, 300), rng.uniform(-400, 400, 300)
        noise = rng.normal(0.0, NOISE, (2, 300))
        fields.append(StarField(u=u + noise[0], v=v + noise[1], xi=-u, eta=v))
    assert learn_distortion(fields, SHAPE, 1) is None


def test_bending_and_straightening_follow_the_guess(learned: Distortion) -> None:
    guess = plate_from_wcs(make_wcs(10.0, 20.0, rotation=30.0), SHAPE)
    curved = bent(guess, learned)
    assert curved is not None
    assert (curved.order, curved.given) == (1, learned.order)
    # the best affine model about a cubic leaves less than the cubic itself
    x, y = np.array([499.5, 200.0, 700.0]), np.array([399.5, 300.0, 500.0])
    off = np.hypot(*curved.residuals(x, y, *guess.sky(x, y)))
    assert off.max() < 0.5 * BENT * CORNER * SCALE
    flat = straight(curved, SHAPE)
    assert (flat.given, len(flat.a)) == (0, 0)
    assert flat.scale == pytest.approx(guess.scale, rel=1e-3)


def test_a_given_distortion_stays_while_the_rest_is_fitted(learned: Distortion) -> None:
    guess = plate_from_wcs(make_wcs(10.0, 20.0, rotation=30.0), SHAPE)
    curved = bent(guess, learned)
    assert curved is not None
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, NX, 20), rng.uniform(0, NY, 20)
    ra, dec = curved.sky(x, y)
    fitted = fit_plate(x, y, ra, dec, start=curved, order=1)
    np.testing.assert_array_equal(fitted.a, learned.a)
    assert np.hypot(*fitted.residuals(x, y, ra, dec)).max() < 1e-3
    wcs_ra, wcs_dec = fitted.to_wcs(SHAPE).all_pix2world(x, y, 0)
    np.testing.assert_allclose([wcs_ra, wcs_dec], fitted.sky(x, y), atol=1e-9)
