"""Chips far off the optical axis, with six to eight stars: a mosaic's own optics are the truth."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest

from nightflow.astrometry.distortion import Distortion, StarField, bent, learn_distortion
from nightflow.astrometry.ladder import solve
from nightflow.astrometry.plate import plate_from_wcs, sip_powers
from nightflow.astrometry.projection import to_plane
from nightflow.astrometry.solution import SolveRequest
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings
from tests.unit.astrometry.scamp.mosaic import (
    SCALE,
    SHAPE,
    Chip,
    chips,
    pixels,
    pointing,
    request,
    rough_wcs,
    sky,
    worst_error,
)
from tests.unit.astrometry.torture import Sky

SETTINGS = AstrometrySettings(scale=SCALE, ladder=["hint"])
CORNER, INNER = chips()[0], replace(chips()[9], x=20.0, y=-30.0)
NOISE = 0.03
"""Pixels, each coordinate."""


def on_chip(chip: Chip, stars: ReferenceStars, rotation: float) -> tuple[ReferenceStars, np.ndarray]:
    """Return the stars of a chip and their true pixels, shape (n, 2)."""
    x, y = pixels(pointing(rotation=rotation), chip, stars.ra, stars.dec)
    with np.errstate(invalid="ignore"):
        inside = (x > 0) & (x < SHAPE[1] - 1) & (y > 0) & (y < SHAPE[0] - 1)
    return stars.take(inside), np.column_stack([x, y])[inside]


def learned(chip: Chip, squeeze: float = 0.0) -> Distortion:
    rng, stars, fields = np.random.default_rng(1), sky(300), []
    for rotation in (12.0, 40.0, 77.0, 190.0, 250.0):
        mine, places = on_chip(chip, stars, rotation)
        seen = places + rng.normal(0.0, NOISE, places.shape) - (np.array(SHAPE[::-1]) - 1) / 2.0
        seen[:, 1] *= 1.0 + squeeze
        xi, eta = to_plane(mine.ra, mine.dec, float(mine.ra.mean()), float(mine.dec.mean()))
        fields.append(StarField(u=seen[:, 0], v=seen[:, 1], xi=xi, eta=eta))
    found = learn_distortion(fields, SHAPE, 1)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def corner() -> Distortion:
    return learned(CORNER)


def few(n: int, seed: int) -> tuple[SolveRequest, Sky]:
    """Return the ``n`` brightest true stars of the corner chip, and a catalogue of these and some more."""
    stars = sky(2.5 * n, seed=seed)
    _, places = on_chip(CORNER, stars, 12.0)
    seen = request(pointing(), CORNER, stars, np.random.default_rng(seed), hint_error=0.3)
    true = [np.hypot(*(places - place).T).min() < 1.0 for place in zip(seen.x, seen.y, strict=True)]
    rows = np.flatnonzero(true)[:n]
    assert len(rows) == n
    assert seen.position_error is not None
    columns = {name: getattr(seen, name)[rows] for name in ("x", "y", "flux", "position_error")}
    return replace(seen, **columns), Sky(stars)


def corner_errors(n: int, *known: Distortion) -> list[float]:
    """Return how far the worst corner is off, pixels, of the frames that were solved."""
    found = []
    for seed in range(4):
        asked, catalog = few(n, seed)
        with contextlib.suppress(NoSolution):
            solution = solve(replace(asked, distortions=known), catalog, SETTINGS)
            found.append(worst_error(solution.wcs, pointing(), CORNER) / SCALE)
    return found


@pytest.mark.parametrize("n", [6, 7, 8])
def test_few_stars_have_right_corners(corner: Distortion, n: int) -> None:
    """A similarity alone is off by pixels there, for the chip is stretched; they carry no more than that."""
    with_it, alone = corner_errors(n, corner), corner_errors(n)
    assert len(with_it) >= max(2, len(alone))
    assert max(with_it) < 0.2
    assert min(alone, default=2.0) >= 2.0


def test_only_a_stretched_chip_has_linear_terms(corner: Distortion) -> None:
    assert len(corner.a) == len(corner.b) == len(sip_powers(corner.order)) + 2
    inner = learned(INNER)
    assert len(inner.a) == len(sip_powers(inner.order))


def test_what_the_air_squeezes_is_no_optics() -> None:
    """Seen 65 degrees from the zenith by all frames alike; with another hour angle it lies another way."""
    seen = learned(INNER, squeeze=-1e-3)
    assert len(seen.a) == len(sip_powers(seen.order))


def test_a_wcs_holds_the_stretch_in_its_matrix(corner: Distortion) -> None:
    plate = bent(plate_from_wcs(rough_wcs(pointing(), CORNER), SHAPE), corner)
    assert plate is not None
    wcs = plate.to_wcs(SHAPE)
    x, y = np.array([0.0, 500.0, 1000.0]), np.array([1000.0, 200.0, 30.0])
    np.testing.assert_allclose(wcs.all_pix2world(x, y, 0), plate.sky(x, y), atol=1e-9)
    np.testing.assert_allclose(wcs.all_world2pix(*plate.sky(x, y), 0), [x, y], atol=1e-3)
    assert (wcs.sip.a[1, 0], wcs.sip.a[0, 1], wcs.sip.b[1, 0], wcs.sip.b[0, 1]) == (0.0, 0.0, 0.0, 0.0)
    stretched, plain = (np.linalg.svd(one, compute_uv=False) for one in (wcs.wcs.cd, plate.cd))
    assert stretched[0] / stretched[1] > 1.005
    assert plain[0] / plain[1] < 1.002
