"""When a night is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from nightflow.config import Settings
from nightflow.epochs import mjd_of
from nightflow.pipeline.night_end import nights_to_conclude
from nightflow.store.database import Database
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.models import Frame, Reduction, State
from nightflow.store.writer import append
from tests.unit.store.builders import add_frame, columns, record, stars

LA_PALMA = {"latitude": 28.76, "longitude": -17.88}
MIDNIGHT = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
MORNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SITED = Settings(site=LA_PALMA)  # type: ignore[arg-type]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'nightflow.sqlite'}") as ledger:
        ledger.upgrade()
        yield ledger


def frame(
    ledger: Database, name: str, taken: datetime, *, done: bool = True, verdict: str | None = None
) -> None:
    row = add_frame(ledger, name, mjd_mid=mjd_of(taken))
    append(ledger, row, record(name), columns(*stars(2), mjd=mjd_of(taken)), now=taken)
    with ledger.write() as session:
        session.get_one(Frame, row).state = State.DONE if done else State.RECEIVED
        session.exec(select(Reduction).where(Reduction.frame_id == row)).one().verdict = verdict
    if done:
        settle_exposure(ledger, row, State.DONE, "", now=taken)


def test_without_frames_there_is_none(ledger: Database) -> None:
    assert nights_to_conclude(SITED, ledger, MORNING) == ([], "")


def test_a_night_is_over_when_it_is_light(ledger: Database) -> None:
    frame(ledger, "a.fits", MIDNIGHT)
    assert nights_to_conclude(SITED, ledger, MIDNIGHT) == ([], "the night of 2026-03-01 goes on")
    assert nights_to_conclude(SITED, ledger, MORNING) == (["2026-03-01"], "")


def test_what_is_concluded_is_not_concluded_again_but_for_a_straggler(ledger: Database) -> None:
    frame(ledger, "a.fits", MIDNIGHT, verdict="pass")
    assert nights_to_conclude(SITED, ledger, MORNING) == ([], "")
    frame(ledger, "b.fits", MIDNIGHT)
    assert nights_to_conclude(SITED, ledger, MORNING) == (["2026-03-01"], "")


def test_a_night_that_was_passed_over_is_concluded_at_the_next_dawn(ledger: Database) -> None:
    frame(ledger, "a.fits", MIDNIGHT - timedelta(days=1))
    frame(ledger, "b.fits", MIDNIGHT)
    assert nights_to_conclude(SITED, ledger, MIDNIGHT)[0] == ["2026-02-28"]
    assert nights_to_conclude(SITED, ledger, MORNING) == (["2026-02-28", "2026-03-01"], "")


def test_it_waits_for_its_own_frames_and_not_for_a_backfill(ledger: Database) -> None:
    frame(ledger, "a.fits", MIDNIGHT)
    frame(ledger, "old.fits", MIDNIGHT - timedelta(days=300), done=False)
    assert nights_to_conclude(Settings(), ledger, MORNING) == (["2026-03-01"], "")
    frame(ledger, "b.fits", MIDNIGHT, done=False)
    receive(ledger, "/incoming/unidentified.fits", "f" * 64, 2880, now=MORNING)
    nights, hindrance = nights_to_conclude(Settings(), ledger, MORNING)
    assert nights == []
    assert hindrance == "2 exposures of 2026-03-01 not reduced yet: in the queue or in work"


def test_nights_of_long_ago_are_left_to_people(ledger: Database) -> None:
    frame(ledger, "a.fits", MIDNIGHT - timedelta(days=20))
    assert nights_to_conclude(SITED, ledger, MORNING) == ([], "")
