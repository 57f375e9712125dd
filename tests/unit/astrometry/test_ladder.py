from __future__ import annotations

import re
import time
from dataclasses import replace

import numpy as np
import pytest

from nightflow.astrometry import accept, ladder
from nightflow.astrometry.accept import Deadline
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


def test_order_of_the_site_goes_before_that_of_the_profile(catalogs):
    request = make_request(WCS, STARS, previous_wcs=WCS)
    assert solve(request, catalogs, SETTINGS, order=["hint", "previous"]).backend == "hint"


def test_reports_of_the_rungs_before(catalogs):
    flipped = make_request(make_wcs(80.0, 10.0, rotation=195.0), STARS, previous_wcs=WCS)
    solution = solve(flipped, catalogs, SETTINGS)
    (report,) = solution.rungs
    assert report.rung == "previous"
    assert solution.warnings == (f"previous: {report.reason}",)
    assert 0.0 < report.seconds < solution.seconds


def test_the_reason_of_a_frame_without_solution_holds_reasons_and_seconds(catalogs, monkeypatch):
    def slow(*args):
        time.sleep(0.3)
        raise NoSolution("nothing here")

    monkeypatch.setitem(ladder.RUNGS, "hint", slow)
    with pytest.raises(NoSolution) as caught:
        solve(random_request(1, ra=80.0, dec=10.0), catalogs, SETTINGS, order=["previous", "hint", "nova"])
    previous, hint, nova = caught.value.rungs
    assert previous.startswith("previous: no earlier solution of this pointing (0.0 s)")
    assert re.fullmatch(r"hint: nothing here \([0-9.]+ s\)", hint)
    assert float(hint.split("(")[1].split()[0]) >= 0.3
    assert "NIGHTFLOW_ASTROMETRY__NOVA_KEY" in nova
    assert all(said in str(caught.value) for said in caught.value.rungs)


class Clocks:
    """A machine on which a search gets ``share`` of the time."""

    def __init__(self, share: float) -> None:
        self.wall, self.share = 100.0, share

    def monotonic(self) -> float:
        return self.wall

    def thread_time(self) -> float:
        return self.share * self.wall


@pytest.mark.parametrize(
    ("share", "lasts", "words"),
    [
        (1.0, 10.0, "time limit of 10 s"),
        (0.4, 25.0, "time limit of 10 s"),
        (0.1, 40.0, "machine is too busy"),
    ],
)
def test_the_time_limit_is_of_cpu_time_with_a_bound_of_wall_time(monkeypatch, share, lasts, words):
    clocks = Clocks(share)
    monkeypatch.setattr(accept, "time", clocks)
    deadline = Deadline(10.0)
    clocks.wall += lasts - 0.1
    deadline.check()
    clocks.wall += 0.2
    with pytest.raises(NoSolution, match=words):
        deadline.check()


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
