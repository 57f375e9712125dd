"""A store of which one table is damaged: its frames wait for the mend."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from nightflow.pipeline.reduce_exposure import reduce_exposure
from nightflow.store.database import Database
from nightflow.store.leases import lease_exposure
from tests.unit.pipeline.station import START, Station, entered, exposure, only_frame, steps_of_straw


def _overwrite(database: Database, table: str) -> None:
    """Overwrite the first page of a table in its file, as a bad disk would."""
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        page = connection.exec_driver_sql(
            f"SELECT rootpage FROM sqlite_schema WHERE name = '{table}'"
        ).scalar_one()
    database.close()  # no page of it stays in a cache
    with Path(str(make_url(database.url).database)).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_a_frame_is_held_without_short_retries(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    steps_of_straw(monkeypatch)
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    reducer = station.reducer(clock=lambda: START)
    exposure_id = entered(reducer, station.frame("light.fits"))
    assert lease_exposure(reducer.database, exposure_id, "test", now=START, seconds=600) is not None
    _overwrite(reducer.database, "reduction")
    outcome = reduce_exposure(reducer, exposure_id)
    assert outcome.state == "held"
    assert "damaged; `nightflow store restore`" in outcome.reason
    held = exposure(reducer, exposure_id)
    assert held.waits_for == "store"
    assert held.retry_at is not None, "it is taken up again by itself"
    assert only_frame(reducer, exposure_id).traceback == ""
    assert pauses == []
