"""One contract for all rungs: whatever solves a frame, the answer must mean the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nightflow.simulate
from nightflow.astrometry.geometry import geometry
from nightflow.astrometry.ladder import RUNGS
from nightflow.astrometry.solution import Quality, SolveRequest
from nightflow.catalogs.importer import import_catalog
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings
from tests.unit.astrometry.synthetic import make_request, make_wcs, random_request, worst_error

RA, DEC = 31.05, 46.70
SHAPE = (1024, 1024)
SCALE = 3.0
SETTINGS = AstrometrySettings(scale=SCALE, trust_header="full")
TRUE = make_wcs(RA, DEC, scale=SCALE, rotation=25.0, parity=-1, shape=SHAPE)
SHIFTED = make_wcs(RA + 0.02, DEC - 0.01, scale=SCALE, rotation=25.2, parity=-1, shape=SHAPE)

SYSTEM = {"solve_field"}
"""Rungs that need a system package."""
pytestmark = pytest.mark.parametrize(
    "rung", [pytest.param(rung, marks=pytest.mark.system if rung in SYSTEM else ()) for rung in sorted(RUNGS)]
)


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> LocalCatalogs:
    folder = tmp_path_factory.mktemp("catalogs")
    extract = Path(nightflow.simulate.__file__).parent / "data" / "tycho2_hatp32.csv"
    import_catalog(extract, "tycho2", folder)
    return LocalCatalogs(folder)


@pytest.fixture(scope="module")
def request_(catalogs: LocalCatalogs) -> SolveRequest:
    stars = catalogs.cone("tycho2", RA, DEC, 1.0)
    stars = replace(stars, mags={"G": stars.brightness()})
    return make_request(
        TRUE, stars, shape=SHAPE, epoch=stars.epoch, scale=SCALE, previous_wcs=SHIFTED, header_wcs=SHIFTED
    )


def test_finds_the_true_wcs(rung, request_, catalogs):
    solution = RUNGS[rung](request_, catalogs, SETTINGS, [])
    assert solution.backend == rung
    assert solution.quality is Quality.VERIFIED
    assert worst_error(solution.wcs, TRUE, SHAPE) < 1.0
    assert solution.catalog == "tycho2"


def test_describes_its_own_wcs(rung, request_, catalogs):
    solution = RUNGS[rung](request_, catalogs, SETTINGS, [])
    place = geometry(solution.wcs, SHAPE)
    assert (solution.ra_center, solution.dec_center) == (place.ra_center, place.dec_center)
    assert (solution.scale, solution.rotation) == (place.scale, place.rotation)
    assert solution.parity == -1
    assert solution.n_matched >= SETTINGS.minimum_matches
    assert 0.0 < solution.rms_arcsec <= solution.heldout_rms_arcsec < 2.0


def test_strangers_are_refused(rung, catalogs):
    request = random_request(
        7, 80, shape=SHAPE, ra=RA, dec=DEC, previous_wcs=TRUE, header_wcs=TRUE, time_limit=10.0
    )
    with pytest.raises(NoSolution):
        RUNGS[rung](request, catalogs, SETTINGS, [])


def test_no_detections(rung, request_, catalogs):
    nothing = np.empty(0)
    empty = replace(request_, x=nothing, y=nothing, flux=nothing)
    if rung == "header":
        # a header that is trusted fully needs no stars, but then it makes no claim
        assert RUNGS[rung](empty, catalogs, SETTINGS, []).quality is Quality.PROVISIONAL
    else:
        with pytest.raises(NoSolution):
            RUNGS[rung](empty, catalogs, SETTINGS, [])


def test_no_catalogue(rung, request_, tmp_path):
    if rung == "header":
        solution = RUNGS[rung](request_, LocalCatalogs(tmp_path), SETTINGS, [])
        assert solution.quality is Quality.PROVISIONAL
        assert "no local catalogue covers" in solution.warnings[0]
    else:
        with pytest.raises(NoSolution, match="catalogue"):
            RUNGS[rung](request_, LocalCatalogs(tmp_path), SETTINGS, [])


def test_the_wrong_scale_is_refused(rung, request_, catalogs):
    request = replace(request_, scale=1.2 * SCALE, time_limit=10.0)
    with pytest.raises(NoSolution):
        RUNGS[rung](request, catalogs, SETTINGS, [])


def test_a_bar_out_of_reach_is_not_passed(rung, request_, catalogs):
    strict = SETTINGS.model_copy(update={"minimum_matches": 60})
    if rung == "header":
        # A trusted header that enough stars agree with is still good for photometry, and claims no more.
        solution = RUNGS[rung](request_, catalogs, strict, [])
        assert solution.quality is Quality.PROVISIONAL
        assert "not verified" in solution.warnings[-1]
        assert "60" in solution.warnings[-1]
    else:
        with pytest.raises(NoSolution, match="60"):
            RUNGS[rung](request_, catalogs, strict, [])
