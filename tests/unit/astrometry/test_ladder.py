from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nightflow.astrometry import ladder
from nightflow.astrometry.ladder import solve
from nightflow.astrometry.solution import Quality
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import FrameHeld, NoSolution
from nightflow.instruments.profile import AstrometrySettings
from tests.unit.astrometry.synthetic import SCALE, make_request, make_stars, make_wcs, random_request, store

SETTINGS = AstrometrySettings(scale=SCALE, ladder=["previous", "hint"])
STARS = make_stars(80.0, 10.0, 2.0, 700)
WCS = make_wcs(80.0, 10.0, rotation=15.0)


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory) -> LocalCatalogs:
    return store(tmp_path_factory.mktemp("catalogs"), STARS)


def test_first_rung_that_stands(catalogs):
    solution = solve(make_request(WCS, STARS, previous_wcs=WCS), catalogs, SETTINGS)
    assert solution.backend == "previous"
    assert solution.warnings == ()
    assert solution.seconds > 0.0


def test_first_frame_of_a_pointing_is_no_warning(catalogs):
    solution = solve(make_request(WCS, STARS), catalogs, SETTINGS)
    assert solution.backend == "hint"
    assert solution.warnings == ()


def test_meridian_flip_falls_through_to_the_hint(catalogs):
    flipped = make_wcs(80.0, 10.0, rotation=195.0)
    solution = solve(make_request(flipped, STARS, previous_wcs=WCS), catalogs, SETTINGS)
    assert solution.backend == "hint"
    assert solution.rotation == pytest.approx(195.0, abs=0.1)
    assert solution.warnings[0].startswith("previous: ")


def test_drift_is_followed(catalogs):
    drifted = make_wcs(80.15, 10.1, rotation=15.4)
    solution = solve(make_request(drifted, STARS, previous_wcs=WCS), catalogs, SETTINGS)
    assert solution.backend == "previous"


def test_each_rung_says_why(catalogs):
    with pytest.raises(NoSolution) as caught:
        solve(random_request(1, ra=80.0, dec=10.0), catalogs, SETTINGS)
    assert [rung.split(":")[0] for rung in caught.value.rungs] == ["previous", "hint"]
    assert isinstance(caught.value, FrameHeld)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_hardly_any_stars(catalogs, tmp_path, n):
    everything = AstrometrySettings(scale=SCALE, ladder=["previous", "header", "hint", "astrometry_net"])
    request = random_request(1, n, ra=80.0, dec=10.0, previous_wcs=WCS, header_wcs=WCS)
    with pytest.raises(NoSolution):
        solve(request, catalogs, everything, [tmp_path])


def test_not_finite_positions_are_left_out(catalogs):
    request = make_request(WCS, STARS)
    broken = replace(
        request,
        x=np.append(request.x, [np.nan, 5.0]),
        y=np.append(request.y, [3.0, np.inf]),
        flux=np.append(request.flux, [1e9, np.nan]),
    )
    assert solve(broken, catalogs, SETTINGS).backend == "hint"


def test_provisional_is_taken_only_where_it_is_enough(catalogs, tmp_path):
    nobody = LocalCatalogs(tmp_path)
    request = make_request(WCS, STARS, header_wcs=WCS)
    trusting = AstrometrySettings(scale=SCALE, ladder=["header"], trust_header="full")
    assert solve(request, nobody, trusting).quality is Quality.PROVISIONAL
    demanding = trusting.model_copy(update={"require": "verified"})
    with pytest.raises(NoSolution, match="provisional only"):
        solve(request, nobody, demanding)


def test_bugs_are_not_swallowed(catalogs, monkeypatch):
    def broken(*args):
        raise ZeroDivisionError

    monkeypatch.setitem(ladder.RUNGS, "hint", broken)
    with pytest.raises(ZeroDivisionError):
        solve(make_request(WCS, STARS), catalogs, SETTINGS)


def test_errors_stay_with_their_stars_when_the_list_is_put_in_order(catalogs, monkeypatch):
    """Faintest first and one without a position: a rung must see each error beside its own star."""
    request = make_request(WCS, STARS)
    errors = 1.0 / request.flux
    x = request.x[::-1].copy()
    x[3] = np.nan
    seen = []

    def look(request, catalogs, settings, folders):
        seen.append(request)
        raise NoSolution("looked")

    monkeypatch.setitem(ladder.RUNGS, "hint", look)
    mixed = replace(
        request, x=x, y=request.y[::-1], flux=request.flux[::-1], position_error=errors[::-1].copy()
    )
    with pytest.raises(NoSolution):
        solve(mixed, catalogs, SETTINGS)
    assert len(seen[0].x) == len(request.x) - 1
    np.testing.assert_allclose(seen[0].position_error, 1.0 / seen[0].flux)
