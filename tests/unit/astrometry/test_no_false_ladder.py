"""Star lists that must not be solved, through the whole ladder with all of Tycho-2: catalogue and index."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from nightflow.astrometry.astrometry_net import SYSTEM_INDEX_FOLDER
from nightflow.astrometry.ladder import solve
from nightflow.astrometry.solution import SolveRequest
from nightflow.catalogs.importer import import_catalog
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings
from tests.soak import keep_figures
from tests.unit.astrometry.synthetic import make_request, make_stars, make_wcs, random_request, worst_error

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        shutil.which("solve-field") is None or not list(SYSTEM_INDEX_FOLDER.glob("index-tycho2-07*")),
        reason="needs solve-field and astrometry-data-tycho2-07",
    ),
]

SCALE = 6.0
LADDER = ["previous", "header", "hint", "astrometry_net", "solve_field"]
SETTINGS = AstrometrySettings(scale=SCALE, trust_header="scale_rotation")
EACH, FEW = 15, 2
SIZES = (12, 20, 40, 80, 300)


@dataclass(frozen=True)
class Place:
    """Where a frame is said to look, and how the last frame and the header say that it lies there."""

    ra: float
    dec: float
    rotation: float
    parity: int

    @classmethod
    def of(cls, seed: int) -> Place:
        rng = np.random.default_rng(seed)
        dec = float(np.degrees(np.arcsin(rng.uniform(-0.9, 0.9))))
        return cls(
            float(rng.uniform(0.0, 360.0)), dec, float(rng.uniform(0.0, 360.0)), int(rng.choice([-1, 1]))
        )

    def wcs(self, turn: float = 0.0):
        return make_wcs(self.ra, self.dec, scale=SCALE, rotation=self.rotation + turn, parity=self.parity)


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> LocalCatalogs:
    folder = tmp_path_factory.mktemp("catalogs")
    import_catalog(SYSTEM_INDEX_FOLDER, "tycho2", folder)
    return LocalCatalogs(folder)


def known(place: Place, scale: float | None = SCALE) -> dict:
    """Return what all lists of a place say, besides their stars."""
    wcs = place.wcs(turn=40.0)
    return {
        "ra": place.ra, "dec": place.dec, "hint_error": 1.0, "scale": scale, "scale_tolerance": 0.05,
        "previous_wcs": wcs, "header_wcs": wcs, "epoch": 2000.0, "time_limit": 20.0,
    }  # fmt: skip


def random_stars(seed: int, catalogs: LocalCatalogs) -> SolveRequest:
    return random_request(seed, SIZES[seed % 5], **known(Place.of(seed)))


def random_stars_of_any_scale(seed: int, catalogs: LocalCatalogs) -> SolveRequest:
    return random_request(seed, SIZES[seed % 5], **known(Place.of(seed), scale=None))


def another_sky(seed: int, catalogs: LocalCatalogs) -> SolveRequest:
    """Return a frame of stars as dense as Tycho-2's that are in no catalogue."""
    place = Place.of(seed)
    n = len(catalogs.cone("tycho2", place.ra, place.dec, 2.0))
    return cut(seen(place, make_stars(place.ra, place.dec, 2.0, n, seed=seed), seed), seed)


def another_scale(seed: int, catalogs: LocalCatalogs) -> SolveRequest:
    """Return a true frame by a camera whose scale is said to be another one."""
    factor = float(np.random.default_rng(seed).choice([0.5, 0.7, 0.85, 1.18, 1.4, 2.0]))
    return replace(cut(true_frame(seed, catalogs), seed), scale=factor * SCALE)


def true_frame(seed: int, catalogs: LocalCatalogs) -> SolveRequest:
    place = Place.of(seed)
    stars = catalogs.cone("tycho2", place.ra, place.dec, 2.0)
    return seen(place, replace(stars, mags={"G": stars.brightness()}), seed)


def seen(place: Place, stars: ReferenceStars, seed: int) -> SolveRequest:
    return make_request(place.wcs(), stars, seed=seed, **known(place))


def cut(request: SolveRequest, seed: int) -> SolveRequest:
    n = slice(0, SIZES[seed % 5])
    return replace(request, x=request.x[n], y=request.y[n], flux=request.flux[n])


KINDS: dict[str, Callable[[int, LocalCatalogs], SolveRequest]] = {
    "random stars": random_stars,
    "random stars of any scale": random_stars_of_any_scale,
    "another sky": another_sky,
    "another scale": another_scale,
}


def accepted(kind: str, seeds: range, catalogs: LocalCatalogs, time_limit: float) -> list[str]:
    found = []
    for seed in seeds:
        request = replace(KINDS[kind](seed, catalogs), time_limit=time_limit)
        try:
            solution = solve(request, catalogs, SETTINGS, [SYSTEM_INDEX_FOLDER], order=LADDER)
        except NoSolution as refusal:
            tried = [said.split(":")[0] for said in refusal.rungs]
            if tried != LADDER:
                found.append(f"seed {seed}: only {tried} tried")
            continue
        found.append(f"seed {seed}: {solution.quality} by {solution.backend}, {solution.n_matched} stars")
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_a_few_are_refused(kind, catalogs):
    """Without a scale a blind search ends with its time only: it gets little of it here."""
    assert accepted(kind, range(FEW), catalogs, 5.0) == []


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", KINDS)
def test_all_60_are_refused(kind, catalogs, request):
    false = accepted(kind, range(EACH), catalogs, 20.0)
    keep_figures(request, "astrometry_soak.json", {"lists": EACH, "false": len(false)})
    assert false == []


@pytest.mark.parametrize("rung", ["hint", "astrometry_net", "solve_field"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_places_are_solved_by_their_own_stars(rung, seed, catalogs):
    """Else the refusals would prove nothing."""
    request = replace(true_frame(seed, catalogs), previous_wcs=None)
    solution = solve(request, catalogs, SETTINGS, [SYSTEM_INDEX_FOLDER], order=[rung])
    assert worst_error(solution.wcs, Place.of(seed).wcs()) < 1.0 * SCALE


@pytest.mark.parametrize("rung", ["astrometry_net", "solve_field"])
def test_they_are_solved_blind(rung, catalogs):
    request = replace(true_frame(3, catalogs), ra=None, dec=None)
    solution = solve(request, catalogs, SETTINGS, [SYSTEM_INDEX_FOLDER], order=[rung])
    assert worst_error(solution.wcs, Place.of(3).wcs()) < 1.0 * SCALE


def test_a_copy_of_the_index_that_was_cut_off_does_no_harm(catalogs, tmp_path: Path):
    index = next(SYSTEM_INDEX_FOLDER.glob("index-tycho2-07*"))
    with index.open("rb") as whole:
        (tmp_path / "index-cut.fits").write_bytes(whole.read(2**20))
    for rung in ("astrometry_net", "solve_field"):
        solution = solve(
            true_frame(3, catalogs), catalogs, SETTINGS, [tmp_path, SYSTEM_INDEX_FOLDER], order=[rung]
        )
        assert solution.backend == rung
        assert "index-cut.fits: cut off" in solution.warnings[0]
