"""What the ledger knows of a night's lights, on SQLite and Postgres."""

from __future__ import annotations

from typing import Any

import pytest

from nightflow.instruments.header import FrameKind
from nightflow.nights import night_of
from nightflow.store.blocks import (
    block_lights,
    block_masters,
    first_chip,
    last_light_received,
    last_received,
    night_lights,
    reduced_lights,
)
from nightflow.store.database import Database
from nightflow.store.frames import frames_of, get_frame, record_frames, settle_frame
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.masters import CalibrationFrame
from nightflow.store.models import State
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, add_frame, columns, header, later, record, sha, stars

NIGHT = night_of(MJD, None)


def light(database: Database, name: str, seconds: float, masters: dict[str, str], **changes: Any) -> int:
    """Enter a light that landed then and was reduced with some masters; return its frame."""
    received = receive(database, f"/data/{name}", sha(name), 1000, now=later(seconds))
    (frame_id,) = record_frames(database, received.exposure_id, [header(**changes)])
    content = record(masters=masters, ra_center=132.8, dec_center=11.8)
    append(database, frame_id, content, columns(*stars(2)), now=later(seconds))
    settle_frame(database, frame_id, State.DONE, "")
    settle_exposure(database, received.exposure_id, State.DONE, "", now=later(seconds))
    return frame_id


def test_a_block_is_of_one_night_filter_and_chip(database: Database) -> None:
    light(database, "a.fits", 0, {"flat": "f1"})
    light(database, "b.fits", 60, {"flat": "f2"})
    light(database, "red.fits", 90, {"flat": "r1"}, filter="R")
    light(database, "old.fits", 95, {"flat": "o1"}, mjd_mid=MJD - 3)
    assert block_masters(database, "testcam", "1", "V", NIGHT) == [{"flat": "f2"}, {"flat": "f1"}]
    assert block_masters(database, "testcam", "2", "V", NIGHT) == []


def test_when_the_last_light_landed(database: Database) -> None:
    light(database, "a.fits", 60, {})
    light(database, "old.fits", 600, {}, mjd_mid=MJD - 3)
    receive(database, "/data/flat.fits", sha("flat.fits"), 10, now=later(900))
    add_frame(database, "dawn.fits", kind=FrameKind.FLAT)
    assert last_light_received(database, "testcam", NIGHT) == later(60)
    assert last_light_received(database, "other", NIGHT) is None
    assert last_received(database, "testcam") == later(600)


def test_reduced_lights_are_those_that_are_done(database: Database) -> None:
    done = light(database, "a.fits", 60, {"flat": "f1"})
    late = light(database, "b.fits", 600, {"flat": "f2"}, mjd_mid=MJD + 0.1)
    add_frame(database, "new.fits")
    found = reduced_lights(database, instrument="testcam")
    assert [(frame.id, reduction.masters["flat"]) for frame, reduction in found] == [
        (done, "f1"),
        (late, "f2"),
    ]
    assert [frame.id for frame, _ in reduced_lights(database, received_after=later(60))] == [late]
    assert reduced_lights(database, instrument="other") == []


@pytest.mark.parametrize(("waits_for", "usable"), [("calibration", True), ("wcs", False)])
def test_a_light_that_waits_for_a_calibration_may_be_what_it_waits_for(
    database: Database, waits_for: str, usable: bool
) -> None:
    frame_id = add_frame(database, "a.fits", ra=10.0, dec=20.0)
    exposure_id = get_frame(database, frame_id).exposure_id
    settle_frame(database, frame_id, State.HELD, "no illumination")
    settle_exposure(database, exposure_id, State.HELD, "", now=later(1), waits_for=waits_for)
    assert [(one.ra, one.dec) for one in night_lights(database, "testcam", NIGHT)] == [(10.0, 20.0)] * usable


def test_a_solved_light_is_where_its_wcs_says(database: Database) -> None:
    light(database, "a.fits", 0, {}, ra=10.0, dec=20.0)
    assert [(one.ra, one.dec) for one in night_lights(database, "testcam", NIGHT)] == [(132.8, 11.8)]


def test_one_light_stands_for_its_block(database: Database) -> None:
    first = light(database, "a.fits", 0, {})
    light(database, "b.fits", 60, {})
    red = light(database, "c.fits", 90, {}, filter="R", mjd_mid=MJD + 0.1)
    light(database, "old.fits", 95, {}, mjd_mid=MJD - 3)
    assert [frame.id for frame in block_lights(database, "testcam", NIGHT)] == [first, red]
    assert len(block_lights(database, "testcam")) == 3


def test_the_first_chip_of_an_exposure(database: Database) -> None:
    received = receive(database, "/data/m.fits", sha("m.fits"), 1000, now=later(0))
    record_frames(
        database, received.exposure_id, [header(detector=name, hdu=n) for n, name in enumerate("ba")]
    )
    other, first = frames_of(database, received.exposure_id)
    found = first_chip(database, CalibrationFrame(frame=other, path="/data/m.fits", sha256=sha("m.fits")))
    assert (found.frame.id, found.path) == (first.id, "/data/m.fits")


def test_a_frame_that_is_not_there(database: Database) -> None:
    with pytest.raises(KeyError, match="frame 999 is not in the ledger"):
        get_frame(database, 999)
