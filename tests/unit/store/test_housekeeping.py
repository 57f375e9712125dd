"""Pruning keeps every current light curve and the history; vacuum gives room back; both let others work."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event, text

import nightflow.store.housekeeping as housekeeping
from nightflow.errors import ConfigurationError, RetryLater
from nightflow.store.consistency import disagreements
from nightflow.store.database import Database
from nightflow.store.housekeeping import Pruned, prune, vacuum
from nightflow.store.models import Mover, MoverDetection
from nightflow.store.queries import light_curve
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, START, add_frame, columns, count, everything, record, stars

RA, DEC = stars(12)
NOW = START + timedelta(days=100)


def versions(database: Database, name: str, ages: list[float], mjd: float = MJD) -> list[int]:
    """Reduce a frame as often as there are ages (days before `NOW`); return the reductions, oldest first."""
    frame_id = add_frame(database, name, mjd_mid=mjd)
    made = []
    for number, age in enumerate(ages):
        measured = columns(RA, DEC, mjd=mjd, flux=np.full(12, 100.0 + number))
        made.append(
            append(
                database, frame_id, record(f"plan-{number}"), measured, now=NOW - timedelta(days=age)
            ).reduction_id
        )
    return made


def measured(database: Database) -> list[int]:
    with database.session() as session:
        statement = text("SELECT DISTINCT reduction_id FROM measurement ORDER BY 1")
        return list(session.connection().execute(statement).scalars())


def curves(database: Database) -> list[bytes]:
    """Return all light curves, every bit of every column."""
    with database.session() as session:
        sources = session.connection().execute(text("SELECT id FROM source ORDER BY id")).scalars().all()
    found = [light_curve(database, source) for source in sources]
    return [
        b"".join(
            str(list(values)).encode() if values.dtype == object else values.tobytes()
            for values in one.columns.values()
        )
        for one in found
    ]


def test_old_superseded_versions_lose_their_measurements_and_nothing_else(database: Database) -> None:
    first = versions(database, "a", [90.0, 80.0, 70.0, 60.0])
    second = versions(database, "b", [90.0], MJD + 40.0)
    before, shown = everything(database), curves(database)
    assert prune(database, now=NOW) == Pruned(n_reductions=2, n_measurements=24)
    assert measured(database) == sorted([*first[2:], *second])
    assert curves(database) == shown
    after = everything(database)
    assert {name for name in after if after[name] != before[name]} == {"measurement"}
    assert not any(one.number for one in disagreements(database))
    assert prune(database, now=NOW) == Pruned(n_reductions=0, n_measurements=0)


@pytest.mark.parametrize(
    ("keep", "days", "gone"), [(0, 0.0, 3), (1, 0.0, 2), (2, 0.0, 1), (9, 0.0, 0), (0, 75.0, 2), (0, 95.0, 0)]
)
def test_the_newest_and_the_young_stay(database: Database, keep: int, days: float, gone: int) -> None:
    made = versions(database, "a", [90.0, 80.0, 70.0, 60.0])
    assert prune(database, now=NOW, keep=keep, days=days).n_reductions == gone
    assert measured(database) == made[gone:]


def test_a_dry_run_says_what_would_go(database: Database) -> None:
    versions(database, "a", [90.0, 80.0, 70.0])
    before = everything(database)
    assert prune(database, now=NOW, dry_run=True) == Pruned(n_reductions=1, n_measurements=12)
    assert everything(database) == before


def test_a_reduction_that_a_mover_was_found_on_keeps_its_measurements(database: Database) -> None:
    made = versions(database, "a", [90.0, 80.0, 70.0])
    numbers = dict.fromkeys(
        ("mjd", "ra", "dec", "rate_ra", "rate_ra_err", "rate_dec", "rate_dec_err", "position_angle"), 1.0
    )
    numbers |= dict.fromkeys(("position_angle_err", "rms_arcsec", "false_alarm"), 1.0)
    with database.write() as session:
        mover = Mover(night="2026-03-01", number=1, instrument="testcam", name="", n=3, n_frames=3, **numbers)
        session.add(mover)
        session.flush()
        session.add(MoverDetection(mover_id=mover.id, reduction_id=made[0], number=0))
    assert prune(database, now=NOW, keep=0, days=0.0).n_reductions == 1
    assert measured(database) == [made[0], made[2]]


def test_much_is_deleted_in_several_transactions(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    versions(database, "a", [90.0] * 6)
    monkeypatch.setattr(housekeeping, "_ROWS_AT_ONCE", 25)
    monkeypatch.setattr(housekeeping, "_PAUSE", 0.01)
    commits: list[object] = []
    event.listen(database.engine, "commit", commits.append)
    assert prune(database, now=NOW) == Pruned(n_reductions=4, n_measurements=48)
    assert len(commits) == 2


def test_an_append_gets_in_between(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Database(sqlite_url) as database, Database(sqlite_url, busy_seconds=0.1) as night:
        versions(database, "a", [90.0] * 6)
        monkeypatch.setattr(housekeeping, "_ROWS_AT_ONCE", 12)
        frames = iter([add_frame(database, f"{number}") for number in range(9)])
        monkeypatch.setattr(
            housekeeping.time,
            "sleep",
            lambda _: append(night, next(frames), record(), columns(RA, DEC), now=NOW),
        )
        prune(database, now=NOW)
        assert count(database, "reduction", "frame_id > 1") == 3


def test_vacuum_gives_room_back(database: Database) -> None:
    ra, dec = stars(3000)
    frame_id = add_frame(database)
    for number in range(3):
        append(database, frame_id, record(f"{number}"), columns(ra, dec), now=START)
    prune(database, now=NOW, keep=0, days=0.0)
    before = everything(database)
    room = vacuum(database)
    assert room.before > 0
    assert everything(database) == before
    if not database.is_postgres:
        path = Path(str(database.engine.url.database))
        assert room.after < 0.6 * room.before
        assert room.after == path.stat().st_size


def test_vacuum_counts_for_the_planner(database: Database) -> None:
    versions(database, "a", [1.0])
    vacuum(database)
    table = "pg_stats WHERE tablename" if database.is_postgres else "sqlite_stat1 WHERE tbl"
    with database.session() as session:
        statement = text(f"SELECT count(*) FROM {table} = 'measurement'")
        assert session.connection().execute(statement).scalar_one() > 0


def test_vacuum_of_a_locked_store_means_retry_later(sqlite_url: str) -> None:
    with (
        Database(sqlite_url) as night,
        Database(sqlite_url, busy_seconds=0.1) as database,
        night.write(),
        pytest.raises(RetryLater, match=r"store\.sqlite: locked by another process"),
    ):
        vacuum(database)


def test_vacuum_beside_a_reader_says_why_the_file_is_as_large_as_before(sqlite_url: str) -> None:
    with Database(sqlite_url) as reader, Database(sqlite_url, busy_seconds=0.1) as database:
        versions(database, "a", [1.0])
        with reader.session() as session:
            session.connection().execute(text("SELECT count(*) FROM source"))
            with pytest.raises(RetryLater, match="read by another process"):
                vacuum(database)
        vacuum(database)


def test_vacuum_of_a_store_that_may_only_be_read_is_named(sqlite_url: str) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    with (
        Database(f"sqlite:///file:{path}?mode=ro&uri=true") as database,
        pytest.raises(ConfigurationError, match="read-only"),
    ):
        vacuum(database)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
