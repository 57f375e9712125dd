"""Star lists that must not be solved: of no sky, of another sky, of another scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from nightflow.astrometry.hint import solve_hint
from nightflow.astrometry.solution import SolveRequest
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings
from tests.soak import keep_figures
from tests.unit.astrometry.synthetic import SCALE, make_request, make_stars, make_wcs, random_request
from tests.unit.astrometry.torture import Sky

SETTINGS = AstrometrySettings(scale=SCALE)
RA, DEC = 120.0, 35.0
EACH, FEW = 667, 67
SIZES = (12, 15, 20, 24, 45, 300)
FEW_STARS = (12, 15, 18)
"""The normal run takes the short lists: soon done, and with the least to tell a false solution by."""
DENSITIES = (600, 2000, 8000)
"""Stars within 1.5 degrees: 47, 157, 628 on a frame."""


@cache
def sky(density: int, seed: int) -> tuple[ReferenceStars, Sky]:
    stars = make_stars(RA, DEC, 1.5, density, seed=seed)
    return stars, Sky(stars)


def random_stars(seed: int, size: int) -> SolveRequest:
    return random_request(seed, size, ra=RA, dec=DEC, hint_error=0.2)


def another_sky(seed: int, size: int) -> SolveRequest:
    """Return a frame of a sky that the catalogue does not hold."""
    stars, _ = sky(DENSITIES[seed % 3], 1000)
    return _frame(stars, seed, size, scale=SCALE)


def another_scale(seed: int, size: int) -> SolveRequest:
    """Return a frame of the catalogue's sky by a camera whose scale is said to be another one."""
    stars, _ = sky(DENSITIES[seed % 3], 1)
    factor = float(np.random.default_rng(seed).choice([0.5, 0.7, 0.85, 1.18, 1.4, 2.0]))
    return _frame(stars, seed, size, scale=factor * SCALE)


KINDS: dict[str, Callable[[int, int], SolveRequest]] = {
    "random stars": random_stars,
    "another sky": another_sky,
    "another scale": another_scale,
}


def accepted(kind: str, seeds: range, sizes: Sequence[int]) -> list[int]:
    found = []
    for seed in seeds:
        request = KINDS[kind](seed, sizes[seed // 3 % len(sizes)])
        try:
            solve_hint(request, sky(DENSITIES[seed % 3], 1)[1], SETTINGS)
        except NoSolution:
            continue
        found.append(seed)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_are_refused(kind):
    assert accepted(kind, range(FEW), FEW_STARS) == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_all_are_refused(kind, request):
    false = accepted(kind, range(EACH), SIZES)
    keep_figures(request, "astrometry_soak.json", {"lists": EACH, "false": len(false)})
    assert false == []


def test_the_same_frames_are_solved_at_their_own_scale():
    """Else the refusals would prove nothing."""
    request = replace(another_scale(3, 60), scale=SCALE)
    assert solve_hint(request, sky(DENSITIES[0], 1)[1], SETTINGS).n_matched > 20


def _frame(stars: ReferenceStars, seed: int, size: int, *, scale: float) -> SolveRequest:
    rng = np.random.default_rng(seed)
    place = RA + rng.uniform(-0.2, 0.2), DEC + rng.uniform(-0.15, 0.15)
    wcs = make_wcs(*place, rotation=rng.uniform(0.0, 360.0), parity=int(rng.choice([-1, 1])))
    request = make_request(wcs, stars, seed=seed, scale=scale, hint_error=0.2, scale_tolerance=0.06)
    limit = slice(0, size)
    return replace(
        request, x=request.x[limit], y=request.y[limit], flux=request.flux[limit], ra=place[0], dec=place[1]
    )
