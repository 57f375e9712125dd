"""When a night is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightflow.config import Settings
from nightflow.epochs import mjd_of
from nightflow.pipeline.night_end import newest_night
from nightflow.store.database import Database
from nightflow.store.ledger import settle_exposure
from nightflow.store.models import State
from tests.unit.store.builders import add_frame

LA_PALMA = {"latitude": 28.76, "longitude": -17.88}
MIDNIGHT = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
MORNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'nightflow.sqlite'}") as ledger:
        ledger.upgrade()
        yield ledger


def frame(ledger: Database, name: str, taken: datetime, *, done: bool = True) -> None:
    row = add_frame(ledger, name, mjd_mid=mjd_of(taken))
    if done:
        settle_exposure(ledger, row, State.DONE, "", now=taken)


def test_without_frames_there_is_none(ledger: Database) -> None:
    assert newest_night(Settings(site=LA_PALMA), ledger, MORNING) == ("", "the ledger has no frame")  # type: ignore[arg-type]


def test_a_night_is_over_when_it_is_light(ledger: Database) -> None:
    frame(ledger, "a.fits", MIDNIGHT)
    settings = Settings(site=LA_PALMA)  # type: ignore[arg-type]
    assert newest_night(settings, ledger, MIDNIGHT) == ("2026-03-01", "the night of 2026-03-01 goes on")
    assert newest_night(settings, ledger, MORNING) == ("2026-03-01", "")


def test_without_a_site_it_is_over_when_nothing_waits(ledger: Database) -> None:
    frame(ledger, "a.fits", MIDNIGHT)
    frame(ledger, "b.fits", MIDNIGHT, done=False)
    night, hindrance = newest_night(Settings(), ledger, MIDNIGHT)
    assert night == "2026-03-01"
    assert hindrance == "1 exposures wait to be reduced or are in work"


def test_the_newest_counts_and_an_old_one_is_over_in_the_next_night(ledger: Database) -> None:
    settings = Settings(site=LA_PALMA)  # type: ignore[arg-type]
    frame(ledger, "a.fits", datetime(2026, 2, 20, 1, 0, tzinfo=UTC))
    assert newest_night(settings, ledger, MIDNIGHT) == ("2026-02-19", "")
