"""Masters built ahead of need."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import event

from nightflow.pipeline.masters import build_all
from nightflow.pipeline.reducer import Reducer
from nightflow.store.masters import masters
from tests.unit.pipeline.station import Station, reduced


@pytest.fixture
def reducer(station: Station) -> Reducer:
    """Two nights of biases, flats in two filters in the second, and one filter with too few."""
    reducer = station.reducer()
    for path in (
        *station.calibrations("bias", hours=-76),
        *station.calibrations("bias", hours=-4),
        *station.calibrations("flat", hours=-3, FILTER="V"),
        *station.calibrations("flat", hours=-2, FILTER="R"),
        *station.calibrations("flat", 2, hours=-1, FILTER="B"),
    ):
        assert reduced(reducer, path).state == "done"
    return reducer


def summary(rows: list[dict]) -> list[tuple[str, str, int, str]]:
    return [(row["kind"], row["filter"], row["n_inputs"], row["state"]) for row in rows]


def test_every_set_makes_one(reducer: Reducer) -> None:
    rows = build_all(reducer)
    assert summary(rows) == [
        ("bias", "", 3, "provisional"),
        ("bias", "", 3, "provisional"),
        ("flat", "V", 3, "provisional"),
        ("flat", "R", 3, "provisional"),
        ("flat", "B", 0, "missing"),
    ]
    assert {row["reason"] for row in rows[:-1]} == {"3 inputs, no more than needed"}
    assert "2 raw flat frames fit, 3 are needed" in rows[-1]["reason"]
    assert len(masters(reducer.database)) == 4
    assert {row["fingerprint"] for row in rows[:-1]} == {
        row.fingerprint[:12] for row in masters(reducer.database)
    }


def test_again_makes_none(reducer: Reducer) -> None:
    first = build_all(reducer)
    assert build_all(reducer) == first
    assert len(masters(reducer.database)) == 4


def test_of_one_night_or_one_camera(reducer: Reducer) -> None:
    assert len(build_all(reducer, night="2026-02-26")) == 1
    assert build_all(reducer, night="2020-01-01") == []
    assert build_all(reducer, instrument="nickel") == []
    assert len(build_all(reducer, instrument="tinycam")) == 5


def test_the_questions_grow_with_the_sets_not_with_their_frames(station: Station) -> None:
    reducer = station.reducer()
    asked: list[str] = []
    event.listen(reducer.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))

    def again(paths: list[Path]) -> tuple[list[int], int]:
        """Build with these, too; return how many went into each master, and what asking again takes."""
        for path in paths:
            assert reduced(reducer, path).state == "done"
        first = build_all(reducer)
        asked.clear()
        assert build_all(reducer) == first
        return [row["n_inputs"] for row in first], len(asked)

    few, at_first = again(station.calibrations("bias", 4, hours=-4))
    many, then = again(station.calibrations("bias", 16, hours=-3))
    more, at_last = again(station.calibrations("bias", 4, hours=-76))
    assert (few, many, more) == ([4], [20], [4, 20])
    assert at_first == then < at_last


def test_lights_use_what_was_built_ahead(station: Station, reducer: Reducer) -> None:
    build_all(reducer)
    reducer = station.reducer(until="calibrate")
    assert reduced(reducer, station.frame("light.fits")).state == "done"
    assert len(masters(reducer.database)) == 4
