"""Reference stars around the targets: by function, by command, by flow."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

import flows.prefetch as flow_module
from nightflow.catalogs.cone import Cone
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.online import SERVICES
from nightflow.catalogs.routes import Route
from nightflow.catalogs.services import Service, service_called
from nightflow.errors import ConfigurationError
from nightflow.pipeline.prefetch import prefetch
from nightflow.store.targets import add_target
from tests.unit.pipeline.station import Station

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""MJD 61100.5."""


def north_only(cone: Cone) -> Table:
    if cone.dec < 0:
        raise ConnectionError("no route to host")
    return Table({"id": [f"{cone.ra:.3f}"], "ra": [cone.ra], "dec": [cone.dec], "G": [12.0]})


SERVICE = Service(
    key="gaia",
    title="Gaia DR3",
    routes={"north": Route(query=north_only)},
    epoch=2016.0,
    limit_mag=19.0,
    limit_band="G",
)


def fetched(station: Station) -> list[dict[str, Any]]:
    database = station.reducer().database
    return prefetch(database, folder(station), SERVICE, name="gaia", radius=0.3, limit_mag=None, now=NOW)


def folder(station: Station) -> Path:
    return station.root / "catalogs"


def test_each_target_gets_its_stars_and_one_failure_costs_the_others_nothing(station: Station) -> None:
    database = station.reducer().database
    add_target(database, "a north", 31.0, 46.0)
    add_target(database, "b south", 31.0, -46.0)
    # moves by 2 degrees a day; tonight it is at 101
    add_target(database, "c moves", ephemeris=[[61100.5, 100.0, 10.0], [61101.5, 102.0, 10.0]])
    add_target(database, "d gone", ephemeris=[[50000.0, 100.0, 10.0], [50001.0, 102.0, 10.0]])
    rows = {row["target"]: row for row in fetched(station)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "a north": "fetched",
        "b south": "away",
        "c moves": "fetched",
        "d gone": "no place tonight",
    }
    assert "no route to host" in rows["b south"]["reason"]
    stars = LocalCatalogs(folder(station)).cone("gaia", 101.0, 10.0, 0.3)
    assert len(stars) == 1
    assert np.abs(stars.ra - 101.0) < 0.3
    again = {row["target"]: row["state"] for row in fetched(station)}
    assert (again["a north"], again["b south"], again["c moves"]) == ("here", "away", "here")


def test_a_service_that_nobody_knows_is_named() -> None:
    assert service_called("sdss") is SERVICES["sdss"]
    with pytest.raises(ConfigurationError, match=r"'ucac': known are gaia, apass, panstarrs, sdss"):
        service_called("ucac")


@pytest.mark.parametrize(
    ("states", "message", "why", "failed"),
    [
        (["here", "fetched", "here"], "1 fetched, 2 here", "", False),
        (["here", "away"], "1 away, 1 here", ": apass for x (no route)", True),
        ([], "no targets", "", False),
    ],
)
def test_the_flow_is_red_where_a_target_has_no_stars(
    monkeypatch: pytest.MonkeyPatch, states: list[str], message: str, why: str, failed: bool
) -> None:
    shown: list[Any] = []

    async def task(service: str, radius: float, limit_mag: float | None) -> list[dict[str, Any]]:
        assert (service, radius, limit_mag) == ("apass", 0.25, None)
        return [{"target": "x", "state": state, "n_new": 0, "reason": "no route"} for state in states]

    async def table(rows: list[dict[str, Any]], key: str, description: str) -> None:
        shown.append((key, description))

    monkeypatch.setattr(flow_module, "prefetch_catalog", task)
    monkeypatch.setattr(flow_module, "acreate_table_artifact", table)
    state = asyncio.run(flow_module.prefetch.fn("apass", 0.25))
    assert (state.message, state.is_failed()) == (message + why, failed)
    assert shown == [("prefetch", f"apass: {message}")]
