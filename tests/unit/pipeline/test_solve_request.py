"""What the solver ladder is told of the measured table."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from nightflow.config import Settings
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings
from nightflow.pipeline.pointings import Pointings
from nightflow.pipeline.solve import solve, solve_request
from tests.unit.astrometry.test_spread import table


def test_position_errors_come_from_the_table():
    n = 12
    flux = np.linspace(1e4, 1e5, n)
    sources = table(n, flux=flux, x_err=3e3 / flux, y_err=4e3 / flux)
    header = SimpleNamespace(
        instrument="camera", detector="1", ra=None, dec=None, mjd_mid=60000.0, binning=(1, 1)
    )
    work = SimpleNamespace(
        frame=SimpleNamespace(data=np.zeros((1000, 1000))),
        header=header,
        profile=SimpleNamespace(astrometry=AstrometrySettings(scale=2.0)),
    )
    request = solve_request(work, SimpleNamespace(pointings=Pointings()), sources)
    assert request.position_error is not None
    # the rms of the two coordinates, star by star, whatever the order of the list
    np.testing.assert_allclose(request.position_error, 5e3 / np.sqrt(2.0) / request.flux)


def test_ladder_and_key_of_the_site_reach_the_solver(monkeypatch):
    asked = {}

    def climb(request, catalogs, settings, folders, **site):
        asked.update(site)
        raise NoSolution("looked")

    monkeypatch.setattr("nightflow.pipeline.solve.climb", climb)
    request = SimpleNamespace(shape=(100, 100))
    monkeypatch.setattr("nightflow.pipeline.solve.solve_request", lambda *args: request)
    monkeypatch.setattr("nightflow.pipeline.solve.known_distortions", lambda *args: [])
    monkeypatch.setattr("nightflow.pipeline.solve.replace", lambda request, **changes: request)
    site = Settings(astrometry={"ladder": ["hint", "nova"], "nova_key": "sesame", "nova_seconds": 7.0})
    context = SimpleNamespace(settings=site, catalogs=None, index_folders=[], database=None, joint={})
    work = SimpleNamespace(
        frame_id=1,
        header=None,
        frame=object(),
        measured=SimpleNamespace(sources=None),
        profile=SimpleNamespace(astrometry=AstrometrySettings()),
    )
    with pytest.raises(NoSolution):
        solve(work, context)
    assert asked["order"] == ["hint", "nova"]
    assert (asked["nova"].key, asked["nova"].seconds) == ("sesame", 7.0)
