"""One line a frame."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import Session

from nightflow.service.frame_log import frame_lines, log_exposure
from nightflow.store.database import Database
from nightflow.store.models import Exposure, Frame, Reduction, State

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as database:
        database.upgrade()
        yield database


def add_exposure(session: Session, state: State, reason: str = "") -> Exposure:
    exposure = Exposure(
        path="/incoming/d1047.fits", sha256="0" * 64, size=2880, state=state, reason=reason, received_at=NOW
    )
    session.add(exposure)
    session.flush()
    return exposure


def add_frame(session: Session, exposure: Exposure, **changes: object) -> Frame:
    values: dict[str, object] = {
        "exposure_id": exposure.id, "detector": "1", "hdu": 0, "kind": "light", "instrument": "nickel",
        "object": "PG1323-086", "filter": "V", "exptime": 30.0, "ny": 10, "nx": 10, "state": State.DONE,
    }  # fmt: skip
    frame = Frame(**{**values, **changes})
    session.add(frame)
    session.flush()
    return frame


def test_a_done_frame_tells_its_measures_and_the_seconds_of_each_step(database: Database) -> None:
    with database.write() as session:
        exposure = add_exposure(session, State.DONE)
        frame = add_frame(session, exposure)
        assert frame.id is not None
        session.add(
            Reduction(
                frame_id=frame.id,
                version=1,
                software="nightflow",
                plan_fingerprint="p",
                created_at=NOW,
                fwhm_px=3.14159,
                zp=22.8234,
                timings={"calibrate": 0.25, "solve": 0.5},
            )
        )
    [line] = frame_lines(database, exposure, 1.25)
    facts = dict(word.split("=", 1) for word in shlex.split(line))
    assert facts == {
        "file": "d1047.fits", "exposure": "1", "frame": "1", "kind": "light", "object": "PG1323-086",
        "filter": "V", "state": "done", "seconds": "1.250", "fwhm_px": "3.142", "zp": "22.823",
        "calibrate_s": "0.250", "solve_s": "0.500",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "minutes", "told"),
    [
        (State.DONE, 0, {"fwhm_px", "calibrate_s"}),
        (State.DONE, 5, {"fwhm_px"}),
        (State.HELD, 0, set()),
    ],
)
def test_what_an_earlier_reduction_took_is_not_told_of_this_one(
    database: Database, state: State, minutes: int, told: set[str]
) -> None:
    with database.write() as session:
        exposure = add_exposure(session, state)
        exposure.done_at = NOW + timedelta(minutes=minutes, seconds=1)
        frame = add_frame(session, exposure, state=state)
        values = {"software": "nightflow", "plan_fingerprint": "p", "created_at": NOW, "fwhm_px": 3.0}
        session.add(Reduction(frame_id=frame.id or 0, version=1, timings={"calibrate": 0.25}, **values))
    [line] = frame_lines(database, exposure, 1.25)
    assert {name for name in ("fwhm_px", "calibrate_s") if f"{name}=" in line} == told


def test_each_chip_of_a_mosaic_has_its_line(database: Database) -> None:
    with database.write() as session:
        exposure = add_exposure(session, State.HELD)
        add_frame(session, exposure, detector="1")
        add_frame(session, exposure, detector="2", hdu=1, state=State.HELD, reason="no flat")
    lines = frame_lines(database, exposure, 1.0)
    assert ["state=done" in lines[0], 'state=held seconds=1.000 reason="no flat"' in lines[1]] == [True, True]


def test_steps_that_no_reduction_can_tell_are_those_of_the_service(database: Database) -> None:
    with database.write() as session:
        exposure = add_exposure(session, State.DONE)
        for number in (1, 2):
            add_frame(session, exposure, detector=str(number), hdu=number)
    taken = {("identify", 1): 0.5, ("conclude", 1): 0.25, ("append", 1): 1.0, ("append", 2): 2.0}
    first, second = frame_lines(database, exposure, 4.0, taken)
    assert first.endswith("identify_s=0.500 conclude_s=0.250 append_s=1.000")
    assert second.endswith("identify_s=0.500 conclude_s=0.250 append_s=2.000")


def test_a_file_without_frames_has_one_line_with_the_reason(database: Database) -> None:
    with database.write() as session:
        exposure = add_exposure(session, State.REJECTED, "d1047.fits: no pixels")
    assert frame_lines(database, exposure, 0.5) == [
        'file=d1047.fits exposure=1 state=rejected seconds=0.500 reason="d1047.fits: no pixels"'
    ]


def test_text_from_headers_cannot_forge_a_line(database: Database) -> None:
    with database.write() as session:
        exposure = add_exposure(session, State.DONE)
        add_frame(session, exposure, object='M31" state=done\nfile=forged.fits')
    [line] = frame_lines(database, exposure, 1.0)
    assert "\n" not in line
    assert r'object="M31\" state=done\nfile=forged.fits"' in line


@pytest.mark.parametrize(("state", "level"), [(State.FAILED, "ERROR"), (State.REJECTED, "INFO")])
def test_only_our_own_faults_are_errors(
    database: Database, caplog: pytest.LogCaptureFixture, state: State, level: str
) -> None:
    with database.write() as session:
        exposure_id = add_exposure(session, state).id
    with caplog.at_level(logging.INFO):
        log_exposure(database, exposure_id or 0, 1.0)
    assert [record.levelname for record in caplog.records] == [level]
